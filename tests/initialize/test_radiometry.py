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
    """Photos taken with ``response`` at ``TRUE_EV``, known to half a stop only; view 3 is held out."""
    taken = capture_of(plane, ring, painted, exposure=TRUE_EV, test=(3,))
    truth = taken.cameras.sensor.with_response(response)
    photos = {
        view: replace(taken, forbidden=(), cameras=replace(taken.cameras, sensor=truth)).image(view)
        for view in range(8)
        if view != 3
    }
    told = torch.tensor([round(2 * ev) / 2 for ev in TRUE_EV])
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
