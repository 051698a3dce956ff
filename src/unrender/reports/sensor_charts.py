"""Charts of what a fit found out about the cameras' light: exposure, white point, vignette, response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from markupsafe import Markup
from matplotlib.axes import Axes

from unrender.cameras.camera import Cameras
from unrender.cameras.sensor import GAMMA
from unrender.cameras.white import white_points
from unrender.reports.charts import BLUE, GREEN, MUTED, RED, SERIES, chart

__all__ = ["Exposures", "exposure_charts", "exposures", "response_chart", "vignette_chart", "white_point_chart"]

_CHANNELS = (("red", RED), ("green", GREEN), ("blue", BLUE))
_MOST_LINES = 12
"""Cameras that are drawn; more are the same to the eye."""


@dataclass(frozen=True)
class Exposures:
    """EVs [stops] of T training views, in order: ``views`` [T], their ``names``, ``fitted`` [T] and ``exif`` [T], NaN
    where the photo does not say.
    """

    views: tuple[int, ...]
    names: tuple[str, ...]
    fitted: np.ndarray
    exif: np.ndarray

    @property
    def off(self) -> np.ndarray:
        """Fitted less EXIF, [T], NaN where that is missing."""
        return self.fitted - self.exif


def exposures(cameras: Cameras, exif_ev: torch.Tensor, names: Sequence[str], train: Sequence[int]) -> Exposures:
    """The EVs of the training views of a model, against ``exif_ev`` [V]."""
    index = list(train)
    fitted = cameras.sensor.exposure.detach().cpu().double().numpy()[index]
    return Exposures(tuple(index), tuple(names[view] for view in index), fitted, exif_ev.double().numpy()[index])


def exposure_charts(found: Exposures, urls: Mapping[int, str]) -> list[Markup]:
    """EV per photo, and how far it is from EXIF. ``urls``: where a click on a view leads."""
    known = ~np.isnan(found.exif)
    return [_ladder(found, urls, known), *([_difference(found, urls, known)] if known.any() else [])]


def _ladder(found: Exposures, urls: Mapping[int, str], known: np.ndarray) -> Markup:
    """EXIF's and fitted EV of each photo over each other, photos in the order of EXIF's."""
    place = np.arange(len(found.views))
    rung = np.empty_like(place)
    rung[np.lexsort((found.fitted, np.where(known, found.exif, found.fitted)))] = place

    def draw(axes: Axes) -> None:
        if known.any():
            axes.vlines(rung[known], found.exif[known], found.fitted[known], color=SERIES[2], linewidth=1.2)
            axes.scatter(rung[known], found.exif[known], s=34, facecolors="none", edgecolors=SERIES[1], label="EXIF")
        links = [urls.get(view, "") for view in found.views]
        axes.scatter(rung, found.fitted, s=16, color=SERIES[0], label="fitted").set_urls(links)

    caption = "Higher is a darker photo of the same light. Only training photos: held-out ones keep their EXIF."
    caption += _off_said(found.off[known])
    named = ("photo, by EV", "EV [stops]")
    return chart("Exposure of each photo", draw, axes=named, caption=caption, tips=_tips(found, urls))


def _difference(found: Exposures, urls: Mapping[int, str], known: np.ndarray) -> Markup:
    """Fitted EV less that of EXIF, in the order of the photos' names."""
    place = np.arange(len(found.views))

    def draw(axes: Axes) -> None:
        axes.axhline(0.0, color=MUTED, linewidth=0.8)
        axes.scatter(place[known], found.off[known], s=16, color=SERIES[0]).set_urls(
            [urls.get(view, "") for view, is_known in zip(found.views, known, strict=True) if is_known]
        )
        reach = max(0.2, 1.15 * float(np.abs(found.off[known]).max()))
        axes.set_ylim(-reach, reach)

    missing = "" if known.all() else f" {int((~known).sum())} photos are without EXIF."
    caption = f"Most cameras round what they write to a third of a stop.{missing}"
    named = ("photo, by name", "EV \N{MINUS SIGN} EXIF [stops]")
    return chart("Fitted less EXIF", draw, axes=named, caption=caption, tips=_tips(found, urls))


