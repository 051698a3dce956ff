"""Exposure from EXIF: how much light a photo says it was given.

    EV100 = log2(N^2 / t) - log2(ISO / 100)          N f-number, t seconds

A higher EV means less light recorded for the same radiance. The exposure-bias tag is not added: the camera
already turned it into t, N or ISO. What is missing stays missing; it is never 0.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import MutableMapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from unrender.images import heif, pillow
from unrender.images.header import UNREADABLE, kind_of

__all__ = ["ev100", "exif_bytes", "read_ev100"]

_ISO_ELSEWHERE = 65535
"""EXIF 2.3 writes this when the speed does not fit into 16 bits: then the tag says nothing."""


def ev100(f_number: float, seconds: float, iso: float) -> float | None:
    """Exposure value at ISO 100 in stops; None when a figure is not a finite number above zero."""
    if not all(math.isfinite(figure) and figure > 0 for figure in (f_number, seconds, iso)):
        return None
    return math.log2(f_number**2 / seconds) - math.log2(iso / 100)


def read_ev100(path: Path | str) -> float | None:
    """EV100 of a photo file in stops; None when its EXIF is missing, incomplete, absurd or damaged.

    Raises CaptureError only where the extra is absent that a photo needs.
    """
    try:
        tags = _exif(Path(path))
        f_number, seconds, iso = (
            _number(tags.get(tag))
            for tag in (ExifTags.Base.FNumber, ExifTags.Base.ExposureTime, ExifTags.Base.ISOSpeedRatings)
        )
    except UNREADABLE:
        return None
    return None if iso == _ISO_ELSEWHERE else ev100(f_number, seconds, iso)


def exif_bytes(f_number: float, seconds: float, iso: float) -> bytes:
    """An EXIF block with these three figures, for ``Image.save(..., exif=...)``.

    f-number and time are stored as fractions of at most 1/1,000,000, ISO as a whole number.
    """
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {
            ExifTags.Base.FNumber: _rational(f_number),
            ExifTags.Base.ExposureTime: _rational(seconds),
            ExifTags.Base.ISOSpeedRatings: round(iso),
        }
    )
    return exif.tobytes()


def _exif(path: Path) -> MutableMapping[int, Any]:
    """The tags of a photo. Pillow warns of damage on stderr; we return what there is."""
    kind = kind_of(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind not in ("HEIF", "TIFF"):
            with pillow.opened(path) as photo:
                if photo.format == "PNG":  # Pillow would decode the whole picture first
                    return _of_block(_png_block(path) or photo.info.get("exif"))
                return photo.getexif().get_ifd(ExifTags.IFD.Exif)
        if kind == "HEIF":
            return _of_block(heif.exif_block(path))
        exif = Image.Exif()
        with path.open("rb") as file:  # as a table of tags: Pillow does not open every TIFF
            exif.load_from_fp(file)
            return exif.get_ifd(ExifTags.IFD.Exif)


def _of_block(block: bytes | None) -> MutableMapping[int, Any]:
    exif = Image.Exif()
    exif.load(block or b"")
    return exif.get_ifd(ExifTags.IFD.Exif)


def _png_block(path: Path) -> bytes:
    """What the chunk eXIf holds, before the pixels or after them; empty where there is none."""
    with path.open("rb", buffering=0) as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, name = int.from_bytes(head[:4], "big"), head[4:]
            if name == b"eXIf":
                return file.read(length)
            file.seek(length + 4, 1)
    return b""


def _number(value: object) -> float:
    """A tag as a float; NaN when it is absent. Some cameras write a list of speeds: the first counts."""
    if isinstance(value, tuple | list):
        value = value[0] if value else None
    return math.nan if value is None else float(value)  # pyright: ignore[reportArgumentType]


def _rational(value: float) -> IFDRational:
    fraction = Fraction(value).limit_denominator(1_000_000)
    return IFDRational(fraction.numerator, fraction.denominator)
