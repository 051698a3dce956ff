"""A photo made ready to be compared with others: its details, free of exposure, and how sharp and well lit it is.

A detail is how much brighter a pixel is than what is around it, in units of how much things vary there. Exposure, white
balance, vignette and response change that hardly at all, and a place on a surface keeps it from photo to photo; a few
pixels beside it, it is another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import binary_erosion, uniform_filter

from unrender.datasets.capture import Capture
from unrender.datasets.synthetic.workers import side_by_side
from unrender.images.resize import area_average

__all__ = ["STEP", "Look", "look_at_photo", "looks_of"]

STEP = 1 / 31
"""A detail is kept in a byte, in steps of this."""
_RADII = (2, 6)
"""Half the width [working pixels] of what a fine and a coarse detail are compared with."""
_FLAT = 0.02
"""Variation, white = 1, that counts as none: noise and compression."""
_THUMBNAIL = 88
_WHITE, _BLACK = 250 / 255, 6 / 255


@dataclass(frozen=True)
class Look:
    """One photo at working size.

    ``details`` [2, H, W] int8, fine and coarse, in steps of ``STEP``; ``usable`` [H, W] bool: far enough from what is
    masked, None where nothing is; ``sharpness``: contrast between neighbouring pixels over that at three times the
    distance, log2; ``contrast``: of places ten pixels apart, root mean square, white = 1; ``white``, ``black``: share
    of pixels that are clipped; ``brightness``: mean, white = 1; ``thumbnail`` [3, h, w] uint8.
    """

    details: torch.Tensor
    usable: torch.Tensor | None
    sharpness: float
    contrast: float
    white: float
    black: float
    brightness: float
    thumbnail: torch.Tensor


@torch.no_grad()
def look_at_photo(capture: Capture, view: int) -> Look:
    """The photo of one view. Raises CaptureError when it cannot be decoded."""
    image, mask = capture.image(view), capture.mask(view)
    grey = image.mean(dim=0)
    seen = torch.ones_like(grey, dtype=torch.bool) if mask is None else mask[0] > 0.5
    fine, middle = grey - _blurred(grey, 1), _blurred(grey, 1) - _blurred(grey, 3)
    coarse = _blurred(grey, 3) - _blurred(grey, 12)
    sharp, less, contrast = (float(_mean(band.square(), seen)) for band in (fine, middle, coarse))
    return Look(
        details=torch.stack([_details(grey, radius) for radius in _RADII]),
        usable=None if mask is None else _away_from(mask[0] > 0.5),
        sharpness=0.5 * float(torch.log2(torch.tensor((sharp + 1e-9) / (less + 1e-9)))),
        contrast=contrast**0.5,
        white=float(_mean((image.amin(dim=0) >= _WHITE).float(), seen)),
        black=float(_mean((image.amax(dim=0) <= _BLACK).float(), seen)),
        brightness=float(_mean(grey, seen)),
        thumbnail=_small(image),
    )


def _small(image: torch.Tensor) -> torch.Tensor:
    height, width = image.shape[1:]
    scale = min(1.0, _THUMBNAIL / height)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    return (area_average(image.permute(1, 2, 0), *size) * 255).round().byte().permute(2, 0, 1)


def _details(grey: torch.Tensor, radius: int) -> torch.Tensor:
    around = _blurred(grey, radius)
    variation = _blurred((grey - around).square(), radius).sqrt()
    return ((_blurred(grey, 1) - around) / (variation + _FLAT) / STEP).round().clamp(-127, 127).to(torch.int8)


def _away_from(used: torch.Tensor) -> torch.Tensor:
    """Where nothing within the coarse radius is masked."""
    edge = 2 * max(_RADII) + 1
    return torch.from_numpy(binary_erosion(used.numpy(), np.ones((edge, edge), dtype=bool), border_value=1))


def _blurred(grey: torch.Tensor, radius: int) -> torch.Tensor:
    """The mean of the square of that half-width around each pixel; the border goes on as it ends."""
    return torch.from_numpy(uniform_filter(grey.numpy(), 2 * radius + 1, mode="nearest")).clamp(min=0)


def _mean(values: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    return values[where].mean() if bool(where.any()) else torch.zeros(())


def looks_of(capture: Capture, views: Sequence[int]) -> Iterator[tuple[int, Look]]:
    """The photos of some views with their index, one after the other. Raises CaptureError as ``look_at_photo``."""
    return side_by_side(lambda view: (view, look_at_photo(capture, view)), views)
