"""Pulsar, PyTorch3D's renderer of spheres, where PyTorch3D can be imported.

Spheres have the area of a pixel at their depth. It knows no normals, no discarding, no lens distortion. A layer is an
image of its own.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import torch

from unrender.bench.backends.backend import Backend, Calls, both_directions
from unrender.bench.backends.pytorch3d import absent, unlike
from unrender.bench.workload import CHANNELS, EYE, FOCAL, SIZE, Case, Sphere
from unrender.kernels.rasterize_points.reference import layer_sizes

__all__ = ["PULSAR"]

_FOCAL = 0.1
"""Focal length in scene units; the sensor has the width that gives our field of view."""
_FARTHEST, _GAMMA = 5.0, 1e-3


def _calls(sphere: Sphere, case: Case) -> Calls:
    pulsar: Any = importlib.import_module("pytorch3d.renderer.points.pulsar")
    descriptors = sphere.descriptors.requires_grad_()
    place = (sphere.geometry.position * sphere.geometry.position.new_tensor([1, -1, 1])).contiguous()  # y is up
    pixel = (place[:, 2] + EYE) / FOCAL / math.sqrt(math.pi)  # radius of a circle as large as a pixel
    sizes = layer_sizes(*SIZE, case.layers)
    layers = [
        pulsar.Renderer(width, height, case.points, n_channels=CHANNELS).to(case.device) for height, width in sizes
    ]
    sensor = _FOCAL * SIZE[1] / FOCAL
    camera = torch.tensor([0, 0, -EYE, 0, 0, 0, _FOCAL, sensor], device=case.device)
    sky = torch.zeros(CHANNELS, device=case.device)

    def render() -> list[torch.Tensor]:
        return [
            layer(place, descriptors, pixel * 2.0**level, camera, _GAMMA, _FARTHEST, bg_col=sky)
            for level, layer in enumerate(layers)
        ]

    return both_directions(render, descriptors)


PULSAR = Backend("pulsar", "Pulsar", True, absent, unlike, _calls, 600)
