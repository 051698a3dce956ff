import pytest
import torch

from unrender.errors import SettingsError
from unrender.render.tonemap import OPERATORS, tonemap

MID_GREY = 0.18


def grey(value):
    return torch.full((3, 2, 2), float(value))


@pytest.fixture(params=sorted(OPERATORS))
def operator(request):
    return request.param


def test_the_promised_operators_exist():
    assert {"linear", "gamma", "reinhard", "filmic"} == set(OPERATORS)


def test_pictures_stay_in_range_and_rise_with_radiance(operator):
    ramp = torch.logspace(-6, 6, 500)
    picture = tonemap(ramp.expand(2, 3, 1, -1), operator)
    assert picture.shape == (2, 3, 1, 500)
    assert bool((picture >= 0).all())
    assert bool((picture <= 1).all())
    assert bool((picture.diff(dim=-1) >= 0).all())
    assert float(tonemap(grey(0), operator).max()) == pytest.approx(0, abs=1e-4)


def test_negative_radiance_is_black_and_nothing_is_nan(operator):
    picture = tonemap(torch.tensor([-1.0, 0.0, 1e30]).expand(3, 1, 3), operator)
    assert bool(torch.isfinite(picture).all())
    assert float(picture[..., 0].max()) == pytest.approx(0, abs=1e-4)


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


def test_reinhard_keeps_the_ratios_of_colours():
    from unrender.images.colour import linear_from_srgb

    colour = torch.tensor([0.5, 1.0, 0.25])[:, None, None]
    shown = linear_from_srgb(tonemap(colour, "reinhard"))
    assert torch.allclose(shown / shown[1], colour / colour[1], atol=1e-5)


def test_an_unknown_operator_is_refused():
    with pytest.raises(SettingsError, match="drago"):
        tonemap(grey(1), "drago")
