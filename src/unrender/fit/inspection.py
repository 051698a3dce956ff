"""What is wrong with a capture and how to fit it: the diagnosis, what only a fit would refuse, and the forecast."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

from unrender.datasets.capture import Capture
from unrender.datasets.diagnosis import MOST_PHOTOS, inspect_capture
from unrender.datasets.evidence.statements import refused
from unrender.datasets.findings import Diagnosis, Inspected
from unrender.errors import CaptureError, RunError
from unrender.fit.check_start import check_start
from unrender.fit.forecast import Forecast, forecast
from unrender.fit.settings import FitSettings
from unrender.fit.source import CaptureSource
from unrender.messages import Message

__all__ = ["Inspection", "inspect_for_fit"]


@dataclass(frozen=True)
class Inspection:
    """The diagnosis; how to fit and the capture itself, where a fit would begin."""

    diagnosis: Diagnosis
    forecast: Forecast | None = None
    capture: Capture | None = None


def inspect_for_fit(source: CaptureSource, most_photos: int = MOST_PHOTOS) -> Generator[Message, None, Inspection]:
    """The diagnosis of ``source``, and a forecast where a fit would begin. Says how far it is.

    The pace is only measured where nothing is wrong. Raises SettingsError for a format or alpha that is none.
    """
    diagnosis = yield from inspect_capture(
        source.folder,
        format=source.format,
        images=source.images,
        masks=source.masks,
        points=source.points,
        alpha=source.alpha,
        most_photos=most_photos,
    )
    try:
        capture = source.read()
        check_start(capture, FitSettings())
    except CaptureError as error:
        known = any(finding.kind in ("refused", "photos_missing") for finding in diagnosis.findings)
        findings = diagnosis.findings if known else (refused(error), *diagnosis.findings)
        return Inspection(replace(diagnosis, findings=findings))
    yield Inspected("the pace of a fit", 1.0)
    try:
        return Inspection(diagnosis, forecast(capture, pace=not diagnosis.alarms), capture)
    except RunError:  # a step that is not finite: there is no pace
        return Inspection(diagnosis, forecast(capture, pace=False), capture)
