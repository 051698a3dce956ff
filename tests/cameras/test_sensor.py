import time
from dataclasses import replace

import pytest
import torch

from unrender.cameras.sensor import GAMMA, SEGMENTS, Sensor, response_knots
from unrender.errors import SettingsError, ShapeError
from unrender.images.colour import linear_from_srgb, srgb_from_linear

NAN = float("nan")


def coordinates(height=8, width=10, views=1, dtype=torch.float32):
    v, u = torch.meshgrid(
        torch.linspace(-0.6, 0.6, height, dtype=dtype), torch.linspace(-0.8, 0.8, width, dtype=dtype), indexing="ij"
    )
    return torch.stack([u, v]).expand(views, 2, height, width)


def used_sensor(views=3, cameras=2, dtype=torch.float32, seed=0):
    """A sensor in which nothing is at its start."""
    source = torch.Generator().manual_seed(seed)

    def noise(*shape, size):
        return size * torch.randn(*shape, generator=source, dtype=torch.float64)

    sensor = Sensor.start(10 + noise(views, size=1.0), cameras)
    changed = {
        "exposure": sensor.exposure + noise(views, size=0.3),
        "white_point": noise(views, 2, size=0.2),
        "vignette": noise(cameras, 3, size=0.1),
        "vignette_center": noise(cameras, 2, size=0.05),
        "response_raw": sensor.response_raw + noise(cameras, 3, SEGMENTS, size=0.2),
    }
    return replace(sensor, **{name: value.to(dtype) for name, value in changed.items()})


def leaves(sensor):
    return [parameter.raw for parameter in sensor.parameters()]


def straight(sensor):
    """The sensor with a straight response, so that what comes before it can be seen."""
    return sensor.with_response(lambda x: x)


def test_the_response_starts_at_x_to_the_gamma():
    knots = response_knots(torch.float64)
    response = Sensor.start(torch.zeros(1), cameras=2).response
    assert response.shape == (2, 3, SEGMENTS + 1)
    assert torch.allclose(response.double(), (knots**GAMMA).expand(2, 3, -1), atol=1e-6)


def test_the_knots_hold_x_to_the_gamma():
    dense = torch.cat([torch.linspace(0, 1, 200_001), torch.logspace(-9, 0, 100_000)]).sort().values
    sensor = Sensor.start(torch.zeros(1))
    recorded = sensor.record(dense.expand(1, 3, 1, -1), torch.zeros(1, 2, 1, 1), torch.tensor([0]))
    assert (recorded - dense**GAMMA).abs().max() < 0.002
    assert bool((recorded.diff(dim=-1) >= 0).all())


def test_the_response_rises_from_0_to_1_whatever_an_optimiser_does(generator):
    logits = 30 * torch.randn(1, 3, SEGMENTS, generator=generator)
    response = replace(Sensor.start(torch.zeros(1)), response_raw=logits).response
    assert bool((response[..., 0] == 0).all())
    assert bool((response[..., -1] == 1).all())
    assert bool((response.diff(dim=-1) >= -1e-6).all())


def test_recording_is_exposure_white_balance_vignette_response():
    """Against the equations written out for one pixel at a time."""
    sensor, index = used_sensor(), torch.tensor([1, 0, 1])
    where, radiance = coordinates(views=3), torch.rand(3, 3, 8, 10, generator=torch.Generator().manual_seed(1))
    recorded = sensor.record(radiance, where, index)
    for view, channel, row, column in [(0, 0, 0, 0), (1, 1, 3, 4), (2, 2, 7, 9), (2, 0, 2, 8)]:
        camera = int(index[view])
        log_white = [float(sensor.white_point[view, 0]), 0.0, float(sensor.white_point[view, 1])][channel]
        light = float(radiance[view, channel, row, column])
        light *= 2 ** -(float(sensor.exposure[view]) - sensor.exposure_mean) / 2**log_white
        offset = where[view, :, row, column] - sensor.vignette_center[camera]
        r = float(offset.norm())
        light *= 1 + sum(float(a) * r**power for a, power in zip(sensor.vignette[camera], (2, 4, 6), strict=True))
        knots, values = response_knots().tolist(), sensor.response[camera, channel].tolist()
        light = min(max(light, 0), 1)
        piece = max(i for i in range(SEGMENTS) if knots[i] <= light)
        share = (light - knots[piece]) / (knots[piece + 1] - knots[piece])
        expected = values[piece] + share * (values[piece + 1] - values[piece])
        assert float(recorded[view, channel, row, column]) == pytest.approx(expected, abs=2e-6)


