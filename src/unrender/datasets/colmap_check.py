"""Is this COLMAP model whole? pycolmap does not ask.

Its reader trusts every count and never looks whether the file has ended: a cut binary model is read as noise, a
wrong count allocates until memory runs out or loops for hours; of a text model without its empty observation
lines, every second image is lost in silence. So the files are walked once, before, record by record without
looking at values, and a refusal says which file and why.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from pathlib import Path

from unrender.errors import CaptureError

__all__ = ["check_model"]

_REDO = "copy the model again, or write it again with COLMAP (model_converter)"
_PARTS = ("cameras", "images", "points3D")
_RIGID = 7 * 8
"""Bytes of a quaternion and a translation."""


def check_model(folder: Path) -> None:
    """Raise CaptureError, naming the file, unless the binary or text model in ``folder`` is structurally whole."""
    if all((folder / f"{part}.bin").is_file() for part in _PARTS):
        for part, skip in _RECORDS.items():
            path = folder / f"{part}.bin"
            if path.is_file():
                _walk(path, skip)
    else:
        for part in _PARTS:
            _check_text(folder / f"{part}.txt")
        _check_text_cameras(folder / "cameras.txt")
        _check_text_images(folder / "images.txt")


def _walk(path: Path, skip: Callable[[mmap.mmap, int], int]) -> None:
    """A count, then that many records, then the end of the file."""
    size = path.stat().st_size
    if size < 8:
        raise CaptureError(
            "this model file is cut short", where=path, expected="a count", got=f"{size} bytes", do=_REDO
        )
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        count, at, record = _unpack("<Q", data, 0), 8, 0
        try:
            while record < count and at < size:
                at, record = skip(data, at), record + 1
        except struct.error:
            at = size + 1
        except _UnknownModelError as unknown:
            raise CaptureError(f"unknown camera model {unknown}", where=path, do=_SUPPORTED) from None
    if record != count or at != size:
        raise CaptureError(
            "this model file does not end where its counts say",
            where=path,
            expected=f"{count} records",
            got=f"{size} bytes, {'too few' if at > size or record < count else 'too many'}",
            do=_REDO,
        )


def _skip_camera(data: mmap.mmap, at: int) -> int:
    """Id (4), model (4), width (8), height (8), parameters (8 each)."""
    return at + 24 + 8 * _parameter_count(_unpack("<i", data, at + 4))


def _skip_image(data: mmap.mmap, at: int) -> int:
    """Id (4), pose, camera id (4), name ended by a zero byte, count (8), observations (24 each)."""
    end_of_name = data.find(b"\0", at + 8 + _RIGID)
    if end_of_name < 0:
        raise struct.error
    return end_of_name + 9 + 24 * _unpack("<Q", data, end_of_name + 1)


def _skip_point(data: mmap.mmap, at: int) -> int:
    """Id (8), position (24), colour (3), error (8), count (8), track (8 each)."""
    return at + 51 + 8 * _unpack("<Q", data, at + 43)


def _skip_rig(data: mmap.mmap, at: int) -> int:
    """Id (4), count (4), the reference sensor (8), then each sensor (8), whether it has a pose (1), the pose."""
    sensors = _unpack("<I", data, at + 4)
    at += 8 if sensors == 0 else 16
    for _ in range(1, sensors):
        at += 9 + _RIGID * bool(_unpack("<B", data, at + 8))
    return at


def _skip_frame(data: mmap.mmap, at: int) -> int:
    """Id (4), rig id (4), pose, count (4), data ids (16 each)."""
    return at + 12 + _RIGID + 16 * _unpack("<I", data, at + 8 + _RIGID)


_RECORDS: dict[str, Callable[[mmap.mmap, int], int]] = {
    "cameras": _skip_camera,
    "images": _skip_image,
    "points3D": _skip_point,
    "rigs": _skip_rig,
    "frames": _skip_frame,
}


def _unpack(kind: str, data: mmap.mmap, at: int) -> int:
    return struct.unpack_from(kind, data, at)[0]


class _UnknownModelError(Exception):
    """A number that COLMAP gives to no camera model."""


_SUPPORTED = "use SIMPLE_PINHOLE, PINHOLE, SIMPLE_RADIAL, RADIAL or OPENCV"


def _parameter_count(model: int) -> int:
    """How many parameters COLMAP's camera model of this number has."""
    import pycolmap

    try:
        camera = pycolmap.Camera.create_from_model_id(1, pycolmap.CameraModelId(model), 1.0, 1, 1)
    except ValueError:
        raise _UnknownModelError(model) from None
    return len(camera.params)


def _check_text(path: Path) -> None:
    """COLMAP reads nothing at all from a text model with carriage returns."""
    head = path.read_bytes()[:65536]
    if b"\r" in head:
        raise CaptureError(
            "Windows line ends: COLMAP would read nothing", where=path, do="save it with plain line feeds"
        )
    if b"\0" in head:
        raise CaptureError("this is no text model", where=path, do=_REDO)


def _check_text_cameras(path: Path) -> None:
    """Lines of: id, model, width, height, parameters."""
    import pycolmap

    for number, line in _lines(path):
        words = line.split()
        if words and len(words) < 5:
            raise CaptureError(
                f"line {number} is no camera", where=path, expected="id, model, size, parameters", do=_REDO
            )
        if words and words[1] not in pycolmap.CameraModelId.__members__:
            raise CaptureError(f"unknown camera model {words[1]}", where=path, do=_SUPPORTED)


def _check_text_images(path: Path) -> None:
    """Pairs of lines: id, pose, camera id, name; then the observations, three numbers each or none."""
    lines = iter(_lines(path))
    for number, line in lines:
        words = line.split()
        if not words:
            continue
        if len(words) < 10 or not _numbers(words[:9]):
            raise CaptureError(
                f"line {number} is no image",
                where=path,
                expected="id, 7 numbers of the pose, camera id, name",
                do=_REDO,
            )
        number, line = next(lines, (number + 1, ""))
        words = line.split()
        if len(words) % 3 or not _numbers(words[-3:]):
            raise CaptureError(
                f"line {number} holds no observations", where=path, expected="an empty line, or x, y, point id for each"
            )


def _lines(path: Path) -> list[tuple[int, str]]:
    """Numbered lines that are no comments."""
    text = path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    return [(number, line.strip()) for number, line in enumerate(text, start=1) if not line.startswith("#")]


def _numbers(words: list[str]) -> bool:
    try:
        [float(word) for word in words]
    except ValueError:
        return False
    return True
