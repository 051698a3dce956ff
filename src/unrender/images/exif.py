"""From EXIF: how much light a photo says it was given, and which way up it says it is.

    EV100 = log2(N^2 / t) - log2(ISO / 100)          N f-number, t seconds

A higher EV means less light recorded for the same radiance. The exposure-bias tag is not added: the camera
already turned it into t, N or ISO. What is missing stays missing; it is never 0.
"""

from __future__ import annotations

import math
import os
import warnings
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from unrender.images import heif, pillow
from unrender.images.header import UNREADABLE, kind_of

__all__ = ["ev100", "exif_bytes", "read_ev100", "read_orientation"]

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
        tags = _tags(Path(path)).get_ifd(ExifTags.IFD.Exif)
        f_number, seconds, iso = (
            _number(tags.get(tag))
            for tag in (ExifTags.Base.FNumber, ExifTags.Base.ExposureTime, ExifTags.Base.ISOSpeedRatings)
        )
    except UNREADABLE:
        return None
    return None if iso == _ISO_ELSEWHERE else ev100(f_number, seconds, iso)


def read_orientation(path: Path | str) -> int:
    """EXIF orientation of a photo file, 1 to 8; 1, as stored, when its EXIF is missing, absurd or damaged.

    Always 1 for HEIC: decoding turns its pixels, while the tag may still say how the camera was held. Raises
    CaptureError only where the extra is absent that a photo needs.
    """
    path = Path(path)
    try:
        value = 1 if kind_of(path) == "HEIF" else _tags(path).get(ExifTags.Base.Orientation)
    except UNREADABLE:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


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


def _tags(path: Path) -> Image.Exif:
    """The tags of a photo. Pillow warns of damage on stderr; we return what there is."""
    kind = kind_of(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind not in ("HEIF", "TIFF"):
            return _tags_of_opened(path)
        exif = Image.Exif()
        if kind == "HEIF":
            exif.load(heif.exif_block(path))
            return exif
        with path.open("rb") as file:  # as a table of tags: Pillow does not open every TIFF
            exif.load_from_fp(file)
            with suppress(*UNREADABLE):
                exif.get_ifd(ExifTags.IFD.Exif)  # while the file is open
            return exif


def _tags_of_opened(path: Path) -> Image.Exif:
    with pillow.opened(path) as photo:
        if photo.format == "PNG" and "exif" not in photo.info:
            photo.info["exif"] = _png_exif(path)
        # Not the PNG's own method: it would decode the picture to see whether tags follow it.
        return Image.Image.getexif(photo)


def _png_exif(path: Path) -> bytes | None:
    """The EXIF chunk of a PNG, wherever it is, stepping over the others; None where there is none."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"eXIf":
                return file.read(length)
            file.seek(length + 4, os.SEEK_CUR)
    return None


def _number(value: object) -> float:
    """A tag as a float; NaN when it is absent. Some cameras write a list of speeds: the first counts."""
    if isinstance(value, tuple | list):
        value = value[0] if value else None
    return math.nan if value is None else float(value)  # pyright: ignore[reportArgumentType]


def _rational(value: float) -> IFDRational:
    fraction = Fraction(value).limit_denominator(1_000_000)
    return IFDRational(fraction.numerator, fraction.denominator)
