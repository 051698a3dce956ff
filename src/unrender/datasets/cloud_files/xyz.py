"""Points as lines of text, in the many ways in which programs write them: .xyz .txt .csv .asc .pts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from unrender.datasets.cloud_files.damage import check_room, said_in_one_line
from unrender.datasets.cloud_files.levels import grey, unit_range, whole_levels
from unrender.datasets.cloud_files.number_rows import LONGEST_LINE, Separator, is_number, number_rows
from unrender.datasets.point_cloud import PointCloud
from unrender.errors import CaptureError

__all__ = ["XYZ_SUFFIXES", "read_xyz", "write_xyz"]

XYZ_SUFFIXES = (".xyz", ".txt", ".csv", ".asc", ".pts")

_ROLES: tuple[str, ...] = ("x", "y", "z", "red", "green", "blue", "nx", "ny", "nz", "intensity")
_ALIASES = {
    **{role: role for role in _ROLES},
    **dict.fromkeys(("easting", "east"), "x"),
    **dict.fromkeys(("northing", "north"), "y"),
    **dict.fromkeys(("elevation", "height", "altitude"), "z"),
    **dict.fromkeys(("r", "rf"), "red"),
    **dict.fromkeys(("g", "gf"), "green"),
    **dict.fromkeys(("b", "bf"), "blue"),
    **dict.fromkeys(("normal_x", "normalx"), "nx"),
    **dict.fromkeys(("normal_y", "normaly"), "ny"),
    **dict.fromkeys(("normal_z", "normalz"), "nz"),
    **dict.fromkeys(("i", "scalar_intensity", "reflectance", "remission"), "intensity"),
}
_COLOR, _NORMAL = slice(3, 6), slice(6, 9)
_SEPARATORS = (Separator(";", True), Separator(","), Separator("\t"), Separator(), Separator(None, True))
_UNITS = re.compile(r"\[.*?\]|\(.*?\)|[\"']")
_COMMENT = re.compile("#|//")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_HEADER_LINES = 200
_NAME_THEM = "name the columns in a first line, as in: x y z intensity red green blue"


@dataclass(frozen=True)
class _Layout:
    """How the lines of one file are made."""

    separator: Separator
    width: int
    names: tuple[str, ...] | None
    stated: int | None
    first_line: int


def read_xyz(path: Path | str) -> PointCloud:
    """The points of a text file: a line each, numbers between white space, commas, semicolons or tabs.

    Lines that begin with # or // are comments; one of them, or the first line, may name the columns (x y z, r g b or
    red green blue, nx ny nz, intensity; others are passed over). A number alone in the first line is the count of
    points, as in PTS. Without names there are x y z and then nothing, an intensity, colours or normals (three),
    intensity and colours (four, as in PTS, or the other way round), colours and normals (six), or all (seven).
    Three numbers are normals where all have length 1 or one is negative. Colours are of 0..1, 0..255 or 0..65535, the
    first that no value exceeds. With semicolons or white space the decimal point may be a comma.

    Raises CaptureError when the file is absent, empty, no text, or a line is not like the first.
    """
    path = Path(path)
    with said_in_one_line(path, "points in text", ValueError), path.open("rb") as stream:
        layout = _layout(stream)
        _check_count(stream, layout, path)
        columns = _named_columns(layout)
        positions, rest = _gather(_rows(stream, layout, columns, path), path)
    if layout.stated not in (None, len(positions)):
        raise CaptureError("cut short", where=path, expected=f"{layout.stated} points", got=len(positions))
    roles = _guess(rest) if columns is None else [role for role in _ROLES[3:] if role in columns]
    return _cloud(path, positions, rest, roles)


def write_xyz(path: Path | str, cloud: PointCloud) -> float:
    """Write a cloud as text: x y z, red green blue (0..255), nx ny nz, in digits that give the same numbers again.

    A comment names the columns; CSV has commas and the names without comment. PTS has the count, and intensity 0
    before colours; it holds no normals (CaptureError). Colours of which none exceeds 1 of 255 are written as 0..1.
    Returns 0, the rounding of positions.
    """
    path = Path(path)
    kind, between = path.suffix.lower(), "," if path.suffix.lower() == ".csv" else " "
    if kind == ".pts" and cloud.normals is not None:
        raise CaptureError("PTS holds no normals", where=path, do="write .xyz or .ply, or a cloud without normals")
    columns, names = _columns_to_write(cloud, with_intensity=kind == ".pts")
    head = {".pts": f"{len(cloud)}\n", ".csv": between.join(names) + "\n"}.get(kind, f"# {' '.join(names)}\n")
    line = between.join(["%r"] * len(columns)) + "\n"
    with path.open("w", encoding="ascii", newline="\n") as stream:
        stream.write(head)
        for start in range(0, len(cloud), 1 << 16):
            block = [column[start : start + (1 << 16)].tolist() for column in columns]
            stream.writelines(line % row for row in zip(*block, strict=True))
    return 0.0


def _columns_to_write(cloud: PointCloud, *, with_intensity: bool) -> tuple[list[np.ndarray], list[str]]:
    columns = list(cloud.positions.detach().cpu().double().numpy().T)
    names = list(_ROLES[:3])
    if cloud.colors is not None:
        levels = whole_levels(cloud.colors)
        if with_intensity:
            columns.append(np.zeros(len(cloud), np.int32))
            names.append("intensity")
        columns += list((levels / 255 if levels.max(initial=0) <= 1 else levels).T)
        names += _ROLES[_COLOR]
    if cloud.normals is not None:
        columns += list(cloud.normals.detach().cpu().double().numpy().T)
        names += _ROLES[_NORMAL]
    return columns, names


def _layout(stream: BinaryIO) -> _Layout:
    """Read up to the first line of numbers, and leave the stream there."""
    names, stated = None, None
    if stream.read(len(_BYTE_ORDER_MARK)) != _BYTE_ORDER_MARK:
        stream.seek(0)
    for number in range(1, _HEADER_LINES):
        start = stream.tell()
        line = stream.readline(LONGEST_LINE)
        text = line.decode("latin1").strip()
        if not line:
            raise ValueError("no points")
        if b"\0" in line or len(line) == LONGEST_LINE:
            raise ValueError("not text")
        comment = text.startswith(("#", "//"))
        if not text or comment:
            names = _names(text.lstrip("#/")) or names
        elif stated is None and text.isascii() and text.isdigit() and len(text) < 20:
            stated = int(text)
        elif found := _separator(text, names):
            stream.seek(start)
            return _Layout(found, len(found.split(_COMMENT.split(text)[0])), names, stated, number)
        elif names is None and (names := _names(text)) is None:
            raise ValueError(f"line {number} has neither numbers nor names of columns: {text[:60]!r}")
        elif names is not None and any(is_number(field) for field in re.split(r"[\s,;]+", text)):
            raise ValueError(f"line {number} is not like the names of its columns: {text[:60]!r}")
    raise ValueError(f"no numbers within {_HEADER_LINES} lines")


def _names(text: str) -> tuple[str, ...] | None:
    """The columns that a line names, ours under their own names, or None when x y z are not among them."""
    between = next((mark for mark in (";", ",", "\t") if mark in text), None)
    fields = [_UNITS.sub("", field).strip().lower() for field in text.strip().split(between)]
    names = tuple(_ALIASES.get(field, field) for field in fields)
    return names if set(_ROLES[:3]) <= set(names) else None


def _separator(text: str, names: tuple[str, ...] | None) -> Separator | None:
    """The first separator that makes numbers of a line: of all its fields, or of those whose names we know."""
    text = _COMMENT.split(text)[0]
    for separator in _SEPARATORS:
        fields = separator.split(text)
        if names is not None and len(fields) == len(names):
            fields = [field for field, name in zip(fields, names, strict=True) if name in _ROLES]
        if len(fields) >= 3 and all(map(is_number, fields)):
            return separator
    return None


def _check_count(stream: BinaryIO, layout: _Layout, path: Path) -> None:
    """Refuse a stated count that the file cannot hold, two bytes for each number, before anything is read."""
    if layout.stated is None:
        return
    if layout.stated > (os.fstat(stream.fileno()).st_size - stream.tell()) // (2 * layout.width) + 1:
        raise ValueError(f"it is too short for the {layout.stated} points that it states")
    check_room(path, layout.stated)


def _named_columns(layout: _Layout) -> dict[str, int] | None:
    """Role -> column, where the file names as many columns as it has. Groups that are not whole are left out."""
    if layout.names is None or len(layout.names) != layout.width:
        return None
    found = {role: layout.names.index(role) for role in _ROLES if role in layout.names}
    for group in (_ROLES[_COLOR], _ROLES[_NORMAL]):
        if not all(role in found for role in group):
            found = {role: column for role, column in found.items() if role not in group}
    return found


def _rows(stream: BinaryIO, layout: _Layout, columns: dict[str, int] | None, path: Path) -> Iterator[np.ndarray]:
    chosen = None if columns is None else list(columns.values())
    if columns is None and layout.width not in (3, 4, 6, 7, 9, 10):
        raise CaptureError(f"cannot tell what its {layout.width} columns are", where=path, do=_NAME_THEM)
    return number_rows(stream, layout.width, layout.separator, columns=chosen, first_line=layout.first_line)


def _gather(blocks: Iterator[np.ndarray], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Positions [N, 3] float64 and the other columns [N, k] float32."""
    positions, rest = [np.empty((0, 3))], []
    count = 0
    for block in blocks:
        count += len(block)
        check_room(path, len(block))
        positions.append(block[:, :3].copy())
        with np.errstate(over="ignore"):
            rest.append(block[:, 3:].astype(np.float32))
    if count == 0:
        raise ValueError("no points")
    whole = np.concatenate(positions)
    positions.clear()
    return whole, np.concatenate(rest)


