"""RealityCapture's and RealityScan's table of cameras ("Internal/External camera parameters", CSV).

A row is the photo, x, y, alt of the camera, heading, pitch and roll in degrees, f for film 36 mm wide, px and py,
k1 k2 k3 k4 t1 t2. With s the longer side of the photo in pixels, the focal length is f s / 36 and the centre
(w/2, h/2) + s (px, py); no row says how large a photo is. The distortion is Brown's polynomial with t1 = OpenCV's p2
and t2 = its p1. Angles turn the world's north, east, down about z, y, x into those of an aircraft under which the
camera hangs, its upper side to the nose: with axes x right, y up, z backwards,

    world_from_camera = Rz(-heading) Rx(pitch) Ry(roll).

A row does not say whether k1 is Brown's or that of the division model; XMP files do, see ``realitycapture_xmp.py``.
Sources: Epic Games, "Camera Geometry in RealityScan", sections 3 to 5 and A; a camera that the program exported both
ways (Epic's forum, thread 710449); nerfstudio's importer for the angles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from unrender.cameras.lens import Lens
from unrender.datasets.beside_cameras import POINTS, check_names, cloud_beside
from unrender.datasets.brown_polynomial import Polynomial, holds_polynomial, nearest_lens_of, polynomial_of
from unrender.datasets.clouds import write_ply
from unrender.datasets.listed_photos import complete_labels, find_listed, photo_sizes, share_lenses
from unrender.datasets.realitycapture_xmp import read_sidecars, sidecars_of
from unrender.datasets.reconstruction import Reconstruction
from unrender.datasets.xml_tree import number
from unrender.errors import CaptureError
from unrender.geometry.transforms import rigid

__all__ = [
    "REALITYCAPTURE_LENSES",
    "holds_row",
    "is_realitycapture",
    "read_realitycapture",
    "write_realitycapture",
]

REALITYCAPTURE_LENSES = ("RADIAL", "SIMPLE_RADIAL", "SIMPLE_PINHOLE")
"""The lenses that a row can hold whatever their numbers."""
_NAME = "cameras.csv"
_COLUMNS = ("name", "x", "y", "alt", "heading", "pitch", "roll", "f", "px", "py", "k1", "k2", "k3", "k4", "t1", "t2")
_OTHER_NAMES = {"yaw": "heading", "f_35mm": "f", "px_norm": "px", "py_norm": "py", "z": "alt"}
_NEEDED = _COLUMNS[:8]
_HEAD, _MOST = 1 << 12, 20
"""Bytes in which a file must show its columns, and how many CSV files of a folder are looked at."""
_FILM = 36.0
_FLIP = torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64)
_DO = "export it again: Alignment, Registration, Internal/External camera parameters"


def is_realitycapture(path: Path) -> bool:
    """Whether this is a CSV file of cameras, or a folder with one or with XMP files of RealityCapture."""
    return _find(path) is not None or sidecars_of(path) is not None


def read_realitycapture(
    path: Path,
    *,
    images: Path | None = None,
    observations: bool = False,  # noqa: ARG001
) -> Reconstruction:
    """The cameras in a CSV file, in the CSV file of a folder, or in the XMP files beside the photos of a folder.

    Photos are in ``images`` or the folder of the file, and must be there, as only they say how large they are. Points:
    ``points.ply`` beside the file; another lone PLY file is the dense cloud. There are never ``observations``. Raises
    CaptureError, one line, when something is missing or damaged, or a lens has terms that no lens of ours has.
    """
    file = path if path.is_file() else _find(path)
    if file is None:
        return read_sidecars(path, images)
    rows = _rows(file)
    listed = find_listed([row.name for row in rows], file, path if path.is_dir() else file.parent, images)
    names = complete_labels(listed.names, listed.folder, file)
    sizes = photo_sizes(names, listed.folder, file)
    found = [nearest_lens_of(*size, row.polynomial(size), row.where) for row, size in zip(rows, sizes, strict=True)]
    lenses, index = share_lenses([lens for lens, _ in found])
    points, dense = cloud_beside(file.parent)
    return Reconstruction(
        names=names,
        image_folder=listed.folder,
        camera_from_world=torch.stack([row.pose() for row in rows]),
        camera_index=index,
        lenses=lenses,
        points=points,
        dense=dense,
        notes=(*listed.notes, *_lens_notes(rows, [off for _, off in found])),
    )


def write_realitycapture(folder: Path, reconstruction: Reconstruction) -> None:
    """Write cameras.csv, and points as points.ply. Raises CaptureError for a lens that a row cannot hold."""
    check_names(reconstruction, folder, "")
    with (folder / _NAME).open("w", encoding="utf-8", newline="\n") as out:
        out.write(f"#{','.join(_COLUMNS)}\n")
        out.writelines(_lines(reconstruction, folder))
    if len(reconstruction.points):
        write_ply(folder / POINTS, reconstruction.points)


def holds_row(lens: Lens) -> bool:
    """Whether a row can hold just this lens: one focal length, and Brown's polynomial."""
    if not holds_polynomial(lens):
        return False
    numbers = polynomial_of(lens, None)
    return numbers.fx == numbers.fy


