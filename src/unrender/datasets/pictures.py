"""What a photo shows and how much of it may be used: its file, its mask and its transparency brought together.

Masked pixels are made black before anything is averaged, and a pixel at working size is the mean of those of its
photo pixels that may be used. So nothing that a photo holds where it is masked can get anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

import numpy as np
import torch

from unrender.datasets.names import some_of
from unrender.errors import CaptureError, SettingsError
from unrender.images.header import PictureHeader
from unrender.images.io import read_mask, read_photo, read_photo_with_alpha
from unrender.images.orientation import upright
from unrender.images.resize import area_average

__all__ = ["Alpha", "find_alpha", "read_picture", "shrunk"]

Alpha: TypeAlias = Literal["ignore", "mask", "white", "black"]
"""What the transparency of photos means: nothing, where not to look, or that they lie over white or black."""
_ALPHA_NOTES = {
    "ignore": "their transparency is ignored (--alpha mask, white or black)",
    "mask": "what is transparent is not used (--alpha)",
    "white": "laid over white (--alpha)",
    "black": "laid over black (--alpha)",
}


def find_alpha(
    names: Sequence[str], headers: Sequence[PictureHeader], wanted: str | None, default: str | None
) -> tuple[tuple[Alpha, ...], tuple[str, ...]]:
    """What to do with the transparency of each photo, "ignore" where it has none; and notes for the user.

    ``wanted`` by the user, else the ``default`` of the format, else "ignore". Raises SettingsError for another word.
    """
    chosen = wanted or default or "ignore"
    if chosen not in get_args(Alpha):
        raise SettingsError("alpha", expected=" or ".join(get_args(Alpha)), got=chosen)
    alpha: tuple[Alpha, ...] = tuple(cast("Alpha", chosen) if header.alpha else "ignore" for header in headers)
    through = [name for name, header in zip(names, headers, strict=True) if header.alpha]
    notes = (f"{len(through)} photos have an alpha channel; {_ALPHA_NOTES[chosen]}: {some_of(through)}",)
    return alpha, notes if through else ()


def read_picture(photo: Path, mask: Path | None, turn: int, alpha: Alpha, size: tuple[int, int]) -> torch.Tensor:
    """A photo of ``size`` (height, width), [H, W, 3], or [H, W, 4] where something says what to use of it.

    uint8 or uint16, as ``read_photo``. The fourth is how much each pixel may be used, the largest number = wholly.
    ``turn``: EXIF orientation to apply to the photo, and to the mask unless that has the size already. Raises
    CaptureError when a file cannot be read or is of another size.
    """
    read = read_photo if alpha == "ignore" else read_photo_with_alpha
    picture = _sized(upright(read(photo), turn), photo, size)
    if alpha in ("white", "black"):
        picture = _laid_over(picture, white=alpha == "white")
    if mask is None:
        return picture
    used = _read_mask(mask, turn, size).numpy()
    pixels = picture.numpy()
    used = used if pixels.dtype == np.uint8 else used.astype(pixels.dtype) * 257  # 255 becomes 65535
    used = np.minimum(used, pixels[..., 3]) if alpha == "mask" else used
    return torch.from_numpy(np.concatenate([pixels[..., :3], used[..., None]], axis=2))


def shrunk(picture: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """A picture as ``read_picture`` gives it at working size, of the same type.

    Each colour is the mean over the pixels that may be used, black where there is none, whatever was there.
    """
    if picture.shape[2] == 3:
        return area_average(picture, height, width).round().to(picture.dtype)
    pixels = picture.numpy()
    usable = pixels[..., 3] > 0
    average = area_average(torch.from_numpy(pixels * usable[..., None]), height, width)
    share = area_average(torch.from_numpy(usable.astype(np.uint8)), height, width)
    used = average[..., 3].round()
    colour = average[..., :3] / share.clamp(min=torch.finfo(torch.float32).tiny)[..., None]
    colour = torch.where(used[..., None] > 0, colour, 0.0)
    most = torch.iinfo(picture.dtype).max
    return torch.cat([colour, used[..., None]], dim=2).round().clamp(max=most).to(picture.dtype)


def _read_mask(path: Path, turn: int, size: tuple[int, int]) -> torch.Tensor:
    """How much of each pixel may be used. A mask of zeros and ones means none and all: nobody uses 1 part in 255."""
    mask = read_mask(path)
    if mask.shape != size:
        mask = upright(mask, turn)
    mask = _sized(mask, path, size)
    return mask * 255 if mask.max() == 1 else mask


def _laid_over(picture: torch.Tensor, *, white: bool) -> torch.Tensor:
    """Encoded colours [H, W, 4] over a ground, as picture programs do it: [H, W, 3] of the same type."""
    pixels = picture.numpy()
    most = np.iinfo(pixels.dtype).max
    share = pixels[..., 3].astype(np.float32) / most
    ground = most * (1 - share) if white else np.float32(0)
    channels = [(pixels[..., channel] * share + ground).round().astype(pixels.dtype) for channel in range(3)]
    return torch.from_numpy(np.stack(channels, axis=2))


def _sized(picture: torch.Tensor, path: Path, size: tuple[int, int]) -> torch.Tensor:
    if picture.shape[:2] != size:
        raise CaptureError(
            "this picture does not have the size of its camera",
            where=path,
            expected=f"{size[1]} x {size[0]}",
            got=f"{picture.shape[1]} x {picture.shape[0]}",
        )
    return picture
