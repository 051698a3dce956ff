"""Everything a fit can be told, as one frozen tree that is written into the run and read back from it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

from unrender.cameras.response import family as response_family
from unrender.cameras.white import numbers_of
from unrender.errors import SettingsError
from unrender.fit.refine.settings import RefineSettings
from unrender.initialize.points import PointSettings
from unrender.losses import LossSettings
from unrender.render.settings import PointRasterSettings
from unrender.render.shade.network import DecoderSettings, UNetSettings

__all__ = ["DEFAULT_STEPS", "LEAST_WIDTH", "MOST_SEED", "MOVABLE", "CropSettings", "FitSettings", "SensorSettings"]

DEFAULT_STEPS = 5000
MOST_SEED = 2**40
"""Step s draws from a generator seeded with ``seed * 1_000_003 + s``, which must fit into 64 bits."""
LEAST_WIDTH = 16
"""Of a photo [pixels]: as of a crop, and enough for the windows that it is scored with."""
MOVABLE = ("steps", "minutes", "on_nonfinite", "checkpoint_every", "photo_memory")
"""Settings that a run may change after it began: when it ends and how it is kept, not what it computes."""


@dataclass(frozen=True)
class CropSettings:
    """Which part of a photo a step looks at.

    ``size``: edge of the square crop [working pixels], cut down to the photo where that is smaller;
    ``zoom``: least and greatest enlargement of the photo, drawn log-uniformly; ``batch``: crops per step.
    """

    size: int = 256
    zoom: tuple[float, float] = (0.75, 1.5)
    batch: int = 1

    def __post_init__(self) -> None:
        if self.size < 16:
            raise SettingsError("crop.size", expected="16 pixels or more", got=self.size)
        if self.batch < 1:
            raise SettingsError("crop.batch", expected="1 or more", got=self.batch)
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise SettingsError("crop.zoom", expected="0 < least <= greatest", got=list(self.zoom))


@dataclass(frozen=True)
class SensorSettings:
    """How the sensor is described, see docs/sensor.md.

    ``response``: family of its curves, a name of ``cameras.response.FAMILIES``; ``color``: ``white_point`` (two numbers
    a photo) or ``homography`` of chromaticities (eight); ``vignette_per_channel``: three vignettes a camera, not one.
    """

    response: Literal["knots", "gamma", "emor", "ppisp"] = "knots"
    color: Literal["white_point", "homography"] = "white_point"
    vignette_per_channel: bool = False

    def __post_init__(self) -> None:
        response_family(self.response)
        numbers_of(self.color)


def _rates() -> dict[str, float]:
    return {
        "scene.points.descriptors": 0.02,
        "scene.environment": 0.01,
        "shader.network": 3e-3,
        "cameras.exposure": 4e-3,
        "cameras.white_point": 1e-3,
        "cameras.vignette": 1e-3,
        "cameras.response": 1e-2,
        "cameras.poses": 0.4,  # of what is structure: pixels per step
        "cameras.lens": 0.02,
        "scene.points.position": 0.02,
    }


@dataclass(frozen=True)
class FitSettings:
    """A fit ends after ``steps`` steps (``DEFAULT_STEPS``), or after ``minutes`` minutes when that is given instead.

    ``rates``: Adam's step size per dotted parameter name or prefix (the longest prefix holds; 0 keeps it fixed);
    ``unlock``: share of the fit after which the ``cameras.*`` parameters start to move;
    ``refine``: which families of numbers beside appearance move, see ``RefineSettings``;
    ``sensor``: see ``SensorSettings``;
    ``radiometry``: start exposures, white points, vignette and response from what photos of the same points say, see
    ``initialize/radiometry.py``; None: where EXIF's exposures differ enough to hold the contrast, and all of these are
    refined; ``measured_rate``: factor of the rates of what was started so: a network that still learns would pull it
    away; ``response_prior``: weight of the response's smoothness;
    ``decay``: factor that the rates have fallen to at the end (cosine);
    ``alpha``, ``gamma``, ``ghosts``: see ``PointRasterSettings``;
    ``width``: working width of the photos [pixels], None keeps the photos' own;
    ``on_nonfinite``: whether a step whose loss or gradient is not finite ends the fit or is left out;
    ``checkpoint_every``: seconds; ``photo_memory``: decoded photos that are kept [MiB].
    """

    width: int | None = None
    steps: int | None = None
    minutes: float | None = None
    seed: int = 0
    crop: CropSettings = field(default_factory=CropSettings)
    points: PointSettings = field(default_factory=PointSettings)
    alpha: float = PointRasterSettings.alpha
    gamma: float | None = PointRasterSettings.gamma
    network: DecoderSettings | UNetSettings = field(default_factory=DecoderSettings)
    loss: LossSettings = field(default_factory=LossSettings)
    rates: Mapping[str, float] = field(default_factory=_rates)
    unlock: float = 0.05
    decay: float = 0.02
    ghosts: float = 0.25
    refine: RefineSettings = field(default_factory=RefineSettings)
    sensor: SensorSettings = field(default_factory=SensorSettings)
    radiometry: bool | None = None
    measured_rate: float = 0.0
    response_prior: float = 0.1
    on_nonfinite: Literal["stop", "skip"] = "stop"
    checkpoint_every: float = 60.0
    photo_memory: int = 1024

    def __post_init__(self) -> None:
        for name, value in self.leaves().items():
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(math.isfinite(number) for number in numbers if isinstance(number, float)):
                raise SettingsError(name, expected="finite numbers", got=value)
        if not 0 <= self.seed <= MOST_SEED:
            raise SettingsError("seed", expected=f"0 to {MOST_SEED}", got=self.seed)
        if self.steps is not None and self.minutes is not None:
            raise SettingsError(
                "steps and minutes exclude each other", got=f"steps {self.steps}, minutes {self.minutes}"
            )
        for name, amount in (("steps", self.steps), ("minutes", self.minutes)):
            if amount is not None and amount <= 0:
                raise SettingsError(f"{name} must be positive", got=amount)
        for name, least in (("checkpoint_every", self.checkpoint_every), ("photo_memory", self.photo_memory)):
            if least < 0:
                raise SettingsError(name, expected="0 or more", got=least)
        for name, share in (
            ("unlock", self.unlock),
            ("decay", self.decay),
            ("ghosts", self.ghosts),
            ("measured_rate", self.measured_rate),
        ):
            if not 0 <= share <= 1:
                raise SettingsError(name, expected="0 to 1", got=share)
        if self.width is not None and self.width < LEAST_WIDTH:
            raise SettingsError("width", expected=f"{LEAST_WIDTH} pixels or more", got=self.width)
        if self.points.channels != self.network.channels:
            expected = f"points.channels = {self.network.channels}, as the network reads"
            raise SettingsError("points and network differ", expected=expected, got=self.points.channels)
        if self.refine.structure and self.refine.spatial == "ghosts" and self.ghosts == 0:
            raise SettingsError("ghosts", expected='more than 0, as refine.spatial = "ghosts" asks', got=self.ghosts)
        _ = self.raster  # refuses what it cannot be told

    def leaves(self) -> dict[str, Any]:
        """Every single setting under its dotted name."""
        return dict(_leaves(self))

    @property
    def raster(self) -> PointRasterSettings:
        """How the scene is rasterised: as many layers as the network reads, and no ghosts."""
        return PointRasterSettings(layers=self.network.levels, alpha=self.alpha, gamma=self.gamma)


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if is_dataclass(value):
        value = {entry.name: getattr(value, entry.name) for entry in fields(value)}
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _leaves(entry, f"{name}.{key}" if name else str(key))
    else:
        yield name, value
