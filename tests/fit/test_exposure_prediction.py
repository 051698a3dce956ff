"""Exposures of views without a photo: what neighbours, a learnt meter and the mean say, and which of them is taken."""

import json
import math
from dataclasses import replace

import pytest
import torch

from unrender.cameras.paths import orbit
from unrender.cameras.sensor import Sensor
from unrender.datasets.read_capture import read_capture
from unrender.errors import SettingsError
from unrender.fit.evaluate import evaluate, plain_points
from unrender.fit.exposure_prediction import ExposurePrediction, learn_exposures, smoothed, with_exposure
from unrender.fit.light_meter import READINGS, RIDGES, LightMeter, meter, readings
from unrender.fit.pose_neighbours import BANDWIDTHS, Neighbours
from unrender.messages import Metered


@pytest.fixture(scope="module")
def model(tiny_capture):
    """Nine views of a painted wall."""
    return plain_points(read_capture(tiny_capture))


@pytest.fixture(scope="module")
def cameras(model):
    return model.cameras


def learnt(model, views, **options):
    """What was learnt, and what was said on the way."""
    said = []

    def listen():
        said.append((yield from learn_exposures(model, views, **options)))

    return said, [*listen()]


def with_evs(model, ev, white_point=None):
    """The model as if a fit had found these."""
    ev = torch.as_tensor(ev)
    return replace(model, cameras=with_exposure(model.cameras, ev, white_point))


# Neighbours in pose


def test_neighbours_foretell_what_follows_from_the_pose(cameras):
    """A value that grows along the row of cameras is found between them, and the bandwidth is a narrow one."""
    along = cameras.centers[:, :1]
    found = Neighbours.of(cameras, along)
    assert found.bandwidth < math.inf
    mean_error = float((along - along.mean()).square().mean().sqrt())
    assert float((found.left_out - along).square().mean().sqrt()) < 0.6 * mean_error
    assert torch.allclose(found.at(cameras), along, atol=0.5 * mean_error)


def test_neighbours_that_know_nothing_say_the_mean(cameras, generator):
    noise = torch.randn(len(cameras), 2, generator=generator, dtype=torch.float64)
    alternating = torch.tensor([1.0, -1.0] * 5)[: len(cameras), None]
    assert Neighbours.of(cameras, alternating).bandwidth == math.inf
    found = Neighbours.of(cameras, noise)
    widest = replace(found, bandwidth=math.inf)
    assert torch.allclose(widest.at(cameras), noise.mean(dim=0).expand(len(cameras), -1))


def test_the_left_out_value_knows_nothing_of_its_own_photo(cameras, generator):
    values = torch.randn(len(cameras), 1, generator=generator, dtype=torch.float64)
    for view in (0, 4):
        changed = values.clone()
        changed[view] += 100
        rest = [other for other in range(len(cameras)) if other != view]
        for h in BANDWIDTHS:
            without = replace(Neighbours.of(cameras.select(rest), values[rest]), bandwidth=h)
            before, after = (_left_out_at(cameras, each, h)[view] for each in (values, changed))
            assert torch.allclose(before, after)
            if h == math.inf:
                assert torch.allclose(before, without.at(cameras.select([view]))[0])


def _left_out_at(cameras, values, bandwidth):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unrender.fit.pose_neighbours.BANDWIDTHS", (bandwidth,))
        return Neighbours.of(cameras, values).left_out


def test_far_from_all_photos_nothing_underflows(cameras):
    far = replace(cameras, camera_from_world=cameras.camera_from_world.clone())
    far.camera_from_world[:, :3, 3] += 1e6
    found = replace(Neighbours.of(cameras, cameras.centers[:, :1]), bandwidth=BANDWIDTHS[0])
    assert bool(found.at(far).isfinite().all())


def test_equal_poses_share_their_values(cameras):
    same = cameras.select([3, 3, 3])
    found = Neighbours.of(same, torch.tensor([[1.0], [2.0], [3.0]]))
    assert torch.allclose(found.at(same), torch.full((3, 1), 2.0, dtype=torch.float64))


# The learnt meter


def test_readings_move_with_the_light_and_not_with_its_colour_order(generator):
    radiance = 0.05 + torch.rand(3, 12, 16, generator=generator)
    base = readings(radiance)
    assert base.shape == (len(READINGS),)
    assert torch.allclose(readings(8 * radiance), base + 3, atol=1e-6)
    assert bool(readings(torch.zeros(3, 5, 7)).isfinite().all())


def test_views_of_any_size_are_metered_alike(model):
    sizes = torch.tensor([[12, 16], [48, 64], [480, 640]])
    chosen = model.cameras.select([4, 4, 4])
    scaled = chosen.resize((sizes / chosen.sizes).double().flip(1), sizes)
    small, own, large = meter(model, scaled)
    assert torch.allclose(small, own, atol=1e-6)
    assert torch.allclose(large, own, atol=1e-6)


