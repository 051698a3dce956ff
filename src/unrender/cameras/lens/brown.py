"""Perspective lenses with distortion as COLMAP and OpenCV write it: radial and tangential, Brown (1966)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unrender.cameras.lens.central import TWO_FOCAL, Perspective, Scalar
from unrender.cameras.lens.distortion import Distorted

__all__ = ["Brown", "FullOpenCV", "OpenCV", "Radial", "SimpleRadial"]


@dataclass(frozen=True, eq=False)
class Brown(Distorted, Perspective):
    """Base of the lenses with k1, k2, p1, p2: subclasses say which of the four they have."""

    @property
    def coefficients(self) -> tuple[Scalar, Scalar, Scalar, Scalar]:
        """k1, k2, p1, p2; those that the model lacks are 0."""
        k1, k2, *_ = (*self._terms(self.radial), 0.0)
        p1, p2, *_ = (*self._terms(self.tangential), 0.0, 0.0)
        return k1, k2, p1, p2


@dataclass(frozen=True, eq=False)
class SimpleRadial(Brown):
    """One focal length and k1, which COLMAP calls k."""

    model: ClassVar[str] = "SIMPLE_RADIAL"
    parameter_names: ClassVar[tuple[str, ...]] = ("f", "cx", "cy", "k")
    radial: ClassVar[tuple[str, ...]] = ("k",)


@dataclass(frozen=True, eq=False)
class Radial(Brown):
    """One focal length, k1 and k2."""

    model: ClassVar[str] = "RADIAL"
    parameter_names: ClassVar[tuple[str, ...]] = ("f", "cx", "cy", "k1", "k2")
    radial: ClassVar[tuple[str, ...]] = ("k1", "k2")


@dataclass(frozen=True, eq=False)
class OpenCV(Brown):
    """Two focal lengths, k1, k2 and the tangential p1, p2."""

    model: ClassVar[str] = "OPENCV"
    parameter_names: ClassVar[tuple[str, ...]] = (*TWO_FOCAL, "k1", "k2", "p1", "p2")
    radial: ClassVar[tuple[str, ...]] = ("k1", "k2")
    tangential: ClassVar[tuple[str, ...]] = ("p1", "p2")


@dataclass(frozen=True, eq=False)
class FullOpenCV(Distorted, Perspective):
    """Two focal lengths, the tangential p1, p2, and (1 + k1 s + k2 s^2 + k3 s^3) / (1 + k4 s + k5 s^2 + k6 s^3)."""

    model: ClassVar[str] = "FULL_OPENCV"
    parameter_names: ClassVar[tuple[str, ...]] = (*TWO_FOCAL, "k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
    radial: ClassVar[tuple[str, ...]] = ("k1", "k2", "k3")
    divisor: ClassVar[tuple[str, ...]] = ("k4", "k5", "k6")
    tangential: ClassVar[tuple[str, ...]] = ("p1", "p2")
