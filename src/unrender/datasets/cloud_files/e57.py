"""E57, the file of terrestrial scanners (ASTM E2807): several scans, each with a pose of its own.

libE57Format reads and writes it, through the bindings that pye57 has; its own class E57 removes files it cannot open
and writes float32. What a damaged file could make the library do with memory and the stack is checked before.
"""

from __future__ import annotations

import importlib
import os
import struct
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from xml.parsers import expat

import numpy as np
import torch

from unrender.datasets.cloud_files.damage import check_room, damaged, said_in_one_line
from unrender.datasets.cloud_files.levels import grey, unit_range, whole_levels
from unrender.datasets.point_cloud import PointCloud
from unrender.errors import CaptureError
from unrender.geometry.rotations import rotation_from_quat_wxyz

__all__ = ["read_e57", "write_e57"]

_KIND = "E57"
_CARTESIAN = ("cartesianX", "cartesianY", "cartesianZ")
_SPHERICAL = ("sphericalRange", "sphericalAzimuth", "sphericalElevation")
_COLOR = ("colorRed", "colorGreen", "colorBlue")
_NORMAL = ("nor:normalX", "nor:normalY", "nor:normalZ")
_NORMAL_EXTENSION = "http://www.libe57.org/E57_NOR_surface_normals.txt"
_AT_ONCE = 1 << 20
_PAGE, _CONTENT = 1024, 1020
"""Bytes of a page, and those of them before its checksum."""
_DEEPEST = 32
_LARGEST_XML = 1 << 28

Rows = dict[str, np.ndarray]


def read_e57(path: Path | str) -> PointCloud:
    """The points of all scans of an E57 file, each brought to the world by its pose, in float64.

    Cartesian or spherical coordinates; points that their scan calls invalid are left out. Colours where every scan
    has them, scaled by the limits that the scan states, else intensities as grey (see ``grey``), where every scan
    has those. Normals where every scan has them (the extension nor:). Needs pye57. Raises CaptureError when it or the
    file is absent, and when it is damaged, empty or more than the memory holds.
    """
    path = Path(path)
    with said_in_one_line(path, _KIND, ValueError), path.open("rb") as stream:
        _check_xml(_xml(stream))
        size = os.fstat(stream.fileno()).st_size
    libe57 = _libe57()
    with _library_errors(path, libe57):
        file = libe57.ImageFile(str(path), "r")
        try:
            scans = [scan for scan in file.root()["data3D"] if scan.isDefined("points")]
            _check_counts(libe57, scans, size, path)
            with np.errstate(invalid="ignore", over="ignore"):  # points may be nowhere
                return _together([_scan(libe57, file, scan) for scan in scans])
        finally:
            file.close()


def write_e57(path: Path | str, cloud: PointCloud) -> float:
    """Write a cloud as E57 with one scan: positions in float64, colours of 8 bits, normals by the extension nor:.

    Returns 0, the rounding of positions. Raises CaptureError without pye57, and for a cloud without points or with
    positions that are not finite, which E57 cannot hold.
    """
    path = Path(path)
    libe57 = _libe57()
    columns = _columns(cloud)
    if len(cloud) == 0 or not all(np.isfinite(columns[name]).all() for name in _CARTESIAN):
        what = "no points to write" if len(cloud) == 0 else "E57 holds finite positions only"
        raise CaptureError(what, where=path, do="write PointCloud.finite()")
    file = libe57.ImageFile(str(path), "w")
    try:
        points = _new_points(libe57, file, columns)
        buffers = libe57.VectorSourceDestBuffer()
        for name, values in columns.items():
            buffers.append(libe57.SourceDestBuffer(file, name, values, len(cloud), True, True))
        writer = points.writer(buffers)
        writer.write(len(cloud))
        writer.close()
    finally:
        file.close()
    return 0.0


def _libe57() -> Any:
    try:
        return importlib.import_module("pye57.libe57")
    except ImportError:
        raise CaptureError("E57 needs the package pye57", do="pip install 'unrender[e57]'") from None


@contextmanager
def _library_errors(path: Path, libe57: Any) -> Iterator[None]:
    """Whatever the library and its bindings raise for damaged files, as one line."""
    errors = (RuntimeError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, MemoryError, OSError)
    try:
        yield
    except (libe57.E57Exception, *errors) as error:
        reason = str(error).split(" ****")[0]  # after that the library speaks to its authors
        raise damaged(path, _KIND, reason or type(error).__name__) from None


