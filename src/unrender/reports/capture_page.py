"""The page of ``unrender inspect --html``: what a capture holds, what is wrong with it, and how to fit it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from markupsafe import Markup

from unrender.datasets.capture import Capture
from unrender.datasets.findings import CaptureFacts, Diagnosis, Finding, PhotoFacts
from unrender.fit.forecast import Forecast
from unrender.reports.capture_charts import chart_of_cameras, charts_of_photos
from unrender.reports.capture_pictures import points_over_photos
from unrender.reports.charts import chart_grid
from unrender.reports.page import (
    Advice,
    Fact,
    Section,
    Tone,
    advice_list,
    collapsed,
    fact_tiles,
    gallery,
    note,
    page,
    pairs_table,
)
from unrender.reports.pictures import embedded, image_tag
from unrender.reports.tables import Cell, Column, Row, number, sortable_table

__all__ = ["capture_page"]

_COLUMNS = (
    Column("photo"),
    Column("agreement", numeric=True, hint="of its details with what other photos show of the same points, 1 at most"),
    Column(
        "tracks", numeric=True, first="down", hint="median distance of points from where they were observed, pixels"
    ),
    Column("sharpness", numeric=True, hint="stops of fine contrast against what is usual in this capture"),
    Column("EV", numeric=True, hint="exposure value at ISO 100 from EXIF, stops"),
    Column("mean", numeric=True, hint="mean of the photo as recorded, white = 1"),
    Column("white", numeric=True, first="down", hint="share of pixels that are clipped at white"),
    Column("black", numeric=True, first="down", hint="share of pixels that are clipped at black"),
    Column("points", numeric=True, hint="points that fall into the photo"),
    Column("covered", numeric=True, hint="share of its area with points"),
    Column("size", hint="width x height of the photo, pixels"),
    Column("camera", numeric=True),
)
_WHY_OUTSIDE = 0.5
_NAMED = 3
"""Photos that a finding names in its own words; more of them are listed."""


def capture_page(diagnosis: Diagnosis, forecast: Forecast | None = None, capture: Capture | None = None) -> str:
    """The whole page as HTML; with pictures of some photos and their points when the ``capture`` is given."""
    sections = [Section("What is wrong", _findings(diagnosis), anchor="findings")]
    facts = diagnosis.facts
    if facts is not None:
        sections.append(Section("In short", fact_tiles(_tiles(facts)) + _lenses(facts)))
    if capture is not None and diagnosis.photos:
        figures = points_over_photos(diagnosis, capture)
        lead = (
            "Points where cameras say that they are: they must lie on what they show. The least agreeing photos first."
        )
        sections.append(Section("Points over photos", gallery(figures, "photo"), lead))
        charts = [chart_of_cameras(diagnosis, capture), *charts_of_photos(diagnosis)]
        sections.append(Section("Charts", chart_grid(charts)))
    if diagnosis.photos:
        sections.append(Section("Photos", _photos(diagnosis), "A click on a head sorts by it."))
    if forecast is not None and not diagnosis.alarms:
        sections.append(Section("How to fit it", _fitting(diagnosis, forecast)))
    return page(f"Capture {diagnosis.root.name or diagnosis.root}", sections, subtitle=str(diagnosis.root))


def _findings(diagnosis: Diagnosis) -> Markup:
    if not diagnosis.findings:
        return note("Nothing: photos, poses, lenses and points bear each other out.", "good")
    body = advice_list(map(_advice, diagnosis.findings))
    if not diagnosis.alarms:
        body = note("No alarm: a fit will work. Worth knowing:", "good") + body
    return body


def _advice(finding: Finding) -> Advice:
    named = Markup("")
    if len(finding.photos) > _NAMED:
        named = collapsed(f"{len(finding.photos)} photos", Markup(", ").join(finding.photos))
    tone: Tone = "bad" if finding.level == "alarm" else "warn"
    return Advice(finding.title, ". ".join(finding.evidence), Markup("{}{}").format(finding.do, named), tone)


def _tiles(facts: CaptureFacts) -> Iterator[Fact]:
    opened = "" if facts.looked_at == facts.photos else f"{facts.looked_at} opened"
    yield Fact("photos", f"{facts.photos:,}", opened)
    yield Fact("cameras", f"{facts.cameras:,}")
    yield Fact("points", f"{facts.points:,}", f"{facts.observations:,} observations" if facts.observations else "")
    if not math.isnan(facts.agreement):
        yield Fact("agreement of the photos", f"{facts.agreement:.2f}", "0: chance, sound captures: 0.4 to 0.7")
    if not math.isnan(facts.residual):
        yield Fact("points from their tracks", f"{facts.residual:.2f} px", "median")
    if facts.ev is not None:
        least, most = facts.ev
        missing = f", {facts.ev_missing} unknown" if facts.ev_missing else ""
        yield Fact("exposures", f"{most - least:.1f} stops", f"EV {least:.1f} to {most:.1f}{missing}")
    else:
        yield Fact("exposures", "unknown", "no photo says (EXIF)")
    if not math.isnan(facts.spacing):
        yield Fact("a point every", f"{facts.spacing:.1f} px", f"in {100 * facts.covered:.0f} % of a photo's area")
    if not math.isnan(facts.outside):
        tone: Tone = "warn" if facts.outside > _WHY_OUTSIDE else ""
        yield Fact("points in no photo", f"{100 * facts.outside:.0f} %", tone=tone)


def _lenses(facts: CaptureFacts) -> Markup:
    table = pairs_table((f"camera {place}", line) for place, line in enumerate(facts.lenses))
    return table if len(facts.lenses) <= 4 else collapsed(f"{len(facts.lenses)} lenses", table)


def _photos(diagnosis: Diagnosis) -> Markup:
    """The table, without the columns that say nothing here: all alike, or nothing measured."""
    rows = [_row(diagnosis, photo, place) for place, photo in enumerate(diagnosis.photos)]
    told = [place for place in range(len(_COLUMNS)) if _tells([row.cells[place].shows for row in rows])]
    kept = [Row([row.cells[place] for place in told], row.anchor) for row in rows]
    return sortable_table([_COLUMNS[place] for place in told], kept)


def _tells(shown: list[str | Markup]) -> bool:
    return len(shown) == 1 or len(set(shown)) > 1


def _row(diagnosis: Diagnosis, photo: PhotoFacts, place: int) -> Row:
    blamed = {name for finding in diagnosis.alarms for name in finding.photos}
    doubted = {name for finding in diagnosis.hints for name in finding.photos}
    tone: Tone = "bad" if photo.name in blamed else "warn" if photo.name in doubted else ""
    cells = (
        Cell(_named(diagnosis, photo), photo.name, tone),
        number(photo.agreement),
        number(photo.residual),
        number(photo.sharpness),
        number(photo.ev, ".1f"),
        number(photo.brightness),
        _share(photo.white),
        _share(photo.black),
        number(photo.points, ",.0f"),
        _share(photo.covered),
        Cell(f"{photo.width} x {photo.height}", photo.width * photo.height),
        number(float(photo.camera), ".0f"),
    )
    return Row(cells, f"photo-{place}")


def _named(diagnosis: Diagnosis, photo: PhotoFacts) -> Markup:
    small = diagnosis.thumbnails.get(photo.name)
    picture = "" if small is None else image_tag(embedded(_recorded(small), quality=70), "", "thumb")
    return Markup('<span class="named">{}<span>{}</span></span>').format(picture, photo.name)


def _recorded(levels: torch.Tensor) -> torch.Tensor:
    """uint8 [3, H, W] as a picture in 0..1."""
    return levels.float() / 255


def _share(value: float) -> Cell:
    return number(value) if math.isnan(value) else Cell(f"{100 * value:.0f} %", value)


def _fitting(diagnosis: Diagnosis, forecast: Forecast) -> Markup:
    gib = 2.0**30
    command = f"unrender fit {diagnosis.root} -o RUN --width {forecast.width} --minutes {forecast.minutes}"
    pairs: list[tuple[str, str | Markup]] = [("command", Markup("<code>{}</code>").format(command))]
    pairs += [(name, f"{str(value).lower()} (in --config FILE.toml)") for name, value in forecast.settings.items()]
    pairs.append(("memory", f"about {forecast.need.peak / gib:.1f} GiB; {forecast.available / gib:.1f} GiB are free"))
    if not math.isnan(forecast.step):
        steps = f"about {forecast.steps:,.0f} in {forecast.minutes} minutes"
        pairs.append(("steps", f"{steps}, at {forecast.step:.2f} s each, as measured on this machine"))
    return pairs_table(pairs) + note(
        "Rules of thumb, but for the memory and the pace; starting and scoring come on top."
    )
