"""The division lens of Fitzgibbon (2001): a pixel at r from the centre looks along (x, y, 1 + k r^2).

With k < 0 that goes beyond 90 degrees, where r^2 > -1 / k, and to straight behind as r grows without end. With k > 0 a
slope of 1 / (2 sqrt(k)) is the steepest, at r = 1 / sqrt(k).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from unrender.cameras.lens.calibrated import number
from unrender.cameras.lens.central import Axial

__all__ = ["Division", "SimpleDivision"]


_LEAST = 1e-4  # directions that land 20,000 focal lengths from the centre are not imaged: their powers overflow
_RIM = 1e-30  # root^2 at the rim, where R rises without end


@dataclass(frozen=True, eq=False)
class Division(Axial):
    """Two focal lengths and k."""

    model: ClassVar[str] = "DIVISION"
    parameter_names: ClassVar[tuple[str, ...]] = ("fx", "fy", "cx", "cy", "k")

    @property
    def chart_reach(self) -> float:
        """1 / sqrt(k), or no end."""
        k = number(self._named["k"])
        return 1 / math.sqrt(k) if k > _LEAST**2 else math.inf

    def radius(self, sine: torch.Tensor, cosine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """R = 2 sine / (cosine + root), root^2 = cosine^2 - 4 k sine^2; to the rear without cancelling digits."""
        bend = 4 * self._named["k"].to(sine) * sine * sine
        square = cosine * cosine - bend
        seen = square > 0
        root = torch.where(seen, square, _RIM).sqrt()
        back = cosine < 0
        below = torch.where(back, -bend / (root + cosine.abs()), cosine + root)
        seen = seen & (below > _LEAST)
        below = torch.where(below > _LEAST, below, 1)
        return 2 * sine / below, 2 / (below * root), seen

    def incline(self, radius: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(r, 1 + k r^2)."""
        return radius, 1 + self._named["k"].to(radius) * radius * radius


@dataclass(frozen=True, eq=False)
class SimpleDivision(Division):
    """One focal length and k."""

    model: ClassVar[str] = "SIMPLE_DIVISION"
    parameter_names: ClassVar[tuple[str, ...]] = ("f", "cx", "cy", "k")
