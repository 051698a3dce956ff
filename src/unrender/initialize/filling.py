"""Points for what the photos show and the cloud leaves out: bare walls, smooth cloth, the inside of a cheek.

Feature matching finds no points where nothing catches the eye, and there a renderer would have to paint the scene onto
an infinitely far environment. But each photo says a lot about such a place: its depth is near that of the points
around it unless an edge in the picture separates them. So, per view, inverse depth is spread from the points that
are seen to the whole picture, freely within an evenly coloured region and hardly across edges: the minimum of

    sum over points (q(cell) - 1 / depth)^2  +  stiffness * sum over neighbouring cells w(a, b) (q(a) - q(b))^2,

w falling with the colour difference: one sparse linear system on a coarse grid. A guess of one view is kept only
when other views, each with its own guess, agree on depth and colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch

from unrender.cameras.camera import Cameras
from unrender.datasets.capture import Capture
from unrender.initialize.photos import radiance_photo
from unrender.initialize.sight import look
from unrender.initialize.surfels import Surfels
from unrender.kernels.rasterize_points.reference import in_image, nearest_depth

__all__ = ["Relief", "fill", "relief_of", "spread_inverse_depth"]

# Views that guess and vote, evenly spaced among all: more only add cost once every place is seen by several.
MOST_VIEWS = 48
# Cells along the longer side of a picture.
CELLS = 112
# How hard neighbouring cells hold together, the colour difference (of recorded values in 0..1) that counts as an
# edge, and what still passes an edge, so that no region is left without any depth.
STIFFNESS, EDGE, LEAK = 0.3, 0.04, 1e-4
# Two views agree on a place within this part of its depth, and this part of its brightness.
SAME_DEPTH, SAME_COLOR = 0.06, 0.15
# A guess needs this many other views that agree, and this share of those that could tell.
WITNESSES, MAJORITY = 2, 0.6


@dataclass(frozen=True)
class Relief:
    """What one view guesses about everything it sees, in cells of 2^``level`` pixels.

    ``inverse_depth`` [h, w] in 1 / scene units; ``radiance`` [3, h, w]; ``trust`` [h, w]: of the photo, 0 where it
    is masked.
    """

    view: int
    level: int
    inverse_depth: torch.Tensor
    radiance: torch.Tensor
    trust: torch.Tensor


@torch.no_grad()
def fill(surfels: Surfels, capture: Capture, views: Sequence[int]) -> Surfels:
    """``surfels``, then new ones without normals: most coarse cells of ``views`` get a point at the depth they guess.

    View after view adds what those before it have left open, so that a wall seen by all is filled once.
    """
    chosen = views[:: max(1, math.ceil(len(views) / MOST_VIEWS))]
    reliefs = [relief for view in chosen if (relief := relief_of(surfels, capture, view)) is not None]
    filled = surfels
    for relief in reliefs:
        guesses = open_cells(filled, capture.cameras, relief)
        others = [other for other in reliefs if other is not relief]
        filled = filled.joined(guesses.select(confirmed(guesses, relief, capture.cameras, others)))
    return filled


def relief_of(surfels: Surfels, capture: Capture, view: int) -> Relief | None:
    """The guess of one view; None when it sees no point."""
    sight = look(surfels, capture.cameras, view)
    if len(sight.index) == 0:
        return None
    photo = radiance_photo(capture, view)
    level = max(0, round(math.log2(max(photo.trust.shape) / CELLS)))
    recorded, radiance = coarsened(capture.image(view), level), coarsened(photo.radiance, level)
    height, width = recorded.shape[1:]
    column, row = (sight.pixels.long() >> level).unbind(-1)
    inverse = spread_inverse_depth(row * width + column, 1 / sight.depth.double(), recorded)
    return Relief(view, level, inverse.reshape(height, width), radiance, coarsened(photo.trust[None], level)[0])


def coarsened(image: torch.Tensor, level: int) -> torch.Tensor:
    """Mean [D, ceil(H / 2^l), ceil(W / 2^l)] of ``image`` [D, H, W] over the pixels of each cell."""
    return torch.nn.functional.avg_pool2d(image[None], 2**level, ceil_mode=True, count_include_pad=False)[0]


def spread_inverse_depth(cells: torch.Tensor, inverse_depth: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Inverse depth [h w] float32 of every cell of ``image`` [3, h, w] from that of points in some: the minimum above.

    ``cells`` [M] int64: the flat cell of each point; ``inverse_depth`` [M] float64. All are taken relative to their
    median, so that the unit of the world does not matter.
    """
    height, width = image.shape[1:]
    unit = inverse_depth.median()
    weight = np.bincount(cells.numpy(), minlength=height * width).astype(np.float64)
    wanted = np.bincount(cells.numpy(), weights=(inverse_depth / unit).numpy(), minlength=height * width)
    system = (stiffness_matrix(image) + scipy.sparse.diags(weight)).tocsc()
    solution = scipy.sparse.linalg.spsolve(system, wanted, permc_spec="MMD_AT_PLUS_A")
    return (torch.from_numpy(solution) * unit).float()


