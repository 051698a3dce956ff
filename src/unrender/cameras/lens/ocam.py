"""The omnidirectional polynomial of Scaramuzza, Martinelli and Siegwart (2006), as ADOP evaluates it.

With t the angle above the plane of the lens to the rear (angle from the axis - pi / 2) and (x, y) the unit vector away
from the axis:

    R = a0 + a1 t + a2 t^2 + ...,    u = R (x + e y) + cy,    v = R (d x + c y) + cx

[pixels]. The toolbox counts rows first, so that cx, in the order of its files, is the centre's row. There the first
pixel's centre is at 0; here it is at 0.5, as everywhere: add 0.5 to cx and cy of such a file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from numpy.polynomial import Polynomial

from unrender.cameras.lens.calibrated import number
from unrender.cameras.lens.central import Axial, Matrix2, Scalar
from unrender.cameras.lens.radial import first_root, horner, solve_growing
from unrender.errors import CaptureError

__all__ = ["OCam"]


@dataclass(frozen=True, eq=False)
class OCam(Axial):
    """c, d, e, cx, cy and any number of coefficients a0, a1, ... (poly_world2cam), all differentiable.

    Fitted polynomials need not be 0 on the axis: where R starts at more, no direction reaches the pixels in between;
    where it starts at less, the lens sees from where it becomes 0 on. Raises CaptureError where R does not grow from
    the axis outwards or the affine part turns the image over.
    """

    model: ClassVar[str] = "OCAM"
    parameter_names: ClassVar[tuple[str, ...]] = ("c", "d", "e", "cx", "cy")

    def __post_init__(self) -> None:
        fixed = type(self).parameter_names
        series = [f"a{order}" for order in range(max(2, self.params.numel() - len(fixed)))]
        object.__setattr__(self, "parameter_names", (*fixed, *series))
        super().__post_init__()
        c, d, e = (number(self._named[name]) for name in "cde")
        if c - d * e <= 0:
            raise CaptureError(
                "the affine part turns the image over", where=self.model, expected="c - d e > 0", got=[c, d, e]
            )
        if self.widest == 0:
            got = self.params[5:].tolist()
            raise CaptureError("the radius does not grow from the axis outwards", where=self.model, got=got)

    @property
    def intrinsics(self) -> tuple[Scalar, Scalar, torch.Tensor, torch.Tensor]:
        """1, 1 and the centre, column first: lengths are in pixels throughout."""
        return 1.0, 1.0, self._named["cy"], self._named["cx"]

    @cached_property
    def widest(self) -> float:
        """The angle from the axis [rad] up to which R grows, at most half a turn."""
        above_plane = Polynomial([number(a) for a in self._series])
        by_angle = above_plane(Polynomial([-math.pi / 2, 1.0]))
        return min(math.pi, first_root(by_angle.deriv().coef.tolist(), math.pi))

    @cached_property
    def valid_radius(self) -> float:
        """R at the widest angle."""
        return float(self._curve(torch.tensor(self.widest, dtype=torch.float64))[0].detach())

    @property
    def _series(self) -> tuple[torch.Tensor, ...]:
        return self.params[5:].unbind()

    def _curve(self, angle: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return horner(self._series, angle - math.pi / 2)

    def radius(self, sine: torch.Tensor, cosine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """R, where it is not negative and up to the widest angle."""
        angle = torch.atan2(sine, cosine)
        radius, slope = self._curve(angle)
        return radius, slope, (angle <= self.widest) & (radius >= 0)

    def incline(self, radius: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the angle, at most the widest."""
        angle = solve_growing(self._curve, radius, self.widest)
        return torch.sin(angle), torch.cos(angle)

    def distort(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The affine part."""
        (a, b), (c, d) = self.distortion_jacobian(x, y)
        return a * x + b * y, c * x + d * y

    def distortion_jacobian(self, x: torch.Tensor, y: torch.Tensor) -> Matrix2:
        """(1, e), (d, c)."""
        named = self._named
        return (x.new_ones(()), named["e"].to(x)), (named["d"].to(x), named["c"].to(x))

    def undistort(self, u: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The affine part taken back, within the valid radius."""
        (a, b), (c, d) = self.distortion_jacobian(u, v)
        determinant = a * d - b * c
        return super().undistort((d * u - b * v) / determinant, (a * v - c * u) / determinant)
