"""Exposure and response errors are blind to what photos cannot tell, and to nothing else."""

from dataclasses import replace

import pytest
import torch

from unrender.cameras.sensor import Sensor
from unrender.cli.demo_errors import exposure_errors, photometric_errors
from unrender.cli.plot import Plot


@pytest.fixture
def truth():
    return Sensor.start(torch.tensor([3.0, 4.0, 5.0, 6.0])).with_response(lambda x: x**0.6)


def test_a_common_offset_of_exposures_is_no_error(truth):
    assert exposure_errors(truth.exposure + 1.5, truth.exposure, [0, 1, 3]).abs().max() < 1e-6


def test_exposure_errors_are_of_the_given_views(truth):
    moved = truth.exposure + torch.tensor([0.3, -0.3, 9.0, 0.0])
    assert exposure_errors(moved, truth.exposure, [0, 1, 3]).tolist() == pytest.approx([0.3, -0.3, 0.0], abs=1e-6)


def test_before_is_where_a_fit_starts_and_after_where_it_is(truth):
    started = Sensor.start(truth.exposure + torch.tensor([0.2, -0.2, 0.0, 0.0]))
    found = replace(started, exposure=truth.exposure, response_raw=truth.response_raw)
    errors = photometric_errors(found, truth, range(4))
    assert errors.exposure_mean == pytest.approx((0.1, 0.0), abs=1e-6)
    assert errors.exposure_median == pytest.approx((0.0, 0.0), abs=1e-6)
    before, after = errors.response
    assert after < 1e-6
    assert before > 0.02


def test_the_scale_of_exposure_is_no_response_error(truth):
    """R(0.7 x), which a scene 1 / 0.7 times as bright needs, is the same response as far as photos tell."""
    dim = truth.with_response(lambda x: x.clamp(max=1) ** 0.6)
    bright = truth.with_response(lambda x: (x / 0.5).clamp(max=1) ** 0.6)
    assert photometric_errors(bright, dim, range(4)).response[1] < 0.02


def test_a_channel_of_its_own_counts(truth):
    logits = truth.response_raw.clone()
    logits[0, 2] = Sensor.start(truth.exposure).with_response(lambda x: x**0.3).response_raw[0, 2]
    assert photometric_errors(replace(truth, response_raw=logits), truth, range(4)).response[1] > 0.02


def test_a_plot_shows_its_lines_in_their_places():
    plot = Plot("title", (0.0, 1.0), (0.0, 1.0))
    plot.line([0.0, 1.0], [0.5, 0.5], (255, 0, 0), "half", width=4)
    picture = plot.picture()
    red = [(u, v) for v in range(80, 380) for u in range(62, 542) if picture.getpixel((u, v)) == (255, 0, 0)]
    middle = (66 + 380) / 2
    assert len(red) > 400
    assert all(abs(v + 0.5 - middle) < 3 for _, v in red)
