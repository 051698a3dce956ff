"""How far two images are apart in structure: local contrast and edges rather than single pixels.

These stand in for a perceptual network where no pretrained weights are at hand. Pixels of weight 0 are first made
black in both images, so that no window or difference across the border of a mask can pull at them.
"""

from __future__ import annotations

import torch

from unrender.errors import ShapeError
from unrender.images.pyramids import pyramid
from unrender.images.windows import SIZE, ssim_map
from unrender.losses.photometric import checked_weight, seen, weighted_mean

__all__ = ["dssim", "gradient"]


def dssim(image: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """(1 - SSIM) / 2, in 0..1, of [B, D, H, W] images of range 0..1; see ``images.windows`` for the window.

    Windows weigh the ``weight`` [B, 1, H, W] of their middle pixel. Images smaller than the window have none
    and are refused with ShapeError.
    """
    weight = checked_weight(image, target, weight)
    values = (1.0 - ssim_map(seen(image, weight), seen(target, weight))) / 2.0
    edge = SIZE // 2
    return weighted_mean(values, None if weight is None else weight[..., edge:-edge, edge:-edge])


def gradient(
    image: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None, *, levels: int = 4
) -> torch.Tensor:
    """Mean absolute difference of the images' finite differences, over a pyramid of ``levels`` 2x2 means.

    [B, D, H, W] -> scalar: the mean over levels of |d/du| + |d/dv| of (image - target), in image units per pixel of
    that level, averaged over the whole level. Coarse levels see what a 1-pixel difference cannot: slow shading and
    displaced edges. Levels of a single pixel have no differences and count as 0.
    """
    if levels < 1:
        raise ShapeError("the gradient loss needs a level", expected="levels >= 1", got=levels)
    weight = checked_weight(image, target, weight)
    difference = seen(image, weight) - seen(target, weight)
    if weight is not None:
        difference = difference * weight
    parts = [_steps(level) for level in pyramid(difference, levels)]
    total = torch.stack(parts).mean()
    return total if weight is None else total / weight.mean().clamp_min(1e-12)


def _steps(level: torch.Tensor) -> torch.Tensor:
    count = max(level.numel(), 1)
    across = (level[..., 1:] - level[..., :-1]).abs().sum()
    down = (level[..., 1:, :] - level[..., :-1, :]).abs().sum()
    return (across + down) / count
