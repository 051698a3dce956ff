"""Charts inside a page: drawn by matplotlib as SVG, in the colours and letters of the page that they stand in.

Matplotlib knows no style sheets. Each colour here is a placeholder, one that nothing else would be, which becomes the
variable of ``page.css`` once the chart is drawn; so a chart is dark where the page is. Letters stay letters, in the
page's font. A chart is as wide as a phone, so that they are as large there as anywhere.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

__all__ = ["BLUE", "GREEN", "GRID", "INK", "MUTED", "RED", "SERIES", "chart", "chart_grid"]

INK, MUTED, GRID = "#010a01", "#010a02", "#010a03"
"""Colours of letters, of what explains and of lines behind the data."""
SERIES = ("#010a04", "#010a05", "#010a06")
"""Colours of data: ours, what it is compared with, and what is only context."""
RED, GREEN, BLUE = "#010a07", "#010a08", "#010a09"
"""Colours of colour channels."""
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    **{color: f"series-{number}" for number, color in enumerate(SERIES, start=1)},
    RED: "red",
    GREEN: "green",
    BLUE: "blue",
}
_OURS = (
    (r"<metadata>.*?</metadata>\s*|<style[^>]*>.*?</style>\s*|<!--.*?-->\s*", ""),
    (r" font-family: [^;\"]*;?", ""),
    (r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px"),
    (r' id="[A-Za-z][\w.]*_\d+"', ""),
    (r'<a xlink:href="([^"]*)"[^>]*>', r'<a href="\1">'),
    (r"<defs>\s*</defs>\s*", ""),
)
"""What matplotlib writes, and what stands there in a page."""
_SIZE = (4.6, 2.9)
"""Inches of 72 units, which are pixels on a phone."""
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 11.0,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.labelsize": 10.5,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "lines.linewidth": 1.7,
    "legend.frameon": False,
    "legend.fontsize": 10.0,
    "legend.labelcolor": INK,
    "legend.handlelength": 1.3,
    "legend.columnspacing": 1.2,
    "text.color": INK,
}


def chart(
    title: str,
    draw: Callable[[Axes], object],
    *,
    axes: tuple[str, str] = ("", ""),
    caption: str | Markup = "",
    tips: Mapping[str, str] | None = None,
) -> Markup:
    """A chart under its ``title``: ``draw`` puts the data, in the colours above, into the axes that it is given.

    ``axes``: what stands along x and y; a legend is made of what has a label. ``tips``: for marks with a URL (such as
    ``#view-3``) what is shown when one points at them. The same data give the same bytes.
    """
    with mpl.rc_context({**_STYLE, "svg.hashsalt": title}), _silence():
        figure = Figure(figsize=_SIZE, layout="constrained", facecolor="none")
        canvas, plot = FigureCanvasSVG(figure), figure.add_subplot()
        draw(plot)
        plot.set_xlabel(axes[0])
        plot.set_ylabel(axes[1])
        if labels := plot.get_legend_handles_labels()[1]:
            figure.legend(loc="outside upper left", ncols=min(len(labels), 4))
        file = io.StringIO()
        canvas.print_svg(file, metadata={"Date": None})
    svg = _of_the_page(file.getvalue(), title, tips or {})
    under = Markup("<figcaption>{}</figcaption>").format(caption) if caption else ""
    return Markup('<figure class="chart"><h3>{}</h3>{}{}</figure>').format(title, svg, under)


def chart_grid(charts: Sequence[Markup]) -> Markup:
    """Charts beside each other, as many as the screen has room for."""
    return Markup('<div class="charts">{}</div>').format(Markup("\n").join(charts))


@contextmanager
def _silence() -> Iterator[None]:
    """Matplotlib talks about its caches; nobody who reads a report wants to know."""
    logger = logging.getLogger("matplotlib")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _of_the_page(svg: str, title: str, tips: Mapping[str, str]) -> Markup:
    """An SVG file as a part of a page: no names that the page may have too, no style or font of its own."""
    box = re.search(r'viewBox="([^"]*)"', svg)
    inner = svg[svg.index(">", svg.index("<svg")) + 1 :]
    for pattern, ours in _OURS:
        inner = re.sub(pattern, ours, inner, flags=re.DOTALL)
    for color, variable in _VARIABLES.items():
        inner = inner.replace(color, f"var(--{variable})")
    for url, tip in tips.items():
        link = f'<a href="{_safe(url)}">'
        inner = inner.replace(link, f"{link}<title>{_safe(tip)}</title>")
    opening = Markup('<svg viewBox="{}" role="img" aria-label="{}">').format(box[1] if box else "", title)
    return opening + Markup(inner.strip())


def _safe(text: str) -> str:
    return str(Markup.escape(text))
