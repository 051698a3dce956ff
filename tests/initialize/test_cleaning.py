"""Duplicates and floaters go, whatever the unit of the world is."""

from __future__ import annotations

import torch

from unrender.geometry.neighbours import nearest_neighbours, spacing
from unrender.initialize.cleaning import distinct_points, sociable_points


def test_of_points_at_the_same_place_the_first_stays(plane: torch.Tensor) -> None:
    twice = torch.cat([plane, plane])
    assert distinct_points(twice, 0.0).tolist() == list(range(len(plane)))


def test_no_two_points_that_remain_are_close(plane: torch.Tensor) -> None:
    kept = distinct_points(plane, 0.5)
    assert 0 < len(kept) < len(plane)
    assert float(nearest_neighbours(plane[kept], 1)[0].min()) > 0.5 * spacing(plane)


def test_a_floater_goes_and_a_far_sparse_wall_stays(plane: torch.Tensor) -> None:
    camera = torch.tensor([[0.0, 0.0, -3.0]])
    wall = plane[:100] * 40 + torch.tensor([0.0, 0.0, 100.0])
    floater = torch.tensor([[0.0, 0.3, -2.9]])
    keep = sociable_points(torch.cat([plane, wall, floater]), camera, 30.0)
    assert bool(keep[:-1].all())
    assert not keep[-1]


def test_decisions_do_not_depend_on_the_unit(plane: torch.Tensor) -> None:
    points = plane + 0.05 * torch.randn(plane.shape, generator=torch.Generator().manual_seed(1))
    camera = torch.tensor([[0.0, 0.0, -1.0]])
    for scale in (1e-3, 1e3):
        assert torch.equal(distinct_points(points, 0.4), distinct_points(points * scale, 0.4))
        assert torch.equal(sociable_points(points, camera, 1.7), sociable_points(points * scale, camera * scale, 1.7))
    assert not sociable_points(points, camera, 1.7).all()
