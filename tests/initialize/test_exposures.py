"""Exposures that EXIF does not say: found from what photos share, in a graph made by hand and in the synthetic room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch

from unrender.cameras.sensor import Sensor
from unrender.datasets.capture import Capture
from unrender.datasets.read_capture import read_capture
from unrender.datasets.synthetic.capture import RoomSettings, load_truth, make_room_capture
from unrender.initialize.exposures import Exposed, place_exposures, start_exposures
from unrender.initialize.points import PointSettings, clean_surfels
from unrender.initialize.surfels import Surfels

TRUE = {0: 3.0, 1: 5.5, 2: 4.0, 3: 7.0, 4: 2.0}


def chain(outliers: float = 0.0) -> dict[int, Exposed]:
    """Photos that each share a third of their points with the next; some samples are plainly wrong."""
    generator = torch.Generator().manual_seed(0)
    radiance = torch.randn(1000, generator=generator, dtype=torch.float64)
    photos = {}
    for place, (view, ev) in enumerate(TRUE.items()):
        point = torch.arange(150 * place, 150 * place + 220)
        stops = radiance[point] - ev + 0.02 * torch.randn(220, generator=generator, dtype=torch.float64)
        wrong = torch.rand(220, generator=generator) < outliers
        photos[view] = Exposed(point, torch.where(wrong, stops + 3, stops))
    return photos


@pytest.mark.parametrize("outliers", [0.0, 0.2])
def test_one_known_exposure_goes_along_a_chain(outliers: float) -> None:
    placed = place_exposures(chain(outliers), {2: TRUE[2]})
    assert placed[2] == TRUE[2]
    assert placed == pytest.approx(TRUE, abs=0.02 if outliers == 0 else 0.2)


def test_none_known_are_found_relative_to_their_mean() -> None:
    placed = place_exposures(chain(), {}, mean=0.0)
    mean = sum(TRUE.values()) / len(TRUE)
    assert sum(placed.values()) == pytest.approx(0, abs=1e-9)
    assert placed == pytest.approx({view: ev - mean for view, ev in TRUE.items()}, abs=0.02)


def test_a_photo_that_shares_nothing_is_not_placed() -> None:
    lonely = Exposed(torch.arange(5000, 5100), torch.zeros(100, dtype=torch.float64))
    for known in ({0: TRUE[0]}, {}):
        assert set(place_exposures(chain() | {9: lonely}, known)) == set(TRUE)
    assert place_exposures({9: lonely, 8: Exposed(torch.tensor([]).long(), torch.tensor([]).double())}, {}) == {}


@pytest.fixture(scope="module", params=["filmic", "gamma"])
def room(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Capture, torch.Tensor]:
    """A room whose photos lie four stops apart, and their true EVs."""
    folder = tmp_path_factory.mktemp("rooms") / "room"
    settings = RoomSettings(views=16, width=128, height=96, ev_spread=4.0, response=request.param, points=20_000)
    list(make_room_capture(folder, settings))
    return read_capture(folder), load_truth(folder).cameras.sensor.exposure.double()


def without(capture: Capture, views: Sequence[int]) -> Capture:
    """The capture with nothing known about the exposure of ``views``."""
    ev = capture.exif_ev.clone()
    ev[list(views)] = torch.nan
    sensor = Sensor.start(ev, anchor=capture.cameras.sensor.anchor)
    return replace(capture, exif_ev=ev, cameras=replace(capture.cameras, sensor=sensor))


def test_half_of_a_rooms_exposures_are_found(room: tuple[Capture, torch.Tensor]) -> None:
    capture, truth = room
    gone = list(capture.train[::2])
    poor = without(capture, gone)
    sensor, notes = start_exposures(clean_surfels(poor, PointSettings())[0], poor)
    known = [view for view in range(len(capture)) if view not in gone]
    assert torch.equal(sensor.exposure[known], poor.cameras.sensor.exposure[known])
    assert float((sensor.exposure.double() - truth)[gone].abs().median()) < 0.15
    assert float((poor.cameras.sensor.exposure.double() - truth)[gone].abs().median()) > 0.4
    assert torch.equal(sensor.exposure_start, sensor.exposure)
    assert notes == (f"exposure of {len(gone)} photos estimated from points that they share with those that EXIF says",)


def test_all_of_a_rooms_exposures_are_found_but_for_their_mean(room: tuple[Capture, torch.Tensor]) -> None:
    capture, truth = room
    poor = without(capture, range(len(capture)))
    sensor, notes = start_exposures(clean_surfels(poor, PointSettings())[0], poor)
    train = list(capture.train)
    off = (sensor.exposure.double() - truth)[train]
    assert float((off - off.median()).abs().median()) < 0.15
    assert float(sensor.exposure[train].mean()) == pytest.approx(0, abs=1e-5)
    assert bool((sensor.exposure[list(capture.test)] == 0).all())
    assert "with each other: EVs are relative to their mean" in notes[0]


def test_held_out_photos_are_not_looked_at_and_isolated_ones_are_named(
    capture_of: Callable[..., Capture],
    surfels: Callable[[torch.Tensor], Surfels],
    plane: torch.Tensor,
    ring: list[list[float]],
) -> None:
    """View 2 is held out; view 5 stands with its back to all points."""
    taken = capture_of(plane, ring, exposure=[4.0, 5.0, 4.0, 5.0, 4.0, 5.0, 4.0, 5.0], test=(2,))
    ev = torch.tensor([4.0, torch.nan, torch.nan, 5.0, torch.nan, torch.nan, 4.0, 5.0]).double()
    taken.cameras.camera_from_world[5, [0, 2]] *= -1
    sensor, notes = start_exposures(surfels(plane), taken, ev)
    assert float(sensor.exposure[2]) == float(taken.cameras.sensor.exposure[2])
    assert float(sensor.exposure[5]) == float(taken.cameras.sensor.exposure[5])
    assert notes[0].startswith("exposure of 2 photos estimated")
    assert notes[1] == "1 photos share too little for that and start at the mean exposure: 005"
