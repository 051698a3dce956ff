"""Curves of a fit: loss and PSNR of its steps."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from unrender.reports.charts import SERIES, chart
from unrender.reports.history import History, binned

__all__ = ["history_charts"]

_BINS, _FEW_BINS, _IN_A_BIN = 60, 12, 10


def history_charts(past: History) -> list[Markup]:
    """Loss and PSNR over the steps, in bins with their spread."""
    caption = "Mean, and where nine in ten steps lie: each looks at another crop."
    return [
        chart("Loss", _Curve(past, past.losses, log=True), axes=("step", "loss"), caption=caption),
        chart("PSNR of the training crops", _Curve(past, past.psnrs, log=False), axes=("step", "dB"), caption=caption),
    ]


class _Curve:
    """Draws one series; logarithmic where all of it is positive and that is asked for."""

    def __init__(self, past: History, values: np.ndarray, *, log: bool) -> None:
        finite = np.isfinite(values)
        self._place, self._values = past.steps[finite] + 1.0, values[finite]
        self._log = log and bool((self._values > 0).all())

    def __call__(self, axes: Axes) -> None:
        bins = binned(self._place, self._values, min(_BINS, max(_FEW_BINS, len(self._place) // _IN_A_BIN)))
        axes.fill_between(bins.place, bins.low, bins.high, color=SERIES[0], alpha=0.18, linewidth=0)
        axes.plot(bins.place, bins.mean, color=SERIES[0])
        if self._log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_locator(NullLocator())
