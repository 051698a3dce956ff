"""Which window of which photo a step looks at, cut from the photo and from its camera alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import interpolate

from unrender.cameras.camera import Cameras

_ORDERS = 2**40  # orders of epochs draw from other seeds than steps do

__all__ = ["Window", "crop_cameras", "crop_image", "crop_masked", "draw_window", "view_order"]


@dataclass(frozen=True)
class Window:
    """``height`` x ``width`` whole pixels of a photo from (``left``, ``top``), shown as ``size`` (height, width)
    pixels.
    """

    left: int
    top: int
    height: int
    width: int
    size: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Shown pixels per photo pixel, (u, v)."""
        return self.size[1] / self.width, self.size[0] / self.height


def view_order(views: Sequence[int], epoch: int, seed: int) -> list[int]:
    """The training views in the order of one epoch; follows from (seed, epoch) alone."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + _ORDERS + epoch)
    return [views[place] for place in torch.randperm(len(views), generator=generator).tolist()]


def draw_window(
    photo: tuple[int, int], size: tuple[int, int], zoom_range: tuple[float, float], generator: torch.Generator
) -> Window:
    """A random window of a photo of (height, width), shown as ``size`` (no larger than the photo).

    Zoom is log-uniform in ``zoom_range``, the place uniform among those inside the photo.
    """
    low, high = (math.log(zoom) for zoom in zoom_range)
    drawn = torch.rand(3, generator=generator).tolist()
    zoom = math.exp(low + (high - low) * drawn[0])
    zoom = max(zoom, size[0] / photo[0], size[1] / photo[1])
    height, width = min(photo[0], round(size[0] / zoom)), min(photo[1], round(size[1] / zoom))
    top, left = int(drawn[1] * (photo[0] - height + 1)), int(drawn[2] * (photo[1] - width + 1))
    return Window(left, top, height, width, size)


def crop_image(image: torch.Tensor, window: Window) -> torch.Tensor:
    """The window of an image [C, H, W], averaged over the footprint where it shrinks: [C, *window.size]."""
    part = image[:, window.top : window.top + window.height, window.left : window.left + window.width]
    if part.shape[1:] == window.size:
        return part
    return interpolate(part[None], size=window.size, mode="bilinear", antialias=True, align_corners=False)[0]


def crop_masked(image: torch.Tensor, mask: torch.Tensor, window: Window) -> tuple[torch.Tensor, torch.Tensor]:
    """The window of an image [3, H, W] and of its mask [1, H, W], [3, *window.size] and [1, *window.size].

    Colours are means of pixels by how much these may be used, so that none of the others shines through.
    """
    used = crop_image(mask, window)
    colour = crop_image(torch.where(mask > 0, image * mask, 0.0), window)
    return torch.where(used > 0, colour / used.clamp(min=torch.finfo(used.dtype).tiny), 0.0), used


def crop_cameras(cameras: Cameras, views: Sequence[int], windows: Sequence[Window]) -> Cameras:
    """The views [B] as cameras that see just their windows."""
    chosen = cameras.select(views)
    there = {"dtype": torch.float64, "device": chosen.pixel_scale.device}
    scale = torch.tensor([window.scale for window in windows], **there)
    corner = torch.tensor([(window.left, window.top) for window in windows], **there)
    return chosen.resize(scale, chosen.sizes).crop(corner * scale, windows[0].size)
