"""What is drawn when points are measured: a sphere of them at 1080p, the same for every implementation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch

from unrender.kernels.rasterize_points.op import Geometry, Rules
from unrender.kernels.rasterize_points.views import FIELDS

__all__ = ["CHANNELS", "EYE", "FOCAL", "SIZE", "Case", "Sphere", "make_cases", "make_sphere", "morton_code"]

SIZE = (1080, 1920)
"""Height and width of the picture."""
CHANNELS = 4
ALPHA, GAMMA = 0.01, 1.5
EYE, FOCAL = 3.0, 1.3 * SIZE[0]
"""The camera's distance from the middle of a sphere of radius 1, and its focal length in pixels."""
_DISTORTION = (0.02, -0.01, 0.0, 0.0)


@dataclass(frozen=True)
class Case:
    """One thing to be measured: so many ``points`` into so many ``layers``, with or without discarding (``discard``).

    ``threads``: of the processor; ``device``: ``cpu`` or ``cuda``; ``half``: descriptors in half precision.
    """

    points: int
    layers: int
    discard: bool
    threads: int
    device: str = "cpu"
    half: bool = False
    seed: int = 0

    @property
    def rules(self) -> Rules:
        """What the operation is told."""
        return Rules(*SIZE, self.layers, ALPHA, GAMMA if self.discard else None)

    @property
    def dtype(self) -> torch.dtype:
        """Of the descriptors."""
        return torch.float16 if self.half else torch.float32


class Sphere(NamedTuple):
    """What is drawn: ``geometry`` of N points, ``descriptors`` [N, 4], ``views`` [1, R] (rows of ``pack_views``)."""

    geometry: Geometry
    descriptors: torch.Tensor
    views: torch.Tensor


def make_cases(
    points: Sequence[int], layers: Sequence[int], discards: Sequence[bool], threads: int, **rest: object
) -> Iterator[Case]:
    """Every combination, small clouds first. ``rest``: see ``Case``."""
    for number, count, discard in product(sorted(points), layers, discards):
        yield Case(number, count, discard, threads, **rest)  # type: ignore[arg-type]


def make_sphere(case: Case) -> Sphere:
    """A wavy sphere of points in the order of a Morton curve, seen whole by one camera three radii away.

    A third of the points face it. Made on the processor, so that every device draws the same, and brought to
    ``case.device``.
    """
    generator = torch.Generator().manual_seed(case.seed)
    number = case.points
    direction = torch.nn.functional.normalize(torch.randn(number, 3, generator=generator), dim=1)
    position = direction * (1 + 0.02 * torch.sin(20 * direction[:, :1]) * torch.sin(17 * direction[:, 1:2]))
    order = torch.argsort(morton_code(position))
    geometry = Geometry(
        position=position[order],
        normal=direction[order],
        radius=torch.full((number,), 1.1 * math.sqrt(4 * math.pi / number)),  # 1.1 spacings: no gaps
        threshold=torch.rand(number, generator=generator),
    )
    descriptors = torch.randn(number, CHANNELS, generator=generator).to(case.dtype)
    return Sphere(Geometry(*(part.to(case.device) for part in geometry)), descriptors.to(case.device), _view())


def _view() -> torch.Tensor:
    """The camera before the sphere, looking at its middle, as ``pack_views`` would write it."""
    height, width = SIZE
    pose = [1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, EYE, 0, 0, -EYE]
    lens = [FOCAL, FOCAL, width / 2, height / 2, FOCAL, FOCAL, *_DISTORTION, math.inf]
    rest = [0.0] * (sum(FIELDS.values()) - len(pose) - len(lens))  # the family with slopes, without further terms
    return torch.tensor([pose + lens + rest], dtype=torch.float64)


def morton_code(position: torch.Tensor) -> torch.Tensor:
    """Places along a curve through 1024^3 cells of the cube [-1.1, 1.1]^3, [N] int64, for ``position`` [N, 3]."""
    code = torch.zeros(len(position), dtype=torch.int64)
    for axis, cell in enumerate(((position + 1.1) / 2.2 * 1023).long().unbind(1)):
        code |= _spread(cell) << axis
    return code


def _spread(cell: torch.Tensor) -> torch.Tensor:
    """Ten bits, each three places from the next."""
    for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):
        cell = (cell | cell << shift) & mask
    return cell
