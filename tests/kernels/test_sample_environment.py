"""The compiled environment against its twin: the same texels on every case, the same gradients, no other pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from unrender.cameras.camera import pixel_centers
from unrender.cameras.lens.brown import OpenCV
from unrender.geometry.equirect import texel_centers
from unrender.kernels.loader import native
from unrender.kernels.rasterize_points.cases import CASES, PARAMETERS, Case
from unrender.kernels.rasterize_points.families import TERMS
from unrender.kernels.rasterize_points.op import rasterize_points
from unrender.kernels.rasterize_points.reference import layer_sizes, pyramid_offsets
from unrender.kernels.rasterize_points.views import pack_views
from unrender.kernels.sample_environment import reference
from unrender.kernels.sample_environment.op import fill_environment

ORIGIN = torch.zeros(3, dtype=torch.float64)
MAP = (64, 128)
FINEST = 2048  # texels around the widest map that is fitted
compiled = pytest.mark.skipif(native() is None, reason="the compiled kernels are not built, or not wanted")


@contextmanager
def threads(number: int) -> Iterator[None]:
    """As many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def arguments(case: Case, size: tuple[int, int] = MAP, seed: int = 0) -> Any:
    """What the op takes, as a tuple, with a texture of noise."""
    geometry, descriptors, cameras = case.make(seed)
    views = pack_views(cameras, ORIGIN)
    seen = rasterize_points(geometry, descriptors, views, case.rules)
    texture = torch.randn(case.channels, *size, generator=torch.Generator().manual_seed(seed))
    return seen.features, seen.counts, texture, views, case.size, case.layers


def in_double(features: torch.Tensor, counts: torch.Tensor, texture: torch.Tensor, *rest: Any) -> Any:
    """The same inputs, which go to the twin."""
    return features.double(), counts, texture.detach().double().requires_grad_(texture.requires_grad), *rest


def reached(name: str) -> torch.Tensor:
    """Which pixels [V, P] some direction of the lens lands on. Others show one at its rim, and which is not said."""
    case = CASES[name]
    cameras, found = case.make()[2], []
    for view in range(len(cameras)):
        layers = enumerate(layer_sizes(*case.size, case.layers))
        centers = torch.cat([(pixel_centers(*size) * 2**level).reshape(-1, 2) for level, size in layers]).double()
        photo = (centers - cameras.pixel_offset[view]) / cameras.pixel_scale[view]
        back, inside = cameras.lens(view).project(cameras.lens(view).unproject(photo))
        found.append(inside & ((back - photo).norm(dim=1) < 1e-3))
    return (
        torch.stack(found)
        if found
        else torch.zeros(0, pyramid_offsets(layer_sizes(*case.size, case.layers))[-1]).bool()
    )


def empty_views(case: Case, size: tuple[int, int] = MAP) -> Any:
    """Like ``arguments``, without a single point."""
    return arguments(replace(case, points=0), size)


@compiled
@pytest.mark.parametrize("name", CASES)
def test_every_case_is_as_in_the_twin_and_in_float64(name):
    inputs = arguments(CASES[name])
    found, twin, exact = fill_environment(*inputs), reference.fill_environment(*inputs), in_double(*inputs)
    for other in (twin, fill_environment(*exact).float()):
        off = (found - other).abs()
        assert float(off.max() if off.numel() else 0) < 0.01
        sure = off[reached(name)]
        assert float(sure.max() if sure.numel() else 0) < 5e-6


