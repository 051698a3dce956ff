"""What a training view sees of a sparse set of points.

A wall of scattered points has gaps that a pixel looks through. So every point is given a square about as large as its
own neighbourhood: it is drawn into the pyramid layer whose pixels have that size. A point is seen when no layer holds
something clearly nearer at its place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from unrender.cameras.camera import Cameras
from unrender.initialize.surfels import Surfels
from unrender.kernels.rasterize_points.reference import in_image, nearest_depth

__all__ = ["Sight", "look"]

# The largest square that one point may hide things behind is this part of the image's longer side.
WIDEST = 1 / 8
# Within one square a surface may rise away from the viewer this steeply (tangent of the angle) and not hide itself.
STEEPEST = 2.0
# Depth noise that is always allowed; the width of the rasteriser's own fuzzy depth test.
FUZZ = 0.01


@dataclass(frozen=True)
class Sight:
    """The M surfels that one view sees: in the image, facing the camera and not hidden.

    ``index`` [M] into all surfels, ascending; ``pixels`` [M, 2]; ``depth`` [M]; ``footprint`` [M], the radius in
    pixels;
    ``frontal`` [M] in 0..1, the cosine between normal and line of sight, 1/2 where the normal is unknown;
    ``layers``: nearest depth of pyramid layer 0, 1, ..., each [H_l, W_l], +inf where no surfel of that size is.
    """

    index: torch.Tensor
    pixels: torch.Tensor
    depth: torch.Tensor
    footprint: torch.Tensor
    frontal: torch.Tensor
    layers: tuple[torch.Tensor, ...]


def look(surfels: Surfels, cameras: Cameras, view: int) -> Sight:
    """What ``view`` of ``cameras`` sees of ``surfels``."""
    projection = cameras.project(view, surfels.position, surfels.origin)
    size = cameras.size_of(view)
    index = torch.nonzero(projection.inside & in_image(projection.pixels, size))[:, 0]
    frontal, facing = facing_of(surfels, index, (cameras.centers[view] - surfels.origin).float())
    index, frontal = index[facing], frontal[facing]
    pixels, depth, magnification = projection.pixels[index], projection.depth[index], projection.magnification[index]
    footprint = surfels.radius[index] * magnification
    layers = depth_layers(pixels, depth, footprint, size)
    free = unhidden(pixels, depth, magnification * depth, layers)
    return Sight(index[free], pixels[free], depth[free], footprint[free], frontal[free], layers)


def facing_of(surfels: Surfels, index: torch.Tensor, eye: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of surfels ``index`` [M]: cosine between normal and direction to ``eye`` (or 1/2); whether they face it."""
    normal = surfels.normal[index]
    towards = torch.nn.functional.normalize(eye - surfels.position[index], dim=1)
    cosine = (towards * normal).sum(dim=1)
    unknown = (normal == 0).all(dim=1)
    return torch.where(unknown, 0.5, cosine.clamp(0, 1)), unknown | (cosine > 0)


def depth_layers(
    pixels: torch.Tensor, depth: torch.Tensor, footprint: torch.Tensor, size: tuple[int, int]
) -> tuple[torch.Tensor, ...]:
    """Nearest depth per pyramid layer; each surfel is drawn into the one layer whose pixels are as wide as the surfel.

    That is 2^l in [2 r, 4 r) for a radius r (the distance to the 4th neighbour): on a surface, fewer than 1 % of such
    squares are empty.
    """
    deepest = max(0, math.floor(math.log2(max(size) * WIDEST)))
    level = torch.ceil(torch.log2(2 * footprint.clamp(min=0.5))).clamp(0, deepest)
    return tuple(nearest_depth(pixels, depth, level == layer, size, layer) for layer in range(deepest + 1))


def unhidden(
    pixels: torch.Tensor, depth: torch.Tensor, focal: torch.Tensor, layers: tuple[torch.Tensor, ...]
) -> torch.Tensor:
    """Whether nothing clearly nearer is drawn at each place, [M] bool.

    ``pixels`` [M, 2] in the image, ``depth`` [M], ``focal`` [M]: pixels per radian there. "Clearly" allows for the
    noise of depth and for a surface that recedes within a layer's square.
    """
    free = torch.ones(len(pixels), dtype=torch.bool)
    for level, nearest in enumerate(layers):
        column, row = (pixels.long() >> level).unbind(-1)
        tolerance = FUZZ + STEEPEST * 2**level / focal
        free &= depth <= nearest[row, column] * (1 + tolerance)
    return free