def test_a_higher_ev_is_a_darker_photo_by_whole_stops():
    sensor = straight(Sensor.start(torch.tensor([9.0, 10.0, 11.0])))
    recorded = sensor.record(torch.full((3, 3, 1, 1), 0.25), torch.zeros(3, 2, 1, 1), torch.zeros(3, dtype=torch.int64))
    assert recorded[:, 0, 0, 0].tolist() == pytest.approx([0.5, 0.25, 0.125], abs=1e-6)


@pytest.mark.parametrize("leak", [False, True])
def test_radiance_inverts_record(leak):
    sensor, index, where = used_sensor(dtype=torch.float64), torch.tensor([0, 1, 0]), coordinates(views=3).double()
    image = torch.rand(3, 3, 8, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    radiance = sensor.radiance(image, where, index)
    assert bool((radiance >= 0).all())
    assert torch.allclose(sensor.record(radiance, where, index, leak), image, atol=1e-12)
    dim = 0.2 * radiance
    assert torch.allclose(sensor.radiance(sensor.record(dim, where, index), where, index), dim, rtol=1e-9, atol=1e-12)


def test_clipped_pixels_invert_to_the_least_radiance_that_clips():
    sensor, index, where = used_sensor(), torch.tensor([0, 1, 0]), coordinates(views=3)
    least = sensor.radiance(torch.ones(3, 3, 8, 10), where, index)
    assert torch.allclose(sensor.record(least, where, index), torch.ones(()), atol=1e-5)
    assert bool((sensor.record(0.98 * least, where, index) < 1).all())
    assert torch.equal(sensor.record(9 * least, where, index), torch.ones(3, 3, 8, 10))
    black = sensor.radiance(torch.zeros(3, 3, 8, 10), where, index)
    assert torch.equal(black, torch.zeros_like(black))


def test_the_leak_is_equation_20():
    sensor = straight(Sensor.start(torch.zeros(1)))
    light = torch.tensor([-5.0, -0.1, 0.0, 0.3, 1.0, 1.5, 4.0, 1e6])
    recorded = sensor.record(light.expand(1, 3, 1, -1), torch.zeros(1, 2, 1, 1), torch.tensor([0]), leak=True)
    above = [1.01 - 0.01 / x**0.5 for x in (1.5, 4.0, 1e6)]
    assert recorded[0, 0, 0].tolist() == pytest.approx([-0.05, -0.001, 0.0, 0.3, 1.0, *above], abs=1e-6)
    assert float(recorded.max()) <= 1.01
    clamped = sensor.record(light.expand(1, 3, 1, -1), torch.zeros(1, 2, 1, 1), torch.tensor([0]))
    assert clamped[0, 0, 0].tolist() == pytest.approx([0, 0, 0, 0.3, 1, 1, 1, 1], abs=1e-6)


def test_gradients_are_alive_when_over_exposed_and_finite_everywhere():
    sensor = used_sensor(views=1)
    light = torch.tensor([-1e30, -1.0, 0.0, 1e-38, 1e-20, 0.5, 1.0, 3.0, 1e4, 1e30]).expand(1, 3, 1, -1).clone()
    light.requires_grad_()
    variables = [light, *(leaf.requires_grad_() for leaf in leaves(sensor))]
    recorded = sensor.record(light, torch.zeros(1, 2, 1, 1), torch.tensor([0]), leak=True)
    for gradient in torch.autograd.grad(recorded.sum(), variables):
        assert bool(torch.isfinite(gradient).all())
    (slope,) = torch.autograd.grad(sensor.record(light, torch.zeros(1, 2, 1, 1), torch.tensor([0]), True).sum(), light)
    assert bool((slope[..., :9] > 0).all())


def test_a_nan_stays_a_nan_and_hurts_nobody_else():
    light = torch.tensor([0.5, NAN, 0.2]).expand(1, 3, 1, 3)
    recorded = Sensor.start(torch.zeros(1)).record(light, torch.zeros(1, 2, 1, 1), torch.tensor([0]))
    assert recorded.isnan().tolist() == light.isnan().tolist()


@pytest.mark.parametrize("leak", [False, True])
def test_derivatives_of_everything_against_finite_differences(leak):
    sensor, index = used_sensor(views=2, dtype=torch.float64), torch.tensor([1, 0])
    where = coordinates(2, 3, views=2, dtype=torch.float64)
    radiance = 0.05 + 1.5 * torch.rand(2, 3, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))

    def record(radiance, exposure, white_point, vignette, center, logits):
        stepped = replace(
            sensor,
            exposure=exposure,
            white_point=white_point,
            vignette=vignette,
            vignette_center=center,
            response_raw=logits,
        )
        return stepped.record(radiance, where, index, leak)

    variables = [value.clone().requires_grad_() for value in (radiance, *leaves(sensor))]
    assert torch.autograd.gradcheck(record, variables)
    assert torch.autograd.gradcheck(
        lambda logits: replace(sensor, response_raw=logits).response_smoothness(), variables[-1]
    )


