"""The points that belong to a transforms.json: a PLY file in its frame, or the COLMAP model that it was made from."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unrender.datasets.clouds import FARTHEST, PointCloud, read_ply
from unrender.datasets.colmap import is_colmap, read_colmap
from unrender.datasets.names import is_file
from unrender.datasets.reconstruction import Reconstruction, no_points
from unrender.errors import CaptureError
from unrender.geometry.transforms import inverse

__all__ = ["SPARSE", "path_below", "read_points"]

SPARSE = "sparse_pc.ply"
"""What nerfstudio, and we, call the points of a reconstruction; a PLY of another name is a denser cloud."""
_COLMAP = "colmap"
"""Folder of the COLMAP project that nerfstudio converted the cameras from."""
_UNSAID = ((0.0, 1.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, -1.0, 0.0))
"""applied_transform of files from before nerfstudio wrote it down (data/dataparsers/nerfstudio_dataparser.py)."""
_ALIKE = 1e-3
"""How far, in extents of all cameras, a moved camera of the COLMAP model may be from that of the file."""
_Found = tuple[PointCloud, Path | None, tuple[str, ...]]


def read_points(shared: Mapping[str, Any], file: Path, found: Reconstruction) -> _Found:
    """The sparse points, the file of a denser cloud, and notes.

    ``ply_file_path`` has them in the frame of the cameras; it is not read when it leads out of the capture. Without it
    they are those of colmap/sparse/0, moved as the cameras of ``found`` were when the file was made. Raises
    CaptureError for a damaged PLY file.
    """
    path = shared.get("ply_file_path")
    if path is None:
        return _of_colmap(shared, file, found)
    if not isinstance(path, str) or not path or "\0" in path:
        raise CaptureError("ply_file_path", where=file, expected="the path of a PLY file", got=repr(path)[:80])
    place = path_below(path, file.parent)
    if place is None or not is_file(place):
        return no_points(), None, (f"the points {ascii(path)[:80]} are not in this capture",)
    if place.name != SPARSE:
        return no_points(), place, ()
    everything = read_ply(place)
    points = everything.finite()
    lost = len(everything) - len(points)
    return points, None, (f"{lost} points without a finite position dropped",) if lost else ()


def _of_colmap(shared: Mapping[str, Any], file: Path, found: Reconstruction) -> _Found:
    """The points of the COLMAP model beside a file, unless its cameras are not those of the file."""
    folder = file.parent / _COLMAP
    if not is_colmap(folder):
        return no_points(), None, ()
    moved = _applied(shared, file)
    try:
        model = read_colmap(folder)
    except CaptureError as error:
        return no_points(), None, (f"no points from the COLMAP model beside it: {error}",)
    if not _same_cameras(model, found, moved):
        return (
            no_points(),
            None,
            (f"the cameras in {folder} are others than those of {file.name}: no points from there",),
        )
    positions = model.points.positions @ moved[:, :3].T + moved[:, 3]
    return PointCloud(positions, model.points.colors), None, (f"points from {folder}, moved as the cameras were",)


def _applied(shared: Mapping[str, Any], file: Path) -> torch.Tensor:
    """What was done to the world of the COLMAP model, [3, 4]."""
    try:
        applied = torch.tensor(shared.get("applied_transform", _UNSAID), dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        applied = torch.zeros(0)
    if applied.shape[-2:] not in ((3, 4), (4, 4)) or applied.ndim != 2 or not bool((applied.abs() <= FARTHEST).all()):
        raise CaptureError("applied_transform", where=file, expected="a matrix of 3 x 4 numbers")
    scale = shared.get("applied_scale", 1.0)
    if not isinstance(scale, int | float) or not 0 < scale <= FARTHEST:
        raise CaptureError("applied_scale", where=file, expected="a number above 0", got=repr(scale)[:80])
    return float(scale) * applied[:3]


def _same_cameras(model: Reconstruction, found: Reconstruction, moved: torch.Tensor) -> bool:
    """Whether the moved cameras of a model stand where those of the same names do."""
    places = {name.rpartition("/")[2]: view for view, name in enumerate(found.names)}
    pairs = [
        (view, places[last]) for view, name in enumerate(model.names) if (last := name.rpartition("/")[2]) in places
    ]
    if not pairs:
        return False
    theirs, ours = torch.tensor(pairs).T
    centers = inverse(found.camera_from_world)[:, :3, 3]
    expected = inverse(model.camera_from_world)[theirs, :3, 3] @ moved[:, :3].T + moved[:, 3]
    extent = float((centers.amax(dim=0) - centers.amin(dim=0)).amax())
    return float((expected - centers[ours]).abs().max()) <= _ALIKE * extent


def path_below(path: str, root: Path) -> Path | None:
    """The file of that path when it is below ``root``."""
    inside = posixpath.normpath(path.replace("\\", "/"))
    if inside.startswith("/"):
        return Path(inside) if Path(inside).is_relative_to(root.resolve()) else None
    return None if inside.startswith("..") else root / inside
