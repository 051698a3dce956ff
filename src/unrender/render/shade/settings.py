"""What a shading network can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from unrender.errors import SettingsError

__all__ = ["DecoderSettings", "Head", "NetworkSettings", "Precision", "UNetSettings"]

Precision = Literal["auto", "float32", "bfloat16"]
Head = Literal["auto", "linear", "log"]


@dataclass(frozen=True)
class NetworkSettings:
    """What both networks share.

    ``channels``: D, the features of a point.
    ``head``: what the last layer's output means. ``linear`` (ADOP): radiance above mid-grey, and its logarithm below,
    so that radiance stays positive and shadows keep their relative precision. ``log``: the logarithm up to 10^4
    times mid-grey, for scenes of many stops, where a network that must output 1000 beside 0.001 learns neither; where
    descriptors are logarithms it then reads features as logarithms too. ``auto``: ``log`` where descriptors are
    logarithms, else ``linear``.
    ``skip``: add the network's output to the filled-up colours of the points instead of painting from nothing. The
    first step is then close already, which pays for short fits of clean, dense clouds (descriptors must start as
    radiance, and D >= 3); noise of poor clouds comes through, and a long fit ends better without.
    ``precision``: of the convolutions; parameters, input and output are float32. ``auto`` computes in float32 until
    somebody has measured which one is faster here (``faster_precision``); a new run does so and writes it down.
    """

    channels: int = 4
    head: Head = "auto"
    precision: Precision = "auto"
    skip: bool = False

    def __post_init__(self) -> None:
        if self.skip and self.channels < 3:
            raise SettingsError("skip reads colours", expected="channels >= 3", got=self.channels)
        if self.channels < 1:
            raise SettingsError(
                "a network needs at least one feature channel", expected="channels >= 1", got=self.channels
            )
        if self.head not in get_args(Head):
            raise SettingsError("unknown head", expected=" or ".join(get_args(Head)), got=self.head)
        if self.precision not in get_args(Precision):
            raise SettingsError("unknown precision", expected=" or ".join(get_args(Precision)), got=self.precision)


@dataclass(frozen=True)
class UNetSettings(NetworkSettings):
    """The gated U-Net of ADOP; ``widths`` are the feature channels per level, finest first (574,651 parameters)."""

    widths: tuple[int, ...] = (16, 32, 64, 128)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.widths or self.widths[0] < 1 or any(width <= self.channels for width in self.widths[1:]):
            raise SettingsError(
                "a level must be wider than the features that it reads",
                where="widths",
                expected=f"every width after the first > {self.channels}",
                got=self.widths,
            )

    @property
    def levels(self) -> int:
        """L: how many pyramid layers the network reads."""
        return len(self.widths)


@dataclass(frozen=True)
class DecoderSettings(NetworkSettings):
    """The small decoder of TRIPS; ``width`` feature channels at each of ``levels`` levels (59,675 parameters)."""

    levels: int = 5
    width: int = 24

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.levels < 1 or self.width < 1:
            raise SettingsError("a decoder needs levels and width >= 1", got=(self.levels, self.width))
