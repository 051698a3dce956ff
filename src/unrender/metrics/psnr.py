"""Peak signal-to-noise ratio."""

from __future__ import annotations

import math

import torch

__all__ = ["DEFINITION", "psnr"]

DEFINITION = (
    "10 log10(1 / MSE) in dB, images clamped to 0..1, mean over all pixels and channels, no border left out; "
    "the mean over several images is the mean of their values"
)


def psnr(image: torch.Tensor, reference: torch.Tensor) -> float:
    """PSNR [dB] of two images [3, H, W] in 0..1; infinite for equal ones. See ``DEFINITION``."""
    error = (image.clamp(0, 1).double() - reference.clamp(0, 1).double()).square().mean().item()
    return math.inf if error == 0 else -10.0 * math.log10(error)
