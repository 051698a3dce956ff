"""Is this COLMAP model whole? pycolmap does not ask.

Its reader trusts every count and never looks whether the file has ended: a cut binary model is read as noise, a
wrong count allocates until memory runs out or loops for hours; of a text model without its empty observation
lines, every second image is lost in silence. So the files are walked once, before, record by record without
looking at values, and a refusal says which file and why.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from unrender.errors import CaptureError

__all__ = ["TextImage", "check_model", "model_is_binary", "text_images"]

_REDO = "copy the model again, or write it again with COLMAP (model_converter)"
_SUPPORTED = "use one that COLMAP has, such as SIMPLE_RADIAL or OPENCV"
_PARTS = ("cameras", "images", "points3D")
_RIGID = 7 * 8
"""Bytes of a quaternion and a translation."""


def model_is_binary(folder: Path) -> bool:
    """Whether COLMAP would read the binary files: it does so when all three are there."""
    return all((folder / f"{part}.bin").is_file() for part in _PARTS)


def check_model(folder: Path) -> None:
    """Raise CaptureError, naming the file, unless the binary or text model in ``folder`` is structurally whole."""
    if model_is_binary(folder):
        for part, skip in _RECORDS.items():
            path = folder / f"{part}.bin"
            if path.is_file():
                _walk(path, skip)
    else:
        _check_text(folder)


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
    """A number or name that COLMAP gives to no camera model."""


def _parameter_count(model: int | str) -> int:
    """How many parameters COLMAP's camera model of this number or name has."""
    import pycolmap

    try:
        known = pycolmap.CameraModelId.__members__[model] if isinstance(model, str) else pycolmap.CameraModelId(model)
        return len(pycolmap.Camera.create_from_model_id(1, known, 1.0, 1, 1).params)
    except (ValueError, KeyError):
        raise _UnknownModelError(model) from None


def _check_text(folder: Path) -> None:
    """The three text files, line by line, and that the cameras which images name are there."""
    cameras = _check_text_cameras(folder / "cameras.txt")
    for image in text_images(folder):
        if image.camera_id not in cameras:
            raise CaptureError(
                f"image {image.name!r} was taken with camera {image.camera_id}, which cameras.txt lacks",
                where=folder / "images.txt",
                expected=f"one of {sorted(cameras)[:9]}",
                do=_REDO,
            )
    _check_text_points(folder / "points3D.txt")
    if (folder / "frames.txt").is_file():
        _check_text_frames(folder / "frames.txt")


def _check_text_cameras(path: Path) -> set[int]:
    """Lines of: id, model, width, height, parameters. Returns the ids."""
    cameras: set[int] = set()
    for number, words in _lines(path):
        if not words:
            continue
        if len(words) < 5 or not _whole([words[0], *words[2:4]]) or min(int(words[2]), int(words[3])) < 1:
            raise _bad_line(path, number, "camera", "id, model, width and height of 1 or more, parameters")
        try:
            count = _parameter_count(words[1])
        except _UnknownModelError:
            raise CaptureError(f"unknown camera model {words[1]}", where=path, do=_SUPPORTED) from None
        if not _finite(words[4:], count):
            raise _bad_line(path, number, "camera", f"{count} finite parameters for {words[1]}")
        cameras.add(int(words[0]))
    if not cameras:
        raise CaptureError("no cameras in this model", where=path, do=_REDO)
    return cameras


def _check_text_points(path: Path) -> None:
    """Lines of: id, position, colour, error, then the track: pairs of whole numbers."""
    ids: set[str] = set()
    for number, words in _lines(path, words=9):
        if not words:
            continue
        track = words[8].split() if len(words) > 8 else []
        whole = words[:1] + words[4:7] + track[-2:]
        if not (_finite(words[:8], 8) and _whole(whole) and len(track) % 2 == 0 and max(map(int, words[4:7])) < 256):
            expected = "id, 3 finite coordinates, 3 colours 0..255, error, then image and observation for each sight"
            raise _bad_line(path, number, "point", expected)
        if words[0] in ids:
            raise CaptureError(f"line {number} has the id of another point", where=path, got=words[0], do=_REDO)
        ids.add(words[0])


def _check_text_frames(path: Path) -> None:
    """Lines of: id, rig id, pose, count, then three words each."""
    for number, words in _lines(path):
        if words and not (_finite(words[:10], 10) and _whole([*words[:2], words[9]])):
            raise _bad_line(path, number, "frame", "id, rig id, 7 finite numbers of the pose, count")


@dataclass(frozen=True)
class TextImage:
    """What a line of ``images.txt`` says besides the pose. The name is whole; COLMAP's reader cuts it at a space."""

    image_id: int
    camera_id: int
    name: str


def text_images(folder: Path) -> Iterator[TextImage]:
    """The images of a text model. Raises CaptureError, naming the line, where it is not made of pairs of lines.

    The first of a pair: id, pose, camera id, name. The second: the observations, three numbers each, or nothing.
    """
    path = folder / "images.txt"
    lines = _lines(path, words=10)
    for number, words in lines:
        if not words:
            continue
        if len(words) < 10 or not _finite(words[1:8], 7) or not _whole([words[0], words[8]]):
            raise _bad_line(path, number, "image", "id, 7 finite numbers of the pose, camera id, name")
        below, observations = next(lines, (number + 1, []))
        if not _are_observations(" ".join(observations).split()):
            raise _bad_line(path, below, "list of observations", "an empty line, or x, y, point id for each")
        yield TextImage(int(words[0]), int(words[8]), words[9])


def _are_observations(words: list[str]) -> bool:
    """Triples of numbers; the last is looked at: an image ends with its name."""
    return len(words) % 3 == 0 and _finite(words[-3:], min(3, len(words)))


def _bad_line(path: Path, number: int, kind: str, expected: str) -> CaptureError:
    return CaptureError(f"line {number} is no {kind}", where=path, expected=expected, do=_REDO)


def _lines(path: Path, words: int = -1) -> Iterator[tuple[int, list[str]]]:
    """Numbered lines that are no comments, cut into words; the last of at most ``words`` keeps its spaces."""
    with path.open(encoding="utf-8") as file:
        try:
            for number, line in enumerate(file, start=1):
                if not line.startswith("#"):
                    yield number, line.strip().split(maxsplit=words - 1 if words > 0 else -1)
        except UnicodeDecodeError as error:
            raise CaptureError(f"this text is not UTF-8 ({error.reason})", where=path, do=_REDO) from None


def _finite(words: list[str], count: int) -> bool:
    """Whether these are ``count`` finite numbers."""
    try:
        return len(words) == count and all(math.isfinite(float(word)) for word in words)
    except ValueError:
        return False


def _whole(words: list[str]) -> bool:
    """Whether these are whole numbers, none below zero, that COLMAP's 64 bits hold."""
    return all(word.isascii() and word.isdecimal() and len(word) < 20 for word in words)
