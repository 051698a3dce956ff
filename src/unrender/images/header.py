"""What the first bytes of a picture file say, and one line for whatever is wrong with the rest.

Kinds are told apart by their bytes, never by the name of the file: a PNG called .jpg is read as PNG.
"""

from __future__ import annotations

import importlib
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from PIL import Image

from unrender.errors import CaptureError
from unrender.images.tables import is_mosaic

__all__ = [
    "MOST_PIXELS",
    "UNREADABLE",
    "PictureHeader",
    "is_lossy",
    "kind_of",
    "load_extra",
    "refuse_bomb",
    "unreadable",
]

MOST_PIXELS = 500_000_000
"""Pixels of the largest picture that is decoded: more than any camera takes, less than a file that wants to fill
the memory asks for."""

UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    EOFError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What decoders raise on damaged files: each has tables that damage leads astray."""

_HEAD = 64
_EXR, _TIFF = b"\x76\x2f\x31\x01", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_RAW = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb")
"""How RAW files of Fujifilm, Olympus, Panasonic and Sigma begin."""
_JPEG, _WEBP = b"\xff\xd8\xff", b"WEBP"
_CANON_RAW, _CANON_RAW_BRAND = b"CR\2\0", b"crx "


class PictureHeader(NamedTuple):
    """Size in stored pixels; ``deep``: more than 8 bits a channel are kept; ``linear``: numbers are light, not encoded;
    ``whole``: nothing is missing at the end, as far as that can be told without decoding; ``alpha``: something says how
    opaque each pixel is; ``several``: other pictures follow the first, which alone is read.
    """

    height: int
    width: int
    deep: bool = False
    linear: bool = False
    whole: bool = True
    alpha: bool = False
    several: bool = False


def is_lossy(path: Path) -> bool:
    """Whether the photo is stored as JPEG, HEIF, AVIF or WebP: values are off by a few levels, colours by more. Raises
    OSError.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return head.startswith(_JPEG) or head[8:12] == _WEBP or kind_of(path) in ("HEIF", "AVIF")


def kind_of(path: Path) -> str:
    """EXR, TIFF, HEIF, AVIF or RAW as the first bytes say, else an empty word: Pillow finds out. Raises OSError.

    DNG and what most makers write begin as TIFF does; their tables of tags tell them apart.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(_EXR):
        return "EXR"
    if head.startswith(_RAW) or head[8:12] in (_CANON_RAW, _CANON_RAW_BRAND):
        return "RAW"
    if head.startswith(_TIFF):
        return "RAW" if _is_mosaic(path) else "TIFF"
    return _brand(head) if head[4:8] == b"ftyp" else ""


def _is_mosaic(path: Path) -> bool:
    try:
        return is_mosaic(path)
    except UNREADABLE:  # whoever decodes it says what is wrong with it
        return False


def _brand(head: bytes) -> str:
    """Which of the kinds that share the ISO container: the compatible brands count where the first is general."""
    end = min(len(head), int.from_bytes(head[:4], "big"))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & _HEIF_BRANDS else ""


def refuse_bomb(height: int, width: int) -> None:
    """Raises ValueError for a size that no photo has: nothing of that size is to be allocated."""
    if min(height, width) < 1:
        raise ValueError(f"{width} x {height} pixels")
    if height * width > MOST_PIXELS:
        raise ValueError(f"{width} x {height} pixels, more than {MOST_PIXELS // 10**6} megapixels")


def load_extra(modules: Sequence[str], extra: str, path: Path, what: str) -> ModuleType:
    """The first of the libraries ``modules`` that is installed. Raises CaptureError that names the extra."""
    for module in modules:
        with suppress(ImportError):
            return importlib.import_module(module)
    raise CaptureError(f"{what} needs {modules[-1]}", where=path, do=f"pip install 'unrender[{extra}]'")


def unreadable(path: Path, error: Exception) -> CaptureError:
    """One line for everything that decoders say."""
    if isinstance(error, FileNotFoundError):
        return CaptureError("no such file", where=path)
    reason = str(error) or type(error).__name__
    if isinstance(error, MemoryError):
        reason = "not enough memory"
    if isinstance(error, Image.UnidentifiedImageError):
        reason = "not an image" if path.stat().st_size else "the file is empty"
    return CaptureError(
        f"cannot be read as a picture ({reason[:200]})", where=path, do="replace it, or convert it to JPEG or PNG"
    )
