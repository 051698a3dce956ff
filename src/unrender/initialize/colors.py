"""What radiance the training photos show where a surfel lies.

Every view that sees a surfel offers a colour. Reflections, moving things and a few millimetres of error make some
of them wrong, so the answer is a weighted geometric median rather than a mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from unrender.cameras.sensor import Sensor
from unrender.datasets.capture import Capture
from unrender.initialize.photos import radiance_photo
from unrender.initialize.sight import Sight, look
from unrender.initialize.surfels import Surfels

__all__ = ["cloud_radiance", "sample", "seen_radiance"]

# Passes over the photos: a mean first, then a step of Weiszfeld's algorithm, which takes most of the way to the median.
PASSES = 2
# Two colours closer than this part of their brightness count as equal.
TINY = 0.05


@torch.no_grad()
def seen_radiance(surfels: Surfels, capture: Capture, views: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Median linear radiance [N, 3] of ``surfels`` over ``views``, and the weight [N] behind it; both 0 if unseen.

    A view weighs more when it looks straight at the surfel (cosine) and from near (pixels per unit of length), and
    less where its photo is clipped.
    """
    radiance, weight = mean_radiance(surfels, capture, views, None)
    for _ in range(PASSES - 1):
        radiance, _ = mean_radiance(surfels, capture, views, radiance)
    return radiance, weight


def mean_radiance(
    surfels: Surfels, capture: Capture, views: Sequence[int], center: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted mean radiance [N, 3] and sum of weights [N]; weights fall off with the distance to ``center`` [N, 3]."""
    total, weight = torch.zeros(len(surfels), 3), torch.zeros(len(surfels))
    for view in views:
        sight = look(surfels, capture.cameras, view)
        index = sight.index
        colors, weights = offers(capture, view, sight)
        if center is not None:
            weights = weights / relative_distance(colors, center[index])
        total.index_add_(0, index, colors * weights[:, None])
        weight.index_add_(0, index, weights)
    return total / weight.clamp(min=torch.finfo(torch.float32).tiny)[:, None], weight


def offers(capture: Capture, view: int, sight: Sight) -> tuple[torch.Tensor, torch.Tensor]:
    """Radiance [M, 3] that ``view`` shows at the surfels it sees, and how much it should count [M].

    The footprint is the surfel's radius in pixels: among the views of one surfel it says which is near.
    """
    photo = radiance_photo(capture, view)
    colors, trust = sample(photo.radiance, sight.pixels, photo.used), sample(photo.trust[None], sight.pixels)
    return colors, trust[:, 0] * (sight.frontal + 0.05) * sight.footprint


def relative_distance(colors: torch.Tensor, center: torch.Tensor) -> torch.Tensor:
    """Distance [M] between colours [M, 3] as a part of the brightness of ``center`` [M, 3], at least ``TINY``."""
    brightness = center.norm(dim=1).clamp(min=1e-6)
    return ((colors - center).norm(dim=1) / brightness).clamp(min=TINY)


def sample(image: torch.Tensor, pixels: torch.Tensor, used: torch.Tensor | None = None) -> torch.Tensor:
    """Bilinear values [N, D] of ``image`` [D, H, W] at ``pixels`` [N, 2] (u, v; first pixel centre at 0.5).

    ``used`` [H, W]: how much each pixel may be used; 0 where none of those around may.
    """
    if used is not None:
        found = sample(torch.cat([torch.where(used > 0, image * used, 0.0), used[None]]), pixels)
        return found[:, :-1] / found[:, -1:].clamp(min=torch.finfo(found.dtype).tiny)
    height, width = image.shape[1:]
    grid = pixels / pixels.new_tensor([width, height]) * 2 - 1
    found = torch.nn.functional.grid_sample(image[None], grid[None, None], padding_mode="border", align_corners=False)
    return found[0, :, 0].T


@torch.no_grad()
def cloud_radiance(colors: torch.Tensor, sensor: Sensor) -> torch.Tensor:
    """Radiance [N, 3] of recorded ``colors`` [N, 3] in 0..1: a cloud does not say which photo they came from, so the
    mean exposure is assumed, the photo's centre, and the first camera.
    """
    typical = replace(sensor.select(torch.tensor([0])), exposure=torch.full((1,), float(sensor.exposure_mean)))
    middle = torch.zeros(1, 2, 1, len(colors))
    return typical.radiance(colors.T[None, :, None], middle, torch.zeros(1, dtype=torch.int64))[0, :, 0].T
