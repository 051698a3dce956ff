"""Rays and shapes, against marching along the ray in float64 and against a linear solve."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unrender.datasets.synthetic.casting import Shapes, pack
from unrender.datasets.synthetic.intersect import MEET
from unrender.datasets.synthetic.room import build_room
from unrender.datasets.synthetic.shapes import (
    Shape,
    ball,
    box,
    disk,
    rectangle,
    rotation,
    tube,
    turned,
)

TURN = rotation(z=31, x=-17, y=52)
SOLIDS = {
    "ball": ball((0.1, -0.2, 0.3), 0.7, 0),
    "ellipsoid": ball((0.1, 0.2, 0.0), (0.9, 0.3, 0.5), 0, TURN),
    "cylinder": tube((-0.4, -0.3, -0.5), (0.5, 0.2, 0.6), 0.3, 0),
    "cone": tube((0.0, 0.1, -0.7), (0.2, 0.0, 0.8), 0.5, 0, 0.1),
    "vase": turned((0, 0, -0.5), [0, 0.5, 1.0], [0.3, 0.6, 0.2], 0)[0],
    "waist": turned((0, 0, -0.5), [0, 0.5, 1.0], [0.6, 0.2, 0.5], 0)[0],
    "box": box((0.1, 0.0, -0.1), (0.8, 1.2, 0.5), 0, TURN),
}


def rays(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(seed)
    origins = torch.nn.functional.normalize(torch.randn(count, 3, generator=chance), dim=-1) * 2.5
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=chance) * 0.6 - origins, dim=-1)
    return origins, directions


def height_above(shape: Shape, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A function that is zero on the shape's surface, and where it counts."""
    local = (points - shape.center.numpy()) @ np.linalg.inv(shape.axes.numpy()).T
    if shape.kind == 0:
        return np.abs(local).max(-1) - 1, np.ones(local.shape[:-1], bool)
    a, b, c = shape.profile
    x, y, z = local[..., 0], local[..., 1], local[..., 2]
    return x**2 + y**2 - a - b * z - c * z**2, np.abs(z) <= 1


@pytest.mark.parametrize("name", SOLIDS)
def test_solids_are_met_where_marching_meets_them(name: str):
    shape = SOLIDS[name]
    origins, directions = rays(60)
    step = 2e-4
    along = np.arange(0, 5, step)
    points = origins.double().numpy()[:, None] + along[:, None] * directions.double().numpy()[:, None]
    value, counts = height_above(shape, points)
    crossed = (value[:, 1:] * value[:, :-1] <= 0) & counts[:, 1:] & counts[:, :-1]
    expected = np.where(crossed.any(1), along[crossed.argmax(1)], np.inf)
    found = pack([[shape]]).cast(origins, directions).distance.numpy()
    # A ray that only grazes, or passes the very rim, may fall between two steps.
    agree = np.isclose(found, expected, atol=2.5 * step) | (np.isinf(found) & np.isinf(expected))
    assert agree.mean() > 0.96
    assert np.isfinite(found).mean() > 0.15


@pytest.mark.parametrize("round_", [False, True])
def test_flats_are_met_where_a_linear_solve_says(round_: bool):
    shape = (
        disk((0.1, 0.2, -0.1), (0.3, -0.5, 0.8), 0.7, 0)
        if round_
        else rectangle((0, 0.1, 0), (0.5, 0.2, 0), (0, 0.3, 0.6), 0)
    )
    origins, directions = rays(300)
    found = pack([[shape]]).cast(origins, directions).distance.double().numpy()
    u, v, center = shape.axes[:, 0].numpy(), shape.axes[:, 1].numpy(), shape.center.numpy()
    for origin, direction, distance in zip(origins.double().numpy(), directions.double().numpy(), found, strict=True):
        along, p, q = np.linalg.solve(np.stack([-direction, u, v], 1), origin - center)
        inside = np.hypot(p, q) < 1 if round_ else max(abs(p), abs(q)) < 1
        assert np.isclose(distance, along, atol=1e-4) if inside and along > 1e-3 else np.isinf(distance)


@pytest.fixture(scope="module")
def shapes() -> Shapes:
    return build_room(3).shapes


def room_rays(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(5)
    origins = torch.tensor([2.4, 1.2, 1.4]) + torch.rand(count, 3, generator=chance) * 0.4
    return origins, torch.nn.functional.normalize(torch.randn(count, 3, generator=chance), dim=-1)


def test_groups_change_nothing(shapes: Shapes):
    origins, directions = room_rays(2000)
    nearest = torch.full((2000,), torch.inf)
    for kind in range(3):
        chosen = (shapes.kind == kind).nonzero()[:, 0]
        inverse = shapes.inverse[chosen]
        local = torch.einsum("mij,nmj->imn", inverse, origins[:, None] - shapes.center[chosen])
        distance = MEET[kind](local, torch.einsum("mij,nj->imn", inverse, directions), shapes.profile[chosen])
        nearest = torch.minimum(nearest, distance.amin(0))
    found = shapes.cast(origins, directions).distance
    assert torch.equal(found.isinf(), nearest.isinf())
    assert (found - nearest)[found.isfinite()].abs().max() < 1e-3


def test_nothing_beyond_the_limit_is_met(shapes: Shapes):
    origins, directions = room_rays(500)
    free = shapes.cast(origins, directions)
    near = shapes.cast(origins, directions, free.distance.clamp(max=99) * 0.999)
    assert (near.shape[free.shape >= 0] < 0).float().mean() > 0.999
    behind = shapes.cast(origins, directions, free.distance.clamp(max=99) * 1.001)
    assert torch.equal(behind.shape, free.shape)


def test_normals_are_unit_face_the_ray_and_stand_on_the_surface(shapes: Shapes):
    origins, directions = room_rays(4000)
    hits = shapes.cast(origins, directions)
    met = (hits.shape >= 0).nonzero()[:, 0]
    assert len(met) > 3500
    origins, directions, hits = origins[met], directions[met], type(hits)(hits.distance[met], hits.shape[met])
    surface = shapes.surface(origins, directions, hits)
    assert torch.allclose(surface.normal.norm(dim=-1), torch.ones(len(met)), atol=1e-5)
    assert ((surface.normal * directions).sum(-1) <= 1e-6).all()
    beside = torch.nn.functional.normalize(
        directions + 1e-3 * torch.randn(len(met), 3, generator=torch.Generator().manual_seed(1)), dim=-1
    )
    other = shapes.cast(origins, beside)
    same = (other.shape == hits.shape).nonzero()[:, 0]
    neighbour = shapes.surface(origins[same], beside[same], type(hits)(other.distance[same], other.shape[same]))
    same = same[neighbour.chart == surface.chart[same]]
    moved = (origins + other.distance[:, None] * beside - surface.point)[same]
    slope = (moved * surface.normal[same]).sum(-1).abs() / moved.norm(dim=-1)
    assert slope.median() < 2e-3
    assert (slope < 0.1).float().mean() > 0.97


def test_charts_lead_back_to_the_point(shapes: Shapes):
    origins, directions = room_rays(2000)
    hits = shapes.cast(origins, directions)
    met = (hits.shape >= 0).nonzero()[:, 0]
    surface = shapes.surface(origins[met], directions[met], type(hits)(hits.distance[met], hits.shape[met]))
    points, _, shape = shapes.chart_points(surface.chart, surface.st)
    assert torch.equal(shape, hits.shape[met])
    assert (points - surface.point).norm(dim=-1).max() < 1e-3
    assert surface.st.min() > -1e-4
    assert surface.st.max() < 1 + 1e-4
