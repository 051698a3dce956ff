"""``unrender inspect``: what is wrong with a capture, before anything is fitted to it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from unrender.cli.console import print_json, print_result
from unrender.cli.progress import ProgressView
from unrender.cli.session import Session, flag, option
from unrender.errors import RunError, SettingsError

if TYPE_CHECKING:
    from unrender.datasets.findings import CaptureFacts, Diagnosis, Finding
    from unrender.fit.forecast import Forecast
    from unrender.fit.inspection import Inspection
    from unrender.fit.source import CaptureSource

__all__ = ["InspectVerb", "inspection_lines", "inspection_table"]

_LENSES = 4
"""Lenses that are said one by one."""


@dataclass(frozen=True)
class InspectVerb:
    """Say what is wrong with photos and poses before anything is fitted to them, and how to fit them.

    Exit status 0 when it could look, whatever it found; with --strict 3 when it raised an alarm. Nothing is written
    but what --html and --json name.
    """

    capture: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CAPTURE")]
    """Folder (or file) of photos with poses in any format that `unrender fit` takes."""
    file: Annotated[Path | None, tyro.conf.Positional, option("FILE")] = None
    """After --json: write the JSON here and print for people. Default: print the JSON in its place."""
    html: Annotated[Path | None, option("FILE")] = None
    """Write a page with pictures here, which opens in any browser without a network."""
    points: Annotated[Path | None, option("FILE")] = None
    """Point cloud to start from, as for `unrender fit`."""
    images: Annotated[Path | None, option("DIR")] = None
    """Folder of the photos. Default: where CAPTURE says."""
    masks: Annotated[Path | None, option("DIR")] = None
    """Folder of masks, as for `unrender fit`."""
    alpha: Annotated[Literal["ignore", "mask", "white", "black"] | None, option("HOW")] = None
    """Transparency of the photos, as for `unrender fit`."""
    format: Annotated[str | None, option("NAME")] = None
    """What CAPTURE is, when it is not recognised or looks like several things."""
    photos: Annotated[int | None, option("N")] = None
    """Open so many photos, evenly spread (default 150)."""
    strict: Annotated[bool, flag] = False
    """Exit with status 3 when there is an alarm."""
    session: Session = field(default_factory=Session)

    def run(self) -> int:
        """Do it; the exit status."""
        self._check()
        self.session.apply(("cpu",))
        from unrender.fit.log import json_text

        with ProgressView(self.session.quiet) as view:
            found = self._follow(view)
            diagnosis, forecast = found.diagnosis, found.forecast
            if self.html is not None:
                from unrender.reports.capture_page import capture_page

                self.html.write_text(capture_page(diagnosis, forecast, found.capture), encoding="utf-8")
                view.say(f"wrote {self.html}")
        table = inspection_table(diagnosis, forecast)
        if self.file is not None:
            self.file.write_text(json_text(table, indent=1) + "\n", encoding="utf-8")
        if self.session.json and self.file is None:
            print_json(table)
        else:
            print_result(*inspection_lines(diagnosis, forecast))
        return 3 if self.strict and diagnosis.alarms else 0

    def _check(self) -> None:
        """Raises SettingsError, RunError for what makes no sense, before anything is looked at."""
        if self.photos is not None and self.photos < 2:
            raise SettingsError("photos to open", where="--photos", expected="2 or more", got=self.photos)
        if self.file is not None and not self.session.json:
            raise SettingsError("a file without --json", got=self.file, do=f"say --json {self.file}")
        for path in filter(None, (self.file, self.html)):
            if path.is_dir() or not path.absolute().parent.is_dir():
                raise RunError("not a file in a folder that is there", where=path, do="choose another place")

    def _source(self) -> CaptureSource:
        from unrender.fit.source import CaptureSource

        return CaptureSource(
            folder=self.capture,
            images=self.images,
            masks=self.masks,
            points=self.points,
            format=self.format,
            alpha=self.alpha,
        )

    def _follow(self, view: ProgressView) -> Inspection:
        """Look and show how far it is."""
        from unrender.datasets.diagnosis import MOST_PHOTOS
        from unrender.datasets.findings import Inspected
        from unrender.fit.inspection import inspect_for_fit

        messages = inspect_for_fit(self._source(), MOST_PHOTOS if self.photos is None else self.photos)
        while True:
            try:
                message = next(messages)
            except StopIteration as end:
                return end.value
            if isinstance(message, Inspected):
                view.advance("inspecting", message.fraction, message.what)


def inspection_table(diagnosis: Diagnosis, forecast: Forecast | None) -> dict[str, Any]:
    """The result for programs."""
    facts = None if diagnosis.facts is None else asdict(diagnosis.facts)
    table: dict[str, Any] = {"capture": diagnosis.root, "alarms": len(diagnosis.alarms), "facts": facts, "fit": None}
    table |= {name: [asdict(entry) for entry in getattr(diagnosis, name)] for name in ("findings", "photos")}
    table["notes"] = diagnosis.notes
    if forecast is not None:
        table["fit"] = {
            "width": forecast.width,
            "minutes": forecast.minutes,
            "settings": forecast.settings,
            "memory": forecast.need.peak,
            "memory_free": forecast.available,
            "seconds_per_step": forecast.step,
        }
    return table


def inspection_lines(diagnosis: Diagnosis, forecast: Forecast | None) -> Iterator[str]:
    """The result for people: what there is, what is wrong, and how to fit it."""
    if diagnosis.facts is not None:
        yield f"{diagnosis.root}: {_counted(diagnosis.facts)}"
        yield from _fact_lines(diagnosis.facts)
    else:
        yield f"{diagnosis.root}: cannot be read"
    if forecast is not None and not diagnosis.alarms:
        yield from _forecast_lines(diagnosis, forecast)
    for finding in diagnosis.findings:
        yield ""
        yield from _finding_lines(finding)
    yield ""
    alarms, hints = len(diagnosis.alarms), len(diagnosis.hints)
    yield f"{_number(alarms, 'alarm')}, {_number(hints, 'hint')}" if alarms or hints else "nothing is wrong"


def _counted(facts: CaptureFacts) -> str:
    cameras = _number(facts.cameras, "camera")
    seen = f", {facts.observations:,} observations" if facts.observations else ""
    return f"{facts.photos} photos through {cameras}, {facts.points:,} points{seen}"


def _fact_lines(facts: CaptureFacts) -> Iterator[str]:
    for line in facts.lenses[:_LENSES]:
        yield f"  lens       {line}"
    if len(facts.lenses) > _LENSES:
        yield f"             and {len(facts.lenses) - _LENSES} more"
    if facts.ev is None:
        yield "  exposure   no photo says"
    else:
        least, most = facts.ev
        missing = f", {facts.ev_missing} photos do not say" if facts.ev_missing else ""
        yield f"  exposure   EV {least:.1f} to {most:.1f}, {most - least:.1f} stops apart{missing}"
    if not math.isnan(facts.outside):
        yield (
            f"  points     one every {facts.spacing:.1f} pixels of a photo, in {100 * facts.covered:.0f} % of its area;"
            f" {100 * facts.outside:.0f} % of them in no photo"
        )
    said = [] if math.isnan(facts.residual) else [f"tracks to {facts.residual:.2f} pixels"]
    said += [] if math.isnan(facts.agreement) else [f"photos to {facts.agreement:.2f} of 1 on {facts.pairs:,} places"]
    if said:
        yield f"  agreement  {', '.join(said)}"
    if facts.looked_at < facts.photos:
        yield f"  opened     {facts.looked_at} of {facts.photos} photos"


def _forecast_lines(diagnosis: Diagnosis, forecast: Forecast) -> Iterator[str]:
    gib = 2.0**30
    yield f"  fit        unrender fit {shlex.quote(str(diagnosis.root))} -o RUN --width {forecast.width}" + (
        f" --minutes {forecast.minutes}"
    )
    for name, value in forecast.settings.items():
        yield f"             with {name} = {str(value).lower()} in --config FILE.toml"
    room = "are free" if forecast.fits else "are free: too little"
    yield f"  memory     about {forecast.need.peak / gib:.1f} GiB; {forecast.available / gib:.1f} {room}"
    if not math.isnan(forecast.step):
        yield (
            f"  time       {forecast.step:.2f} s a step here and now (measured), so about {forecast.steps:,.0f} steps"
            f" in {forecast.minutes} minutes; starting and scoring come on top"
        )


def _finding_lines(finding: Finding) -> Iterator[str]:
    mark = "ALARM" if finding.level == "alarm" else "hint "
    yield f"{mark}  {finding.title}  [{finding.kind}]"
    yield from (f"       {line}" for line in finding.evidence)
    if finding.do:
        yield f"       -> {finding.do}"


def _number(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"
