"""The enhanced unified camera of Khomutenko, Garcia and Martinet (2016).

    w = (x, y) / (alpha d + (1 - alpha) z),    d = sqrt(beta (x^2 + y^2) + z^2)

COLMAP evaluates it for z > 0 only. It sees as far round as |w| grows: to z = -d alpha / (1 - alpha) with alpha <= 1/2,
where |w| has no end, and else to z = -d (1 - alpha) / alpha, where |w| = 1 / sqrt(beta (2 alpha - 1)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from unrender.cameras.lens.calibrated import number
from unrender.cameras.lens.central import Axial

__all__ = ["EnhancedUnified"]

_LEAST = 1e-4  # directions that land 10,000 focal lengths from the centre are not imaged: their powers overflow


@dataclass(frozen=True, eq=False)
class EnhancedUnified(Axial):
    """Two focal lengths, alpha in 0..1 and beta > 0. alpha = 0 is a pinhole."""

    model: ClassVar[str] = "EUCM"
    parameter_names: ClassVar[tuple[str, ...]] = ("fx", "fy", "cx", "cy", "alpha", "beta")
    ranges: ClassVar[dict[str, tuple[float, float]]] = {"alpha": (0.0, 1.0), "beta": (1e-6, 1e6)}

    @property
    def chart_reach(self) -> float:
        """Where |w| stops growing, or no end."""
        alpha, beta = number(self._named["alpha"]), number(self._named["beta"])
        bend = beta * (2 * alpha - 1)
        return 1 / math.sqrt(bend) if bend > _LEAST**2 else math.inf

    def radius(self, sine: torch.Tensor, cosine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """sine / (alpha d + (1 - alpha) cosine), while that grows."""
        alpha, beta = self._named["alpha"].to(sine), self._named["beta"].to(sine)
        d = (beta * sine * sine + cosine * cosine).sqrt()
        below, rise = alpha * d + (1 - alpha) * cosine, 1 - alpha + alpha * cosine / d
        seen = (below > _LEAST) & (rise > 0)
        below = torch.where(below > _LEAST, below, 1)
        return sine / below, rise / (below * below), seen

    def incline(self, radius: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """From a quadratic equation, in closed form, in two ways: one divides by 0 for alpha = 1, one for 1/2."""
        alpha, beta = self._named["alpha"].to(radius), self._named["beta"].to(radius)
        bend = beta * radius * radius
        left = 1 - (2 * alpha - 1) * bend
        somewhere = left > 0
        root = torch.where(somewhere, torch.where(somewhere, left, 1).sqrt(), 0)
        if number(alpha) > 0.75:
            return radius, (alpha * root - (1 - alpha)) / (2 * alpha - 1)
        return radius, (1 - alpha * alpha * bend) / (alpha * root + 1 - alpha)
