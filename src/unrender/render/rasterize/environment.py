"""The environment behind a scene: an equirectangular map seen through any lens, without a seam."""

from __future__ import annotations

import torch

from unrender.geometry.equirect import texel_from_direction

__all__ = ["sample_environment"]


def sample_environment(texture: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """Bilinear samples [K, D] of ``texture`` [D, He, We] along world ``directions`` [K, 3].

    Columns wrap around, rows end at the poles. Exact gradient to the texture; none is passed to the directions.
    """
    height, width = texture.shape[1:]
    u, v = texel_from_direction(directions.detach())
    column, row = u * width - 0.5, (v * height - 0.5).clamp(0, height - 1)
    left, top = column.floor(), row.floor()
    across, down = (column - left).to(texture)[:, None], (row - top).to(texture)[:, None]
    left, top = left.long() % width, top.long()
    right, bottom = (left + 1) % width, (top + 1).clamp(max=height - 1)
    corners = torch.cat([top * width + left, top * width + right, bottom * width + left, bottom * width + right])
    # One gather for all corners: each would need a gradient as large as the texture.
    upper_left, upper_right, lower_left, lower_right = (
        texture.flatten(1).T.contiguous().index_select(0, corners).chunk(4)
    )
    upper, lower = torch.lerp(upper_left, upper_right, across), torch.lerp(lower_left, lower_right, across)
    return torch.lerp(upper, lower, down)
