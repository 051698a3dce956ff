"""What stands in the report of a fit, section by section."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from unrender.datasets.capture import Capture
from unrender.fit.settings import DEFAULT_STEPS, FitSettings
from unrender.fit.source import CaptureSource
from unrender.messages import Scores
from unrender.render.model import Model
from unrender.reports.advice import Evidence, advice
from unrender.reports.camera_moves import moves_section
from unrender.reports.charts import chart_grid
from unrender.reports.fit_photos import PhotoRow, gallery_section, table_section
from unrender.reports.history import History
from unrender.reports.history_charts import history_charts
from unrender.reports.light_pictures import ExposedView, exposed_section, vignette_maps
from unrender.reports.measured import LargeView, MeasuredView
from unrender.reports.page import Fact, Section, advice_list, code, collapsed, fact_tiles, note, pairs_table
from unrender.reports.sensor_charts import (
    Exposures,
    exposure_charts,
    exposures,
    response_chart,
    vignette_chart,
    white_point_chart,
)

__all__ = ["Told", "sections", "subtitle", "title"]


@dataclass(frozen=True)
class Told:
    """All that a report is made of.

    ``folder``: the run; ``step`` steps are behind the ``model``, of which ``history`` tells; ``views``: those that were
    rendered, ``large`` of them to look at, ``exposed`` one at several exposures; ``scores``: what ``eval.json`` holds,
    empty when it is of another state; ``machine``: what ``machine.toml`` holds; ``refinement``: what
    ``refinement.json`` holds; ``remarks``: what the reader should know about the page itself.
    """

    folder: Path
    capture: Capture
    source: CaptureSource
    settings: FitSettings
    machine: Mapping[str, Any]
    model: Model
    step: int
    history: History
    views: tuple[MeasuredView, ...]
    large: tuple[LargeView, ...]
    scores: Mapping[str, Any]
    refinement: Mapping[str, Any] | None = None
    remarks: tuple[str, ...] = ()
    exposed: ExposedView | None = None

    @property
    def exif(self) -> Scores | None:
        """The mean over all held-out photos under the policy ``exif``, where it is of this state."""
        return Scores(**self.scores["test"]) if "test" in self.scores else None

    @property
    def fitted(self) -> Scores | None:
        """Likewise under the policy ``fitted``."""
        return Scores(**self.scores["fitted_exposure"]) if "fitted_exposure" in self.scores else None

    def shown(self, most: int | None) -> list[LargeView]:
        """At most ``most`` of each part to look at."""
        parts = ([view for view in self.large if view.measured.held_out == held_out] for held_out in (True, False))
        return [view for part in parts for view in part[:most]]


def title(told: Told) -> str:
    """Of the page."""
    return f"Fit of {told.source.folder.name or told.source.folder}"


def subtitle(told: Told) -> str:
    """What was fitted to what, in a line."""
    train, test = len(told.capture.train), len(told.capture.test)
    height, width = told.model.cameras.size_of(0)
    return f"{_count(train, 'training photo')} and {test} held out, {width} \N{MULTIPLICATION SIGN} {height} pixels"


def sections(told: Told, shown: int | None = None) -> list[Section]:
    """All sections; ``shown``: how many photos of each part are shown large, None for as many as are worth it."""
    found = exposures(told.model.cameras, told.capture.exif_ev, told.capture.names, told.capture.train)
    evidence = _evidence(told, found)
    large = told.shown(shown)
    urls = {each.view: f"#row-{each.view}" for each in told.views} | {
        each.measured.view: f"#view-{each.measured.view}" for each in large
    }
    rows = _rows(told, found, urls)
    return [
        Section("Summary", fact_tiles(_facts(told, evidence)) + _remarks(told)),
        Section("What to try next", advice_list(advice(evidence)), short="Next", anchor="next"),
        *gallery_section(large, len(told.views), len(told.capture)),
        *exposed_section(told.exposed, told.scores),
        table_section(rows, len(told.views)),
        Section("How the fit went", _curves(told.history), short="Curves", anchor="curves"),
        Section("Light", chart_grid(_light(told, found, urls)), _LIGHT),
        moves_section(told.refinement, told.settings.refine.structure, {row.name: row.url for row in rows if row.url}),
        Section("Settings", _settings(told)),
        Section("Versions and notes", _versions(told), anchor="versions", short="Versions"),
    ]


_LIGHT = (
    "How the cameras recorded light, as the fit found it: recorded = response(radiance "
    "\N{MULTIPLICATION SIGN} exposure / white point \N{MULTIPLICATION SIGN} vignette)."
)


def _evidence(told: Told, found: Exposures) -> Evidence:
    width = int(told.model.cameras.sizes[:, 1].max())
    return Evidence(
        step=told.step,
        settings=told.settings,
        history=told.history,
        views=told.views,
        exif=told.exif,
        fitted=told.fitted,
        exposures=found,
        photo_width=max(lens.width for lens in told.model.cameras.lenses),
        width=width,
    )


def _facts(told: Told, evidence: Evidence) -> Iterator[Fact]:
    yield from _score_facts(told, evidence)
    done = evidence.fraction >= 1
    state = "finished" if done else f"at {100 * evidence.fraction:.0f} %"
    sittings = told.history.sittings
    yield Fact("State", state, "in one sitting" if sittings == 1 else f"in {sittings} sittings", "" if done else "warn")
    elapsed = float(told.history.elapsed[-1]) if len(told.history) else 0.0
    pace, minutes = f"{told.step / elapsed:.1f} a second" if elapsed > 0 else "", told.settings.minutes
    steps = "" if minutes is not None else f"of {told.settings.steps or DEFAULT_STEPS:,}"
    yield Fact("Steps", f"{told.step:,}", ", ".join(filter(None, (steps, pace))))
    yield Fact("Time", _clock(elapsed), "of fitting" if minutes is None else f"of {minutes:g} minutes of fitting")
    yield Fact("Points", f"{len(told.model.scene):,}", f"{len(told.capture.points):,} in the capture")
    numbers = sum(parameter.raw.numel() for parameter in told.model.parameters())
    yield Fact("Fitted numbers", f"{numbers:,}")


def _score_facts(told: Told, evidence: Evidence) -> Iterator[Fact]:
    """Of the held-out photos; of the training photos where there are none."""
    exif, fitted, of = told.exif, told.fitted, f"{len(told.capture.test)} held-out photos"
    held_out = [view.scores for view in told.views if view.held_out and view.scores is not None]
    if exif is None and held_out:
        exif, of = _mean(held_out), f"{len(held_out)} of {len(told.capture.test)} held-out photos"
    train = evidence.psnrs(held_out=False)
    if exif is not None:
        yield Fact("PSNR", f"{exif.psnr:.2f} dB", of)
        yield Fact("SSIM", f"{exif.ssim:.3f}", "1 is equal")
        yield Fact("FLIP", f"{exif.flip:.3f}", "0 is equal")
    if fitted is not None:
        yield Fact("PSNR, fitted exposure", f"{fitted.psnr:.2f} dB", "on the right half of each")
    if train:
        yield Fact(
            "PSNR, training photos", f"{sum(train) / len(train):.2f} dB", f"{_count(len(train), 'photo')} measured"
        )


def _remarks(told: Told) -> Markup:
    """What qualifies the numbers."""
    said: list[str | Markup] = list(told.remarks)
    if told.capture.test and told.exif is None:
        said.append(
            Markup(
                "Scores are of the photos that were rendered for this page; {} scores all, under both policies."
            ).format(code("unrender eval RUN"))
        )
    if not len(told.history):
        said.append("No log of the fit was found, so its curves and its time are missing.")
    return Markup("").join(note(line, "warn") for line in said)


def _rows(told: Told, found: Exposures, urls: Mapping[int, str]) -> list[PhotoRow]:
    """A row for every photo."""
    measured = {view.view: view for view in told.views}
    scored = {
        entry["name"]: Scores(entry["psnr"], entry["ssim"], entry["flip"]) for entry in told.scores.get("images", [])
    }
    off = dict(zip(found.views, found.off.tolist(), strict=True))
    return [
        PhotoRow(
            view, name, view in told.capture.test, measured.get(view), scored.get(name), off.get(view), urls.get(view)
        )
        for view, name in enumerate(told.capture.names)
    ]


def _curves(past: History) -> Markup:
    if len(past) < 2:
        return note("There are too few steps for curves.")
    return chart_grid(history_charts(past))


def _light(told: Told, found: Exposures, urls: Mapping[int, str]) -> list[Markup]:
    cameras = told.model.cameras
    return [
        *exposure_charts(found, urls),
        white_point_chart(cameras, found, urls),
        vignette_chart(cameras),
        *vignette_maps(cameras),
        response_chart(cameras),
    ]


def _settings(told: Told) -> Markup:
    """First what differs from the default, then all."""
    leaves, usual = told.settings.leaves(), FitSettings().leaves()
    changed = {name: value for name, value in leaves.items() if usual.get(name, _ABSENT) != value}
    first = pairs_table(_written(changed)) if changed else note("All at their default.")
    return (
        Markup("<h3>Other than the default</h3>")
        + first
        + collapsed(f"all {len(leaves)} settings", pairs_table(_written(leaves)))
    )


_ABSENT = object()


def _written(leaves: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Settings as ``settings.toml`` writes them, nearly."""
    return [(name, "none" if value is None else _plain(value)) for name, value in leaves.items()]


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(_plain, value)) if isinstance(value, tuple | list) else str(value)


def _versions(told: Told) -> Markup:
    machine = [(name.replace("_", " "), str(value)) for name, value in _flat(told.machine)]
    pairs = [("run", str(told.folder.resolve())), ("capture", str(told.source.folder)), *machine]
    notes = Markup("").join(note(line) for line in told.history.notes)
    opened = collapsed(_count(len(told.history.notes), "note") + " of the fit", notes) if notes else Markup("")
    return pairs_table(pairs) + opened


def _flat(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Entries of a table of tables."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        else:
            yield name, value


def _mean(scores: Sequence[Scores]) -> Scores:
    columns = zip(*((each.psnr, each.ssim, each.flip) for each in scores), strict=True)
    return Scores(*(sum(column) / len(scores) for column in columns))


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _clock(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if whole < 60:
        return f"{whole} s"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"