def stiffness_matrix(image: torch.Tensor) -> scipy.sparse.csr_matrix:
    """The matrix [h w, h w] of the second sum: a graph Laplacian whose edges are weak where the colour changes."""
    height, width = image.shape[1:]
    number = torch.arange(height * width).reshape(height, width)
    first = torch.cat([number[:, :-1].flatten(), number[:-1].flatten()])
    second = torch.cat([number[:, 1:].flatten(), number[1:].flatten()])
    colors = image.flatten(1).T.double()
    difference = (colors[first] - colors[second]).square().sum(dim=1)
    strength = (STIFFNESS * (torch.exp(-difference / (2 * EDGE**2)) + LEAK)).numpy()
    graph = scipy.sparse.coo_matrix((strength, (first.numpy(), second.numpy())), shape=(height * width,) * 2)
    both_ways = (graph + graph.T).tocsr()
    return scipy.sparse.diags(np.asarray(both_ways.sum(axis=1)).ravel()).tocsr() - both_ways


def open_cells(surfels: Surfels, cameras: Cameras, relief: Relief) -> Surfels:
    """One guess per cell of ``relief`` in which no surfel is as near as the guess; its radius covers the cell."""
    view, level = relief.view, relief.level
    projection = cameras.project(view, surfels.position, surfels.origin)
    size = (int(cameras.sizes[view, 0]), int(cameras.sizes[view, 1]))
    nearest = nearest_depth(projection.pixels, projection.depth, projection.inside, size, level)
    is_open = (nearest * relief.inverse_depth > 1 + 2 * SAME_DEPTH) & (relief.trust > 0) & (relief.inverse_depth > 0)
    row, column = torch.nonzero(is_open, as_tuple=True)
    pixels = (torch.stack([column, row], dim=1) + 0.5) * 2**level
    depth = 1 / relief.inverse_depth[row, column]
    position = back_projected(cameras, view, surfels.origin, pixels, depth)
    magnification = cameras.project(view, position, surfels.origin).magnification
    return Surfels(
        origin=surfels.origin,
        position=position,
        normal=torch.zeros_like(position),
        radius=2**level / 2 / magnification,
        color=torch.full_like(position, 0.5),
    )


def back_projected(
    cameras: Cameras, view: int, origin: torch.Tensor, pixels: torch.Tensor, depth: torch.Tensor
) -> torch.Tensor:
    """Places [K, 3] float32, world minus ``origin``, that ``view`` sees at ``pixels`` [K, 2] and ``depth`` [K]."""
    rays = cameras.rays(view, pixels).double()
    along_axis = rays @ cameras.pose(view)[0][2]
    return (cameras.centers[view] - origin + rays * (depth.double() / along_axis)[:, None]).float()


def confirmed(guesses: Surfels, relief: Relief, cameras: Cameras, others: Sequence[Relief]) -> torch.Tensor:
    """Guesses [K] bool of ``relief`` (in the order of ``open_cells``) that enough of the ``others`` confirm.

    A view confirms a guess where its own relief has the same depth and colour. It denies it where the depth is the
    same but not the colour, or where the guess would hang in front of what it sees. Behind that it cannot tell.
    """
    colors = colors_of(guesses, relief, cameras)
    for_it, against_it = torch.zeros(len(guesses)), torch.zeros(len(guesses))
    for other in others:
        projection = cameras.project(other.view, guesses.position, guesses.origin)
        size = (int(cameras.sizes[other.view, 0]), int(cameras.sizes[other.view, 1]))
        index = torch.nonzero(projection.inside & in_image(projection.pixels, size))[:, 0]
        column, row = (projection.pixels[index].long() >> other.level).unbind(-1)
        ratio = projection.depth[index] * other.inverse_depth[row, column]
        same_color = color_difference(other.radiance[:, row, column].T, colors[index]) < SAME_COLOR
        same_depth = (ratio - 1).abs() < SAME_DEPTH
        for_it.index_add_(0, index, (same_depth & same_color).float())
        against_it.index_add_(0, index, ((same_depth & ~same_color) | (ratio <= 1 - SAME_DEPTH)).float())
    return (for_it >= WITNESSES) & (for_it >= MAJORITY * (for_it + against_it))


def colors_of(guesses: Surfels, relief: Relief, cameras: Cameras) -> torch.Tensor:
    """Radiance [K, 3] of the cells that guesses of ``relief`` came from."""
    pixels = cameras.project(relief.view, guesses.position, guesses.origin).pixels
    column, row = (pixels.long() >> relief.level).unbind(-1)
    height, width = relief.trust.shape
    return relief.radiance[:, row.clamp(0, height - 1), column.clamp(0, width - 1)].T


def color_difference(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Difference [K] of radiances [K, 3] as a part of their summed magnitude."""
    return (first - second).norm(dim=1) / (first.norm(dim=1) + second.norm(dim=1)).clamp(min=1e-6)
