"""Perspective lenses with the radial and tangential distortion of Brown (1966), as COLMAP and OpenCV write it.

With s = x^2 + y^2 and g(s) = 1 + k1 s + k2 s^2:

    u = x g(s) + 2 p1 x y + p2 (s + 2 x^2)
    v = y g(s) + 2 p2 x y + p1 (s + 2 y^2)

The radial part r g(r^2) of a fitted polynomial may stop growing at some radius and fold back. Beyond that radius a
point is not in the image. Tangential terms are small and do not enter that radius.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, TypeAlias

import torch

from unrender.cameras.lens.pinhole import Matrix2, Perspective

__all__ = ["Brown", "OpenCV", "Radial", "SimpleRadial"]

Scalar: TypeAlias = torch.Tensor | float


@dataclass(frozen=True, eq=False)
class Brown(Perspective):
    """Base of the lenses with distortion: subclasses say which of the four coefficients they have."""

    @property
    def coefficients(self) -> tuple[Scalar, Scalar, Scalar, Scalar]:
        """k1, k2, p1, p2; those that the model lacks are 0."""
        named = self._named
        return named["k1"], named.get("k2", 0.0), named.get("p1", 0.0), named.get("p2", 0.0)

    @property
    def _tangential(self) -> bool:
        return "p1" in self.parameter_names

    @cached_property
    def valid_radius(self) -> float:
        """Where d/dr (r + k1 r^3 + k2 r^5) = 1 + 3 k1 r^2 + 5 k2 r^4 first becomes 0; infinite where it never does."""
        k1, k2 = (float(torch.as_tensor(k).detach()) for k in self.coefficients[:2])
        discriminant = 9 * k1 * k1 - 20 * k2
        if discriminant < 0 or (k1 >= 0 and k2 >= 0):
            return math.inf
        root = math.sqrt(discriminant)  # each branch adds numbers of one sign, so that no digits cancel
        return math.sqrt((3 * k1 + root) / (-10 * k2) if k1 > 0 else 2 / (root - 3 * k1))

    def distort(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """d(a): where a = (x, y) lands on the plane at focal length 1."""
        k1, k2, p1, p2 = self.coefficients
        s = x * x + y * y
        radial = 1 + s * (k1 + k2 * s)
        u, v = x * radial, y * radial
        if self._tangential:
            xy = 2 * x * y
            u = u + p1 * xy + p2 * (s + 2 * x * x)
            v = v + p2 * xy + p1 * (s + 2 * y * y)
        return u, v

    def distortion_jacobian(self, x: torch.Tensor, y: torch.Tensor) -> Matrix2:
        """d'(a), row by row. It is symmetric."""
        k1, k2, p1, p2 = self.coefficients
        xx, yy, xy = x * x, y * y, x * y
        s = xx + yy
        radial = 1 + s * (k1 + k2 * s)
        slope = 2 * (k1 + 2 * k2 * s)
        u_x, u_y, v_y = radial + slope * xx, slope * xy, radial + slope * yy
        if self._tangential:
            u_x = u_x + 2 * p1 * y + 6 * p2 * x
            u_y = u_y + 2 * p1 * x + 2 * p2 * y
            v_y = v_y + 2 * p2 * x + 6 * p1 * y
        return (u_x, u_y), (u_y, v_y)

    def undistort(self, u: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The inverse of ``distort``: the radius first, which alone is monotone, then Newton in the plane."""
        distorted = torch.hypot(u, v)
        scale = self._undistort_radius(distorted) / distorted.clamp(min=torch.finfo(u.dtype).tiny)
        return self._polish(u, v, u * scale, v * scale) if self._tangential else (u * scale, v * scale)

    def _polish(
        self, u: torch.Tensor, v: torch.Tensor, x: torch.Tensor, y: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Newton's method in the plane for distort(x, y) = (u, v), kept within the valid radius."""
        for _ in range(_PLANE_STEPS):
            at_u, at_v = self.distort(x, y)
            (a, b), (c, d) = self.distortion_jacobian(x, y)
            off_u, off_v, determinant = u - at_u, v - at_v, a * d - b * c
            singular = determinant.abs() < _SINGULAR
            inverse = torch.where(singular, 0, 1 / torch.where(singular, 1, determinant))
            step_x, step_y = inverse * (d * off_u - b * off_v), inverse * (a * off_v - c * off_u)
            x, y = x + step_x, y + step_y
            shrink = (self.valid_radius / torch.hypot(x, y)).clamp(max=1)
            x, y = x * shrink, y * shrink
            if bool((torch.maximum(step_x.abs(), step_y.abs()) < torch.finfo(x.dtype).eps ** 0.5).all()):
                break
        return x, y

    def _undistort_radius(self, distorted: torch.Tensor) -> torch.Tensor:
        """The r in [0, valid radius] with r g(r^2) = ``distorted``: Newton, with bisection where it leaves the bracket
        or its steps do not get shorter (around a bend it may go to and fro for ever).

        Where the valid radius is infinite, g >= 4/9 (its least value while 1 + 3 k1 s + 5 k2 s^2 has no root), which
        bounds r.
        """
        k1, k2, _, _ = self.coefficients
        low, high = torch.zeros_like(distorted), 2.25 * distorted
        move = torch.full_like(distorted, torch.inf)
        radius = distorted
        if not math.isinf(rim := self.valid_radius):
            reach = rim * (1 + rim**2 * (k1 + k2 * rim**2))
            high = torch.full_like(distorted, rim)
            radius = torch.where(distorted >= reach, high, distorted.minimum(high))
        for _ in range(_RADIUS_STEPS):
            s = radius * radius
            excess = radius * (1 + s * (k1 + k2 * s)) - distorted
            low, high = torch.where(excess < 0, radius, low), torch.where(excess < 0, high, radius)
            newton = radius - excess / (1 + s * (3 * k1 + 5 * k2 * s))
            longest = torch.maximum(0.75 * move, _SHORT * radius)
            follow = (newton >= low) & (newton <= high) & ((newton - radius).abs() <= longest)
            last, radius = radius, torch.where(follow, newton, 0.5 * (low + high))
            move = (radius - last).abs()
            if torch.allclose(last, radius, rtol=4 * torch.finfo(radius.dtype).eps, atol=0):
                break
        return radius


_RADIUS_STEPS = 40
_PLANE_STEPS = 12
_SINGULAR = 1e-9
_SHORT = 1e-6  # steps of Newton's method that need not get shorter: rounding decides how long the last ones are


@dataclass(frozen=True, eq=False)
class SimpleRadial(Brown):
    """One focal length and k1, which COLMAP calls k."""

    model: ClassVar[str] = "SIMPLE_RADIAL"
    parameter_names: ClassVar[tuple[str, ...]] = ("f", "cx", "cy", "k")

    @property
    def coefficients(self) -> tuple[Scalar, Scalar, Scalar, Scalar]:
        """k, 0, 0, 0."""
        return self._named["k"], 0.0, 0.0, 0.0


@dataclass(frozen=True, eq=False)
class Radial(Brown):
    """One focal length, k1 and k2."""

    model: ClassVar[str] = "RADIAL"
    parameter_names: ClassVar[tuple[str, ...]] = ("f", "cx", "cy", "k1", "k2")


@dataclass(frozen=True, eq=False)
class OpenCV(Brown):
    """Two focal lengths, k1, k2 and the tangential p1, p2."""

    model: ClassVar[str] = "OPENCV"
    parameter_names: ClassVar[tuple[str, ...]] = ("fx", "fy", "cx", "cy", "k1", "k2", "p1", "p2")
