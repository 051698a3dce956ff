"""What no implementation can be faster than: the larger of moving the bytes that must move, and projecting.

Bytes that must move are read once and written once. Forward: position, and with discarding the reach, of every point
that is drawn; descriptors of those that are blended, since the others stand behind; features, count and depth of every
pixel. Backward: the same geometry; gradient, count and depth of every pixel; and the gradient of every point, zeros
too. Points out of view or facing away, and the normals that say so, cost nothing where they are sorted well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from unrender.bench.timing import timed
from unrender.bench.workload import CHANNELS, Case, Sphere
from unrender.kernels.loader import native
from unrender.kernels.rasterize_points.op import Geometry, rasterize_points
from unrender.kernels.rasterize_points.projection import project
from unrender.kernels.rasterize_points.reference import draws, in_image, layer_sizes, pyramid_offsets

__all__ = ["Floor", "count_blended", "count_drawn", "find_floor", "moved_bytes"]

_FLOAT, _CHUNK = 4, 2**20


@dataclass(frozen=True)
class Floor:
    """Of one case: points that are ``drawn`` in some layer (not culled, not discarded), and those that are ``blended``
    into some pixel; ``projection_ms`` of projecting alone, None where no kernel does only that; ``copy_speed``: bytes
    per second, read and written together.
    """

    drawn: int
    blended: int
    projection_ms: float | None
    copy_speed: float

    def milliseconds(self, case: Case, direction: str) -> float:
        """The floor itself."""
        moving = 1e3 * moved_bytes(case, direction, self.drawn, self.blended) / self.copy_speed
        return max(moving, self.projection_ms or 0.0)


def moved_bytes(case: Case, direction: str, drawn: int, blended: int) -> int:
    """Bytes that must be read or written; ``direction``: forward or backward."""
    rules = case.rules
    pixels = pyramid_offsets(layer_sizes(rules.height, rules.width, rules.layers))[-1]
    row = CHANNELS * case.dtype.itemsize
    geometry = drawn * _FLOAT * (3 + case.discard)
    pictures = pixels * _FLOAT * (CHANNELS + 2)
    return geometry + pictures + row * (blended if direction == "forward" else case.points)


def find_floor(sphere: Sphere, case: Case, speed: float, repeats: int) -> Floor:
    """Count points and time the projection, on the case's device."""
    projection = None
    if (alone := _projection(sphere, case)) is not None:
        projection = timed(alone, repeats, case.device).median
    return Floor(count_drawn(sphere, case), count_blended(sphere, case), projection, speed)


def _projection(sphere: Sphere, case: Case) -> Callable[[], object] | None:
    """Work that projects, culls and discards like the compiled kernel and draws nothing."""
    module, rules = native(), case.rules
    if module is None or case.device != "cpu":
        return None
    cloud = module.Rasterizer(*sphere.geometry, case.threads)
    gamma = -1.0 if rules.gamma is None else rules.gamma
    numbers = (rules.height, rules.width, rules.layers, rules.alpha, gamma, 0.0, 0, case.threads)
    return lambda: cloud.draw_nothing(sphere.views, *numbers)


def count_drawn(sphere: Sphere, case: Case) -> int:
    """Points that are drawn in the finest layer; coarser ones draw no others."""
    rules, count = case.rules, 0
    for start in range(0, case.points, _CHUNK):
        part = Geometry(*(tensor[start : start + _CHUNK] for tensor in sphere.geometry))
        seen = project(*part, sphere.views[0])
        keep = seen.keep & in_image(seen.pixels, (rules.height, rules.width))
        if rules.gamma is not None:
            keep &= draws(seen.reach, torch.zeros_like(seen.reach), 0, rules.gamma)
        count += int(keep.sum())
    return count


def count_blended(sphere: Sphere, case: Case) -> int:
    """Points that some pixel shows: those that get a gradient."""
    descriptors = torch.ones(case.points, 1, device=case.device, requires_grad=True)
    features = rasterize_points(sphere.geometry, descriptors, sphere.views, case.rules).features
    (gradient,) = torch.autograd.grad(features, descriptors, torch.ones_like(features))
    return int((gradient != 0).sum())
