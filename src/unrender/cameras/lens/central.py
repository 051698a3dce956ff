"""Lenses that look at a plane: a direction's place in a chart of directions, moved by a distortion, in pixels.

    pixel = F d(w) + c,    d pixel / d point = F d'(w) dw / dpoint

with w the place in the chart (``Perspective``: slopes; ``Axial``: any function of the angle from the axis), d the
distortion in the plane and F the focal lengths. Families say what their chart and their distortion are.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import torch

from unrender.cameras.lens.calibrated import Calibrated, largest_singular_value
from unrender.cameras.lens.radial import length

__all__ = ["TWO_FOCAL", "Axial", "Central", "Matrix2", "Perspective", "Scalar"]

Scalar: TypeAlias = torch.Tensor | float
Matrix2: TypeAlias = tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
Rows: TypeAlias = tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]

TWO_FOCAL = ("fx", "fy", "cx", "cy")
"""How the parameters of most models begin."""

_STEEPEST = 1e3  # slopes beyond this, 0.06 degrees from the plane of the lens, are not imaged: their powers overflow
_ASIDE = 1e-12  # sine of the angle from the axis that counts as the axis
_NEAREST = 1e-18  # nor are points nearer than this, in the scene's unit: the square of their inverse overflows


@dataclass(frozen=True, eq=False)
class Central(Calibrated):
    """Base of the lenses with focal lengths and a centre."""

    @property
    def intrinsics(self) -> tuple[Scalar, Scalar, torch.Tensor, torch.Tensor]:
        """fx, fy, cx, cy [pixels], float64 scalars; the first pixel's centre is at (0.5, 0.5)."""
        named = self._named
        fx, fy = (named["f"], named["f"]) if "f" in named else (named["fx"], named["fy"])
        return fx, fy, named["cx"], named["cy"]

    @property
    def chart_reach(self) -> float:
        """Largest |w| in the chart."""
        return math.inf

    @cached_property
    def valid_radius(self) -> float:
        """Largest |w| that the lens images one to one; infinite where all of an endless chart is."""
        return self.chart_reach

    def project(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Points [N, 3] -> photo pixels [N, 2], and [N] bool: in the chart and within ``valid_radius``.

        Pixels of points that the chart does not have mean nothing.
        """
        fx, fy, cx, cy = self.intrinsics
        x, y, seen = self.chart(points)
        u, v = self.distort(x, y)
        inside = seen if math.isinf(self.valid_radius) else seen & (x * x + y * y <= self.valid_radius**2)
        return torch.stack([fx * u + cx, fy * v + cy], dim=-1), inside

    def unproject(self, pixels: torch.Tensor) -> torch.Tensor:
        """Photo pixels [N, 2] -> camera-space directions [N, 3], with z = 1, or unit where depth is distance.

        A pixel that no valid direction reaches gets a direction on the rim of the valid region near to it.
        """
        fx, fy, cx, cy = self.intrinsics
        u, v = pixels.unbind(-1)
        return self.from_chart(*self.undistort((u - cx) / fx, (v - cy) / fy))

    def jacobian(self, points: torch.Tensor) -> torch.Tensor:
        """Derivative of pixels by point, [N, 2, 3], of points in the chart."""
        return torch.stack([torch.stack(row, dim=-1) for row in self._rows(points)], dim=-2)

    def magnification(self, points: torch.Tensor) -> torch.Tensor:
        """Largest singular value of ``jacobian``, [N]: pixels per unit of length across the line of sight."""
        return largest_singular_value(*self._rows(points))

    def _rows(self, points: torch.Tensor) -> Rows:
        """Derivatives of u and of v by point; entries [N]."""
        x, y, _ = self.chart(points)
        (a, b), (c, d) = self._plane_jacobian(x, y)
        pairs = list(zip(*self.chart_jacobian(points), strict=True))
        return tuple(a * p + b * q for p, q in pairs), tuple(c * p + d * q for p, q in pairs)

    def _plane_jacobian(self, x: torch.Tensor, y: torch.Tensor) -> Matrix2:
        """F d'(w)."""
        fx, fy, _, _ = self.intrinsics
        (a, b), (c, d) = self.distortion_jacobian(x, y)
        return (fx * a, fx * b), (fy * c, fy * d)

    @abstractmethod
    def chart(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """w = (x, y) of points [N, 3], each [N], and whether the chart has them, [N] bool."""

    @abstractmethod
    def chart_jacobian(self, points: torch.Tensor) -> Rows:
        """Derivatives of x and of y by point; entries [N]."""

    @abstractmethod
    def from_chart(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Directions [N, 3] at places of the chart."""

    def distort(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """d(w): where w = (x, y) lands on the plane at focal length 1."""
        return x, y

    def undistort(self, u: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The inverse of ``distort``, within ``valid_radius``."""
        if math.isinf(self.valid_radius):
            return u, v
        shrink = within(self.valid_radius, u, v)
        return u * shrink, v * shrink

    def distortion_jacobian(self, x: torch.Tensor, y: torch.Tensor) -> Matrix2:
        """d'(w), row by row; entries [N], or [] where they are constant."""
        one, zero = x.new_ones(()), x.new_zeros(())
        return (one, zero), (zero, one)


def within(radius: float, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """What to multiply (x, y) with so that they lie in a circle around 0: at most 1."""
    return (radius / length(x, y).clamp(min=torch.finfo(x.dtype).tiny)).clamp(max=1)


@dataclass(frozen=True, eq=False)
class Perspective(Central):
    """Base of the lenses that see less than a half-space: w = (x / z, y / z)."""

    def chart(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Slopes [N], [N] of points, and z > 0 [N]; slopes too steep for numbers count as 0."""
        x, y, z, usable = _slopes(points)
        return x, y, usable & (z > 0)

    def chart_jacobian(self, points: torch.Tensor) -> Rows:
        """(1, 0, -x / z) / z and (0, 1, -y / z) / z."""
        x, y, z, _ = _slopes(points)
        inverse, zero = z.reciprocal(), torch.zeros_like(z)
        return (inverse, zero, -x * inverse), (zero, inverse, -y * inverse)

    def magnification(self, points: torch.Tensor) -> torch.Tensor:
        """Largest singular value of ``jacobian``, [N], which is A [I | -w] / z with A = F d'(w)."""
        x, y, z, _ = _slopes(points)
        (a, b), (c, d) = self._plane_jacobian(x, y)
        return largest_singular_value((a, b, a * x + b * y), (c, d, c * x + d * y)) / z.abs()

    def from_chart(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """(x, y, 1)."""
        return torch.stack([x, y, torch.ones_like(x)], dim=-1)


def _slopes(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """x / z, y / z, z, and whether they can be computed, each [N]; those that cannot are those of the axis."""
    x, y, z = points.unbind(-1)
    size = z.detach().abs()
    usable = (size * _STEEPEST >= torch.maximum(x.detach().abs(), y.detach().abs())) & (size > _NEAREST)
    z = torch.where(usable, z, 1)
    return torch.where(usable, x, 0) / z, torch.where(usable, y, 0) / z, z, usable


@dataclass(frozen=True, eq=False)
class Axial(Central):
    """Base of the lenses that may see more than a half-space: w points away from the axis as the direction does, and
    |w| = R(angle), which each family gives.
    """

    depth_is_distance = True

    @abstractmethod
    def radius(self, sine: torch.Tensor, cosine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """R, dR / dangle and whether the chart has them, [N], by sine (>= 0) and cosine of the angle from the axis."""

    @abstractmethod
    def incline(self, radius: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Sine and cosine, perhaps both times the same positive number, of the angle at which R = ``radius``."""

    def chart(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Places [N], [N] of points, and whether the chart has them, [N] bool; not the one straight behind."""
        x, y, sine, cosine, _, there = _polar(points)
        radius, slope, seen = self.radius(sine, cosine)
        off_axis = sine > _ASIDE
        stretch = torch.where(off_axis, radius / torch.where(off_axis, sine, 1), slope)
        return x * stretch, y * stretch, there & seen & (off_axis | (cosine > 0))

    def chart_jacobian(self, points: torch.Tensor) -> Rows:
        """Along e, away from the axis: R' (cosine, -sine) / distance; across it: R / (sine distance)."""
        x, y, sine, cosine, distance, _ = _polar(points)
        radius, slope, _ = self.radius(sine, cosine)
        off_axis = sine > _ASIDE
        safe = torch.where(off_axis, sine, 1)
        along, back = slope * cosine / distance, -slope * sine / distance
        across = torch.where(off_axis, radius / safe, slope) / distance
        ex, ey = torch.where(off_axis, x / safe, 1), torch.where(off_axis, y / safe, 0)
        mixed = ex * ey * (along - across)
        x_row = (ex * ex * along + ey * ey * across, mixed, ex * back)
        return x_row, (mixed, ey * ey * along + ex * ex * across, ey * back)

    def from_chart(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Unit directions."""
        radius = length(x, y)
        sine, cosine = self.incline(radius)
        scale = sine / torch.where(radius > 0, radius, 1)
        return torch.nn.functional.normalize(torch.stack([x * scale, y * scale, cosine], dim=-1), dim=-1)


def _polar(points: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """x, y, sine and cosine (of the angle from the axis) of the unit directions to points, their distance, and whether
    they have one, each [N]; those at the centre are on the axis at distance 1.
    """
    size = points.detach().abs().amax(dim=-1, keepdim=True)
    there = size > _NEAREST
    axis = points.new_tensor([0.0, 0.0, 1.0])
    size = torch.where(there, size, 1)
    scaled = torch.where(there, points / size, axis)
    distance = scaled.square().sum(-1, keepdim=True).sqrt()
    x, y, cosine = (scaled / distance).unbind(-1)
    return x, y, length(x, y), cosine, (distance * size)[..., 0], there[..., 0]
