"""The lenses that are one formula with ever fewer coefficients: the rational model of OpenCV and what is left of it.

Formats that have one camera with k1 ... k6, p1, p2 get the simplest of our lenses that is the same function, and the
other way round, so that a lens which goes out comes back as itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from unrender.cameras.lens import Lens, make_lens

__all__ = ["BROWN_LENSES", "Rational", "rational_of", "simplest_lens"]

BROWN_LENSES = ("FULL_OPENCV", "OPENCV", "RADIAL", "SIMPLE_RADIAL", "PINHOLE", "SIMPLE_PINHOLE")
"""The members of the family, the most general first."""


@dataclass(frozen=True)
class Rational:
    """Focal lengths and centre [pixels, the first one's centre at 0.5] and the eight coefficients of OpenCV.

    u = x g(s) + 2 p1 x y + p2 (s + 2 x^2)      g(s) = (1 + k1 s + k2 s^2 + k3 s^3) / (1 + k4 s + k5 s^2 + k6 s^3)
    v = y g(s) + 2 p2 x y + p1 (s + 2 y^2)      s = x^2 + y^2
    """

    fx: float
    fy: float
    cx: float
    cy: float
    radial: tuple[float, float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    tangential: tuple[float, float] = (0.0, 0.0)


def simplest_lens(width: int, height: int, numbers: Rational) -> Lens:
    """The lens with the fewest parameters that images everything where ``numbers`` say; without distortion PINHOLE.

    Raises CaptureError as ``make_lens`` does.
    """
    fx, fy, center = numbers.fx, numbers.fy, (numbers.cx, numbers.cy)
    k1, k2, *higher = numbers.radial
    if any(higher):
        return make_lens("FULL_OPENCV", width, height, [fx, fy, *center, k1, k2, *numbers.tangential, *higher])
    if any(numbers.tangential) or (fx != fy and (k1 or k2)):
        return make_lens("OPENCV", width, height, [fx, fy, *center, k1, k2, *numbers.tangential])
    if k2:
        return make_lens("RADIAL", width, height, [fx, *center, k1, k2])
    if k1:
        return make_lens("SIMPLE_RADIAL", width, height, [fx, *center, k1])
    return make_lens("PINHOLE", width, height, [fx, fy, *center])


def rational_of(lens: Lens) -> Rational:
    """The numbers of a lens that is one of ``BROWN_LENSES``."""
    named = dict(zip(lens.parameter_names, lens.params.tolist(), strict=True))
    k1, k2, k3, k4, k5, k6 = (named.get(name, 0.0) for name in ("k1", "k2", "k3", "k4", "k5", "k6"))
    fx, fy = (named["f"], named["f"]) if "f" in named else (named["fx"], named["fy"])
    tangential = (named.get("p1", 0.0), named.get("p2", 0.0))
    return Rational(fx, fy, named["cx"], named["cy"], (named.get("k", k1), k2, k3, k4, k5, k6), tangential)
