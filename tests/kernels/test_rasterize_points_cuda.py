"""The CUDA rasteriser against the reference: on the CPU, where a stand-in runs its kernels, and on a GPU, if any."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from unrender.kernels import nvrtc
from unrender.kernels.loader import gpu
from unrender.kernels.rasterize_points import cuda
from unrender.kernels.rasterize_points.cases import CASES, Case
from unrender.kernels.rasterize_points.cuda_blocks import sort_points
from unrender.kernels.rasterize_points.families import FAMILIES
from unrender.kernels.rasterize_points.op import Geometry, Pyramids, rasterize_points
from unrender.kernels.rasterize_points.views import pack_views

ORIGIN = torch.zeros(3, dtype=torch.float64)
SEED = torch.tensor(1234567890123456789)
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90")
COMMON = {"UNRENDER_CHANNELS": "4", "UNRENDER_LAYERS": "4", "UNRENDER_PRECISION": "32"}
Inputs = Any

try:
    nvrtc.compiler_version()
    COMPILES = True
except nvrtc.SettingsError:
    COMPILES = False
GPU = torch.cuda.is_available() and gpu()


class Host:
    """The launches of ``cuda.py``, run on the CPU."""

    device = torch.device("cpu")

    def forward(self, inputs: Inputs) -> Pyramids:
        geometry, descriptors, views, rules, seed = inputs
        return Pyramids(*cuda.forward(sort_points(*geometry), descriptors, views, seed, _numbers(rules)))

    def gradient(self, inputs: Inputs, weights: torch.Tensor) -> torch.Tensor:
        geometry, _, views, rules, seed = inputs
        _, count, depth = self.forward(inputs)
        return cuda.backward(sort_points(*geometry), weights, count, depth, views, seed, _numbers(rules))


class Gpu:
    """The operator, on a GPU."""

    device = torch.device("cuda", 0)

    def forward(self, inputs: Inputs) -> Pyramids:
        geometry, descriptors, *rest = inputs
        found = rasterize_points(Geometry(*(t.cuda() for t in geometry)), descriptors.cuda(), *rest)
        assert {tensor.device.type for tensor in found} == {"cuda"}
        return Pyramids(*(tensor.cpu() for tensor in found))

    def gradient(self, inputs: Inputs, weights: torch.Tensor) -> torch.Tensor:
        geometry, descriptors, *rest = inputs
        leaf = descriptors.cuda().requires_grad_()
        found = rasterize_points(Geometry(*(t.cuda() for t in geometry)), leaf, *rest)
        return torch.autograd.grad(found.features, leaf, weights.cuda())[0].cpu()


def _numbers(rules: Any) -> cuda.Numbers:
    gamma = -1.0 if rules.gamma is None else rules.gamma
    return cuda.Numbers(rules.height, rules.width, rules.layers, rules.alpha, gamma, rules.ghosts)


@pytest.fixture(params=["host", pytest.param("gpu", marks=pytest.mark.skipif(not GPU, reason="no GPU here"))])
def place(request, monkeypatch) -> Host | Gpu:
    """Where the kernels run."""
    if request.param == "gpu":
        return Gpu()
    monkeypatch.setattr(cuda, "kernels", request.getfixturevalue("host_kernels"))
    return Host()


@pytest.fixture
def reference(monkeypatch) -> Callable[[Inputs], Pyramids]:
    """The reference, on the CPU."""

    def run(inputs: Inputs) -> Pyramids:
        with monkeypatch.context() as context:
            context.setenv("UNRENDER_KERNELS", "reference")
            return rasterize_points(*inputs)

    return run


def arguments(case: Case, seed: int = 0) -> Inputs:
    """What the op takes."""
    geometry, descriptors, cameras = case.make(seed)
    return geometry, descriptors, pack_views(cameras, ORIGIN), case.rules, SEED


def random_weights(like: torch.Tensor) -> torch.Tensor:
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(9))


def assert_same(found: Pyramids, expected: Pyramids):
    """Hits to the bit, features to the rounding of a mean of float32."""
    assert torch.equal(found.counts, expected.counts)
    assert torch.equal(found.depths, expected.depths)
    torch.testing.assert_close(found.features, expected.features.detach(), rtol=2e-6, atol=2e-6, equal_nan=True)


@pytest.mark.skipif(not COMPILES, reason="no run-time compiler: pip install nvidia-cuda-nvrtc cuda-core cuda-bindings")
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("source", sorted(cuda.SOURCE.parent.parent.rglob("*.cu")), ids=lambda file: file.parent.name)
def test_compiles_for_every_gpu_it_is_for(source, arch, tmp_path, monkeypatch):
    monkeypatch.setenv("UNRENDER_CACHE", str(tmp_path))
    made = nvrtc.compile_cubin(source, arch, COMMON)
    assert made.startswith(b"\x7fELF")
    if arch == "sm_90":
        for family in range(len(FAMILIES)):
            assert nvrtc.compile_cubin(source, arch, {**COMMON, "UNRENDER_FAMILY": str(family)}) != made
        half = nvrtc.compile_cubin(
            source, arch, {"UNRENDER_CHANNELS": "32", "UNRENDER_LAYERS": "12", "UNRENDER_PRECISION": "16"}
        )
        assert half != made
        assert len(list(tmp_path.iterdir())) == 2 + len(FAMILIES)
        monkeypatch.setattr(nvrtc, "_compile", lambda *_: pytest.fail("compiled again"))
        assert nvrtc.compile_cubin(source, arch, COMMON) == made


@pytest.mark.parametrize("name", CASES)
def test_hits_are_the_reference_s_to_the_bit(name, place, reference):
    geometry, descriptors, *rest = arguments(CASES[name])
    expected = reference((geometry, descriptors.requires_grad_(), *rest))
    inputs = (geometry, descriptors.detach(), *rest)
    assert_same(place.forward(inputs), expected)
    if CASES[name].eyes:
        weights = random_weights(expected.features)
        (gradient,) = torch.autograd.grad(expected.features, descriptors, weights)
        torch.testing.assert_close(place.gradient(inputs, weights), gradient, rtol=5e-6, atol=5e-6)


@pytest.mark.parametrize(
    "name", ["opencv", "opencv_inside", "simple_radial_inside", "zoomed_in", "from_afar", "ocam_close", "fov_inside"]
)
@pytest.mark.parametrize("seed", range(1, 9))
def test_no_block_is_left_out_by_mistake(name, seed, place, reference):
    """Many cameras, many small blocks at the edges of images, lenses and the half-space in front."""
    inputs = arguments(replace(CASES[name], points=8000, size=(40, 30), ghosts=0.1), seed)
    assert_same(place.forward(inputs), reference(inputs))


def test_views_of_one_batch_may_have_lenses_of_any_family(place, reference):
    geometry, descriptors, _, rules, seed = arguments(CASES["opencv"])
    names = ("pinhole", "full_opencv_inside", "ocam", "equirectangular_inside", "fov_inside", "division_inside")
    views = torch.cat([arguments(CASES[name])[2][:1] for name in names])
    inputs = (geometry, descriptors, views, rules, seed)
    assert_same(place.forward(inputs), reference(inputs))


@pytest.mark.parametrize("gamma", [None, 1.5])
def test_strange_points_do_as_in_the_reference(gamma, place, reference):
    geometry, *rest = arguments(replace(CASES["simple_radial"], gamma=gamma))
    position, normal, radius, threshold = (tensor.clone() for tensor in geometry)
    position[::7, 0], position[1::7, 1], position[2::7] = torch.nan, torch.inf, -torch.inf
    position[3::7] = 3e38
    radius[::5], radius[1::5], radius[2::5], threshold[3::5] = torch.nan, torch.inf, -1.0, 1.0
    normal[::4], normal[1::4] = normal[::4] * 1e-30, normal[1::4] * 1e20
    normal[2::40] = torch.nan
    strange = (Geometry(position, normal, radius, threshold), *rest)
    assert_same(place.forward(strange), reference(strange))
    nowhere = (geometry._replace(position=torch.full_like(position, torch.nan)), *rest)
    assert int(place.forward(nowhere).counts.sum()) == 0


def test_sums_do_not_depend_on_the_order_of_points(place):
    """To the bit: what a GPU leaves to chance does not matter."""
    geometry, descriptors, *rest = arguments(replace(CASES["large"], points=8000))
    found = place.forward((geometry, descriptors, *rest))
    order = torch.randperm(len(descriptors), generator=torch.Generator().manual_seed(3))
    other = place.forward((Geometry(*(tensor[order] for tensor in geometry)), descriptors[order], *rest))
    assert all(torch.equal(a, b) for a, b in zip(found, other, strict=True))


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
def test_descriptors_of_any_size_keep_their_digits(scale, place, reference):
    geometry, descriptors, *rest = arguments(CASES["opencv"])
    found = place.forward((geometry, descriptors * scale, *rest)).features
    expected = reference((geometry, descriptors.double(), *rest)).features * scale
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-7 * scale)


def test_descriptors_that_are_not_finite_are_seen(place, reference):
    geometry, descriptors, *rest = arguments(CASES["all_drawn"])
    descriptors[::50, 1], descriptors[25::50, 2] = torch.nan, torch.inf
    found, expected = place.forward((geometry, descriptors, *rest)), reference((geometry, descriptors, *rest))
    assert torch.equal(found.counts, expected.counts)
    broken = ~expected.features.isfinite().all(-1, keepdim=True)
    assert int(broken.sum()) > 0
    torch.testing.assert_close(
        found.features, torch.where(broken, torch.nan, expected.features), rtol=2e-6, atol=2e-6, equal_nan=True
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_descriptors_are_those_numbers(dtype, place):
    geometry, descriptors, *rest = arguments(CASES["opencv"])
    halves = descriptors.to(dtype)
    halves[:5, 0] = torch.tensor([0.0, -0.0, 6e-8, -65504.0, 3e-5]).to(dtype)
    found, expected = place.forward((geometry, halves, *rest)), place.forward((geometry, halves.float(), *rest))
    assert found.features.dtype == torch.float32
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    if isinstance(place, Gpu):
        gradient = place.gradient((geometry, halves, *rest), random_weights(found.features))
        assert gradient.dtype == dtype


def test_a_gradient_may_come_in_any_layout(place):
    inputs = arguments(CASES["opencv"])
    weights = random_weights(place.forward(inputs).features)
    planar = weights.transpose(1, 2).contiguous().transpose(1, 2)
    plain = place.gradient(inputs, weights)
    assert torch.equal(place.gradient(inputs, planar), plain)
    ones = torch.ones(()).expand(weights.shape)  # all strides 0
    assert torch.equal(place.gradient(inputs, ones), place.gradient(inputs, ones.contiguous()))


needs_gpu = pytest.mark.skipif(not GPU, reason="no GPU here")


@needs_gpu
def test_the_same_bits_from_run_to_run():
    inputs = arguments(replace(CASES["large"], points=300_000, size=(540, 960)))
    weights = random_weights(Gpu().forward(inputs).features)
    runs = [(*Gpu().forward(inputs), Gpu().gradient(inputs, weights)) for _ in range(5)]
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))


@needs_gpu
def test_runs_in_order_on_the_current_stream():
    geometry, descriptors, *rest = arguments(replace(CASES["large"], points=300_000))
    expected = Gpu().forward((geometry, descriptors * 2, *rest))
    on_gpu, there = Geometry(*(tensor.cuda() for tensor in geometry)), descriptors.cuda()
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(50_000_000)
        there *= 2
        found = rasterize_points(on_gpu, there, *rest).features
    stream.synchronize()
    assert torch.equal(found.cpu(), expected.features)


@needs_gpu
def test_is_an_operator_of_pytorch_on_the_gpu():
    geometry, descriptors, views, rules, seed = arguments(replace(CASES["ghosts"], points=200, size=(9, 12)))
    tensors = [tensor.cuda() for tensor in (*geometry, descriptors)]
    inputs = (*tensors[:4], tensors[4].requires_grad_(), views.cuda(), seed.cuda(), *_numbers(rules))
    torch.library.opcheck(torch.ops.unrender.rasterize_points.default, inputs)
    features, count, depth = torch.ops.unrender.rasterize_points(*inputs)
    inputs = (features.detach(), count, depth, *tensors[:4], views.cuda(), seed.cuda(), *_numbers(rules))
    torch.library.opcheck(torch.ops.unrender.rasterize_points_backward.default, inputs)