def _xml(stream: BinaryIO) -> bytes:
    """The part that describes all others, without the checksums that end each page. Raises ValueError."""
    start = stream.read(48)
    if start[:8] != b"ASTM-E57" or len(start) < 48:
        raise ValueError("it does not begin as E57")
    at, length, page = struct.unpack_from("<QQQ", start, 24)
    size = os.fstat(stream.fileno()).st_size
    if page != _PAGE or at > size or length > min(size, _LARGEST_XML):
        raise ValueError("its parts lie outside the file")
    stream.seek(at - at % _PAGE)
    pages = stream.read((at % _PAGE + length // _CONTENT + 2) * _PAGE if length else 0)
    content = b"".join(pages[start : start + _CONTENT] for start in range(0, len(pages), _PAGE))
    return content[at % _PAGE :][:length]


def _check_xml(xml: bytes) -> None:
    """Raises ValueError for XML that would keep the library busy or overflow its stack: entities, endless nesting."""
    depth = 0

    def deeper(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise ValueError(f"its XML is nested more than {_DEEPEST} deep")

    def back(_: str) -> None:
        nonlocal depth
        depth -= 1

    def refuse(*_: object) -> None:
        raise ValueError("its XML has a document type")

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler, parser.EndElementHandler, parser.StartDoctypeDeclHandler = deeper, back, refuse
    try:
        parser.Parse(xml, True)
    except expat.ExpatError as error:
        raise ValueError(f"its XML: {error}") from None


def _check_counts(libe57: Any, scans: list[Any], size: int, path: Path) -> None:
    """Refuse more points than the file has bits for (a point whose numbers are all fixed takes none), or the memory."""
    count = 0
    for scan in scans:
        points = scan["points"]
        bits = sum(_bits(node) for node in _prototype(libe57, points).values())
        if points.childCount() < 0 or points.childCount() * bits > 8 * size:
            raise ValueError(f"it is too short for the {points.childCount()} points that a scan states")
        count += points.childCount()
    if count == 0:
        raise CaptureError("no points in this E57 file", where=path)
    check_room(path, count)


def _bits(node: Any) -> int:
    """The bits of one number: whole numbers take as many as their range needs."""
    if hasattr(node, "precision"):
        return 32 if str(node.precision()).endswith("SINGLE") else 64
    return (int(node.maximum()) - int(node.minimum())).bit_length() if hasattr(node, "minimum") else 0


def _prototype(libe57: Any, points: Any) -> dict[str, Any]:
    """What one point has: name -> node with its type and range."""
    prototype = libe57.StructureNode(points.prototype())
    names = [prototype.get(index).elementName() for index in range(prototype.childCount())]
    return {name: prototype[name] for name in names}


def _scan(libe57: Any, file: Any, scan: Any) -> Rows:
    """Positions, colours, intensity and normals of one scan, those that it has."""
    names = set(_prototype(libe57, scan["points"]))
    place = next((group for group in (_CARTESIAN, _SPHERICAL) if names.issuperset(group)), None)
    if place is None:
        raise ValueError("a scan without coordinates")
    groups = {"positions": place, "colors": _COLOR, "normals": _NORMAL, "intensity": ("intensity",)}
    groups = {key: group for key, group in groups.items() if names.issuperset(group)}
    flag = [name for name in ("cartesianInvalidState", "sphericalInvalidState") if name in names][:1]
    rows = _read(libe57, file, scan["points"], groups, flag)
    if place is _SPHERICAL:
        rows["positions"] = _from_spherical(rows["positions"])
    rotation, translation = _pose(scan)
    rows["positions"] = rows["positions"] @ rotation.T
    rows["positions"] += translation
    if "normals" in rows:
        rows["normals"] = rows["normals"] @ rotation.T.astype(np.float32)
    if "colors" in rows:
        rows["colors"] = _colors(rows["colors"], scan)
    return rows


def _read(libe57: Any, file: Any, points: Any, groups: dict[str, tuple[str, ...]], flag: list[str]) -> Rows:
    """The columns of each group side by side, without the points that the flag calls invalid."""
    count = min(_AT_ONCE, points.childCount())
    names = [name for group in groups.values() for name in group] + flag
    single = {name for key, group in groups.items() if key != "positions" for name in group}
    values = {name: np.zeros(count, np.float32 if name in single else np.float64) for name in names}
    buffers = libe57.VectorSourceDestBuffer()
    for name, column in values.items():
        buffers.append(libe57.SourceDestBuffer(file, name, column, count, True, True))
    reader = points.reader(buffers)
    parts: dict[str, list[np.ndarray]] = {key: [] for key in groups}
    done = 0
    while count > 0 and (got := reader.read()) > 0:
        done += got
        valid = values[flag[0]][:got] == 0 if flag else slice(got)
        for key, group in groups.items():
            parts[key].append(np.stack([values[name][:got][valid] for name in group], axis=1))
    reader.close()
    if done != points.childCount():
        raise ValueError(f"{done} of {points.childCount()} points")
    empty = {key: np.empty((0, len(group)), np.float32) for key, group in groups.items()}
    return {key: np.concatenate(blocks) if blocks else empty[key] for key, blocks in parts.items()}


def _from_spherical(rows: np.ndarray) -> np.ndarray:
    """Range, azimuth, elevation (radians, from the x axis and from the xy plane) -> x y z."""
    distance, azimuth, elevation = rows.T
    flat = distance * np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), distance * np.sin(elevation)], axis=1)


