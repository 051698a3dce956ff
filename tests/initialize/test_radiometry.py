"""The sensor that photos of the same points agree on, against the one that took them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from unrender.cameras.sensor import Sensor, response_knots
from unrender.datasets.capture import Capture
from unrender.initialize.radiometry import sample_photos, start_sensor
from unrender.initialize.surfels import Surfels

Make = Callable[..., Capture]
MakeSurfels = Callable[[torch.Tensor], Surfels]
TRUE_EV = [3.0, 4.3, 5.1, 3.6, 4.9, 3.2, 5.4, 4.1]


def painted(origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """Radiance of the wall z = 0, over four stops."""
    place = origins + directions * (-origins[:, 2:] / directions[:, 2:])
    waves = torch.stack([torch.sin(3 * place[:, 0]), torch.cos(2 * place[:, 1]), torch.sin(2 * place.sum(1))], dim=1)
    return 0.15 * torch.exp2(2 * waves)


def response(x: torch.Tensor) -> torch.Tensor:
    """A curve clearly beside x^0.45."""
    return (1 - torch.exp(-3 * x**0.6)) / (1 - torch.exp(torch.tensor(-3.0, dtype=x.dtype)))


@pytest.fixture
def capture(capture_of: Make, plane: torch.Tensor, ring: list[list[float]]) -> Capture:
    """Photos taken with ``response`` at ``TRUE_EV``, known to a third of a stop only; view 3 is held out."""
    taken = capture_of(plane, ring, painted, exposure=TRUE_EV, test=(3,))
    truth = taken.cameras.sensor.with_response(response)
    photos = {
        view: replace(taken, forbidden=(), cameras=replace(taken.cameras, sensor=truth)).image(view)
        for view in range(8)
        if view != 3
    }
    told = torch.tensor([round(3 * ev) / 3 for ev in TRUE_EV])
    anchor = torch.tensor([view != 3 for view in range(8)])
    told_capture = replace(taken, cameras=replace(taken.cameras, sensor=Sensor.start(told, anchor=anchor)))
    object.__setattr__(told_capture, "image", photos.__getitem__)
    return told_capture


def test_exposures_and_response_come_closer(
    surfels: MakeSurfels, capture: Capture, plane: torch.Tensor, generator: torch.Generator
) -> None:
    start, train = capture.cameras.sensor, [view for view in range(8) if view != 3]
    found = start_sensor(surfels(plane), capture, generator)
    truth = torch.tensor(TRUE_EV)

    def exposure_error(sensor: Sensor) -> float:
        difference = (sensor.exposure - truth)[train]
        return float((difference - difference.mean()).abs().mean())

    def response_error(sensor: Sensor) -> float:
        """At mid values: near black and white few samples say anything."""
        difference = sensor.response[0] - response(response_knots())
        return float(difference[:, 10:22].abs().mean())

    assert exposure_error(found) < 0.5 * exposure_error(start)
    assert response_error(found) < 0.6 * response_error(start)


def test_gauges_hold_and_held_out_views_stay(
    surfels: MakeSurfels, capture: Capture, plane: torch.Tensor, generator: torch.Generator
) -> None:
    before = capture.cameras.sensor.exposure.clone()
    found = start_sensor(surfels(plane), capture, generator)
    moved = found.exposure - before
    assert float(moved[3]) == 0.0
    assert float(moved[[0, 1, 2, 4, 5, 6, 7]].mean()) == pytest.approx(0, abs=1e-5)
    assert torch.equal(found.exposure_start, before)
    assert torch.equal(capture.cameras.sensor.exposure, before)
    assert not found.exposure.requires_grad


def test_same_seed_same_bits(surfels: MakeSurfels, capture: Capture, plane: torch.Tensor) -> None:
    first, again = (start_sensor(surfels(plane), capture, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first.exposure, again.exposure)
    assert torch.equal(first.response_raw, again.response_raw)


def test_a_capture_that_sees_no_point_keeps_its_sensor(
    surfels: MakeSurfels, capture: Capture, plane: torch.Tensor, generator: torch.Generator
) -> None:
    behind = surfels(plane + torch.tensor([0.0, 0.0, -20.0]))
    assert sample_photos(behind, capture, capture.train, generator) is None
    assert torch.equal(start_sensor(behind, capture, generator).exposure, capture.cameras.sensor.exposure)


def test_a_curve_and_a_tint_are_told_apart(
    surfels: MakeSurfels, capture: Capture, plane: torch.Tensor, generator: torch.Generator
) -> None:
    """Each channel has a contrast of its own, which a white point that grows with EV would imitate."""
    found = start_sensor(surfels(plane), capture, generator)
    assert found.contrast_from == "exif"
    assert float(found.white_point.abs().max()) < 0.05
    spread = found.response[0].max(dim=0).values - found.response[0].min(dim=0).values
    assert float(spread[10:22].max()) < 0.03


@pytest.mark.parametrize("radiance", [0.0, 1e6], ids=["black", "white"])
def test_photos_that_are_clipped_all_over_say_nothing(
    capture_of: Make, surfels: MakeSurfels, plane: torch.Tensor, ring: list[list[float]], radiance: float
) -> None:
    flat = capture_of(plane, ring, lambda _, directions: torch.full_like(directions, radiance), exposure=TRUE_EV)
    found = start_sensor(surfels(plane), flat, torch.Generator().manual_seed(0))
    before = flat.cameras.sensor
    assert torch.allclose(found.exposure, before.exposure, atol=0.3)
    assert bool(found.response_raw.isfinite().all())
    assert float((found.response - before.response).abs().max()) < 0.05


def test_one_photo_keeps_its_sensor(capture_of: Make, surfels: MakeSurfels, plane: torch.Tensor) -> None:
    alone = capture_of(plane, [[0.0, 0.0, -4.0]], painted, exposure=[3.0])
    found = start_sensor(surfels(plane), alone, torch.Generator().manual_seed(0))
    assert float(found.exposure[0]) == 3.0
    assert float((found.response - alone.cameras.sensor.response).abs().max()) < 0.02


def test_one_wrong_exif_is_not_believed(
    surfels: MakeSurfels, capture: Capture, plane: torch.Tensor, generator: torch.Generator
) -> None:
    told = capture.cameras.sensor.exposure.clone()
    told[5] += 3.0
    found = start_sensor(
        surfels(plane), with_sensor(capture, Sensor.start(told, anchor=capture.cameras.sensor.anchor)), generator
    )
    assert found.exposure_known.tolist() == [view != 5 for view in range(8)]
    assert off_but_for_contrast(found) < 0.15


def test_exif_that_is_wrong_everywhere_is_not_believed(
    surfels: MakeSurfels, capture: Capture, plane: torch.Tensor, generator: torch.Generator
) -> None:
    """Exposures then come from the photos, up to the contrast that the prior holds."""
    told = capture.cameras.sensor.exposure + torch.tensor([2.9, -1.5, 2.0, 0.0, -2.8, 1.0, -2.0, 0.4])
    found = start_sensor(
        surfels(plane), with_sensor(capture, Sensor.start(told, anchor=capture.cameras.sensor.anchor)), generator
    )
    assert not bool(found.exposure_known.any())
    assert found.contrast_from == "prior"
    assert off_but_for_contrast(found) < 0.15


def off_but_for_contrast(found: Sensor) -> float:
    """Largest error of the EVs once their mean and their contrast are taken out, and that the contrast is not absurd: a
    curve beside x^0.45 has another, and six photos of EXIF do not say which.
    """
    ours, true = (ev[found.anchor] - ev[found.anchor].mean() for ev in (found.exposure, torch.tensor(TRUE_EV)))
    contrast = float((ours * true).sum() / true.square().sum())
    assert 0.6 < contrast < 1.6
    return float((ours / contrast - true).abs().max())


def test_a_camera_for_each_photo_leaves_exposures_as_good_as_they_were(
    surfels: MakeSurfels, capture: Capture, plane: torch.Tensor, generator: torch.Generator
) -> None:
    """Eight responses and vignettes explain almost anything; what EXIF says must not be lost over it."""
    one = capture.cameras
    each = Sensor.start(one.sensor.exposure, 8, one.sensor.anchor)
    cameras = replace(one, camera_index=torch.arange(8), lenses=one.lenses * 8, sensor=each)
    mixed = replace(capture, cameras=cameras)
    object.__setattr__(mixed, "image", capture.image)
    found, truth = start_sensor(surfels(plane), mixed, generator), torch.tensor(TRUE_EV)
    off = [(sensor.exposure - truth)[one.sensor.anchor] for sensor in (found, each)]
    now, before = (float((error - error.mean()).abs().mean()) for error in off)
    assert now < 1.5 * before
    assert bool(found.response_raw.isfinite().all())


def test_exposures_that_are_absurdly_far_apart_stay_finite(
    surfels: MakeSurfels, capture: Capture, plane: torch.Tensor, generator: torch.Generator
) -> None:
    wrong = Sensor.start(
        torch.tensor([3.0, 60.0, 5.0, 3.0, -40.0, 3.0, 5.3, 4.0]), anchor=capture.cameras.sensor.anchor
    )
    found = start_sensor(surfels(plane), with_sensor(capture, wrong), generator)
    for leaf in (found.exposure, found.white_point, found.vignette, found.response_raw):
        assert bool(leaf.isfinite().all())


def with_sensor(capture: Capture, sensor: Sensor) -> Capture:
    """The same photos with other exposures told."""
    told = replace(capture, cameras=replace(capture.cameras, sensor=sensor))
    object.__setattr__(told, "image", capture.image)
    return told
