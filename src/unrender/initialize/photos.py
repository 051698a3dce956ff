"""The radiance that a photo holds, and where to believe it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unrender.cameras.sensor import GAMMA
from unrender.datasets.capture import Capture

__all__ = ["Photo", "radiance_photo"]

# Belief in a pixel that is black or burnt out: nearly none, but a surface that is burnt out in every photo still
# gets a colour.
DOUBT = 1e-3


@dataclass(frozen=True)
class Photo:
    """Linear ``radiance`` [3, H, W] and ``trust`` [H, W] in 0..1: low where a channel is clipped, 0 where masked.

    ``used`` [H, W]: how much of each pixel may be used, None where that is all: who mixes neighbouring radiances weighs
    them by it.
    """

    radiance: torch.Tensor
    trust: torch.Tensor
    used: torch.Tensor | None = None


@torch.no_grad()
def radiance_photo(capture: Capture, view: int) -> Photo:
    """Undo the sensor of ``view``."""
    image = capture.image(view)
    radiance = capture.cameras.select([view]).radiance(image[None])[0]
    # Full trust between 4 % and 96 % of the range, none at its ends (the hat of exposure fusion, with a broad brim).
    # Of linear light 4 % is far from black: there the lower end is where an encoded photo has it.
    is_linear = int(capture.cameras.camera_index[view]) in capture.cameras.linear
    margin = torch.minimum(image**GAMMA if is_linear else image, 1 - image).amin(dim=0)
    trust = (margin / 0.04).clamp(DOUBT, 1)
    mask = capture.mask(view)
    return Photo(radiance, trust) if mask is None else Photo(radiance, trust * mask[0], mask[0])
