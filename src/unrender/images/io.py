"""Pictures in files: photos in, pictures out.

Photos come in as 8-bit RGB exactly as their pixels are stored. **The EXIF orientation is not applied**, because
COLMAP does not apply it either: its cameras and poses belong to the stored pixels (``orientation.py`` turns them for
those who want it). Transparency is dropped unless asked for, grey becomes RGB. Rendered pictures go out as 8-bit PNG,
linear radiance as float32 EXR.
Everywhere H rows, W columns, channels last.
"""

from __future__ import annotations

import mmap
import struct
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import ExifTags, Image, TiffImagePlugin
from PIL.TiffImagePlugin import TiffImageFile

from unrender.errors import CaptureError, ShapeError
from unrender.images.orientation import STORED, stored

__all__ = [
    "ExrAttribute",
    "check_picture",
    "has_alpha",
    "read_exr",
    "read_exr_metadata",
    "read_mask",
    "read_photo",
    "read_photo_with_alpha",
    "write_exr",
    "write_png",
]

ExrAttribute: TypeAlias = str | int | float | tuple[float, ...] | np.ndarray
"""A value in an EXR header: text, numbers, chromaticities (8 floats) or a float32 [4, 4] matrix."""
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
_START_OF_SCAN, _PADDING, _END_OF_IMAGE = 0xDA, (0x00, 0xFF), b"\xff\xd9"
"""JPEG markers; between its segments there may be padding."""
_WIDE_GREY = ("I;16", "I;16B", "I;16L", "I;16N")


def read_photo(path: Path | str) -> torch.Tensor:
    """A photo as uint8 [H, W, 3], RGB in the file's own encoding (as a rule sRGB), pixels as stored.

    Raises CaptureError when the file is absent, cut short, or no image that has 8 (grey: or 16) bits.
    """
    return torch.from_numpy(_decode(Path(path), "RGB"))


def read_photo_with_alpha(path: Path | str) -> torch.Tensor:
    """A photo as uint8 [H, W, 4]: as ``read_photo``, and how opaque each pixel is, 255 where the file does not say."""
    return torch.from_numpy(_decode(Path(path), "RGBA"))


def has_alpha(path: Path | str) -> bool:
    """Whether a picture file says how opaque its pixels are, without decoding it. Raises CaptureError as above."""
    try:
        with _opened(Path(path)) as picture:
            return picture.has_transparency_data
    except _UNREADABLE as error:
        raise _unreadable(Path(path), error) from None


def read_mask(path: Path | str) -> torch.Tensor:
    """A mask as uint8 [H, W], 255 = use. Colours count by their brightness. Raises CaptureError as ``read_photo``."""
    return torch.from_numpy(_decode(Path(path), "L"))


def check_picture(path: Path | str) -> tuple[int, int]:
    """(height, width) in stored pixels, having looked, without decoding, whether the file is whole.

    A photo cut short by a copy that broke off, or by a full card, still has its header. What follows the end of a
    picture (a second picture, a film of the moment) does not matter. Looks for the end in JPEG, PNG and TIFF files.
    Raises CaptureError as ``read_photo``.
    """
    path = Path(path)
    try:
        with _opened(path) as picture:
            whole = _WHOLE.get(picture.format or "", _cannot_tell)(path, picture)
            height, width = _stored_size(picture)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from None
    if not whole:
        got = f"{path.stat().st_size} bytes without its end"
        raise CaptureError("this picture is cut short", where=path, got=got, do="copy the original again")
    return height, width


def write_png(path: Path | str, image: torch.Tensor) -> None:
    """Write [H, W, 3] or [H, W] as 8-bit PNG: uint8 as it is, floats in 0..1 clamped and rounded.

    The values are taken as encoded for display already. Raises ShapeError for any other shape.
    """
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ShapeError("a PNG takes one picture", expected="[H, W, 3] or [H, W]", got=list(image.shape))
    if image.is_floating_point():
        image = (image.detach().nan_to_num().clamp(0, 1) * 255).round()
    Image.fromarray(image.to("cpu", torch.uint8).numpy()).save(path, format="PNG")


def write_exr(path: Path | str, image: torch.Tensor, metadata: Mapping[str, ExrAttribute] | None = None) -> None:
    """Write linear radiance [H, W, 3] as a float32 OpenEXR file (channels R G B, ZIP: lossless).

    ``metadata`` becomes header attributes of the same names. Equal arguments give equal bytes. Raises ShapeError for
    any other shape, OSError when the file cannot be written.
    """
    import OpenEXR

    if image.ndim != 3 or image.shape[2] != 3:
        raise ShapeError("an EXR takes one picture", expected="[H, W, 3]", got=list(image.shape))
    pixels = np.ascontiguousarray(image.detach().to("cpu", torch.float32).numpy())
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **(metadata or {})}
    with OpenEXR.File(header, {"RGB": pixels}) as file:
        try:
            file.write(str(path))
        except RuntimeError as error:
            raise OSError(str(error)) from None


