"""NeRF-synthetic scenes: transforms_train.json, transforms_val.json and transforms_test.json, rendered by Blender.

A file says camera_angle_x, the horizontal angle of view [rad], for all of its frames; the rest of the lens comes from
the size of the photos: square pixels, the centre in the middle. Axes as in ``transforms.py``. Photos have transparency
and are meant to lie over white. There are no points. Source: B. Mildenhall et al., NeRF (ECCV 2020), data set
nerf_synthetic and its loader (bmild/nerf, load_blender.py).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from unrender.datasets.reconstruction import Reconstruction
from unrender.datasets.transforms import reconstruct
from unrender.datasets.transforms_frames import load_frames, looks_like_frames
from unrender.errors import CaptureError

__all__ = ["is_blender", "read_blender"]

_TRAIN, _VAL, _TEST = "transforms_train.json", "transforms_val.json", "transforms_test.json"


def is_blender(path: Path) -> bool:
    """Whether this is a folder with transforms_train.json."""
    try:
        return path.is_dir() and looks_like_frames(path / _TRAIN)
    except (OSError, ValueError):
        return False


def read_blender(path: Path, *, images: Path | None = None, observations: bool = False) -> Reconstruction:  # noqa: ARG001
    """The scene in a folder with transforms_train.json: its photos to fit to, those of transforms_test.json held out.

    The photos of transforms_val.json are left out, as they are where results are compared. Photos must be there: only
    they say how large they are. It has no points and no observations. Raises CaptureError, one line, as
    ``read_transforms``.
    """
    if not (path / _TRAIN).is_file():
        raise CaptureError("no NeRF-synthetic scene here", where=path, expected=_TRAIN)
    _, train = load_frames(path / _TRAIN)
    test = load_frames(path / _TEST)[1] if (path / _TEST).is_file() else []
    held_out = [False] * len(train) + [True] * len(test)
    found = reconstruct([*train, *test], held_out, path / _TRAIN, images)
    return replace(found, alpha="white", notes=(*found.notes, *_val_notes(path)))


def _val_notes(path: Path) -> tuple[str, ...]:
    if not (path / _VAL).is_file():
        return ()
    return (f"{len(load_frames(path / _VAL)[1])} photos of {_VAL} left out: for neither fitting nor testing",)
