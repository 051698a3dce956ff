"""Rec. 709 and sRGB: luminance of linear light, and the numbers that screens and 8-bit files expect of it.

IEC 61966-2-1. The transfer functions are elementwise, keep dtype and shape, and have finite derivatives for
values >= 0.
"""

from __future__ import annotations

import torch

__all__ = ["linear_from_srgb", "luminance", "srgb_from_linear"]

_LUMINANCE = (0.2126, 0.7152, 0.0722)


def luminance(linear: torch.Tensor) -> torch.Tensor:
    """Linear light [..., 3, H, W] of Rec. 709 primaries -> its luminance [..., 1, H, W]; white 1 has 1."""
    return (linear * linear.new_tensor(_LUMINANCE)[:, None, None]).sum(dim=-3, keepdim=True)


def srgb_from_linear(linear: torch.Tensor) -> torch.Tensor:
    """Linear light in 0..1 -> sRGB in 0..1. Values below 0 stay on the straight part, values above 1 on the curve."""
    curve = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, curve)


def linear_from_srgb(srgb: torch.Tensor) -> torch.Tensor:
    """The inverse of ``srgb_from_linear``."""
    curve = ((srgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    return torch.where(srgb <= 0.04045, srgb / 12.92, curve)