@dataclass(frozen=True)
class _Row:
    """One camera: its photo, its numbers by column, and where it is in the file."""

    name: str
    values: dict[str, float]
    where: str

    def polynomial(self, size: tuple[int, int]) -> Polynomial:
        """The lens for a photo of that size."""
        (width, height), of = size, self.values
        scale = max(size)
        focal = of["f"] * scale / _FILM
        center = (width / 2 + scale * of["px"], height / 2 + scale * of["py"])
        return Polynomial(focal, focal, *center, (of["k1"], of["k2"], of["k3"], of["k4"]), (of["t2"], of["t1"]))

    def pose(self) -> torch.Tensor:
        """camera_from_world [4, 4] float64."""
        heading, pitch, roll = (math.radians(self.values[name]) for name in ("heading", "pitch", "roll"))
        attitude = _about(2, -heading) @ _about(0, pitch) @ _about(1, roll)
        rotation = _FLIP[:, None] * attitude.T
        center = torch.tensor([self.values[name] for name in ("x", "y", "alt")], dtype=torch.float64)
        return rigid(rotation, -(rotation @ center))


def _about(axis: int, angle: float) -> torch.Tensor:
    """The rotation [3, 3] by an angle [radians] about a coordinate axis."""
    rotation = torch.eye(3, dtype=torch.float64)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    rotation[first, first] = rotation[second, second] = math.cos(angle)
    rotation[second, first] = math.sin(angle)
    rotation[first, second] = -math.sin(angle)
    return rotation


def _angles(attitude: torch.Tensor) -> tuple[float, float, float]:
    """Heading, pitch and roll [degrees] of world_from_camera [3, 3]; exact also where a camera is level (pitch 90)."""
    sine, cosine = float(attitude[2, 1]), math.hypot(float(attitude[0, 1]), float(attitude[1, 1]))
    heading = math.atan2(float(attitude[0, 1]), float(attitude[1, 1])) if cosine else 0.0
    pitch = math.atan2(sine, cosine)
    rest = _about(0, -pitch) @ _about(2, heading) @ attitude  # takes what rounding left of a heading at the pole
    return math.degrees(heading), math.degrees(pitch), math.degrees(math.atan2(float(rest[0, 2]), float(rest[0, 0])))


def _find(path: Path) -> Path | None:
    try:
        if not path.is_dir():
            return path if path.is_file() and _columns_in(path) else None
        files = [path / _NAME, *sorted(path.glob("*.csv"))[:_MOST]]
        return next((file for file in files if file.is_file() and _columns_in(file)), None)
    except (OSError, ValueError):
        return None


def _columns_in(file: Path) -> bool:
    with file.open("rb") as opened:
        head = opened.read(_HEAD).decode("utf-8-sig", errors="replace")
    return any(_header(line) is not None for line in head.splitlines()[:3])


def _header(line: str) -> list[str] | None:
    """The columns that a line names, in our words; None when it is no such line."""
    words = [word.strip().lower() for word in line.lstrip("#").split(",")]
    words = [_OTHER_NAMES.get(word, word) for word in words]
    return words if words[0] == "name" and set(_NEEDED) <= set(words) else None


def _rows(file: Path) -> list[_Row]:
    """The cameras of a CSV file."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise CaptureError(f"this table is not UTF-8 ({error.reason})", where=file, do=_DO) from None
    at, columns = next(((at, names) for at, line in enumerate(lines[:3]) if (names := _header(line))), (0, None))
    if columns is None or len(set(columns)) < len(columns):
        raise CaptureError("no such columns", where=file, expected=", ".join(_NEEDED), got=lines[:1], do=_DO)
    numbered = enumerate(lines[at + 1 :], at + 2)
    cameras = [(n, line) for n, line in numbered if line.strip() and not _comment(line, columns)]
    rows = [_row(line, columns, f"{file}: line {n}") for n, line in cameras]
    if not rows:
        raise CaptureError("no cameras in this table", where=file, do=_DO)
    return rows


def _comment(line: str, columns: Sequence[str]) -> bool:
    return line.startswith("#") and line.count(",") < len(columns) - 1


def _row(line: str, columns: Sequence[str], where: str) -> _Row:
    fields = line.rsplit(",", len(columns) - 1)  # a name may have commas
    if len(fields) != len(columns):
        raise CaptureError("too few columns", where=where, expected=len(columns), got=len(fields), do=_DO)
    values: dict[str, float] = dict.fromkeys(_COLUMNS[1:], 0.0)
    for name, field in zip(columns[1:], fields[1:], strict=True):
        if name in values:
            values[name] = number(field, name, where)
    return _Row(fields[0].strip(), values, where)


def _lens_notes(rows: Sequence[_Row], off: Sequence[float]) -> tuple[str, ...]:
    lone = sum(bool(row.values["k1"]) and not any(row.values[name] for name in _COLUMNS[11:]) for row in rows)
    notes = []
    if lone:
        notes.append(f"{lone} cameras have k1 alone: read as Brown's; had it been the division model, export XMP files")
    if inexact := [residual for residual in off if residual]:
        notes.append(f"{len(inexact)} cameras have terms that no lens has, which make up to {max(inexact):.2g} pixels")
    return tuple(notes)


def _lines(reconstruction: Reconstruction, folder: Path) -> Iterator[str]:
    for name, pose, lens in zip(
        reconstruction.names, reconstruction.camera_from_world, reconstruction.lens_of_view, strict=True
    ):
        if not holds_row(lens):
            raise CaptureError(f"a row of RealityCapture cannot hold the lens {lens.model}", where=folder)
        numbers, scale = polynomial_of(lens, folder), max(lens.width, lens.height)
        attitude = (_FLIP[:, None] * pose[:3, :3]).T
        center = -(pose[:3, :3].T @ pose[:3, 3])
        intrinsics = (
            numbers.fx * _FILM / scale,
            (numbers.cx - lens.width / 2) / scale,
            (numbers.cy - lens.height / 2) / scale,
        )
        values = (*center.tolist(), *_angles(attitude), *intrinsics, *numbers.radial, *numbers.tangential[::-1])
        yield ",".join([name, *map(repr, values)]) + "\n"
