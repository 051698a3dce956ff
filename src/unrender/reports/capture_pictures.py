"""Photos with the points drawn where their cameras see them, to be slid over the photos."""

from __future__ import annotations

import math

import torch
from markupsafe import Markup

from unrender.datasets.capture import Capture
from unrender.datasets.findings import Diagnosis
from unrender.reports.page import before_after, pairs_table
from unrender.reports.pictures import embedded

__all__ = ["points_over_photos", "shown_views"]

_SHOWN, _USUAL = 3, 2
"""Photos that agree least, and that agree as is usual."""
_EDGE = 800
_POINTS = 30_000
_DIM = 0.25
_PLAIN = (1.0, 0.75, 0.2)
"""Colour of points that have none."""
_DOT = ((0, 0), (0, 1), (1, 0), (1, 1))


def shown_views(diagnosis: Diagnosis) -> list[int]:
    """Places of the photos that a page shows: those of alarms, then the least agreeing, then some usual ones."""
    blamed = {name for finding in diagnosis.alarms for name in finding.photos}
    ranked = sorted(range(len(diagnosis.photos)), key=lambda place: _rank(diagnosis, place, blamed))
    middle = len(ranked) // 2
    return list(dict.fromkeys([*ranked[:_SHOWN], *ranked[middle : middle + _USUAL]]))


def points_over_photos(diagnosis: Diagnosis, capture: Capture) -> list[Markup]:
    """A figure for each of ``shown_views``. Raises CaptureError when a photo cannot be decoded."""
    narrowest = int(capture.cameras.sizes[:, 1].min())
    small = capture.at_width(min(_EDGE, narrowest))
    views = {name: view for view, name in enumerate(small.names)}
    figures = []
    for place in shown_views(diagnosis):
        photo = diagnosis.photos[place]
        if photo.name in views:
            image = small.image(views[photo.name])
            pictures = embedded(image, quality=75), embedded(_dotted(small, views[photo.name], image), quality=75)
            said = pairs_table([("agreement", _number(photo.agreement)), ("points", _number(photo.points, ",.0f"))])
            anchor = f"points-{place}"
            figures.append(before_after(anchor, pictures, ("photo", "points"), beside=said, title=photo.name))
    return figures


def _dotted(capture: Capture, view: int, image: torch.Tensor) -> torch.Tensor:
    """The photo [3, H, W], dark, under the points in their colours; near ones over far ones."""
    cloud, picture = capture.points, image * _DIM
    if len(cloud) > _POINTS:
        cloud = cloud.select(torch.randperm(len(cloud), generator=torch.Generator().manual_seed(0))[:_POINTS])
    seen = capture.cameras.project(view, cloud.positions)
    height, width = image.shape[1:]
    column, row = seen.pixels.nan_to_num(-1.0).clamp(-1, max(height, width)).long().unbind(dim=1)
    inside = seen.inside & (column >= 0) & (row >= 0) & (column < width - 1) & (row < height - 1)
    order = torch.nonzero(inside)[:, 0]
    order = order[seen.depth[order].argsort(descending=True)]
    colors = torch.tensor(_PLAIN).expand(len(cloud), 3) if cloud.colors is None else cloud.colors
    for down, right in _DOT:
        picture[:, row[order] + down, column[order] + right] = colors[order].T
    return picture


def _rank(diagnosis: Diagnosis, place: int, blamed: set[str]) -> tuple[bool, float]:
    photo = diagnosis.photos[place]
    return photo.name not in blamed, math.inf if math.isnan(photo.agreement) else photo.agreement


def _number(value: float, form: str = ".2f") -> str:
    return "unknown" if math.isnan(value) else format(value, form)
