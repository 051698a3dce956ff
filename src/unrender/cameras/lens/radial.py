"""Functions of one radius that grow up to some rim: where the rim is, and the way back from a value to its radius."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import torch

__all__ = ["Curve", "first_root", "horner", "length", "solve_growing"]

Curve: TypeAlias = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""radius -> value and slope, each of the radius's shape."""

_STEPS = 60
_SHORT = 1e-6  # steps of Newton's method that need not get shorter: rounding decides how long the last ones are
_FAR = 1e8  # roots beyond this are none: no direction has such a slope
_MOST = 1e150  # coefficients are cut here, so that sums of products stay finite


def length(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """|(x, y)|, with a gradient of 0 instead of NaN at the origin."""
    square = x * x + y * y
    somewhere = square > 0
    return torch.where(somewhere, torch.where(somewhere, square, 1).sqrt(), 0)


def horner(coefficients: Sequence[torch.Tensor | float], at: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and slope of c0 + c1 t + c2 t^2 + ... at t."""
    value, slope = torch.zeros_like(at), torch.zeros_like(at)
    for coefficient in reversed(coefficients):
        slope = slope * at + value
        value = value * at + coefficient
    return value, slope


def first_root(coefficients: Sequence[float], end: float = math.inf) -> float:
    """The smallest r in [0, end] where c0 + c1 r + c2 r^2 + ... is no longer positive; infinite where there is none.

    Found by halving in Bernstein form: coefficients that are all positive prove that there is no root in an interval,
    one change of sign that there is exactly one (Descartes), so that none is missed however close they lie. Where the
    polynomial touches 0 without crossing, that counts.
    """
    if coefficients and min(coefficients) >= 0 < coefficients[0]:
        return math.inf
    given = np.clip(np.trim_zeros(np.asarray(coefficients, dtype=np.float64), "b"), -_MOST, _MOST)
    if len(given) == 0 or given[0] <= 0:
        return 0.0
    given = given / np.abs(given).max()
    if math.isfinite(end):
        return end * _first(given * end ** np.arange(len(given)))
    near = _first(given)
    if math.isfinite(near):
        return near
    inverse = 1 - _first(given, reverse=True)
    return 1 / inverse if inverse > 1 / _FAR else math.inf


def _first(powers: np.ndarray, reverse: bool = False) -> float:
    """The smallest root in [0, 1], infinite where there is none; ``reverse``: of t = 1 - 1 / r, from r = 1 outwards."""
    if reverse:
        powers = powers[::-1]
    start = _bernstein(powers)
    waiting = [(start[::-1] if reverse else start, 0.0, 1.0)]
    while waiting:
        here, low, high = waiting.pop()
        if here[0] <= 0:
            return low
        changes = int((np.diff(np.sign(here[here != 0])) != 0).sum())
        if changes == 0:
            continue
        if changes == 1:
            return _bisect([float(c) for c in powers], low, high, reverse)
        if high - low < 1e-15:
            return low
        left, right = _halves(here)
        middle = 0.5 * (low + high)
        waiting += [(right, middle, high), (left, low, middle)]
    return math.inf


def _bisect(powers: list[float], low: float, high: float, reverse: bool) -> float:
    """Where the polynomial, positive at ``low``, is no longer so. There is one such place up to ``high``."""
    while low < (middle := 0.5 * (low + high)) < high:
        at, value = 1 - middle if reverse else middle, 0.0
        for coefficient in reversed(powers):
            value = value * at + coefficient
        low, high = (middle, high) if value > 0 else (low, middle)
    return low


def _bernstein(powers: np.ndarray) -> np.ndarray:
    """Coefficients over [0, 1] of a polynomial given by its powers."""
    return _choices(len(powers) - 1) @ powers


@lru_cache
def _choices(degree: int) -> np.ndarray:
    return np.array([[math.comb(j, i) / math.comb(degree, i) for i in range(degree + 1)] for j in range(degree + 1)])


def _halves(coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """De Casteljau: the same polynomial over both halves of its interval."""
    left, right, row = [], [], coefficients
    while len(row):
        left.append(row[0])
        right.append(row[-1])
        row = 0.5 * (row[:-1] + row[1:])
    return np.asarray(left), np.asarray(right[::-1])


def solve_growing(curve: Curve, target: torch.Tensor, rim: float) -> torch.Tensor:
    """The r in [0, rim] where ``curve``, which grows up to there, has the value ``target``; the nearer end if none.

    Newton's method, with bisection where it leaves the bracket or its steps do not get shorter (around a bend it may
    go to and fro for ever).
    """
    low, high = torch.zeros_like(target), _upper_end(curve, target, rim)
    move = torch.full_like(target, torch.inf)
    radius = torch.where(target >= curve(high)[0], high, target.clamp(min=0).minimum(high))
    for _ in range(_STEPS):
        value, slope = curve(radius)
        excess = value - target
        low, high = torch.where(excess < 0, radius, low), torch.where(excess < 0, high, radius)
        newton = radius - excess / torch.where(slope == 0, 1, slope)
        longest = torch.maximum(0.75 * move, _SHORT * radius)
        follow = (newton >= low) & (newton <= high) & ((newton - radius).abs() <= longest)
        last, radius = radius, torch.where(follow, newton, 0.5 * (low + high))
        move = (radius - last).abs()
        if torch.allclose(last, radius, rtol=4 * torch.finfo(radius.dtype).eps, atol=0):
            break
    return radius


def _upper_end(curve: Curve, target: torch.Tensor, rim: float) -> torch.Tensor:
    """Radii whose values are at least ``target``, or the rim."""
    if math.isfinite(rim):
        return torch.full_like(target, rim)
    high = 2.25 * target.clamp(min=0)
    for _ in range(_STEPS):
        short = curve(high)[0] < target
        if not bool(short.any()):
            break
        high = torch.where(short, 4 * high, high)
    return high
