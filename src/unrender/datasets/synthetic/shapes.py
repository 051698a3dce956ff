"""Shapes a ray can meet in closed form: boxes, flat patches and quadrics of revolution, each under an affine frame.

A shape lives in its own frame, where it is as simple as can be, and is carried into the world by
``point = center + axes @ local``. The ray parameter survives that map, so one routine per kind serves all sizes:

* box:   the cube [-1, 1]^3
* flat:  the square [-1, 1]^2 (or the unit disk) at local z = 0
* round: x^2 + y^2 = a + b z + c z^2 for z in [-1, 1]: spheres, cylinders, cones, turned vases
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

__all__ = ["Piece", "Shape", "ball", "bounds", "box", "chart_sizes", "disk", "rectangle", "rotation", "tube", "turned"]

BOX, FLAT, ROUND = 0, 1, 2
CLEARANCE = 1e-4
"""How far from its start a ray may first meet something [scene units]."""

Vector = Sequence[float] | torch.Tensor


@dataclass(frozen=True)
class Shape:
    """One shape. ``axes`` [3, 3] float64: the columns are the images of the local unit vectors.

    ``profile``: (a, b, c) of a round; of a flat, a = 1 means a disk and 0 a rectangle.
    ``texture_origin``: added to the surface coordinates in scene units, so that neighbours can share one pattern.
    ``sides``: 2 for thin or open shapes that are lit differently from behind or inside.
    """

    kind: int
    center: torch.Tensor
    axes: torch.Tensor
    material: int
    profile: tuple[float, float, float] = (0.0, 0.0, 0.0)
    texture_origin: tuple[float, float] = (0.0, 0.0)
    sides: int = 1

    def moved(self, turn: torch.Tensor, shift: Vector) -> Shape:
        """The shape after ``turn`` [3, 3] and then ``shift`` [3]."""
        return replace(self, center=turn @ self.center + vector(shift), axes=turn @ self.axes)


Piece = list[Shape]
"""Shapes that lie close together."""


def vector(values: Vector) -> torch.Tensor:
    """Three numbers as float64 [3]."""
    return torch.as_tensor(values, dtype=torch.float64)


def rotation(z: float = 0.0, x: float = 0.0, y: float = 0.0) -> torch.Tensor:
    """Turn by ``x``, then ``y``, then ``z`` degrees about the axes of those names, [3, 3] float64."""
    matrix = torch.eye(3, dtype=torch.float64)
    for axis, degrees in ((0, x), (1, y), (2, z)):
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        turn = torch.eye(3, dtype=torch.float64)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn[a, a], turn[a, b], turn[b, a], turn[b, b] = c, -s, s, c
        matrix = turn @ matrix
    return matrix


def upright(direction: torch.Tensor) -> torch.Tensor:
    """A rotation [3, 3] whose third column is the unit ``direction``."""
    z = direction / direction.norm()
    helper = vector((0, 0, 1)) if abs(z[2]) < 0.9 else vector((0, 1, 0))
    x = torch.linalg.cross(helper, z)
    x = x / x.norm()
    return torch.stack([x, torch.linalg.cross(z, x), z], dim=1)


def box(center: Vector, size: Vector, material: int, turn: torch.Tensor | None = None) -> Shape:
    """A solid box of ``size`` [3] about ``center``."""
    axes = torch.diag(vector(size) / 2)
    return Shape(BOX, vector(center), axes if turn is None else turn @ axes, material)


def rectangle(
    center: Vector, half_u: Vector, half_v: Vector, material: int, origin: tuple[float, float] = (0.0, 0.0)
) -> Shape:
    """A flat rectangle spanned by two half edges; its front faces ``half_u x half_v``."""
    u, v = vector(half_u), vector(half_v)
    normal = torch.linalg.cross(u, v)
    return Shape(
        FLAT, vector(center), torch.stack([u, v, normal / normal.norm()], dim=1), material, texture_origin=origin
    )


def disk(center: Vector, normal: Vector, radius: float, material: int, stretch: float = 1.0) -> Shape:
    """A disk; ``stretch`` makes it an ellipse, longer along its own second axis."""
    axes = upright(vector(normal)) * torch.tensor([radius, radius * stretch, 1.0], dtype=torch.float64)
    return Shape(FLAT, vector(center), axes, material, (1.0, 0.0, 0.0), sides=2)


def ball(center: Vector, radii: float | Vector, material: int, turn: torch.Tensor | None = None) -> Shape:
    """A sphere, or an ellipsoid when three ``radii`` are given."""
    sizes = vector([radii] * 3) if isinstance(radii, (int, float)) else vector(radii)
    axes = torch.diag(sizes)
    return Shape(ROUND, vector(center), axes if turn is None else turn @ axes, material, (1.0, 0.0, -1.0))


def tube(start: Vector, end: Vector, radius: float, material: int, end_radius: float | None = None) -> Shape:
    """A cylinder or cone without caps from ``start`` to ``end``."""
    a, b = vector(start), vector(end)
    mean, change = radius, 0.0
    if end_radius is not None:
        mean, change = (radius + end_radius) / 2, (end_radius - radius) / 2
    axes = upright(b - a) * torch.tensor([1.0, 1.0, float((b - a).norm()) / 2], dtype=torch.float64)
    return Shape(ROUND, (a + b) / 2, axes, material, (mean * mean, 2 * mean * change, change * change))


def turned(base: Vector, heights: Sequence[float], radii: Sequence[float], material: int) -> list[Shape]:
    """A vessel as a potter turns it: quadrics through three evenly spaced profile points each."""
    pieces = []
    for i in range(0, len(heights) - 2, 2):
        low, middle, high = (radii[i + k] ** 2 for k in range(3))
        half = (heights[i + 2] - heights[i]) / 2
        center = vector(base) + vector((0, 0, heights[i] + half))
        profile = (middle, (high - low) / 2, (high + low) / 2 - middle)
        pieces.append(Shape(ROUND, center, torch.diag(vector((1, 1, half))), material, profile, sides=2))
    return pieces


def chart_sizes(shape: Shape) -> list[tuple[float, float]]:
    """Extents of a shape's charts in scene units, in the order of their faces."""
    x, y, z = (2 * float(length) for length in shape.axes.norm(dim=0))
    if shape.kind == BOX:
        return [(y, z)] * 2 + [(z, x)] * 2 + [(x, y)] * 2
    if shape.kind == FLAT:
        return [(x, y)] * shape.sides
    return [(math.pi * widest(shape) * (x + y) / 2, z)] * shape.sides


def widest(shape: Shape) -> float:
    """Largest local radius of a round."""
    a, b, c = shape.profile
    peak = -b / (2 * c) if c < 0 else 1.0
    return math.sqrt(max(a + (b + c * z) * z for z in (-1.0, min(max(peak, -1.0), 1.0), 1.0)))


def bounds(shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    """Lower and upper corner [3] of a box around the shape."""
    across = widest(shape) if shape.kind == ROUND else 1.0
    stretch = torch.tensor([across, across, 0.0 if shape.kind == FLAT else 1.0], dtype=torch.float64)
    reach = (shape.axes.abs() * stretch).sum(1) + CLEARANCE
    return shape.center - reach, shape.center + reach
