"""The bytes of an OpenMVS interchange file, little-endian, and what they say; see ``openmvs.py``.

Lists are a 64-bit count and the entries, texts a 64-bit length and UTF-8. Every count is held against the bytes
that are left before anything is made of it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from unrender.datasets.clouds import PointCloud
from unrender.errors import CaptureError

__all__ = ["NO_ID", "Camera", "Image", "Platform", "Pose", "Scene", "is_interface", "is_project", "pack", "parse"]

NO_ID = 0xFFFFFFFF
"""In place of a number: there is none."""
_MAGIC, _PROJECT, _NEWEST, _WRITTEN = b"MVSI", b"MVS\0", 7, 5
Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Pose:
    """x -> R (x - C): ``rotation`` [3, 3] and ``center`` [3] float64."""

    rotation: torch.Tensor
    center: torch.Tensor


@dataclass(frozen=True)
class Camera:
    """``k`` [3, 3] float64 in pixels of ``width`` x ``height``, in longer sides where these are 0; ``mount``: from the
    platform to it.
    """

    name: str
    width: int
    height: int
    k: torch.Tensor
    mount: Pose


@dataclass(frozen=True)
class Platform:
    """What carries cameras, and where it was, world to platform."""

    cameras: tuple[Camera, ...]
    poses: tuple[Pose, ...]


@dataclass(frozen=True)
class Image:
    """A photo: its file, that of its mask or "", and numbers of platform, of camera and pose there, and its own."""

    name: str
    mask: str
    platform: int
    camera: int
    pose: int
    number: int


@dataclass(frozen=True)
class Scene:
    """What is in a file. ``views``: of each point, the images that saw it, by place; empty when read.

    ``transformed``: whether the file says that it was moved from another frame.
    """

    platforms: tuple[Platform, ...]
    images: tuple[Image, ...]
    points: PointCloud
    views: tuple[tuple[int, ...], ...] = ()
    transformed: bool = False


def is_interface(path: Path) -> bool:
    """Whether a file begins as an interchange file does."""
    return _start(path) == _MAGIC


def is_project(path: Path) -> bool:
    """Whether a file is OpenMVS's own archive, which only it can read."""
    return _start(path) == _PROJECT