def test_what_is_in_the_middle_weighs_more():
    light = torch.full((3, 21, 21), 0.1)
    light[:, 8:13, 8:13] = 10.0
    found = dict(zip(READINGS, readings(light).tolist(), strict=True))
    assert found["mean, centre-weighted"] > found["mean"]
    assert found["95th percentile"] > found["median"]


def test_the_meter_finds_the_automatic_that_chose(generator):
    """EV = half of one reading + 5, exactly, foretold for light that it never saw."""
    seen, new = (torch.randn(30, len(READINGS), generator=generator, dtype=torch.float64) for _ in range(2))
    found = LightMeter.learn(seen, 0.5 * seen[:, 1] + 5)
    assert found is not None
    assert torch.allclose(found.ev(new), (0.5 * new[:, 1] + 5).clamp(*found.limits), atol=2e-3)
    assert found.ridge == RIDGES[0]


def test_leaving_out_by_the_hat_matrix_is_leaving_out(generator):
    """Against learning anew without each view, with the scales of all, as is said."""
    rows = torch.randn(12, len(READINGS), generator=generator, dtype=torch.float64)
    ev = rows[:, 0] + torch.randn(12, generator=generator, dtype=torch.float64)
    found = LightMeter.learn(rows, ev)
    assert found is not None
    for view in range(12):
        rest = [other for other in range(12) if other != view]
        x = (rows[rest] - rows[rest].mean(0)) / found.spread
        slope = torch.linalg.solve(
            x.T @ x + found.ridge * torch.eye(x.shape[1]).double(), x.T @ (ev[rest] - ev[rest].mean())
        )
        expected = ev[rest].mean() + (rows[view] - rows[rest].mean(0)) / found.spread @ slope
        assert float(found.left_out[view]) == pytest.approx(float(expected), abs=1e-9)


def test_noise_teaches_little(generator):
    """More readings than views, and nothing in them: the strongest ridges are taken, and EVs stay near the mean."""
    rows = torch.randn(6, len(READINGS), generator=generator, dtype=torch.float64)
    ev = torch.tensor([8.0, 9.0, 8.5, 9.5, 8.2, 9.3], dtype=torch.float64)
    found = LightMeter.learn(rows, ev)
    assert found is not None
    assert bool(found.left_out.isfinite().all())
    assert float((found.left_out - ev).square().mean()) <= 1.5 * float(ev.var())


def test_three_views_are_enough_two_are_not():
    rows = torch.eye(3, len(READINGS), dtype=torch.float64)
    ev = torch.tensor([1.0, 2.0, 3.0])
    assert LightMeter.learn(rows[:2], ev[:2]) is None
    found = LightMeter.learn(rows, ev)
    assert found is not None
    assert bool(found.ev(rows).isfinite().all())


def test_readings_that_are_all_equal_give_the_mean():
    found = LightMeter.learn(torch.ones(5, len(READINGS)).double(), torch.arange(5.0))
    assert found is not None
    assert torch.allclose(found.ev(torch.full((1, len(READINGS)), 7.0).double()), torch.tensor([2.0]).double())


def test_light_that_is_not_finite_gives_the_mean_and_none_leaves_the_limits():
    rows = torch.randn(8, len(READINGS), generator=torch.Generator().manual_seed(1)).double()
    found = LightMeter.learn(rows, rows[:, 0])
    assert found is not None
    strange = torch.stack([torch.full((len(READINGS),), value).double() for value in (math.nan, 1e9, -1e9)])
    ev = found.ev(strange)
    assert float(ev[0]) == pytest.approx(float(rows[:, 0].mean()))
    assert found.limits == (float(rows[:, 0].min()) - 1, float(rows[:, 0].max()) + 1)
    assert all(found.limits[0] <= value <= found.limits[1] for value in ev.tolist())


# Together


def test_a_scene_metered_by_an_automatic_is_exposed_by_the_meter(model):
    """Where EVs follow the light and not the pose, the meter is the best and says so."""
    rows = torch.stack(list(meter(model, model.cameras)))
    ev = 9 + 3 * (rows[:, 0] - rows[:, 0].mean())
    (found,), said = learnt(with_evs(model, ev), range(9))
    assert found.best == "predicted"
    assert found.errors["predicted"] < 0.5 * found.errors["mean"]
    assert said == [Metered(done, 9) for done in range(1, 10)]
    exposed = found.expose("predicted", model.cameras, rows)
    assert torch.allclose(exposed.sensor.exposure, ev.float(), atol=0.3)


def test_it_is_the_same_every_time(model):
    evs = torch.linspace(8, 10, 9)
    (one,), _ = learnt(with_evs(model, evs), range(9))
    (two,), _ = learnt(with_evs(model, evs), range(9))
    assert one.errors == two.errors
    assert torch.equal(one.meter.slope, two.meter.slope)


