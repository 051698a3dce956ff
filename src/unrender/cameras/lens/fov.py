"""The field-of-view lens of Devernay and Faugeras (2001): R = atan(2 tan(omega / 2) slope) / omega.

COLMAP evaluates it for z > 0 only; the arc tangent goes on to straight behind, where R = pi / |omega|.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from unrender.cameras.lens.calibrated import number
from unrender.cameras.lens.central import Axial

__all__ = ["FieldOfView"]

_LEAST = 1e-6  # R depends on omega^2: less changes nothing, and 0 would divide by 0


@dataclass(frozen=True, eq=False)
class FieldOfView(Axial):
    """Two focal lengths and omega [rad], between -pi and pi, whose sign does not matter."""

    model: ClassVar[str] = "FOV"
    parameter_names: ClassVar[tuple[str, ...]] = ("fx", "fy", "cx", "cy", "omega")
    ranges: ClassVar[dict[str, tuple[float, float]]] = {"omega": (-3.14, 3.14)}

    @property
    def chart_reach(self) -> float:
        """R straight behind."""
        return math.pi / number(self._omega)

    @property
    def _omega(self) -> torch.Tensor:
        return self._named["omega"].abs().clamp(min=_LEAST)

    def radius(self, sine: torch.Tensor, cosine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """R in all directions."""
        omega = self._omega.to(sine)
        steep = 2 * torch.tan(omega / 2)
        rise = steep * sine
        return torch.atan2(rise, cosine) / omega, steep / (omega * (rise * rise + cosine * cosine)), sine >= 0

    def incline(self, radius: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the angle, at most half a turn."""
        omega = self._omega.to(radius)
        turned = (radius * omega).clamp(max=math.pi)
        return torch.sin(turned), 2 * torch.tan(omega / 2) * torch.cos(turned)
