"""Normals where there is a surface, none where there is not, and always the side that the cameras are on."""

from __future__ import annotations

from collections.abc import Callable

import torch

from unrender.datasets.capture import Capture
from unrender.initialize.densify import neighbourhood_radius
from unrender.initialize.normals import given_normals, oriented_normals, thin_directions
from unrender.initialize.surfels import Surfels

Make = Callable[..., Capture]


def surfels_with(positions: torch.Tensor, normal: torch.Tensor) -> Surfels:
    return Surfels(
        origin=torch.zeros(3, dtype=torch.float64),
        position=positions.float(),
        normal=normal,
        radius=neighbourhood_radius(positions),
        color=torch.full((len(positions), 3), 0.5),
        source=torch.arange(len(positions), dtype=torch.int32),
    )


def estimate(capture_of: Make, positions: torch.Tensor, eyes: list[list[float]]) -> torch.Tensor:
    cameras = capture_of(positions, eyes).cameras
    thin = surfels_with(positions, thin_directions(positions, 16, 0.4))
    return oriented_normals(thin, cameras, range(len(cameras)), 0.6)


def test_a_noisy_plane_faces_the_cameras(capture_of: Make, plane: torch.Tensor, ring: list[list[float]]) -> None:
    noise = torch.randn(len(plane), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    plane[:, 2] += 0.005 * noise
    normal = estimate(capture_of, plane, ring)
    assert bool((normal[:, 2] < -0.95).all())


def test_a_sphere_faces_outwards(capture_of: Make) -> None:
    generator = torch.Generator().manual_seed(3)
    sphere = torch.nn.functional.normalize(torch.randn(3000, 3, generator=generator, dtype=torch.float64), dim=1)
    eyes = 4 * torch.nn.functional.normalize(torch.randn(30, 3, generator=generator), dim=1)
    normal = estimate(capture_of, sphere, eyes.tolist())
    cosine = (normal * sphere).sum(dim=1)
    known = (normal != 0).any(dim=1)
    assert float(known.float().mean()) > 0.97
    assert bool((cosine[known] > 0.97).all())


def test_a_volume_and_a_line_have_no_normals() -> None:
    generator = torch.Generator().manual_seed(4)
    volume = torch.rand(5000, 3, generator=generator, dtype=torch.float64)
    assert float((thin_directions(volume, 16, 0.4) != 0).any(dim=1).float().mean()) < 0.01
    line = torch.outer(torch.rand(500, generator=generator, dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    line += 0.002 * torch.randn(500, 3, generator=generator, dtype=torch.float64)
    assert float((thin_directions(line, 16, 0.4) != 0).any(dim=1).float().mean()) < 0.15


def test_a_sheet_seen_from_both_sides_is_never_culled(
    capture_of: Make, plane: torch.Tensor, ring: list[list[float]]
) -> None:
    behind = [[x, y, -z] for x, y, z in ring]
    assert not estimate(capture_of, plane, ring + behind).any()


def test_the_nearest_surface_is_what_a_camera_votes_for(
    capture_of: Make, plane: torch.Tensor, ring: list[list[float]]
) -> None:
    """Cameras on both sides of two sheets: each sheet is seen from one side only, for the other one hides it."""
    sheets = torch.cat([plane, plane + torch.tensor([0.0, 0.0, 0.5])])
    behind = [[0.3 * x, 0.3 * y, 3.5] for x, y, _ in ring]
    normal = estimate(capture_of, sheets, [[0.3 * x, 0.3 * y, z] for x, y, z in ring] + behind)
    inner = (plane[:, :2].abs() < 0.7).all(dim=1)
    front, back = normal[: len(plane)][inner], normal[len(plane) :][inner]
    assert bool((front[:, 2] < -0.99).all())
    assert bool((back[:, 2] > 0.99).all())


def test_given_normals_become_unit_or_zero() -> None:
    given = torch.tensor([[0.0, 0.0, -7.0], [float("nan"), 0.0, 1.0], [0.0, 0.0, 0.0]])
    assert given_normals(given).tolist() == [[0.0, 0.0, -1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
