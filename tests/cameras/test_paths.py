import math
from dataclasses import replace

import pytest
import torch

from unrender.cameras.paths import focus_point, interpolate, orbit, up_direction
from unrender.errors import SettingsError, ShapeError
from unrender.geometry.rotations import log_so3
from unrender.geometry.transforms import look_at

TARGET = torch.tensor([10.0, -4.0, 2.0], dtype=torch.float64)


@pytest.fixture
def build(cameras):
    """Makes views from poses [V, 4, 4] through the cameras of the fixture ``cameras``."""

    def build(poses):
        chosen = cameras.select([0] * len(poses))
        return replace(chosen, camera_from_world=poses)

    return build


def ring(count, radius=3.0, height=1.0, start=0.0, arc=2 * math.pi):
    """Poses on a circle around TARGET that look at it, z up."""
    angles = start + arc * torch.arange(count, dtype=torch.float64) / count
    offsets = torch.stack([radius * angles.cos(), radius * angles.sin(), torch.full_like(angles, height)], dim=1)
    return look_at(TARGET + offsets, TARGET, (0, 0, 1))


def steps(path):
    """How far the camera moves, and by how many radians it turns, from frame to frame."""
    rotation = path.camera_from_world[:, :3, :3]
    turns = log_so3(rotation[1:] @ rotation[:-1].transpose(1, 2)).norm(dim=1)
    return path.centers.diff(dim=0).norm(dim=1), turns


@pytest.mark.parametrize("arc", [2 * math.pi, math.pi / 2])
def test_up_is_found_though_all_cameras_look_down(build, arc):
    up = up_direction(build(ring(12, height=3.0, arc=arc)))
    assert torch.allclose(up, torch.tensor([0.0, 0, 1]).double(), atol=0.01)


def test_up_of_one_view_is_its_own_and_contradictions_are_refused(build):
    pose = ring(1)
    assert torch.allclose(up_direction(build(pose)), -pose[0, 1, :3], atol=1e-9)
    upside_down = torch.cat([look_at((1, 0, 0), (0, 0, 0), (0, 0, sign))[None] for sign in (1, -1)])
    with pytest.raises(ShapeError, match="cancel"):
        up_direction(build(upside_down))


def test_the_focus_is_where_the_axes_meet(build):
    assert torch.allclose(focus_point(build(ring(7, height=2.0))), TARGET, atol=1e-9)


def test_the_focus_of_parallel_axes_lies_among_the_cameras(build):
    eyes = torch.tensor([[0.0, 0, 0], [2.0, 0, 0], [1.0, 3, 0]], dtype=torch.float64)
    parallel = look_at(eyes, eyes + torch.tensor([0.0, 0, 1]), (0, -1, 0))
    assert torch.allclose(focus_point(build(parallel)), eyes.mean(dim=0), atol=1e-9)


def test_an_orbit_of_a_ring_is_the_ring(build):
    path = orbit(build(ring(24)), 60)
    offsets = path.centers - TARGET
    assert len(path) == 60
    assert torch.allclose(offsets[:, 2], torch.ones(60, dtype=torch.float64), atol=1e-6)
    assert torch.allclose(offsets[:, :2].norm(dim=1), torch.full((60,), 3.0, dtype=torch.float64), atol=1e-6)
    forward = path.camera_from_world[:, 2, :3]
    assert bool((torch.nn.functional.cosine_similarity(forward, -offsets) > 0.99).all())
    moves, turns = steps(path)
    closing = (path.centers[0] - path.centers[-1]).norm()
    assert torch.allclose(torch.cat([moves, closing[None]]), moves.mean(), rtol=1e-6)
    assert float(turns.max()) < 0.2


def test_an_orbit_keeps_to_the_side_that_was_photographed(build):
    path = orbit(build(ring(10, start=0.3, arc=math.pi / 2)), 40)
    offsets = path.centers - focus_point(build(ring(10, start=0.3, arc=math.pi / 2)))
    angles = torch.atan2(offsets[:, 1], offsets[:, 0])
    assert float(angles.min()) == pytest.approx(0.3, abs=1e-3)
    assert float(angles.max()) == pytest.approx(0.3 + 0.9 * math.pi / 2, abs=1e-3)
    assert float((path.centers[0] - path.centers[-1]).norm()) < 0.1, "it ends where it began"


def test_an_orbit_of_a_room_seen_from_its_middle_looks_outwards(build):
    inward = ring(16)
    eyes = build(inward).centers
    outward = look_at(eyes, eyes + (eyes - TARGET), (0, 0, 1))
    path = orbit(build(outward), 20)
    away = path.centers - TARGET
    assert bool(((path.camera_from_world[:, 2, :3] * away).sum(dim=1) > 0).all())


def test_an_orbit_obeys_a_given_up(build):
    path = orbit(build(ring(12)), 8, up=torch.tensor([0.0, 0.2, 1.0]))
    sideways = path.camera_from_world[:, 0, :3] @ torch.tensor([0.0, 0.2, 1.0], dtype=torch.float64)
    assert torch.allclose(sideways, torch.zeros(8, dtype=torch.float64), atol=1e-7)


def test_an_interpolation_passes_through_the_views_smoothly(build):
    views = build(ring(9, arc=1.5 * math.pi))
    path = interpolate(views, 161)
    for pose in views.camera_from_world:
        gap = (path.camera_from_world - pose).abs().amax(dim=(1, 2))
        assert float(gap.min()) < 0.05
    assert torch.allclose(path.camera_from_world[0], views.camera_from_world[0], atol=1e-9)
    assert torch.allclose(path.camera_from_world[-1], views.camera_from_world[-1], atol=1e-9)
    moves, turns = steps(path)
    assert float(moves.max()) < 1.3 * float(moves.min())
    assert float(turns.max()) < 1.3 * float(turns.min())
    rotation = path.camera_from_world[:, :3, :3]
    identity = torch.eye(3, dtype=torch.float64)
    assert torch.allclose(rotation @ rotation.transpose(1, 2), identity.expand(161, 3, 3), atol=1e-12)


def test_views_in_wild_order_are_visited_by_nearness(build):
    order = [0, 5, 2, 7, 1, 6, 3, 8, 4]
    poses = ring(9, arc=1.5 * math.pi)
    wild, sorted_path = interpolate(build(poses[order]), 50), interpolate(build(poses), 50)
    assert torch.allclose(wild.camera_from_world, sorted_path.camera_from_world, atol=1e-9)


@pytest.mark.parametrize("views", [1, 2, 3])
def test_few_or_repeated_views_are_enough(build, views):
    poses = ring(12)[:views]
    for path in (interpolate(build(torch.cat([poses, poses])), 7), orbit(build(poses), 7)):
        assert len(path) == 7
        assert bool(torch.isfinite(path.camera_from_world).all())


def test_a_path_looks_through_the_first_camera_at_the_mean_exposure(cameras):
    for path in (orbit(cameras, 5), interpolate(cameras, 5)):
        assert path.size == cameras.size
        assert path.camera_index.tolist() == [0] * 5
        assert path.sensor.exposure.tolist() == [float(cameras.sensor.exposure.mean())] * 5
        image = path.record(torch.full((5, 3, 48, 64), 0.2))
        assert image.shape == (5, 3, 48, 64)
        assert not bool(path.sensor.anchor.any())


def test_empty_paths_are_refused(cameras):
    for make in (orbit, interpolate):
        with pytest.raises(SettingsError, match="at least one frame"):
            make(cameras, 0)
