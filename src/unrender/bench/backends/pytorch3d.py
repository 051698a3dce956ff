"""PyTorch3D's point rasteriser with its weighted compositor, where PyTorch3D can be imported.

It draws discs: ours get the area of a pixel, the eight nearest at most are blended. It knows no normals, so that
points that face away are drawn too; no discarding; no lens distortion. A layer is an image of its own.
"""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import torch

from unrender.bench.backends.backend import Backend, Calls, both_directions
from unrender.bench.workload import EYE, FOCAL, SIZE, Case, Sphere
from unrender.kernels.rasterize_points.reference import layer_sizes

__all__ = ["PYTORCH3D", "absent", "unlike"]

_NEAREST = 8


def absent(_device: str) -> str | None:
    """Why PyTorch3D cannot be measured."""
    return None if importlib.util.find_spec("pytorch3d") else "PyTorch3D is not installed"


def unlike(case: Case) -> str | None:
    """What of a case PyTorch3D and its Pulsar do not do."""
    if case.discard:
        return "has no discarding"
    return "has no half precision" if case.half else None


def _calls(sphere: Sphere, case: Case) -> Calls:
    structures: Any = importlib.import_module("pytorch3d.structures")
    descriptors = sphere.descriptors.requires_grad_()
    layers = _layers(case)

    def render() -> list[torch.Tensor]:
        cloud = structures.Pointclouds([sphere.geometry.position], features=[descriptors])
        return [layer(cloud) for layer in layers]

    return both_directions(render, descriptors)


def _layers(case: Case) -> list[Any]:
    """One renderer per layer. PyTorch3D's camera axes are x left, y up."""
    renderer: Any = importlib.import_module("pytorch3d.renderer")
    turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))[None]
    made = []
    for level, size in enumerate(layer_sizes(*SIZE, case.layers)):
        scale = 2.0**-level
        camera = renderer.PerspectiveCameras(
            focal_length=FOCAL * scale,
            principal_point=((SIZE[1] * scale / 2, SIZE[0] * scale / 2),),
            R=turn,
            T=torch.tensor([[0.0, 0.0, EYE]]),
            in_ndc=False,
            image_size=(size,),
            device=case.device,
        )
        radius = 2 / min(size) / math.sqrt(math.pi)  # 2 / min(size) is a pixel
        settings = renderer.PointsRasterizationSettings(image_size=size, radius=radius, points_per_pixel=_NEAREST)
        rasterizer = renderer.PointsRasterizer(cameras=camera, raster_settings=settings)
        made.append(renderer.PointsRenderer(rasterizer=rasterizer, compositor=renderer.NormWeightedCompositor()))
    return made


PYTORCH3D = Backend("pytorch3d", "PyTorch3D's points", True, absent, unlike, _calls, 600)
