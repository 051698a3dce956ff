"""Laws of the losses: zero for equal images, masks that weigh nothing, derivatives, refusals."""

from __future__ import annotations

import math

import pytest
import torch

from unrender.errors import SettingsError, ShapeError
from unrender.losses import LossSettings, dssim, gradient, l1, parts, total

PARTS = {"l1": l1, "dssim": dssim, "gradient": gradient}


def images(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def pair(height=14, width=15, batch=1):
    return images(batch, 3, height, width, seed=1), images(batch, 3, height, width, seed=2)


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_equal_images_have_no_loss_and_others_have(part):
    image, target = pair()
    assert part(image, image).item() == pytest.approx(0.0, abs=1e-12)
    assert part(image, target).item() > 0.01


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_full_weight_is_no_weight_at_any_scale(part):
    image, target = pair(batch=2)
    expected = part(image, target)
    for scale in (1.0, 3.0):
        torch.testing.assert_close(part(image, target, torch.full((2, 1, 14, 15), scale)), expected)


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("rubbish", [0.0, 1.0, math.nan, math.inf])
def test_masked_pixels_weigh_nothing_whatever_they_hold(part, rubbish):
    image, target = pair(24, 24)
    weight = torch.ones(1, 1, 24, 24)
    weight[..., 8:12, 3:20] = 0
    spoilt = [torch.where(weight > 0, x, torch.full_like(x, rubbish)).requires_grad_() for x in (image, target)]
    image.requires_grad_()
    torch.testing.assert_close(part(*spoilt, weight), part(image, target, weight))
    part(*spoilt, weight).backward()
    grad = spoilt[0].grad
    assert grad is not None
    assert bool(grad.isfinite().all())
    assert bool((grad[..., 8:12, 3:20] == 0).all())
    assert bool((grad[..., 15:, :] != 0).any())


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_nothing_seen_is_no_loss(part):
    assert part(*pair(), torch.zeros(1, 1, 14, 15)).item() == 0.0


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("masked", [False, True])
def test_derivative(part, masked):
    image, target = (x.requires_grad_() for x in pair(12, 13))
    weight = images(1, 1, 12, 13, seed=3).round() if masked else None
    assert torch.autograd.gradcheck(lambda a, b: part(a, b, weight), (image, target))


def test_l1_is_the_mean_over_what_is_seen():
    image, target = torch.zeros(1, 3, 2, 2), torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 1, 2, 2).expand(1, 3, 2, 2)
    assert l1(image, target).item() == pytest.approx(2.5)
    weight = torch.tensor([1.0, 0.0, 0.0, 3.0]).view(1, 1, 2, 2)
    assert l1(image, target, weight).item() == pytest.approx((1 + 3 * 4) / 4)


def test_gradient_loss_of_a_ramp_grows_with_the_level_and_ignores_an_offset():
    """A ramp of slope s per fine pixel has differences s 2^l at level l; a constant difference has none."""
    ramp = (0.01 * torch.arange(64.0)).expand(1, 1, 64, 64)
    zero = torch.zeros_like(ramp)
    assert gradient(ramp, zero, levels=1).item() == pytest.approx(0.01 * 63 / 64)
    assert gradient(ramp, zero, levels=2).item() == pytest.approx((0.01 * 63 / 64 + 0.02 * 31 / 32) / 2)
    assert gradient(zero + 0.5, zero).item() == 0.0


def test_dssim_is_bounded_and_orders_blur():
    image, target = pair(20, 20)
    assert 0 <= dssim(image, target).item() <= 1
    assert dssim(0.9 * target + 0.1 * image, target) < dssim(0.5 * target + 0.5 * image, target)


def test_total_is_the_weighted_sum_of_its_parts():
    image, target = pair()
    settings = LossSettings(l1=0.7, dssim=0.2, gradient=0.1, gradient_levels=2)
    named = parts(image, target, None, settings)
    assert list(named) == ["l1", "dssim", "gradient"]
    expected = 0.7 * l1(image, target) + 0.2 * dssim(image, target) + 0.1 * gradient(image, target, levels=2)
    torch.testing.assert_close(total(image, target, None, settings), expected)


def test_parts_of_no_weight_are_not_computed():
    small = images(1, 3, 4, 4)  # too small for a window
    assert list(parts(small, small, None, LossSettings(dssim=0, gradient=0))) == ["l1"]


def test_impossible_settings_are_refused():
    with pytest.raises(SettingsError, match="weights"):
        LossSettings(l1=-1)
    with pytest.raises(SettingsError, match="positive"):
        LossSettings(l1=0, dssim=0, gradient=0)
    with pytest.raises(SettingsError, match="vgg_weights"):
        LossSettings(vgg=1.0)
    with pytest.raises(SettingsError, match="no such file"):
        LossSettings(vgg=1.0, vgg_weights="nowhere.pth")


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_shapes_that_do_not_fit_are_refused(part):
    image, target = pair()
    with pytest.raises(ShapeError, match="image and target"):
        part(image, target[..., 1:])
    with pytest.raises(ShapeError, match="weight"):
        part(image, target, torch.ones(1, 3, 14, 15))
