"""Local means, and the structural similarity that is made of them.

SSIM is defined by its window, its border and its variance, and published numbers differ in all three. Here: a Gaussian
of sigma 1.5 cut to 11x11 pixels and normalised, windows wholly inside the image, and the weighted (population)
variance, as in the authors' own program (Wang et al. 2004). A box of the same size is slower on a CPU (measured), so
there is one window.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from unrender.errors import ShapeError

__all__ = ["SIGMA", "SIZE", "gaussian_mean", "gaussian_window", "ssim_map"]

SIZE = 11
"""Edge of the window [pixels]."""

SIGMA = 1.5
"""Standard deviation of the window [pixels]."""


def gaussian_window(size: int = SIZE, sigma: float = SIGMA) -> torch.Tensor:
    """Samples of a Gaussian about the middle of ``size`` pixels, sum 1: [size] float64."""
    offset = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    weights = torch.exp(-0.5 * (offset / sigma) ** 2)
    return weights / weights.sum()


def gaussian_mean(images: torch.Tensor) -> torch.Tensor:
    """Weighted mean about each pixel whose window is wholly inside: [B, D, H, W] -> [B, D, H - 10, W - 10].

    Separable: down the columns, then along the rows. Raises ShapeError for images smaller than the window.
    """
    channels, height, width = images.shape[-3:]
    if min(height, width) < SIZE:
        raise ShapeError("image smaller than the window", expected=f"H, W >= {SIZE}", got=f"{height} x {width}")
    window = gaussian_window().to(images)
    columns = window.view(1, 1, SIZE, 1).expand(channels, 1, SIZE, 1)
    rows = window.view(1, 1, 1, SIZE).expand(channels, 1, 1, SIZE)
    return functional.conv2d(functional.conv2d(images, columns, groups=channels), rows, groups=channels)


def ssim_map(image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Structural similarity per pixel and channel, [B, D, H, W] of range 0..1 -> [B, D, H - 10, W - 10] in -1..1.

    Wang et al. 2004, Eq. 13 with K1 = 0.01, K2 = 0.03. Only the sum of the two variances enters, so four local means
    suffice.
    """
    if image.shape != reference.shape or image.dim() != 4:
        shapes = f"{list(image.shape)} and {list(reference.shape)}"
        raise ShapeError("SSIM compares images of one shape", expected="[B, D, H, W] twice", got=shapes)
    moments = torch.cat([image, image * image + reference * reference, image * reference], dim=1)
    mean, squares, product = gaussian_mean(moments).chunk(3, dim=1)
    mean_reference = gaussian_mean(reference)
    c1, c2 = 0.01**2, 0.03**2
    means = mean * mean_reference
    powers = mean * mean + mean_reference * mean_reference
    return (2 * means + c1) * (2 * (product - means) + c2) / ((powers + c1) * (squares - powers + c2))
