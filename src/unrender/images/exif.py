"""From EXIF: how much light a photo says it was given, and which way up it says it is.

    EV100 = log2(N^2 / t) - log2(ISO / 100)          N f-number, t seconds

A higher EV means less light recorded for the same radiance. The exposure-bias tag is not added: the camera
already turned it into t, N or ISO. What is missing or absurd stays missing; it is never 0. Where f-number or time is
absent, its APEX twin (2 log2 N, -log2 t) serves; ISO has three further tags for what 16 bits cannot hold. The APEX
brightness is not used: it says what the camera metered, not what it did, which in the dark is a stop apart.
"""

from __future__ import annotations

import math
import os
import warnings
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from unrender.images import heif, pillow, raw
from unrender.images.header import UNREADABLE, kind_of

__all__ = ["ev100", "exif_bytes", "read_ev100", "read_orientation"]

_SPEEDS = (
    ExifTags.Base.ISOSpeedRatings,
    ExifTags.Base.RecommendedExposureIndex,
    ExifTags.Base.StandardOutputSensitivity,
    ExifTags.Base.ISOSpeed,
)
"""Tags that may hold the ISO speed; the first that says something counts."""
_ISO_ELSEWHERE = 65535
"""EXIF 2.3 writes this when the speed does not fit into 16 bits: another of the tags has it."""
_F_NUMBERS, _SECONDS, _SPEEDS_OF_CAMERAS = (0.5, 512.0), (1e-7, 3600.0), (1.0, 1e7)
"""What cameras can be set to, generously; anything else is a slip of who wrote the tag."""


def ev100(f_number: float, seconds: float, iso: float) -> float | None:
    """Exposure value at ISO 100 in stops; None when a figure is not a finite number above zero."""
    if not all(math.isfinite(figure) and figure > 0 for figure in (f_number, seconds, iso)):
        return None
    return math.log2(f_number**2 / seconds) - math.log2(iso / 100)


def read_ev100(path: Path | str) -> float | None:
    """EV100 of a photo file in stops; None when its EXIF is missing, incomplete, absurd or damaged.

    Raises CaptureError only where the extra is absent that a photo needs.
    """
    path = Path(path)
    try:
        figures = raw.exposure(path) if kind_of(path) == "RAW" else _figures(_tags(path, ExifTags.IFD.Exif))
    except UNREADABLE:
        return None
    ranges = _F_NUMBERS, _SECONDS, _SPEEDS_OF_CAMERAS
    sound = all(low <= figure <= high for figure, (low, high) in zip(figures, ranges, strict=True))
    return ev100(*figures) if sound else None


def read_orientation(path: Path | str) -> int:
    """EXIF orientation of a photo file, 1 to 8; 1, as stored, when its EXIF is missing, absurd or damaged.

    Always 1 for HEIC: decoding turns its pixels, while the tag may still say how the camera was held. Raises
    CaptureError only where the extra is absent that a photo needs.
    """
    path = Path(path)
    try:
        kind = kind_of(path)
        if kind == "RAW":
            return raw.orientation(path)
        value = 1 if kind == "HEIF" else _tags(path).get(ExifTags.Base.Orientation)
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


def _figures(tags: dict[int, Any]) -> tuple[float, float, float]:
    """f-number, seconds and ISO, NaN where no tag says.

    A tag that is there and says 0, as with lenses that do not speak, is no reason to look at APEX, whose 0 is f/1.
    """
    f_number, seconds = (_number(tags.get(tag)) for tag in (ExifTags.Base.FNumber, ExifTags.Base.ExposureTime))
    if math.isnan(f_number):
        f_number = 2 ** (_number(tags.get(ExifTags.Base.ApertureValue)) / 2)
    if math.isnan(seconds):
        seconds = 2 ** -_number(tags.get(ExifTags.Base.ShutterSpeedValue))
    speeds = (_number(tags.get(tag)) for tag in _SPEEDS)
    said = (speed for speed in speeds if speed > 0 and speed != _ISO_ELSEWHERE)
    return f_number, seconds, next(said, math.nan)


def _tags(path: Path, block: int | None = None) -> dict[int, Any]:
    """The tags of a photo, or those of one ``block`` of them. Pillow warns of damage on stderr: no use here."""
    with warnings.catch_warnings(), ExitStack() as files:
        warnings.simplefilter("ignore")
        exif = _exif(path, files)
        return dict(exif) if block is None else dict(exif.get_ifd(block))


def _exif(path: Path, files: ExitStack) -> Image.Exif:
    """The table of tags; blocks of it may be read as long as ``files`` are open."""
    kind, exif = kind_of(path), Image.Exif()
    if kind == "HEIF":
        exif.load(heif.exif_block(path))
        return exif
    if kind == "TIFF":  # as a table of tags: Pillow does not open every TIFF
        exif.load_from_fp(files.enter_context(path.open("rb")))
        return exif
    photo = files.enter_context(pillow.opened(path))
    if photo.format == "PNG" and "exif" not in photo.info:
        photo.info["exif"] = _png_exif(path)
    # Not the PNG's own method: it would decode the picture to see whether tags follow it.
    return Image.Image.getexif(photo)


def _png_exif(path: Path) -> bytes | None:
    """The EXIF chunk of a PNG, wherever it is, stepping over the others; None where there is none."""
    with path.open("rb", buffering=0) as file:  # a buffer would read a thousand times what is looked at
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length = int.from_bytes(head[:4], "big")
            if head[4:] == b"eXIf":
                return file.read(min(length, path.stat().st_size))
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
