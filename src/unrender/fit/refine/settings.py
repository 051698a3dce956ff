"""What a fit may move besides appearance, and from when on."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from unrender.errors import SettingsError
from unrender.kernels.rasterize_points.spatial import Moves
from unrender.render.settings import SpatialGradient

__all__ = ["FAMILIES", "PHOTOMETRY", "STRUCTURE", "RefineSettings", "family_of", "named_families"]

PHOTOMETRY = ("exposure", "white_point", "vignette", "response")
"""How the photos recorded light."""
STRUCTURE = ("poses", "lens", "points")
"""Where things are and how light got there."""
FAMILIES = (*PHOTOMETRY, *STRUCTURE)
_PREFIXES = {"points": "scene.points.position"} | {name: f"cameras.{name}" for name in FAMILIES if name != "points"}


@dataclass(frozen=True)
class RefineSettings:
    """``what``: families that are refined; the others stay as the capture has them.

    ``poses``, ``lens``, ``points``: share of the fit after which each begins to move (photometry: ``unlock``);
    ``along``: points move along all axes or along their normal only;
    ``kept_back``: share of the pixels of every photo that no step looks at while structure is refined, by which
    refinement is judged; ``judged``: share of the fit after which what made these worse is taken back; ``settled``:
    share after which structure is judged once more and stays as it is, while appearance is fitted on, to all pixels;
    ``least_gain``: decibels of the kept-back pixels that refined poses must bring to stay, as right ones bring some by
    mere habit (0: none);
    ``coarse``: share of the refinement during which the derivatives of fine layers fade in; ``spatial``, ``moves``: see
    ``PointRasterSettings``.
    """

    what: tuple[str, ...] = PHOTOMETRY
    poses: float = 0.1
    lens: float = 0.2
    points: float = 0.3
    along: Literal["all", "normal"] = "normal"
    kept_back: float = 0.05
    judged: float = 0.6
    settled: float = 0.85
    least_gain: float = 0.3
    coarse: float = 0.0
    spatial: SpatialGradient = "ghosts"
    moves: Moves = "together"

    def __post_init__(self) -> None:
        for name in self.what:
            if name not in FAMILIES:
                raise _unknown(name)
        for name in ("poses", "lens", "points", "kept_back", "judged", "settled", "coarse"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"refine.{name}", expected="0 to 1", got=getattr(self, name))
        if self.least_gain < 0:
            raise SettingsError("refine.least_gain", expected="0 dB or more", got=self.least_gain)
        if self.settled == 0:
            raise SettingsError("refine.settled", expected="more than 0", got=self.settled)

    @property
    def structure(self) -> tuple[str, ...]:
        """The families of ``STRUCTURE`` that are refined, in the order in which they are unlocked."""
        return tuple(sorted((name for name in STRUCTURE if name in self.what), key=lambda name: getattr(self, name)))

    def begins(self, family: str, photometry: float) -> float:
        """Share of the fit after which a family may move; ``photometry``: that of all its families."""
        return getattr(self, family) if family in STRUCTURE else photometry


def family_of(name: str) -> str | None:
    """The family of a parameter's dotted name; None for appearance, which is always fitted."""
    return next((family for family, prefix in _PREFIXES.items() if name.startswith(prefix)), None)


def named_families(words: str) -> tuple[str, ...]:
    """The families that a user names: ``all``, ``none``, or names with commas, ``photometry`` for its four.

    Raises SettingsError for a word that is none.
    """
    groups = {"all": FAMILIES, "none": (), "photometry": PHOTOMETRY} | {name: (name,) for name in FAMILIES}
    chosen: list[str] = []
    for word in words.split(","):
        if word.strip() not in groups:
            raise _unknown(word.strip())
        chosen += groups[word.strip()]
    return tuple(name for name in FAMILIES if name in chosen)


def _unknown(name: str) -> SettingsError:
    known = ("all", "none", "photometry", *FAMILIES)
    nearest = difflib.get_close_matches(name, known, n=1)
    do = f"did you mean {nearest[0]!r}?" if nearest else None
    return SettingsError(f"nothing to refine is called {name!r}", expected=", ".join(known), do=do)
