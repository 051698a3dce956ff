"""The kernel's projection against the cameras it is packed from, and its ghosts against what they promise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch

from unrender.cameras.lens import LENSES, make_lens
from unrender.errors import CaptureError
from unrender.kernels.rasterize_points.cases import CASES, PARAMETERS, WIDE
from unrender.kernels.rasterize_points.families import DRAWN
from unrender.kernels.rasterize_points.op import Geometry
from unrender.kernels.rasterize_points.projection import ghosts, project
from unrender.kernels.rasterize_points.views import FIELDS, pack_views

ORIGIN = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)


@pytest.mark.parametrize("lens", [*map(str.lower, PARAMETERS), *(f"{lens.lower()}_inside" for lens in WIDE)])
def test_projects_as_the_cameras_do(lens):
    geometry, _, cameras = CASES[lens].make()
    rows = pack_views(cameras, ORIGIN)
    assert rows.shape == (len(cameras), sum(FIELDS.values()))
    double = Geometry(*(tensor.double() for tensor in geometry))
    for view in range(len(cameras)):
        expected = cameras.project(view, double[0], ORIGIN)
        eye = cameras.centers[view] - ORIGIN
        facing = ((double[1] * (double[0] - eye)).sum(1) < 0) | (double[1] == 0).all(1)
        found = project(*double, rows[view])
        assert torch.equal(found.keep, expected.inside & facing)
        here = found.keep
        torch.testing.assert_close(found.pixels[here], expected.pixels[here])
        torch.testing.assert_close(found.depth, expected.depth)
        reach = expected.magnification * double[2] / (1 - double[3]).sqrt()
        torch.testing.assert_close(found.reach[here], reach[here])


@pytest.mark.parametrize("lens", ["OPENCV", "FULL_OPENCV", *WIDE])
def test_float32_is_near_float64(lens):
    geometry, _, cameras = CASES[lens.lower()].make()
    (row, *_) = pack_views(cameras, ORIGIN)
    double = project(*Geometry(*(tensor.double() for tensor in geometry)), row)
    single = project(*geometry, row)
    here = single.keep & double.keep
    torch.testing.assert_close(single.pixels[here], double.pixels[here].float(), rtol=1e-5, atol=1e-3)


def test_every_lens_is_drawn():
    assert set(PARAMETERS) == set(LENSES) == {lens.model for lens in DRAWN}


def test_polynomials_that_are_too_long_are_refused():
    """Room is for 21 coefficients: the last of 22 would be left out."""
    _, _, cameras = CASES["ocam"].make()
    for count in (21, 22):
        lens = make_lens("OCAM", 64, 48, [1, 0, 0, 24, 32, 40, 25, *[1e-9] * (count - 2)])
        long = replace(cameras, lenses=(lens,))
        if count == 21:
            assert float(pack_views(long, ORIGIN)[0, -1]) == 1e-9
            continue
        with pytest.raises(CaptureError, match=r"OCAM: .*too many coefficients.*at most 21, got 22"):
            pack_views(long, ORIGIN)


def test_a_lens_that_kernels_do_not_know_is_named():
    @dataclass(frozen=True)
    class Other:
        model: str = "OTHER"

    _, _, cameras = CASES["pinhole"].make()
    with pytest.raises(CaptureError, match="OTHER"):
        pack_views(replace(cameras, lenses=(Other(),)), ORIGIN)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.25, 0.9])
def test_as_many_ghosts_as_asked(rate):
    left_out = ghosts(7, 0, torch.arange(200_000), rate)
    assert float(left_out.double().mean()) == pytest.approx(rate, abs=0.004)


def test_ghosts_of_other_views_and_seeds_are_others():
    """Unrelated: a quarter of a quarter is left out of both, and neighbours are no more alike than strangers."""
    points = torch.arange(200_000)
    one = ghosts(7, 0, points, 0.25)
    for other in (
        ghosts(7, 1, points, 0.25),
        ghosts(8, 0, points, 0.25),
        ghosts(7 + 2**40, 0, points, 0.25),
        one.roll(1),
    ):
        assert float((one & other).double().mean()) == pytest.approx(1 / 16, abs=0.003)


def test_any_part_of_the_points_can_be_asked_for():
    points = torch.arange(1000)
    assert torch.equal(ghosts(3, 2, points, 0.3)[500:], ghosts(3, 2, points[500:], 0.3))