def _guess(rest: np.ndarray) -> list[str]:
    """The roles of unnamed columns after x y z."""
    color, normal, intensity = list(_ROLES[_COLOR]), list(_ROLES[_NORMAL]), ["intensity"]
    match rest.shape[1]:
        case 3:
            return normal if _are_directions(rest) else color
        case 4:
            return color + intensity if _are_levels(rest[:, :3]) and not _are_levels(rest[:, 1:]) else intensity + color
        case 6:
            turned = _are_directions(rest[:, :3]) and not _are_directions(rest[:, 3:])
            return normal + color if turned else color + normal
        case 7:
            return intensity + color + normal
        case _:
            return intensity[: rest.shape[1]]


def _are_directions(rows: np.ndarray) -> bool:
    """Whether three columns are normals rather than colours."""
    known = rows[np.isfinite(rows).all(axis=1)]
    if (known < 0).any():
        return True
    with np.errstate(over="ignore"):
        return bool((np.abs((known * known).sum(axis=1) - 1) < 0.01).all()) and len(known) > 0


def _are_levels(rows: np.ndarray) -> bool:
    """Whether three columns can be colours of 8 bits, or of 0..1 not mixed with larger ones."""
    known = rows[np.isfinite(rows).all(axis=1)]
    return len(known) == 0 or bool(known.min() >= 0 and known.max() <= 255 and (known.max() <= 1 or _whole(known)))


def _whole(rows: np.ndarray) -> bool:
    return bool((rows == np.floor(rows)).all())


def _cloud(path: Path, positions: np.ndarray, rest: np.ndarray, roles: list[str]) -> PointCloud:
    colors = normals = None
    if "red" in roles:
        at = roles.index("red")
        try:
            colors = torch.from_numpy(np.ascontiguousarray(unit_range(rest[:, at : at + 3])))
        except ValueError as error:
            what = f"columns {at + 4} to {at + 6} hold {error}"
            raise CaptureError(what, where=path, expected="0 to 255", do=_NAME_THEM) from None
    elif "intensity" in roles:
        colors = grey(rest[:, roles.index("intensity")])
    if "nx" in roles:
        at = roles.index("nx")
        normals = torch.from_numpy(rest[:, at : at + 3].copy())
    return PointCloud(torch.from_numpy(positions), colors, normals)