def _pose(scan: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rotation [3, 3] and translation [3] float64, world from scan; nothing stated is none."""
    quaternion, translation = [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
    if scan.isDefined("pose/rotation"):
        quaternion = [float(scan["pose"]["rotation"][axis].value()) for axis in "wxyz"]
    if scan.isDefined("pose/translation"):
        translation = [float(scan["pose"]["translation"][axis].value()) for axis in "xyz"]
    norm = float(np.linalg.norm(quaternion))
    if not (abs(norm - 1) < 1e-3 and np.isfinite(translation).all()):
        raise ValueError(f"the pose of a scan: {quaternion} (w x y z), {translation}")
    rotation = rotation_from_quat_wxyz(torch.tensor(quaternion, dtype=torch.float64)).numpy()
    return rotation, np.array(translation)


def _colors(levels: np.ndarray, scan: Any) -> np.ndarray:
    """Levels of the scan -> 0..1 by the limits it states; without, by the largest of them."""
    if not scan.isDefined("colorLimits"):
        return unit_range(levels)
    limits = [[float(_value(scan["colorLimits"][name + end])) for name in _COLOR] for end in ("Minimum", "Maximum")]
    low, high = np.array(limits, np.float32)
    if not (np.isfinite(limits).all() and (high > low).all()):
        return unit_range(levels)
    return (levels - low) / (high - low)


def _value(node: Any) -> float:
    return node.scaledValue() if hasattr(node, "scaledValue") else node.value()


def _together(scans: list[Rows]) -> PointCloud:
    """One cloud of all scans, with what all of them have."""
    shared = set.intersection(*(set(rows) for rows in scans))
    shared -= {"intensity"} if "colors" in shared else set()
    whole = {key: np.concatenate([rows.pop(key) for rows in scans]) for key in shared}
    colors = grey(whole["intensity"][:, 0]) if "intensity" in whole else None
    if "colors" in whole:
        colors = torch.from_numpy(whole["colors"])
    normals = torch.from_numpy(whole["normals"]) if "normals" in whole else None
    return PointCloud(torch.from_numpy(whole["positions"]), colors, normals)


def _columns(cloud: PointCloud) -> Rows:
    columns: Rows = dict(zip(_CARTESIAN, cloud.positions.detach().cpu().double().numpy().T, strict=True))
    if cloud.colors is not None:
        columns.update(zip(_COLOR, whole_levels(cloud.colors).astype(np.uint8).T, strict=True))
    if cloud.normals is not None:
        columns.update(zip(_NORMAL, cloud.normals.detach().cpu().float().numpy().T, strict=True))
    return {name: np.ascontiguousarray(values) for name, values in columns.items()}


def _new_points(libe57: Any, file: Any, columns: Rows) -> Any:
    """The description of a file with one scan; its points, still to be written."""
    file.extensionsAdd("", libe57.E57_V1_0_URI)
    if _NORMAL[0] in columns:
        file.extensionsAdd("nor", _NORMAL_EXTENSION)
    root, scan, prototype = file.root(), libe57.StructureNode(file), libe57.StructureNode(file)
    root.set("formatName", libe57.StringNode(file, "ASTM E57 3D Imaging Data File"))
    root.set("guid", libe57.StringNode(file, f"{{{uuid.uuid4()}}}"))
    root.set("versionMajor", libe57.IntegerNode(file, libe57.E57_FORMAT_MAJOR))
    root.set("versionMinor", libe57.IntegerNode(file, libe57.E57_FORMAT_MINOR))
    root.set("data3D", libe57.VectorNode(file, True))
    root.set("images2D", libe57.VectorNode(file, True))
    scan.set("guid", libe57.StringNode(file, f"{{{uuid.uuid4()}}}"))
    _set_limits(libe57, file, scan, columns)
    for name in columns:
        precision = libe57.E57_DOUBLE if name in _CARTESIAN else libe57.E57_SINGLE
        node = libe57.IntegerNode(file, 0, 0, 255) if name in _COLOR else libe57.FloatNode(file, 0.0, precision)
        prototype.set(name, node)
    points = libe57.CompressedVectorNode(file, prototype, libe57.VectorNode(file, True))
    scan.set("points", points)
    root["data3D"].append(scan)
    return points


def _set_limits(libe57: Any, file: Any, scan: Any, columns: Rows) -> None:
    """The box around the points, and the range of colours, which other programs ask for."""
    box = libe57.StructureNode(file)
    for name, axis in zip(_CARTESIAN, "xyz", strict=True):
        box.set(f"{axis}Minimum", libe57.FloatNode(file, float(columns[name].min())))
        box.set(f"{axis}Maximum", libe57.FloatNode(file, float(columns[name].max())))
    scan.set("cartesianBounds", box)
    if _COLOR[0] in columns:
        limits = libe57.StructureNode(file)
        for name in _COLOR:
            limits.set(f"{name}Minimum", libe57.IntegerNode(file, 0))
            limits.set(f"{name}Maximum", libe57.IntegerNode(file, 255))
        scan.set("colorLimits", limits)
