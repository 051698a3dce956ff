"""Surfels get the radiance that is there, whatever exposure, occluder or passer-by the photos have."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from unrender.datasets.capture import Capture
from unrender.initialize.colors import cloud_radiance, sample, seen_radiance
from unrender.initialize.surfels import Surfels

Make = Callable[..., Capture]
MakeSurfels = Callable[[torch.Tensor], Surfels]


def pattern(places: torch.Tensor) -> torch.Tensor:
    """Radiance [K, 3] of places [K, 3] on a wall: smooth waves between 0.1 and 0.5."""
    return 0.3 + 0.2 * torch.sin(2 * places + torch.tensor([0.0, 1.0, 2.0]))


def wall(origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """The pattern on the plane z = 0."""
    return pattern(origins - directions * (origins[:, 2:] / directions[:, 2:]))


def two_walls(origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """A red square of half-width 1/2 on z = 0 in front of a blue wall."""
    place = origins - directions * (origins[:, 2:] / directions[:, 2:])
    red, blue = torch.tensor([0.5, 0.1, 0.1]), torch.tensor([0.1, 0.1, 0.5])
    return torch.where((place[:, :2].abs() < 0.5).all(dim=1, keepdim=True), red, blue)


def test_colors_of_a_wall_through_eight_exposures(
    surfels: MakeSurfels, capture_of: Make, plane: torch.Tensor, ring: list[list[float]]
) -> None:
    capture = capture_of(plane, ring, wall, exposure=torch.linspace(-0.5, 0.5, 8).tolist())
    radiance, weight = seen_radiance(surfels(plane), capture, range(8))
    assert bool((weight > 0).all())
    torch.testing.assert_close(radiance, pattern(plane.float()), atol=0.01, rtol=0)


def test_what_hides_a_surfel_does_not_paint_it(surfels: MakeSurfels, capture_of: Make, plane: torch.Tensor) -> None:
    eyes = [[x, 0.0, -3.0] for x in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    front, rear = plane * 0.5, plane + torch.tensor([0.0, 0.0, 1.0])
    capture = capture_of(plane, eyes, two_walls)
    radiance, weight = seen_radiance(surfels(torch.cat([front, rear])), capture, range(5))
    inner = (front[:, :2].abs() < 0.45).all(dim=1)
    assert float(radiance[: len(front)][inner, 0].min()) > 0.4
    painted = radiance[len(front) :][weight[len(front) :] > 0]
    assert len(painted) > 0.5 * len(rear)
    assert float((painted[:, 2] > 0.4).float().mean()) > 0.97


def test_one_passer_by_in_eight_photos_does_not_matter(
    surfels: MakeSurfels, capture_of: Make, plane: torch.Tensor, ring: list[list[float]]
) -> None:
    def crossed(origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        passing = (origins[:, :1] > 0.9).expand(-1, 3)  # the first camera of the ring only
        return torch.where(passing, 0.9, wall(origins, directions))

    capture = capture_of(plane, ring, crossed)
    radiance, _ = seen_radiance(surfels(plane), capture, range(8))
    torch.testing.assert_close(radiance, pattern(plane.float()), atol=0.035, rtol=0)


def test_a_clipped_photo_counts_less_than_one_that_holds_the_light(
    surfels: MakeSurfels, capture_of: Make, plane: torch.Tensor
) -> None:
    eyes = [[0.0, 0.0, -3.0], [0.1, 0.0, -3.0], [0.0, 0.1, -3.0]]
    bright = lambda origins, directions: torch.full_like(directions, 1.5)  # noqa: E731
    capture = capture_of(plane, eyes, bright, exposure=[-0.5, -0.5, 1.0])
    radiance, _ = seen_radiance(surfels(plane), capture, range(3))
    torch.testing.assert_close(radiance, torch.full_like(radiance, 1.5), atol=0.05, rtol=0)


def test_the_clouds_own_color_is_undone_like_a_photo(capture_of: Make, plane: torch.Tensor) -> None:
    """At the mean exposure, whichever photos there are."""
    capture = capture_of(plane, [[0.0, 0.0, -3.0]] * 2, exposure=[-1.0, 3.0])
    colors = torch.tensor([[0.5, 0.2, 0.8]])
    torch.testing.assert_close(cloud_radiance(colors, capture.cameras.sensor), colors ** (1 / 0.45), atol=0.005, rtol=0)


def test_samples_of_a_ramp_are_exact() -> None:
    image = torch.arange(8.0).expand(1, 4, 8) + 0.5
    assert sample(image, torch.tensor([[3.25, 1.7]])).item() == pytest.approx(3.25)
