"""What a camera sees of the room: linear radiance, depth and normals, ray by ray."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from unrender.cameras.camera import Cameras
from unrender.datasets.synthetic.casting import Hits, Surface
from unrender.datasets.synthetic.light import LitRoom, outdoors, sunlight

__all__ = ["Geometry", "geometry_of", "radiance_along", "radiance_of"]

CHUNK = 1 << 16
"""Rays that are followed at once: what bounds the memory."""


@dataclass(frozen=True)
class Geometry:
    """What lies behind the pixel centres of a view.

    ``depth`` [H, W]: z along the optical axis; ``distance`` [H, W] from the camera's centre; both in scene units, +inf
    outdoors; ``normal`` [3, H, W]: unit, of the surface, in the world, towards the camera, zero outdoors.
    """

    depth: torch.Tensor
    distance: torch.Tensor
    normal: torch.Tensor


def radiance_of(lit: LitRoom, cameras: Cameras, view: int) -> torch.Tensor:
    """Linear radiance of one view, [3, H, W] float32: the mean of 2 x 2 rays in each pixel."""
    height, width = cameras.sizes[view].tolist()
    fine = cameras.resize(torch.full((len(cameras), 2), 2.0, dtype=torch.float64), cameras.sizes * 2)
    rays = fine.directions(view)
    blur = float((rays[0, 0] - rays[0, -1]).norm()) / width
    rows, columns = torch.arange(2 * height)[:, None] % 2, torch.arange(2 * width) % 2
    phase = (rows * 2 + columns).flatten()
    parts = chunks(cameras.centers[view].float(), rays.reshape(-1, 3), phase)
    radiance = torch.cat([radiance_along(lit, *part, blur) for part in parts])
    return radiance.reshape(height, 2, width, 2, 3).mean((1, 3)).permute(2, 0, 1).contiguous()


def geometry_of(lit: LitRoom, cameras: Cameras, view: int) -> Geometry:
    """Depth and normals of one view."""
    height, width = cameras.sizes[view].tolist()
    rays = cameras.directions(view).reshape(-1, 3)
    distances, normals = [], []
    for origins, directions, _ in chunks(cameras.centers[view].float(), rays, torch.zeros(len(rays))):
        hits = lit.room.shapes.cast(origins, directions)
        met = (hits.shape >= 0).nonzero()[:, 0]
        normal = torch.zeros(len(directions), 3)
        normal[met] = lit.room.shapes.surface(
            origins[met], directions[met], Hits(hits.distance[met], hits.shape[met])
        ).normal
        distances.append(hits.distance)
        normals.append(normal)
    distance = torch.cat(distances)
    depth = distance * (rays @ cameras.camera_from_world[view, 2, :3].float())
    normal = torch.cat(normals).T.reshape(3, height, width).contiguous()
    return Geometry(depth.view(height, width), distance.view(height, width), normal)


def chunks(
    center: torch.Tensor, rays: torch.Tensor, phase: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Starts, directions and phases of up to ``CHUNK`` rays at a time."""
    for part in torch.arange(len(rays)).split(CHUNK):
        yield center.expand(len(part), 3), rays[part], phase[part]


def radiance_along(
    lit: LitRoom, origins: torch.Tensor, directions: torch.Tensor, phase: torch.Tensor, blur: float, mirror: bool = True
) -> torch.Tensor:
    """Linear radiance [N, 3] that arrives along unit rays [N, 3]; ``blur``: the angle [rad] that a pixel covers."""
    shapes = lit.room.shapes
    hits = shapes.cast(origins, directions)
    met = (hits.shape >= 0).nonzero()[:, 0]
    away = (hits.shape < 0).nonzero()[:, 0]
    origins, toward, distance = origins[met], directions[met], hits.distance[met]
    surface = shapes.surface(origins, toward, Hits(distance, hits.shape[met]))
    facing = -(surface.normal * toward).sum(-1)
    footprint = blur * distance / facing.clamp(min=0.2)
    radiance = torch.empty(len(directions), 3)
    radiance[away] = outdoors(directions[away], blur)
    radiance[met] = shaded(lit, surface, footprint, phase[met])
    if mirror:
        radiance[met] += mirrored(lit, surface, toward, facing, phase[met], blur)
    return radiance


def shaded(lit: LitRoom, surface: Surface, footprint: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
    """Diffusely reflected and own light [N, 3]."""
    palette = lit.room.palette
    reflectance = palette.reflectance(surface.material, surface.uv, footprint)
    irradiance = lit.atlas.look_up(surface.chart, surface.st)
    irradiance = irradiance + sunlight(lit.room.shapes, surface.point, surface.normal, phase)
    return reflectance * irradiance / torch.pi + palette.table(4)[surface.material]


def mirrored(
    lit: LitRoom, surface: Surface, toward: torch.Tensor, facing: torch.Tensor, phase: torch.Tensor, blur: float
) -> torch.Tensor:
    """What glossy surfaces mirror [N, 3]: one more ray, weighted by Schlick's form of the Fresnel reflection."""
    gloss = lit.room.palette.table(3)[surface.material]
    light = torch.zeros(len(toward), 3)
    rays = (gloss > 0).nonzero()[:, 0]
    normal, inward = surface.normal[rays], toward[rays]
    onward = inward + 2 * facing[rays, None] * normal
    weight = gloss[rays] * (0.04 + 0.96 * (1 - facing[rays]).clamp(0, 1) ** 5)
    seen = radiance_along(lit, surface.point[rays] + 1e-3 * normal, onward, phase[rays], 4 * blur, mirror=False)
    light[rays] = weight[:, None] * seen
    return light
