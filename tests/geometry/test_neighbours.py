"""Neighbours: brute force is the oracle for distances and pairs, a loop over bits for the Morton curve."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from unrender.errors import ShapeError
from unrender.geometry.neighbours import (
    close_pairs,
    morton_codes,
    morton_order,
    nearest_neighbours,
    principal_axes,
    spacing,
)


def cloud(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_neighbours_are_those_of_brute_force() -> None:
    points = cloud(200)
    every = torch.cdist(points, points).fill_diagonal_(torch.inf)
    expected, index = every.topk(5, largest=False)
    distances, indices = nearest_neighbours(points, 5)
    torch.testing.assert_close(distances, expected)
    assert torch.equal(indices, index)


def test_fewer_points_than_neighbours_wanted() -> None:
    distances, indices = nearest_neighbours(cloud(3), 8)
    assert distances.shape == indices.shape == (3, 2)
    assert not (indices == torch.arange(3)[:, None]).any()


def test_coinciding_points_are_each_others_neighbours_never_their_own() -> None:
    points = torch.zeros(6, 3)
    distances, indices = nearest_neighbours(points, 3)
    assert distances.max() == 0
    assert not (indices == torch.arange(6)[:, None]).any()


def test_one_point_has_no_neighbours() -> None:
    with pytest.raises(ShapeError, match="at least 2 points"):
        nearest_neighbours(torch.zeros(1, 3), 1)


def test_pairs_are_those_of_brute_force() -> None:
    points = cloud(100)
    near = torch.triu(torch.cdist(points, points) <= 0.1, diagonal=1)
    found = {tuple(pair) for pair in close_pairs(points, 0.1).tolist()}
    assert found == {tuple(pair) for pair in near.nonzero().tolist()}
    assert close_pairs(points, 0.0).shape == (0, 2)


def test_spacing_of_a_grid_far_from_the_origin() -> None:
    grid = torch.cartesian_prod(*[torch.arange(5, dtype=torch.float64) * 0.25] * 3) + 5e6
    assert spacing(grid) == pytest.approx(0.25)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_the_thin_axis_of_a_plane_is_its_normal(unit: float) -> None:
    points = cloud(300)
    points[:, 2] = 0
    turn = torch.linalg.qr(cloud(3, seed=1))[0]
    points = points @ turn.T * unit
    variances, axes = principal_axes(points, nearest_neighbours(points, 12)[1])
    assert float((axes[:, :, 0] @ turn[:, 2]).abs().min()) == pytest.approx(1, abs=1e-9)
    assert bool((variances[:, 0] < 1e-9 * variances[:, 1]).all())


def test_morton_codes_match_a_loop_over_bits() -> None:
    points = cloud(50) * 40 - 1000
    low, extent = points.amin(0), (points.amax(0) - points.amin(0)).max()
    for point, code in zip(points, morton_codes(points).tolist(), strict=True):
        cells = [min(int(c), 2**21 - 1) for c in ((point - low) / extent * 2**21).tolist()]
        assert code == sum(
            ((cell >> bit) & 1) << (3 * bit + axis) for axis, cell in enumerate(cells) for bit in range(21)
        )


def test_morton_order_keeps_neighbours_together() -> None:
    points = cloud(4096)
    ordered = points[morton_order(points)]
    step = (ordered[1:] - ordered[:-1]).norm(dim=1).mean()
    random_step = (points[1:] - points[:-1]).norm(dim=1).mean()
    assert float(step) < 0.15 * float(random_step)


def test_morton_codes_of_coinciding_points() -> None:
    assert morton_codes(torch.full((4, 3), 7.0)).tolist() == [0, 0, 0, 0]


def test_a_signal_waits_until_the_search_is_over():
    """SciPy alone would go on in memory that is given back, and the process would die of it (status -11)."""
    program = """
import signal, threading, numpy as np, os
from unrender.geometry.neighbours import nearest_of
def stop(*_): raise KeyboardInterrupt
signal.signal(signal.SIGTERM, stop)
for trial in range(3):
    points = np.random.default_rng(trial).random((60_000, 3))
    threading.Timer(0.15, os.kill, (os.getpid(), signal.SIGTERM)).start()
    try:
        while True:
            nearest_of(points, points, 30)
    except KeyboardInterrupt:
        pass
    del points
print("alive")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
