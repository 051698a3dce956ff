"""The training loop: it learns, keeps its promises about gauges and held-out views, and resumes to the same bits."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from unrender.datasets.capture import Capture
from unrender.datasets.colmap import read_colmap
from unrender.errors import RunError, SettingsError
from unrender.fit.fit import Fit, measured, start_model
from unrender.fit.settings import FitSettings
from unrender.initialize.points import PointSettings
from unrender.messages import Finished, Started, Stepped


@pytest.fixture(scope="module")
def capture(tiny_capture: Path) -> Capture:
    return read_colmap(tiny_capture, test_every=4)


def begin(capture: Capture, settings: FitSettings) -> Fit:
    return Fit(start_model(capture, settings)[0], capture, settings)


def tensors(fit: Fit) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in fit.state().items()}


def test_it_says_how_it_goes_and_learns(capture: Capture, small: FitSettings) -> None:
    fit = begin(capture, replace(small, steps=60))
    messages = list(fit.run())
    steps = [message for message in messages if isinstance(message, Stepped)]
    assert isinstance(messages[0], Started)
    assert messages[0].train_views == 6
    assert [message.step for message in steps] == list(range(60))
    assert messages[-1] == Finished(60, fit.elapsed, False)
    assert sum(m.psnr for m in steps[-10:]) > sum(m.psnr for m in steps[:10]) + 30
    assert steps[-1].fraction == 1.0
    assert steps[-1].remaining == 0.0


def test_gauges_hold_and_held_out_views_stay_as_they_were(capture: Capture, small: FitSettings) -> None:
    fit = begin(capture, replace(small, steps=20, unlock=0.0))
    sensor = fit.model.cameras.sensor
    measured_ev = capture.cameras.sensor.exposure.clone()
    start = sensor.exposure.detach().clone()
    list(fit.run())
    moved = (sensor.exposure.detach() - start).abs()
    train, test = list(capture.train), list(capture.test)
    assert float(moved[train].max()) > 1e-3
    assert float(moved[test].max()) == 0.0
    assert torch.equal(capture.cameras.sensor.exposure, measured_ev)
    assert float(sensor.white_point.detach()[test].abs().max()) == 0.0
    assert float((sensor.exposure.detach() - start)[train].mean()) == pytest.approx(0.0, abs=1e-5)
    assert float(sensor.white_point.detach()[train].mean(0).abs().max()) == pytest.approx(0.0, abs=1e-5)


def test_cameras_wait_for_their_turn(capture: Capture, small: FitSettings) -> None:
    fit = begin(capture, replace(small, steps=10, unlock=0.5))
    before = fit.model.cameras.sensor.response_logits.detach().clone()
    list(fit.run(stop=lambda: fit.step == 5))
    assert torch.equal(fit.model.cameras.sensor.response_logits.detach(), before)
    list(fit.run())
    assert not torch.equal(fit.model.cameras.sensor.response_logits.detach(), before)


def test_resumed_fits_end_with_the_same_bits(capture: Capture, small: FitSettings) -> None:
    whole = begin(capture, small)
    list(whole.run())
    first = begin(capture, small)
    list(first.run(stop=lambda: first.step == 2))
    second = begin(capture, small)
    second.restore(tensors(first), first.step, first.elapsed)
    list(second.run())
    expected, got = whole.state(), second.state()
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)


def test_batches_of_views_of_different_size(capture: Capture, small: FitSettings) -> None:
    """Some photos are cut down to 24 x 64, so that no window of 32 pixels fits into all."""
    cameras = capture.cameras
    sizes = torch.where(torch.arange(len(cameras))[:, None] % 2 == 0, torch.tensor([24, 64]), cameras.sizes)
    fit = begin(capture, replace(small, steps=3, crop=replace(small.crop, batch=6)))
    fit.model = replace(fit.model, cameras=replace(fit.model.cameras, sizes=sizes))
    _, windows = fit.draw(torch.Generator().manual_seed(0))
    assert {window.size for window in windows} == {(24, 32)}
    assert sum(isinstance(message, Stepped) for message in fit.run()) == 3


def test_the_clock_can_end_a_fit(capture: Capture, small: FitSettings) -> None:
    fit = begin(capture, replace(small, steps=None, minutes=0.02))
    list(fit.run())
    assert 1.2 <= fit.elapsed < 5


def test_a_loss_that_is_not_finite_is_refused_with_step_and_photo(capture: Capture, small: FitSettings) -> None:
    fit = begin(capture, small)
    with torch.no_grad():
        fit.model.scene.parameters()[0].raw.fill_(math.nan)
    with pytest.raises(RunError, match=r"step 0: the loss is not finite, got nan; look at .*\.jpg"):
        list(fit.run())


def test_precision_is_measured_once_and_only_when_asked(small: FitSettings) -> None:
    assert measured(small) is small
    auto = replace(small, network=replace(small.network, precision="auto"))
    settled = measured(auto)
    assert settled.network.precision in ("float32", "bfloat16")
    assert replace(settled, network=auto.network) == auto


def test_settings_that_contradict_are_refused() -> None:
    with pytest.raises(SettingsError, match="exclude each other"):
        FitSettings(steps=1, minutes=1)
    with pytest.raises(SettingsError, match="minutes must be positive"):
        FitSettings(minutes=0)
    with pytest.raises(SettingsError, match=r"points\.channels = 4"):
        FitSettings(points=PointSettings(channels=5))
