"""RAW files of cameras through rawpy (extra ``[raw]``): what the sensor counted, demosaiced, as linear light.

Of what a converter can do, only what a measurement needs is done. Black is taken off and the sensor's white level
becomes 1: a pixel at 1 is one where the sensor saturates, in every photo of a camera alike. White balance is the
camera's daylight one, the same for every photo, not the one that it chose for each: so colours of different photos
can be compared, and what the light was like is left to the fitted white points. Primaries become those of sRGB
(Rec. 709). No brightness is adapted, no curve applied, no noise removed, no highlight invented.

Pixels as stored, the orientation is not applied. Where a maker's file holds a margin that the maker's JPEG leaves out,
the margin is there: the size is LibRaw's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from unrender.images.header import PictureHeader, load_extra, refuse_bomb
from unrender.images.opacity import with_opacity
from unrender.images.tables import last_byte

__all__ = ["decode", "exposure", "inspect", "orientation"]

_TURNS = {0: 1, 3: 3, 5: 8, 6: 6}
"""LibRaw's word for which way up -> that of EXIF."""
_SQUARE = 0.01
"""Pixels whose sides differ by less count as square."""


def inspect(path: Path) -> PictureHeader:
    """What the tables say; nothing is decoded. Raises one of UNREADABLE, CaptureError without the extra."""
    with _opened(path) as raw:
        height, width = raw.sizes.height, raw.sizes.width
    return PictureHeader(height, width, deep=True, linear=True, whole=last_byte(path) <= path.stat().st_size)


def decode(path: Path, mode: str = "RGB") -> np.ndarray:
    """Linear light, uint16 [H, W, 3], with mode "RGBA" [H, W, 4]; 65535 = saturated. Raises as ``inspect``."""
    with _opened(path) as raw:
        pixels = raw.postprocess(
            gamma=(1, 1),
            no_auto_bright=True,
            adjust_maximum_thr=0.0,  # else white would be what the brightest pixel of this very photo happens to be
            output_bps=16,
            user_flip=0,
        )
    return with_opacity(pixels, None, mode)


def exposure(path: Path) -> tuple[float, float, float]:
    """f-number, seconds and ISO as the maker's tags say, NaN where they do not. Raises as ``inspect``."""
    with _opened(path) as raw:
        said = raw.other
    f_number, seconds, iso = (value or math.nan for value in (said.aperture, said.shutter_speed, said.iso_speed))
    return f_number, seconds, iso


def orientation(path: Path) -> int:
    """The EXIF orientation that the photo is to be turned by, 1 to 8. Raises as ``inspect``."""
    with _opened(path) as raw:
        return _TURNS.get(raw.sizes.flip, 1)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file with its tables read. LibRaw's errors become ValueError."""
    rawpy = load_extra(("rawpy",), "raw", path, "a RAW photo")
    try:
        with rawpy.imread(str(path)) as raw:
            refuse_bomb(raw.sizes.height, raw.sizes.width)
            if abs(raw.sizes.pixel_aspect - 1) > _SQUARE:
                raise ValueError("its pixels are not square")
            yield raw
    except (rawpy.LibRawError, rawpy.NotSupportedError) as error:
        reason = error.args[0] if error.args else type(error).__name__
        raise ValueError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from None
