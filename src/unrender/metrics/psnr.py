"""Peak signal-to-noise ratio."""

from __future__ import annotations

import math

import torch

from unrender.metrics.weights import weighted_mean

__all__ = ["DEFINITION", "psnr"]

DEFINITION = (
    "10 log10(1 / MSE) in dB, at most 100, images clamped to 0..1, mean over all pixels and channels, no border left "
    "out; with a mask the mean over pixels by how much each may be used; "
    "the mean over several images is the mean of their values"
)

LEAST_ERROR = 1e-10
"""Mean squared error that counts as none: 100 dB."""


def psnr(image: torch.Tensor, reference: torch.Tensor, weight: torch.Tensor | None = None) -> float:
    """PSNR [dB] of two images [3, H, W] in 0..1; 100 for equal ones, so that means stay finite. See ``DEFINITION``.

    ``weight`` [1, H, W]: how much each pixel may be used; what weighs 0 is not looked at.
    """
    squared = (image.clamp(0, 1).double() - reference.clamp(0, 1).double()).square()
    error = weighted_mean(squared, weight)
    return -10.0 * math.log10(max(error, LEAST_ERROR))
