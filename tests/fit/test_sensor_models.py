"""A fit with every family, model of colour and vignette: it runs, and resumes bit for bit."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from unrender.datasets.read_capture import read_capture
from unrender.errors import SettingsError
from unrender.fit.checkpoint import read_checkpoint, write_checkpoint
from unrender.fit.fit import Fit, start_model
from unrender.fit.settings import SensorSettings
from unrender.fit.settings_file import settings_from_table, settings_to_table
from unrender.messages import Note

MODELS = [
    SensorSettings(*model) for model in product(("knots", "gamma", "emor", "ppisp"), ("white_point", "homography"))
]
MODELS.append(SensorSettings("ppisp", "homography", True))


@pytest.fixture(scope="module")
def capture(tiny_capture):
    return read_capture(tiny_capture)


def fit_of(capture, small, sensor):
    settings = replace(small, sensor=sensor, unlock=0.0)
    return Fit(start_model(capture, settings)[0], capture, settings)


@pytest.mark.parametrize("sensor", MODELS, ids=lambda one: f"{one.response}-{one.color}-{one.vignette_per_channel}")
def test_a_fit_resumes_bit_for_bit(capture, small, sensor, tmp_path):
    whole = fit_of(capture, small, sensor)
    list(whole.run(stop=lambda: whole.step == 6))
    half = fit_of(capture, small, sensor)
    before = {name: one.clone() for name, one in half.state().items() if name.startswith("cameras.")}
    list(half.run(stop=lambda: half.step == 3))
    path = tmp_path / "c.safetensors"
    write_checkpoint(path, half.model, half.state(), half.settings, half.step)
    checkpoint = read_checkpoint(path)
    resumed = Fit(checkpoint.load_model(), capture, checkpoint.settings)
    resumed.restore(checkpoint.tensors, 3, 0.0)
    list(resumed.run(stop=lambda: resumed.step == 6))
    first, again = whole.state(), resumed.state()
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert resumed.model.cameras.sensor.response_family == sensor.response
    for name in ("cameras.white_point", "cameras.response"):
        assert not torch.equal(first[name], before[name]), name
    assert all(bool(torch.isfinite(one).all()) for one in first.values())


def test_a_fit_says_what_holds_the_contrast(capture, small):
    fit = fit_of(capture, small, SensorSettings(color="homography"))
    said = [message.text for message in fit.run(stop=lambda: True) if isinstance(message, Note)]
    assert any(text.startswith("contrast is held by the prior on the response: EXIF says") for text in said)


def test_radiometry_starts_the_model_that_was_asked_for(capture, small):
    settings = replace(small, sensor=SensorSettings("ppisp"), radiometry=True)
    sensor = start_model(capture, settings)[0].cameras.sensor
    assert sensor.response_family == "ppisp"
    assert sensor.response_raw.shape[-1] == 4


def test_settings_of_the_sensor_go_through_a_file(small):
    settings = replace(small, sensor=SensorSettings("emor", "homography", True))
    assert settings_from_table(settings_to_table(settings)) == settings
    with pytest.raises(SettingsError, match=r"sensor\.response"):
        settings_from_table({"sensor": {"response": "cubic"}})
