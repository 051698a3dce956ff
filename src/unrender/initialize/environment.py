"""What lies behind the points: an environment map started from the photos.

Every training pixel with no point near it shows something that no point can; its radiance is cast into the map in the
direction the pixel looks. Directions that nobody looked in are filled smoothly from those around them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from unrender.cameras.camera import Cameras, pixel_centers
from unrender.datasets.capture import Capture
from unrender.geometry.equirect import texel_from_direction
from unrender.initialize.photos import radiance_photo
from unrender.initialize.sight import look
from unrender.initialize.surfels import Surfels

__all__ = ["empty_pixels", "environment_size", "fill_gaps", "seen_environment"]

# A texel is about this many pixels wide. Finer would only store the parallax of what is not infinitely far.
PIXELS_PER_TEXEL = 4
NARROWEST, WIDEST = 64, 2048
# Pixels closer than this part of the image's longer side to a point do not tell about the environment.
MARGIN = 1 / 50


def environment_size(cameras: Cameras, views: Sequence[int]) -> tuple[int, int]:
    """(height, width) of a map with texels about as wide as 4 pixels of these views; width a power of two."""
    pixels_per_turn = 2 * math.pi * float(torch.stack([focal_length(cameras, view) for view in views]).median())
    width = 2 ** round(math.log2(max(pixels_per_turn / PIXELS_PER_TEXEL, 1)))
    width = min(max(width, NARROWEST), WIDEST)
    return width // 2, width


def focal_length(cameras: Cameras, view: int) -> torch.Tensor:
    """Pixels per radian in the middle of a view."""
    height, width = cameras.sizes[view].tolist()
    middle = torch.tensor([[width / 2, height / 2], [width / 2 + 1, height / 2]])
    first, second = cameras.rays(view, middle).double()
    return 1 / torch.atan2(torch.linalg.cross(first, second).norm(), first @ second)


@torch.no_grad()
def seen_environment(
    surfels: Surfels, capture: Capture, views: Sequence[int], size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean radiance [3, He, We] of the pixels of ``views`` without points, gaps filled, and its weight [He, We]."""
    height, width = size
    total, weight = torch.zeros(3, height * width), torch.zeros(height * width)
    for view in views:
        empty = far_from_points(empty_pixels(look(surfels, capture.cameras, view).layers))
        photo = radiance_photo(capture, view)
        u, v = texel_from_direction(capture.cameras.rays(view, pixel_centers(*empty.shape)[empty]))
        texel = (v * height).long().clamp(max=height - 1) * width + (u * width).long() % width
        total.index_add_(1, texel, photo.radiance[:, empty] * photo.trust[empty])
        weight.index_add_(0, texel, photo.trust[empty])
    weight = weight.reshape(size)
    return fill_gaps(total.reshape(3, *size), weight), weight


def empty_pixels(layers: Sequence[torch.Tensor]) -> torch.Tensor:
    """Pixels [H, W] bool that no surfel covers in any of the depth ``layers`` of a view."""
    height, width = layers[0].shape
    empty = torch.ones(height, width, dtype=torch.bool)
    for level, nearest in enumerate(layers):
        rows, columns = torch.arange(height) >> level, torch.arange(width) >> level
        empty &= nearest.isinf()[rows[:, None], columns]
    return empty


def far_from_points(empty: torch.Tensor) -> torch.Tensor:
    """Pixels of ``empty`` [H, W] with nothing but empty ones around: a gap within an object shows no environment."""
    reach = round(MARGIN * max(empty.shape))
    covered = (~empty).float()[None, None]
    # The largest of a square is the largest of its rows' largest: twice a line instead of a whole square per pixel.
    along = torch.nn.functional.max_pool2d(covered, (1, 2 * reach + 1), stride=1, padding=(0, reach))
    return torch.nn.functional.max_pool2d(along, (2 * reach + 1, 1), stride=1, padding=(reach, 0))[0, 0] == 0


def fill_gaps(total: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Means [3, He, We] of sums ``total`` with ``weight`` [He, We]; where that is 0, the nearest coarser mean.

    Pull and push: sums are halved in size until one row is left, then each level takes over what it lacks from the next
    coarser one, interpolated around the seam. A level trusts itself as far as it has weight, so that no edge shows.
    """
    if total.shape[1] == 1:
        mean = total.sum(dim=2, keepdim=True) / weight.sum().clamp(min=1e-12)
        return mean.expand_as(total)
    coarse = fill_gaps(halved(total), halved(weight[None])[0])
    share = weight / (weight + 0.1 * weight.mean().clamp(min=1e-12))
    mean = total / weight.clamp(min=1e-12)
    return share * mean + (1 - share) * doubled(coarse)


def halved(image: torch.Tensor) -> torch.Tensor:
    """Sums of 2 x 2 texels, [D, H / 2, W / 2]."""
    return 4 * torch.nn.functional.avg_pool2d(image[None], 2)[0]


def doubled(image: torch.Tensor) -> torch.Tensor:
    """Twice the size [D, 2 H, 2 W] by bilinear interpolation: wrapped around in u, ending at the poles in v."""
    padded = torch.nn.functional.pad(image[None], (1, 1, 0, 0), mode="circular")
    grown = torch.nn.functional.interpolate(padded, scale_factor=2, mode="bilinear", align_corners=False)
    return grown[0, :, :, 2:-2]