def white_point_chart(cameras: Cameras, found: Exposures, urls: Mapping[int, str]) -> Markup:
    """White points of the training views."""
    white = white_points(cameras.sensor.white_point.detach()).cpu().double().numpy()[list(found.views)]
    place = np.arange(len(white))

    def draw(axes: Axes) -> None:
        axes.axhline(0.0, color=MUTED, linewidth=0.8)
        for channel, (name, color) in enumerate((_CHANNELS[0], _CHANNELS[2])):
            axes.scatter(place, white[:, channel], s=16, color=color, label=name).set_urls(
                [urls.get(view, "") for view in found.views]
            )
        reach = max(0.05, 1.15 * float(np.abs(white).max(initial=0.0)))
        axes.set_ylim(-reach, reach)

    caption = "Red and blue of grey light against green: 1 stop is a factor of 2. The mean is held at 0."
    return chart("White point of each photo", draw, axes=("photo, by name", "log2 [stops]"), caption=caption)


def vignette_chart(cameras: Cameras) -> Markup:
    """How much light arrives from the middle of the photo to its corners, a line per camera, or one per channel."""
    vignette = cameras.sensor.vignette.detach().cpu().double()[:_MOST_LINES]
    colors = [color for _, color in _CHANNELS] if vignette.dim() == 3 else [SERIES[0]]
    a2, a4, a6 = vignette.reshape(-1, 3).numpy().T[..., None]
    radius = np.linspace(0.0, 1.0, 41)
    light = 1 + radius**2 * (a2 + radius**2 * (a4 + radius**2 * a6))

    def draw(axes: Axes) -> None:
        for line, curve in enumerate(light):
            axes.plot(radius, curve, color=colors[line % len(colors)], alpha=1.0 if len(light) == 1 else 0.6)
        low, high = float(light.min()), float(light.max())
        margin = max(0.05, 0.1 * (high - low))
        axes.set_ylim(low - margin, high + margin)

    caption = f"At the corners {_range(light[:, -1])} of the light in the middle.{_cameras_said(cameras)}"
    return chart(
        "Vignette", draw, axes=("distance from the middle [half diagonals]", "share of light"), caption=caption
    )


def response_chart(cameras: Cameras) -> Markup:
    """From the light that arrives to the number that the photo stores, a curve per channel."""
    knots, start = cameras.sensor.knots.cpu().double().numpy(), np.linspace(0.0, 1.0, 101)
    curves = cameras.sensor.response.detach().cpu().double().numpy()[:_MOST_LINES]

    def draw(axes: Axes) -> None:
        flat = curves.reshape(-1, len(knots))
        axes.fill_between(knots, flat.min(axis=0), flat.max(axis=0), color=SERIES[2], alpha=0.35, linewidth=0)
        axes.plot(start, start**GAMMA, color=MUTED, linewidth=1.0, linestyle=(0, (3, 3)), label="start")
        for camera, curve in enumerate(curves):
            for values, (name, color) in zip(curve, _CHANNELS, strict=True):
                axes.plot(knots, values, color=color, linewidth=1.4, alpha=0.9, label=None if camera else name)

    caption = f"Dashed: x^{GAMMA}, what a fit starts from.{_spread_said(curves)}{_cameras_said(cameras)}"
    return chart("Response", draw, axes=("exposure, 1 is just white", "recorded value"), caption=caption)


def _tips(found: Exposures, urls: Mapping[int, str]) -> dict[str, str]:
    rows = zip(found.views, found.names, found.fitted, found.off, strict=True)
    return {
        urls[view]: f"{name}: EV {ev:.2f}" + ("" if np.isnan(off) else f", {off:+.2f} from EXIF")
        for view, name, ev, off in rows
        if view in urls
    }


def _off_said(off: np.ndarray) -> str:
    """How far fitted EVs are from those of EXIF, without their common offset."""
    if len(off) < 2:
        return ""
    return f" The line between is the difference: {off.mean():+.2f} in the mean, {off.std():.2f} about that."


def _spread_said(curves: np.ndarray) -> str:
    """How far responses [C, 3, K + 1] lie apart at the same exposure."""
    channels = float(np.ptp(curves, axis=1).max())
    said = f" Channels lie up to {channels:.3f} apart"
    return said + (f", cameras {float(np.ptp(curves, axis=0).max()):.3f}." if len(curves) > 1 else ".")


def _range(values: np.ndarray) -> str:
    low, high = f"{100 * values.min():.0f}", f"{100 * values.max():.0f}"
    return f"{low} %" if low == high else f"{low} to {high} %"


def _cameras_said(cameras: Cameras) -> str:
    count = len(cameras.lenses)
    if count == 1:
        return ""
    return f" {count} cameras." if count <= _MOST_LINES else f" The first {_MOST_LINES} of {count} cameras."
