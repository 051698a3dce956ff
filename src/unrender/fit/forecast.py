"""What to fit a capture with on this machine: a width that it has the memory for, how long, and at which pace.

The pace is measured: a few steps of a fit are made, on the photos of the capture and on as many points as a fit would
start with, but points that are only strewn about those of the cloud. Finding the real ones takes minutes, and a step's
time hardly depends on where they are.
"""

from __future__ import annotations

import statistics
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from unrender.datasets.capture import Capture
from unrender.fit.crops import view_order
from unrender.fit.fit import Fit, measured
from unrender.fit.memory import MemoryNeed, available_memory, predict_memory
from unrender.fit.settings import LEAST_WIDTH, FitSettings
from unrender.initialize.environment import environment_size
from unrender.messages import Stepped
from unrender.render.model import Model
from unrender.render.shade.network import NetworkShader
from unrender.scenes.points import PointScene

__all__ = ["Forecast", "forecast", "measure_pace"]

_WIDTHS = (640, 448, 320, 224)
"""Working widths that a processor fits in minutes; a GPU would take more."""
_SECONDS_A_PHOTO, _LEAST_MINUTES, _MOST_MINUTES = 10, 5, 60
"""Fits of the project's own benchmarks: 97 photos in 15 minutes, 32 in 2 to 5."""
_APART = 1.0
"""Stops between exposures above which it pays to start the sensor from photos of the same points."""
_STEPS = 7


@dataclass(frozen=True)
class Forecast:
    """``width`` [pixels] and ``minutes`` that are suggested; ``settings``: others, by dotted name, for --config;
    ``need``: memory at that width; ``available``: bytes; ``step``: seconds for one, NaN when it was not measured.
    """

    width: int
    minutes: int
    settings: dict[str, object]
    need: MemoryNeed
    available: int
    step: float

    @property
    def steps(self) -> float:
        """How many steps the minutes hold, NaN when the pace was not measured."""
        return 60 * self.minutes / self.step

    @property
    def fits(self) -> bool:
        """Whether there is the memory for it."""
        return self.need.peak <= self.available


def forecast(capture: Capture, *, pace: bool = True) -> Forecast:
    """Suggest how to fit ``capture`` here; ``pace``: also measure how long a step takes, some seconds of work."""
    narrowest, available = int(capture.cameras.sizes[:, 1].min()), available_memory()
    widths = [width for width in (min(narrowest, _WIDTHS[0]), *_WIDTHS[1:]) if width <= narrowest]
    base = _suggested(capture)
    cases = [(replace(base, width=max(width, LEAST_WIDTH)), capture.at_width(width)) for width in widths]
    fitting = [case for case in cases if predict_memory(case[1], case[0]).peak <= available]
    settings, small = (fitting or cases[-1:])[0]
    return Forecast(
        width=int(small.cameras.sizes[:, 1].min()),
        minutes=min(_MOST_MINUTES, max(_LEAST_MINUTES, round(_SECONDS_A_PHOTO * len(capture) / 60))),
        settings={"radiometry": True} if base.radiometry else {},
        need=predict_memory(small, settings),
        available=available,
        step=measure_pace(small, settings) if pace and fitting else float("nan"),
    )


def measure_pace(capture: Capture, settings: FitSettings, steps: int = _STEPS) -> float:
    """Seconds that a step of a fit takes here and now: the median of ``steps``, after one that warms up."""
    settings = replace(measured(settings, capture), steps=steps + 1, minutes=None, radiometry=False)
    for view in view_order(capture.train, 0, settings.seed)[: settings.crop.batch * (steps + 1)]:
        capture.image(view)  # a fit decodes each photo once and keeps it
    shader = NetworkShader(settings.network, seed=settings.seed)
    cameras = replace(capture.cameras, sensor=deepcopy(capture.cameras.sensor))  # a fit steps it in place
    fit = Fit(Model(_strewn(capture, settings), shader, cameras, settings.raster), capture, settings)
    moments = [message.elapsed for message in fit.run() if isinstance(message, Stepped)]
    return statistics.median(after - before for before, after in pairwise(moments))


def _suggested(capture: Capture) -> FitSettings:
    known = capture.exif_ev[capture.exif_ev.isfinite()]
    apart = len(known) > 1 and float(known.max() - known.min()) > _APART
    return FitSettings(radiometry=apart or len(known) < len(capture))


def _strewn(capture: Capture, settings: FitSettings) -> PointScene:
    """As many points as a fit starts with, scattered about those of the cloud."""
    cloud, chance = capture.points.positions, torch.Generator().manual_seed(settings.seed)
    count, channels = max(len(cloud), settings.points.count), settings.points.channels
    parents = cloud[torch.randint(len(cloud), (count,), generator=chance)]
    origin, extent = cloud.median(dim=0).values, cloud.std(dim=0).mean().clamp(min=1e-12)
    apart = float(extent) / count**0.5
    return PointScene(
        origin=origin,
        position=(parents - origin).float() + apart * torch.randn(count, 3, generator=chance),
        normal=torch.zeros(count, 3),
        radius=torch.full((count,), apart),
        threshold=torch.rand(count, generator=chance),
        descriptors=torch.rand(count, channels, generator=chance),
        environment=torch.full((channels, *environment_size(capture.cameras, capture.train)), 0.5),
    )
