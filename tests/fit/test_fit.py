"""The training loop: it learns, keeps its promises about gauges and held-out views, and resumes to the same bits."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from unrender.datasets.capture import Capture
from unrender.datasets.read_capture import read_capture
from unrender.errors import RunError, SettingsError
from unrender.fit.fit import MOST_SKIPPED, Fit, measured, start_model
from unrender.fit.settings import CropSettings, FitSettings
from unrender.initialize.points import PointSettings
from unrender.messages import Finished, Skipped, Started, Stepped


@pytest.fixture(scope="module")
def capture(tiny_capture: Path) -> Capture:
    return read_capture(tiny_capture, test_every=4)


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
    before = fit.model.cameras.sensor.response_raw.detach().clone()
    list(fit.run(stop=lambda: fit.step == 5))
    assert torch.equal(fit.model.cameras.sensor.response_raw.detach(), before)
    list(fit.run())
    assert not torch.equal(fit.model.cameras.sensor.response_raw.detach(), before)


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


def spoilt(capture: Capture, monkeypatch: pytest.MonkeyPatch, *steps: int, value: float = math.nan) -> list[Fit]:
    """Holds the fit whose photos are ``value`` in some steps, once it is put there."""
    image, fits = Capture.image, []

    def spoilt_image(self: Capture, view: int) -> torch.Tensor:
        return torch.full_like(image(self, view), value) if fits and fits[0].step in steps else image(self, view)

    monkeypatch.setattr(Capture, "image", spoilt_image)
    return fits


def test_a_step_that_is_not_finite_ends_the_fit_and_leaves_it_as_it_was(
    capture: Capture, small: FitSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = spoilt(capture, monkeypatch, 3)
    fits.append(fit := begin(capture, small))
    messages = fit.run()
    next(message for message in messages if isinstance(message, Stepped) and message.step == 2)
    before = tensors(fit)
    with pytest.raises(RunError, match=r"step 3, photo_\d\.jpg: the loss \(nan\) is not finite; .*--on-nonfinite skip"):
        next(messages)
    assert fit.step == 3
    assert fit.whole
    assert all(torch.equal(tensor, before[name]) for name, tensor in fit.state().items())


def test_steps_that_are_not_finite_can_be_left_out_and_are_counted(
    capture: Capture, small: FitSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = spoilt(capture, monkeypatch, 1, 4)
    fits.append(fit := begin(capture, replace(small, on_nonfinite="skip")))
    messages = list(fit.run())
    skipped = [message for message in messages if isinstance(message, Skipped)]
    assert [(message.step, message.count) for message in skipped] == [(1, 1), (4, 2)]
    assert skipped[0].what == "the loss (nan)"
    assert all(name.endswith(".jpg") for name in skipped[0].views)
    assert [message.step for message in messages if isinstance(message, Stepped)] == [0, 2, 3, 5]
    assert fit.step == 6
    assert fit.skipped == 2
    assert all(bool(torch.isfinite(tensor).all()) for tensor in fit.state().values())


def test_a_gradient_that_is_not_finite_is_named_though_the_loss_is_finite(capture: Capture, small: FitSettings) -> None:
    fit = begin(capture, small)
    descriptors = fit.model.scene.parameters()[0]
    before = descriptors.raw.detach().clone()
    descriptors.raw.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(RunError, match=rf"the gradient of {descriptors.name} is not finite"):
        list(fit.run())
    assert torch.equal(descriptors.raw.detach(), before)


def test_a_parameter_that_is_not_finite_is_named(capture: Capture, small: FitSettings) -> None:
    fit = begin(capture, small)
    descriptors = fit.model.scene.parameters()[0]
    with torch.no_grad():
        descriptors.raw.fill_(math.nan)
    with pytest.raises(RunError, match=rf"parameter {descriptors.name} is not finite"):
        list(fit.run())


def test_what_never_works_again_is_not_left_out_for_ever(capture: Capture, small: FitSettings) -> None:
    fit = begin(capture, replace(small, steps=2 * MOST_SKIPPED, on_nonfinite="skip"))
    fit.model.scene.parameters()[0].raw.register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(RunError, match=f"as in all of the last {MOST_SKIPPED} steps"):
        list(fit.run())
    assert fit.step == MOST_SKIPPED - 1


def test_precision_is_measured_once_and_only_when_asked(capture: Capture, small: FitSettings) -> None:
    assert measured(small, capture) is small
    auto = replace(small, network=replace(small.network, precision="auto"))
    settled = measured(replace(auto, crop=CropSettings(size=1_000_000)), capture)  # cut down to the photo
    settled = replace(settled, crop=auto.crop)
    assert settled.network.precision in ("float32", "bfloat16")
    assert replace(settled, network=auto.network) == auto


def test_settings_that_contradict_are_refused() -> None:
    with pytest.raises(SettingsError, match="exclude each other"):
        FitSettings(steps=1, minutes=1)
    with pytest.raises(SettingsError, match="minutes must be positive"):
        FitSettings(minutes=0)
    with pytest.raises(SettingsError, match=r"points\.channels = 4"):
        FitSettings(points=PointSettings(channels=5))
