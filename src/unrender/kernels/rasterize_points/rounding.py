"""Functions that round in float32 as the kernels do."""

from __future__ import annotations

import math

import torch

__all__ = ["angle", "exact_root"]

_ARC = (
    0.00276628346,
    -0.015731249,
    0.0421376228,
    -0.0745685473,
    0.106183708,
    -0.141977981,
    0.199918717,
    -0.333330363,
    1.0,
)
"""Of ``angle`` in lens.h."""


def exact_root(x: torch.Tensor) -> torch.Tensor:
    """The square root, rounded correctly; PyTorch's own in float32 may be off by one in the last place."""
    return x.double().sqrt().to(x)


def angle(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """The angle [rad] of (x, y), y >= 0, from the x axis, in 0..pi.

    In float32 by the operations of lens.h, in float64 by PyTorch's own: what their difference matters is then seen.
    """
    if x.dtype != torch.float32:
        return torch.atan2(y, x)
    a = x.abs()
    larger, smaller = torch.where(a > y, a, y), torch.where(a > y, y, a)
    t = smaller / torch.where(larger > 1e-30, larger, 1e-30)
    s, p = t * t, _ARC[0]
    for coefficient in _ARC[1:]:
        p = p * s + coefficient
    half = t * p
    quarter = torch.where(a < y, math.pi / 2 - half, half)
    return torch.where(x < 0, math.pi - quarter, quarter)
