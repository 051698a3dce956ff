"""Structural similarity."""

from __future__ import annotations

import torch

from unrender.images.windows import ssim_map

__all__ = ["DEFINITION", "ssim"]

DEFINITION = (
    "mean SSIM (Wang et al. 2004) of sRGB images clamped to 0..1, per channel, Gaussian window 11x11 of sigma 1.5, "
    "K1 = 0.01, K2 = 0.03, population variance, only windows wholly inside the image (5 pixels left out at each edge)"
)


def ssim(image: torch.Tensor, reference: torch.Tensor) -> float:
    """SSIM in -1..1, 1 for equal images, of two images [3, H, W] in 0..1. See ``DEFINITION``.

    Raises ShapeError for images smaller than 11 pixels.
    """
    # float64: the variances are small differences of large numbers
    pair = (x.detach().clamp(0, 1).double()[None] for x in (image, reference))
    return ssim_map(*pair).mean().item()
