"""Response and radiance from a bracket, against the camera that took it."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from unrender.cameras.sensor import response_knots
from unrender.datasets.synthetic.photography import filmic, gamma
from unrender.errors import CaptureError
from unrender.images.colour import srgb_from_linear
from unrender.initialize.debevec import NODES, response_values
from unrender.initialize.stack import Stack, clipped_shares, fit_stack, merge, predict, shifts

Curve = Callable[[torch.Tensor], torch.Tensor]
EVS = (4.0, 6.0, 8.0, 9.7, 12.0)


def light(height: int = 80, width: int = 100) -> torch.Tensor:
    """Smooth radiance [3, H, W] over 12 stops; 2^8 is just white at EV 8."""
    grid = torch.rand(1, 3, 8, 10, generator=torch.Generator().manual_seed(0))
    return torch.exp2(2 + 12 * torch.nn.functional.interpolate(grid, (height, width), mode="bicubic")[0])


def taken(curve: Curve, evs: Sequence[float] = EVS, radiance: torch.Tensor | None = None) -> Stack:
    chance, photos = torch.Generator().manual_seed(1), []
    for ev in evs:
        recorded = 255 * curve(((light() if radiance is None else radiance) * 2.0**-ev).clamp(0, 1))
        noisy = recorded + 0.5 * torch.randn(recorded.shape, generator=chance)
        photos.append(noisy.round().clamp(0, 255).byte().permute(1, 2, 0).contiguous())
    return Stack(tuple(photos), torch.tensor(evs, dtype=torch.float64))


def colored(x: torch.Tensor) -> torch.Tensor:
    """Another curve in each channel, [3, ...]."""
    return torch.stack([filmic(x[0]), x[1] ** 0.6, srgb_from_linear(x[2])]).clamp(0, 1)


@pytest.mark.parametrize(
    "curve", [filmic, gamma, srgb_from_linear, lambda x: x], ids=["filmic", "gamma", "srgb", "line"]
)
@pytest.mark.parametrize("refine", [False, True])
def test_the_response_is_found(curve: Curve, refine: bool) -> None:
    fit = fit_stack(taken(curve), refine)
    assert float((fit.cameras.sensor.response[0] - curve(response_knots())).abs().max()) < 0.015
    assert float((fit.cameras.sensor.exposure - torch.tensor(EVS)).abs().max()) < 0.03


def test_each_channel_has_its_own_curve() -> None:
    found = fit_stack(taken(colored)).cameras.sensor.response[0]
    assert float((found - colored(response_knots().expand(3, -1))).abs().max()) < 0.015


@pytest.mark.parametrize("family", ["gamma", "emor", "ppisp"])
def test_the_nearest_of_a_family_is_taken(family: str) -> None:
    sensor = fit_stack(taken(gamma), family=family).cameras.sensor
    assert sensor.response_family == family
    assert float((sensor.response[0] - gamma(sensor.knots)).abs().max()) < 0.03


def test_wrong_exif_is_refined_and_given_exif_is_kept() -> None:
    """EVs a third of a stop off, as nominal times are; their spread is kept."""
    off = torch.tensor([0.0, 0.3, -0.3, 0.15, -0.15]).double()
    stack = taken(filmic)
    told = replace(stack, exif_ev=stack.exif_ev + off)
    kept, refined = (fit_stack(told, refine).cameras.sensor.exposure.double() for refine in (False, True))
    torch.testing.assert_close(kept, told.exif_ev, rtol=0, atol=1e-5)
    wrong = (refined - stack.exif_ev) - (refined - stack.exif_ev).mean()
    assert float(wrong.abs().max()) < 0.15


@pytest.mark.parametrize("missing", [(1, 3), range(5)])
def test_missing_exposures_are_estimated(missing: Sequence[int]) -> None:
    stack = taken(gamma)
    poor = stack.exif_ev.clone()
    poor[list(missing)] = torch.nan
    fit = fit_stack(replace(stack, exif_ev=poor))
    assert torch.nonzero(fit.estimated)[:, 0].tolist() == list(missing)
    found = fit.cameras.sensor.exposure.double() - stack.exif_ev
    assert float((found - found.mean()).abs().max()) < 0.1


def test_radiance_is_merged_and_what_is_clipped_in_all_is_marked() -> None:
    radiance = light().clone()
    radiance[:, :10, :10], radiance[:, 70:, 90:] = 2.0**14, 2.0**-14
    stack = taken(filmic, radiance=radiance)
    fit = fit_stack(stack, refine=False)
    merged, marks = merge(stack, fit)
    assert set(marks[:10, :10].flatten().tolist()) == {1}
    assert set(marks[70:, 90:].flatten().tolist()) == {-1}
    mean = fit.cameras.sensor.exposure_mean
    least = 2.0 ** (max(EVS) - mean)
    assert float(merged[:10, :10].min()) > 0.9 * least
    clear = marks == 0
    off = (merged.permute(2, 0, 1) * 2.0**mean / radiance).log2()[:, clear].abs()
    assert float(off.median()) < 0.05
    assert float(off.flatten().quantile(0.99)) < 0.25
    bright, dark = zip(*clipped_shares(stack), strict=True)
    assert list(bright) == sorted(bright, reverse=True)
    assert list(dark) == sorted(dark)


def test_a_photo_left_out_is_predicted() -> None:
    stack = taken(filmic)
    fit = fit_stack(stack.without(2), refine=False)
    radiance, marks = merge(stack.without(2), fit)
    photo = stack.photos[2].float() / 255
    clear = (marks == 0)[..., None] & (photo > 0.04) & (photo < 0.96)
    error = (predict(radiance, fit, EVS[2]) - photo)[clear].abs() * 255
    assert float(error.median()) < 1.5


def test_linear_photos_have_no_curve_to_find() -> None:
    stack = taken(lambda x: x)
    deep = tuple((photo.int() * 257).to(torch.uint16) for photo in stack.photos)
    fit = fit_stack(replace(stack, photos=deep, linear=True))
    torch.testing.assert_close(fit.cameras.sensor.response[0, 0], response_knots(), rtol=0, atol=1e-6)


def test_a_shifted_photo_is_noticed() -> None:
    grain = torch.exp2(torch.rand(1, 90, 120, generator=torch.Generator().manual_seed(2)))
    stack = taken(gamma, (8.0, 9.5, 11.0, 12.5, 14.0), light(90, 120) * grain)
    ev = stack.exif_ev
    assert shifts(stack, ev) == [(0, 0)] * 5
    moved = replace(stack, photos=(*stack.photos[:2], stack.photos[2].roll((1, 3), (0, 1)), *stack.photos[3:]))
    assert shifts(moved, ev) == [(0, 0), (0, 0), (3, 1), (-3, -1), (0, 0)]


def test_what_says_nothing_is_refused() -> None:
    stack = taken(gamma)
    with pytest.raises(CaptureError, match="equally exposed"):
        fit_stack(Stack((stack.photos[0],) * 3, torch.full((3,), 5.0).double()))
    with pytest.raises(CaptureError, match="equally exposed"):
        fit_stack(Stack((stack.photos[2],) * 3, torch.full((3,), torch.nan).double()))
    white = Stack((torch.full((8, 8, 3), 255, dtype=torch.uint8),) * 2, torch.tensor([1.0, 3.0]).double())
    with pytest.raises(CaptureError, match="no pixel is recorded between black and white in two photos"):
        fit_stack(white)


def test_a_sensor_that_saturates_early_still_has_a_response() -> None:
    """Noise near white, as JPEG makes, can put the curve's end below what comes before it: it leaps to 1 there."""
    departure = torch.zeros(3, NODES, dtype=torch.float64)
    departure[2, -1] = -0.5
    values = response_values(departure)
    assert torch.allclose(values[0], gamma(response_knots(torch.float64)), atol=2e-3)
    assert 0.7 < float(values[2, -2]) < float(values[2, -1])
    assert bool((values[:, -1] == 1).all())
    assert bool((values.diff(dim=1) >= 0).all())


@pytest.mark.parametrize("tint", [(1.0, 0.6, 0.25), (0.4, 0.7, 1.0)], ids=["warm", "cold"])
@pytest.mark.parametrize("curve", [srgb_from_linear, filmic], ids=["srgb", "filmic"])
def test_a_jpeg_bracket_of_coloured_light(curve: Curve, tint: tuple[float, ...]) -> None:
    """Colours at half resolution and coarse steps, where one channel clips before the others."""
    grey = light(160, 200).mean(dim=0, keepdim=True)
    stack = taken(curve, radiance=grey * torch.tensor(tint)[:, None, None])
    stored = []
    for photo in stack.photos:
        file = io.BytesIO()
        Image.fromarray(photo.numpy()).save(file, "JPEG", quality=97, subsampling=2)
        stored.append(torch.from_numpy(np.array(Image.open(file))))

    def off(stack: Stack) -> float:
        found = fit_stack(stack, refine=False).cameras.sensor.response[0]
        return float((found - curve(response_knots())).abs().max())

    told = replace(stack, photos=tuple(stored), lossy=True)
    assert off(told) < 0.06
    assert off(told) < 0.75 * off(replace(told, lossy=False))
