"""The photos in the report of a fit: some large, beside what the model makes of them, and all in a table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from unrender.messages import Scores
from unrender.reports.measured import LargeView, MeasuredView
from unrender.reports.page import Section, before_after, code, gallery
from unrender.reports.pictures import image_tag
from unrender.reports.tables import Cell, Column, Row, number, sortable_table

__all__ = ["PhotoRow", "gallery_section", "table_section"]

_MOST_ROWS, _FOLDED = 2000, 12


@dataclass(frozen=True)
class PhotoRow:
    """What the table says of a photo: ``measured`` where it was rendered for the page, ``scored`` where ``eval`` did;
    ``off``: its fitted EV less EXIF [stops]; ``url``: where a click on it leads.
    """

    view: int
    name: str
    held_out: bool
    measured: MeasuredView | None = None
    scored: Scores | None = None
    off: float | None = None
    url: str | None = None

    @property
    def scores(self) -> Scores | None:
        """Whichever there are; they are the same where there are both."""
        return self.scored if self.measured is None else self.measured.scores


def gallery_section(large: Sequence[LargeView], measured: int, of: int) -> list[Section]:
    """Photos and their renderings, one at a time; no section where none is shown."""
    if not large:
        return []
    lead = (
        "Slide the line: left the photo, right what the model renders there. Held-out photos at the exposure that EXIF "
        "says, training photos at the fitted one."
    )
    if len(large) < of:
        lead += f" Shown are {len(large)}: the worst, median and best of the {measured} measured, of {of} photos."
    body = gallery([_figure(each) for each in large], "Photo")
    return [Section("Photo and rendering", body, lead, anchor="photos", short="Photos")]


def table_section(rows: Sequence[PhotoRow], measured: int) -> Section:
    """All photos, the worst first."""
    ranked = sorted(rows, key=lambda row: (row.scores is None and row.measured is None, _psnr(row), row.view))
    kept = ranked[:_MOST_ROWS]
    lead = Markup("Click a column to sort by it, a photo to see it above.")
    if measured < len(rows):
        lead += Markup(" {} of {} were rendered for this page, spread evenly; {} renders more.").format(
            measured, len(rows), code("unrender report RUN --photos N")
        )
    if len(kept) < len(rows):
        lead += f" Only {len(kept)} are listed."
    return Section(
        "All photos",
        sortable_table(_COLUMNS, [_row(row) for row in kept], _FOLDED),
        lead,
        anchor="table",
        short="Table",
    )


_COLUMNS = (
    Column("photo"),
    Column("part"),
    Column("PSNR [dB]", numeric=True, order="ascending", hint="higher is better"),
    Column("SSIM", numeric=True, hint="1 is equal"),
    Column("FLIP", numeric=True, first="down", hint="0 is equal"),
    Column("white", numeric=True, first="down", hint="share of the photo's pixels that are white in a channel"),
    Column("bare", numeric=True, first="down", hint="share of pixels with no point within eight pixels"),
    Column("EV \N{MINUS SIGN} EXIF", numeric=True, first="down", hint="fitted exposure less that of EXIF, in stops"),
)


def _figure(large: LargeView) -> Markup:
    view, kind = large.measured, large.kind
    shown = "not scored" if view.scores is None else f"{view.scores.psnr:.1f} dB"
    beside = Markup(
        '<figure>{}<span class="tag left">FLIP: dark is equal</span></figure><p class="fine">{}</p>'
    ).format(image_tag(large.difference, f"FLIP map of {view.name}"), _scores_line(kind, view))
    return before_after(
        f"view-{view.view}",
        (large.photo, large.rendering),
        ("photo", "rendering"),
        beside=beside,
        title=f"{shown} \N{MIDDLE DOT} {kind} \N{MIDDLE DOT} {view.name}",
    )


def _scores_line(kind: str, view: MeasuredView) -> Markup:
    scores = view.scores
    said = "not scored" if scores is None else f"{scores.psnr:.2f} dB, SSIM {scores.ssim:.3f}, FLIP {scores.flip:.3f}"
    return Markup('<a href="#row-{}">{}</a> ({}): {}').format(view.view, view.name, kind, said)


def _row(row: PhotoRow) -> Row:
    scores, measured = row.scores, row.measured
    psnr, ssim, flip = (None,) * 3 if scores is None else (scores.psnr, scores.ssim, scores.flip)
    white, bare = (None, None) if measured is None else (measured.clipped, measured.bare)
    cells = (
        Cell(_named(row), row.name),
        Cell("held\N{NO-BREAK SPACE}out" if row.held_out else "training"),
        number(psnr),
        number(ssim, ".3f"),
        number(flip, ".3f"),
        number(white, ".1%"),
        number(bare, ".1%"),
        number(row.off, "+.2f"),
    )
    return Row(cells, f"row-{row.view}")


def _named(row: PhotoRow) -> Markup:
    """The photo, small, and its name; a link where it is shown large."""
    thumb = "" if row.measured is None else image_tag(row.measured.thumb, "", "thumb")
    inner = Markup("{}<span>{}</span>").format(thumb, row.name)
    if row.url is None or not row.url.startswith("#view-"):
        return Markup('<span class="named">{}</span>').format(inner)
    return Markup('<a class="named" href="{}">{}</a>').format(row.url, inner)


def _psnr(row: PhotoRow) -> float:
    return -math.inf if row.scores is None else row.scores.psnr
