"""The compiled rasteriser against its twins: the same hits to the bit, the same features to rounding, on every case."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from unrender.cameras.camera import Cameras
from unrender.kernels.loader import native
from unrender.kernels.rasterize_points.cases import CASES, WIDE, Case
from unrender.kernels.rasterize_points.op import Geometry, Pyramids, _kept, rasterize_points
from unrender.kernels.rasterize_points.projection import ghosts, project
from unrender.kernels.rasterize_points.reference import blend, find_hits
from unrender.kernels.rasterize_points.views import pack_views

ORIGIN = torch.zeros(3, dtype=torch.float64)
SEED = torch.tensor(1234567890123456789)
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


@pytest.fixture
def reference(monkeypatch):
    """Runs the op on the reference."""

    def run(*arguments):
        with monkeypatch.context() as context:
            context.setenv("UNRENDER_KERNELS", "reference")
            return rasterize_points(*arguments)

    return run


def arguments(case: Case, seed: int = 0) -> Any:
    """What the op takes, as a tuple."""
    geometry, descriptors, cameras = case.make(seed)
    return geometry, descriptors, pack_views(cameras, ORIGIN), case.rules, SEED


def assert_same(found: Pyramids, expected: Pyramids):
    """Hits to the bit, features to the rounding of a mean of float32."""
    assert torch.equal(found.counts, expected.counts)
    assert torch.equal(found.depths, expected.depths)
    torch.testing.assert_close(found.features, expected.features, rtol=2e-6, atol=2e-6)


@compiled
@pytest.mark.parametrize("name", CASES)
def test_hits_are_the_reference_s_to_the_bit(name, reference):
    inputs = arguments(CASES[name])
    assert_same(rasterize_points(*inputs), reference(*inputs))


_EDGES = ["opencv", "opencv_inside", "simple_radial_inside", "full_opencv_inside", "zoomed_in", "from_afar"]


@compiled
@pytest.mark.parametrize(
    "name", [*_EDGES, *(f"{lens.lower()}_{kind}" for lens in WIDE for kind in ("inside", "close"))]
)
@pytest.mark.parametrize("seed", range(1, 9))
def test_no_block_is_left_out_by_mistake(name, seed, reference):
    """Many cameras, many small blocks at the edges of images, lenses and the half-space in front."""
    inputs = arguments(replace(CASES[name], points=8000, size=(40, 30), ghosts=0.1), seed)
    assert_same(rasterize_points(*inputs), reference(*inputs))


def test_cases_show_something():
    """Else the comparisons would say nothing."""
    for name, case in CASES.items():
        if case.points > 1 and case.eyes and case.size != (1, 1):
            assert int(rasterize_points(*arguments(case)).counts.sum()) > 0, name


@compiled
@pytest.mark.parametrize(
    "name", ["opencv", "all_drawn", "ghosts", "many_channels", "odd_channels", "crowded", "crowded_steep"]
)
def test_features_and_gradients_are_those_of_float64(name):
    case = CASES[name]
    geometry, descriptors, cameras = case.make()
    views, rules, seed = pack_views(cameras, ORIGIN), case.rules, SEED
    found = rasterize_points(geometry, descriptors.requires_grad_(), views, rules, seed)
    weights = torch.randn(found.features.shape, generator=torch.Generator().manual_seed(9))
    (gradient,) = torch.autograd.grad(found.features, descriptors, weights)
    exact, total = descriptors.detach().double().requires_grad_(), torch.zeros((), dtype=torch.float64)
    for number, view in enumerate(views):
        seen = project(*geometry, view)
        keep = seen.keep & ~ghosts(int(seed), number, torch.arange(len(seen.keep)), rules.ghosts)
        none = torch.zeros_like(seen.reach)
        size = (rules.height, rules.width)
        hits = find_hits(seen.pixels, seen.depth, seen.reach, none, keep, size, rules.layers, rules.alpha, rules.gamma)
        image = blend(exact, hits)
        torch.testing.assert_close(found.features[number].double(), image, rtol=2e-6, atol=2e-6)
        total = total + (image * weights[number]).sum()
    (expected,) = torch.autograd.grad(total, exact)
    torch.testing.assert_close(gradient.double(), expected, rtol=5e-6, atol=5e-6)


def loop(geometry: Geometry, descriptors: torch.Tensor, cameras: Cameras, view: int, case: Case):
    """Pixel -> (mean descriptor, number) per layer, point by point from the cameras' own float64 projection."""
    seen = cameras.project(view, geometry.position.double(), ORIGIN)
    eye = cameras.centers[view]
    bins: dict[tuple[int, int, int], list[int]] = {}
    for point, (u, v) in enumerate(seen.pixels.tolist()):
        normal, way = geometry.normal[point].double(), geometry.position[point].double() - eye
        away = bool((normal != 0).any()) and float(normal @ way) >= 0
        if away or not (seen.inside[point] and 0 <= u < case.size[1] and 0 <= v < case.size[0]):
            continue
        radius = float(seen.magnification[point] * geometry.radius[point])
        chance = float(1 - geometry.threshold[point])
        for level in range(case.layers):
            if case.gamma is None or (case.gamma * radius / 2**level) ** 2 > chance:
                bins.setdefault((level, int(v) >> level, int(u) >> level), []).append(point)
    for key, points in bins.items():
        nearest = min(float(seen.depth[point]) for point in points)
        passed = [point for point in points if float(seen.depth[point]) <= (1 + case.alpha) * nearest]
        yield key, descriptors[passed].double().mean(0), len(passed)


