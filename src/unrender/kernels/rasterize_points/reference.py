"""One-pixel point rasterisation in plain PyTorch: the readable twin that any faster version is tested against.

The problem: N points fall into the pixels of an L-layer image pyramid, one pixel per point and layer. A pixel shows the
mean descriptor of the points within a thin depth band behind the nearest one (Eq. 2 to 7 of ADOP). Two lists say
everything about that: which point was blended into which pixel. They are found once per view without gradients; the
blending over them is linear in the descriptors and differentiable. How the image changes when points move is the matter
of ``spatial.py``.

Pixels of a pyramid are numbered flat: layer 0 row by row, then layer 1, ... (``pyramid_offsets``).

Letters: N points, L layers, H W pixels of layer 0, P pixels of the whole pyramid, K blended (point, pixel) pairs, D
channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

__all__ = ["Hits", "blend", "draws", "find_hits", "layer_sizes", "nearest_depth", "pyramid_offsets"]


@dataclass(frozen=True)
class Hits:
    """What one view sees: pairs (``point`` [K], ``pixel`` [K]) int64 of blended points and flat pyramid pixels,
    ``count`` [P] int64 points per pixel, ``depth`` [P] float32 nearest depth, +inf where no point is.
    """

    point: torch.Tensor
    pixel: torch.Tensor
    count: torch.Tensor
    depth: torch.Tensor


def layer_sizes(height: int, width: int, layers: int) -> list[tuple[int, int]]:
    """(height, width) of every layer; layer l has ceil(H / 2^l) x ceil(W / 2^l) pixels and covers the whole image."""
    return [(-(-height // 2**level), -(-width // 2**level)) for level in range(layers)]


def pyramid_offsets(sizes: Sequence[tuple[int, int]]) -> list[int]:
    """Flat number of the first pixel of every layer, and after the last layer their total P."""
    offsets = [0]
    for height, width in sizes:
        offsets.append(offsets[-1] + height * width)
    return offsets


def draws(radius: torch.Tensor, threshold: torch.Tensor, level: int, gamma: float) -> torch.Tensor:
    """Stochastic discarding (Eq. 12): whether each point [N] is drawn in ``level``.

    ``radius`` [N]: projected, in fine pixels; ``threshold`` [N]: the point's fixed beta in [0, 1). A point is drawn
    when r_l / sqrt(1 - beta) > 1 / gamma, that is with probability min(1, (gamma r_l)^2), r_l = radius / 2^level.
    """
    return gamma * radius > 2.0**level * torch.sqrt(1 - threshold)


def pixel_numbers(pixels: torch.Tensor, size: tuple[int, int], level: int) -> torch.Tensor:
    """Row-major number [N] of the pixel of ``level`` that each position ``pixels`` [N, 2] (fine pixels, inside the
    image) lies in.

    floor(u / 2^l): half-integer centres, so that layer l covers exactly 2^l x 2^l fine pixels (Eq. 2 and 3, unbiased).
    """
    width = -(-size[1] // 2**level)
    column, row = (pixels.to(torch.int64) >> level).unbind(-1)
    return row * width + column


def in_image(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bounds test (Eq. 4) [N] for positions ``pixels`` [N, 2] in an image of ``size`` (height, width)."""
    u, v = pixels.unbind(-1)
    return (u >= 0) & (u < size[1]) & (v >= 0) & (v < size[0])


def nearest_depth(
    pixels: torch.Tensor, depth: torch.Tensor, keep: torch.Tensor, size: tuple[int, int], level: int
) -> torch.Tensor:
    """Depth of the nearest point per pixel of ``level``, [H_l, W_l] float32, +inf where empty.

    ``pixels`` [N, 2] fine pixels, ``depth`` [N], ``keep`` [N] bool: points to look at; those outside the image are
    left out.
    """
    chosen = torch.nonzero(keep & in_image(pixels, size))[:, 0]
    (layer,) = layer_sizes(size[0], size[1], level + 1)[level:]
    nearest = torch.full((layer[0] * layer[1],), torch.inf, dtype=torch.float32, device=depth.device)
    nearest.scatter_reduce_(0, pixel_numbers(pixels[chosen], size, level), depth[chosen].float(), "amin")
    return nearest.reshape(layer)


@torch.no_grad()
def find_hits(
    pixels: torch.Tensor,
    depth: torch.Tensor,
    radius: torch.Tensor,
    threshold: torch.Tensor,
    keep: torch.Tensor,
    size: tuple[int, int],
    layers: int,
    alpha: float,
    gamma: float | None,
) -> Hits:
    """Which points are blended into which pixels of the pyramid; no gradients.

    ``pixels`` [N, 2], ``depth`` [N], ``radius`` [N] of the projected points (fine pixels; scene units for depth),
    ``threshold`` [N], ``keep`` [N] bool: points that survive culling (a ghost does not); ``size`` (height, width).
    ``alpha``: relative width of the fuzzy depth band (Eq. 6); ``gamma``: of stochastic discarding, None draws every
    point.
    """
    chosen = torch.nonzero(keep & in_image(pixels, size))[:, 0]
    pixels, depth, radius, threshold = pixels[chosen], depth[chosen], radius[chosen], threshold[chosen]
    offsets = pyramid_offsets(layer_sizes(*size, layers))
    members = [
        torch.arange(len(chosen), device=chosen.device)
        if gamma is None
        else torch.nonzero(draws(radius, threshold, level, gamma))[:, 0]
        for level in range(layers)
    ]
    pixel = torch.cat([pixel_numbers(pixels[m], size, level) + offsets[level] for level, m in enumerate(members)])
    member = torch.cat(members)
    depth = depth[member].float()
    nearest = torch.full((offsets[-1],), torch.inf, device=depth.device).scatter_reduce_(0, pixel, depth, "amin")
    seen = torch.nonzero(depth <= (1 + alpha) * nearest[pixel])[:, 0]
    pixel = pixel[seen]
    return Hits(chosen[member[seen]], pixel, torch.bincount(pixel, minlength=offsets[-1]), nearest)


def blend(descriptors: torch.Tensor, hits: Hits) -> torch.Tensor:
    """Mean descriptor per pixel (Eq. 7, second case), [P, D]; zero where no point is. Exact gradient to
    ``descriptors`` [N, D].
    """
    total = descriptors.new_zeros(hits.count.shape[0], descriptors.shape[1])
    total = total.index_add(0, hits.pixel, descriptors.index_select(0, hits.point))
    return total / hits.count.clamp(min=1)[:, None]
