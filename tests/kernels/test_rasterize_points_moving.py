"""The compiled derivative by what moves points, against its readable twin in float64."""

from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

from unrender.kernels.loader import native
from unrender.kernels.rasterize_points.cases import CASES, PARAMETERS, Case
from unrender.kernels.rasterize_points.lens_maths import look
from unrender.kernels.rasterize_points.moving import Carriers, Motion, let_points_move
from unrender.kernels.rasterize_points.op import rasterize_points
from unrender.kernels.rasterize_points.spatial import Moves
from unrender.kernels.rasterize_points.views import fields_of, pack_views

ORIGIN = torch.zeros(3, dtype=torch.float64)
SEED = torch.tensor(987654321)
compiled = pytest.mark.skipif(native() is None, reason="the compiled kernels are not built, or not wanted")
STILL = [*range(12, 15), *range(19, 21), *range(25, 28)]
"""Numbers of a row that move no pixel: the eye, the scale, what is valid, the family."""


def inputs(case: Case, seed: int = 0) -> dict[str, Any]:
    """What ``let_points_move`` takes, but for the motion: a picture of the case, noise where no point is."""
    geometry, descriptors, cameras = case.make(seed)
    views = pack_views(cameras, ORIGIN)
    seen = rasterize_points(geometry, descriptors, views, case.rules, SEED)
    noise = torch.randn(seen.features.shape, generator=torch.Generator().manual_seed(5))
    return {
        "image": torch.where(seen.counts[..., None] > 0, seen.features, noise),
        "position": geometry.position,
        "views": views,
        "geometry": geometry,
        "descriptors": descriptors,
        "seen": seen,
        "rules": case.rules,
        "seed": SEED,
    }


def derivative(given: dict[str, Any], motion: Motion, precision: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """By position and rows, of a random loss. In float64 the twin makes it."""
    position, views = (given[name].clone().requires_grad_() for name in ("position", "views"))
    moved = let_points_move(
        **{**given, "image": given["image"].to(precision), "position": position, "views": views}, motion=motion
    )
    weights = torch.randn(moved.shape, generator=torch.Generator().manual_seed(6))
    return list(torch.autograd.grad((moved * weights).sum(), (position, views)))


def assert_close(found: torch.Tensor, exact: torch.Tensor):
    """To the rounding of float32, relative to the largest."""
    exact = exact.double()
    torch.testing.assert_close(found.double(), exact, rtol=2e-4, atol=2e-5 * max(1.0, float(exact.abs().max())))


@compiled
@pytest.mark.parametrize("moves", get_args(Moves))
@pytest.mark.parametrize("carriers", get_args(Carriers))
@pytest.mark.parametrize("name", ["opencv", "simple_pinhole_inside", "large", "thin_prism_fisheye_inside"])
def test_is_that_of_the_twin(name, carriers, moves):
    given = inputs(replace(CASES[name], ghosts=0.25))
    motion = Motion(carriers, moves, 2.0)
    found, exact = derivative(given, motion), derivative(given, motion, torch.float64)
    for ours, twin in zip(found, exact, strict=True):
        assert float(twin.abs().max()) > 0.1
        assert_close(ours, twin)
    assert not bool(found[1][:, STILL].any())


@compiled
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.points and case.eyes])
def test_on_every_case(name):
    given = inputs(CASES[name])
    motion = Motion("both")
    for ours, twin in zip(derivative(given, motion), derivative(given, motion, torch.float64), strict=True):
        assert_close(ours, twin)


@compiled
@pytest.mark.parametrize("name", ["no_points", "no_views"])
def test_nothing_moves_where_nothing_is(name):
    given = inputs(CASES[name])
    position, rows = derivative(given, Motion("both"))
    assert position.shape == given["position"].shape
    assert rows.shape == given["views"].shape
    assert not bool(position.any() or rows.any())


@compiled
def test_points_come_in_from_all_around_the_image():
    """Alone they may, from as far as a pixel of the coarsest layer: no block beyond the rim is left out by mistake."""
    case = replace(CASES["opencv_inside"], points=20_000, size=(20, 30), layers=5, ghosts=0.5)
    motion = Motion("both", "replace")
    for seed in range(4):
        given = inputs(case, seed)
        for ours, twin in zip(derivative(given, motion), derivative(given, motion, torch.float64), strict=True):
            assert_close(ours, twin)


