"""Where a radius stops growing, and the way back to it; and what lenses make of that."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrender.cameras.lens import make_lens
from unrender.cameras.lens.central import Central
from unrender.cameras.lens.radial import first_root, horner, solve_growing

WIDTH, HEIGHT = 640, 480


def central(model: str, width: int, height: int, params: list[float]) -> Central:
    lens = make_lens(model, width, height, params)
    assert isinstance(lens, Central)
    return lens


@pytest.mark.parametrize(
    ("roots", "end", "expected"),
    [
        ([0.5], 1, 0.5),
        ([0.5], 0.4, math.inf),
        ([2, 3, 4], math.inf, 2),
        ([100.25, 2000, 0.75], math.inf, 0.75),
        ([300, 1e5, 4e5], math.inf, 300),
        ([0.5, 0.5 + 1e-6, 0.9], 1, 0.5),
        ([1e9], math.inf, math.inf),
        ([], math.inf, math.inf),
    ],
)
def test_the_first_root_is_found(roots, end, expected):
    product = np.polynomial.Polynomial([1.0])
    for root in roots:
        product = product * np.polynomial.Polynomial([1.0, -1 / root])
    assert first_root(product.coef.tolist(), end) == pytest.approx(expected, rel=1e-7)


def test_a_polynomial_that_is_not_positive_at_0_ends_there():
    assert first_root([-1.0, 5.0]) == first_root([0.0, 1.0]) == first_root([]) == 0.0


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=8), st.sampled_from([0.5, math.pi, math.inf]))
@settings(max_examples=200, deadline=None)
def test_it_is_positive_up_to_the_first_root_and_not_beyond(rest, end):
    coefficients = [1.0, *rest]
    found = first_root(coefficients, end)
    at = np.linspace(0, min(found, end, 100.0), 2001)
    scale = np.polynomial.polynomial.polyval(at, np.abs(coefficients))
    assert (np.polynomial.polynomial.polyval(at, coefficients) > -1e-9 * scale).all()
    if math.isfinite(found):
        size = np.polynomial.polynomial.polyval(found, np.abs(coefficients))
        assert np.polynomial.polynomial.polyval(found * (1 + 1e-9), coefficients) < 1e-7 * size


@pytest.mark.parametrize("extreme", [1e300, -1e300, 1e-300, -1e-300])
def test_absurd_coefficients_do_not_break_the_search(extreme):
    for place in range(1, 5):
        coefficients = [1.0, 0.1, -0.2, 0.3, 0.1]
        coefficients[place] = extreme
        assert first_root(coefficients) >= 0


def test_solve_growing_stops_at_the_rim_and_at_0():
    def curve(radius):
        return horner((0.0, 1.0, 0.0, -1 / 3), radius)

    target = torch.tensor([-1.0, 0.0, 0.5, 2 / 3, 9.0], dtype=torch.float64)
    found = solve_growing(curve, target, rim=1.0)
    torch.testing.assert_close(curve(found)[0], target.clamp(0, 2 / 3), atol=1e-14, rtol=0)
    assert found[0] == 0
    assert found[-1] == 1


def test_unproject_ends_where_newton_s_method_goes_to_and_fro():
    """Around the bend of this lens two radii send Newton's method from one to the other, inside any bracket."""
    lens = central("RADIAL", WIDTH, HEIGHT, [1, 0, 0, 0.37316058753484854, -0.13259421877545063])
    slopes = torch.linspace(1.186, 1.188, 2001, dtype=torch.float64)
    points = torch.stack([slopes, torch.zeros_like(slopes), torch.ones_like(slopes)], dim=1)
    torch.testing.assert_close(lens.unproject(lens.project(points)[0]), points, atol=1e-12, rtol=0)


def test_pixels_beyond_the_rim_get_the_rim():
    lens = central("SIMPLE_RADIAL", WIDTH, HEIGHT, [500, 320, 240, -0.4])
    far = lens.unproject(torch.tensor([[2000.0, 240.0], [320.0, -9000.0]], dtype=torch.float64))
    rim = torch.tensor([[lens.valid_radius, 0, 1], [0, -lens.valid_radius, 1]], dtype=torch.float64)
    assert torch.allclose(far, rim, atol=1e-12)


