"""Directions as lenses see them: the PyTorch twin of ``lens.h`` and of what ``maths.h`` does with it.

In float32 it agrees with them to the bit, see ``projection.py``. What the formulas mean is said in ``cameras/lens/``.

Letters: N points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from unrender.kernels.rasterize_points.families import FAMILIES
from unrender.kernels.rasterize_points.rounding import angle, exact_root

__all__ = ["Look", "look"]

Row = dict[str, torch.Tensor]
_LEAST = 1e-4  # as in lens.h
_POLE = 1e-12


class Look(NamedTuple):
    """``u``, ``v`` on the plane at focal length 1; ``depth`` along the axis or from the centre; ``magnification``
    [pixels per unit of length]; ``inside``: whether the lens sees it. Each [N].
    """

    u: torch.Tensor
    v: torch.Tensor
    depth: torch.Tensor
    magnification: torch.Tensor
    inside: torch.Tensor


def look(row: Row, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> Look:
    """Points in camera axes, each coordinate [N], through the lens of a ``row`` (``fields_of``) of their dtype."""
    family = FAMILIES[int(row["family"])]
    if family in ("brown", "rational"):
        return _by_slopes(family, row, x, y, z)
    return _around(row, x, y, z) if family == "panorama" else _by_angle(family, row, x, y, z)


def _by_slopes(family: str, row: Row, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> Look:
    """``see`` for families of slopes."""
    inverse = 1 / z
    x, y = x * inverse, y * inverse
    bent = _bend(family, row, x, y)
    a, b, c, d = _measured(row, bent)
    along_u, along_v = a * x + b * y, c * x + d * y
    size = _largest_root(
        a * a + b * b + along_u * along_u, a * c + b * d + along_u * along_v, c * c + d * d + along_v * along_v
    )
    return Look(bent.u, bent.v, z, size * inverse, x * x + y * y <= row["valid"])


def _by_angle(family: str, row: Row, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> Look:
    """``see_by_angle``."""
    square = x * x + y * y
    aside = square > 0
    side = torch.where(aside, exact_root(torch.where(aside, square, 1)), 0)  # its derivative has no place on the axis
    depth = exact_root(square + z * z)
    r = _RADII[family](row, z, side, depth)
    safe = torch.where(aside, side, 1)
    stretch = r.value / safe
    away_x, away_y = torch.where(aside, x / safe, 1), torch.where(aside, y / safe, 0)
    x, y = x * stretch, y * stretch
    bent = _bend(family, row, x, y)
    a, b, c, d = _measured(row, bent)
    across = torch.where(aside, stretch * depth, r.slope)
    along_u, along_v = (a * away_x + b * away_y) * r.slope, (c * away_x + d * away_y) * r.slope
    across_u, across_v = (b * away_x - a * away_y) * across, (d * away_x - c * away_y) * across
    size = _largest_root(
        along_u * along_u + across_u * across_u,
        along_u * along_v + across_u * across_v,
        along_v * along_v + across_v * across_v,
    )
    inside = (x * x + y * y <= row["valid"]) & r.there & (aside | (z > 0))
    return Look(bent.u, bent.v, depth, size * (1 / depth), inside)


def _around(row: Row, x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> Look:
    """``see_around``."""
    square = x * x + z * z
    aside = square > 0
    across = torch.where(aside, exact_root(torch.where(aside, square, 1)), 0)
    depth = exact_root(square + y * y)
    turn, rise = angle(z, x.abs()), angle(across, y.abs())
    longitude = torch.where((x < 0) | (turn >= math.pi), -turn, turn)
    least = _POLE * depth
    mx, my = row["scale"]
    round_, up = mx * (1 / torch.where(across > least, across, least)), my * (1 / depth)
    latitude = torch.where(y < 0, -rise, rise)
    return Look(longitude, latitude, depth, torch.where(round_ > up, round_, up), torch.ones_like(x, dtype=torch.bool))


class _Bent(NamedTuple):
    """Where a place of the chart lands on the plane, and the derivative of that."""

    u: torch.Tensor
    v: torch.Tensor
    u_x: torch.Tensor
    u_y: torch.Tensor
    v_x: torch.Tensor
    v_y: torch.Tensor


def _bend(family: str, row: Row, x: torch.Tensor, y: torch.Tensor) -> _Bent:
    if family == "ocam":
        c, d, e = row["terms"][:3]
        return _Bent(x + e * y, d * x + c * y, x.new_ones(()), e, d, c)
    if family not in _GROWTHS:
        one, zero = x.new_ones(()), x.new_zeros(())
        return _Bent(x, y, one, zero, zero, one)
    _, _, p1, p2 = row["distortion"]
    xx, yy, xy = x * x, y * y, x * y
    s, twice = xx + yy, 2 * xy
    growth, slope = _GROWTHS[family](row, s)
    slope = 2 * slope
    u_y = slope * xy + 2 * p1 * x + 2 * p2 * y
    bent = _Bent(
        x * growth + p1 * twice + p2 * (s + 2 * xx),
        y * growth + p2 * twice + p1 * (s + 2 * yy),
        growth + slope * xx + 2 * p1 * y + 6 * p2 * x,
        u_y,
        u_y,
        growth + slope * yy + 2 * p2 * x + 6 * p1 * y,
    )
    return bent if family in ("brown", "rational") else _through_prism(family, row, bent, x, y, s)


def _through_prism(family: str, row: Row, bent: _Bent, x: torch.Tensor, y: torch.Tensor, s: torch.Tensor) -> _Bent:
    (a, a_s), (b, b_s) = (_prism(family, row["terms"], axis, s) for axis in (0, 1))
    return _Bent(
        bent.u + a,
        bent.v + b,
        bent.u_x + 2 * a_s * x,
        bent.u_y + 2 * a_s * y,
        bent.v_x + 2 * b_s * x,
        bent.v_y + 2 * b_s * y,
    )


Growth = tuple[torch.Tensor, torch.Tensor]


def _prism(family: str, terms: torch.Tensor, axis: int, s: torch.Tensor) -> Growth:
    if family == "equidistant":
        return s * terms[2 + axis], terms[2 + axis]
    first, second = terms[axis], terms[2 + axis]
    return s * (first + s * second), first + 2 * s * second


def _grow_brown(row: Row, s: torch.Tensor) -> Growth:
    k1, k2, _, _ = row["distortion"]
    return 1 + s * (k1 + k2 * s), k1 + 2 * k2 * s


def _grow_rational(row: Row, s: torch.Tensor) -> Growth:
    (k1, k2, _, _), (k3, k4, k5, k6) = row["distortion"], row["terms"][:4]
    above, below = 1 + s * (k1 + s * (k2 + s * k3)), 1 + s * (k4 + s * (k5 + s * k6))
    rise, fall = k1 + s * (2 * k2 + 3 * s * k3), k4 + s * (2 * k5 + 3 * s * k6)
    value = above / below
    return value, (rise - value * fall) / below


def _grow_equidistant(row: Row, s: torch.Tensor) -> Growth:
    (k1, k2, _, _), (k3, k4) = row["distortion"], row["terms"][:2]
    return 1 + s * (k1 + s * (k2 + s * (k3 + s * k4))), k1 + s * (2 * k2 + s * (3 * k3 + 4 * s * k4))


def _grow_none(_row: Row, s: torch.Tensor) -> Growth:
    return torch.ones_like(s), torch.zeros_like(s)


_GROWTHS: dict[str, Callable[[Row, torch.Tensor], Growth]] = {
    "brown": _grow_brown,
    "rational": _grow_rational,
    "equidistant": _grow_equidistant,
    "series": _grow_none,
}


class _Radius(NamedTuple):
    """R, its derivative by the angle from the axis, and whether the chart has the direction."""

    value: torch.Tensor
    slope: torch.Tensor
    there: torch.Tensor


def _polynomial(coefficients: Sequence[torch.Tensor], t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    value, slope = torch.zeros_like(t), torch.zeros_like(t)
    for coefficient in reversed(coefficients):
        slope = slope * t + value
        value = value * t + coefficient
    return value, slope


def _equidistant(_row: Row, z: torch.Tensor, side: torch.Tensor, _distance: torch.Tensor) -> _Radius:
    return _Radius(angle(z, side), torch.ones_like(z), torch.ones_like(z, dtype=torch.bool))


def _series(row: Row, z: torch.Tensor, side: torch.Tensor, _distance: torch.Tensor) -> _Radius:
    a = angle(z, side)
    s = a * a
    value, slope = _polynomial(row["terms"][4:10].unbind(), s)
    growth = 1 + s * value
    return _Radius(a * growth, growth + 2 * s * (value + s * slope), a <= row["widest"])


def _fov(row: Row, z: torch.Tensor, side: torch.Tensor, distance: torch.Tensor) -> _Radius:
    omega, steep = row["terms"][:2]
    rise = steep * side
    slope = steep * (distance * distance) / (omega * (rise * rise + z * z))
    return _Radius(angle(z, rise) / omega, slope, torch.ones_like(z, dtype=torch.bool))


def _ocam(row: Row, z: torch.Tensor, side: torch.Tensor, _distance: torch.Tensor) -> _Radius:
    a = angle(z, side)
    value, slope = _polynomial(row["terms"][3:].unbind(), a - math.pi / 2)
    return _Radius(value, slope, (a <= row["widest"]) & (value >= 0))


def _unified(row: Row, z: torch.Tensor, side: torch.Tensor, distance: torch.Tensor) -> _Radius:
    alpha, beta = row["terms"][:2]
    rest = 1 - alpha
    d = exact_root(beta * (side * side) + z * z)
    below = alpha * d + rest * z
    rise, stretch = rest + alpha * (z / d), distance / below
    return _Radius(side / below, rise * (stretch * stretch), (below > _LEAST * distance) & (rise > 0))


def _division(row: Row, z: torch.Tensor, side: torch.Tensor, distance: torch.Tensor) -> _Radius:
    bend = 4 * row["terms"][0] * (side * side)
    square = z * z - bend
    somewhere = square > 0
    down = torch.where(somewhere, exact_root(torch.where(somewhere, square, 1)), 0)
    below = torch.where(z < 0, -bend / (down + z.abs()), z + down)
    slope = 2 * (distance * distance) / (below * down)
    return _Radius(2 * side / below, slope, somewhere & (below > _LEAST * distance))


_RADII: dict[str, Callable[[Row, torch.Tensor, torch.Tensor, torch.Tensor], _Radius]] = {
    "equidistant": _equidistant,
    "series": _series,
    "fov": _fov,
    "ocam": _ocam,
    "unified": _unified,
    "division": _division,
}


def _measured(row: Row, bent: _Bent) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The derivative of a place, in pixels that lengths are measured with."""
    mx, my = row["scale"]
    return mx * bent.u_x, mx * bent.u_y, my * bent.v_x, my * bent.v_y


def _largest_root(uu: torch.Tensor, uv: torch.Tensor, vv: torch.Tensor) -> torch.Tensor:
    """The root of the larger eigenvalue of A A^T, from its entries."""
    half = 0.5 * (uu - vv)
    return exact_root(0.5 * (uu + vv) + exact_root(half * half + uv * uv))