@compiled
@pytest.mark.parametrize("name", [name for name in CASES if "inside" in name])
def test_places_agree_to_a_thousandth_of_a_texel_in_the_finest_map(name):
    """A texture that grows by 1 per texel, but at the seam, shows the place itself."""
    _, counts, _, views, *rest = empty_views(CASES[name])
    ramps = torch.meshgrid(torch.arange(FINEST // 2), torch.arange(FINEST), indexing="ij")
    texture = torch.stack(ramps).float()
    none = torch.zeros(*counts.shape, 2)
    off = (fill_environment(none, counts, texture, views, *rest) - places(none, counts, texture, views, *rest)).abs()
    away_from_seam = (off < FINEST / 4) & reached(name)[..., None]
    assert float(away_from_seam.double().sum()) > 0.99 * float(reached(name).sum()) * 2
    assert float(off[away_from_seam].max()) < 1e-3


def places(*inputs: Any) -> torch.Tensor:
    return fill_environment(*in_double(*inputs))


@compiled
@pytest.mark.parametrize("name", ["opencv", "odd_channels", "many_channels", "large", "all_layers_there_are"])
def test_gradients_are_those_of_float64(name):
    inputs = arguments(CASES[name])
    weights = torch.randn(inputs[0].shape, generator=torch.Generator().manual_seed(9))
    leaves = [tensor.requires_grad_() for tensor in (inputs[0], inputs[2])]
    found = torch.autograd.grad(fill_environment(*inputs), leaves, weights)
    exact = in_double(*inputs)
    expected = torch.autograd.grad(fill_environment(*exact), (leaves[0], exact[2]), weights.double())
    assert torch.equal(found[0], weights)
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1].double(), expected[1], rtol=1e-5, atol=1e-4)


def test_the_twin_s_gradients_are_derivatives():
    _, counts, texture, views, *rest = arguments(Case("OPENCV", points=60, size=(7, 9), layers=3, channels=2), (5, 8))
    features = torch.randn(*counts.shape, 2, dtype=torch.float64)
    leaves = (features.requires_grad_(), texture.double().requires_grad_())
    assert torch.autograd.gradcheck(lambda f, t: fill_environment(f, counts, t, views, *rest), leaves)


@compiled
def test_a_pixel_with_points_is_not_touched_and_one_without_is_added_to():
    features, counts, *rest = arguments(CASES["crowded"])
    assert 0 < int((counts == 0).sum()) < counts.numel()
    found = fill_environment(features, counts, *rest)
    assert torch.equal(found[counts > 0], features[counts > 0])
    assert not bool((found[counts == 0] == features[counts == 0]).any())
    torch.testing.assert_close(fill_environment(features + 1, counts, *rest)[counts == 0], found[counts == 0] + 1)


@pytest.mark.parametrize("name", ["opencv_inside", "radial", "zoomed_in"])
def test_one_colour_is_that_colour_everywhere(name):
    features, counts, texture, *rest = empty_views(CASES[name])
    colour = torch.randn(texture.shape[0])
    plain = colour[:, None, None].expand(texture.shape)
    assert torch.equal(fill_environment(features, counts, plain, *rest), colour.expand(features.shape))


@pytest.mark.parametrize("name", [name for name in CASES if "inside" in name])
def test_a_smooth_function_of_direction_has_no_seam_and_reaches_the_poles(name):
    """The texture holds the directions themselves: what comes back are the rays of the cameras."""
    case = replace(CASES[name], points=0)
    cameras = case.make()[2]
    _, counts, _, views, *rest = arguments(case)
    texture = texel_centers(512, 1024).permute(2, 0, 1).contiguous()
    found = fill_environment(torch.zeros(*counts.shape, 3), counts, texture, views, *rest)
    for view in range(len(cameras)):
        expected = torch.cat([cameras.directions(view, level).reshape(-1, 3) for level in range(case.layers)])
        torch.testing.assert_close(found[view], expected, rtol=0, atol=4e-3)


def look(direction: tuple[float, float, float]) -> torch.Tensor:
    """A row of ``pack_views`` for a camera of one pixel that looks there."""
    forward = torch.nn.functional.normalize(torch.tensor(direction, dtype=torch.float64), dim=0)
    helper = torch.eye(3, dtype=torch.float64)[int(forward.abs().argmin())]
    right = torch.nn.functional.normalize(torch.linalg.cross(helper, forward), dim=0)
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward])
    rest = [0.0] * 6 + [1.0, 1.0, 0.5, 0.5, 1.0, 1.0] + [0.0] * 4 + [math.inf] + [0.0] * (2 + TERMS)
    return torch.cat([rotation.flatten(), torch.tensor(rest, dtype=torch.float64)])


