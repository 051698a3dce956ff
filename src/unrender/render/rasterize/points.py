"""Point scenes seen as one-pixel splats in an image pyramid (ADOP section IV, Eq. 2 to 7).

Per view: project every point once, cull, find which point falls into which pixel of which layer, blend their
descriptors, and let the environment shine through the empty pixels. All views of a batch share one pyramid layout.
"""

from __future__ import annotations

import torch

from unrender.cameras.camera import Cameras, pixel_centers
from unrender.kernels.rasterize_points.op import Geometry, Rules, rasterize_points
from unrender.kernels.rasterize_points.reference import layer_sizes
from unrender.kernels.rasterize_points.views import pack_views
from unrender.render.frame import Frame
from unrender.render.rasterize.environment import sample_environment
from unrender.render.settings import PointRasterSettings
from unrender.scenes.points import PointScene

__all__ = ["rasterize"]


def rasterize(
    scene: PointScene,
    cameras: Cameras,
    settings: PointRasterSettings | None = None,
    generator: torch.Generator | None = None,
) -> Frame:
    """The feature pyramid, hit counts and nearest depth of ``scene`` in every view of ``cameras``.

    ``generator`` draws the ghosts when ``settings.ghosts`` > 0. Gradients: descriptors and environment, exact;
    positions, poses and lenses, none. Raises ShapeError when the views differ in size.
    """
    settings = settings or PointRasterSettings()
    sizes = layer_sizes(*cameras.size, settings.layers)
    descriptors = scene.descriptors.exp() if scene.logarithmic else scene.descriptors
    environment = scene.environment.exp() if scene.logarithmic else scene.environment
    seen = rasterize_points(
        Geometry(scene.position, scene.normal, scene.radius, scene.threshold),
        descriptors,
        pack_views(cameras, scene.origin),
        Rules(*cameras.size, settings.layers, settings.alpha, settings.gamma, settings.ghosts),
        _ghost_seed(settings, generator),
    )
    features = [
        _fill(points, count, environment, cameras, view, sizes)
        for view, (points, count) in enumerate(zip(seen.features, seen.counts, strict=True))
    ]
    return Frame(
        features=_split(torch.stack(features).transpose(1, 2), sizes),
        hits=_split(seen.counts[:, None], sizes),
        depth=_split(seen.depths[:, None], sizes),
    )


def _ghost_seed(settings: PointRasterSettings, generator: torch.Generator | None) -> torch.Tensor | None:
    """What decides which points are ghosts, drawn on the CPU where there are any."""
    return torch.randint(2**63 - 1, (), generator=generator) if settings.ghosts > 0 else None


def _fill(
    points: torch.Tensor,
    count: torch.Tensor,
    environment: torch.Tensor,
    cameras: Cameras,
    view: int,
    sizes: list[tuple[int, int]],
) -> torch.Tensor:
    """Features [P, D] with the environment in every pixel that no point hit (Eq. 7, first case)."""
    centers = torch.cat([(pixel_centers(*size) * 2**level).reshape(-1, 2) for level, size in enumerate(sizes)])
    empty = torch.nonzero(count == 0)[:, 0]
    background = sample_environment(environment, cameras.rays(view, centers.to(empty.device)[empty]))
    return points.index_add(0, empty, background)


def _split(flat: torch.Tensor, sizes: list[tuple[int, int]]) -> tuple[torch.Tensor, ...]:
    """[B, D, P] -> per layer [B, D, H_l, W_l]."""
    layers = flat.split([height * width for height, width in sizes], dim=2)
    return tuple(layer.reshape(*layer.shape[:2], *size) for layer, size in zip(layers, sizes, strict=True))