@compiled
def test_any_number_of_threads_gives_the_same_bits():
    given, motion, results = inputs(replace(CASES["large"], ghosts=0.25)), Motion("both", "alone"), []
    before = torch.get_num_threads()
    for number in (1, 2, 3, 2):
        torch.set_num_threads(number)
        results.append(derivative(given, motion))
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@compiled
@pytest.mark.parametrize("asked", ["position", "views"])
def test_what_is_not_asked_for_is_not_made(asked):
    given = inputs(replace(CASES["opencv"], ghosts=0.25))
    leaf = given[asked].clone().requires_grad_()
    moved = let_points_move(**{**given, asked: leaf}, motion=Motion())
    assert torch.equal(moved, given["image"])
    weights = torch.randn(moved.shape, generator=torch.Generator().manual_seed(6))
    (gradient,) = torch.autograd.grad((moved * weights).sum(), leaf)
    assert torch.equal(gradient, derivative(given, Motion())[["position", "views"].index(asked)])


@compiled
def test_is_an_operator_of_pytorch():
    given = inputs(replace(CASES["ghosts"], points=200, size=(9, 12)))
    rules = given["rules"]
    numbers = (rules.height, rules.width, rules.layers, rules.alpha, rules.gamma, rules.ghosts)
    seen = given["seen"]
    tensors = (given["image"], given["image"] + 1, seen.counts, seen.depths, *given["geometry"], given["descriptors"])
    for asked in ((True, True), (True, False), (False, True)):
        arguments = (*tensors, given["views"], SEED, *numbers, 0, 0, 4.0, *asked)
        torch.library.opcheck(torch.ops.unrender.spatial_gradient.default, arguments)


@pytest.mark.parametrize("name", [lens.lower() for lens in PARAMETERS])
def test_rows_carry_on_to_poses_lenses_and_crops(name):
    """Every number of a row that moves pixels has the derivative that the lens's own projection has."""
    geometry, _, cameras = CASES[f"{name}_inside"].make()
    leaves = [cameras.camera_from_world.clone(), cameras.pixel_scale.clone(), cameras.pixel_offset.clone()]
    params = cameras.lenses[0].params.clone().requires_grad_()
    pose, scale, offset = (leaf.requires_grad_() for leaf in leaves)
    moved = replace(cameras, camera_from_world=pose, pixel_scale=scale, pixel_offset=offset).with_lenses([params])
    row, points = fields_of(pack_views(moved, ORIGIN)[0]), geometry.position[:200].double()
    seen = moved.project(0, points, ORIGIN)
    weights = torch.randn(seen.pixels.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = torch.where(seen.inside[:, None], weights, 0)
    expected = torch.autograd.grad((seen.pixels * weights).sum(), (pose, scale, offset, params), retain_graph=True)
    found = look(row, *(row["rotation"].reshape(3, 3) @ points.T + row["translation"][:, None]).unbind())
    pixels = torch.stack([found.u, found.v], 1) * row["focal"] + row["center"]
    torch.testing.assert_close(pixels[seen.inside], seen.pixels[seen.inside])
    for ours, theirs in zip(
        torch.autograd.grad((pixels * weights).sum(), (pose, scale, offset, params)), expected, strict=True
    ):
        torch.testing.assert_close(ours, theirs)


@compiled
@pytest.mark.parametrize("lens", sorted(set(PARAMETERS) - {"SIMPLE_PINHOLE", "EQUIRECTANGULAR"}))
def test_every_number_of_a_lens_is_pulled_at(lens):
    """Else the comparisons with the twin would compare nothing with nothing."""
    case = replace(CASES[f"{lens.lower()}_inside"], ghosts=0.5)
    given = inputs(case)
    params = case.make()[2].lenses[0].params.clone().requires_grad_()
    views = pack_views(case.make()[2].with_lenses([params]), ORIGIN)
    moved = let_points_move(**{**given, "views": views}, motion=Motion("both"))
    weights = torch.randn(moved.shape, generator=torch.Generator().manual_seed(6))
    (gradient,) = torch.autograd.grad((moved * weights).sum(), params)
    assert bool((gradient != 0).all())
