"""The environment behind empty pixels in plain PyTorch: the readable twin that any faster version is tested against.

The environment is an equirectangular map (``geometry/equirect.py``), infinitely far away: what an empty pixel shows
depends on the direction of the ray through its centre alone.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from unrender.cameras.camera import pixel_centers
from unrender.geometry.equirect import texel_from_direction
from unrender.kernels.rasterize_points.families import unproject_plane
from unrender.kernels.rasterize_points.reference import layer_sizes
from unrender.kernels.rasterize_points.views import fields_of

__all__ = ["fill_environment", "ray_directions", "sample_environment"]


def fill_environment(
    features: torch.Tensor,
    counts: torch.Tensor,
    texture: torch.Tensor,
    views: torch.Tensor,
    size: tuple[int, int],
    layers: int,
) -> torch.Tensor:
    """See ``op.fill_environment``; any floating type."""
    centers = _centers(size, layers, counts.device)
    view, pixel = torch.nonzero(counts == 0, as_tuple=True)
    directions = torch.zeros(len(view), 3, dtype=torch.float64, device=counts.device)
    for number, row in enumerate(views.detach()):
        mine = view == number
        directions[mine] = ray_directions(row, centers[pixel[mine]].to(row.dtype))
    samples = sample_environment(texture, directions)
    filled = features.flatten(0, 1).index_add(0, view * counts.shape[1] + pixel, samples)
    return filled.reshape(features.shape)


@lru_cache(maxsize=4)
def _centers(size: tuple[int, int], layers: int, device: torch.device) -> torch.Tensor:
    """Centres [P, 2] of the pixels of a pyramid (fine pixels)."""
    sizes = enumerate(layer_sizes(*size, layers))
    return torch.cat([(pixel_centers(*extent) * 2**level).reshape(-1, 2) for level, extent in sizes]).to(device)


def ray_directions(view: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """World directions [K, 3], of any length, through places ``pixels`` [K, 2] (fine pixels) of a view, a row [R] of
    ``pack_views``, which may stay on the CPU: it is a few numbers.
    """
    row = fields_of(view)
    plane = (pixels - row["center"].to(pixels)) / row["focal"].to(pixels)
    directions = unproject_plane(int(row["family"]), row["distortion"], row["terms"], plane)
    return directions @ row["rotation"].reshape(3, 3).to(pixels)


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
