"""Fisheyes: distance from the centre is the angle from the axis, perhaps distorted (Kannala and Brandt 2006).

COLMAP evaluates these for z > 0 only. The formulas do not end there, and nor do we: a lens sees as far round as its
radial part grows, at most to straight behind.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch

from unrender.cameras.lens.calibrated import number
from unrender.cameras.lens.central import TWO_FOCAL, Axial
from unrender.cameras.lens.distortion import Distorted
from unrender.cameras.lens.radial import first_root, horner, solve_growing

__all__ = [
    "Equidistant",
    "Fisheye",
    "OpenCVFisheye",
    "RadTanThinPrismFisheye",
    "RadialFisheye",
    "SimpleFisheye",
    "SimpleRadialFisheye",
    "ThinPrismFisheye",
]


@dataclass(frozen=True, eq=False)
class Equidistant(Axial):
    """Base: R = angle."""

    @property
    def chart_reach(self) -> float:
        """Half a turn."""
        return math.pi

    def radius(self, sine: torch.Tensor, cosine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The angle."""
        angle = torch.atan2(sine, cosine)
        return angle, torch.ones_like(angle), angle >= 0

    def incline(self, radius: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the angle, at most half a turn."""
        angle = radius.clamp(max=math.pi)
        return torch.sin(angle), torch.cos(angle)


@dataclass(frozen=True, eq=False)
class SimpleFisheye(Equidistant):
    """One focal length, no distortion."""

    model: ClassVar[str] = "SIMPLE_FISHEYE"
    parameter_names: ClassVar[tuple[str, ...]] = ("f", "cx", "cy")


@dataclass(frozen=True, eq=False)
class Fisheye(Equidistant):
    """Two focal lengths, no distortion."""

    model: ClassVar[str] = "FISHEYE"
    parameter_names: ClassVar[tuple[str, ...]] = TWO_FOCAL


@dataclass(frozen=True, eq=False)
class SimpleRadialFisheye(Distorted, Equidistant):
    """One focal length and k1, which COLMAP calls k."""

    model: ClassVar[str] = "SIMPLE_RADIAL_FISHEYE"
    parameter_names: ClassVar[tuple[str, ...]] = ("f", "cx", "cy", "k")
    radial: ClassVar[tuple[str, ...]] = ("k",)


@dataclass(frozen=True, eq=False)
class RadialFisheye(Distorted, Equidistant):
    """One focal length, k1 and k2."""

    model: ClassVar[str] = "RADIAL_FISHEYE"
    parameter_names: ClassVar[tuple[str, ...]] = ("f", "cx", "cy", "k1", "k2")
    radial: ClassVar[tuple[str, ...]] = ("k1", "k2")


@dataclass(frozen=True, eq=False)
class OpenCVFisheye(Distorted, Equidistant):
    """Two focal lengths and k1 to k4."""

    model: ClassVar[str] = "OPENCV_FISHEYE"
    parameter_names: ClassVar[tuple[str, ...]] = (*TWO_FOCAL, "k1", "k2", "k3", "k4")
    radial: ClassVar[tuple[str, ...]] = ("k1", "k2", "k3", "k4")


@dataclass(frozen=True, eq=False)
class ThinPrismFisheye(Distorted, Equidistant):
    """k1 to k4, the tangential p1, p2 and a prism sx1, sy1, all in the undistorted angle (Weng et al. 1992)."""

    model: ClassVar[str] = "THIN_PRISM_FISHEYE"
    parameter_names: ClassVar[tuple[str, ...]] = (*TWO_FOCAL, "k1", "k2", "p1", "p2", "k3", "k4", "sx1", "sy1")
    radial: ClassVar[tuple[str, ...]] = ("k1", "k2", "k3", "k4")
    tangential: ClassVar[tuple[str, ...]] = ("p1", "p2")
    prism: ClassVar[tuple[str, ...]] = ("sx1", "sy1")


@dataclass(frozen=True, eq=False)
class RadTanThinPrismFisheye(Distorted, Axial):
    """k0 to k5 first, R = angle (1 + k0 angle^2 + ...), and the tangential and prism terms after it.

    Project Aria's lens, where p0 goes with u and p1 with v: the other way round than p1 and p2 of the others.
    """

    model: ClassVar[str] = "RAD_TAN_THIN_PRISM_FISHEYE"
    parameter_names: ClassVar[tuple[str, ...]] = (
        *TWO_FOCAL,
        "k0",
        "k1",
        "k2",
        "k3",
        "k4",
        "k5",
        "p0",
        "p1",
        "s0",
        "s1",
        "s2",
        "s3",
    )
    tangential: ClassVar[tuple[str, ...]] = ("p1", "p0")
    prism: ClassVar[tuple[str, ...]] = ("s0", "s2", "s1", "s3")

    @cached_property
    def widest(self) -> float:
        """The angle [rad] up to which R grows, at most half a turn."""
        powers = [1.0]
        for order, coefficient in enumerate(self._bends, start=1):
            powers += [0.0, (2 * order + 1) * number(coefficient)]
        return min(math.pi, first_root(powers, math.pi))

    @property
    def chart_reach(self) -> float:
        """R there."""
        return number(self._curve_of_angle(torch.tensor(self.widest, dtype=torch.float64))[0])

    @property
    def _bends(self) -> tuple[torch.Tensor, ...]:
        return self._terms(("k0", "k1", "k2", "k3", "k4", "k5"))

    def _curve_of_angle(self, angle: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        square = angle * angle
        growth, slope = horner((1.0, *self._bends), square)
        return angle * growth, growth + 2 * square * slope

    def radius(self, sine: torch.Tensor, cosine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """R, up to the widest angle."""
        angle = torch.atan2(sine, cosine)
        return *self._curve_of_angle(angle), angle <= self.widest

    def incline(self, radius: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the angle, at most the widest."""
        angle = solve_growing(self._curve_of_angle, radius, self.widest)
        return torch.sin(angle), torch.cos(angle)
