"""Making a photo smaller without inventing anything: each new pixel is the mean of the area it covers.

A pixel of the small image covers a rectangle of the large one; large pixels at its border count by the fraction
that is covered. For whole factors this is the mean of blocks; for others it is the exact integral of the image
seen as squares of constant colour. No ringing, no aliasing beyond the box filter's own, and the mean of the image
is kept. The filter is separable, so rows and columns are done one after the other.
"""

from __future__ import annotations

import torch

from unrender.errors import ShapeError

__all__ = ["area_average"]


def area_average(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Image [H, W] or [H, W, C] -> [height, width] or [height, width, C], by exact area averaging.

    Values keep their range. Floating images keep their dtype; whole numbers (photos: uint8, uint16) come out as
    float32, not rounded. Raises ShapeError when the new size is empty or larger than the image: this filter never
    enlarges.
    """
    if image.ndim not in (2, 3):
        raise ShapeError("area averaging takes an image", expected="[H, W] or [H, W, C]", got=list(image.shape))
    if not (1 <= height <= image.shape[0] and 1 <= width <= image.shape[1]):
        raise ShapeError(
            "area averaging never enlarges",
            expected=f"a size of at most {image.shape[1]} x {image.shape[0]} (width x height)",
            got=f"{width} x {height}",
        )
    return _shrink_axis(_shrink_axis(image, 0, height), 1, width)


def _shrink_axis(image: torch.Tensor, axis: int, size: int) -> torch.Tensor:
    """One axis of ``image`` averaged down to ``size`` entries, tap by tap: as many taps as a new pixel can touch."""
    dtype = image.dtype if image.is_floating_point() else torch.float32
    if size == image.shape[axis]:
        return image.to(dtype)
    index, cover = _coverage(image.shape[axis], size)
    shape = [-1 if other == axis else 1 for other in range(image.ndim)]
    total = torch.zeros((), dtype=dtype)
    for tap in range(index.shape[1]):
        total = total + _picked(image, axis, index[:, tap]).to(dtype) * cover[:, tap].to(dtype).reshape(shape)
    return total / (image.shape[axis] / size)


def _picked(image: torch.Tensor, axis: int, index: torch.Tensor) -> torch.Tensor:
    """Rows or columns of an image. The oldest PyTorch that we allow can do little with uint16: it only moves bits."""
    if image.dtype == torch.uint16:
        return image.view(torch.int16).index_select(axis, index).view(torch.uint16)
    return image.index_select(axis, index)


def _coverage(old: int, new: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which of ``old`` pixels each of ``new`` pixels touches, and how much of each: both [new, taps].

    Edges are whole multiples of 1 / new, so they are found in integers: the coverage of a pixel is exact.
    """
    start, end = torch.arange(new) * old, torch.arange(1, new + 1) * old
    index = (start // new)[:, None] + torch.arange(-(-old // new) + 1)
    overlap = torch.minimum(end[:, None], (index + 1) * new) - torch.maximum(start[:, None], index * new)
    return index.clamp(max=old - 1), overlap.clamp(min=0).double() / new
