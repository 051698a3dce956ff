"""LAS and LAZ, the files of surveys (ASPRS, LAS 1.0 to 1.4): whole numbers with a scale and an offset.

laspy reads and writes them, with lazrs for LAZ. What a damaged header could make them do with memory and time is
checked before.
"""

from __future__ import annotations

import logging
import math
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from unrender.datasets.cloud_files.damage import check_room, damaged, said_in_one_line
from unrender.datasets.cloud_files.laz_chunks import check_chunks
from unrender.datasets.cloud_files.levels import grey, whole_levels
from unrender.datasets.point_cloud import FARTHEST, PointCloud
from unrender.errors import CaptureError

__all__ = ["read_las", "write_las"]

_KIND = "LAS or LAZ"
_AT_ONCE = 1 << 20
_FINEST = 1e-8
"""Steps of a written coordinate in the largest side of the cloud's box, at most: 0.1 mm in 10 km."""
_NORMAL = ("NormalX", "NormalY", "NormalZ")
_LARGEST_RECORD = 1 << 12
_VLR_HEADER = 54
_SHORTEST_HEADER = 227
_COMPRESSED = 0x80

logging.getLogger("laspy").addHandler(logging.NullHandler())  # what it has to say comes as our error


@dataclass(frozen=True)
class _Header:
    """What the first bytes state: ``point_format`` with the bit of compression; scales and offsets [3] float64."""

    header_size: int
    points_at: int
    records: int
    point_format: int
    record_size: int
    count: int
    scales: np.ndarray
    offsets: np.ndarray


def read_las(path: Path | str) -> PointCloud:
    """The points of a LAS or LAZ file, position = whole number * scale + offset in float64.

    Colours of 16 bits become 0..1, also where all of them hold 8 bits only (none exceeds 255); all black means none.
    Without colours an intensity becomes grey (see ``grey``). Normals are read where extra dimensions have them
    (NormalX NormalY NormalZ, as PDAL calls them). Needs laspy and lazrs. Raises CaptureError when they or the file are
    absent, and when it is damaged, empty or more than the memory holds.
    """
    path = Path(path)
    with said_in_one_line(path, _KIND, ValueError, struct.error), path.open("rb") as stream:
        header = _header(stream)
        if header.count == 0:
            raise CaptureError(f"no points in this {_KIND} file", where=path)
        _check(stream, header)
        check_room(path, header.count)
        stream.seek(0)
        with _laspy_errors(path):
            return _points(stream, header)


def write_las(path: Path | str, cloud: PointCloud) -> float:
    """Write a cloud as LAS 1.4, compressed where the path ends in .laz; colours of 16 bits, normals as extra floats.

    Coordinates are whole steps from the cloud's least corner. A step is a power of ten, at most 1e-8 of the longest
    side of the cloud's box. Returns half of it: the furthest that a coordinate is moved. Raises CaptureError for
    positions that are not finite or beyond ``FARTHEST``, which LAS cannot hold, and without laspy and lazrs.
    """
    path = Path(path)
    laspy = _laspy()
    positions = cloud.positions.detach().cpu().double().numpy()
    if len(cloud) == 0 or not np.abs(positions).max() <= FARTHEST:
        what = "no points to write" if len(cloud) == 0 else "LAS holds finite positions only"
        raise CaptureError(what, where=path, do="write PointCloud.finite()")
    step = _step(float(np.ptp(positions, axis=0).max()))
    header = laspy.LasHeader(version="1.4", point_format=6 if cloud.colors is None else 7)
    header.scales, header.offsets = np.full(3, step), positions.min(axis=0)
    if cloud.normals is not None:
        header.add_extra_dims([laspy.ExtraBytesParams(name, "f4") for name in _NORMAL])
    backend = laspy.LazBackend.Lazrs
    compressed = path.suffix.lower() == ".laz"
    with laspy.open(path, "w", header=header, do_compress=compressed, laz_backend=backend) as writer:
        for start in range(0, len(cloud), _AT_ONCE):
            part = cloud.select(torch.arange(start, min(start + _AT_ONCE, len(cloud))))
            writer.write_points(_record(laspy, header, part, _scale_of(cloud)))
    return step / 2


def _laspy() -> Any:
    """laspy, when lazrs is there too, which it takes for LAZ."""
    try:
        import laspy
        import lazrs  # noqa: F401
    except ImportError:
        raise CaptureError("LAS and LAZ need the packages laspy and lazrs", do="pip install 'unrender[las]'") from None
    return laspy


def _header(stream: BinaryIO) -> _Header:
    """The fields that LAS 1.0 to 1.4 share; 1.4 counts in 64 bits. Raises ValueError."""
    content = stream.read(_SHORTEST_HEADER + 28)
    if content[:4] != b"LASF" or len(content) < _SHORTEST_HEADER + 28 * (content[25:26] >= b"\4"):
        raise ValueError("it does not begin as LAS")
    header_size, points_at, records = struct.unpack_from("<HII", content, 94)
    point_format, record_size, count = struct.unpack_from("<BHI", content, 104)
    scales, offsets = np.frombuffer(content, "<f8", 6, 131).reshape(2, 3)
    if content[25] >= 4:
        (count,) = struct.unpack_from("<Q", content, 247)
    return _Header(header_size, points_at, records, point_format, record_size, count, scales, offsets)


