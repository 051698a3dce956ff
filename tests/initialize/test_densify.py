"""New points lie where the surface is."""

from __future__ import annotations

import pytest
import torch

from unrender.initialize.densify import densify, neighbourhood_radius, tangent_axes
from unrender.initialize.surfels import Surfels


def surfels(positions: torch.Tensor, normal: tuple[float, float, float]) -> Surfels:
    count = len(positions)
    return Surfels(
        origin=torch.zeros(3, dtype=torch.float64),
        position=positions.float(),
        normal=torch.tensor(normal).expand(count, 3),
        radius=neighbourhood_radius(positions),
        color=torch.arange(count)[:, None].expand(count, 3) / count,
        source=torch.arange(count, dtype=torch.int32),
    )


def test_children_lie_on_the_tangent_disc_of_their_parent(plane: torch.Tensor, generator: torch.Generator) -> None:
    parents = surfels(plane, (0.0, 0.0, -1.0))
    grown = densify(parents, 4 * len(plane), 1.0, generator)
    assert len(grown) == 4 * len(plane)
    assert torch.equal(grown.position[: len(plane)], parents.position)
    assert float(grown.position[:, 2].abs().max()) == 0
    parent = (grown.color[:, 0] * len(plane)).round().long()
    distance = (grown.position - parents.position[parent]).norm(dim=1)
    assert bool((distance <= parents.radius[parent] * 1.0001).all())
    # Uniform on a disc: half of the children are farther out than 1 / sqrt 2 of the radius.
    outer = (distance > parents.radius[parent] / 2**0.5)[len(plane) :].float().mean()
    assert float(outer) == pytest.approx(0.5, abs=0.03)
    assert bool((torch.bincount(parent) == 4).all())


def test_radii_shrink_as_points_get_denser(plane: torch.Tensor, generator: torch.Generator) -> None:
    parents = surfels(plane, (0.0, 0.0, -1.0))
    grown = densify(parents, 4 * len(plane), 1.0, generator)
    assert float(grown.radius.median() / parents.radius.median()) == pytest.approx(0.5, abs=0.1)


def test_without_normals_children_stay_between_their_neighbours(generator: torch.Generator) -> None:
    line = torch.zeros(100, 3, dtype=torch.float64)
    line[:, 0] = torch.rand(100, generator=generator, dtype=torch.float64)
    grown = densify(surfels(line, (0.0, 0.0, 0.0)), 500, 1.0, generator)
    assert float(grown.position[:, 1:].abs().max()) == 0
    assert float(line[:, 0].min()) - 1e-6 <= float(grown.position[:, 0].min())
    assert float(grown.position[:, 0].max()) <= float(line[:, 0].max()) + 1e-6
    assert len(grown.position[:, 0].unique()) > 450


def test_a_dense_cloud_stays_as_it_is(plane: torch.Tensor, generator: torch.Generator) -> None:
    parents = surfels(plane, (0.0, 0.0, -1.0))
    assert densify(parents, 10, 1.0, generator) is parents


def test_tangent_axes_are_a_right_handed_frame(generator: torch.Generator) -> None:
    normals = torch.nn.functional.normalize(torch.randn(100, 3, generator=generator), dim=1)
    frames = torch.stack([*tangent_axes(normals), normals], dim=1)
    torch.testing.assert_close(frames @ frames.transpose(1, 2), torch.eye(3).expand(100, 3, 3), atol=1e-5, rtol=0)
    assert bool((torch.linalg.det(frames) > 0).all())


def test_added_points_are_none_of_the_captures(plane: torch.Tensor, generator: torch.Generator) -> None:
    few = surfels(plane[:50], (0.0, 0.0, -1.0))
    both = densify(few, 200, 1.0, generator)
    assert both.source[:50].tolist() == few.source.tolist()
    assert bool((both.source[50:] == -1).all())
