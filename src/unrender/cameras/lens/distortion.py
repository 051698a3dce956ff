"""Distortion in the plane of a chart: radial, tangential (decentring) and of a thin prism.

With w = (x, y), s = x^2 + y^2 and g(s) = (1 + n1 s + n2 s^2 + ...) / (1 + d1 s + d2 s^2 + ...):

    u = x g(s) + 2 p1 x y + p2 (s + 2 x^2) + a1 s + a2 s^2
    v = y g(s) + 2 p2 x y + p1 (s + 2 y^2) + b1 s + b2 s^2

(Brown 1966, Weng et al. 1992, and OpenCV for the quotient.) A fitted r g(r^2) may stop growing at some radius and fold
back; beyond that radius a point is not in the image. Tangential and prism terms bend the plane too: the symmetric part
of their derivative is at least -(6 |p| + 2 |(a1, b1)|) r - 4 |(a2, b2)| r^3. The valid region is the disc in which that
and the radial part together leave the derivative positive in every direction, which makes the mapping one to one there
(the disc is convex).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest
from typing import ClassVar

import torch

from unrender.cameras.lens.calibrated import number
from unrender.cameras.lens.central import Central, Matrix2, within
from unrender.cameras.lens.radial import first_root, horner, length, solve_growing

__all__ = ["Distorted"]

_PLANE_STEPS = 60
_SMALLEST = 1e-4  # share of a step after which there is no coming nearer
_SINGULAR = 1e-12
_POLE = 1e-9  # how near to a pole of the quotient a radius may come


@dataclass(frozen=True, eq=False)
class Distorted(Central):
    """Base of the lenses with such a distortion: subclasses say which of their parameters are which of the terms."""

    radial: ClassVar[tuple[str, ...]] = ()
    """n1, n2, ..."""
    divisor: ClassVar[tuple[str, ...]] = ()
    """d1, d2, ..."""
    tangential: ClassVar[tuple[str, ...]] = ()
    """p1, p2; or none."""
    prism: ClassVar[tuple[str, ...]] = ()
    """a1, b1; or a1, b1, a2, b2; or none."""

    def _terms(self, names: tuple[str, ...]) -> tuple[torch.Tensor, ...]:
        return tuple(self._named[name] for name in names)

    @cached_property
    def valid_radius(self) -> float:
        """Where the derivative first stops being positive; infinite where it never does."""
        above, below = (
            _in_radius([number(term) for term in self._terms(names)]) for names in (self.radial, self.divisor)
        )
        slope = [order * term for order, term in enumerate(above)]  # r times the derivative
        bend, square = self._bend, below
        if self.divisor:
            falling = [-order * term for order, term in enumerate(below)]
            slope = _sum(_product(slope, below), _product(above, falling))
            above, square = _product(above, below), _product(below, below)
        less = _product([-term for term in bend], square) if bend else []
        limits = [_sum(above, slope, less), *([_sum(above, less)] if bend else [])]
        pole = (1 - _POLE) * first_root(below, self.chart_reach)
        return min(self.chart_reach, pole, *(first_root(limit, self.chart_reach) for limit in limits))

    @property
    def _bend(self) -> list[float]:
        """How much less than the radial part's the derivative may be in some direction, as a polynomial of r."""
        if not (self.tangential or self.prism):
            return []
        tangential, prism = ([number(term) for term in self._terms(names)] for names in (self.tangential, self.prism))
        linear, cubic = 6 * math.hypot(*tangential) + 2 * math.hypot(*prism[:2]), 4 * math.hypot(*prism[2:])
        return [0.0, linear, 0.0, cubic] if cubic else [0.0, linear] if linear else []

    def _growth(self, s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """g(s) and its derivative."""
        above, above_slope = horner((1.0, *self._terms(self.radial)), s)
        if not self.divisor:
            return above, above_slope
        below, below_slope = horner((1.0, *self._terms(self.divisor)), s)
        below = torch.where(below == 0, 1, below)
        return above / below, (above_slope - above / below * below_slope) / below

    def distort(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """d(w): where w = (x, y) lands on the plane at focal length 1."""
        s = x * x + y * y
        growth, _ = self._growth(s)
        u, v = x * growth, y * growth
        if self.tangential:
            p1, p2 = self._terms(self.tangential)
            xy = 2 * x * y
            u, v = u + p1 * xy + p2 * (s + 2 * x * x), v + p2 * xy + p1 * (s + 2 * y * y)
        if self.prism:
            bend_u, bend_v, _, _ = self._bending(s)
            u, v = u + bend_u, v + bend_v
        return u, v

    def distortion_jacobian(self, x: torch.Tensor, y: torch.Tensor) -> Matrix2:
        """d'(w), row by row."""
        xx, yy, xy = x * x, y * y, x * y
        s = xx + yy
        growth, slope = self._growth(s)
        slope = 2 * slope
        u_x, u_y, v_y = growth + slope * xx, slope * xy, growth + slope * yy
        if self.tangential:
            p1, p2 = self._terms(self.tangential)
            u_x = u_x + 2 * p1 * y + 6 * p2 * x
            u_y = u_y + 2 * p1 * x + 2 * p2 * y
            v_y = v_y + 2 * p2 * x + 6 * p1 * y
        if not self.prism:
            return (u_x, u_y), (u_y, v_y)
        _, _, u_s, v_s = self._bending(s)
        return (u_x + 2 * u_s * x, u_y + 2 * u_s * y), (u_y + 2 * v_s * x, v_y + 2 * v_s * y)

    def _bending(self, s: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the prism adds to u and to v, and the derivatives of both by s."""
        terms = self._terms(self.prism)
        bend_u, u_s = horner((0.0, *terms[0::2]), s)
        bend_v, v_s = horner((0.0, *terms[1::2]), s)
        return bend_u, bend_v, u_s, v_s

    def undistort(self, u: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The inverse of ``distort``: the radius first, which alone is monotone, then Newton in the plane."""
        distorted = length(u, v)
        scale = solve_growing(self._curve, distorted, self.valid_radius) / torch.where(distorted > 0, distorted, 1)
        x, y = u * scale, v * scale
        return self._polish(u, v, x, y) if self.tangential or self.prism else (x, y)

    def _curve(self, radius: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """r g(r^2) and its derivative."""
        s = radius * radius
        growth, slope = self._growth(s)
        return radius * growth, growth + 2 * s * slope

    def _polish(
        self, u: torch.Tensor, v: torch.Tensor, x: torch.Tensor, y: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Newton's method in the plane for distort(x, y) = (u, v), kept within the valid radius; a step that does not
        come nearer is halved, over and over, which ends as the derivative is positive there.
        """
        share, settled = torch.ones_like(x), torch.finfo(x.dtype).eps ** 0.5  # a step so short leaves an error of eps
        off_u, off_v = self._off(u, v, x, y)
        for _ in range(_PLANE_STEPS):
            step_x, step_y = self._newton(x, y, off_u, off_v)
            next_x, next_y = x + share * step_x, y + share * step_y
            shrink = within(self.valid_radius, next_x, next_y)
            next_x, next_y = next_x * shrink, next_y * shrink
            next_u, next_v = self._off(u, v, next_x, next_y)
            nearer = length(next_u, next_v) <= length(off_u, off_v)
            x, y = torch.where(nearer, next_x, x), torch.where(nearer, next_y, y)
            off_u, off_v = torch.where(nearer, next_u, off_u), torch.where(nearer, next_v, off_v)
            share = torch.where(nearer, (2 * share).clamp(max=1), 0.5 * share)
            near = torch.maximum(step_x.abs(), step_y.abs()) <= settled * (1 + x.abs() + y.abs())
            if bool((near | (share < _SMALLEST)).all()):
                break
        return x, y

    def _off(
        self, u: torch.Tensor, v: torch.Tensor, x: torch.Tensor, y: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        at_u, at_v = self.distort(x, y)
        return u - at_u, v - at_v

    def _newton(
        self, x: torch.Tensor, y: torch.Tensor, off_u: torch.Tensor, off_v: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        (a, b), (c, d) = self.distortion_jacobian(x, y)
        determinant = a * d - b * c
        singular = determinant.abs() < _SINGULAR
        inverse = torch.where(singular, 0, 1 / torch.where(singular, 1, determinant))
        return inverse * (d * off_u - b * off_v), inverse * (a * off_v - c * off_u)


def _in_radius(coefficients: list[float]) -> list[float]:
    """1 + c1 s + c2 s^2 + ... as a polynomial of r, where s = r^2."""
    return [1.0, *(part for coefficient in coefficients for part in (0.0, coefficient))]


def _product(one: list[float], other: list[float]) -> list[float]:
    """Of two polynomials."""
    result = [0.0] * (len(one) + len(other) - 1)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            result[i + j] += a * b
    return result


def _sum(*polynomials: list[float]) -> list[float]:
    """Of polynomials."""
    return [sum(terms) for terms in zip_longest(*polynomials, fillvalue=0.0)]