@pytest.mark.parametrize(
    ("direction", "corners"),
    [
        ((0.0, 1.0, 0.0), [(0, 1), (0, 2), (0, 3), (0, 0)]),  # any of the first row: the azimuth means nothing there
        ((0.0, -1.0, 0.0), [(2, 1), (2, 2), (2, 3), (2, 0)]),
        ((0.0, 0.0, -1.0), [(1, 0), (1, 3)]),  # the seam: half of the first and half of the last column
        ((1e-12, 0.0, -1.0), [(1, 0), (1, 3)]),
        ((1.0, 0.0, 1.0), [(1, 2)]),
    ],
)
def test_known_directions(direction, corners):
    texture = torch.zeros(len(corners), 3, 4)
    for channel, (row, column) in enumerate(corners):
        texture[channel, row, column] = 1
    nothing, hits = torch.zeros(1, 1, len(corners)), torch.zeros(1, 1, dtype=torch.int32)
    weights = fill_environment(nothing, hits, texture, look(direction)[None], (1, 1), 1)[0, 0]
    assert float(weights.sum()) == pytest.approx(1, abs=1e-5)
    if "1e-12" in str(direction) or direction == (0.0, 0.0, -1.0):
        assert weights.tolist() == pytest.approx([0.5, 0.5], abs=1e-5)


@compiled
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 1), (5, 3)])
def test_maps_of_a_few_texels(size):
    inputs = arguments(CASES["opencv_inside"], size)
    inputs[2].requires_grad_()
    exact = in_double(*inputs)
    found, expected = fill_environment(*inputs), fill_environment(*exact)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=5e-6)
    (gradient,) = torch.autograd.grad(found.sum(), inputs[2])
    torch.testing.assert_close(gradient.double(), *torch.autograd.grad(expected.sum(), exact[2]), rtol=2e-5, atol=1e-3)


@compiled
@pytest.mark.parametrize("name", ["large", "opencv_inside"])
def test_any_number_of_threads_gives_the_same_bits(name):
    features, counts, texture, *rest = arguments(CASES[name])
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(3))
    results = []
    for number in (1, 2, 3, 2, 1):
        with threads(number):
            leaf = texture.clone().requires_grad_()
            found = fill_environment(features, counts, leaf, *rest)
            results.append((found.detach(), *torch.autograd.grad(found, leaf, weights)))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@compiled
def test_a_gradient_may_come_in_any_layout():
    features, counts, texture, *rest = arguments(CASES["opencv"])
    found = fill_environment(features, counts, texture.requires_grad_(), *rest)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(2))
    planar = weights.transpose(1, 2).contiguous().transpose(1, 2)
    (plain,) = torch.autograd.grad(found, texture, weights, retain_graph=True)
    (other,) = torch.autograd.grad(found, texture, planar, retain_graph=True)
    assert torch.equal(plain, other)
    (same,) = torch.autograd.grad(found.sum(), texture, retain_graph=True)  # all strides 0
    (ones,) = torch.autograd.grad(found, texture, torch.ones_like(weights))
    assert torch.equal(same, ones)


@compiled
def test_views_that_are_not_finite_stay_inside_the_map():
    features, counts, texture, views, *rest = empty_views(CASES["opencv"])
    views[0], views[1, 15] = torch.nan, torch.inf
    found = fill_environment(features, counts, texture.requires_grad_(), views, *rest)
    found.sum().backward()
    assert bool(found.isfinite().all())