def read_exr(path: Path | str) -> torch.Tensor:
    """An OpenEXR picture as float32 [H, W, 3]; a lone luminance channel Y is repeated, other channels are dropped.

    Raises CaptureError when the file is absent, damaged, or has neither R G B nor Y.
    """
    _, channels = _open_exr(Path(path))
    names = ("R", "G", "B") if "R" in channels else ("Y", "Y", "Y")
    if any(name not in channels for name in names):
        raise CaptureError("no colour in this EXR", where=path, expected="channels R G B or Y", got=sorted(channels))
    return torch.from_numpy(np.stack([channels[name].astype(np.float32) for name in names], axis=-1))


def read_exr_metadata(path: Path | str) -> dict[str, Any]:
    """The attributes of an EXR header that ``ExrAttribute`` names. Raises CaptureError as ``read_exr``."""
    header, _ = _open_exr(Path(path))
    return {name: value for name, value in header.items() if _is_attribute(value)}


def _is_attribute(value: object) -> bool:
    of_numbers = isinstance(value, tuple) and all(isinstance(number, float) for number in value)
    return of_numbers or isinstance(value, str | int | float | np.ndarray)


def _open_exr(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    import OpenEXR

    if not path.is_file():
        raise CaptureError("no such file", where=path)
    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            return dict(file.header()), {name: channel.pixels for name, channel in file.channels().items()}
    except (RuntimeError, ValueError, OSError, MemoryError) as error:
        raise _unreadable(path, error) from None


def _decode(path: Path, mode: str) -> np.ndarray:
    """The stored pixels of a file in the given Pillow mode."""
    try:
        with _opened(path) as picture:
            turned = _turned_by_pillow(picture)
            picture.load()
            if picture.mode in _WIDE_GREY:
                picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
            if picture.mode in ("I", "F"):
                raise ValueError(f"pixel type {picture.mode}")
            pixels = np.array(picture.convert(mode))
            return pixels if turned == STORED else stored(torch.from_numpy(pixels), turned).numpy()
    except _UNREADABLE as error:
        raise _unreadable(path, error) from None


def _stored_size(picture: Image.Image) -> tuple[int, int]:
    """(height, width) of the pixels in the file."""
    if isinstance(picture, TiffImageFile):
        return picture.tag_v2[TiffImagePlugin.IMAGELENGTH], picture.tag_v2[TiffImagePlugin.IMAGEWIDTH]
    return picture.height, picture.width


def _turned_by_pillow(picture: Image.Image) -> int:
    """The orientation that Pillow is going to apply: of TIFF files it does, unasked, and of no others."""
    orientation = picture.getexif().get(ExifTags.Base.Orientation) if isinstance(picture, TiffImageFile) else STORED
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else STORED


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture file. Pillow's warnings on stderr about the state of its EXIF are of no use here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as picture:
            yield picture


def _jpeg_is_whole(path: Path, _: Image.Image) -> bool:
    """Whether an end-of-image marker follows the start of the first scan.

    Compressed bytes never hold that marker, so one is enough wherever it is, and looking from the end finds it at
    once. The previews inside the header have one too, so the header is stepped over segment by segment.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = 2
        while at + 4 <= len(data) and data[at + 1] != _START_OF_SCAN:
            is_segment = data[at] == 0xFF and data[at + 1] not in _PADDING
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big") if is_segment else 1
        return data.rfind(_END_OF_IMAGE, at) >= 0


def _png_is_whole(path: Path, _: Image.Image) -> bool:
    """Whether there is a last chunk."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.rfind(b"IEND\xaeB`\x82") >= 0


def _tiff_is_whole(path: Path, picture: Image.Image) -> bool:
    """Whether every strip or tile ends within the file."""
    size, tags = path.stat().st_size, picture.tag_v2  # pyright: ignore[reportAttributeAccessIssue]
    starts, lengths = ((*tags.get(strips, ()), *tags.get(tiles, ())) for strips, tiles in ((273, 324), (279, 325)))
    return all(start + length <= size for start, length in zip(starts, lengths, strict=False))


def _cannot_tell(_: Path, __: Image.Image) -> bool:
    """Other kinds of file: damage shows when they are decoded."""
    return True


_WHOLE: dict[str, Callable[[Path, Image.Image], bool]] = {
    "JPEG": _jpeg_is_whole,
    "MPO": _jpeg_is_whole,
    "PNG": _png_is_whole,
    "TIFF": _tiff_is_whole,
}


def _unreadable(path: Path, error: Exception) -> CaptureError:
    """One line for everything that decoders say."""
    if isinstance(error, FileNotFoundError):
        return CaptureError("no such file", where=path)
    reason = str(error)
    if isinstance(error, Image.UnidentifiedImageError):
        reason = "not an image" if path.stat().st_size else "the file is empty"
    return CaptureError(
        f"cannot be read as a picture ({reason})", where=path, do="replace it, or convert it to JPEG or PNG"
    )
