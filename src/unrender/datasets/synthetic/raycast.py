"""What a camera sees of the room: linear radiance, depth and normals, ray by ray."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from unrender.cameras.camera import Cameras
from unrender.datasets.synthetic.casting import Hits, Surface
from unrender.datasets.synthetic.light import LitRoom, outdoors, sunlight
from unrender.datasets.synthetic.room import LENGTH

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
    eye, ahead = cameras.centers[view], cameras.camera_from_world[view, 2, :3]
    blur = 1 / float(cameras.project(view, (eye + ahead)[None]).magnification)
    parts = []
    for rays in bands(cameras, view, 2):
        rows, columns = (torch.arange(extent) % 2 for extent in rays.shape[:2])
        phase = (rows[:, None] * 2 + columns).flatten()
        directions = rays.reshape(-1, 3)
        radiance = radiance_along(lit, eye.float().expand_as(directions), directions, phase, blur)
        parts.append(radiance.reshape(len(rows) // 2, 2, len(columns) // 2, 2, 3).mean((1, 3)))
    return torch.cat(parts).permute(2, 0, 1).contiguous()


def geometry_of(lit: LitRoom, cameras: Cameras, view: int) -> Geometry:
    """Depth and normals of one view."""
    eye, ahead = cameras.centers[view].float(), cameras.camera_from_world[view, 2, :3].float()
    depths, distances, normals = [], [], []
    for rays in bands(cameras, view, 1):
        directions = rays.reshape(-1, 3)
        origins = eye.expand_as(directions)
        hits = lit.room.shapes.cast(origins, directions)
        met = (hits.shape >= 0).nonzero()[:, 0]
        found = Hits(hits.distance[met], hits.shape[met])
        normal = torch.zeros_like(directions)
        normal[met] = lit.room.shapes.surface(origins[met], directions[met], found).normal
        depths.append((hits.distance * (directions @ ahead)).view(rays.shape[:2]))
        distances.append(hits.distance.view(rays.shape[:2]))
        normals.append(normal.view(rays.shape))
    return Geometry(torch.cat(depths), torch.cat(distances), torch.cat(normals).permute(2, 0, 1).contiguous())


def bands(cameras: Cameras, view: int, fineness: int) -> Iterator[torch.Tensor]:
    """Directions [fineness rows, fineness W, 3] of a view from top to bottom, about ``CHUNK`` at a time.

    There are ``fineness`` x ``fineness`` of them in each pixel.
    """
    height, width = cameras.sizes[view].tolist()
    one = cameras.select([view])
    fine = one.resize(torch.full((1, 2), float(fineness), dtype=torch.float64), one.sizes * fineness)
    step = max(1, CHUNK // (fineness * fineness * width))
    for top in range(0, height, step):
        size = (fineness * min(step, height - top), fineness * width)
        yield fine.crop(torch.tensor([[0.0, fineness * top]], dtype=torch.float64), size).directions(0)


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
    radiance[away] = outdoors(directions[away], blur) * lit.brightness(torch.tensor(LENGTH))
    radiance[met] = shaded(lit, surface, footprint, phase[met]) * lit.brightness(surface.point[:, 1:2])
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
