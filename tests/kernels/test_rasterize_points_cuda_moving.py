"""The derivative by what moves points, in CUDA: on the CPU, where a stand-in runs its kernel, and on a GPU, if any."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

from unrender.kernels.loader import gpu
from unrender.kernels.rasterize_points import cuda
from unrender.kernels.rasterize_points.cases import CASES, Case
from unrender.kernels.rasterize_points.cuda_blocks import sort_points
from unrender.kernels.rasterize_points.moving import Carriers, Motion, let_points_move
from unrender.kernels.rasterize_points.op import Geometry, Pyramids, rasterize_points
from unrender.kernels.rasterize_points.spatial import Moves
from unrender.kernels.rasterize_points.views import pack_views

SEED = torch.tensor(987654321)
GPU = torch.cuda.is_available() and gpu()


def inputs(case: Case) -> dict[str, Any]:
    """What ``let_points_move`` takes, but for the motion: a picture of the case, noise where no point is."""
    geometry, descriptors, cameras = case.make()
    views = pack_views(cameras, torch.zeros(3, dtype=torch.float64))
    seen = rasterize_points(geometry, descriptors, views, case.rules, SEED)
    noise = torch.randn(seen.features.shape, generator=torch.Generator().manual_seed(5))
    image = torch.where(seen.counts[..., None] > 0, seen.features, noise)
    given = {"geometry": geometry, "descriptors": descriptors, "seen": seen, "rules": case.rules, "seed": SEED}
    return {"image": image, "position": geometry.position, "views": views, **given}


def weights_of(image: torch.Tensor) -> torch.Tensor:
    return torch.randn(image.shape, generator=torch.Generator().manual_seed(6))


def twin(given: dict[str, Any], motion: Motion) -> tuple[torch.Tensor, ...]:
    """By position and rows, in float64."""
    position, views = (given[name].clone().requires_grad_() for name in ("position", "views"))
    moved = let_points_move(
        **{**given, "image": given["image"].double(), "position": position, "views": views}, motion=motion
    )
    return torch.autograd.grad((moved * weights_of(moved)).sum(), (position, views))


def on_host(given: dict[str, Any], motion: Motion) -> tuple[torch.Tensor, ...]:
    rules, seen = given["rules"], given["seen"]
    gamma = -1.0 if rules.gamma is None else rules.gamma
    numbers = cuda.Numbers(rules.height, rules.width, rules.layers, rules.alpha, gamma, rules.ghosts)
    shown = (given["image"], weights_of(given["image"]), seen.counts, seen.depths)
    how = (get_args(Carriers).index(motion.carriers), get_args(Moves).index(motion.moves), motion.slope)
    cloud, fixed = sort_points(*given["geometry"]), (given["descriptors"], given["views"], SEED)
    return cuda.spatial(cloud, shown, *fixed, numbers, how, (True, True))


def on_gpu(given: dict[str, Any], motion: Motion) -> tuple[torch.Tensor, ...]:
    there = {
        "image": given["image"].cuda(),
        "position": given["position"].cuda().requires_grad_(),
        "views": given["views"].clone().requires_grad_(),
        "geometry": Geometry(*(tensor.cuda() for tensor in given["geometry"])),
        "descriptors": given["descriptors"].cuda(),
        "seen": Pyramids(*(tensor.cuda() for tensor in given["seen"])),
    }
    moved = let_points_move(**{**given, **there}, motion=motion)
    loss = (moved * weights_of(moved).cuda()).sum()
    return tuple(gradient.cpu() for gradient in torch.autograd.grad(loss, (there["position"], there["views"])))


@pytest.fixture(params=["host", pytest.param("gpu", marks=pytest.mark.skipif(not GPU, reason="no GPU here"))])
def place(request, monkeypatch):
    """Where the kernel runs."""
    if request.param == "gpu":
        return on_gpu
    monkeypatch.setattr(cuda, "kernels", request.getfixturevalue("host_kernels"))
    return on_host


def assert_close(found: torch.Tensor, exact: torch.Tensor):
    """To the rounding of float32, relative to the largest."""
    exact = exact.double()
    torch.testing.assert_close(found.double(), exact, rtol=2e-4, atol=2e-5 * max(1.0, float(exact.abs().max())))


@pytest.mark.parametrize("moves", get_args(Moves))
@pytest.mark.parametrize("carriers", get_args(Carriers))
def test_is_that_of_the_twin(carriers, moves, place):
    given = inputs(replace(CASES["opencv"], ghosts=0.25))
    motion = Motion(carriers, moves, 2.0)
    for ours, exact in zip(place(given, motion), twin(given, motion), strict=True):
        assert float(exact.abs().max()) > 0.1
        assert_close(ours, exact)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.points and case.eyes])
def test_on_every_case(name, place):
    given, motion = inputs(CASES[name]), Motion("both")
    for ours, exact in zip(place(given, motion), twin(given, motion), strict=True):
        assert_close(ours, exact)


@pytest.mark.skipif(not GPU, reason="no GPU here")
def test_the_same_bits_from_run_to_run():
    given, motion = inputs(replace(CASES["large"], points=200_000)), Motion("both")
    first = on_gpu(given, motion)
    for _ in range(4):
        assert all(torch.equal(a, b) for a, b in zip(first, on_gpu(given, motion), strict=True))
