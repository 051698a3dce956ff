"""Brown's polynomial as photogrammetry programs have it, with more terms than our lenses, and the nearest of those.

    u = cx + fx x' + skew y'      x' = x g(s) + (2 p1 x y + p2 (s + 2 x^2)) (1 + p3 s + p4 s^2)
    v = cy + fy y'                y' = y g(s) + (2 p2 x y + p1 (s + 2 y^2)) (1 + p3 s + p4 s^2)
    g(s) = 1 + k1 s + k2 s^2 + k3 s^3 + k4 s^4,  s = x^2 + y^2

p1 and p2 are named as in OpenCV. Without k4, p3, p4 and skew this is one of our lenses; with them it is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unrender.cameras.lens import Lens
from unrender.datasets.brown_family import BROWN_LENSES, Rational, rational_of, simplest_lens
from unrender.errors import CaptureError

__all__ = ["Polynomial", "holds_polynomial", "nearest_lens_of", "polynomial_of"]

_BEARABLE = 0.5
"""Pixels by which a lens may be off where its terms have no place in ours."""
_SAMPLES, _GRID = 200, 33


@dataclass(frozen=True)
class Polynomial:
    """The numbers of the formula; focal lengths, centre and skew in pixels, the first one's centre at 0.5."""

    fx: float
    fy: float
    cx: float
    cy: float
    radial: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    tangential: tuple[float, float] = (0.0, 0.0)
    higher: tuple[float, float] = (0.0, 0.0)
    skew: float = 0.0

    def pixels(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Where slopes x, y [N] land, [N, 2]."""
        (k1, k2, k3, k4), (p1, p2), (p3, p4) = self.radial, self.tangential, self.higher
        s = x * x + y * y
        radial, more = 1 + s * (k1 + s * (k2 + s * (k3 + s * k4))), 1 + s * (p3 + s * p4)
        u = x * radial + (2 * p1 * x * y + p2 * (s + 2 * x * x)) * more
        v = y * radial + (2 * p2 * x * y + p1 * (s + 2 * y * y)) * more
        return torch.stack([self.cx + self.fx * u + self.skew * v, self.cy + self.fy * v], dim=-1)

    @property
    def foreign(self) -> tuple[str, ...]:
        """The names of its terms that no lens of ours has."""
        names = ("k4", "p3", "p4", "skew")
        values = (self.radial[3], *(self.higher if any(self.tangential) else (0.0, 0.0)), self.skew)
        return tuple(name for name, value in zip(names, values, strict=True) if value)


def nearest_lens_of(width: int, height: int, polynomial: Polynomial, where: object) -> tuple[Lens, float]:
    """Our lens of a polynomial and by how much it is off within the photo at most [pixels], 0 where it is the same.

    Raises CaptureError, which begins with ``where``, when it is off by more than half a pixel, or for numbers that
    no lens has.
    """
    try:
        lens = _of(width, height, polynomial, polynomial.radial[:3])
        if not polynomial.foreign:
            return lens, 0.0
        lens = _of(width, height, polynomial, _without_k4(lens, polynomial))
        residual = _residual(lens, polynomial)
    except CaptureError as error:
        raise CaptureError(str(error), where=where) from None
    if not residual <= _BEARABLE:
        raise CaptureError(
            f"no lens has the terms {', '.join(polynomial.foreign)} of this calibration",
            where=where,
            expected=f"terms that another lens has to {_BEARABLE} pixels",
            got=f"{residual:.2g} pixels for the nearest, {lens.model}",
            do="calibrate without them, or write undistorted photos",
        )
    return lens, residual


def holds_polynomial(lens: Lens) -> bool:
    """Whether a lens is a polynomial of this kind."""
    return lens.model in BROWN_LENSES and not any(rational_of(lens).radial[3:])


def polynomial_of(lens: Lens, where: object) -> Polynomial:
    """The polynomial that a lens is. Raises CaptureError for one that is none."""
    if not holds_polynomial(lens):
        raise CaptureError(f"this format cannot hold the lens {lens.model}", where=where)
    numbers = rational_of(lens)
    k1, k2, k3 = numbers.radial[:3]
    return Polynomial(numbers.fx, numbers.fy, numbers.cx, numbers.cy, (k1, k2, k3, 0.0), numbers.tangential)


def _of(width: int, height: int, polynomial: Polynomial, radial: tuple[float, float, float]) -> Lens:
    numbers = (polynomial.fx, polynomial.fy, polynomial.cx, polynomial.cy)
    if not all(abs(number) < 1e12 for number in (*numbers, *polynomial.radial, *polynomial.tangential)):
        raise CaptureError("numbers of no calibration", got=f"{numbers}, {polynomial.radial}, {polynomial.tangential}")
    return simplest_lens(width, height, Rational(*numbers, (*radial, 0.0, 0.0, 0.0), polynomial.tangential))


def _without_k4(lens: Lens, polynomial: Polynomial) -> tuple[float, float, float]:
    """k1, k2, k3 that come nearest to the radial part of all four within the photo: linear least squares."""
    k1, k2, k3, k4 = polynomial.radial
    if not k4:
        return k1, k2, k3
    corner = torch.tensor([lens.width, lens.height], dtype=torch.float64).div(2).norm()
    reach = 1.1 * float(corner) / min(polynomial.fx, polynomial.fy)
    r = torch.linspace(0, 2 * reach, _SAMPLES, dtype=torch.float64)
    growth = r * (1 + r**2 * (k1 + r**2 * (k2 + r**2 * (k3 + r**2 * k4))))
    beyond = torch.nonzero((growth >= reach) | (growth.diff(append=growth[-1:] + 1) <= 0)).ravel()
    r = r[: int(beyond[0]) + 2] if len(beyond) else r
    scale = float(r.max())
    at = r / scale
    powers = torch.stack([at**3, at**5, at**7], dim=1)
    change = torch.linalg.lstsq(powers, (k4 * scale**8 * at**9)[:, None]).solution[:, 0].tolist()
    return k1 + change[0] / scale**2, k2 + change[1] / scale**4, k3 + change[2] / scale**6


def _residual(lens: Lens, polynomial: Polynomial) -> float:
    """The largest distance, over the photo, between where both see a direction [pixels]."""
    across = torch.linspace(0, lens.width, _GRID, dtype=torch.float64)
    down = torch.linspace(0, lens.height, _GRID, dtype=torch.float64)
    pixels = torch.cartesian_prod(across, down)
    rays = lens.unproject(pixels)
    _, there = lens.project(rays)
    x, y = (rays[there, :2] / rays[there, 2:]).unbind(-1)
    again = lens.project(rays[there])[0]
    return float((polynomial.pixels(x, y) - again).norm(dim=1).max()) if bool(there.any()) else float("inf")
