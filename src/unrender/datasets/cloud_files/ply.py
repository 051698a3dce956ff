"""PLY: text or binary of either byte order (Greg Turk's polygon format, as its readers agree on it today).

The vertices are read and nothing else, so that a mesh's faces cost no time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from unrender.datasets.cloud_files.damage import check_room, said_in_one_line
from unrender.datasets.cloud_files.levels import grey, unit_range, whole_levels
from unrender.datasets.cloud_files.number_rows import LONGEST_LINE, Separator, number_rows
from unrender.datasets.point_cloud import PointCloud
from unrender.errors import CaptureError

__all__ = ["read_ply", "write_ply"]

_POSITION, _COLOR, _NORMAL = ("x", "y", "z"), ("red", "green", "blue"), ("nx", "ny", "nz")
_INTENSITY = ("intensity", "scalar_intensity", "reflectance")
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"ascii": None, "binary_little_endian": "<", "binary_big_endian": ">"}
_AT_ONCE = 1 << 20
_HEADER_LINES = 10_000

Block = Mapping[str, np.ndarray] | np.ndarray
"""Some vertices: property -> its values [n]."""


@dataclass
class _Element:
    name: str
    count: int
    types: dict[str, str] = field(default_factory=dict)
    has_lists: bool = False


def read_ply(path: Path | str) -> PointCloud:
    """The ``vertex`` element of a PLY file, text or binary.

    Needs x y z; takes red green blue (uchar and ushort are divided by their largest, other types by 1, 255 or 65535,
    the first that none exceeds), else an intensity as grey, and nx ny nz, when all three are there. Raises CaptureError
    when the file is absent, damaged, or has no vertices.
    """
    path = Path(path)
    with said_in_one_line(path, "PLY", ValueError), path.open("rb") as stream:
        order, before, vertices = _header(stream, path)
        if vertices.count == 0:
            raise CaptureError("no points in this PLY", where=path)
        if any(vertices.types.get(name) is None for name in _POSITION):
            raise CaptureError("vertices without position", where=path, expected="x y z", got=list(vertices.types))
        _check_length(stream, order, before, vertices)
        check_room(path, vertices.count)
        return _cloud(vertices, (_text_blocks if order is None else _binary_blocks)(stream, order, before, vertices))


def write_ply(path: Path | str, cloud: PointCloud, *, text: bool = False) -> float:
    """Write a cloud as binary (or ``text``) PLY: double positions, float normals, uchar colours (clamped, rounded).

    Returns 0, the rounding of positions.
    """
    columns = [(name, "<f8", "double", rows) for name, rows in _named(_POSITION, cloud.positions)]
    if cloud.normals is not None:
        columns += [(name, "<f4", "float", rows) for name, rows in _named(_NORMAL, cloud.normals)]
    if cloud.colors is not None:
        levels = torch.from_numpy(whole_levels(cloud.colors))
        columns += [(name, "u1", "uchar", rows) for name, rows in _named(_COLOR, levels)]
    vertices = np.empty(len(cloud), dtype=[(name, kind) for name, kind, _, _ in columns])
    for name, _, _, rows in columns:
        vertices[name] = rows
    lines = ["ply", f"format {'ascii' if text else 'binary_little_endian'} 1.0", f"element vertex {len(cloud)}"]
    lines += [f"property {type_} {name}" for name, _, type_, _ in columns] + ["end_header", ""]
    with Path(path).open("wb") as stream:
        stream.write("\n".join(lines).encode())
        if text:
            stream.writelines((" ".join(map(str, row)) + "\n").encode() for row in vertices.tolist())
        else:
            stream.write(vertices.data)
    return 0.0


def _named(names: tuple[str, ...], rows: torch.Tensor) -> zip[tuple[str, np.ndarray]]:
    return zip(names, rows.detach().cpu().numpy().T, strict=True)


def _header(stream: BinaryIO, path: Path) -> tuple[str | None, list[_Element], _Element]:
    """The byte order (None: text), the elements before the vertices, and the vertices."""
    if stream.readline(LONGEST_LINE).rstrip() != b"ply":
        raise ValueError("it does not begin with 'ply'")
    order, elements = "", []
    for _ in range(_HEADER_LINES):
        line = stream.readline(LONGEST_LINE).decode("latin1").split()
        match line:
            case []:
                continue
            case ["end_header"]:
                break
            case ["comment" | "obj_info", *_]:
                continue
            case ["format", name, "1.0"] if name in _ORDERS:
                order = _ORDERS[name]
            case ["element", name, count] if count.isascii() and count.isdigit() and len(count) < 20:
                elements.append(_Element(name, int(count)))
            case ["property", *words] if elements:
                _add_property(elements[-1], words)
            case _:
                raise ValueError(f"no line of a header: {' '.join(line)[:60]!r}")
    else:
        raise ValueError("no end_header")
    if order == "":
        raise ValueError("no format")
    names = [element.name for element in elements]
    if "vertex" not in names:
        raise CaptureError("no element 'vertex' in this PLY", where=path)
    return order, elements[: names.index("vertex")], elements[names.index("vertex")]


def _add_property(element: _Element, words: list[str]) -> None:
    match words:
        case ["list", count_type, type_, _] if count_type in _TYPES and type_ in _TYPES:
            element.has_lists = True
        case [type_, name] if type_ in _TYPES and name not in element.types:
            element.types[name] = _TYPES[type_]
        case _:
            raise ValueError(f"no property: {' '.join(words)[:60]!r}")


def _row(element: _Element, order: str | None) -> np.dtype:
    return np.dtype([(name, (order or "<") + kind) for name, kind in element.types.items()])


def _check_length(stream: BinaryIO, order: str | None, before: list[_Element], vertices: _Element) -> None:
    """Raises ValueError when the file cannot hold what its header states: text has two bytes per number at least."""
    if vertices.has_lists or (order is not None and any(element.has_lists for element in before)):
        raise ValueError("lists in or before the vertices")
    held = os.fstat(stream.fileno()).st_size - stream.tell() + 1  # the last line may lack its end
    for element in (*before, vertices):
        text_row = max(1, 2 * len(element.types))
        held -= element.count * (text_row if order is None else _row(element, order).itemsize)
    if held < (1 if order is not None else 0):
        raise ValueError(f"it is too short for the {vertices.count} vertices that its header states")


def _binary_blocks(stream: BinaryIO, order: str | None, before: list[_Element], vertices: _Element) -> Iterator[Block]:
    stream.seek(sum(element.count * _row(element, order).itemsize for element in before), os.SEEK_CUR)
    row = _row(vertices, order)
    for start in range(0, vertices.count, _AT_ONCE):
        count = min(_AT_ONCE, vertices.count - start)
        content = stream.read(count * row.itemsize)
        yield np.frombuffer(content, row, count)


def _text_blocks(stream: BinaryIO, _: str | None, before: list[_Element], vertices: _Element) -> Iterator[Block]:
    for _row_before in range(sum(element.count for element in before)):
        stream.readline(LONGEST_LINE)
    names = list(vertices.types)
    for rows in number_rows(stream, len(names), Separator(), most=vertices.count):
        yield dict(zip(names, rows.T, strict=True))


def _cloud(vertices: _Element, blocks: Iterator[Block]) -> PointCloud:
    """Gather what is wanted of each block; a column is converted when it is copied, into its place."""
    types = vertices.types
    groups: dict[str, tuple[str, ...]] = {"positions": _POSITION, "colors": _COLOR, "normals": _NORMAL}
    groups = {key: names for key, names in groups.items() if all(name in types for name in names)}
    intensity = [name for name in types if name.lower() in _INTENSITY][:1]
    if "colors" not in groups and intensity:
        groups["intensity"] = (intensity[0],)
    rows = {
        key: np.empty((vertices.count, len(names)), np.float64 if key == "positions" else np.float32)
        for key, names in groups.items()
    }
    done = 0
    for block in blocks:
        count = len(block["x"])
        for key, names in groups.items():
            for column, name in enumerate(names):
                rows[key][done : done + count, column] = block[name]
        done += count
    if done < vertices.count:
        raise ValueError(f"{done} of {vertices.count} vertices")
    tensors = {key: torch.from_numpy(values) for key, values in rows.items() if key != "intensity"}
    if "colors" in rows:
        tensors["colors"] = torch.from_numpy(_colors(rows["colors"], [types[name] for name in _COLOR]))
    elif "intensity" in rows:
        tensors["colors"] = grey(rows["intensity"][:, 0])
    return PointCloud(**tensors)


def _colors(levels: np.ndarray, types: list[str]) -> np.ndarray:
    """Colours of the types that are made for levels are fractions of the largest; others tell by their values."""
    if not set(types) <= {"u1", "u2"}:
        return unit_range(levels)
    levels /= np.array([np.iinfo(kind).max for kind in types], np.float32)
    if not (levels.min() >= 0 and levels.max() <= 1):  # in text
        raise ValueError("colours that their type cannot hold")
    return levels
