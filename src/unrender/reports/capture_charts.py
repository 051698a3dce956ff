"""Charts of a capture: cameras and points from above, and what the photos are like one after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from markupsafe import Markup
from matplotlib.axes import Axes

from unrender.cameras.paths import up_direction
from unrender.datasets.capture import Capture
from unrender.datasets.findings import Diagnosis
from unrender.reports.charts import GRID, RED, SERIES, chart

__all__ = ["chart_of_cameras", "charts_of_photos"]

_POINTS = 1500
_NEAR = 0.95
"""Share of the points, the nearest to their middle, that the map shows whole."""


def chart_of_cameras(diagnosis: Diagnosis, capture: Capture) -> Markup:
    """Cameras, which way they look, and points, seen against the direction that is up on average."""
    up = torch.nn.functional.normalize(up_direction(capture.cameras).double(), dim=0)
    across = torch.nn.functional.one_hot(up.abs().argmin(), 3).double()
    right = torch.nn.functional.normalize(torch.linalg.cross(across, up), dim=0)
    flat = torch.stack([right, torch.linalg.cross(up, right)])
    points = capture.points.positions
    points = points[torch.randperm(len(points), generator=torch.Generator().manual_seed(0))[:_POINTS]] @ flat.T
    centers = capture.cameras.centers @ flat.T
    looks = capture.cameras.camera_from_world[:, 2, :3] @ flat.T
    blamed = {name for finding in diagnosis.alarms for name in finding.photos}
    colors = [RED if name in blamed else SERIES[0] for name in capture.names]

    def draw(plot: Axes) -> None:
        plot.scatter(*points.T.tolist(), s=1.5, color=SERIES[2], linewidths=0, label="points")
        plot.scatter(*centers.T.tolist(), s=14, color=colors, linewidths=0, label="cameras")
        plot.quiver(*centers.T.tolist(), *looks.T.tolist(), color=colors, width=0.004, scale=18)
        _frame(plot, points, centers)

    return chart("From above", draw, axes=("scene units", "scene units"), caption="Arrows: where cameras look.")


def _frame(plot: Axes, points: torch.Tensor, centers: torch.Tensor) -> None:
    """All cameras and most points, at one scale."""
    middle = centers.median(dim=0).values
    near = (points - middle).norm(dim=1)
    kept = points[near <= near.quantile(_NEAR)] if len(points) else points
    both = torch.cat([kept, centers])
    least, most = both.amin(dim=0), both.amax(dim=0)
    margin = 0.05 * float((most - least).max()) + 1e-9
    plot.set_xlim(float(least[0]) - margin, float(most[0]) + margin)
    plot.set_ylim(float(least[1]) - margin, float(most[1]) + margin)
    plot.set_aspect("equal", adjustable="datalim")


def charts_of_photos(diagnosis: Diagnosis) -> Iterator[Markup]:
    """What is known of the photos, in the order of their names."""
    photos = diagnosis.photos
    rows = (
        ("Agreement with other photos", "agreement", "0 is chance", [photo.agreement for photo in photos]),
        ("Exposure", "EV100 [stops]", "From EXIF.", [photo.ev for photo in photos]),
        ("Sharpness", "stops", "Against what is usual in this capture.", [photo.sharpness for photo in photos]),
    )
    for title, unit, caption, values in rows:
        if not all(math.isnan(value) for value in values):
            yield _series(title, unit, caption, values)


def _series(title: str, unit: str, caption: str, values: list[float]) -> Markup:
    def draw(plot: Axes) -> None:
        plot.axhline(0, color=GRID)
        plot.plot(range(len(values)), values, ".", color=SERIES[0], markersize=4)
        if title == "Exposure":
            known = [value for value in values if not math.isnan(value)]
            plot.set_ylim(min(known) - 0.5, max(known) + 0.5)

    return chart(title, draw, axes=("photo, in order of names", unit), caption=caption)
