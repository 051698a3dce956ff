"""Each rule speaks when its evidence is there, and only then."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from unrender.fit.settings import FitSettings
from unrender.messages import Scores, Skipped, Stepped
from unrender.reports.advice import Evidence, advice
from unrender.reports.history import history
from unrender.reports.measured import MeasuredView
from unrender.reports.pictures import embedded
from unrender.reports.sensor_charts import Exposures

THUMB = embedded(torch.zeros(3, 2, 2))


def view(number, psnr: float | None = 25.0, held_out=False, clipped=0.0, bare=0.0):
    scores = None if psnr is None else Scores(psnr, 0.8, 0.1)
    ours = torch.zeros(3, 2, 2).byte()
    return MeasuredView(number, f"photo_{number}", held_out, scores, clipped, bare, THUMB, ours)


def steps(count, rise=0.0):
    return [
        Stepped(step, 0.1, 25.0 + rise * step / count, step / count, 0.1 * (step + 1), 1.0) for step in range(count)
    ]


def exposed(off=(0.0,) * 8, known=True):
    exif = np.full(len(off), 8.0 if known else np.nan)
    return Exposures(tuple(range(len(off))), tuple(f"photo_{n}" for n in range(len(off))), 8.0 + np.array(off), exif)


GOOD = Evidence(
    step=1000,
    settings=FitSettings(steps=1000),
    history=history(steps(1000)),
    views=[view(number) for number in range(8)],
    exif=Scores(24.0, 0.8, 0.1),
    fitted=Scores(24.5, 0.8, 0.1),
    exposures=exposed(),
    photo_width=800,
    width=640,
)


def titles(evidence):
    return [said.title for said in advice(evidence)]


def test_nothing_is_said_without_evidence():
    assert titles(GOOD) == ["Nothing stands out"]


ROWS = {
    "diverged": ({"views": [view(0, None)]}, "Start again with lower rates", "photo_0"),
    "unfinished": ({"step": 400}, "Let it finish", "40 %"),
    "unfinished by the clock": ({"settings": FitSettings(minutes=10)}, "Let it finish", "17 %"),
    "skipped": ({"history": history([*steps(1000), Skipped(5, "x", ("y",), 3)])}, "Lower the rates", "3 of 1000"),
    "few steps": ({"step": 40, "settings": FitSettings(steps=40)}, "Fit longer", "5.0 times"),
    "still rising": ({"history": history(steps(1000, rise=4.0))}, "Fit longer", "1.0 dB"),
    "bare": ({"views": [view(0, bare=0.3), view(1)]}, "More points", "15 %"),
    "gap": ({"fitted": Scores(20.0, 0.8, 0.1), "exif": Scores(20.0, 0.8, 0.1)}, "More photos", "20.0 dB"),
    "outlier": ({"views": [*GOOD.views, view(9, 15.0)]}, "Look at the photos that are much worse", "photo_9"),
    "exposures": ({"exposures": exposed((0.7, *[0.0] * 7))}, "Look at photos whose exposure", "photo_0 (+0.7)"),
    "clipped": ({"views": [view(0, clipped=0.2)]}, "Expose less", "20 %"),
    "policy": ({"exif": Scores(22.0, 0.8, 0.1)}, "Judge held-out photos with fitted", "2.5 dB"),
    "no EXIF": ({"exposures": exposed(known=False)}, "Keep the EXIF data", "8 of 8"),
    "narrow": ({"width": 320}, "A larger --width", "320 pixels"),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_rule_speaks_alone_and_with_its_evidence(row):
    change, title, evidence = ROWS[row]
    (said,) = advice(replace(GOOD, **change))
    assert said.title.startswith(title)
    assert evidence in said.evidence


@pytest.mark.parametrize(
    "change",
    [
        {"views": [], "exif": None, "fitted": None, "history": history([])},
        {"exposures": exposed((0.4,) * 8)},
        {"views": [*GOOD.views, view(9, 21.0)]},
        {"history": history(steps(1000, rise=0.5))},
    ],
    ids=["nothing known", "EXIF rounded", "a bit worse", "hardly rising"],
)
def test_weak_evidence_is_none(change):
    assert titles(replace(GOOD, **change)) == ["Nothing stands out"]


def test_many_names_are_the_first_few_and_a_number():
    views = [view(number, None) for number in range(9)]
    assert "photo_0, photo_1, photo_2 and 6 more" in advice(replace(GOOD, views=views))[0].evidence
