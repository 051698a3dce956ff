import pytest
import torch

from unrender.images.colour import linear_from_srgb, srgb_from_linear


def test_known_values_of_the_standard():
    linear = torch.tensor([0.0, 0.0031308, 0.18, 0.5, 1.0], dtype=torch.float64)
    expected = torch.tensor([0.0, 0.04045, 0.46135, 0.73536, 1.0], dtype=torch.float64)
    assert torch.allclose(srgb_from_linear(linear), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_they_undo_each_other_and_rise(dtype):
    values = torch.linspace(-0.1, 1.5, 10_001, dtype=dtype)
    tolerance = 1e-6 if dtype is torch.float32 else 1e-7  # the standard's two pieces meet to 1e-8
    assert torch.allclose(linear_from_srgb(srgb_from_linear(values)), values, atol=tolerance)
    assert torch.allclose(srgb_from_linear(linear_from_srgb(values)), values, atol=tolerance)
    assert bool((srgb_from_linear(values).diff() > 0).all())
    assert srgb_from_linear(values).dtype == dtype


def test_derivatives_are_finite_everywhere():
    for function in (srgb_from_linear, linear_from_srgb):
        values = torch.linspace(-1, 2, 3001).requires_grad_()
        (slope,) = torch.autograd.grad(function(values).sum(), values)
        assert bool(torch.isfinite(slope).all())
        assert bool((slope > 0).all())
