"""Pictures that Pillow decodes, with all the bits that they have.

Pillow has no pixels of three times 16 bits: of each sample it unpacks one byte, the upper. Which byte that is depends
on the byte order it believes the file to have, so a second decoding under the opposite belief brings the lower byte.
Decoding twice costs time; no library of tens of megabytes is needed for the commonest deep photos, PNG and TIFF.
"""

from __future__ import annotations

import mmap
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from unrender.images.header import PictureHeader, refuse_bomb

__all__ = ["decode", "decode_deep", "inspect", "opened", "splits", "with_opacity"]

_START_OF_SCAN, _PADDING, _END_OF_IMAGE = 0xDA, (0x00, 0xFF), b"\xff\xd9"
"""JPEG markers; between its segments there may be padding."""
_SPLIT = {"RGB;16", "RGBA;16", "RGBX;16"}
"""Raw modes, less their byte order, of which Pillow unpacks one byte of two."""
_GREY_ALPHA = "LA;16B"
"""Grey and opacity of 16 bits: four bytes a pixel, which may as well be unpacked as RGBA."""
_MOVING = ("GIF", "PNG", "WEBP")
"""Formats whose further pictures are no previews or other looks of the first."""
_OTHER_ORDER = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


def inspect(path: Path) -> PictureHeader:
    """What the header says. Raises one of UNREADABLE."""
    with opened(path) as picture:
        width, height = picture.size
        look = {"JPEG": _jpeg_is_whole, "MPO": _jpeg_is_whole, "PNG": _png_is_whole, "WEBP": _webp_is_whole}
        whole = look[picture.format](path) if picture.format in look else True
        split, raw = splits(picture), _raw_mode(picture)
        return PictureHeader(
            height,
            width,
            deep=split or raw == "I;16B" or picture.mode.startswith("I;16"),
            whole=whole,
            alpha=_has_alpha(raw) if split else picture.has_transparency_data,
            several=picture.format in _MOVING and getattr(picture, "is_animated", False),
        )


def decode(path: Path, mode: str) -> np.ndarray:
    """Stored pixels in a Pillow mode of 8 bits ("RGB", "RGBA" or "L"); of deeper files uint16 [H, W, 3 or 4], except
    for "L". Raises one of UNREADABLE.
    """
    with opened(path) as picture:
        if splits(picture) and mode != "L":
            return decode_deep(path, mode)
        if picture.mode.startswith("I;16") or _raw_mode(picture) == "I;16B":
            grey = np.asarray(picture).astype(np.uint16)
            return (grey >> 8).astype(np.uint8) if mode == "L" else with_opacity(_as_rgb(grey), None, mode)
        picture.load()
        if picture.mode in ("I", "F"):
            raise ValueError(f"pixel type {picture.mode}")
        return np.array(picture.convert(mode))


def decode_deep(path: Path, mode: str) -> np.ndarray:
    """uint16 [H, W, 3] (mode "RGB") or [H, W, 4] ("RGBA") of a file that ``splits``."""
    with opened(path) as picture:
        raw = _raw_mode(picture)
        if raw == _GREY_ALPHA:
            _unpack_as(picture, "RGBA")
            pixels = np.asarray(picture).astype(np.uint16)
            pixels = (pixels[..., ::2] << 8) | pixels[..., 1::2]
            return with_opacity(_as_rgb(pixels[..., 0]), pixels[..., 1], mode)
        pixels = np.asarray(picture).astype(np.uint16) << 8
    with opened(path) as picture:
        _unpack_as(picture, raw[:-1] + _OTHER_ORDER[raw[-1]])
        pixels |= np.asarray(picture)
    return with_opacity(pixels[..., :3], pixels[..., 3] if _has_alpha(raw) else None, mode)


def _as_rgb(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None], 3, axis=2)


def with_opacity(colour: np.ndarray, opacity: np.ndarray | None, mode: str) -> np.ndarray:
    """``colour`` [H, W, 3] for mode "RGB"; for "RGBA" [H, W, 4] with ``opacity`` [H, W], of the same type, full where
    that is None.
    """
    if mode != "RGBA":
        return colour
    most = 1.0 if colour.dtype.kind == "f" else np.iinfo(colour.dtype).max
    if opacity is None:
        opacity = np.full(colour.shape[:2], most, dtype=colour.dtype)
    return np.concatenate([colour, opacity[..., None]], axis=2)


def splits(picture: Image.Image) -> bool:
    """Whether Pillow would drop the lower byte of this opened picture, and ``decode_deep`` does not."""
    raw = _raw_mode(picture)
    return raw == _GREY_ALPHA or (raw[:-1] in _SPLIT and raw[-1] in _OTHER_ORDER)


def _has_alpha(raw: str) -> bool:
    return raw == _GREY_ALPHA or raw.startswith("RGBA")


def _raw_mode(picture: Image.Image) -> str:
    """How the file packs its pixels, in Pillow's words, "" where it does not say."""
    tiles = getattr(picture, "tile", [])
    raw = tiles[0][3] if tiles else ""
    raw = raw[0] if isinstance(raw, tuple) and raw else raw
    return raw if isinstance(raw, str) else ""


def _unpack_as(picture: Image.Image, raw: str) -> None:
    """Have all tiles of an opened picture unpacked from another raw mode."""
    tiles: list = picture.tile  # pyright: ignore[reportAttributeAccessIssue]
    for index, tile in enumerate(tiles):
        arguments = (raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw
        parts = (*tile[:3], arguments)
        tiles[index] = type(tile)(*parts) if hasattr(tile, "_fields") else parts  # named since Pillow 11


class _NoLimit:
    """Lifts Pillow's limit of 179 megapixels while any thread of ours is inside; we have a limit of our own."""

    def __init__(self) -> None:
        self._lock, self._inside, self._limit = threading.Lock(), 0, Image.MAX_IMAGE_PIXELS

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                Image.MAX_IMAGE_PIXELS = self._limit


_NO_LIMIT = _NoLimit()


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture file of at most MOST_PIXELS. Pillow's warnings about the state of its EXIF are of no use here."""
    with warnings.catch_warnings(), _NO_LIMIT:
        warnings.simplefilter("ignore")
        with Image.open(path) as picture:
            refuse_bomb(picture.size[1], picture.size[0])
            yield picture


def _jpeg_is_whole(path: Path) -> bool:
    """Whether an end-of-image marker follows the start of the first scan.

    Compressed bytes never hold that marker, so one is enough wherever it is, and looking from the end finds it at
    once. The previews inside the header have one too, so the header is stepped over segment by segment.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = 2
        while at + 4 <= len(data) and data[at + 1] != _START_OF_SCAN:
            is_segment = data[at] == 0xFF and data[at + 1] not in _PADDING
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big") if is_segment else 1
        return data.rfind(_END_OF_IMAGE, at) >= 0


def _png_is_whole(path: Path) -> bool:
    """Whether there is a last chunk."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.rfind(b"IEND\xaeB`\x82") >= 0


def _webp_is_whole(path: Path) -> bool:
    """Whether the container is as long as it says."""
    with path.open("rb") as file:
        return path.stat().st_size >= 8 + int.from_bytes(file.read(8)[4:], "little")
