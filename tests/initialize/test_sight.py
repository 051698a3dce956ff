"""Sparse points hide what is behind them, and nothing of their own surface."""

from __future__ import annotations

from collections.abc import Callable

import torch

from unrender.cameras.camera import Cameras
from unrender.datasets.capture import Capture
from unrender.initialize.densify import neighbourhood_radius
from unrender.initialize.sight import look
from unrender.initialize.surfels import Surfels

Make = Callable[..., Capture]


def surfels(positions: torch.Tensor, normal: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Surfels:
    return Surfels(
        origin=torch.zeros(3, dtype=torch.float64),
        position=positions.float(),
        normal=torch.tensor(normal).expand(len(positions), 3),
        radius=neighbourhood_radius(positions),
        color=torch.full((len(positions), 3), 0.5),
        source=torch.arange(len(positions), dtype=torch.int32),
    )


def seen(points: Surfels, cameras: Cameras, view: int) -> torch.Tensor:
    """Which of all surfels [N] the view sees."""
    return torch.zeros(len(points), dtype=torch.bool).index_fill(0, look(points, cameras, view).index, True)


def test_a_sparse_wall_hides_a_dense_one_behind_it(capture_of: Make, plane: torch.Tensor) -> None:
    front, rear = plane[:150], plane * 0.8 + torch.tensor([0.0, 0.0, 1.0])
    cameras = capture_of(plane, [[0.0, 0.0, -3.0]]).cameras
    visible = seen(surfels(torch.cat([front, rear])), cameras, 0)
    assert bool(visible[:150].all())
    assert float(visible[150:].float().mean()) < 0.05


def test_a_slanted_surface_does_not_hide_itself(capture_of: Make, plane: torch.Tensor) -> None:
    slanted = plane.clone()
    slanted[:, 2] = plane[:, 0] * 1.2  # less than 63 degrees from every line of sight
    cameras = capture_of(plane, [[0.0, 0.0, -4.0]]).cameras
    assert bool(seen(surfels(slanted), cameras, 0).all())


def test_behind_outside_and_facing_away_are_not_seen(capture_of: Make, plane: torch.Tensor) -> None:
    cameras = capture_of(plane, [[0.0, 0.0, -3.0]]).cameras
    behind, aside = plane + torch.tensor([0.0, 0.0, -6.0]), plane + torch.tensor([9.0, 0.0, 0.0])
    assert not seen(surfels(behind), cameras, 0).any()
    assert not seen(surfels(aside), cameras, 0).any()
    assert not seen(surfels(plane, (0.0, 0.0, 1.0)), cameras, 0).any()
    assert bool(seen(surfels(plane, (0.0, 0.0, -1.0)), cameras, 0).all())


def test_sight_does_not_depend_on_the_unit(capture_of: Make, plane: torch.Tensor, ring: list[list[float]]) -> None:
    points = torch.cat([plane, plane + torch.tensor([0.3, 0.0, 0.7])])
    metres = seen(surfels(points), capture_of(points, ring).cameras, 3)
    millimetres = seen(surfels(points * 1000), capture_of(points, ring, scale=1000).cameras, 3)
    assert 0 < int(metres.sum()) < len(points)
    assert int((metres != millimetres).sum()) == 0