def test_unknown_exposures_start_at_the_mean_of_the_known():
    sensor = Sensor.start(torch.tensor([10.0, NAN, 13.0]))
    assert sensor.exposure.tolist() == [10.0, 11.5, 13.0]
    assert sensor.exposure_mean == 11.5
    unknown = Sensor.start(torch.tensor([NAN, NAN]))
    assert unknown.exposure.tolist() == [0, 0]
    assert unknown.exposure_mean == 0


def test_held_out_views_do_not_enter_the_mean():
    anchor = torch.tensor([True, True, False, True])
    sensor = Sensor.start(torch.tensor([10.0, 12.0, 90.0, NAN]), anchor=anchor)
    assert sensor.exposure_mean == 11
    assert sensor.exposure.tolist() == [10, 12, 90, 11]
    only_held_out = Sensor.start(torch.tensor([NAN, 9.0]), anchor=torch.tensor([True, False]))
    assert only_held_out.exposure.tolist() == [0, 0]
    assert only_held_out.exposure_mean == 0


def test_an_anchor_of_the_wrong_length_is_refused():
    with pytest.raises(ShapeError, match="anchor"):
        Sensor.start(torch.zeros(3), anchor=torch.ones(2, dtype=torch.bool))


def test_the_gauges_cannot_drift(generator):
    anchor = torch.tensor([True, False, True, True])
    sensor = Sensor.start(torch.tensor([10.0, 8.0, NAN, 13.0]), anchor=anchor)
    parameters = sensor.parameters()
    for _ in range(5):
        held_out = sensor.exposure[1].item(), sensor.white_point[1].tolist()
        with torch.no_grad():
            for parameter in parameters:
                step = 1 + torch.randn(parameter.raw.shape, generator=generator)
                parameter.raw.add_(step)
        moved = sensor.exposure[1].item(), sensor.white_point[1].tolist()
        for parameter in parameters:
            if parameter.hold is not None:
                parameter.hold()
        assert float(sensor.exposure[anchor].mean()) == pytest.approx(sensor.exposure_mean, abs=1e-5)
        assert sensor.white_point[anchor].mean(dim=0).tolist() == pytest.approx([0, 0], abs=1e-5)
        assert moved != held_out
        assert (sensor.exposure[1].item(), sensor.white_point[1].tolist()) == moved, "not theirs to hold"


def test_holding_changes_the_leaf_in_place_and_only_its_mean():
    sensor = Sensor.start(torch.tensor([10.0, 12.0]))
    exposure = sensor.exposure.requires_grad_()
    with torch.no_grad():
        exposure.add_(torch.tensor([1.0, 0.0]))
    hold = sensor.parameters()[0].hold
    assert hold is not None
    hold()
    assert sensor.parameters()[0].raw is exposure
    assert exposure.tolist() == [10.5, 11.5]


