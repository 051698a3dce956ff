"""Every combination of response, colour and vignette: there and back, bounds, gauges, and what holds them."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch

from unrender.cameras import white
from unrender.cameras.response import FAMILIES
from unrender.cameras.sensor import Sensor
from unrender.cameras.vignette import fallen, within_bounds
from unrender.errors import SettingsError

MODELS = list(itertools.product(FAMILIES, ("white_point", "homography"), (False, True)))
INDEX = torch.tensor([0, 1, 0, 1])


def sensor_of(response: str, color: white.Model, per_channel: bool, ev: torch.Tensor | None = None) -> Sensor:
    """Two cameras, four views, nothing at its start; in float64."""
    source = torch.Generator().manual_seed(7)
    ev = torch.tensor([7.0, 9.0, 11.0, 13.0]) if ev is None else ev
    sensor = Sensor.start(ev, 2).with_models(response=response, color=color, per_channel=per_channel)

    def noisy(tensor: torch.Tensor, size: float) -> torch.Tensor:
        return tensor.double() + size * torch.randn(tensor.shape, dtype=torch.float64, generator=source)

    sensor = replace(
        sensor,
        exposure=noisy(sensor.exposure, 0.2),
        white_point=noisy(sensor.white_point, 0.05),
        vignette=noisy(sensor.vignette, 0.2),
        vignette_center=noisy(sensor.vignette_center, 0.03),
        response_raw=noisy(sensor.response_raw, 0.2),
    )
    sensor.hold_vignette()
    return sensor


def where(height: int = 6, width: int = 8) -> torch.Tensor:
    """The whole photo, corners included, for four views."""
    v, u = torch.meshgrid(
        torch.linspace(-0.6, 0.6, height, dtype=torch.float64),
        torch.linspace(-0.8, 0.8, width, dtype=torch.float64),
        indexing="ij",
    )
    return torch.stack([u, v]).expand(4, 2, height, width)


def light(size: float = 1.0, seed: int = 1) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    return size * torch.rand(4, 3, 6, 8, dtype=torch.float64, generator=source)


@pytest.mark.parametrize(("response", "color", "per_channel"), MODELS)
def test_radiance_inverts_record(response: str, color: white.Model, per_channel: bool) -> None:
    sensor = sensor_of(response, color, per_channel)
    radiance = 0.05 + light(2.0)
    photo = sensor.record(radiance, where(), INDEX)
    kept = ~sensor.clipped(photo, margin=1e-9).any(dim=1, keepdim=True).expand_as(photo)
    assert 0.2 < float(kept.double().mean()) < 1, "some pixels clip, most do not"
    back = sensor.radiance(photo, where(), INDEX)
    torch.testing.assert_close(back[kept], radiance[kept], rtol=1e-8, atol=1e-10)
    if color == "white_point":  # of a homography, not every photo is one of light
        anything = light(seed=2)
        again = sensor.record(sensor.radiance(anything, where(), INDEX), where(), INDEX)
        torch.testing.assert_close(again, anything, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("response", "color", "per_channel"), MODELS)
def test_derivatives_against_finite_differences(response: str, color: white.Model, per_channel: bool) -> None:
    sensor = sensor_of(response, color, per_channel)
    place, radiance = where(2, 2), 0.05 + light()[..., :2, :2]

    def record(*values: torch.Tensor) -> torch.Tensor:
        names = ("exposure", "white_point", "vignette", "vignette_center", "response_raw")
        return replace(sensor, **dict(zip(names, values[1:], strict=True))).record(values[0], place, INDEX, leak=True)

    leaves = [radiance, *(parameter.raw for parameter in sensor.parameters())]
    assert torch.autograd.gradcheck(record, [leaf.clone().requires_grad_() for leaf in leaves], atol=1e-4)


def test_clipped_pixels_are_marked() -> None:
    values = torch.tensor([0.0, 0.5 / 255, 1 / 255, 0.5, 254 / 255, 254.6 / 255, 1.0, float("nan")])
    marked = Sensor.clipped(values.view(1, 1, 1, -1))[0, 0, 0].tolist()
    assert marked == [True, True, False, False, False, True, True, True]


@pytest.mark.parametrize("seed", range(20))
def test_a_held_vignette_lies_within_0_and_1_and_falls(seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    rows = torch.randn(5, 3, 3, generator=source, dtype=torch.float64)
    reach = 1 + 2 * torch.rand(5, generator=source, dtype=torch.float64)
    held = within_bounds(rows, reach)
    s = torch.linspace(0, 1, 200, dtype=torch.float64)[None] * reach[:, None]
    seen = fallen(held, s[:, None])
    assert float(seen.max()) <= 1
    assert float(seen.min()) >= 0.05 - 1e-12
    assert float(seen.diff(dim=-1).max()) <= 1e-12
    torch.testing.assert_close(within_bounds(held, reach), held)


def test_a_real_vignette_is_left_as_it_is() -> None:
    real = torch.tensor([[-0.34, 0.10, -0.06], [0.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(within_bounds(real, torch.tensor([1.07, 1.0]).double()), real)


def test_contrast_is_a_gauge_and_exif_holds_it() -> None:
    """R(x^p) with light and exposure ratios to the power of 1/p records the same photos; held, that p is 1."""
    p = 1.25
    sensor = replace(sensor_of("gamma", "white_point", False), vignette=torch.zeros(2, 3, dtype=torch.float64))
    radiance, mean = 0.02 + light(0.5), sensor.exposure_start.double().mean()
    bent = replace(
        sensor,
        exposure=mean + (sensor.exposure - mean) / p,
        white_point=sensor.white_point / p,
        response_raw=sensor.response_raw + math.log(p),
    )
    photo, same = sensor.record(radiance, where(), INDEX), bent.record(radiance ** (1 / p), where(), INDEX)
    torch.testing.assert_close(same, photo, rtol=0, atol=2e-3)  # as far as the knots hold a power
    assert bent.contrast_from == "exif"
    assert _slope(bent) == pytest.approx(_slope(sensor) / p)
    bent.parameters()[0].hold()  # pyright: ignore[reportOptionalCall]
    assert _slope(bent) == pytest.approx(1)
    assert float(bent.exposure.mean()) == pytest.approx(float(mean), abs=1e-5)


def _slope(sensor: Sensor) -> float:
    given, now = (ev.double() - ev.double().mean() for ev in (sensor.exposure_start, sensor.exposure))
    return float((given * now).sum() / given.square().sum())


@pytest.mark.parametrize(
    ("ev", "holds"),
    [
        ([5.0, 8.0, 11.0, 14.0], "exif"),
        ([9.0, 9.0, 9.0, 9.0], "prior"),
        ([9.0, 9.3, 9.1, 9.2], "prior"),
        ([float("nan")] * 4, "prior"),
        ([7.0, float("nan"), float("nan"), float("nan")], "prior"),
        ([7.0, 10.0, float("nan"), 12.0], "exif"),
    ],
)
def test_what_holds_the_contrast(ev: list[float], holds: str) -> None:
    """Also: whatever EXIF says or does not say, a hold leaves numbers."""
    sensor = Sensor.start(torch.tensor(ev))
    assert sensor.contrast_from == holds
    sensor.exposure.add_(torch.tensor([1.0, -2.0, 0.5, 0.0]))
    for parameter in sensor.parameters():
        if parameter.hold is not None:
            parameter.hold()
    assert all(bool(parameter.raw.isfinite().all()) for parameter in sensor.parameters())
    assert float(sensor.exposure.mean()) == pytest.approx(float(sensor.exposure_start.mean()), abs=1e-4)


def test_one_view_alone_is_held_too() -> None:
    sensor = Sensor.start(torch.tensor([9.0]))
    sensor.exposure.add_(3)
    sensor.parameters()[0].hold()  # pyright: ignore[reportOptionalCall]
    assert sensor.exposure.tolist() == [9.0]
    assert sensor.contrast_from == "prior"


def test_a_homography_keeps_brightness_and_moves_grey() -> None:
    numbers = torch.tensor([[0.02, 0.01, 0.03, -0.01, 0.02, -0.03, 0.01, 0.02]], dtype=torch.float64)
    grey = torch.full((1, 3, 1, 1), 0.4, dtype=torch.float64)
    moved = white.corrected(grey, numbers)
    assert float(moved.sum()) == pytest.approx(1.2)
    assert float((moved - grey).abs().max()) > 0.005
    torch.testing.assert_close(white.corrected(3 * grey, numbers), 3 * moved)
    red, blue = white.white_points(numbers)[0].tolist()
    assert torch.log2(moved[0, 1] / moved[0, 0]).item() == pytest.approx(red)
    assert torch.log2(moved[0, 1] / moved[0, 2]).item() == pytest.approx(blue)
    nothing = white.corrected(torch.zeros(1, 3, 1, 1, dtype=torch.float64), numbers)
    assert nothing.tolist() == torch.zeros(1, 3, 1, 1).tolist()


def test_other_models_start_from_the_curve_and_vignette_that_were() -> None:
    sensor = Sensor.start(torch.tensor([9.0, 10.0])).with_response(lambda x: x ** (1 / 1.8))
    sensor = replace(sensor, vignette=torch.tensor([[-0.3, 0.0, 0.0]]))
    other = sensor.with_models(response="ppisp", color="homography", per_channel=True)
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    place, index = where(4, 4)[:2].float(), torch.zeros(2, dtype=torch.int64)
    torch.testing.assert_close(other.record(x, place, index), sensor.record(x, place, index), atol=4e-3, rtol=0)
    assert other.vignette.shape == (1, 3, 3)
    assert other.white_point.shape == (2, 8)
    torch.testing.assert_close(other.with_models().vignette, sensor.vignette)
    with pytest.raises(SettingsError, match="unknown model of colour"):
        sensor.with_models(color="lut")  # pyright: ignore[reportArgumentType]
