"""OpenEXR files: linear radiance out and in, and what their headers say. H rows, W columns, channels last."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from unrender.errors import CaptureError, ShapeError
from unrender.images.header import UNREADABLE, PictureHeader, refuse_bomb, unreadable

__all__ = ["ExrAttribute", "inspect", "read_exr", "read_exr_channels", "read_exr_metadata", "write_exr"]

ExrAttribute: TypeAlias = str | int | float | tuple[float, ...] | np.ndarray
"""A value in an EXR header: text, numbers, chromaticities (8 floats) or a float32 [4, 4] matrix."""
_ROWS = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256}
"""Rows in a chunk by the number of the compression, https://openexr.com/en/latest/OpenEXRFileLayout.html."""
_TILED, _DEEP, _PARTS = 0x200, 0x800, 0x1000
"""Bits of the version field."""
_MOST_ATTRIBUTES = 10_000


def write_exr(path: Path | str, image: torch.Tensor, metadata: Mapping[str, ExrAttribute] | None = None) -> None:
    """Write linear radiance [H, W, 3] as a float32 OpenEXR file (channels R G B, ZIP: lossless).

    ``metadata`` becomes header attributes of the same names. Equal arguments give equal bytes. Raises ShapeError for
    any other shape, OSError when the file cannot be written.
    """
    import OpenEXR

    if image.ndim != 3 or image.shape[2] != 3:
        raise ShapeError("an EXR takes one picture", expected="[H, W, 3]", got=list(image.shape))
    pixels = np.ascontiguousarray(image.detach().to("cpu", torch.float32).numpy())
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **(metadata or {})}
    with OpenEXR.File(header, {"RGB": pixels}) as file:
        try:
            file.write(str(path))
        except RuntimeError as error:
            raise OSError(str(error)) from None


def read_exr(path: Path | str) -> torch.Tensor:
    """An OpenEXR picture as float32 [H, W, 3]; a lone luminance channel Y is repeated, other channels are dropped.

    Raises CaptureError when the file is absent, damaged, or has neither R G B nor Y.
    """
    return torch.from_numpy(read_exr_channels(Path(path)))


def read_exr_channels(path: Path, alpha: bool = False) -> np.ndarray:
    """float32 [H, W, 3] as ``read_exr``; with ``alpha`` [H, W, 4], opacity 1 where there is no channel A."""
    _, channels = _open_exr(path)
    names: tuple[str, ...] = _colours(channels, path)
    if alpha and "A" in channels:
        names = (*names, "A")
    if len({channels[name].shape for name in names}) > 1:
        raise CaptureError("channels of different sizes", where=path, do="export it as R G B")
    planes = [channels[name].astype(np.float32) for name in names]
    if alpha and "A" not in channels:
        planes.append(np.ones_like(planes[0]))
    return np.stack(planes, axis=-1)


def read_exr_metadata(path: Path | str) -> dict[str, Any]:
    """The attributes of an EXR header that ``ExrAttribute`` names. Raises CaptureError as ``read_exr``."""
    header, _ = _open_exr(Path(path))
    return {name: value for name, value in header.items() if _is_attribute(value)}


def _is_attribute(value: object) -> bool:
    of_numbers = isinstance(value, tuple) and all(isinstance(number, float) for number in value)
    return of_numbers or isinstance(value, str | int | float | np.ndarray)


def _open_exr(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    import OpenEXR

    if not path.is_file():
        raise CaptureError("no such file", where=path)
    try:
        _read_header(path)  # what is too large is not to be allocated
        with OpenEXR.File(str(path), separate_channels=True) as file:
            if not file.parts:  # says why on stderr, and goes on
                raise ValueError("its pixels are damaged")
            return dict(file.header()), {name: channel.pixels for name, channel in file.channels().items()}
    except UNREADABLE as error:
        raise unreadable(path, error) from None


def _colours(channels: Iterable[str], path: Path | str) -> tuple[str, str, str]:
    """The channels that are red, green and blue. Raises CaptureError."""
    channels = sorted(channels)
    names = ("R", "G", "B") if "R" in channels else ("Y", "Y", "Y")
    if any(name not in channels for name in names):
        got = ", ".join(channels[:8]) + (", ..." if len(channels) > 8 else "")
        raise CaptureError("no colour in this EXR", where=path, expected="channels R G B or Y", got=got)
    return names


def inspect(path: Path) -> PictureHeader:
    """What the header says. Raises one of UNREADABLE, CaptureError when there is no colour."""
    version, parts, end = _read_header(path)
    height, width = _size(parts[0])
    channels = set(_channels(parts[0]))
    _colours(channels, path)
    whole = _is_whole(path, version, parts, end)
    return PictureHeader(height, width, deep=True, linear=True, whole=whole, alpha="A" in channels)


_Header = dict[str, bytes]


def _read_header(path: Path) -> tuple[int, list[_Header], int]:
    """Version field, attributes of every part, and where they end. Raises ValueError when a part is too large."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        version, at, parts = struct.unpack_from("<I", data, 4)[0], 8, []
        while not parts or (version & _PARTS and data[at]):
            part: _Header = {}
            while data[at]:
                name, value, at = _attribute(data, at)
                part[name] = value
                if len(part) > _MOST_ATTRIBUTES:
                    raise ValueError("too many attributes")
            at += 1
            parts.append(part)
        for part in parts:
            refuse_bomb(*_size(part))
        return version, parts, at + bool(version & _PARTS)


def _attribute(data: mmap.mmap, at: int) -> tuple[str, bytes, int]:
    """Name and bytes of the attribute at ``at``, and where the next begins."""
    name_ends = data.find(b"\0", at, at + 256)
    kind_ends = data.find(b"\0", name_ends + 1, name_ends + 257)
    if min(name_ends, kind_ends) < 0:
        raise ValueError("the header is damaged")
    (length,) = struct.unpack_from("<i", data, kind_ends + 1)
    start = kind_ends + 5
    if length < 0 or start + length >= len(data):
        raise ValueError("the header is damaged")
    return data[at:name_ends].decode("latin-1"), data[start : start + length], start + length


def _size(part: _Header) -> tuple[int, int]:
    """(height, width) of the stored pixels, the data window."""
    left, top, right, bottom = struct.unpack("<4i", part["dataWindow"])
    return bottom - top + 1, right - left + 1


def _channels(part: _Header) -> Iterator[str]:
    """Names of channels: each is followed by a zero and 16 bytes of how it is stored."""
    listed, at = part["channels"], 0
    while at < len(listed) and listed[at]:
        end = listed.index(b"\0", at)
        yield listed[at:end].decode("latin-1")
        at = end + 17


def _is_whole(path: Path, version: int, parts: list[_Header], end: int) -> bool:
    """Whether the table of chunks is filled in and the last chunk ends within the file; of tiles, which need not say
    how many they are, nothing can be told.
    """
    chunks = 0
    for part in parts:
        rows = _ROWS.get(part["compression"][0])
        if "chunkCount" in part:
            chunks += struct.unpack("<i", part["chunkCount"])[0]
        elif version & _TILED or rows is None:
            return True
        else:
            chunks += -(-_size(part)[0] // rows)
    size = path.stat().st_size
    if chunks < 1 or end + 8 * chunks > size:
        return False
    with path.open("rb") as file:
        file.seek(end)
        offsets = struct.unpack(f"<{chunks}Q", file.read(8 * chunks))
        last = max(offsets)
        if min(offsets) < end or last + 8 > size:
            return False
        if version & (_TILED | _DEEP | _PARTS):
            return True
        file.seek(last)
        return last + 8 + struct.unpack("<ii", file.read(8))[1] <= size
