"""Which way up a photo is: what its EXIF orientation says, and turning pixels accordingly.

The eight values of the tag name the picture's corner that the first stored pixel belongs to (EXIF 2.3, table 6): 1 as
stored, 3 turned by 180 degrees, 6 and 8 by 90, and their mirror images 2, 4, 5 and 7.
"""

from __future__ import annotations

import torch

__all__ = ["STORED", "is_sideways", "stored", "upright", "upright_size"]

STORED = 1
"""The orientation of a photo whose stored pixels are upright already, or are to be left as they are."""
_FLIPPED = {1: (), 2: (1,), 3: (0, 1), 4: (0,), 5: (), 6: (1,), 7: (0, 1), 8: (0,)}
"""Axes to flip, after rows and columns have changed places where the photo lies on its side."""
_BACK = {6: 8, 8: 6}
"""A quarter turn is undone by the other one, everything else by itself."""


def is_sideways(orientation: int) -> bool:
    """Whether rows are stored as columns."""
    return orientation >= 5


def upright(picture: torch.Tensor, orientation: int) -> torch.Tensor:
    """Stored pixels [H, W] or [H, W, C] as they are to be seen, of EXIF ``orientation`` 1 to 8."""
    if picture.dtype == torch.uint16:  # the oldest PyTorch that we allow only moves their bits
        return upright(picture.view(torch.int16), orientation).view(torch.uint16)
    if is_sideways(orientation):
        picture = picture.transpose(0, 1)
    return picture.flip(_FLIPPED[orientation]).contiguous() if orientation != STORED else picture


def stored(picture: torch.Tensor, orientation: int) -> torch.Tensor:
    """The inverse of ``upright``."""
    return upright(picture, _BACK.get(orientation, orientation))


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(height, width) of the upright picture, given those of the stored one, or the other way round."""
    return (size[1], size[0]) if is_sideways(orientation) else size
