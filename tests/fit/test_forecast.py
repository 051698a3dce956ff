"""What is suggested for a capture, and that the pace is of real steps."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from unrender.datasets.read_capture import read_capture
from unrender.fit import forecast as forecasting
from unrender.fit.forecast import forecast, measure_pace
from unrender.fit.settings import CropSettings, FitSettings
from unrender.render.shade.settings import DecoderSettings

SMALL = FitSettings(crop=CropSettings(size=32), network=DecoderSettings(levels=2, width=8, precision="float32"))


@pytest.fixture(scope="module")
def capture(tiny_capture):
    return read_capture(tiny_capture)


def test_photos_narrower_than_any_suggestion_are_taken_as_they_are(capture):
    found = forecast(capture, pace=False)
    assert (found.width, found.minutes, found.settings) == (64, 5, {})
    assert found.fits
    assert math.isnan(found.step)


@pytest.mark.parametrize(
    "ev", [torch.linspace(3, 6, 9), torch.tensor([4.0] * 8 + [math.nan])], ids=["apart", "missing"]
)
def test_exposures_that_are_apart_or_missing_want_radiometry(capture, ev):
    assert forecast(replace(capture, exif_ev=ev.double()), pace=False).settings == {"radiometry": True}


def test_without_the_memory_the_least_is_suggested_and_no_step_made(capture, monkeypatch):
    monkeypatch.setattr(forecasting, "available_memory", lambda: 1000)
    found = forecast(capture)
    assert not found.fits
    assert math.isnan(found.step)


def test_the_pace_is_a_positive_number_of_seconds_and_the_capture_stays_as_it_was(capture):
    before = capture.cameras.sensor.exposure.clone()
    assert 0 < measure_pace(capture, SMALL, steps=2) < 60
    torch.testing.assert_close(capture.cameras.sensor.exposure, before)