@compiled
@pytest.mark.parametrize("seed", range(40))
def test_undistort_takes_back_what_lenses_do(seed):
    """Random lenses, over the valid region, or where there is no end to it, over 60 degrees to each side."""
    generator = torch.Generator().manual_seed(seed)
    k1, k2 = ((torch.rand(2, generator=generator, dtype=torch.float64) - 0.5) * torch.tensor([0.8, 0.4])).tolist()
    p1, p2 = ((torch.rand(2, generator=generator, dtype=torch.float64) - 0.5) * 0.02 * (seed % 2)).tolist()
    lens = OpenCV(1, 1, torch.tensor([1.0, 1.0, 0.0, 0.0, k1, k2, p1, p2], dtype=torch.float64))
    turn, share = torch.rand(2, 5000, generator=generator, dtype=torch.float64)
    # Tangential terms fold a little before the radial part does, which alone the valid region knows.
    radius = share.sqrt() * min(lens.valid_radius * (0.9 if seed % 2 else 1.0), math.sqrt(3))
    x, y = radius * torch.cos(2 * math.pi * turn), radius * torch.sin(2 * math.pi * turn)
    found = torch.zeros(5000, 2, dtype=torch.float64)
    plane = torch.stack(lens.distort(x, y), dim=1)
    module = native()
    assert module is not None
    module.undistort(plane, found, k1, k2, p1, p2, lens.valid_radius**2)
    torch.testing.assert_close(found, torch.stack([x, y], dim=1), rtol=0, atol=1e-7)


@compiled
def test_places_no_direction_reaches_get_the_edge_of_the_valid_region():
    lens = OpenCV(1, 1, torch.tensor([1.0, 1.0, 0.0, 0.0, -0.3, 0.0, 0.0, 0.0], dtype=torch.float64))
    beyond, found = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    module = native()
    assert module is not None
    module.undistort(beyond, found, -0.3, 0.0, 0.0, 0.0, lens.valid_radius**2)
    expected = [[0.6 * lens.valid_radius, 0.8 * lens.valid_radius], [0.0, 0.0]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


@compiled
@pytest.mark.parametrize("lens", [lens.lower() for lens in PARAMETERS])
@pytest.mark.parametrize("kind", ["", "_inside"])
def test_the_compiled_way_back_is_that_of_the_lens(lens, kind):
    case = CASES[lens + kind]
    cameras = case.make()[2]
    pixels = pixel_centers(*case.size).reshape(-1, 2).double()
    module = native()
    assert module is not None
    for view, row in enumerate(pack_views(cameras, ORIGIN)):
        found = torch.zeros(len(pixels), 3, dtype=torch.float64)
        module.unproject(row, pixels, found)
        photo = (pixels - cameras.pixel_offset[view]) / cameras.pixel_scale[view]
        expected = cameras.lens(view).unproject(photo)
        back, _ = cameras.lens(view).project(found)
        sure = (cameras.lens(view).project(expected)[0] - photo).norm(dim=1) < 1e-6
        assert float(sure.double().mean()) > 0.8
        assert float((back - photo)[sure].norm(dim=1).max()) < 1e-6
        found, expected = (torch.nn.functional.normalize(rays[sure], dim=1) for rays in (found, expected))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_rays_are_those_of_the_cameras():
    for case in CASES.values():
        cameras = case.make()[2]
        for view, row in enumerate(pack_views(cameras, ORIGIN)):
            for level, size in enumerate(layer_sizes(*case.size, case.layers)):
                centers = (pixel_centers(*size) * 2**level).reshape(-1, 2)
                rays = torch.nn.functional.normalize(reference.ray_directions(row, centers.double()), dim=1)
                torch.testing.assert_close(rays.float().reshape(*size, 3), cameras.directions(view, level))


@compiled
def test_is_an_operator_of_pytorch():
    features, counts, texture, views, size, layers = arguments(Case("OPENCV", points=200, size=(9, 12)), (6, 8))
    inputs = (features.requires_grad_(), counts, texture.requires_grad_(), views, *size, layers)
    torch.library.opcheck(torch.ops.unrender.fill_environment.default, inputs)
    inputs = (features.detach(), counts, views, *texture.shape[1:], *size, layers)
    torch.library.opcheck(torch.ops.unrender.fill_environment_backward.default, inputs)


@compiled
def test_the_reference_is_there_when_asked_for(monkeypatch):
    inputs = arguments(CASES["opencv"])
    monkeypatch.setenv("UNRENDER_KERNELS", "reference")
    assert torch.equal(fill_environment(*inputs), reference.fill_environment(*inputs))
