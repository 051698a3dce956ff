"""What a training view sees of a sparse set of points.

A wall of scattered points has gaps that a pixel looks through. So every point is given a square about as large as
its own neighbourhood: it is drawn into the pyramid layer whose pixels have that size. A point is seen when no layer
holds something clearly nearer at its place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from unrender.cameras.camera import Cameras
from unrender.initialize.surfels import Surfels
from unrender.kernels.rasterize_points.reference import nearest_depth

__all__ = ["Sight", "look"]

# The largest square that one point may hide things behind is this part of the image's longer side.
WIDEST = 1 / 8
# Within one square a surface may rise away from the viewer this steeply (tangent of the angle) and not hide itself.
STEEPEST = 2.0
# Depth noise that is always allowed; the width of the rasteriser's own fuzzy depth test.
FUZZ = 0.01


@dataclass(frozen=True)
class Sight:
    """One view's look at N surfels.

    ``pixels`` [N, 2]; ``depth`` [N]; ``footprint`` [N], the radius in pixels; ``frontal`` [N] in 0..1, the cosine
    between normal and line of sight, 1/2 where the normal is unknown; ``visible`` [N] bool: in the image, facing
    the camera and not hidden;
    ``layers``: nearest depth of pyramid layer 0, 1, ..., each [H_l, W_l], +inf where no surfel of that size is.
    """

    pixels: torch.Tensor
    depth: torch.Tensor
    footprint: torch.Tensor
    frontal: torch.Tensor
    visible: torch.Tensor
    layers: tuple[torch.Tensor, ...]


def look(surfels: Surfels, cameras: Cameras, view: int) -> Sight:
    """What ``view`` of ``cameras`` sees of ``surfels``."""
    projection = cameras.project(view, surfels.position, surfels.origin)
    height, width = cameras.sizes[view].tolist()
    frontal, facing = facing_of(surfels, cameras, view)
    inside = projection.inside & in_frame(projection.pixels, height, width) & facing
    footprint = surfels.radius * projection.magnification
    layers = depth_layers(projection.pixels, projection.depth, footprint, inside, (height, width))
    visible = inside.clone()
    chosen = torch.nonzero(inside)[:, 0]
    focal = projection.magnification[chosen] * projection.depth[chosen]
    visible[chosen] = unhidden(projection.pixels[chosen], projection.depth[chosen], focal, layers)
    return Sight(projection.pixels, projection.depth, footprint, frontal, visible, layers)


def facing_of(surfels: Surfels, cameras: Cameras, view: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine between normal and direction to the camera [N], 1/2 where unknown, and whether it faces it [N]."""
    center = (cameras.centers[view] - surfels.origin).float()
    towards = torch.nn.functional.normalize(center - surfels.position, dim=1)
    cosine = (towards * surfels.normal).sum(dim=1)
    unknown = (surfels.normal == 0).all(dim=1)
    return torch.where(unknown, 0.5, cosine.clamp(0, 1)), unknown | (cosine > 0)


def in_frame(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Whether ``pixels`` [N, 2] lie within the image, [N] bool."""
    u, v = pixels.unbind(-1)
    return (u >= 0) & (u < width) & (v >= 0) & (v < height)


def depth_layers(
    pixels: torch.Tensor, depth: torch.Tensor, footprint: torch.Tensor, keep: torch.Tensor, size: tuple[int, int]
) -> tuple[torch.Tensor, ...]:
    """Nearest depth per pyramid layer; each surfel is drawn into the one layer whose pixels are as wide as the surfel.

    That is 2^l in [2 r, 4 r) for a radius r (the distance to the 4th neighbour): on a surface, fewer than 1 % of
    such squares are empty.
    """
    deepest = max(0, math.floor(math.log2(max(size) * WIDEST)))
    level = torch.ceil(torch.log2(2 * footprint.clamp(min=0.5))).clamp(0, deepest)
    return tuple(nearest_depth(pixels, depth, keep & (level == layer), size, layer) for layer in range(deepest + 1))


def unhidden(
    pixels: torch.Tensor, depth: torch.Tensor, focal: torch.Tensor, layers: tuple[torch.Tensor, ...]
) -> torch.Tensor:
    """Whether nothing clearly nearer is drawn at each place, [N] bool.

    ``pixels`` [N, 2] in the image, ``depth`` [N], ``focal`` [N]: pixels per radian there. "Clearly" allows for the
    noise of depth and for a surface that recedes within a layer's square.
    """
    free = torch.ones(len(pixels), dtype=torch.bool)
    for level, nearest in enumerate(layers):
        column, row = (pixels.long() >> level).unbind(-1)
        tolerance = FUZZ + STEEPEST * 2**level / focal
        free &= depth <= nearest[row, column] * (1 + tolerance)
    return free