@pytest.mark.parametrize("lens", ["simple_radial", "opencv", "pinhole_inside", *(f"{n.lower()}_inside" for n in WIDE)])
def test_equals_a_plain_loop(lens):
    case = replace(CASES[lens], points=150, size=(13, 18), layers=3)
    geometry, descriptors, cameras = case.make()
    found = rasterize_points(geometry, descriptors, pack_views(cameras, ORIGIN), case.rules)
    first = [0, 13 * 18, 13 * 18 + 7 * 9]
    for view in range(len(cameras)):
        total = 0
        for (level, row, column), mean, number in loop(geometry, descriptors, cameras, view, case):
            at = first[level] + row * -(-18 // 2**level) + column
            assert int(found.counts[view, at]) == number
            torch.testing.assert_close(found.features[view, at].double(), mean, rtol=1e-6, atol=1e-6)
            total += number
        assert int(found.counts[view].sum()) == total


@compiled
@pytest.mark.parametrize(
    "name", ["large", "ghosts", "opencv_inside", "crowded_steep", "ocam_inside", "equirectangular_inside"]
)
def test_any_number_of_threads_gives_the_same_bits(name):
    geometry, descriptors, *rest = arguments(CASES[name])
    results = []
    for number in (1, 2, 3, 2):
        with threads(number):
            leaf = descriptors.clone().requires_grad_()
            fresh = Geometry(*(tensor.clone() for tensor in geometry))  # sorted anew
            found = rasterize_points(fresh, leaf, *rest)
            found.features.square().sum().backward()
            results.append((*found, leaf.grad))
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@compiled
def test_views_of_one_batch_may_have_lenses_of_any_family(reference):
    geometry, descriptors, _, rules, seed = arguments(CASES["opencv"])
    names = ("pinhole", "full_opencv_inside", "ocam", "equirectangular_inside", "fov_inside", "division_inside")
    views = torch.cat([arguments(CASES[name])[2][:1] for name in names])
    inputs = (geometry, descriptors, views, rules, seed)
    assert_same(rasterize_points(*inputs), reference(*inputs))


@compiled
@pytest.mark.parametrize("name", ["opencv", "crowded", "odd_channels", "many_channels"])
@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_exactly_and_added_up_in_float32(name, precision):
    geometry, descriptors, *rest = arguments(CASES[name])
    half = (1e-3 * descriptors).to(precision)
    half[::50], half[1::50], half[2::50] = 6e-8, -65504.0, 0.0  # subnormal, largest and none
    found, wide = (rasterize_points(geometry, leaf.requires_grad_(), *rest) for leaf in (half, half.detach().float()))
    assert found.features.dtype == torch.float32
    assert torch.equal(found.counts, wide.counts)
    assert torch.equal(found.features, wide.features)
    (gradient,) = torch.autograd.grad(found.features.square().sum(), half)
    assert gradient.dtype == precision


@compiled
def test_half_precision_knows_what_is_no_number():
    geometry, descriptors, *rest = arguments(CASES["pinhole"])
    half = descriptors.half()
    half[:, 0], half[:, 1], half[:, 2] = torch.nan, torch.inf, -torch.inf
    hit = rasterize_points(geometry, half, *rest)
    features = hit.features[hit.counts > 0]
    assert bool(features[:, 0].isnan().all())
    assert bool((features[:, 1] == torch.inf).all())
    assert bool((features[:, 2] == -torch.inf).all())


@compiled
def test_a_gradient_may_come_in_any_layout():
    geometry, descriptors, *rest = arguments(CASES["opencv"])
    features = rasterize_points(geometry, descriptors.requires_grad_(), *rest).features
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(2))
    (plain,) = torch.autograd.grad(features, descriptors, weights, retain_graph=True)
    planar = weights.transpose(1, 2).contiguous().transpose(1, 2)
    assert not planar.is_contiguous()
    (other,) = torch.autograd.grad(features, descriptors, planar, retain_graph=True)
    assert torch.equal(plain, other)
    (same,) = torch.autograd.grad(features.sum(), descriptors)  # all strides 0
    (ones,) = torch.autograd.grad(rasterize_points(geometry, descriptors, *rest).features, descriptors, weights * 0 + 1)
    assert torch.equal(same, ones)