def _check(stream: BinaryIO, header: _Header) -> None:
    """Raises ValueError for a header that the file cannot keep, or whose numbers no survey has."""
    size = os.fstat(stream.fileno()).st_size
    if not _SHORTEST_HEADER <= header.header_size <= header.points_at <= size:
        raise ValueError("its parts lie outside the file")
    if header.records * _VLR_HEADER > header.points_at - header.header_size:
        raise ValueError(f"no room for {header.records} records before the points")
    if not 20 <= header.record_size <= _LARGEST_RECORD:
        raise ValueError(f"{header.record_size} bytes a point")
    if not (np.isfinite([header.scales, header.offsets]).all() and (header.scales != 0).all()):
        raise ValueError(f"scales {header.scales.tolist()}, offsets {header.offsets.tolist()}")
    if not header.point_format & _COMPRESSED and header.count * header.record_size > size - header.points_at:
        raise ValueError(f"it is too short for the {header.count} points that its header states")


@contextmanager
def _laspy_errors(path: Path) -> Iterator[None]:
    """Whatever laspy and lazrs raise for damaged files, as one line. A panic of Rust is no Exception by its class."""
    try:
        yield
    except (CaptureError, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 (it ends here as our own)
        raise damaged(path, _KIND, str(error) or type(error).__name__) from None


def _points(stream: BinaryIO, header: _Header) -> PointCloud:
    laspy = _laspy()
    # one thread: it reads forward and trusts no sizes of chunks
    reader = laspy.open(stream, laz_backend=laspy.LazBackend.Lazrs, read_evlrs=False, closefd=False)
    if header.point_format & _COMPRESSED:
        records = reader.header.vlrs.get("LasZipVlr")
        if not records:
            raise ValueError("compressed, but it does not say how")
        check_chunks(stream, records[0].record_data, header.points_at, header.record_size, header.count)
    names = set(reader.header.point_format.dimension_names)
    wanted = {"colors": ("red", "green", "blue"), "normals": _NORMAL, "intensity": ("intensity",)}
    wanted = {key: dimensions for key, dimensions in wanted.items() if names.issuperset(dimensions)}
    positions = np.empty((header.count, 3))
    kinds = {key: np.float32 if key == "normals" else np.uint16 for key in wanted}
    rows = {key: np.empty((header.count, len(wanted[key])), kinds[key]) for key in wanted}
    done = 0
    for points in reader.chunk_iterator(_AT_ONCE):
        part = slice(done, done + len(points))
        for axis, name in enumerate("XYZ"):
            with np.errstate(over="ignore"):
                positions[part, axis] = points[name] * header.scales[axis] + header.offsets[axis]
        for key, dimensions in wanted.items():
            for column, name in enumerate(dimensions):
                rows[key][part, column] = points[name]
        done += len(points)
    if done != header.count:
        raise ValueError(f"{done} of {header.count} points")
    return PointCloud(torch.from_numpy(positions), _colors(rows), _tensor(rows.get("normals")))


def _tensor(rows: np.ndarray | None) -> torch.Tensor | None:
    return None if rows is None else torch.from_numpy(rows)


def _colors(rows: dict[str, np.ndarray]) -> torch.Tensor | None:
    levels, intensity = rows.get("colors"), rows.get("intensity")
    if levels is not None and (most := levels.max()) > 0:
        return torch.from_numpy(levels.astype(np.float32)).div_(255 if most <= 255 else 65535)
    if intensity is not None and intensity.any():
        return grey(intensity[:, 0])
    return None


def _step(side: float) -> float:
    """The largest power of ten that is at most ``_FINEST`` of the longest side."""
    return 10.0 ** math.floor(math.log10(max(side, 1e-20) * _FINEST))


def _scale_of(cloud: PointCloud) -> int:
    """65535, or 255 where the colours are so dark that a reader would take 16 bits for 8."""
    return 255 if cloud.colors is not None and bool((cloud.colors.nan_to_num(0) < 255.5 / 65535).all()) else 65535


def _record(laspy: Any, header: Any, part: PointCloud, most: int) -> Any:
    points = laspy.ScaleAwarePointRecord.zeros(len(part), header=header)
    steps = np.rint((part.positions.detach().cpu().double().numpy() - header.offsets) / header.scales)
    for axis, name in enumerate("XYZ"):
        points[name] = steps[:, axis].astype(np.int32)
    if part.colors is not None:
        levels = whole_levels(part.colors, most)
        for column, name in enumerate(("red", "green", "blue")):
            points[name] = levels[:, column]
    if part.normals is not None:
        for column, name in enumerate(_NORMAL):
            points[name] = part.normals[:, column].detach().cpu().numpy()
    return points
