"""Pictures in files: photos in, pictures out.

Photos come in as RGB exactly as their pixels are stored, with all the bits that they have: 8-bit files as uint8,
deeper ones (PNG, TIFF, HEIC, EXR, RAW) as uint16 of full range. **The EXIF orientation is not applied**, because COLMAP
does not apply it either: its cameras and poses belong to the stored pixels (``orientation.py`` turns them for those who
want it). Transparency is dropped unless asked for, grey becomes RGB, of several pages the first counts. Rendered
pictures go out as 8-bit PNG, linear radiance as float32 EXR. Everywhere H rows, W columns, channels last.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from unrender.errors import CaptureError, ShapeError
from unrender.images import exr, heif, pillow, raw, tiff
from unrender.images.exr import ExrAttribute, read_exr, read_exr_metadata, write_exr
from unrender.images.header import UNREADABLE, PictureHeader, kind_of, unreadable

__all__ = [
    "ExrAttribute",
    "check_picture",
    "inspect_picture",
    "read_exr",
    "read_exr_metadata",
    "read_mask",
    "read_photo",
    "read_photo_with_alpha",
    "write_exr",
    "write_png",
]

_MOST = 65535
_ROWS = 256
"""Rows that are rounded at a time: a large photo is not to be in memory three times."""
_BRIGHTNESS = np.array((0.299, 0.587, 0.114), dtype=np.float32)
"""Weights of R, G and B in grey, ITU-R BT.601, as Pillow has them."""


def read_photo(path: Path | str) -> torch.Tensor:
    """A photo as [H, W, 3], RGB in the file's own encoding (as a rule sRGB), pixels as stored.

    uint8 where the file has 8 bits or fewer, else uint16, 65535 = white. EXR, floating-point TIFF and RAW hold linear
    light (``PictureHeader.linear``) and it stays linear: in steps of 1/65535, clipped at 1 (infinity too); NaN becomes
    0. CMYK is converted without its profile. Raises CaptureError when the file is absent, damaged, of more than 500
    megapixels, or of a kind that we do not read or whose extra is not installed.
    """
    return _levels(_decode(Path(path), "RGB"))


def read_photo_with_alpha(path: Path | str) -> torch.Tensor:
    """A photo as ``read_photo``, and how opaque each pixel is: [H, W, 4] of one type, opaque where the file does not
    say. Colours are not multiplied by opacity; those of EXR and of some TIFF files were, and are divided by it.
    """
    return _levels(_decode(Path(path), "RGBA"))


def read_mask(path: Path | str) -> torch.Tensor:
    """A mask as uint8 [H, W], 255 = use. Colours count by their brightness, deep masks by their upper 8 bits, floats
    as 0..1. Raises CaptureError as ``read_photo``.
    """
    pixels = _decode(Path(path), "L")
    if pixels.ndim == 2:
        return torch.from_numpy(pixels)
    if pixels.dtype == np.float32:
        grey = (np.nan_to_num(pixels, nan=0, posinf=0, neginf=0).clip(0, 1) @ _BRIGHTNESS * 255).round()
    else:
        grey = np.floor(pixels.astype(np.float32) @ _BRIGHTNESS / (256 if pixels.dtype == np.uint16 else 1) + 1e-3)
    return torch.from_numpy(grey.clip(0, 255).astype(np.uint8))


def check_picture(path: Path | str) -> tuple[int, int]:
    """(height, width) in stored pixels, having looked, without decoding, whether the file is whole.

    A photo cut short by a copy that broke off, or by a full card, still has its header. What follows the end of a
    picture (a second picture, a film of the moment) does not matter. Looks for the end in JPEG, PNG, TIFF, EXR, HEIC
    and WebP files. Raises CaptureError as ``read_photo``.
    """
    header = inspect_picture(path)
    return header.height, header.width


def inspect_picture(path: Path | str) -> PictureHeader:
    """Size, depth and encoding of a picture, looked at as ``check_picture`` does. Raises CaptureError as that."""
    path = Path(path)
    try:
        kind = kind_of(path)
        header = _INSPECT.get(kind, pillow.inspect)(path)
    except UNREADABLE as error:
        raise unreadable(path, error) from None
    if not header.whole:
        got = f"{path.stat().st_size} bytes without its end"
        raise CaptureError("this picture is cut short", where=path, got=got, do="copy the original again")
    return header


def write_png(path: Path | str, image: torch.Tensor) -> None:
    """Write [H, W, 3] or [H, W] as 8-bit PNG: uint8 as it is, floats in 0..1 clamped and rounded.

    The values are taken as encoded for display already. Raises ShapeError for any other shape.
    """
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ShapeError("a PNG takes one picture", expected="[H, W, 3] or [H, W]", got=list(image.shape))
    if image.is_floating_point():
        image = (image.detach().nan_to_num().clamp(0, 1) * 255).round()
    Image.fromarray(image.to("cpu", torch.uint8).numpy()).save(path, format="PNG")


_INSPECT = {"EXR": exr.inspect, "TIFF": tiff.inspect, "HEIF": heif.inspect, "RAW": raw.inspect}


def _decode(path: Path, mode: str) -> np.ndarray:
    """The stored pixels of a file: uint8, uint16 or float32 (linear) [H, W, 3], [H, W, 4] for mode "RGBA", or, for mode
    "L", uint8 [H, W] as well.
    """
    try:
        kind = kind_of(path)
        if kind == "EXR":
            return exr.read_exr_channels(path, mode)
        decoder = {"HEIF": heif, "RAW": raw, "TIFF": tiff}.get(kind, pillow)
        return decoder.decode(path, mode)
    except UNREADABLE as error:
        raise unreadable(path, error) from None


def _levels(pixels: np.ndarray) -> torch.Tensor:
    """Pixels as a tensor of whole numbers: light without a bound as a sensor of 16 bits would count it."""
    stored = torch.from_numpy(np.require(pixels, requirements=("C", "W")))
    if stored.dtype != torch.float32:
        return stored
    out = torch.empty(stored.shape, dtype=torch.uint16)
    for start in range(0, len(stored), _ROWS):
        light = stored[start : start + _ROWS].nan_to_num(nan=0, posinf=1, neginf=0).clamp(0, 1)
        out[start : start + _ROWS] = (light * _MOST).round().to(torch.uint16)
    return out
