"""Point scenes seen as one-pixel splats in an image pyramid (ADOP section IV, Eq. 2 to 7).

Per view: project every point once, cull, find which point falls into which pixel of which layer, blend their
descriptors, and let the environment shine through the empty pixels. All views of a batch share one pyramid layout.
"""

from __future__ import annotations

import torch

from unrender.cameras.camera import Cameras
from unrender.errors import SettingsError
from unrender.kernels.rasterize_points.moving import Motion, let_points_move
from unrender.kernels.rasterize_points.op import Geometry, Rules, rasterize_points
from unrender.kernels.rasterize_points.reference import layer_sizes
from unrender.kernels.rasterize_points.views import pack_views
from unrender.kernels.sample_environment.op import fill_environment
from unrender.render.frame import Frame
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

    ``generator`` draws the ghosts when ``settings.ghosts`` > 0.

    Gradients of the features: descriptors and environment, exact. Positions, poses and lenses (where ``scene.position``
    or a tensor of ``cameras`` requires one): approximated from moves by whole pixels at the points that
    ``settings.spatial`` names, see ``spatial_gradient`` for what that leaves out; added up in float64. The environment
    stays where it is when a camera turns. Hit counts and depth carry none.

    Raises ShapeError when the views differ in size, and SettingsError when such a gradient is to come from ghosts and
    there are none.
    """
    settings = settings or PointRasterSettings()
    sizes = layer_sizes(*cameras.size, settings.layers)
    descriptors = scene.descriptors.exp() if scene.logarithmic else scene.descriptors
    environment = scene.environment.exp() if scene.logarithmic else scene.environment
    geometry = Geometry(scene.position.detach(), scene.normal, scene.radius, scene.threshold)
    views, seed = pack_views(cameras, scene.origin), _ghost_seed(settings, generator)
    rules = Rules(*cameras.size, settings.layers, settings.alpha, settings.gamma, settings.ghosts)
    seen = rasterize_points(geometry, descriptors, views.detach(), rules, seed)
    image = fill_environment(seen.features, seen.counts, environment, views.detach(), cameras.size, settings.layers)
    if (motion := _motion(scene, views, settings)) is not None:
        shown = image if settings.coarse == 0 else image.detach()
        moved = let_points_move(shown, scene.position, views, geometry, descriptors, seen, rules, seed, motion)
        # The same values: the difference is 0, and carries the derivative.
        image = moved if settings.coarse == 0 else image + _shares(settings, sizes).to(moved) * (moved - moved.detach())
    return Frame(
        features=_split(image.transpose(1, 2), sizes),
        hits=_split(seen.counts[:, None], sizes),
        depth=_split(seen.depths[:, None], sizes),
        depth_is_distance=tuple(cameras.lens(view).depth_is_distance for view in range(len(cameras))),
        logarithmic=scene.logarithmic,
    )


def _ghost_seed(settings: PointRasterSettings, generator: torch.Generator | None) -> torch.Tensor | None:
    """What decides which points are ghosts, drawn on the CPU where there are any."""
    return torch.randint(2**63 - 1, (), generator=generator) if settings.ghosts > 0 else None


def _motion(scene: PointScene, views: torch.Tensor, settings: PointRasterSettings) -> Motion | None:
    """How points move, where anything that moves them requires a gradient."""
    moving = torch.is_grad_enabled() and (scene.position.requires_grad or views.requires_grad)
    if settings.spatial == "none" or not moving:
        return None
    if settings.spatial == "ghosts" and settings.ghosts == 0:
        raise SettingsError(
            "positions, poses or lenses require a gradient, which comes from ghosts, and there are none",
            expected="ghosts > 0",
            do='set ghosts, or spatial to "rendered", or to "none" if none of them is to be fitted',
        )
    return Motion(settings.spatial, settings.moves, settings.slope)


def _shares(settings: PointRasterSettings, sizes: list[tuple[int, int]]) -> torch.Tensor:
    """How much of the derivative by motion each pixel of the pyramid has, [P, 1]: by its layer, the coarsest all."""
    last = settings.layers - 1
    shares = torch.tensor([(1 - settings.coarse) * last - (last - layer) + 1 for layer in range(settings.layers)])
    return shares.clamp(0, 1).repeat_interleave(torch.tensor([height * width for height, width in sizes]))[:, None]


def _split(flat: torch.Tensor, sizes: list[tuple[int, int]]) -> tuple[torch.Tensor, ...]:
    """[B, D, P] -> per layer [B, D, H_l, W_l]."""
    layers = flat.split([height * width for height, width in sizes], dim=2)
    return tuple(layer.reshape(*layer.shape[:2], *size) for layer, size in zip(layers, sizes, strict=True))
