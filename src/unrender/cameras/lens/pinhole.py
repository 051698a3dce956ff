"""Pinholes: the perspective lenses without distortion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unrender.cameras.lens.central import Perspective

__all__ = ["Pinhole", "SimplePinhole"]


@dataclass(frozen=True, eq=False)
class SimplePinhole(Perspective):
    """One focal length, no distortion."""

    model: ClassVar[str] = "SIMPLE_PINHOLE"
    parameter_names: ClassVar[tuple[str, ...]] = ("f", "cx", "cy")


@dataclass(frozen=True, eq=False)
class Pinhole(Perspective):
    """Two focal lengths, no distortion."""

    model: ClassVar[str] = "PINHOLE"
    parameter_names: ClassVar[tuple[str, ...]] = ("fx", "fy", "cx", "cy")
