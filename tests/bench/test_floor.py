"""The floor: bytes counted by hand, points counted by hand, and what the kernel itself says it draws."""

from __future__ import annotations

import pytest
import torch

from unrender.bench.floor import Floor, count_blended, count_drawn, find_floor, moved_bytes
from unrender.bench.workload import EYE, FOCAL, SIZE, Case, Sphere, make_sphere, morton_code
from unrender.kernels.loader import native
from unrender.kernels.rasterize_points.op import Geometry, rasterize_points

PIXELS = 1080 * 1920, 1080 * 1920 + 540 * 960 + 270 * 480 + 135 * 240


def test_bytes_that_must_move_by_hand():
    """Position 12, reach 4, descriptors 16 per point; 16 + 4 + 4 per pixel."""
    one, four = Case(1000, 1, discard=False, threads=1), Case(1000, 4, discard=True, threads=1)
    assert moved_bytes(one, "forward", 300, 200) == 300 * 12 + 200 * 16 + PIXELS[0] * 24
    assert moved_bytes(one, "backward", 300, 200) == 300 * 12 + 1000 * 16 + PIXELS[0] * 24
    assert moved_bytes(four, "forward", 300, 200) == 300 * 16 + 200 * 16 + PIXELS[1] * 24
    half = Case(1000, 1, discard=False, threads=1, half=True)
    assert moved_bytes(half, "forward", 300, 200) == 300 * 12 + 200 * 8 + PIXELS[0] * 24


def test_the_floor_is_the_larger_of_moving_and_projecting():
    case = Case(0, 1, discard=False, threads=1)
    speed = PIXELS[0] * 24 * 100.0  # moves everything in 10 ms
    assert Floor(0, 0, None, speed).milliseconds(case, "forward") == pytest.approx(10)
    assert Floor(0, 0, 9.0, speed).milliseconds(case, "forward") == pytest.approx(10)
    assert Floor(0, 0, 11.0, speed).milliseconds(case, "backward") == pytest.approx(11)


def tiny_sphere(position: list[list[float]], normal: list[float]) -> tuple[Sphere, Case]:
    """Points of our own before the benchmark's camera."""
    case = Case(len(position), 1, discard=False, threads=1)
    number = len(position)
    geometry = Geometry(
        torch.tensor(position), torch.tensor([normal] * number), torch.full((number,), 0.01), torch.zeros(number)
    )
    return Sphere(geometry, torch.zeros(number, 4), make_sphere(case).views), case


def test_points_are_counted_by_hand():
    """Two behind each other in one pixel, one out of the image, one behind the camera."""
    places = [[0.01, 0.0, 0.0], [0.01, 0.0, 1.0], [9.0, 0.0, 0.0], [0.0, 0.0, -EYE - 1]]
    sphere, case = tiny_sphere(places, [0.0, 0.0, -1.0])
    assert (count_drawn(sphere, case), count_blended(sphere, case)) == (2, 2)
    places[1] = [0.01 * 4 / EYE, 0.0, 1.0]  # now on the same ray
    sphere, case = tiny_sphere(places, [0.0, 0.0, -1.0])
    assert (count_drawn(sphere, case), count_blended(sphere, case)) == (2, 1)
    sphere, case = tiny_sphere(places, [0.0, 0.0, 1.0])
    assert count_drawn(sphere, case) == 0


@pytest.mark.skipif(native() is None, reason="no compiled kernels")
@pytest.mark.parametrize("discard", [False, True])
def test_the_kernel_draws_as_many(discard):
    case = Case(5000, 3, discard, threads=1)
    sphere = make_sphere(case)
    module = native()
    assert module is not None
    cloud = module.Rasterizer(*sphere.geometry, 1)
    rules = case.rules
    gamma = -1.0 if rules.gamma is None else rules.gamma
    numbers = (rules.height, rules.width, rules.layers, rules.alpha, gamma, 0.0, 0, 1)
    assert count_drawn(sphere, case) == cloud.draw_nothing(sphere.views, *numbers) > 1000
    floor = find_floor(sphere, case, speed=1e10, repeats=2)
    assert floor.drawn == count_drawn(sphere, case)
    assert floor.projection_ms is not None
    assert floor.projection_ms > 0


def test_a_third_of_the_sphere_is_seen_whole():
    """From three radii away (1 - 1/3) / 2 of a sphere is in sight; its waves hide a little more."""
    case = Case(20_000, 1, discard=False, threads=1)
    sphere = make_sphere(case)
    assert count_drawn(sphere, case) / case.points == pytest.approx(1 / 3, abs=0.01)
    depths = rasterize_points(*sphere, case.rules).depths.reshape(SIZE)
    assert torch.isinf(depths[0]).all()
    assert torch.isfinite(depths[:40]).sum() + torch.isfinite(depths[-40:]).sum() == 0
    rows = torch.isfinite(depths).any(dim=1).nonzero()[:, 0]
    silhouette = 2 * FOCAL / (EYE**2 - 1) ** 0.5
    assert len(rows) <= int(rows[-1] - rows[0] + 1) < 1.04 * silhouette


def test_the_order_is_a_morton_curve():
    place = torch.tensor([[-1.1, -1.1, -1.1], [1.1, 1.1, 1.1], [1.1, -1.1, -1.1]])
    assert morton_code(place).tolist() == [0, 2**30 - 1, sum(1 << 3 * bit for bit in range(10))]
    code = morton_code(make_sphere(Case(1000, 1, discard=False, threads=1)).geometry.position)
    assert (code[1:] >= code[:-1]).all()