@compiled
@pytest.mark.parametrize("lens", ["simple_radial", *(name.lower() for name in WIDE)])
def test_points_that_are_not_finite_are_not_seen(lens, reference):
    geometry, *rest = arguments(CASES[lens])
    position = geometry.position.clone()
    position[::7, 0], position[1::7, 1], position[2::7] = torch.nan, torch.inf, -torch.inf
    position[3::7] = 3e38
    broken = geometry._replace(position=position)
    assert_same(rasterize_points(broken, *rest), reference(broken, *rest))
    nowhere = geometry._replace(position=torch.full_like(position, torch.nan))
    assert int(rasterize_points(nowhere, *rest).counts.sum()) == 0


@compiled
@pytest.mark.parametrize("gamma", [None, 1.5])
def test_strange_radii_and_normals_do_as_in_the_reference(gamma, reference):
    case = replace(CASES["simple_radial"], gamma=gamma)
    geometry, *rest = arguments(case)
    radius, threshold, normal = (t.clone() for t in (geometry.radius, geometry.threshold, geometry.normal))
    radius[::5], radius[1::5], radius[2::5], threshold[3::5] = torch.nan, torch.inf, -1.0, 1.0
    normal[::4], normal[1::4] = normal[::4] * 1e-30, normal[1::4] * 1e20
    normal[2::40] = torch.nan
    strange = geometry._replace(radius=radius, threshold=threshold, normal=normal)
    assert_same(rasterize_points(strange, *rest), reference(strange, *rest))


@compiled
def test_points_that_moved_are_seen_where_they_are(reference):
    """The sorted cloud is kept, but not longer than it is true."""
    geometry, descriptors, views, rules, seed = arguments(CASES["pinhole"])
    before = rasterize_points(geometry, descriptors, views, rules, seed)
    geometry.position.mul_(0.9)
    moved = rasterize_points(geometry, descriptors, views, rules, seed)
    assert not torch.equal(before.counts, moved.counts)
    assert_same(moved, reference(geometry, descriptors, views, rules, seed))
    for number in range(5):  # other tensors, perhaps in the same memory
        other = arguments(CASES["pinhole"], seed=number)
        assert_same(rasterize_points(*other), reference(*other))
        del other
    with torch.inference_mode():
        unversioned = arguments(CASES["pinhole"], seed=7)
        rasterize_points(*unversioned)
        unversioned[0].position.mul_(0.9)
        assert_same(rasterize_points(*unversioned), reference(*unversioned))


@compiled
def test_columns_of_a_table_will_do(reference):
    """Tensors need not be contiguous, and are not sorted anew at every call for that."""
    geometry, descriptors, views, rules, seed = arguments(CASES["pinhole"])
    table = torch.cat([geometry.position, geometry.normal, geometry.radius[:, None], geometry.threshold[:, None]], 1)
    columns = Geometry(table[:, :3], table[:, 3:6], table[:, 6], table[:, 7])
    wide = torch.cat([descriptors, descriptors], 1)[:, ::2]
    assert_same(
        rasterize_points(columns, wide, views.T.contiguous().T, rules, seed),
        reference(geometry, wide, views, rules, seed),
    )
    kept = _kept[next(reversed(_kept))]
    rasterize_points(columns, wide, views, rules, seed)
    assert _kept[next(reversed(_kept))] is kept


@compiled
def test_memory_is_used_again():
    """Images of a call are made in the memory that those of the last one left."""
    inputs = arguments(replace(CASES["large"], size=(600, 800), eyes=(3.0,)))
    first = rasterize_points(*inputs).features.data_ptr()
    places = {rasterize_points(*inputs).features.data_ptr() for _ in range(3)}
    assert first in places
    kept = rasterize_points(*inputs)
    copy = kept.features.clone()
    rasterize_points(inputs[0], inputs[1] + 1, *inputs[2:])
    assert torch.equal(kept.features, copy)


@compiled
def test_is_an_operator_of_pytorch():
    geometry, descriptors, views, rules, seed = arguments(replace(CASES["ghosts"], points=200, size=(9, 12)))
    numbers = (rules.height, rules.width, rules.layers, rules.alpha, 1.5, rules.ghosts)
    inputs = (*geometry, descriptors.requires_grad_(), views, seed, *numbers)
    torch.library.opcheck(torch.ops.unrender.rasterize_points.default, inputs)
    features, count, depth = torch.ops.unrender.rasterize_points(*inputs)
    inputs = (features.detach(), count, depth, *geometry, views, seed, *numbers)
    torch.library.opcheck(torch.ops.unrender.rasterize_points_backward.default, inputs)


@compiled
def test_float64_goes_to_the_reference():
    geometry, descriptors, *rest = arguments(CASES["pinhole"])
    double = rasterize_points(geometry, descriptors.double(), *rest)
    assert double.features.dtype == torch.float64
    torch.testing.assert_close(double.features.float(), rasterize_points(geometry, descriptors, *rest).features)


@compiled
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_threads_of_its_own():
    inputs = arguments(CASES["large"])
    with threads(2):
        expected = rasterize_points(*inputs).counts
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            found = rasterize_points(*inputs).counts
            torch.set_num_threads(1)  # PyTorch's own threads do not survive a fork
            os._exit(0 if torch.equal(found, expected) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
