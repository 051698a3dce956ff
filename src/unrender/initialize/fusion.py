"""From depth maps to points: what several views confirm, once each.

A cell of a depth map is a claim. Another view confirms it where its own map has the same depth and colour there,
denies it where the claim would hang in front of what it sees, and cannot tell where it looks at something nearer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unrender.cameras.camera import Cameras
from unrender.initialize.stereo import DepthMap, axis_rays
from unrender.initialize.surfels import Surfels
from unrender.kernels.rasterize_points.reference import in_image

__all__ = ["fuse"]

# Two views agree within this part of the depth and this difference of recorded colours in 0..1.
SAME_DEPTH, SAME_COLOR = 0.04, 0.08
# A claim needs this many views that confirm it, and no more that deny it than confirm it.
CONFIRMATIONS = 2


@torch.no_grad()
def fuse(maps: Sequence[DepthMap], cameras: Cameras, origin: torch.Tensor) -> Surfels:
    """The confirmed claims of ``maps`` as grey surfels without normals, relative to ``origin`` [3] float64.

    A claim's place is the mean of what the agreeing views say. Where maps overlap, one claim per cube of a cell's size
    is kept.
    """
    by_view = {depth_map.view: depth_map for depth_map in maps}
    parts = [_confirmed(depth_map, by_view, cameras, origin) for depth_map in maps]
    position = torch.cat([part[0] for part in parts]) if parts else torch.zeros(0, 3)
    radius = torch.cat([part[1] for part in parts]) if parts else torch.zeros(0)
    kept = _one_per_cube(position, radius)
    grey = torch.full((len(kept), 3), 0.5)
    added = torch.full((len(kept),), -1, dtype=torch.int32)
    return Surfels(origin, position[kept], torch.zeros(len(kept), 3), radius[kept], grey, added)


def _confirmed(
    claim: DepthMap, maps: dict[int, DepthMap], cameras: Cameras, origin: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Places [M, 3] and radii [M] of the cells of ``claim`` that its partners confirm."""
    height, width = claim.depth.shape
    rays = axis_rays(cameras, claim.view, claim.level, (height, width))
    eye, depth = cameras.centers[claim.view] - origin, claim.depth.reshape(-1).double()
    place = (eye + rays * depth[:, None]).float()
    ratios, confirmed, denied = (torch.zeros(len(place)) for _ in range(3))
    for partner in claim.partners:
        index, ratio, same = _opinion(claim, maps[partner], cameras, place, origin)
        confirmed.index_add_(0, index, same.float())
        ratios.index_add_(0, index, torch.where(same, ratio, 0.0))
        denied.index_add_(0, index, (ratio > 1 + SAME_DEPTH).float())
    keep = (confirmed >= CONFIRMATIONS) & (denied <= confirmed) & (claim.trust.reshape(-1) > 0)
    depth = depth * (1 + ratios) / (1 + confirmed)
    place = (eye + rays * depth[:, None]).float()[keep]
    return place, 2**claim.level / cameras.project(claim.view, place, origin).magnification


def _opinion(
    claim: DepthMap, other: DepthMap, cameras: Cameras, place: torch.Tensor, origin: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Which claims [M] ``other`` sees, its own depth there over theirs [M], and whether depth and colour agree [M]."""
    projection = cameras.project(other.view, place, origin)
    index = torch.nonzero(projection.inside & in_image(projection.pixels, cameras.size_of(other.view)))[:, 0]
    column, row = (projection.pixels[index].long() >> other.level).unbind(-1)
    trusted = other.trust[row, column] > 0
    index, column, row = index[trusted], column[trusted], row[trusted]
    ratio = other.depth[row, column] / projection.depth[index]
    difference = (other.color[:, row, column] - claim.color.flatten(1)[:, index]).abs().mean(dim=0)
    return index, ratio, ((ratio - 1).abs() < SAME_DEPTH) & (difference < SAME_COLOR)


def _one_per_cube(position: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """Indices [M], ascending, of the first place in each cube of about its own radius (a power of two)."""
    exponent = radius.clamp(min=torch.finfo(torch.float32).tiny).log2().floor()
    cube = torch.cat([(position / exponent.exp2()[:, None]).floor(), exponent[:, None]], dim=1).long()
    _, group = torch.unique(cube, dim=0, return_inverse=True)
    first = torch.full((int(group.max()) + 1 if len(group) else 0,), len(group))
    return first.scatter_reduce_(0, group, torch.arange(len(group)), "amin").sort().values
