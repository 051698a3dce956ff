"""What a renderer can be told. Every field has a default that works."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from unrender.errors import SettingsError
from unrender.kernels.rasterize_points.spatial import Moves

__all__ = ["PointRasterSettings", "SpatialGradient"]

SpatialGradient = Literal["none", "ghosts", "rendered", "both"]
"""Which points say how the image changes when positions, poses or lenses do."""


@dataclass(frozen=True)
class PointRasterSettings:
    """One-pixel point rasterisation.

    ``layers``: L of the pyramid; ``alpha``: relative width of the fuzzy depth band (Eq. 6);
    ``gamma``: density of stochastic discarding (Eq. 12), None draws every point in every layer;
    ``ghosts``: share of points left out of each view at random while training (section IV-C), 0 when looking.

    ``spatial``: which points carry the derivative by positions, poses and lenses when one of them requires it: the
    ``ghosts``, the ``rendered`` rest, ``both`` or ``none``. ``moves``: how a point's move is judged, ``together`` with
    its surface, ``alone`` (Eq. 11 as printed) or always in front (``replace``), see ``kernels/rasterize_points``.
    ``slope``: for moves together, tangent of the steepest tilt against the image plane that is still one surface;
    ``coarse``: 0 takes the derivative of all layers, 1 that of the coarsest alone, between them the finer ones fade in.
    """

    layers: int = 5
    alpha: float = 0.01
    gamma: float | None = 1.5
    ghosts: float = 0.0
    spatial: SpatialGradient = "ghosts"
    moves: Moves = "together"
    slope: float = 4.0
    coarse: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.layers <= 12:
            raise SettingsError("layers out of range", expected="1 to 12", got=self.layers)
        if self.alpha < 0:
            raise SettingsError("alpha must not be negative", got=self.alpha)
        if self.gamma is not None and self.gamma <= 0:
            raise SettingsError("gamma must be positive or None", got=self.gamma)
        if not 0 <= self.ghosts < 1:
            raise SettingsError("ghosts out of range", expected="0 <= ghosts < 1", got=self.ghosts)
        if not 0 <= self.coarse <= 1:
            raise SettingsError("coarse out of range", expected="0 to 1", got=self.coarse)
        if self.slope < 0:
            raise SettingsError("slope must not be negative", got=self.slope)
        for name, choices in (("spatial", get_args(SpatialGradient)), ("moves", get_args(Moves))):
            if getattr(self, name) not in choices:
                raise SettingsError(
                    f"unknown {name}", expected=f"one of: {', '.join(choices)}", got=getattr(self, name)
                )
