"""Point clouds as files hold them: PLY, text, LAS and LAZ, E57. The kind is told from the file's first bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from unrender.datasets.cloud_files.damage import said_in_one_line
from unrender.datasets.cloud_files.e57 import read_e57, write_e57
from unrender.datasets.cloud_files.las import read_las, write_las
from unrender.datasets.cloud_files.ply import read_ply, write_ply
from unrender.datasets.cloud_files.xyz import XYZ_SUFFIXES, read_xyz, write_xyz
from unrender.datasets.point_cloud import FARTHEST, PointCloud
from unrender.errors import CaptureError

__all__ = ["CLOUD_SUFFIXES", "FARTHEST", "PointCloud", "read_cloud", "read_ply", "write_cloud", "write_ply"]

_READERS: dict[str, Callable[[Path], PointCloud]] = {
    ".ply": read_ply,
    ".las": read_las,
    ".laz": read_las,
    ".e57": read_e57,
    **dict.fromkeys(XYZ_SUFFIXES, read_xyz),
}
_WRITERS: dict[str, Callable[[Path, PointCloud], float]] = {
    ".ply": write_ply,
    ".las": write_las,
    ".laz": write_las,
    ".e57": write_e57,
    **dict.fromkeys(XYZ_SUFFIXES, write_xyz),
}
_BEGINNINGS = {b"ply\n": ".ply", b"ply\r": ".ply", b"LASF": ".las", b"ASTM-E57": ".e57"}

CLOUD_SUFFIXES = tuple(_READERS)
"""The endings of files that ``read_cloud`` reads and ``write_cloud`` writes."""


def read_cloud(path: Path | str) -> PointCloud:
    """The points of a PLY, LAS, LAZ, E57 or text file (.xyz .txt .csv .asc .pts), in the file's frame and scale.

    The first bytes say which kind it is, for text the ending. Positions come in float64 with the file's offsets and
    poses applied; colours in 0..1, or None when the file has none; where it has intensity only, the colours are that
    as grey (from its first to its 99th hundredth, 0..1). Normals are kept. Points that are nowhere (NaN) stay; see
    ``PointCloud.finite``. Raises CaptureError when the file is absent, damaged, empty, of no known kind, or holds more
    points than there is memory for.
    """
    path = Path(path)
    with said_in_one_line(path, "a point cloud"):
        return _READERS[_kind(path)](path)


def write_cloud(path: Path | str, cloud: PointCloud) -> float:
    """Write a cloud as the kind that the ending of ``path`` names, any of ``CLOUD_SUFFIXES``.

    Returns the furthest that a coordinate was moved by rounding, in the cloud's unit: 0 but for LAS and LAZ, which
    keep whole numbers (see ``write_las``). Colours are clamped to 0..1 and rounded to 8 bits, in LAS and LAZ to 16.
    Raises CaptureError when the ending is of no known kind, or the kind cannot hold the cloud.
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise CaptureError("no known kind of point cloud", where=path, expected=" ".join(_WRITERS), got=path.suffix)
    return writer(path, cloud)


def _kind(path: Path) -> str:
    """The suffix whose reader a file is for: what it begins with tells more than its name."""
    with path.open("rb") as file:
        start = file.read(8)
    for beginning, suffix in _BEGINNINGS.items():
        if start.startswith(beginning):
            return suffix
    if path.suffix.lower() not in _READERS:
        raise CaptureError("no known kind of point cloud", where=path, expected=" ".join(_READERS), got=path.suffix)
    return path.suffix.lower()
