"""Filled points lie on the surface that the cloud left out, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from unrender.datasets.capture import Capture
from unrender.initialize.densify import neighbourhood_radius
from unrender.initialize.filling import confirmed, fill, relief_of, spread_inverse_depth
from unrender.initialize.points import PointSettings, points_from_capture
from unrender.initialize.surfels import Surfels

Make = Callable[..., Capture]


def surfels(positions: torch.Tensor) -> Surfels:
    return Surfels(
        origin=torch.zeros(3, dtype=torch.float64),
        position=positions.float(),
        normal=torch.zeros(len(positions), 3),
        radius=neighbourhood_radius(positions),
        color=torch.full((len(positions), 3), 0.5),
    )


def frame(plane: torch.Tensor) -> torch.Tensor:
    """The wall's points without those in its middle, which is bare."""
    return plane[(plane[:, :2].abs() > 0.6).any(dim=1)]


def test_depth_spreads_within_a_region_and_stops_at_its_edge() -> None:
    image = torch.zeros(3, 20, 30)
    image[:, :, 15:] = 0.8
    cells = torch.tensor([10 * 30 + 3, 4 * 30 + 25])
    spread = spread_inverse_depth(cells, torch.tensor([1.0, 3.0], dtype=torch.float64), image).reshape(20, 30)
    assert float((spread[:, :15] - 1).abs().max()) < 0.05
    assert float((spread[:, 15:] - 3).abs().max()) < 0.05


def test_one_depth_reaches_everything_in_any_unit() -> None:
    image = torch.rand(3, 12, 16, generator=torch.Generator().manual_seed(1))
    for unit in (1e-4, 1.0, 1e4):
        depth = torch.tensor([unit], dtype=torch.float64)
        spread = spread_inverse_depth(torch.tensor([7]), depth, image)
        torch.testing.assert_close(spread, torch.full((192,), unit), rtol=1e-3, atol=0)


def test_the_bare_middle_of_a_wall_is_filled_on_the_wall(
    capture_of: Make, plane: torch.Tensor, ring: list[list[float]]
) -> None:
    sparse = surfels(frame(plane))
    added = fill(sparse, capture_of(plane, ring), range(8)).position[len(sparse) :]
    middle = added[(added[:, :2].abs() < 0.5).all(dim=1)]
    squares = ((middle[:, :2] + 0.5) * 10).long().clamp(0, 9)
    assert len(torch.unique(squares, dim=0)) > 95
    assert float(middle[:, 2].abs().quantile(0.9)) < 0.1


def test_what_views_disagree_about_is_not_filled(
    capture_of: Make, plane: torch.Tensor, ring: list[list[float]]
) -> None:
    def own_color(origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        return (0.5 + 0.45 * torch.sin(40 * origins)).expand_as(directions)  # every camera sees another colour

    sparse = surfels(frame(plane))
    agreed = len(fill(sparse, capture_of(plane, ring), range(8))) - len(sparse)
    disputed = len(fill(sparse, capture_of(plane, ring, own_color), range(8))) - len(sparse)
    assert disputed < 0.02 * agreed


def test_guesses_in_front_of_the_wall_are_denied(
    capture_of: Make, plane: torch.Tensor, ring: list[list[float]]
) -> None:
    capture = capture_of(plane, ring)
    reliefs = [relief for view in range(8) if (relief := relief_of(surfels(plane), capture, view)) is not None]
    inner = plane[(plane[:, :2].abs() < 0.4).all(dim=1)]
    hanging = inner + torch.tensor([0.0, 0.0, -0.6])
    verdict = confirmed(surfels(torch.cat([inner, hanging])), reliefs[0], capture.cameras, reliefs[1:])
    assert bool(verdict[: len(inner)].all())
    assert not verdict[len(inner) :].any()


def test_views_that_see_no_point_have_nothing_to_say(
    capture_of: Make, plane: torch.Tensor, ring: list[list[float]]
) -> None:
    behind = surfels(plane + torch.tensor([0.0, 0.0, -20.0]))
    capture = capture_of(plane, ring)
    assert relief_of(behind, capture, 0) is None
    assert torch.equal(fill(behind, capture, range(8)).position, behind.position)


def test_there_are_never_more_points_than_asked_for(
    capture_of: Make, plane: torch.Tensor, ring: list[list[float]]
) -> None:
    bare = frame(plane)
    settings = PointSettings(count=len(bare) + 50)
    scene, notes = points_from_capture(capture_of(bare, ring), settings)
    assert len(scene) == len(bare) + 50
    assert any("50 added" in note for note in notes)
    unfilled, _ = points_from_capture(capture_of(bare, ring), replace(settings, fill=False))
    middle = [int((s.position[:, :2] + s.origin[:2]).abs().amax(dim=1).lt(0.4).sum()) for s in (scene, unfilled)]
    assert middle[0] > middle[1] == 0
