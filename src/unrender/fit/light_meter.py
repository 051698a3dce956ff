"""An automatic exposure learnt from one run: from what light a view sees to the EV that its camera would have chosen.

With the scene frozen, each training view is rendered small and its log luminance is summed up in a few numbers, as a
camera's meter does. Ridge regression on them foretells the EV that was fitted to the photo; how strong the ridge is
follows from leaving each photo out. All in float64 and without chance. (PPISP, arXiv 2601.18336, has a small network in
its place; a few dozen photos do not ask for one.) Letters: V training views, F = 9 readings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from unrender.cameras.camera import Cameras
from unrender.images.colour import luminance
from unrender.render.model import Model

__all__ = ["READINGS", "RIDGES", "LightMeter", "meter", "readings"]

READINGS = (
    "mean",
    "mean, centre-weighted",
    "log of the mean",
    "log of the mean, centre-weighted",
    "5th percentile",
    "25th percentile",
    "median",
    "75th percentile",
    "95th percentile",
)
"""What is read of a view's log2 luminance [stops]."""
RIDGES = tuple(10.0**power for power in range(-3, 6))
"""From which the ridge is chosen; the strongest leaves little but the mean."""
_EDGE = 160
"""Length of the longer side that views are metered at, at most [pixels]."""
_DARKEST = 2.0**-14
"""Luminance that counts as black: what is below says nothing to an exposure."""
_PERCENTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_CENTRAL = 1.5
_LEAST_VIEWS = 3
_BEYOND = 1.0


def readings(radiance: torch.Tensor) -> torch.Tensor:
    """``READINGS`` of linear radiance [3, H, W]: [F] float64."""
    light = luminance(radiance.double())[0].clamp(min=_DARKEST)
    height, width = light.shape
    v, u = (torch.linspace(-1, 1, length, dtype=light.dtype, device=light.device) for length in (height, width))
    weight = torch.exp(-_CENTRAL * (v[:, None] ** 2 + u**2))
    weight = weight / weight.sum()
    stops = light.log2()
    places = torch.tensor(_PERCENTILES, dtype=light.dtype, device=light.device)
    means = torch.stack([stops.mean(), (weight * stops).sum(), light.mean().log2(), (weight * light).sum().log2()])
    return torch.cat([means, stops.flatten().quantile(places)]).cpu()


def meter(model: Model, cameras: Cameras) -> Iterator[torch.Tensor]:
    """Readings [F] of each view of ``cameras``, one by one: rendered small, whatever their own size.

    The longer side has 160 pixels, or as many as the model's own views where these have fewer: what a network makes of
    points depends on how large it draws them, so that all are metered alike.
    """
    small = _sized(cameras, min(_EDGE, int(model.cameras.sizes.max())))
    for view in range(len(small)):
        with torch.no_grad():
            radiance = model.radiance(small.select([view]))[0]
        yield readings(radiance)


@dataclass(frozen=True, eq=False)
class LightMeter:
    """EV = mean + ((readings - center) / spread) slope, with ``center``, ``spread``, ``slope`` [F] float64.

    ``limits``: the least and greatest EV that it chooses, a stop beyond those it was learnt from; ``ridge``: how
    strongly the slope was held down; ``left_out`` [V]: EV of each training view as the meter foretells it that was
    learnt from the others (by the hat matrix, which is exact but for ``spread``, taken over all).
    """

    center: torch.Tensor
    spread: torch.Tensor
    slope: torch.Tensor
    mean: float
    limits: tuple[float, float]
    ridge: float
    left_out: torch.Tensor

    @classmethod
    def learn(cls, readings: torch.Tensor, ev: torch.Tensor) -> LightMeter | None:
        """From ``readings`` [V, F] and fitted ``ev`` [V]; None from fewer than three views, which leave nothing to
        check by. More numbers to learn than views is what the ridge is for.
        """
        if len(ev) < _LEAST_VIEWS:
            return None
        ev = ev.double()
        center, spread = readings.mean(dim=0), readings.std(dim=0, correction=0)
        spread = torch.where(spread > 1e-9, spread, torch.ones_like(spread))
        scaled = (readings - center) / spread
        foretold = {ridge: _left_out(scaled, ev, ridge) for ridge in reversed(RIDGES)}
        best = min(foretold, key=lambda ridge: float((foretold[ridge] - ev).square().sum()))
        slope = _solved(scaled, best) @ (ev - ev.mean())
        limits = (float(ev.min()) - _BEYOND, float(ev.max()) + _BEYOND)
        return cls(center, spread, slope, float(ev.mean()), limits, best, foretold[best])

    def ev(self, readings: torch.Tensor) -> torch.Tensor:
        """EV [B] float64 for readings [B, F]; the mean where they are not finite."""
        ev = self.mean + ((readings - self.center) / self.spread) @ self.slope
        return torch.where(ev.isfinite(), ev, self.mean).clamp(*self.limits)


def _solved(scaled: torch.Tensor, ridge: float) -> torch.Tensor:
    """The matrix [F, V] that makes a slope of centred EVs."""
    penalty = ridge * torch.eye(scaled.shape[1], dtype=scaled.dtype)
    return torch.linalg.solve(scaled.T @ scaled + penalty, scaled.T)


def _left_out(scaled: torch.Tensor, ev: torch.Tensor, ridge: float) -> torch.Tensor:
    """EV of each view from all others, [V]: ev - residual / (1 - leverage)."""
    hat = scaled @ _solved(scaled, ridge) + 1 / len(ev)
    residual = ev - hat @ ev
    return ev - residual / (1 - hat.diagonal()).clamp(min=1e-9)


def _sized(cameras: Cameras, edge: int) -> Cameras:
    longest = cameras.sizes.amax(dim=1, keepdim=True)
    sizes = (cameras.sizes * (edge / longest)).round().long().clamp(min=1)
    return cameras.resize((sizes / cameras.sizes).double().flip(1), sizes)
