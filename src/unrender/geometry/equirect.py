"""Equirectangular maps: which place of a map shows which direction, and back.

The map's width goes once around the world's y axis and its height from the direction +y (top, v = 0) to -y (bottom,
v = 1). Texel centres lie at ((column + 0.5) / width, (row + 0.5) / height); u wraps around, v ends at the poles.
Whether +y is up or down is the input's business: nothing here depends on it.
"""

from __future__ import annotations

import math

import torch

__all__ = ["direction_from_texel", "texel_centers", "texel_from_direction"]


def texel_from_direction(directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """World directions [..., 3] of any length > 0 -> (u, v), each [...], in 0..1; differentiable away from the poles.

    u = atan2(x, z) / 2 pi + 1/2, v = acos(y / length) / pi. The angle from the axis is computed with atan2, which
    keeps its precision near the poles where acos loses half of the digits.
    """
    x, y, z = directions.unbind(-1)
    around = torch.atan2(x, z) / (2 * math.pi) + 0.5
    down = torch.atan2(torch.hypot(x, z), y) / math.pi
    return around, down


def direction_from_texel(u: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Map places (u, v), each [...], in 0..1 -> unit world directions [..., 3]: the inverse of
    ``texel_from_direction``.
    """
    around, down = (u - 0.5) * (2 * math.pi), v * math.pi
    across = torch.sin(down)
    return torch.stack([across * torch.sin(around), torch.cos(down), across * torch.cos(around)], dim=-1)


def texel_centers(height: int, width: int) -> torch.Tensor:
    """Unit world directions through the centres of a map's texels, [height, width, 3] float32."""
    v, u = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
    return direction_from_texel(u, v)
