"""Masks on their way out: copied into a written folder under the names of their photos."""

from __future__ import annotations

import shutil
from pathlib import Path

from unrender.datasets.reconstruction import Reconstruction
from unrender.errors import CaptureError

__all__ = ["copy_masks", "count_masks"]


def count_masks(reconstruction: Reconstruction) -> int:
    """How many photos have a mask."""
    return sum(mask is not None for mask in reconstruction.masks or ())


def copy_masks(folder: Path, reconstruction: Reconstruction) -> list[str]:
    """Copy each mask into ``folder``, ``a.jpg.png`` for ``a.jpg``, and return the names, "" where there is none.

    Raises CaptureError when a mask is not there. A mask that is in its place already stays.
    """
    names = []
    for name, mask in zip(reconstruction.names, reconstruction.masks or [None] * len(reconstruction), strict=True):
        names.append("" if mask is None else f"{name}{mask.suffix}")
        if mask is None:
            continue
        if not mask.is_file():
            raise CaptureError("no such mask", where=mask, do="give the masks (--masks), or leave them out")
        target = folder / names[-1]
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (target.exists() and target.samefile(mask)):
            shutil.copyfile(mask, target)
    return names
