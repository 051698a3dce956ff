"""HEIC and HEIF, as phones take them, through pi-heif (extra ``[heic]``) or pillow-heif, where that is there.

Pixels are turned and mirrored as the container says (``irot``, ``imir``): that belongs to decoding, every decoder does
it, so also the one that made the pictures that a reconstruction saw. The EXIF orientation is not applied on top.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from unrender.images.header import PictureHeader, load_extra, refuse_bomb
from unrender.images.opacity import with_opacity

__all__ = ["decode", "exif_block", "inspect"]

_LIBRARIES = ("pillow_heif", "pi_heif")
"""The extra names the latter, because the wheels of the former bring an encoder under the GPL; who has that all the
same is better off, as pi-heif 1.4.0 is older and crashes on some files whose metadata are damaged."""
_LARGE, _TO_THE_END = 1, 0
"""Sizes of a box that say where its size is instead."""


def inspect(path: Path) -> PictureHeader:
    """What the container says. Raises one of UNREADABLE, CaptureError without the extra."""
    picture = _opened(path)
    width, height = picture.size
    return PictureHeader(height, width, _bits(picture) > 8, alpha=bool(picture.has_alpha))


def decode(path: Path, mode: str = "RGB") -> np.ndarray:
    """[H, W, 3], with mode "RGBA" [H, W, 4], uint8, or uint16 (full range) of files of 10 and 12 bits. Raises as
    ``inspect``.
    """
    picture = _opened(path)
    pixels = np.array(picture)  # a copy: the library frees its own with ``picture``, whoever still looks at it
    pixels = np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels
    opacity = pixels[..., 3] if pixels.shape[2] == 4 and picture.has_alpha else None
    pixels = with_opacity(pixels[..., :3], opacity, mode)
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    most = 2 ** _bits(picture) - 1
    return ((pixels.astype(np.uint32).clip(max=most) * 65535 + most // 2) // most).astype(np.uint16)


def exif_block(path: Path) -> bytes:
    """The EXIF block, empty where there is none. Raises as ``inspect``."""
    return _opened(path).info.get("exif") or b""


def _bits(picture: Any) -> int:
    return int(picture.info.get("bit_depth", 8))


def _opened(path: Path) -> Any:
    """The primary picture, not decoded yet."""
    heif = load_extra(_LIBRARIES, "heic", path, "HEIC")
    if not _is_whole(path):
        raise ValueError("cut short")
    picture = heif.open_heif(path, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    refuse_bomb(picture.size[1], picture.size[0])
    return picture


def _is_whole(path: Path) -> bool:
    """Whether every box of the container ends within the file."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == _TO_THE_END:
                return True
            length = int.from_bytes(head[8:16], "big") if length == _LARGE else length
            if length < 8 or not head[4:8].isalnum():
                return True  # what follows the last box does not matter
            at += length
    return at <= size
