"""Points where feature matching finds none: depth maps from the photos themselves, by plane sweep.

Structure from motion leaves walls, cloth and furniture nearly empty, and there a renderer would have to paint the
scene on an infinitely far environment. But each training photo says how deep it is: at the right depth its neighbours
show the same colours. So a view's cells are carried into neighbouring views at a range of depths (Collins 1996),
compared in exposure-free radiance, and the depths are chosen together by ``semiglobal.py``. Only what several views
confirm becomes points (``fusion.py``).

Letters: K depths, S neighbouring views, h w cells of a depth map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import avg_pool2d

from unrender.cameras.camera import Cameras, pixel_centers
from unrender.cameras.sensor import GAMMA
from unrender.datasets.capture import Capture
from unrender.initialize.colors import sample
from unrender.initialize.photos import radiance_photo
from unrender.initialize.semiglobal import aggregate, cheapest
from unrender.initialize.sight import Sight, look
from unrender.initialize.surfels import Surfels
from unrender.kernels.rasterize_points.reference import in_image, nearest_depth

__all__ = ["DepthMap", "axis_rays", "bare_share", "depth_maps"]

# A depth map has at most so many cells along its longer side, and so many depths to choose from.
CELLS, DEPTHS = 128, 64
# Views that get a depth map, evenly spaced among all; more add cost and little that is new.
MOST_VIEWS = 128
# Neighbours that a view is compared with, and how many are asked when depths are confirmed.
NEIGHBOURS, WITNESSES = 5, 24
# Two views compare best when they see the shared points under this angle [degrees]; the second number is how fast more
# hurts.
BEST_ANGLE, ANGLE_SPREAD = 6.0, 10.0
# A colour difference [recorded, 0..1] beyond which it does not matter how wrong a match is, and the cost of not
# knowing.
WORST, UNKNOWN = 0.12, 0.07
# Depths reach from this part of the nearest seen point to this multiple of the farthest (1 % and 99 %).
NEARER, FARTHER = 0.7, 1.6
# A point of the cloud that is seen pulls its cell towards its own depth: cost of being three hypotheses off.
PULL = 0.06


@dataclass(frozen=True)
class DepthMap:
    """What one view says about everything that it sees, in cells of 2^``level`` pixels.

    ``depth`` [h, w]: as in ``Projection``, scene units; ``color`` [3, h, w]: radiance^0.45, what a photo at the
    mean exposure would have recorded; ``trust`` [h, w]: of the photo, 0 where it is masked; ``partners``: views that
    see the same points, best first.
    """

    view: int
    level: int
    depth: torch.Tensor
    color: torch.Tensor
    trust: torch.Tensor
    partners: tuple[int, ...]


@dataclass(frozen=True)
class _Picture:
    """Cells of a photo: ``color`` [3, h, w], ``trust`` [h, w], and how much of each may be ``used`` [h, w], None where
    that is all.
    """

    color: torch.Tensor
    trust: torch.Tensor
    used: torch.Tensor | None


@torch.no_grad()
def bare_share(surfels: Surfels, capture: Capture, views: Sequence[int]) -> float:
    """Share of the cells of depth maps in which no surfel lies, over some ``views``; 0 is a cloud that covers all.

    Cells that are masked do not count.
    """
    some = list(views[:: max(1, math.ceil(len(views) / 16))])
    level, empty = _level(capture.cameras, some), []
    for view in some:
        projection = capture.cameras.project(view, surfels.position, surfels.origin)
        size = capture.cameras.size_of(view)
        bare = nearest_depth(projection.pixels, projection.depth, projection.inside, size, level).isinf()
        mask = capture.mask(view)
        empty.append(bare.flatten() if mask is None else bare[_cells(mask, level)[0] > 0])
    counted = torch.cat(empty).float()
    return float(counted.mean()) if len(counted) else 0.0


@torch.no_grad()
def depth_maps(surfels: Surfels, capture: Capture, views: Sequence[int]) -> list[DepthMap]:
    """Depth maps of up to ``MOST_VIEWS`` of ``views``; views that see no point of ``surfels`` get none."""
    chosen = list(views[:: max(1, math.ceil(len(views) / MOST_VIEWS))])
    cameras = capture.cameras
    # Their depth layers are as large as the photos, and not needed here.
    looks = {view: replace(look(surfels, cameras, view), layers=()) for view in chosen}
    sights = {view: sight for view, sight in looks.items() if len(sight.index) > 0}
    level = _level(cameras, chosen)
    pictures = {view: _picture(capture, view, level) for view in sights}
    partners = partners_of(surfels, cameras, sights)
    maps = []
    for view, sight in sights.items():
        inverse_depths = _hypotheses(sight)
        cost = sweep_cost(cameras, view, partners[view][:NEIGHBOURS], pictures, inverse_depths, level)
        cost = cost + pull_of_points(sight, inverse_depths, cost.shape[1:], level)
        index = cheapest(aggregate(cost, pictures[view].color))
        depth = 1 / (inverse_depths[0] + index * (inverse_depths[1] - inverse_depths[0]))
        maps.append(DepthMap(view, level, depth, pictures[view].color, pictures[view].trust, partners[view]))
    return maps


def partners_of(surfels: Surfels, cameras: Cameras, sights: dict[int, Sight]) -> dict[int, tuple[int, ...]]:
    """For each view the others that see the same points, best first: many points shared, under a helpful angle."""
    views = list(sights)
    seen = torch.zeros(len(views), len(surfels))
    for row, sight in zip(seen, sights.values(), strict=True):
        row[sight.index] = 1
    centers = (cameras.centers[views] - surfels.origin).float()
    found = {}
    for row, view in enumerate(views):
        shared = seen @ seen[row]
        places = surfels.position[sights[view].index]
        towards = torch.nn.functional.normalize(places[:: max(1, len(places) // 500), None] - centers, dim=2)
        cosine = (towards * towards[:, row : row + 1]).sum(dim=2)
        angle = torch.rad2deg(torch.acos(cosine.clamp(-1, 1))).median(dim=0).values
        beyond = ((angle - BEST_ANGLE) / ANGLE_SPREAD).clamp(min=0)
        worth = shared * (angle / BEST_ANGLE).clamp(max=1) * torch.exp(-beyond.square())
        worth[row] = 0
        best = worth.sort(descending=True, stable=True).indices[:WITNESSES].tolist()
        found[view] = tuple(views[other] for other in best if worth[other] > 0)
    return found


def sweep_cost(
    cameras: Cameras,
    view: int,
    others: Sequence[int],
    pictures: dict[int, _Picture],
    inverse_depths: torch.Tensor,
    level: int,
) -> torch.Tensor:
    """Cost [K, h, w] of each depth for each cell of ``view``: its mean colour difference to the better half of
    ``others``.

    The better half, because a neighbour may look at something in front. Averaged over 3 x 3 cells. A masked cell knows
    nothing.
    """
    color = pictures[view].color
    height, width = color.shape[1:]
    rays = axis_rays(cameras, view, level, (height, width))
    unseen = torch.full((len(inverse_depths), height * width), torch.inf)
    costs = torch.stack(
        [unseen, *(_differences(cameras, view, other, rays, pictures, inverse_depths, level) for other in others)]
    )
    costs = costs.sort(dim=0).values
    known = costs.isfinite().sum(dim=0) * (pictures[view].trust.flatten() > 0)
    half = (known + 1) // 2
    counted = torch.arange(len(costs))[:, None, None] < half
    mean = torch.where(counted, costs, 0.0).sum(dim=0) / half.clamp(min=1)
    cost = torch.where(known > 0, mean, UNKNOWN).reshape(-1, height, width)
    return avg_pool2d(cost[None], 3, stride=1, padding=1, count_include_pad=False)[0]


def pull_of_points(sight: Sight, inverse_depths: torch.Tensor, size: torch.Size, level: int) -> torch.Tensor:
    """Extra cost [K, h, w] of depths that differ from those of the points seen in a cell."""
    height, width = size
    column, row = (sight.pixels.long() >> level).unbind(-1)
    cell = row * width + column
    hypothesis = (1 / sight.depth - inverse_depths[0]) / (inverse_depths[1] - inverse_depths[0])
    hypothesis = hypothesis.clamp(0, len(inverse_depths) - 1)
    off = (torch.arange(len(inverse_depths))[:, None] - hypothesis).abs().clamp(max=3) / 3
    total = torch.zeros(len(inverse_depths), height * width).index_add_(1, cell, PULL * off)
    count = torch.bincount(cell, minlength=height * width).clamp(min=1)
    return (total / count).reshape(-1, height, width)


def _differences(
    cameras: Cameras,
    view: int,
    other: int,
    rays: torch.Tensor,
    pictures: dict[int, _Picture],
    inverse_depths: torch.Tensor,
    level: int,
) -> torch.Tensor:
    """Colour difference [K, h w] between cells of ``view`` at each depth and what ``other`` shows there; inf where
    unseen.
    """
    rotation, translation = cameras.pose(other)
    direction = (rays @ rotation.T).float()
    start = (rotation @ cameras.centers[view] + translation).float()
    places = direction / inverse_depths[:, None, None] + start
    pixels, inside = cameras.lens(other).project(places.reshape(-1, 3))
    pixels = pixels * cameras.pixel_scale[other].float() + cameras.pixel_offset[other].float()
    # The last cells may reach beyond the photo: places are measured in whole cells.
    color, trust = _shown(pictures[other], pixels / 2**level)
    seen = inside & in_image(pixels, cameras.size_of(other)) & (trust > 0)
    found = color.reshape(3, len(inverse_depths), -1)
    difference = (found - pictures[view].color.reshape(3, 1, -1)).abs().mean(dim=0).clamp(max=WORST)
    return torch.where(seen.reshape(difference.shape), difference, torch.inf)


def _level(cameras: Cameras, views: Sequence[int]) -> int:
    return max(0, math.ceil(math.log2(int(cameras.sizes[list(views)].max()) / CELLS)))


def _shown(picture: _Picture, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Colour [3, N] and trust [N] at ``places`` [N, 2] in cells."""
    color, trust = sample(picture.color, places, picture.used), sample(picture.trust[None], places)
    return color.T, trust[:, 0]


