"""The report of a fit: what it did, how good it is, what to try next. One page made from a run folder.

    RUN/report.html

What it says comes from the log over all sittings, the newest checkpoint, the scores where they are of that state, and
renderings made for the page. The run is only read.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from unrender.datasets.capture import Capture
from unrender.errors import RunError, SettingsError
from unrender.fit.checkpoint import Checkpoint
from unrender.fit.lock import RunLock
from unrender.fit.log import read_log
from unrender.fit.memory import available_memory, refuse_if_too_large
from unrender.fit.run import LOG, MACHINE, Run
from unrender.fit.settings_file import read_table, replace_text
from unrender.messages import Message, Note, Saved
from unrender.render.model import Model
from unrender.reports.fit_sections import Told, sections, subtitle, title
from unrender.reports.history import History, history
from unrender.reports.light_pictures import ExposedView, expose
from unrender.reports.measured import LargeView, MeasuredView, choose_views, enlarge, measure, noteworthy
from unrender.reports.page import page

__all__ = ["LIMIT", "MOST_PHOTOS", "REPORT", "fit_report"]

REPORT = "report.html"
"""The page in a run folder."""

LIMIT = 9_500_000
"""Bytes that the page stays under, by showing fewer photos large."""
MOST_PHOTOS = 300
"""Photos that are measured at most: each brings a thumbnail with it."""
_SECONDS, _QUICK_SECONDS = 45.0, 8.0
"""For rendering, when nobody says how many photos: a fit is over when its report is there."""
_EDGE = 720
"""Of a photo shown large [pixels]."""
_SHOWN = (None, 8, 4, 2, 0)
"""How many photos of each part are shown large, until the page is small enough; None: as many as are worth it."""


def fit_report(run: Run, photos: int | None = None, *, quick: bool = False) -> Generator[Message, None, Path]:
    """Write the report of a run; the generator's value is where it lies.

    ``photos``: how many to render and measure, at most ``MOST_PHOTOS``; None: as many as can be in three quarters of a
    minute, or in some seconds when ``quick``.
    Raises RunError when there is no checkpoint, the capture is not that of the run, or another process makes the
    report; OSError when the disk refuses. The page that was there before is then still whole.
    """
    if photos is not None and not 0 <= photos <= MOST_PHOTOS:
        raise SettingsError("photos to measure", expected=f"0 to {MOST_PHOTOS}", got=photos)
    checkpoint = run.load_checkpoint()
    if checkpoint.note is not None:
        yield Note(checkpoint.note)
    capture, model = run.capture, checkpoint.load_model()
    with RunLock(run.folder, ".report.lock", "making the report of this run"):
        chosen = choose_views(capture, MOST_PHOTOS if photos is None else photos)
        seconds = math.inf if photos is not None else _QUICK_SECONDS if quick else _SECONDS
        views, remarks = yield from _measured(run, model, chosen, seconds)
        told = _told(run, checkpoint, model, views, remarks)
        replace_text(run.folder / REPORT, _small_enough(told))
    yield Saved(run.folder / REPORT, "report")
    return run.folder / REPORT


def _measured(
    run: Run, model: Model, chosen: Sequence[int], seconds: float
) -> Generator[Message, None, tuple[list[MeasuredView], list[str]]]:
    """The chosen views, and why there are none of them when they do not fit into memory."""
    if not chosen:
        return [], ["No photo was rendered for this page, as was asked."]
    try:
        refuse_if_too_large(run.capture, run.settings, available_memory(), ("scoring",))
    except RunError as error:
        yield Note(f"the report has no renderings: {error}")
        return [], [f"No photo was rendered for this page: {error}."]
    run.refuse_replaced(chosen)
    return (yield from measure(model.to(run.device), run.capture, chosen, seconds)), []


def _told(
    run: Run, checkpoint: Checkpoint, model: Model, views: Sequence[MeasuredView], remarks: Sequence[str]
) -> Told:
    """All that the page is made of."""
    past = history(read_log(run.folder / LOG), checkpoint.step)
    return Told(
        folder=run.folder,
        capture=run.capture,
        source=run.source,
        settings=run.settings,
        machine=_machine(run),
        model=model,
        step=checkpoint.step,
        history=past,
        views=tuple(views),
        large=tuple(_large(run.capture, views)),
        scores=_scores(run, past),
        refinement=_refinement(run),
        remarks=tuple(remarks),
        exposed=_exposed(run, model, views),
    )


def _exposed(run: Run, model: Model, views: Sequence[MeasuredView]) -> ExposedView | None:
    """The view of median quality, held out where there is one, at several exposures."""
    held_out = [view for view in views if view.held_out]
    ranked = sorted(held_out or views, key=lambda view: (view.psnr, view.view))
    return expose(model.to(run.device), run.capture, ranked[len(ranked) // 2].view) if ranked else None


def _large(capture: Capture, views: Sequence[MeasuredView]) -> Iterator[LargeView]:
    """The views that are worth a larger picture, held-out ones first, and of each part the worst."""
    for held_out in (True, False):
        for kind, view in noteworthy([each for each in views if each.held_out == held_out]):
            said = ", ".join(filter(None, ("held out" if held_out else "training", kind)))
            yield enlarge(said, view, capture, _EDGE)


def _machine(run: Run) -> Mapping[str, Any]:
    """What ``machine.toml`` holds: a report is no worse for having lost it."""
    with suppress(SettingsError):
        return read_table(run.folder / MACHINE)
    return {}


def _refinement(run: Run) -> Mapping[str, Any] | None:
    """How far cameras moved, where a fit that refines them came to its end."""
    with suppress(RunError):
        return run.load_refinement() if run.settings.refine.structure else None
    return None


def _scores(run: Run, past: History) -> Mapping[str, Any]:
    """What ``eval.json`` holds, if it was made of the state that the report is on: it says how old that was."""
    with suppress(RunError):
        scores = run.load_scores()
        if scores.get("seconds") == (float(past.elapsed[-1]) if len(past) else 0.0):
            return scores
    return {}


def _small_enough(told: Told) -> str:
    """The page with as many photos shown large as ``LIMIT`` has room for."""
    text = ""
    for shown in _SHOWN:
        text = page(title(told), sections(told, shown), subtitle=subtitle(told))
        if len(text.encode()) <= LIMIT:
            break
    return text