@pytest.mark.parametrize("views", [[4], [4, 5], [0, 4, 8]])
def test_few_views_are_handled(model, views):
    (found,), _ = learnt(model, views)
    assert isinstance(found, ExposurePrediction)
    assert all(math.isfinite(error) for error in found.errors.values())
    assert (found.meter is None) == (len(views) < 3)
    assert bool(found.errors) == (len(views) > 1)
    for name in ("mean", "neighbours"):
        sensor = found.expose(name, model.cameras).sensor
        assert bool(sensor.exposure.isfinite().all())
        assert bool(sensor.white_point.isfinite().all())
    if found.meter is None:
        with pytest.raises(SettingsError, match="too few training views"):
            found.expose("predicted", model.cameras, torch.zeros(9, len(READINGS)).double())


def test_equal_evs_stay_equal_and_the_mean_is_taken(model):
    (found,), _ = learnt(with_evs(model, torch.full((9,), 7.0)), range(9))
    assert found.best == "mean"
    rows = torch.stack(list(meter(model, model.cameras)))
    for name in ("mean", "neighbours", "predicted"):
        assert torch.allclose(found.expose(name, model.cameras, rows).sensor.exposure, torch.tensor(7.0))


def test_without_light_there_is_no_meter(model):
    (found,), said = learnt(model, range(9), light=False)
    assert said == []
    assert found.meter is None
    assert set(found.errors) == {"mean", "neighbours"}


def test_white_points_go_with_the_neighbours(model):
    tint = torch.stack([model.cameras.centers[:, 0], -model.cameras.centers[:, 0]], dim=1).float()
    (found,), _ = learnt(with_evs(model, torch.full((9,), 7.0), tint), range(9), light=False)
    white = found.expose("neighbours", model.cameras).sensor.white_point
    assert float((white - tint).abs().mean()) < 0.5 * float(tint.abs().mean())
    assert not found.expose("mean", model.cameras).sensor.white_point.any()


@pytest.mark.parametrize("color", ["white_point", "homography"])
def test_any_model_of_colour_is_foretold(model, color):
    sensor = model.cameras.sensor.with_models(color=color)
    other = replace(model, cameras=replace(model.cameras, sensor=sensor))
    (found,), _ = learnt(other, range(9))
    rows = torch.stack(list(meter(other, other.cameras)))
    for name in ("mean", "neighbours", "predicted"):
        exposed = smoothed(found.expose(name, other.cameras, rows), closed=True)
        assert exposed.sensor.white_point.shape == sensor.white_point.shape
        assert bool(exposed.record(torch.rand(9, 3, 48, 64)).isfinite().all())


@pytest.mark.parametrize("train", [1, 2, 7])
@pytest.mark.parametrize("known", [True, False], ids=["EXIF", "no EXIF"])
def test_scores_under_all_policies_are_numbers(tiny_capture, train, known):
    """However few photos train, and where none says how it was exposed."""
    capture = read_capture(tiny_capture)
    if not known:
        unsaid = Sensor.start(torch.full((9,), math.nan))
        capture = replace(capture, cameras=replace(capture.cameras, sensor=unsaid), exif_ev=torch.full((9,), math.nan))
    capture = replace(capture, test=tuple(range(train, 9))[-2:] if train == 7 else tuple(range(train, 9)))
    found = []

    def listen():
        found.append((yield from evaluate(plain_points(capture), capture, policies=True)))

    assert [*listen()]
    table = json.loads(json.dumps(found[0].table(0.0), allow_nan=False))["policies"]
    assert ("predicted" in table) == (train >= 3)
    assert {"exif", "neighbours", "ignored"} <= set(table)
    assert table["exif"]["ev_error"] < 4
    assert table["taken"] == "mean" or known


def test_an_unknown_exposure_is_refused(model):
    (found,), _ = learnt(model, range(9), light=False)
    with pytest.raises(SettingsError, match="one of mean, neighbours, predicted"):
        found.expose("sunny 16", model.cameras)


@pytest.mark.parametrize("closed", [True, False])
def test_flights_do_not_flicker(cameras, closed, generator):
    """EVs that jump by stops from frame to frame are smooth afterwards, over the seam of a closed flight too."""
    flight = orbit(cameras, 100)
    jumping = with_exposure(flight, 9 + 2 * torch.randn(100, generator=generator))
    ev = smoothed(jumping, closed).sensor.exposure
    assert float(ev.diff().abs().max()) < 0.15 < float(jumping.sensor.exposure.diff().abs().max())
    assert float(ev.mean()) == pytest.approx(float(jumping.sensor.exposure.mean()), abs=0.3)
    if closed:
        assert abs(float(ev[0] - ev[-1])) < 0.15


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_short_flights_are_smoothed_too(cameras, frames):
    assert bool(smoothed(orbit(cameras, frames), True).sensor.exposure.isfinite().all())
