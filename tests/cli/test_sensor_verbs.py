"""A run with the largest models of the sensor, through every verb that reads a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unrender.fit.run import Run


@pytest.fixture(scope="module")
def modelled(unrender, tiny_capture, small, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("modelled") / "run"
    models = ("--response", "ppisp", "--color", "homography", "--vignette-per-channel")
    refined = ("--refine", "photometry,poses")
    said = unrender("fit", tiny_capture, "-o", run, "--config", small, "--steps", 6, "--threads", 1, *models, *refined)
    assert said.status == 0, said.err
    assert "contrast is held by the prior on the response: EXIF says" in said.err
    return run


def test_the_run_has_the_models_that_were_asked_for(modelled):
    run = Run.open(modelled)
    sensor = run.load_model().cameras.sensor
    assert sensor.response_family == "ppisp"
    assert sensor.white_point.shape[1] == 8
    assert sensor.vignette.shape[1:] == (3, 3)
    assert run.settings.sensor.vignette_per_channel
    assert sensor.white_point.any()
    assert json.loads((modelled / "eval.json").read_text())["contrast_from"] == "prior"


@pytest.mark.parametrize(
    "words",
    [
        ("eval",),
        ("report",),
        ("export", "-o", "exported", "--to", "colmap"),
        ("render", "-o", "pictures"),
        ("render", "-o", "filmic", "--tonemap", "filmic"),
    ],
    ids=" ".join,
)
def test_every_verb_reads_such_a_run(unrender, modelled, tmp_path, words):
    verb, *more = words
    places = [tmp_path / word if before == "-o" else word for before, word in zip(("", *more), more, strict=False)]
    said = unrender(verb, modelled, *places)
    assert said.status == 0, said.err


def test_a_run_does_not_change_its_response(unrender, modelled, tiny_capture):
    said = unrender("fit", tiny_capture, "-o", modelled, "--resume", "--response", "gamma")
    assert said.status == 2
    assert "sensor.response" in said.err
