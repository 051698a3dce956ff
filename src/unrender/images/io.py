"""Pictures in files: photos in, pictures out.

Photos come in as 8-bit RGB exactly as their pixels are stored. **The EXIF orientation is not applied**, because
COLMAP does not apply it either: its cameras and poses belong to the stored pixels. Transparency is dropped (a mask
says what not to use), grey becomes RGB. Rendered pictures go out as 8-bit PNG, linear radiance as float32 EXR.
Everywhere H rows, W columns, channels last.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from unrender.errors import CaptureError, ShapeError

__all__ = ["read_exr", "read_exr_metadata", "read_mask", "read_photo", "read_size", "write_exr", "write_png"]

_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
_WIDE_GREY = ("I;16", "I;16B", "I;16L", "I;16N")


def read_photo(path: Path | str) -> torch.Tensor:
    """A photo as uint8 [H, W, 3], RGB in the file's own encoding (as a rule sRGB), pixels as stored.

    Raises CaptureError when the file is absent, cut short, or no image that has 8 (grey: or 16) bits.
    """
    return torch.from_numpy(_decode(Path(path), "RGB"))


def read_mask(path: Path | str) -> torch.Tensor:
    """A mask as uint8 [H, W], 255 = use. Colours count by their brightness. Raises CaptureError as ``read_photo``."""
    return torch.from_numpy(_decode(Path(path), "L"))


def read_size(path: Path | str) -> tuple[int, int]:
    """(height, width) from the header alone, in stored pixels. Raises CaptureError when there is no image."""
    try:
        with Image.open(path) as picture:
            width, height = picture.size
    except _UNREADABLE as error:
        raise _unreadable(Path(path), error) from None
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


def write_exr(path: Path | str, image: torch.Tensor, metadata: Mapping[str, str | int | float] | None = None) -> None:
    """Write linear radiance [H, W, 3] as a float32 OpenEXR file (channels R G B, ZIP: lossless).

    ``metadata`` becomes header attributes of the same names. Raises ShapeError for any other shape.
    """
    import OpenEXR

    if image.ndim != 3 or image.shape[2] != 3:
        raise ShapeError("an EXR takes one picture", expected="[H, W, 3]", got=list(image.shape))
    pixels = np.ascontiguousarray(image.detach().to("cpu", torch.float32).numpy())
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **(metadata or {})}
    with OpenEXR.File(header, {"RGB": pixels}) as file:
        file.write(str(path))


def read_exr(path: Path | str) -> torch.Tensor:
    """An OpenEXR picture as float32 [H, W, 3]; a lone luminance channel Y is repeated, other channels are dropped.

    Raises CaptureError when the file is absent, damaged, or has neither R G B nor Y.
    """
    _, channels = _open_exr(Path(path))
    names = ("R", "G", "B") if "R" in channels else ("Y", "Y", "Y")
    if any(name not in channels for name in names):
        raise CaptureError("no colour in this EXR", where=path, expected="channels R G B or Y", got=sorted(channels))
    return torch.from_numpy(np.stack([channels[name].astype(np.float32) for name in names], axis=-1))


def read_exr_metadata(path: Path | str) -> dict[str, str | int | float]:
    """The text and number attributes of an EXR header. Raises CaptureError as ``read_exr``."""
    header, _ = _open_exr(Path(path))
    return {name: value for name, value in header.items() if isinstance(value, str | int | float)}


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
        with Image.open(path) as picture:
            picture.load()
            if picture.mode in _WIDE_GREY:
                picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
            if picture.mode in ("I", "F"):
                raise ValueError(f"pixel type {picture.mode}")
            return np.array(picture.convert(mode))
    except _UNREADABLE as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> CaptureError:
    """One line for everything that decoders say."""
    if isinstance(error, FileNotFoundError):
        return CaptureError("no such file", where=path)
    reason = "not an image" if isinstance(error, Image.UnidentifiedImageError) else str(error)
    return CaptureError(f"cannot be read as a picture ({reason})", where=path, do="replace the file")
