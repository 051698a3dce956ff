"""What a reconstruction has beside cameras and points: which of it a format leaves behind; clouds in files."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Literal, TypeAlias

from unrender.datasets.clouds import PointCloud, read_ply
from unrender.datasets.mask_files import count_masks
from unrender.datasets.reconstruction import Reconstruction, no_points
from unrender.errors import CaptureError

__all__ = ["ADDED", "POINTS", "Beside", "check_names", "cloud_beside", "lost_beside_cameras"]

POINTS = "points.ply"
"""The file of the sparse points beside a format that has none."""
ADDED = "added_points.ply"
"""Where the points go that a fit added to those of its input."""
Beside: TypeAlias = Literal["normals", "masks", "exposures", "split", "alpha"]
"""What a format may hold besides cameras and where points are."""


def lost_beside_cameras(reconstruction: Reconstruction, held: Container[Beside]) -> tuple[str, ...]:
    """What the reconstruction has of it and a format that holds no more than ``held`` has not: a short text each."""
    there: dict[Beside, str] = {}
    if reconstruction.points.normals is not None and len(reconstruction.points):
        there["normals"] = f"the normals of {len(reconstruction.points)} points"
    if masks := count_masks(reconstruction):
        there["masks"] = f"{masks} masks"
    if reconstruction.exif_ev is not None and not bool(reconstruction.exif_ev.isnan().all()):
        there["exposures"] = f"the exposures of {len(reconstruction)} photos"
    if reconstruction.held_out:
        there["split"] = f"that {len(reconstruction.held_out)} photos are held out"
    if reconstruction.alpha not in (None, "ignore"):
        there["alpha"] = f"what transparency means (fit with --alpha {reconstruction.alpha})"
    return tuple(what for kind, what in there.items() if kind not in held)


def cloud_beside(folder: Path) -> tuple[PointCloud, Path | None]:
    """The points in ``points.ply``, and the only other PLY file of the folder, which is the denser cloud.

    Points that a fit of ours added are no cloud by themselves.
    """
    others = sorted(path for path in folder.glob("*.ply") if path.name not in (POINTS, ADDED) and path.is_file())
    points = read_ply(folder / POINTS) if (folder / POINTS).is_file() else no_points()
    return points, others[0] if len(others) == 1 else None


def check_names(reconstruction: Reconstruction, where: Path, forbidden: str) -> None:
    """Raises CaptureError for a photo name that a list of lines cannot hold."""
    for name in reconstruction.names:
        if any(letter in name for letter in forbidden) or not name.isprintable():
            raise CaptureError(f"the photo name {name!r} cannot be written here", where=where, do="rename the photo")
