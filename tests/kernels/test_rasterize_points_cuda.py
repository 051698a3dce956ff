"""The CUDA rasteriser: compiled for every GPU it is for, run on the CPU by a stand-in, and on a GPU where there is one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unrender.kernels.rasterize_points import cuda
from unrender.kernels.rasterize_points.cases import CASES, Case
from unrender.kernels.rasterize_points.cuda_blocks import sort_points
from unrender.kernels.rasterize_points.op import Pyramids, rasterize_points
from unrender.kernels.rasterize_points.views import pack_views

ORIGIN = torch.zeros(3, dtype=torch.float64)
SEED = torch.tensor(1234567890123456789)


@pytest.fixture
def on_host(monkeypatch, host_kernels):
    """The launches of ``cuda.py`` run on the CPU."""
    monkeypatch.setattr(cuda, "kernels", host_kernels)


def arguments(case: Case, seed: int = 0) -> Any:
    geometry, descriptors, cameras = case.make(seed)
    return geometry, descriptors, pack_views(cameras, ORIGIN), case.rules, SEED


def numbers(rules) -> cuda.Numbers:
    gamma = -1.0 if rules.gamma is None else rules.gamma
    return cuda.Numbers(rules.height, rules.width, rules.layers, rules.alpha, gamma, rules.ghosts)


def assert_same(found: Pyramids, expected: Pyramids):
    """Hits to the bit, features to the rounding of a mean of float32."""
    assert torch.equal(found.counts, expected.counts)
    assert torch.equal(found.depths, expected.depths)
    torch.testing.assert_close(found.features, expected.features, rtol=2e-6, atol=2e-6, equal_nan=True)


@pytest.mark.usefixtures("on_host")
@pytest.mark.parametrize("name", CASES)
def test_hits_are_the_reference_s_to_the_bit(name, monkeypatch):
    geometry, descriptors, views, rules, seed = arguments(CASES[name])
    leaf = descriptors.clone().requires_grad_()
    monkeypatch.setenv("UNRENDER_KERNELS", "reference")
    expected = rasterize_points(geometry, leaf, views, rules, seed)
    cloud = sort_points(*geometry)
    found = Pyramids(*cuda.forward(cloud, descriptors, views, seed, numbers(rules)))
    assert_same(found, Pyramids(expected.features.detach(), *expected[1:]))
    weights = torch.randn(found.features.shape, generator=torch.Generator().manual_seed(9))
    into = cuda.backward(cloud, weights, found.counts, found.depths, views, seed, numbers(rules))
    gradient = torch.autograd.grad(expected.features, leaf, weights)[0] if len(views) else torch.zeros_like(leaf)
    torch.testing.assert_close(into, gradient, rtol=5e-6, atol=5e-6)