def _picture(capture: Capture, view: int, level: int) -> _Picture:
    photo = radiance_photo(capture, view)
    color, trust = photo.radiance.clamp(min=0) ** GAMMA, _cells(photo.trust[None], level)[0]
    if photo.used is None:
        return _Picture(_cells(color, level), trust, None)
    used = _cells(photo.used[None], level)
    color = _cells(torch.where(photo.used > 0, color * photo.used, 0.0), level)
    return _Picture(color / used.clamp(min=torch.finfo(used.dtype).tiny), trust, used[0])


def _cells(image: torch.Tensor, level: int) -> torch.Tensor:
    """Means [D, h, w] of the cells of an image [D, H, W]."""
    return avg_pool2d(image[None], 2**level, ceil_mode=True, count_include_pad=False)[0]


def _hypotheses(sight: Sight) -> torch.Tensor:
    """Inverse depths [K], evenly spaced, far to near."""
    nearest, farthest = sight.depth.quantile(torch.tensor([0.01, 0.99])).tolist()
    return torch.linspace(1 / (FARTHER * farthest), 1 / (NEARER * nearest), DEPTHS)


def axis_rays(cameras: Cameras, view: int, level: int, size: tuple[int, int]) -> torch.Tensor:
    """World directions [h w, 3] float64 through the cells' centres, as long as a depth of 1 is: along the optical axis,
    or of length 1 where depth is the distance.
    """
    rays = cameras.rays(view, pixel_centers(*size).reshape(-1, 2) * 2**level).double()
    if cameras.lens(view).depth_is_distance:
        return torch.nn.functional.normalize(rays, dim=1)
    return rays / (rays @ cameras.pose(view)[0][2])[:, None]
