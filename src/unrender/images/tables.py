"""The tables of tags of which TIFF files and most RAW files are made: enough to tell one from the other."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL.TiffImagePlugin import ImageFileDirectory_v2

__all__ = ["is_mosaic", "last_byte", "tables"]

_PHOTOMETRIC, _SUBTABLES, _DNG_VERSION = 262, 330, 50706
_STARTS, _LENGTHS = (273, 324), (279, 325)
_MOSAIC, _LINEAR_RAW = 32803, 34892
"""Photometric interpretations: one colour per pixel, and what a camera made of that, both before any encoding."""
_MOST = 64
"""Tables that are looked at."""


def tables(path: Path) -> Iterator[ImageFileDirectory_v2]:
    """The first table of a file and those below it, depth first. Raises what Pillow raises on damage."""
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damage shows in what is missing
        head = file.read(8)
        head += file.read(8) if head[2:4] in (b"+\0", b"\0+") else b""
        places, seen = [ImageFileDirectory_v2(head).next], 0
        while places and seen < _MOST:
            table = ImageFileDirectory_v2(head)
            file.seek(places.pop())
            table.load(file)
            seen += 1
            yield table
            below = table.get(_SUBTABLES, ())
            places += [place for place in (below if isinstance(below, tuple) else (below,)) if place]


def is_mosaic(path: Path) -> bool:
    """Whether some table says that the pixels are a sensor's own. Raises what Pillow raises on damage."""
    return any(_DNG_VERSION in table or table.get(_PHOTOMETRIC) in (_MOSAIC, _LINEAR_RAW) for table in tables(path))


def last_byte(path: Path) -> int:
    """Where the last strip or tile of any table ends; 0 where that cannot be told, as in files without such tables."""
    try:
        ends = [end for table in tables(path) for end in _ends(table)]
    except (OSError, SyntaxError, ValueError, TypeError, LookupError):
        return 0
    return max(ends, default=0)


def _ends(table: ImageFileDirectory_v2) -> Iterator[int]:
    for start_tag, length_tag in zip(_STARTS, _LENGTHS, strict=True):
        starts, lengths = (_numbers(table.get(tag, ())) for tag in (start_tag, length_tag))
        yield from (start + length for start, length in zip(starts, lengths, strict=False))


def _numbers(value: object) -> tuple[int, ...]:
    found = value if isinstance(value, tuple) else (value,)
    return tuple(number for number in found if isinstance(number, int))
