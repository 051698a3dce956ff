"""What to try next: short rules, each with the evidence that it rests on. None speaks without evidence."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, median

import numpy as np
from markupsafe import Markup

from unrender.fit.settings import DEFAULT_STEPS, FitSettings
from unrender.messages import Scores
from unrender.reports.history import History
from unrender.reports.measured import MeasuredView
from unrender.reports.page import Advice, code
from unrender.reports.sensor_charts import Exposures

__all__ = ["Evidence", "advice"]

_SEEN = 10
"""Times that a fit should look at each photo at the least."""
_STILL_FALLING = 0.3
"""dB that the last quarter must have gained to promise more."""
_GAP = 3.0
"""dB between training and held-out photos that mean that the fit learned the photos and not the scene."""
_EXPOSURE_COST = 1.0
"""dB between the two exposure policies that are worth a word."""
_OFF = 0.5
"""Stops by which a fitted exposure may differ from EXIF: more than EXIF's rounding and a camera's habits."""
_CLIPPED, _BARE = 0.05, 0.1
"""Shares of pixels."""
_OUTLIER = 5.0
"""dB below the median of its kind at which a photo is worth looking at."""
_NAMED = 3


@dataclass(frozen=True)
class Evidence:
    """All that the rules look at.

    ``step`` steps are behind the model; ``exif``, ``fitted``: means over the held-out photos under both policies, None
    when they were not scored in this state; ``photo_width``, ``width``: of the photos and as fitted [pixels].
    """

    step: int
    settings: FitSettings
    history: History
    views: Sequence[MeasuredView]
    exif: Scores | None
    fitted: Scores | None
    exposures: Exposures
    photo_width: int
    width: int

    @property
    def fraction(self) -> float:
        """How much of the fit is done, 0 to 1."""
        if self.settings.minutes is not None:
            seconds = float(self.history.elapsed[-1]) if len(self.history) else 0.0
            return min(1.0, seconds / (60 * self.settings.minutes))
        return min(1.0, self.step / (self.settings.steps or DEFAULT_STEPS))

    def psnrs(self, held_out: bool) -> list[float]:
        """Of the measured views of one part."""
        return [view.scores.psnr for view in self.views if view.scores is not None and view.held_out == held_out]


def advice(evidence: Evidence) -> list[Advice]:
    """What the evidence suggests, the weightiest first; one entry that says so where nothing stands out."""
    found = [said for rule in _RULES if (said := rule(evidence)) is not None]
    return found or [
        Advice(
            "Nothing stands out",
            "No rule of this page found anything that would clearly help.",
            "Look at the worst photos below.",
            tone="good",
        )
    ]


def _diverged(evidence: Evidence) -> Advice | None:
    broken = [view.name for view in evidence.views if view.scores is None]
    if not broken:
        return None
    return Advice(
        "Start again with lower rates",
        f"The rendering of {_listed(broken)} could not be scored: it is not finite, or its mask leaves too little.",
        "If it is black below, the fit has diverged.",
        tone="bad",
    )


def _unfinished(evidence: Evidence) -> Advice | None:
    if evidence.fraction >= 1:
        return None
    return Advice(
        "Let it finish",
        f"The fit stands at {100 * evidence.fraction:.0f} %, and its last steps, the smallest, sharpen the most.",
        Markup("The same command with {} goes on.").format(code("--resume")),
    )


def _few_steps(evidence: Evidence) -> Advice | None:
    photos = len(evidence.exposures.names)
    seen = evidence.step * evidence.settings.crop.batch / photos
    if evidence.fraction < 1 or seen >= _SEEN:
        return None
    return Advice(
        "Fit longer",
        f"{evidence.step} steps looked at a crop of each of the {photos} training photos {seen:.1f} times.",
        Markup("{} at the least.").format(code(f"--steps {_SEEN * photos // evidence.settings.crop.batch}")),
    )


def _still_falling(evidence: Evidence) -> Advice | None:
    gain = evidence.history.gain()
    if evidence.fraction < 1 or not gain > _STILL_FALLING or _few_steps(evidence) is not None:
        return None
    end = "--minutes" if evidence.settings.minutes is not None else "--steps"
    now = evidence.settings.minutes or evidence.settings.steps or DEFAULT_STEPS
    return Advice(
        "Fit longer",
        f"Training crops gained {gain:.1f} dB over the last quarter of the steps.",
        Markup("{} in a new run, or with {} in this one.").format(code(f"{end} {2 * now:g}"), code("--resume")),
    )


def _skipped(evidence: Evidence) -> Advice | None:
    count = evidence.history.skipped
    if not count:
        return None
    return Advice(
        "Lower the rates, or look at the photos of these steps",
        f"{count} of {evidence.step} steps were left out because something was not finite.",
        "log.jsonl names steps and photos.",
        tone="bad",
    )


def _gap(evidence: Evidence) -> Advice | None:
    """Under fitted exposure, so that only what is seen counts."""
    train, held_out = evidence.psnrs(held_out=False), evidence.fitted
    if not train or held_out is None or mean(train) - held_out.psnr < _GAP:
        return None
    return Advice(
        "More photos, above all between those that are far apart",
        f"Training photos are at {mean(train):.1f} dB, held-out ones at {held_out.psnr:.1f} dB with fitted exposure: "
        "the fit knows its photos better than the scene.",
        Markup("Where none can be taken: a smaller network ({}), or points where there are few.").format(
            code("network.width")
        ),
    )


def _exposure_policy(evidence: Evidence) -> Advice | None:
    if evidence.exif is None or evidence.fitted is None:
        return None
    cost = evidence.fitted.psnr - evidence.exif.psnr
    if cost < _EXPOSURE_COST:
        return None
    return Advice(
        "Judge held-out photos with fitted exposure",
        f"They score {cost:.1f} dB more once their brightness is fitted than with what EXIF says.",
        "Lock exposure and white balance when taking photos, where you can.",
    )


def _exposures_off(evidence: Evidence) -> Advice | None:
    found = evidence.exposures
    far = [place for place in np.argsort(-np.nan_to_num(np.abs(found.off))) if abs(found.off[place]) > _OFF]
    if not far:
        return None
    named = [f"{found.names[place]} ({found.off[place]:+.1f})" for place in far]
    return Advice(
        "Look at photos whose exposure is not what EXIF says",
        f"{len(far)} of {len(found.names)} are more than {_OFF} stops off: {_listed(named)}.",
        "Edited photos, a flash, or light that changed between them.",
    )


def _no_exif(evidence: Evidence) -> Advice | None:
    missing = int(np.isnan(evidence.exposures.exif).sum())
    if not missing:
        return None
    spread = float(np.ptp(evidence.exposures.fitted))
    return Advice(
        "Keep the EXIF data of the photos",
        f"{missing} of {len(evidence.exposures.names)} training photos have no exposure in it. The fitted ones spread "
        f"over {spread:.1f} stops.",
        "Held-out photos without EXIF are rendered at the mean exposure.",
        tone="",
    )


def _clipped(evidence: Evidence) -> Advice | None:
    shares = [view.clipped for view in evidence.views]
    if not shares or mean(shares) < _CLIPPED:
        return None
    worst = max(evidence.views, key=lambda view: view.clipped)
    return Advice(
        "Expose less",
        f"{100 * mean(shares):.0f} % of the photos' pixels are white in a channel, {100 * worst.clipped:.0f} % in "
        f"{worst.name}: how bright it was there, no photo says.",
        "Bracket, or take some darker photos of the brightest parts.",
    )


def _bare(evidence: Evidence) -> Advice | None:
    shares = [view.bare for view in evidence.views if not math.isnan(view.bare)]
    if not shares or mean(shares) < _BARE:
        return None
    return Advice(
        "More points",
        f"In {100 * mean(shares):.0f} % of the pixels no point lies within eight pixels: there the environment map, "
        "which is infinitely far away, has to stand in. For sky that is right.",
        Markup("A dense cloud ({}), or stereo ({} in {}).").format(
            code("--points FILE"), code("points.stereo"), code("--config")
        ),
    )


def _outliers(evidence: Evidence) -> Advice | None:
    found = []
    for held_out in (False, True):
        psnrs = evidence.psnrs(held_out)
        if len(psnrs) >= 5:
            limit = median(psnrs) - _OUTLIER
            found += [view.name for view in evidence.views if view.held_out == held_out and view.psnr < limit]
    if not found:
        return None
    return Advice(
        "Look at the photos that are much worse than the rest",
        f"More than {_OUTLIER:g} dB below the median: {_listed(found)}.",
        Markup("Blurred, something that moved, or a wrong pose: leave them out or mask them ({}).").format(
            code("--masks DIR")
        ),
    )


def _narrow(evidence: Evidence) -> Advice | None:
    if evidence.width * 2 > evidence.photo_width:
        return None
    return Advice(
        "A larger --width shows more detail",
        f"Fitted at {evidence.width} pixels; the photos have {evidence.photo_width}.",
        "Time and memory grow with the square.",
        tone="",
    )


_RULES: tuple[Callable[[Evidence], Advice | None], ...] = (
    _diverged,
    _unfinished,
    _skipped,
    _few_steps,
    _still_falling,
    _bare,
    _gap,
    _outliers,
    _exposures_off,
    _clipped,
    _exposure_policy,
    _no_exif,
    _narrow,
)


def _listed(names: Sequence[str]) -> str:
    """The first few of them."""
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
