import pytest
import torch

from unrender.errors import SettingsError
from unrender.images.colour import linear_from_srgb, luminance
from unrender.render.tonemap import OPERATORS, tonemap

MID_GREY = 0.18


def grey(value):
    return torch.full((3, 2, 2), float(value))


@pytest.fixture(params=sorted(OPERATORS))
def operator(request):
    return request.param


@pytest.fixture(params=sorted(set(OPERATORS) - {"fusion"}))
def pointwise(request):
    """Operators that look at one pixel at a time."""
    return request.param


def test_the_promised_operators_exist():
    assert {"linear", "gamma", "reinhard", "filmic", "agx", "fusion"} == set(OPERATORS)


def test_pictures_stay_in_range(operator):
    ramp = torch.logspace(-6, 6, 500)
    picture = tonemap(ramp.expand(2, 3, 1, -1), operator)
    assert picture.shape == (2, 3, 1, 500)
    assert bool((picture >= 0).all())
    assert bool((picture <= 1).all())
    assert float(tonemap(grey(0), operator).max()) == pytest.approx(0, abs=1e-4)
    assert float(tonemap(grey(1e6), operator).min()) > 0.99


def test_pictures_rise_with_radiance(pointwise, generator):
    """Of grey, and of a pixel that becomes brighter in all channels in step."""
    for colour in (torch.ones(3), torch.rand(3, generator=generator)):
        picture = tonemap(colour[:, None, None] * torch.logspace(-6, 6, 500), pointwise)
        brightness = luminance(linear_from_srgb(picture))
        assert bool((brightness.diff(dim=-1) >= -1e-6).all())


def test_no_radiance_gives_nan(operator):
    picture = tonemap(torch.tensor([-1.0, -torch.inf, 0.0, 1e30, torch.inf]).expand(3, 1, 5), operator)
    assert bool(torch.isfinite(picture).all())
    assert bool((picture >= 0).all())
    assert bool((picture <= 1).all())


def test_negative_radiance_is_black(pointwise):
    picture = tonemap(torch.tensor([-1.0, -torch.inf]).expand(3, 1, 2), pointwise)
    assert float(picture.max()) == pytest.approx(0, abs=1e-4)


def test_an_infinite_channel_does_not_spoil_the_others(pointwise):
    picture = tonemap(torch.tensor([torch.inf, 0.5, 0.0])[:, None, None], pointwise)
    assert bool(torch.isfinite(picture).all())
    assert float(picture[0]) == pytest.approx(1.0, abs=0.01)


def test_derivatives_are_those_of_finite_differences(operator, generator):
    """Between black and white, where every operator promises them; fusion where no exposure clips."""
    radiance = 0.01 + 0.04 * torch.rand(3, 5, 6, generator=generator, dtype=torch.float64)
    radiance.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: OPERATORS[operator](x), radiance, eps=1e-7, atol=1e-5)


def test_derivatives_at_black_and_far_above_white_are_finite(operator):
    radiance = torch.tensor([0.0, 1e-9, 1e9]).expand(3, 2, 3).clone().requires_grad_()
    tonemap(radiance, operator).sum().backward()
    assert radiance.grad is not None
    assert bool(torch.isfinite(radiance.grad).all())


def test_a_stop_more_exposure_value_is_half_the_light(operator):
    assert torch.allclose(tonemap(grey(0.4), operator, ev=1), tonemap(grey(0.2), operator))
    assert torch.allclose(tonemap(grey(0.4), operator, ev=-1.5), tonemap(grey(0.4 * 2**1.5), operator))


def test_mid_grey_looks_like_mid_grey(operator):
    """All operators keep 18 % within what a change of 0.3 stops does to the plain one."""
    low, high = (float(tonemap(grey(MID_GREY), "linear", ev=ev)[0, 0, 0]) for ev in (0.3, -0.3))
    assert low < float(tonemap(grey(MID_GREY), operator)[0, 0, 0]) < high


def test_known_points_of_each_curve():
    assert float(tonemap(grey(0.5), "linear")[0, 0, 0]) == pytest.approx(0.735357, abs=1e-5)
    assert float(tonemap(grey(0.5), "gamma")[0, 0, 0]) == pytest.approx(0.5 ** (1 / 2.2), abs=1e-6)
    assert torch.allclose(tonemap(grey(1), "reinhard"), tonemap(grey(0.5), "linear"))
    assert float(tonemap(grey(11.2 / 2), "filmic")[0, 0, 0]) == pytest.approx(1, abs=1e-6)
    assert float(tonemap(grey(3), "filmic")[0, 0, 0]) < 1, "the shoulder keeps what is above 1"
    assert float(tonemap(grey(MID_GREY), "agx")[0, 0, 0]) == pytest.approx(
        float(tonemap(grey(MID_GREY), "linear")[0, 0, 0]), abs=1e-4
    )
    assert float(tonemap(grey(MID_GREY * 2**6.5), "agx")[0, 0, 0]) == pytest.approx(1, abs=1e-5)
    assert float(tonemap(grey(MID_GREY * 2**-10), "agx")[0, 0, 0]) == pytest.approx(0, abs=1e-5)
    assert 0 < float(tonemap(grey(MID_GREY * 2**-9), "agx")[0, 0, 0]) < float(tonemap(grey(8), "agx")[0, 0, 0]) < 1


def test_reinhard_keeps_the_ratios_of_colours():
    colour = torch.tensor([0.5, 1.0, 0.25])[:, None, None]
    shown = linear_from_srgb(tonemap(colour, "reinhard"))
    assert torch.allclose(shown / shown[1], colour / colour[1], atol=1e-5)


def test_agx_keeps_grey_grey_and_the_order_of_channels(generator):
    shown = tonemap(torch.logspace(-4, 2, 50).expand(3, 1, -1), "agx")
    assert torch.allclose(shown, shown[:1].expand_as(shown), atol=1e-6)
    colours = torch.rand(3, 1, 400, generator=generator)
    assert torch.equal(tonemap(colours, "agx").argsort(dim=0), colours.argsort(dim=0))


def test_agx_bleaches_what_is_bright():
    """A red lamp becomes white as it gets brighter; clipping keeps it red."""
    lamp = torch.tensor([1.0, 0.05, 0.02])[:, None, None] * torch.tensor([0.1, 1.0, 10.0, 100.0])
    spread = {name: (shown := tonemap(lamp, name)).amax(0) - shown.amin(0) for name in ("agx", "linear")}
    assert bool((spread["agx"][0].diff()[1:] < 0).all())
    assert float(spread["agx"][0, -1]) < 0.1


@pytest.mark.parametrize("ev", [float("nan"), float("inf"), 101.0, -2000.0])
def test_an_impossible_exposure_is_refused(ev):
    with pytest.raises(SettingsError, match="stops"):
        tonemap(grey(1), "linear", ev)


def test_an_unknown_operator_is_refused():
    with pytest.raises(SettingsError, match="drago"):
        tonemap(grey(1), "drago")