def parse(path: Path) -> Scene:
    """The scene in an interchange file. Raises CaptureError when it is cut short, too new or counts what it has not."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CaptureError(f"cannot be read ({error.strerror})", where=path) from None
    source = _Source(data, path)
    if source.bytes(4) != _MAGIC:
        raise CaptureError("this is no interchange file of OpenMVS", where=path, expected="MVSI first")
    version = source.number()
    if not 1 <= version <= _NEWEST:
        raise CaptureError("the version of this file", where=path, expected=f"1 to {_NEWEST}", got=version)
    source.number()
    return _scene(source, version)


def pack(scene: Scene) -> bytes:
    """The bytes of a scene, version 5, which OpenMVS reads since 2021."""
    parts = [_MAGIC, struct.pack("<II", _WRITTEN, 0), struct.pack("<Q", len(scene.platforms))]
    for number, platform in enumerate(scene.platforms):
        parts += [_text(f"platform{number:03d}"), struct.pack("<Q", len(platform.cameras))]
        for camera in platform.cameras:
            size = struct.pack("<II", camera.width, camera.height)
            parts += [_text(camera.name), _text(""), size, _doubles(camera.k), _packed_pose(camera.mount)]
        parts += [struct.pack("<Q", len(platform.poses)), *map(_packed_pose, platform.poses)]
    parts.append(struct.pack("<Q", len(scene.images)))
    for image in scene.images:
        numbers = struct.pack("<IIII", image.platform, image.camera, image.pose, image.number)
        parts += [_text(image.name), _text(image.mask), numbers]
    return b"".join([*parts, *_packed_points(scene), bytes(3 * 8), _doubles(torch.eye(4))])


class _Source:
    """Bytes that are taken one after the other."""

    def __init__(self, data: bytes, path: Path) -> None:
        self._data, self._at, self.path = data, 0, path

    def bytes(self, count: int) -> bytes:
        """The next ``count`` of them."""
        if count > len(self._data) - self._at:
            left = len(self._data) - self._at
            what = "this file is cut short or damaged"
            raise CaptureError(what, where=self.path, expected=f"{count} more bytes", got=left, do="copy it again")
        self._at += count
        return self._data[self._at - count : self._at]

    def number(self) -> int:
        """32 bits."""
        return struct.unpack("<I", self.bytes(4))[0]

    def count(self, smallest: int) -> int:
        """64 bits: how many entries of at least ``smallest`` bytes follow."""
        count = struct.unpack("<Q", self.bytes(8))[0]
        left = len(self._data) - self._at
        if count * smallest > left:
            got = f"{count} entries in {left} bytes"
            raise CaptureError("a count that is no count", where=self.path, got=got, do="copy the file again")
        return count

    def text(self) -> str:
        """UTF-8."""
        try:
            return self.bytes(self.count(1)).decode("utf-8")
        except UnicodeDecodeError as error:
            raise CaptureError(f"a name that is not UTF-8 ({error.reason})", where=self.path) from None

    def doubles(self, *shape: int) -> torch.Tensor:
        """float64 numbers, row by row."""
        numbers = np.frombuffer(self.bytes(8 * int(np.prod(shape))), dtype="<f8")
        return torch.from_numpy(numbers.astype(np.float64)).reshape(shape)

    def each(self, smallest: int, read: Callable[[], Entry]) -> tuple[Entry, ...]:
        """A list of what ``read`` reads."""
        return tuple(read() for _ in range(self.count(smallest)))

    def table(self, kind: str, width: int) -> np.ndarray:
        """A list of rows of ``width`` numbers, [N, width]."""
        size = np.dtype(kind).itemsize * width
        return np.frombuffer(self.bytes(self.count(size) * size), dtype=kind).reshape(-1, width)

    def seen_places(self, floats: int) -> np.ndarray:
        """A list of ``floats`` coordinates each, [N, floats], and the views that follow, which are passed over."""
        rows, row, count = [], struct.Struct(f"<{floats}fQ"), self.count(4 * floats + 8)
        for _ in range(count):
            *place, views = row.unpack(self.bytes(row.size))
            self.bytes(8 * views)
            rows.append(place)
        return np.array(rows, dtype=np.float64).reshape(-1, floats)


def _scene(source: _Source, version: int) -> Scene:
    platforms = source.each(24, lambda: _platform(source, version))
    images = source.each(20, lambda: _image(source, version))
    positions = torch.from_numpy(source.seen_places(3))
    normals = torch.from_numpy(source.table("<f4", 3).astype(np.float32))
    colors = torch.from_numpy(source.table("u1", 3)[:, ::-1] / np.float32(255))  # stored blue, green, red
    for name, rows in (("normals", normals), ("colours", colors)):
        if len(rows) not in (0, len(positions)):
            got, expected = len(rows), f"none or {len(positions)}, one for each point"
            raise CaptureError(f"{name} of points", where=source.path, expected=expected, got=got, do="densify again")
    cloud = PointCloud(positions, colors if len(colors) else None, normals if len(normals) else None)
    _pass_lines(source)
    transformed = version > 1 and not torch.equal(source.doubles(4, 4), torch.eye(4, dtype=torch.float64))
    if version > 5:
        source.doubles(15)
    return Scene(platforms, images, cloud, transformed=transformed)


def _platform(source: _Source, version: int) -> Platform:
    source.text()
    cameras = source.each(8 + 21 * 8, lambda: _camera(source, version))
    return Platform(cameras, source.each(12 * 8, lambda: _pose(source)))


def _camera(source: _Source, version: int) -> Camera:
    name = source.text()
    if version > 3:
        source.text()  # the band
    return Camera(name, source.number(), source.number(), source.doubles(3, 3), _pose(source))


def _pose(source: _Source) -> Pose:
    return Pose(source.doubles(3, 3), source.doubles(3))


def _image(source: _Source, version: int) -> Image:
    name = source.text()
    mask = source.text() if version > 4 else ""
    platform, camera, pose = source.number(), source.number(), source.number()
    number = source.number() if version > 2 else NO_ID
    if version > 6:
        source.bytes(3 * 4)  # depths
        source.table("u1", 6 * 4)  # neighbours
    return Image(name, mask, platform, camera, pose, number)


def _pass_lines(source: _Source) -> None:
    source.seen_places(6)
    source.table("<f4", 3)
    source.table("u1", 3)


def _packed_points(scene: Scene) -> list[bytes]:
    cloud, parts = scene.points, []
    places = cloud.positions.cpu().numpy().astype("<f4")
    for place, views in zip(places, scene.views or ((),) * len(cloud), strict=True):
        parts += [place.tobytes(), struct.pack("<Q", len(views)), *(struct.pack("<If", view, 0.0) for view in views)]
    normals = np.zeros((0, 3)) if cloud.normals is None else cloud.normals.cpu().numpy()
    levels = np.zeros((0, 3)) if cloud.colors is None else (cloud.colors.cpu().clamp(0, 1) * 255).round().numpy()
    return [
        struct.pack("<Q", len(cloud)),
        *parts,
        struct.pack("<Q", len(normals)),
        normals.astype("<f4").tobytes(),
        struct.pack("<Q", len(levels)),
        levels[:, ::-1].astype("u1").tobytes(),
    ]


def _packed_pose(pose: Pose) -> bytes:
    return _doubles(pose.rotation) + _doubles(pose.center)


def _doubles(numbers: torch.Tensor) -> bytes:
    return numbers.detach().cpu().numpy().astype("<f8").tobytes()


def _text(text: str) -> bytes:
    encoded = text.encode("utf-8")
    return struct.pack("<Q", len(encoded)) + encoded


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4)
    except (OSError, ValueError):
        return b""