@pytest.mark.parametrize(
    ("model", "terms", "growth"),
    [
        *[
            ("RADIAL", [k1, k2], lambda r, k1=k1, k2=k2: r + k1 * r**3 + k2 * r**5)
            for k1, k2 in [(-0.2, 0.0), (-0.3, 0.01), (0.2, -0.4), (-0.5, 0.1), (0.0, -0.1), (0.3, -1e-3)]
        ],
        ("FULL_OPENCV", [0, 0, 0, 0, 0, 0.4, 0, 0], lambda r: r / (1 + 0.4 * r**2)),
        ("FULL_OPENCV", [-0.3, 0, 0, 0, 0, 0, 0.1, 0], lambda r: r * (1 - 0.3 * r**2) / (1 + 0.1 * r**4)),
        ("FULL_OPENCV", [0.2, 0, 0, 0, -0.1, 0, 0, 0], lambda r: r * (1 + 0.2 * r**2 - 0.1 * r**6)),
    ],
)
def test_the_valid_region_ends_where_the_distortion_stops_growing(model, terms, growth):
    focal = [500, 320, 240] if model == "RADIAL" else [500, 500, 320, 240]
    lens = central(model, WIDTH, HEIGHT, [*focal, *terms])
    radius = torch.linspace(0, 20, 400_001, dtype=torch.float64)
    first_fall = int((growth(radius).diff() < 0).nonzero()[0])
    assert lens.valid_radius == pytest.approx(float(radius[first_fall]), abs=2e-4)


def test_a_fisheye_sees_up_to_where_its_polynomial_stops_growing():
    k = 1 / (3 * 2.0**2)
    lens = central("SIMPLE_RADIAL_FISHEYE", WIDTH, HEIGHT, [150, 320, 240, -k])
    angle = torch.tensor([1.6, 1.999, 2.001, 3.0], dtype=torch.float64)
    points = torch.stack([torch.sin(angle), torch.zeros_like(angle), torch.cos(angle)], dim=1)
    assert lens.project(points)[1].tolist() == [True, True, False, False]
    assert lens.valid_radius == pytest.approx(2.0, rel=1e-12)


def test_a_pole_of_the_quotient_ends_the_valid_region():
    lens = central("FULL_OPENCV", WIDTH, HEIGHT, [500, 500, 320, 240, 0, 0, 0, 0, 0, -0.25, 0, 0])
    assert lens.valid_radius == pytest.approx(2.0, rel=1e-8)
    assert lens.valid_radius < 2


def test_tangential_terms_fold_too():
    """x + 3 p2 x^2 along v = 0 stops growing at x = -1 / (6 p2)."""
    lens = central("OPENCV", WIDTH, HEIGHT, [500, 500, 320, 240, 0, 0, 0, 0.1])
    assert lens.valid_radius == pytest.approx(1 / 0.6, rel=1e-12)


@pytest.mark.parametrize(("k1", "k2"), [(0.0, 0.0), (0.3, 0.0), (0.2, 0.1), (-0.3, 0.05)])
def test_the_valid_region_is_unlimited_where_the_distortion_always_grows(k1, k2):
    assert math.isinf(central("RADIAL", WIDTH, HEIGHT, [500, 320, 240, k1, k2]).valid_radius)


def test_points_behind_or_beyond_the_fold_are_not_inside():
    lens = central("SIMPLE_RADIAL", WIDTH, HEIGHT, [500, 320, 240, -0.2])
    rim = lens.valid_radius
    points = torch.tensor([[0, 0, 1], [0, 0, -1], [0, 0, 0], [rim - 1e-6, 0, 1], [rim + 1e-6, 0, 1], [0, -9, 1]])
    pixels, inside = lens.project(points.double())
    assert inside.tolist() == [True, False, False, True, False, False]
    folded = lens.project(torch.tensor([[5**0.5, 0.0, 1]]))
    assert abs(float(folded[0][0, 0]) - 320) < 1e-3, "without the test this point would land in the middle"
    assert not bool(folded[1])
    assert bool(torch.isfinite(pixels).all())
