"""What some photos show, carried over the points into the view of another: sharp where poses and points agree (Fig. 9).

No fitted texture or network takes part, so this shows the cameras themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch.nn.functional import grid_sample

from unrender.cameras.camera import Cameras, pixel_centers
from unrender.datasets.capture import Capture
from unrender.render.rasterize.points import rasterize
from unrender.render.settings import PointRasterSettings
from unrender.scenes.points import PointScene

__all__ = ["choose_sources", "reproject"]

_BAND = 0.05
"""Share of its depth by which a place may lie behind what a source sees nearest and still be what it sees."""
_BEHIND = 0.05
"""Share of its depth by which a place must lie behind its surroundings to be taken for seen through a hole."""
_LAYERS = 3
"""Layers whose nearest points fill the holes of finer ones."""


def choose_sources(cameras: Cameras, target: int, views: Sequence[int], count: int) -> list[int]:
    """The ``count`` of ``views`` that stand nearest to ``target`` and look the same way, nearest first."""
    axes = cameras.camera_from_world[:, 2, :3]
    far = (cameras.centers - cameras.centers[target]).norm(dim=1)
    far = far / far.max().clamp(min=1e-12) + 1 - axes @ axes[target]
    return sorted((view for view in views if view != target), key=lambda view: float(far[view]))[:count]


@torch.no_grad()
def reproject(
    scene: PointScene, cameras: Cameras, capture: Capture, target: int, sources: Sequence[int]
) -> torch.Tensor:
    """The mean of what ``sources`` recorded of each place that ``target`` sees, as ``target`` would record it.

    [3, H, W] in 0..1, black where no source sees it. Photos become radiance by ``cameras``' sensor first, so that
    exposures do not matter.
    """
    places = _places(scene, cameras, target)
    total, count = torch.zeros_like(places).permute(2, 0, 1), torch.zeros(1, *places.shape[:2])
    for source in sources:
        one = cameras.select([source])
        radiance = one.radiance(capture.image(source)[None])[0]
        grid, seen = _seen(scene, cameras, source, places)
        total += torch.where(seen, grid_sample(radiance[None], grid[None], align_corners=False)[0], 0.0)
        count += seen
    mean = total / count.clamp(min=1)
    return torch.where(count > 0, cameras.select([target]).record(mean[None])[0], 0.0).clamp(0, 1)


def _depth(scene: PointScene, cameras: Cameras, view: int) -> torch.Tensor:
    """Depth of the nearest points [H, W], +inf where there are none in any layer.

    A coarser layer fills holes, and what shines through them from far behind.
    """
    settings = PointRasterSettings(layers=_LAYERS, gamma=None)
    bare = replace(scene, descriptors=scene.descriptors[:, :1], environment=scene.environment[:1])
    layers = rasterize(bare, cameras.select([view]), settings).depth or ()
    height, width = cameras.size_of(view)
    filled = torch.full((height, width), torch.inf)
    for level, layer in reversed(list(enumerate(layers))):
        fine = layer[0, 0].repeat_interleave(2**level, 0).repeat_interleave(2**level, 1)[:height, :width]
        filled = torch.where(fine > filled * (1 + _BEHIND), filled, fine)
    return filled


def _places(scene: PointScene, cameras: Cameras, view: int) -> torch.Tensor:
    """Where in the world each pixel looks [H, W, 3], less the scene's origin; infinite where at nothing."""
    depth = _depth(scene, cameras, view)
    height, width = depth.shape
    pixels = pixel_centers(height, width).reshape(-1, 2).to(cameras.pixel_offset)
    rays = cameras.lens(view).unproject((pixels - cameras.pixel_offset[view]) / cameras.pixel_scale[view])
    rotation, translation = cameras.pose(view, scene.origin)
    points = (rays * depth.reshape(-1, 1).to(rays) - translation) @ rotation
    return points.reshape(height, width, 3).float()


def _seen(scene: PointScene, cameras: Cameras, source: int, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where ``source`` sees ``places`` [H, W, 3], as ``grid_sample`` counts, and whether it does, [1, H, W]."""
    flat = places.reshape(-1, 3)
    there = torch.where(flat.isfinite(), flat, 0.0)
    found = cameras.project(source, there, scene.origin)
    height, width = cameras.size_of(source)
    u, v = found.pixels.unbind(dim=1)
    inside = found.inside & flat.isfinite().all(dim=1) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    column, row = (u.clamp(0, width - 1).long(), v.clamp(0, height - 1).long())
    nearest = _depth(scene, cameras, source)[row, column]
    seen = inside & (found.depth <= nearest * (1 + _BAND))
    grid = 2 * found.pixels / found.pixels.new_tensor([width, height]) - 1
    return grid.reshape(*places.shape[:2], 2), seen.reshape(1, *places.shape[:2])
