"""One unit of any structural number moves the image by one pixel, whatever the scale of the world."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import make_lens
from unrender.cameras.sensor import Sensor
from unrender.fit.refine.sensitivity import measure_units, point_units
from unrender.geometry.transforms import exp_se3, rigid

LENSES = {
    "OPENCV": [300, 310, 160, 120, 0.05, -0.01, 0.001, -0.002],
    "OPENCV_FISHEYE": [200, 210, 160, 120, 0.02, -0.01, 0.001, 0.0],
    "SIMPLE_RADIAL": [280, 160, 120, 0.05],
}


def cameras_with(model: str, scale: float = 1.0) -> Cameras:
    """Three views of a cloud around the origin from ``scale`` times five units away, at half the photo's size."""
    generator = torch.Generator().manual_seed(0)
    increments = 0.1 * torch.randn(3, 6, generator=generator, dtype=torch.float64)
    increments[:, :3] *= scale
    away = torch.tensor([0, 0, 5 * scale], dtype=torch.float64).expand(3, 3)
    poses = exp_se3(increments) @ rigid(torch.eye(3, dtype=torch.float64).expand(3, 3, 3), away)
    return Cameras(
        camera_from_world=poses,
        camera_index=torch.zeros(3, dtype=torch.int64),
        lenses=(make_lens(model, 320, 240, LENSES[model]),),
        pixel_scale=torch.full((3, 2), 0.5, dtype=torch.float64),
        pixel_offset=torch.zeros(3, 2, dtype=torch.float64),
        sizes=torch.tensor([[120, 160]]).repeat(3, 1),
        sensor=Sensor.start(torch.zeros(3)),
    )


def cloud(scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(500, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def way(cameras: Cameras, moved: Cameras, view: int, points: torch.Tensor) -> float:
    """Root mean square way [pixels] of the points in the image."""
    here, there = (each.project(view, points) for each in (cameras, moved))
    seen = here.inside & (here.pixels >= 0).all(dim=1) & (here.pixels < here.pixels.new_tensor([160, 120])).all(dim=1)
    return float((here.pixels - there.pixels)[seen].square().sum(dim=1).mean().sqrt())


@pytest.mark.parametrize("model", LENSES)
@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_a_unit_of_a_pose_is_a_pixel(model: str, scale: float) -> None:
    cameras, points = cameras_with(model, scale), cloud(scale)
    units = measure_units(cameras, points)
    assert units.unseen == ()
    for number in range(6):
        step = torch.zeros(3, 6, dtype=torch.float64)
        step[:, number] = 0.01 * units.poses[:, number]
        for view in range(3):
            assert way(cameras, cameras.moved(step), view, points) == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize("model", LENSES)
def test_a_unit_of_a_lens_is_a_pixel(model: str) -> None:
    cameras, points = cameras_with(model), cloud()
    (unit,) = measure_units(cameras, points).lenses
    for number in range(len(unit)):
        params = cameras.lenses[0].params.clone()
        params[number] += 0.01 * unit[number]
        ways = [way(cameras, cameras.with_lenses([params]), view, points) for view in range(3)]
        assert sum(w * w for w in ways) / 3 == pytest.approx(1e-4, rel=0.2)  # views see different numbers of points


def test_a_panorama_stays_as_large_as_its_photo() -> None:
    panorama = make_lens("EQUIRECTANGULAR", 320, 240, [320, 240])
    units = measure_units(replace(cameras_with("OPENCV"), lenses=(panorama,)), cloud())
    assert units.lenses[0].tolist() == [0, 0]
    assert bool((units.poses > 0).all())


def test_depth_tells_focal_length_from_distance() -> None:
    """Of a cloud with depth a share of what the focal length moves is its own, of a wall hardly any."""
    cameras = cameras_with("SIMPLE_RADIAL")
    assert measure_units(cameras, cloud()).focal_alone > 0.05
    wall = cloud()
    wall[:, 2] = 0
    facing = cameras.camera_from_world.clone()
    facing[:, :3, :3] = torch.eye(3, dtype=torch.float64)
    assert measure_units(replace(cameras, camera_from_world=facing), wall).focal_alone < 0.02


def test_a_view_of_nothing_is_named_and_has_no_units() -> None:
    cameras = cameras_with("OPENCV")
    poses = cameras.camera_from_world.clone()
    poses[1, :3, 3] = torch.tensor([0.0, 0, -50])
    units = measure_units(replace(cameras, camera_from_world=poses), cloud())
    assert units.unseen == (1,)
    assert not bool(units.poses[1].any())
    assert bool((units.poses[0] > 0).all())


def test_a_point_s_unit_is_a_pixel_across_the_line_of_sight() -> None:
    cameras = cameras_with("SIMPLE_RADIAL")
    units = point_units(cameras, (0, 1, 2), torch.zeros(1, 3, dtype=torch.float64))
    assert float(units) == pytest.approx(5 / 140, rel=0.1)