def test_brightness_and_tint_are_gauges():
    """What ``hold`` fixes is exactly what photos cannot tell."""
    sensor, index, where = used_sensor(dtype=torch.float64), torch.tensor([0, 1, 0]), coordinates(views=3).double()
    radiance = torch.rand(3, 3, 8, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    tint = torch.tensor([0.3, 0.0, -0.2], dtype=torch.float64)
    other = replace(sensor, exposure=sensor.exposure + 0.7, white_point=sensor.white_point + tint[[0, 2]])
    same = other.record(radiance * torch.exp2(0.7 + tint)[:, None, None], where, index)
    assert torch.allclose(same, sensor.record(radiance, where, index), atol=1e-12)


def test_a_known_response_is_taken_over():
    sensor = Sensor.start(torch.zeros(2), cameras=2).with_response(srgb_from_linear)
    light = torch.linspace(0, 1, 1001).expand(2, 3, 1, -1)
    recorded = sensor.record(light, torch.zeros(2, 2, 1, 1), torch.tensor([0, 1]))
    assert (recorded - srgb_from_linear(light)).abs().max() < 0.002
    back = sensor.radiance(recorded, torch.zeros(2, 2, 1, 1), torch.tensor([0, 1]))
    assert (back - linear_from_srgb(recorded)).abs().max() < 0.005
    by_values = Sensor.start(torch.zeros(1)).with_response(srgb_from_linear(response_knots()))
    assert torch.allclose(by_values.response, sensor.response[:1], atol=1e-5)


@pytest.mark.parametrize("curve", [lambda x: 1 - x, lambda x: 0.5 * x, lambda x: 0.1 + 0.9 * x, torch.ones(7)])
def test_what_is_no_response_is_refused(curve):
    with pytest.raises(SettingsError, match="not a camera response"):
        Sensor.start(torch.zeros(1)).with_response(curve)


def test_the_prior_favours_smooth_responses(generator):
    start = Sensor.start(torch.zeros(1))
    knots = response_knots()
    rough_logits = start.response_raw + 0.3 * torch.randn(1, 3, SEGMENTS, generator=generator)
    rough = float(replace(start, response_raw=rough_logits).response_smoothness())
    known = [float(start.with_response(curve).response_smoothness()) for curve in (srgb_from_linear, knots**0.4)]
    assert float(start.response_smoothness()) < 1e-10
    assert all(1e-10 < value < 0.2 * rough for value in known)


def test_select_and_to_keep_what_belongs_together():
    sensor = used_sensor(views=4)
    chosen = sensor.select(torch.tensor([2, 0])).to("cpu")
    assert len(chosen) == 2
    assert torch.equal(chosen.exposure, sensor.exposure[[2, 0]])
    assert torch.equal(chosen.exposure_start, sensor.exposure_start[[2, 0]])
    assert torch.equal(chosen.response_raw, sensor.response_raw)
    assert chosen.exposure_mean == sensor.exposure_mean


def test_every_parameter_is_recovered_from_photos_of_known_radiance():
    """Six photos of a known chart: exposure, white point, vignette and response come back."""
    truth = used_sensor(views=6, cameras=1, seed=3)
    source, index, where = torch.Generator().manual_seed(6), torch.zeros(6, dtype=torch.int64), coordinates(16, 20, 6)
    radiance = torch.exp2(-6 * torch.rand(6, 3, 16, 20, generator=source))
    photos = truth.record(radiance, where, index)
    fitted = Sensor.start(torch.full((6,), truth.exposure_mean))
    optimizer = torch.optim.Adam([leaf.requires_grad_() for leaf in leaves(fitted)], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1000)
    loss = torch.tensor(torch.inf)
    for _ in range(1000):
        optimizer.zero_grad()
        loss = (fitted.record(radiance, where, index, leak=True) - photos).square().mean()
        (loss + 1e-6 * fitted.response_smoothness()).backward()
        optimizer.step()
        schedule.step()
    assert loss.item() < 1e-5
    assert (fitted.exposure - truth.exposure).abs().max() < 0.01
    assert (fitted.white_point - truth.white_point).abs().max() < 0.01
    assert (fitted.response - truth.response).abs().max() < 0.02
    falloff = [sensor._vignetting(where[:1], index[:1]) for sensor in (fitted, truth)]
    assert (falloff[0] - falloff[1]).abs().max() < 0.01


def test_recording_a_crop_is_fast():
    sensor, where = used_sensor(views=1), torch.rand(1, 2, 256, 256)
    radiance = torch.rand(1, 3, 256, 256).requires_grad_()
    for leaf in leaves(sensor):
        leaf.requires_grad_()
    fastest = 1e9
    for _ in range(4):
        start = time.perf_counter()
        sensor.record(radiance, where, torch.tensor([0]), leak=True).sum().backward()
        fastest = min(fastest, time.perf_counter() - start)
    assert fastest < 0.1, "some 5 ms on one idle core"
