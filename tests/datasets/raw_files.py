"""DNG files made here: 16-bit, uncompressed, of a camera whose colours are those of linear sRGB."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

BLACK, WHITE = 512, 15000
"""What the sensor counts in the dark, and when it is full."""
_XYZ_TO_CAMERA = (3.2404542, -1.5371385, -0.4985314, -0.9692660, 1.8760108, 0.0415560, 0.0556434, -0.2040259, 1.0572252)
_FORMATS = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 10: "ii"}


def write_dng(
    path: Path, light: np.ndarray, exposure: tuple[float, float, int] | None = None, orientation: int = 1
) -> Path:
    """Linear ``light`` [H, W, 3], 1 = the sensor is full, as the mosaic R G / G B of a DNG.

    ``exposure``: f-number, seconds, ISO, for EXIF.
    """
    mosaic = _mosaic(light)
    height, width = mosaic.shape
    tags: dict[int, tuple[int, tuple | bytes]] = {
        254: (4, (0,)),
        256: (4, (width,)),
        257: (4, (height,)),
        258: (3, (16,)),
        259: (3, (1,)),
        262: (3, (32803,)),
        271: (2, b"Nobody\0"),
        273: (4, (0,)),
        274: (3, (orientation,)),
        277: (3, (1,)),
        278: (4, (height,)),
        279: (4, (mosaic.nbytes,)),
        284: (3, (1,)),
        33421: (3, (2, 2)),
        33422: (1, (0, 1, 1, 2)),
        50706: (1, (1, 4, 0, 0)),
        50708: (2, b"Nobody One\0"),
        50714: (3, (BLACK,)),
        50717: (4, (WHITE,)),
        50721: (10, tuple(number for value in _XYZ_TO_CAMERA for number in (round(value * 1e6), 1_000_000))),
        50728: (5, (1, 1) * 3),
        50778: (3, (21,)),
    }
    if exposure is not None:
        tags[34665] = (4, (0,))
    start = _length(tags)
    exif = b"" if exposure is None else _table(_exif(exposure), start, {})
    found = {34665: start, 273: start + len(exif)}
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + _table(tags, 8, found) + exif + mosaic.tobytes())
    return path


def _mosaic(light: np.ndarray) -> np.ndarray:
    counts = (BLACK + light.clip(0, 1) * (WHITE - BLACK)).round().astype("<u2")
    mosaic = counts[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = counts[::2, ::2, 0], counts[1::2, 1::2, 2]
    return mosaic


def _exif(exposure: tuple[float, float, int]) -> dict[int, tuple[int, tuple | bytes]]:
    f_number, seconds, iso = exposure
    return {
        33434: (5, (round(seconds * 1e6), 1_000_000)),
        33437: (5, (round(f_number * 1000), 1000)),
        34855: (3, (iso,)),
    }


def _packed(kind: int, values: tuple | bytes) -> bytes:
    return values if isinstance(values, bytes) else struct.pack(f"<{len(values)}{_FORMATS[kind][0]}", *values)


def _length(tags: dict[int, tuple[int, tuple | bytes]]) -> int:
    """Where the table ends that begins at 8."""
    return 8 + len(_table(tags, 8, {}))


def _table(tags: dict[int, tuple[int, tuple | bytes]], at: int, places: dict[int, int]) -> bytes:
    """A table of tags that begins at ``at``, with what is too long for it behind; ``places`` go in as they are."""
    entries, behind = b"", b""
    start = at + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        data = struct.pack("<I", places[tag]) if tag in places else _packed(kind, values)
        count = len(values) // (2 if kind in (5, 10) else 1)
        if len(data) > 4:
            entries += struct.pack("<HHII", tag, kind, count, start + len(behind))
            behind += data + b"\0" * (len(data) % 2)
        else:
            entries += struct.pack("<HHI", tag, kind, count) + data.ljust(4, b"\0")
    return struct.pack("<H", len(tags)) + entries + b"\0" * 4 + behind
