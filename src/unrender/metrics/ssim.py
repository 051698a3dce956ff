"""Structural similarity."""

from __future__ import annotations

import torch

from unrender.images.windows import SIZE, ssim_map
from unrender.metrics.weights import blackened, weighted_mean

__all__ = ["DEFINITION", "ssim"]

DEFINITION = (
    "mean SSIM (Wang et al. 2004) of sRGB images clamped to 0..1, per channel, Gaussian window 11x11 of sigma 1.5, "
    "K1 = 0.01, K2 = 0.03, population variance, only windows wholly inside the image (5 pixels left out at each edge); "
    "with a mask unused pixels are made black in both, and a window weighs as much as its middle pixel may be used"
)


def ssim(image: torch.Tensor, reference: torch.Tensor, weight: torch.Tensor | None = None) -> float:
    """SSIM in -1..1, 1 for equal images, of two images [3, H, W] in 0..1. See ``DEFINITION``.

    ``weight`` [1, H, W]: how much each pixel may be used. Raises ShapeError for images smaller than 11 pixels.
    """
    # float64: the variances are small differences of large numbers
    pair = (blackened(x.detach(), weight).clamp(0, 1).double()[None] for x in (image, reference))
    edge = SIZE // 2
    return weighted_mean(ssim_map(*pair)[0], None if weight is None else weight[:, edge:-edge, edge:-edge])
