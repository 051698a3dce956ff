"""Point scenes seen as one-pixel splats in an image pyramid (ADOP section IV, Eq. 2 to 7).

Per view: project every point once, cull, find which point falls into which pixel of which layer, blend their
descriptors, and let the environment shine through the empty pixels. All views of a batch share one pyramid layout.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unrender.cameras.camera import Cameras, Projection, pixel_centers
from unrender.errors import SettingsError
from unrender.kernels.rasterize_points.reference import Hits, blend, find_hits, layer_sizes
from unrender.kernels.rasterize_points.spatial import Movers, layers_drawn, let_move, near_image
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
    features, counts, depths = [], [], []
    for view in range(len(cameras)):
        seen = _look(scene, cameras, view, settings, generator)
        image = _fill(blend(descriptors, seen.hits), seen.hits.count, environment, cameras, view, sizes)
        if _can_move(scene, cameras, view, settings):
            image = _let_move(image, descriptors, seen, scene, cameras, view, settings)
        features.append(image)
        counts.append(seen.hits.count)
        depths.append(seen.hits.depth)
    return Frame(
        features=_split(torch.stack(features).transpose(1, 2), sizes),
        hits=_split(torch.stack(counts)[:, None].int(), sizes),
        depth=_split(torch.stack(depths)[:, None], sizes),
    )


def visible(scene: PointScene, cameras: Cameras, view: int, projection: Projection) -> torch.Tensor:
    """Points [N] bool in front of the lens and not facing away (Eq. 5; zero normals are never culled)."""
    eye = (cameras.centers[view] - scene.origin).to(scene.position)  # float64 difference, then float32
    facing = (scene.normal * (scene.position - eye)).sum(1)
    known = (scene.normal != 0).any(1)
    return projection.inside & ((facing < 0) | ~known)


@dataclass(frozen=True)
class _Seen:
    """All points [N] as one view sees them: where, how large, which are culled, which of the others are ghosts."""

    projection: Projection
    radius: torch.Tensor
    visible: torch.Tensor
    ghost: torch.Tensor
    hits: Hits


@torch.no_grad()
def _look(
    scene: PointScene, cameras: Cameras, view: int, settings: PointRasterSettings, generator: torch.Generator | None
) -> _Seen:
    projection = cameras.project(view, scene.position, scene.origin)
    seen = visible(scene, cameras, view, projection)
    ghost = torch.zeros_like(seen)
    if settings.ghosts > 0:
        ghost = seen & (torch.rand(len(scene), generator=generator) < settings.ghosts).to(seen.device)
    radius = scene.radius * projection.magnification
    hits = find_hits(
        projection.pixels,
        projection.depth,
        radius,
        scene.threshold,
        seen & ~ghost,
        cameras.size,
        settings.layers,
        settings.alpha,
        settings.gamma,
    )
    return _Seen(projection, radius, seen, ghost, hits)


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


def _let_move(
    image: torch.Tensor,
    descriptors: torch.Tensor,
    seen: _Seen,
    scene: PointScene,
    cameras: Cameras,
    view: int,
    settings: PointRasterSettings,
) -> torch.Tensor:
    """``image`` [P, D], differentiable by whatever moves points.

    The movers are projected a second time, in float64 and with a graph. It is the projection that every lens has
    already, so lens parameters, which have no Jacobian of their own, and the pixel affine come with it; and it is of
    those points only that can change the image.
    """
    chosen = {"ghosts": seen.ghost, "rendered": seen.visible & ~seen.ghost, "both": seen.visible}[settings.spatial]
    places = seen.projection.pixels
    moving = torch.nonzero(chosen & near_image(places, cameras.size, settings.layers))[:, 0]
    movers = Movers(
        pixels=places[moving],
        depth=seen.projection.depth[moving],
        drawn=layers_drawn(seen.radius[moving], scene.threshold[moving], settings.layers, settings.gamma),
        relief=settings.slope / (seen.projection.depth * seen.projection.magnification)[moving],
        descriptors=descriptors.detach()[moving],
    )
    positions = cameras.project(view, scene.position.index_select(0, moving).double(), scene.origin).pixels
    return let_move(image, positions, movers, seen.hits, cameras.size, settings.layers, settings.alpha, settings.moves)


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
    with torch.no_grad():  # the samples are differentiable by the texture alone
        directions = cameras.rays(view, centers.to(empty.device)[empty])
    background = sample_environment(environment, directions)
    return points.index_add(0, empty, background)


def _split(flat: torch.Tensor, sizes: list[tuple[int, int]]) -> tuple[torch.Tensor, ...]:
    """[B, D, P] -> per layer [B, D, H_l, W_l]."""
    layers = flat.split([height * width for height, width in sizes], dim=2)
    return tuple(layer.reshape(*layer.shape[:2], *size) for layer, size in zip(layers, sizes, strict=True))
