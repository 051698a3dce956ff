"""What a photo shows and how much of it may be used: its file, its mask and its transparency brought together.

Masked pixels are made black before anything is averaged, and a pixel at working size is the mean of those of its
photo pixels that may be used. So nothing that a photo holds where it is masked can get anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

import torch

from unrender.datasets.names import some_of
from unrender.errors import CaptureError, SettingsError
from unrender.images.io import has_alpha, read_mask, read_photo, read_photo_with_alpha
from unrender.images.orientation import upright
from unrender.images.resize import area_average

__all__ = ["Alpha", "find_alpha", "read_picture", "shrunk"]

Alpha: TypeAlias = Literal["ignore", "mask", "white", "black"]
"""What the transparency of photos means: nothing, where not to look, or that they lie over white or black."""
_OPAQUE = (".jpg", ".jpeg")
"""Kinds of file that have no transparency, and need not be asked."""
_ALPHA_NOTES = {
    "ignore": "their transparency is ignored (--alpha mask, white or black)",
    "mask": "what is transparent is not used (--alpha)",
    "white": "laid over white (--alpha)",
    "black": "laid over black (--alpha)",
}


def find_alpha(
    photos: Mapping[str, Path], wanted: str | None, default: str | None
) -> tuple[tuple[Alpha, ...], tuple[str, ...]]:
    """What to do with the transparency of each photo, "ignore" where it has none; and notes for the user.

    ``wanted`` by the user, else the ``default`` of the format, else "ignore". Raises SettingsError for another word.
    """
    chosen = wanted or default or "ignore"
    if chosen not in get_args(Alpha):
        raise SettingsError("alpha", expected=" or ".join(get_args(Alpha)), got=chosen)
    seen = [path.suffix.lower() not in _OPAQUE and has_alpha(path) for path in photos.values()]
    alpha: tuple[Alpha, ...] = tuple(cast("Alpha", chosen) if sees else "ignore" for sees in seen)
    through = [name for name, sees in zip(photos, seen, strict=True) if sees]
    notes = (f"{len(through)} photos have an alpha channel; {_ALPHA_NOTES[chosen]}: {some_of(through)}",)
    return alpha, notes if through else ()


def read_picture(photo: Path, mask: Path | None, turn: int, alpha: Alpha, size: tuple[int, int]) -> torch.Tensor:
    """A photo of ``size`` (height, width), uint8 [H, W, 3], or [H, W, 4] where something says what to use of it.

    The fourth is how much each pixel may be used, 255 = wholly. ``turn``: EXIF orientation to apply to the photo, and
    to the mask unless that has the size already. Raises CaptureError when a file cannot be read or is of another size.
    """
    if alpha == "ignore":
        colour, opaque = _sized(upright(read_photo(photo), turn), photo, size), None
    else:
        both = _sized(upright(read_photo_with_alpha(photo), turn), photo, size)
        colour, opaque = both[..., :3], both[..., 3]
    if alpha in ("white", "black"):
        colour, opaque = _laid_over(colour, cast("torch.Tensor", opaque), 255 if alpha == "white" else 0), None
    used = opaque if mask is None else _read_mask(mask, turn, size)
    if used is None:
        return colour
    if mask is not None and opaque is not None:
        used = torch.minimum(used, opaque)
    return torch.cat([colour, used[..., None]], dim=2)


def shrunk(picture: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """A picture as ``read_picture`` gives it at working size, of the same type.

    Each colour is the mean over the pixels that may be used, black where there is none, whatever was there.
    """
    if picture.shape[2] == 3:
        return area_average(picture, height, width).round().to(torch.uint8)
    usable = picture[..., 3] > 0
    average = area_average(picture * usable[..., None], height, width)
    share = area_average(usable.to(torch.uint8), height, width)
    used = average[..., 3].round()
    colour = average[..., :3] / share.clamp(min=torch.finfo(torch.float32).tiny)[..., None]
    colour = torch.where(used[..., None] > 0, colour, 0.0)
    return torch.cat([colour, used[..., None]], dim=2).round().clamp(max=255).to(torch.uint8)


def _read_mask(path: Path, turn: int, size: tuple[int, int]) -> torch.Tensor:
    """How much of each pixel may be used. A mask of zeros and ones means none and all: nobody uses 1 part in 255."""
    mask = read_mask(path)
    if mask.shape != size:
        mask = upright(mask, turn)
    mask = _sized(mask, path, size)
    return mask * 255 if mask.max() == 1 else mask


def _laid_over(colour: torch.Tensor, opaque: torch.Tensor, ground: int) -> torch.Tensor:
    """Encoded colours [H, W, 3] over a grey ``ground``, as picture programs do it."""
    share = opaque.float() / 255
    channels = [channel * share + ground * (1 - share) for channel in colour.unbind(2)]
    return torch.stack([channel.round().to(torch.uint8) for channel in channels], dim=2)


def _sized(picture: torch.Tensor, path: Path, size: tuple[int, int]) -> torch.Tensor:
    if picture.shape[:2] != size:
        raise CaptureError(
            "this picture does not have the size of its camera",
            where=path,
            expected=f"{size[1]} x {size[0]}",
            got=f"{picture.shape[1]} x {picture.shape[0]}",
        )
    return picture
