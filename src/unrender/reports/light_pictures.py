"""Pictures of light in the report of a fit: one view at several exposures and for screens, and where photos darken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from markupsafe import Markup
from matplotlib.axes import Axes

from unrender.cameras.camera import Cameras
from unrender.datasets.capture import Capture
from unrender.fit.evaluate import exif_cameras
from unrender.fit.exposure_prediction import with_exposure
from unrender.metrics.weights import blackened
from unrender.render.model import Model
from unrender.render.tonemap import tonemap
from unrender.reports.charts import chart
from unrender.reports.page import Section, code, pairs_table, strip
from unrender.reports.pictures import Picture, embedded

__all__ = ["SWEPT_STOPS", "ExposedView", "expose", "exposed_section", "light_share", "vignette_maps"]

SWEPT_STOPS = (-3.0, -1.5, 0.0, 1.5, 3.0)
"""EVs at which a view is shown, from its own [stops]."""
_OPERATORS = ("filmic", "agx", "fusion")
_EDGE = 420
_MOST_MAPS = 4
"""Cameras whose darkening is drawn."""
_MAP_EDGE = 96
_CONTOURS = 0.1


@dataclass(frozen=True)
class ExposedView:
    """One view: its ``photo``, what the sensor records at each of ``SWEPT_STOPS``, and operators by name."""

    name: str
    held_out: bool
    photo: Picture
    swept: tuple[Picture, ...]
    operators: Mapping[str, Picture]


@torch.no_grad()
def expose(model: Model, capture: Capture, view: int) -> ExposedView | None:
    """Render one view and expose it; None where the render is not finite."""
    held_out = view in capture.test
    camera = exif_cameras(model.cameras, [view]) if held_out else model.cameras.select([view])
    radiance = model.radiance(camera)
    if not bool(radiance.isfinite().all()):
        return None
    own = camera.sensor.exposure
    swept = [camera.shown(with_exposure(camera, own + stops).record(radiance))[0] for stops in SWEPT_STOPS]
    ev = float(own[0]) - camera.sensor.exposure_mean
    operators = {name: embedded(tonemap(radiance, name, ev)[0], _EDGE) for name in _OPERATORS}
    photo = camera.shown(blackened(capture.image(view), capture.mask(view))[None])[0]
    pictures = tuple(embedded(each, _EDGE) for each in swept)
    return ExposedView(capture.names[view], held_out, embedded(photo, _EDGE), pictures, operators)


def exposed_section(exposed: ExposedView | None, scores: Mapping[str, Any]) -> list[Section]:
    """The view at its exposures, and what ``eval.json`` says of exposures that are foretold; none without a view."""
    if exposed is None:
        return []
    of = "a held-out photo, by EXIF" if exposed.held_out else "a training photo, as fitted"
    lead = f"{exposed.name}, {of}. A scene that was fitted with its exposures can be seen at any other."
    said = [f"{stops:+g} EV" if stops else "its own EV" for stops in SWEPT_STOPS]
    swept = [("the photo", exposed.photo), *zip(said, exposed.swept, strict=True)]
    own = exposed.swept[SWEPT_STOPS.index(0.0)]
    shown = [("sensor, as a photo", own), *exposed.operators.items()]
    body = (
        strip(swept)
        + Markup("<h3>For screens, at its own EV</h3>")
        + strip(shown)
        + _policies(scores.get("policies"))
        + Markup('<p class="fine">{}</p>').format(
            Markup("More: {}, {}.").format(
                code("unrender render RUN --path sweep"), code("unrender render RUN --tonemap agx")
            )
        )
    )
    return [Section("One view, any exposure", body, lead, anchor="exposures", short="Exposures")]


def _policies(policies: Mapping[str, Any] | None) -> Markup:
    """How good held-out photos are at exposures that are foretold."""
    if not policies:
        return Markup("")
    rows = [
        (name, f"{each['psnr']:.2f} dB, FLIP {each['flip']:.3f}, off by {each['ev_error']:.2f} stops")
        for name, each in policies.items()
        if isinstance(each, Mapping) and "ev_error" in each
    ]
    return Markup("<h3>Held-out photos at exposures that are foretold</h3>") + pairs_table(rows)


def vignette_maps(cameras: Cameras) -> list[Markup]:
    """For each of the first cameras, the share of light over its photo, with contours."""
    count = min(len(cameras.lenses), _MOST_MAPS)
    return [drawn for camera in range(count) for drawn in _vignette_map(cameras, camera, count > 1)]


def light_share(cameras: Cameras, camera: int, edge: int = _MAP_EDGE) -> torch.Tensor | None:
    """Share of the light that arrives over the photo of one camera, per channel, [3, H, W] float64; 1 in the middle.

    The longer side has ``edge`` pixels. None for a camera of no view. Found from what the sensor says a grey photo has
    seen, so that it is true of any form that a vignette may have.
    """
    views = (cameras.camera_index == camera).nonzero()[:1, 0]
    if len(views) == 0:
        return None
    lens = cameras.lenses[camera]
    scale = edge / max(lens.width, lens.height)
    height, width = (max(2, round(length * scale)) for length in (lens.height, lens.width))
    scales = torch.tensor([[width / lens.width, height / lens.height]], dtype=torch.float64)
    sizes = torch.tensor([[height, width]])
    one = cameras.select(views).to("cpu")
    one = replace(one, pixel_scale=scales, pixel_offset=torch.zeros_like(scales), sizes=sizes)
    neutral = with_exposure(one, one.sensor.exposure, torch.zeros_like(one.sensor.white_point))
    with torch.no_grad():
        seen = neutral.radiance(torch.full((1, 3, height, width), 0.5))[0].double()
    return seen[:, height // 2, width // 2, None, None] / seen


def _vignette_map(cameras: Cameras, camera: int, numbered: bool) -> Iterator[Markup]:
    share = light_share(cameras, camera)
    if share is None:
        return
    mean = share.mean(dim=0).numpy()

    def draw(axes: Axes) -> None:
        low, high = float(mean.min()), float(mean.max())
        axes.imshow(mean, cmap="gray", vmin=min(0.5, low), vmax=max(1.0, high), interpolation="bilinear")
        step = _CONTOURS if high - low > 0.25 else _CONTOURS / 2 if high - low > 0.1 else _CONTOURS / 5
        levels = np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step
        if len(levels) and high - low > 1e-3:
            drawn = axes.contour(mean, levels=levels, colors="#e8b33c", linewidths=1.1)
            axes.clabel(drawn, fmt="%.2f", fontsize=10)
        axes.set_axis_off()

    title = f"Vignette over the photo, camera {camera + 1}" if numbered else "Vignette over the photo"
    yield chart(title, draw, caption=_corners_said(share))


def _corners_said(share: torch.Tensor) -> str:
    """What arrives at the four corners, and how channels differ there."""
    corners = share[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    low, high = (f"{100 * float(value):.0f}" for value in (corners.mean(0).min(), corners.mean(0).max()))
    said = f"Share of the light in the middle; in the corners {low if low == high else f'{low} to {high}'} %."
    apart = 100 * float((corners.amax(0) - corners.amin(0)).max())
    return said + (f" There channels lie up to {apart:.0f} % apart." if apart >= 0.5 else "")
