"""What a renderer can be told. Every field has a default that works."""

from __future__ import annotations

from dataclasses import dataclass

from unrender.errors import SettingsError

__all__ = ["PointRasterSettings"]


@dataclass(frozen=True)
class PointRasterSettings:
    """One-pixel point rasterisation.

    ``layers``: L of the pyramid; ``alpha``: relative width of the fuzzy depth band (Eq. 6);
    ``gamma``: density of stochastic discarding (Eq. 12), None draws every point in every layer;
    ``ghosts``: share of points left out of each view at random while training (section IV-C), 0 when looking.
    """

    layers: int = 5
    alpha: float = 0.01
    gamma: float | None = 1.5
    ghosts: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.layers <= 12:
            raise SettingsError("layers out of range", expected="1 to 12", got=self.layers)
        if self.alpha < 0:
            raise SettingsError("alpha must not be negative", got=self.alpha)
        if self.gamma is not None and self.gamma <= 0:
            raise SettingsError("gamma must be positive or None", got=self.gamma)
        if not 0 <= self.ghosts < 1:
            raise SettingsError("ghosts out of range", expected="0 <= ghosts < 1", got=self.ghosts)
