"""Capture: what was measured. Photos, cameras, points, exposure and masks; immutable."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from unrender.cameras.camera import Cameras
from unrender.datasets.clouds import PointCloud

__all__ = ["Capture"]


@dataclass(frozen=True)
class Capture:
    """V photos in the order of their sorted names.

    ``names`` [V] as the reconstruction writes them; ``image_paths`` [V]; ``mask_paths`` [V], None where there is none
    (white = use); ``cameras``: poses, lenses and working size (``at_width``), sensor started from EXIF;
    ``points``: the cloud in the input's frame; ``exif_ev`` [V] float64, EV100 in stops, NaN where EXIF is missing;
    ``test``: indices of the held-out views, never trained on and never used to start anything.
    """

    root: Path
    names: tuple[str, ...]
    image_paths: tuple[Path, ...]
    mask_paths: tuple[Path | None, ...]
    cameras: Cameras
    points: PointCloud
    exif_ev: torch.Tensor
    test: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def train(self) -> tuple[int, ...]:
        """Indices of the views that may be fitted to."""
        held_out = set(self.test)
        return tuple(view for view in range(len(self)) if view not in held_out)
