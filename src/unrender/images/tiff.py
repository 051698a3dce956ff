"""TIFF: 8 and 16 bits through Pillow, everything else that is deep through tifffile (extra ``[deep]``).

Whole numbers are taken as encoded for display, floating-point numbers as linear light. Pixels as stored, the
orientation tag is not applied. First page.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from unrender.images import pillow
from unrender.images.header import UNREADABLE, PictureHeader, load_extra, refuse_bomb

__all__ = ["decode", "divided", "inspect"]

_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLES = 256, 257, 258, 262, 274, 277
_PLANAR, _FORMAT, _EXTRA, _SUBFILE = 284, 339, 338, 254
_ASSOCIATED, _OPACITY = 1, 2
"""Kinds of extra sample: opacity by which colours are multiplied already, and opacity alone."""
_STARTS, _LENGTHS = (273, 324), (279, 325)
_UNSIGNED, _FLOAT = 1, 3
_WHITE_IS_ZERO, _GREY, _RGB = 0, 1, 2


@dataclass(frozen=True)
class _Tags:
    """What the first page says of itself; ``end``: where its last strip or tile ends."""

    height: int
    width: int
    bits: int
    format: int
    photometric: int
    orientation: int
    samples: int
    planar: bool
    extra: int
    end: int
    several: bool

    @property
    def deep(self) -> bool:
        """Whether 8 bits a channel would lose something that we can keep."""
        return self.bits > 8 and self.photometric in (_WHITE_IS_ZERO, _GREY, _RGB)

    @property
    def alpha(self) -> bool:
        """Whether the sample after the colours says how opaque a pixel is."""
        return self.extra in (_ASSOCIATED, _OPACITY) and self.samples == (3 if self.photometric == _RGB else 1) + 1


def inspect(path: Path) -> PictureHeader:
    """What the tags say. Raises one of UNREADABLE."""
    tags = _read_tags(path)
    return PictureHeader(
        tags.height,
        tags.width,
        deep=tags.deep,
        linear=tags.deep and tags.format == _FLOAT,
        whole=tags.end <= path.stat().st_size,
        alpha=tags.alpha,
        several=tags.several,
    )


def decode(path: Path, mode: str) -> np.ndarray:
    """[H, W, 3] uint8, uint16 or float32 (linear) for mode "RGB", [H, W, 4] for "RGBA", colours not multiplied by
    opacity; for "L" uint8 [H, W] of files of 8 bits. Raises one of UNREADABLE, CaptureError when an extra is needed.
    """
    tags = _read_tags(path)
    if not tags.deep:
        return _as_stored(pillow.decode(path, mode), tags)
    mode = "RGB" if mode == "L" else mode
    if _pillow_can(path, tags):
        return _levels(_as_stored(pillow.decode(path, mode), tags), tags)
    return _levels(_through_tifffile(path, tags, mode), tags)


def _read_tags(path: Path) -> _Tags:
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damage shows in what is missing
        head = file.read(8)
        head += file.read(8) if head[2:4] in (b"+\0", b"\0+") else b""
        table = ImageFileDirectory_v2(head)
        file.seek(table.next)
        table.load(file)
        return _tags(table, several=_has_further_page(file, head, table.next))


def _has_further_page(file: BinaryIO, head: bytes, at: int) -> bool:
    """Whether the table of tags at ``at`` is there and not of a smaller copy of the first picture or of its mask."""
    table = ImageFileDirectory_v2(head)
    try:
        file.seek(at)
        table.load(file) if at else None
    except UNREADABLE:
        return False
    return _WIDTH in table and not table.get(_SUBFILE, 0)


def _tags(table: ImageFileDirectory_v2, several: bool) -> _Tags:
    def number(tag: int, default: int) -> int:
        value = table.get(tag, default)
        value = (value or (default,))[0] if isinstance(value, tuple) else value
        if not isinstance(value, int):
            raise ValueError(f"tag {tag} is no whole number")
        return value

    height, width = number(_HEIGHT, 0), number(_WIDTH, 0)
    refuse_bomb(height, width)
    starts, lengths = ((*table.get(strips, ()), *table.get(tiles, ())) for strips, tiles in (_STARTS, _LENGTHS))
    if not starts:
        raise ValueError("no strips and no tiles")
    return _Tags(
        height,
        width,
        bits=number(_BITS, 1),
        format=number(_FORMAT, _UNSIGNED),
        photometric=number(_PHOTOMETRIC, _WHITE_IS_ZERO),
        orientation=number(_ORIENTATION, 1),
        samples=number(_SAMPLES, 1),
        planar=number(_PLANAR, 1) == 2,
        extra=number(_EXTRA, 0),
        several=several,
        end=max(start + length for start, length in zip(starts, lengths or (0,) * len(starts), strict=False)),
    )


def _pillow_can(path: Path, tags: _Tags) -> bool:
    if tags.bits != 16 or tags.format != _UNSIGNED or tags.planar:
        return False
    try:
        with pillow.opened(path) as picture:
            return pillow.splits(picture) or picture.mode.startswith("I;16")
    except Image.UnidentifiedImageError:
        return False


def _through_tifffile(path: Path, tags: _Tags, mode: str) -> np.ndarray:
    """The first page as it comes, [H, W, 3 or 4]."""
    tifffile = load_extra(("tifffile",), "deep", path, f"TIFF of this kind ({tags.bits} bits)")
    load_extra(("imagecodecs",), "deep", path, f"TIFF of this kind ({tags.bits} bits)")
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        expected = (tags.samples, tags.height, tags.width) if tags.planar else (tags.height, tags.width, tags.samples)
        if tuple(page.shape) not in (expected, expected[:2] if tags.samples == 1 else expected):
            raise ValueError(f"an array of {page.shape}")
        if len(page.dataoffsets) != math.prod(page.chunked):  # the rest would be zeros
            raise ValueError("strips or tiles are missing")
        pixels = page.asarray(maxworkers=1).reshape(expected)
    pixels = np.moveaxis(pixels, 0, 2) if tags.planar else pixels
    channels = (0, 1, 2) if tags.photometric == _RGB else (0, 0, 0)
    opacity = pixels[..., -1] if tags.alpha else None
    pixels = pillow.with_opacity(pixels[..., channels], opacity, mode)
    return divided(pixels) if mode == "RGBA" and tags.extra == _ASSOCIATED else pixels


def divided(pixels: np.ndarray) -> np.ndarray:
    """Colours by which opacity [H, W, 4] was multiplied as they were before; where it is 0, as they are."""
    most = 1.0 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
    opacity = pixels[..., 3:].astype(np.float32) / most
    before = pixels[..., :3] / np.where(opacity > 0, opacity, 1)
    before = before if pixels.dtype.kind == "f" else before.round().clip(0, most)
    return np.concatenate([before.astype(pixels.dtype), pixels[..., 3:]], axis=2)


def _levels(pixels: np.ndarray, tags: _Tags) -> np.ndarray:
    """Whole numbers at 16 bits, floats as float32."""
    if pixels.dtype.kind == "f":
        return pixels.astype(np.float32)
    if pixels.dtype.kind != "u":
        raise ValueError(f"pixel type {pixels.dtype}")
    if tags.bits != 16:
        most = 2**tags.bits - 1
        pixels = (pixels.astype(np.float64) * (65535 / most)).round().astype(np.uint16)
    if tags.photometric == _WHITE_IS_ZERO:
        pixels[..., :3] = 65535 - pixels[..., :3]
    return pixels


def _as_stored(pixels: np.ndarray, tags: _Tags) -> np.ndarray:
    """Pixels in the order of the file. Of this kind alone, Pillow turns what it decodes as the orientation says."""
    undo: dict[int, Callable[[], np.ndarray]] = {
        2: lambda: pixels[:, ::-1],
        3: lambda: pixels[::-1, ::-1],
        4: lambda: pixels[::-1],
        5: lambda: pixels.swapaxes(0, 1),
        6: lambda: np.rot90(pixels),
        7: lambda: pixels[::-1, ::-1].swapaxes(0, 1),
        8: lambda: np.rot90(pixels, -1),
    }
    return np.ascontiguousarray(undo[tags.orientation]()) if tags.orientation in undo else pixels
