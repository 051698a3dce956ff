"""Point scenes seen as one-pixel splats in an image pyramid (ADOP section IV, Eq. 2 to 7).

Per view: project every point once, cull, find which point falls into which pixel of which layer, blend their
descriptors, and let the environment shine through the empty pixels. All views of a batch share one pyramid layout.
"""

from __future__ import annotations

import torch

from unrender.cameras.camera import Cameras
from unrender.errors import SettingsError
from unrender.kernels.rasterize_points.op import Geometry, Rules, rasterize_points
from unrender.kernels.rasterize_points.projection import ghosts, project
from unrender.kernels.rasterize_points.reference import layer_sizes
from unrender.kernels.rasterize_points.spatial import Movers, Shown, layers_drawn, let_move, near_image
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
    seen = rasterize_points(geometry, descriptors, views, rules, seed)
    filled = fill_environment(seen.features, seen.counts, environment, views.detach(), cameras.size, settings.layers)
    features = []
    for view, (image, count, depth) in enumerate(zip(filled, seen.counts, seen.depths, strict=True)):
        if _can_move(scene, cameras, view, settings):
            movers, positions = _movers(scene, descriptors, cameras, view, views[view], settings, seed)
            rule = (cameras.size, settings.layers, settings.alpha, settings.moves)
            image = let_move(image, positions, movers, Shown(count, depth), *rule)
        features.append(image)
    return Frame(
        features=_split(torch.stack(features).transpose(1, 2), sizes),
        hits=_split(seen.counts[:, None], sizes),
        depth=_split(seen.depths[:, None], sizes),
    )


def _ghost_seed(settings: PointRasterSettings, generator: torch.Generator | None) -> torch.Tensor | None:
    """What decides which points are ghosts, drawn on the CPU where there are any."""
    return torch.randint(2**63 - 1, (), generator=generator) if settings.ghosts > 0 else None


def _can_move(scene: PointScene, cameras: Cameras, view: int, settings: PointRasterSettings) -> bool:
    """Whether anything that moves points in this view requires a gradient."""
    if settings.spatial == "none" or not torch.is_grad_enabled():
        return False
    lens, scale, offset = cameras.lens(view).params, cameras.pixel_scale, cameras.pixel_offset
    moving = any(tensor.requires_grad for tensor in (scene.position, cameras.camera_from_world, lens, scale, offset))
    if moving and settings.spatial == "ghosts" and settings.ghosts == 0:
        raise SettingsError(
            "positions, poses or lenses require a gradient, which comes from ghosts, and there are none",
            expected="ghosts > 0",
            do='set ghosts, or spatial to "rendered", or to "none" if none of them is to be fitted',
        )
    return moving


def _movers(
    scene: PointScene,
    descriptors: torch.Tensor,
    cameras: Cameras,
    view: int,
    row: torch.Tensor,
    settings: PointRasterSettings,
    seed: torch.Tensor | None,
) -> tuple[Movers, torch.Tensor]:
    """The points whose moves count in a view, and their pixels [K, 2] float64, differentiable by whatever moves points.

    They are projected a second time, in float64 and with a graph. It is the projection that every lens has already, so
    lens parameters, which have no Jacobian of their own, and the pixel affine come with it; and it is of those points
    only that can change the image. ``row``: of ``pack_views``.
    """
    with torch.no_grad():
        seen = project(scene.position, scene.normal, scene.radius, scene.threshold, row)
        ghost = torch.zeros_like(seen.keep)
        if seed is not None:
            ghost = ghosts(int(seed), view, torch.arange(len(scene), device=ghost.device), settings.ghosts)
        chosen = {"ghosts": seen.keep & ghost, "rendered": seen.keep & ~ghost, "both": seen.keep}[settings.spatial]
        moving = torch.nonzero(chosen & near_image(seen.pixels, cameras.size, settings.layers))[:, 0]
    exact = cameras.project(view, scene.position.index_select(0, moving).double(), scene.origin)
    reach = seen.reach[moving]  # beta is in it
    movers = Movers(
        pixels=seen.pixels[moving],
        depth=seen.depth[moving],
        drawn=layers_drawn(reach, torch.zeros_like(reach), settings.layers, settings.gamma),
        relief=settings.slope / (exact.depth * exact.magnification).detach(),
        descriptors=descriptors.detach()[moving],
    )
    return movers, exact.pixels


def _split(flat: torch.Tensor, sizes: list[tuple[int, int]]) -> tuple[torch.Tensor, ...]:
    """[B, D, P] -> per layer [B, D, H_l, W_l]."""
    layers = flat.split([height * width for height, width in sizes], dim=2)
    return tuple(layer.reshape(*layer.shape[:2], *size) for layer, size in zip(layers, sizes, strict=True))
