"""What formats that hold cameras, and perhaps points, leave behind; and the cloud that lies beside them."""

from __future__ import annotations

from pathlib import Path

from unrender.datasets.clouds import PointCloud, read_ply
from unrender.datasets.mask_files import count_masks
from unrender.datasets.reconstruction import Reconstruction, no_points
from unrender.errors import CaptureError

__all__ = ["POINTS", "check_names", "cloud_beside", "lost_beside_cameras"]

POINTS = "points.ply"
"""The file of the sparse points beside a format that has none."""


def lost_beside_cameras(reconstruction: Reconstruction, *, normals: bool) -> tuple[str, ...]:
    """Masks, exposures and the split, and ``normals`` where these are lost too: one short text each."""
    lost = []
    if normals and reconstruction.points.normals is not None and len(reconstruction.points):
        lost.append(f"the normals of {len(reconstruction.points)} points")
    if masks := count_masks(reconstruction):
        lost.append(f"{masks} masks")
    if reconstruction.exif_ev is not None and not bool(reconstruction.exif_ev.isnan().all()):
        lost.append(f"the exposures of {len(reconstruction)} photos")
    if reconstruction.held_out:
        lost.append(f"that {len(reconstruction.held_out)} photos are held out")
    return tuple(lost)


def cloud_beside(folder: Path) -> tuple[PointCloud, Path | None]:
    """The points in ``points.ply``, and the only other PLY file of the folder, which is the denser cloud."""
    others = sorted(path for path in folder.glob("*.ply") if path.name != POINTS and path.is_file())
    points = read_ply(folder / POINTS) if (folder / POINTS).is_file() else no_points()
    return points, others[0] if len(others) == 1 else None


def check_names(reconstruction: Reconstruction, where: Path, forbidden: str) -> None:
    """Raises CaptureError for a photo name that a list of lines cannot hold."""
    for name in reconstruction.names:
        if any(letter in name for letter in forbidden) or not name.isprintable():
            raise CaptureError(f"the photo name {name!r} cannot be written here", where=where, do="rename the photo")
