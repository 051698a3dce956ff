"""Stereo finds the surfaces that the cloud leaves out, at the right depth, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from unrender.cameras.lens import make_lens
from unrender.datasets.capture import Capture
from unrender.initialize.fusion import fuse
from unrender.initialize.points import PointSettings, points_from_capture
from unrender.initialize.semiglobal import EDGE, JUMP, SLOPE, aggregate, cheapest
from unrender.initialize.stereo import bare_share, depth_maps
from unrender.initialize.surfels import Surfels

Make = Callable[..., Capture]
MakeSurfels = Callable[[torch.Tensor], Surfels]
STEP_DEPTH = 0.6


def painted_step(origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """Radiance of two walls: z = 0, and nearer by STEP_DEPTH where x > 0; both painted with waves."""
    near = origins + directions * ((-STEP_DEPTH - origins[:, 2:]) / directions[:, 2:])
    far = origins + directions * (-origins[:, 2:] / directions[:, 2:])
    place = torch.where(near[:, :1] > 0, near, far)
    waves = torch.stack([torch.sin(9 * place[:, 0]), torch.cos(7 * place[:, 1]), torch.sin(5 * place.sum(1))], dim=1)
    return 0.25 + 0.2 * waves


@pytest.fixture
def step(plane: torch.Tensor) -> torch.Tensor:
    """A handful of points on the two walls: enough to know the range of depths, far too few to show them."""
    few = plane[::20].clone()
    few[few[:, 0] > 0, 2] = -STEP_DEPTH
    return few[(few[:, 0] < 0) | (few[:, 0] > 0.1)]


def test_points_lie_on_the_surfaces(
    surfels: MakeSurfels, capture_of: Make, step: torch.Tensor, ring: list[list[float]]
) -> None:
    capture = capture_of(step, ring, painted_step)
    found = fuse(depth_maps(surfels(step), capture, range(8)), capture.cameras, torch.zeros(3, dtype=torch.float64))
    inner = found.position[(found.position[:, :2].abs() < 0.8).all(dim=1)]
    away = torch.minimum(inner[:, 2].abs(), (inner[:, 2] + STEP_DEPTH).abs())
    assert len(inner) > 1000
    assert float(away.median()) < 0.02
    assert float(away.quantile(0.9)) < 0.1
    left, right = inner[inner[:, 0] < -0.2], inner[inner[:, 0] > 0.3]
    assert float((left[:, 2].abs() < 0.1).float().mean()) > 0.9
    assert float(((right[:, 2] + STEP_DEPTH).abs() < 0.1).float().mean()) > 0.9


@pytest.mark.parametrize(
    ("model", "size", "params"),
    [
        ("OPENCV_FISHEYE", (120, 90), (36, 36, 60, 45, -0.02, 0.003, 0, 0)),
        ("EQUIRECTANGULAR", (120, 60), (120, 60)),
    ],
)
def test_wide_lenses_measure_distances_all_around(
    surfels: MakeSurfels,
    capture_of: Make,
    generator: torch.Generator,
    model: str,
    size: tuple[int, int],
    params: tuple[float, ...],
) -> None:
    """Inside a painted ball: the depth of a cell is its distance, beside and behind the camera too."""
    ball = 3 * torch.nn.functional.normalize(torch.randn(300, 3, generator=generator, dtype=torch.float64), dim=1)
    turns = torch.arange(8) * torch.pi / 4
    eyes = torch.stack([0.4 * turns.cos(), 0.4 * turns.sin(), 0.1 * torch.arange(8)], dim=1)
    capture = capture_of(ball, eyes.tolist(), painted_ball, lens=make_lens(model, *size, params))
    maps = depth_maps(surfels(ball), capture, range(8))
    assert len(maps) == 8
    for found in maps:
        rays = capture.cameras.directions(found.view, found.level)
        truth = to_ball(capture.cameras.centers[found.view].float().expand_as(rays), rays)
        off = ((found.depth - truth).abs() / truth).flatten()
        assert float(off.median()) < 0.03
        assert float(off.quantile(0.85)) < 0.12
    claims = fuse(maps, capture.cameras, torch.zeros(3, dtype=torch.float64))
    assert float((claims.position.norm(dim=1) - 3).abs().median()) < 0.1
    assert len(claims) > 0.5 * maps[0].depth.numel()


def to_ball(origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """Distance from inside to a ball of radius 3."""
    middle = (origins * directions).sum(-1)
    return -middle + (middle.square() + 9 - origins.square().sum(-1)).sqrt()


def painted_ball(origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    place = origins + directions * to_ball(origins, directions)[:, None]
    waves = torch.stack([torch.sin(4 * place[:, 0]), torch.cos(3 * place[:, 1]), torch.sin(3 * place.sum(1))], dim=1)
    return 0.25 + 0.2 * waves


def test_what_views_disagree_about_gives_no_points(
    surfels: MakeSurfels, capture_of: Make, step: torch.Tensor, ring: list[list[float]]
) -> None:
    def own_color(origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """Every camera sees one colour of its own: the corners of the colour cube."""
        turn = torch.atan2(origins[:, 1], origins[:, 0]) / (2 * torch.pi) * 8
        corner = turn.round().long() % 8
        return 0.05 + 0.75 * torch.stack([corner & 1, corner >> 1 & 1, corner >> 2 & 1], dim=1).float()

    origin = torch.zeros(3, dtype=torch.float64)
    agreed, disputed = (
        len(fuse(depth_maps(surfels(step), capture, range(8)), capture.cameras, origin))
        for capture in (capture_of(step, ring, painted_step), capture_of(step, ring, own_color))
    )
    assert disputed < 0.05 * agreed


def test_exposure_does_not_disturb(
    surfels: MakeSurfels, capture_of: Make, step: torch.Tensor, ring: list[list[float]]
) -> None:
    """Photos three stops apart show the same radiance: the depths must not care."""
    exposures = [3.0, 4.0, 5.0, 6.0, 3.5, 4.5, 5.5, 4.0]
    even, uneven = (
        depth_maps(surfels(step), capture_of(step, ring, painted_step, exposure=exposure), range(8))[0].depth
        for exposure in ([4.0] * 8, exposures)
    )
    assert float(((even - uneven).abs() / even < 0.02).float().mean()) > 0.9


def test_views_that_see_no_point_get_no_map(
    surfels: MakeSurfels, capture_of: Make, plane: torch.Tensor, ring: list[list[float]]
) -> None:
    behind = surfels(plane + torch.tensor([0.0, 0.0, -20.0]))
    capture = capture_of(plane, ring)
    assert depth_maps(behind, capture, range(8)) == []
    assert len(fuse([], capture.cameras, behind.origin)) == 0


def test_bare_share(surfels: MakeSurfels, capture_of: Make, plane: torch.Tensor, ring: list[list[float]]) -> None:
    capture = capture_of(plane, ring)
    covered, sparse = (bare_share(surfels(points), capture, range(8)) for points in (plane, plane[::50]))
    assert sparse > covered
    assert bare_share(surfels(plane + torch.tensor([0.0, 0.0, -20.0])), capture, range(8)) == 1.0


def test_a_setting_turns_it_off_and_count_bounds_it(
    capture_of: Make, step: torch.Tensor, ring: list[list[float]]
) -> None:
    capture = capture_of(step, ring, painted_step)
    settings = PointSettings(count=500)
    scene, notes = points_from_capture(capture, settings)
    assert len(scene) == len(step) + 500
    assert any("stereo adds 500" in note for note in notes)
    plain, notes = points_from_capture(capture, replace(settings, stereo=False))
    assert len(plain) == 500
    assert any("no stereo" in note for note in notes)


def brute_force_path(cost: torch.Tensor, jump: torch.Tensor) -> torch.Tensor:
    """Least cost of any path of hypotheses along one line that ends at each (hypothesis, place), by definition."""
    hypotheses, places = cost.shape
    best = cost.clone()
    for place in range(1, places):
        for now in range(hypotheses):
            change = [
                0.0 if now == before else min(SLOPE if abs(now - before) == 1 else torch.inf, float(jump[place - 1]))
                for before in range(hypotheses)
            ]
            best[now, place] = cost[now, place] + min(
                float(best[before, place - 1]) + change[before] for before in range(hypotheses)
            )
    return best


@pytest.mark.parametrize("along_rows", [True, False])
def test_aggregation_is_dynamic_programming(generator: torch.Generator, along_rows: bool) -> None:
    """On an image one cell wide, with edges, against all paths spelled out, up to a constant per place."""
    cost = torch.rand(6, 1, 9, generator=generator) * 0.1
    guide = torch.rand(3, 1, 9, generator=generator) * 0.3
    if along_rows:
        summed = aggregate(cost, guide)[:, 0]
    else:
        summed = aggregate(cost.transpose(1, 2), guide.transpose(1, 2))[:, :, 0]
    edges = (guide[:, 0, 1:] - guide[:, 0, :-1]).abs().mean(dim=0)
    jump = SLOPE + (JUMP - SLOPE) * torch.exp(-edges / EDGE)
    forward, backward = brute_force_path(cost[:, 0], jump), brute_force_path(cost[:, 0].flip(1), jump.flip(0)).flip(1)
    expected = forward + backward + 2 * cost[:, 0]  # the two directions across the row see one place each
    torch.testing.assert_close(summed - summed.amin(0), expected - expected.amin(0), atol=1e-5, rtol=0)


def test_cheapest_lies_between_hypotheses() -> None:
    places = torch.arange(9.0)
    for bottom in (3.0, 3.3, 4.49):
        index = cheapest((places - bottom).square()[:, None, None])
        assert float(index) == pytest.approx(bottom, abs=1e-5)
    assert float(cheapest(places[:, None, None])) == 0.0
    assert float(cheapest(-places[:, None, None])) == 8.0
