"""Families of response curves: anchored, rising, differentiable, and what they can be."""

from __future__ import annotations

import pytest
import torch

from unrender.cameras.response import FAMILIES, GAMMA, family, interpolate, interpolate_back, response_knots
from unrender.errors import SettingsError
from unrender.images.colour import srgb_from_linear

NAMES = tuple(FAMILIES)


def raw_numbers(name: str, size: float, seed: int = 0) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    start = FAMILIES[name].start()
    return start + size * torch.randn(2, 3, FAMILIES[name].numbers, dtype=torch.float64, generator=source)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [0.0, 0.5, 3.0, 30.0])
def test_it_rises_from_0_to_1_whatever_its_numbers(name: str, size: float) -> None:
    for numbers in (raw_numbers(name, size), raw_numbers(name, size).float()):
        values = FAMILIES[name].values(numbers)
        assert values.shape == (2, 3, FAMILIES[name].segments + 1)
        assert bool(values.isfinite().all())
        assert bool((values[..., 0] == 0).all())
        assert bool((values[..., -1] == 1).all())
        assert float(values.diff(dim=-1).min()) > -1e-6


@pytest.mark.parametrize("name", NAMES)
def test_it_starts_at_the_gamma_that_a_fit_starts_from(name: str) -> None:
    values = FAMILIES[name].values(FAMILIES[name].start())
    wanted = response_knots(torch.float64, segments=FAMILIES[name].segments) ** GAMMA
    assert float((values - wanted).abs().max()) < (0.015 if name == "emor" else 1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives_against_finite_differences(name: str) -> None:
    numbers = raw_numbers(name, 0.3).requires_grad_()
    assert torch.autograd.gradcheck(FAMILIES[name].values, numbers)


@pytest.mark.parametrize("name", NAMES)
def test_its_nearest_to_one_of_its_own_is_that(name: str) -> None:
    values = FAMILIES[name].values(raw_numbers(name, 0.4))
    assert float((FAMILIES[name].values(FAMILIES[name].nearest(values)) - values).abs().max()) < 1e-4


def test_measured_and_toe_and_shoulder_curves_come_nearer_to_srgb_than_a_power() -> None:
    def miss(name: str) -> float:
        curve = srgb_from_linear(response_knots(torch.float64, segments=FAMILIES[name].segments))
        return float((FAMILIES[name].values(FAMILIES[name].nearest(curve)) - curve).abs().max())

    assert miss("ppisp") < 0.006
    assert miss("emor") < 0.012
    assert miss("gamma") > 0.02


def test_emor_is_what_was_published() -> None:
    """Its mean at mid grey, by the published table."""
    emor = FAMILIES["emor"]
    mean = emor.values(torch.zeros(5, dtype=torch.float64))
    at_grey = interpolate(torch.full((1, 3, 1, 1), 0.18, dtype=torch.float64), mean.expand(1, 3, -1))
    assert float(at_grey[0, 0, 0, 0]) == pytest.approx(0.4167, abs=0.004)  # f0(0.18) of the published table


@pytest.mark.parametrize("name", NAMES)
def test_there_and_back(name: str) -> None:
    values = FAMILIES[name].values(raw_numbers(name, 0.3)).float().double()
    x = torch.rand(2, 3, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(interpolate_back(interpolate(x, values), values), x, atol=1e-9)
    assert torch.allclose(interpolate(interpolate_back(x, values), values), x, atol=1e-9)


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(SettingsError, match="unknown family of responses"):
        family("film")
