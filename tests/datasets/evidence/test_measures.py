"""The measures behind an inspection, where the right answer is known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from unrender.cameras.lens import make_lens
from unrender.datasets.clouds import PointCloud
from unrender.datasets.colmap import write_colmap
from unrender.datasets.evidence.agreement import Samples, Witnesses, agreement, places_in
from unrender.datasets.evidence.coverage import look_at_points
from unrender.datasets.evidence.lens_readings import focal_reading, lens_readings
from unrender.datasets.evidence.looks import look_at_photo
from unrender.datasets.evidence.readings import frame_readings, pose_readings
from unrender.datasets.evidence.residuals import chosen_observations, residuals
from unrender.datasets.read_capture import read_capture
from unrender.datasets.reconstruction import Observations, Reconstruction
from unrender.geometry.rotations import exp_so3
from unrender.geometry.transforms import rigid


def two_views(positions: torch.Tensor, names: tuple[str, ...] = ("a.png", "b.png")) -> Reconstruction:
    """Cameras at the origin and one unit to the right of it, which look along z."""
    shifts = torch.tensor([[0.0, 0, 0], [-1, 0, 0]], dtype=torch.float64)
    return Reconstruction(
        names=names,
        image_folder=Path("images"),
        camera_from_world=rigid(torch.eye(3, dtype=torch.float64).expand(2, 3, 3), shifts),
        camera_index=torch.zeros(2, dtype=torch.int64),
        lenses=(make_lens("PINHOLE", 100, 80, [100.0, 100.0, 50.0, 40.0]),),
        points=PointCloud(positions.double()),
    )


def test_equal_details_agree_wholly_opposite_ones_not_and_random_ones_by_chance():
    chance = torch.Generator().manual_seed(0)
    details = torch.randn(3000, 2, generator=chance)
    view, point = torch.arange(2).repeat_interleave(3000), torch.arange(3000).repeat(2)
    for other, expected in ((details, 1.0), (-details, -1.0), (torch.randn(3000, 2, generator=chance), 0.0)):
        found = agreement(Samples(view, point, torch.cat([details, other])), 2, 3000)
        assert found.value == pytest.approx(expected, abs=0.05)
        assert found.pairs == 6000
        assert found.bound < found.value


def test_a_point_that_one_photo_sees_is_compared_with_nothing():
    found = agreement(Samples(torch.tensor([0, 1]), torch.tensor([0, 1]), torch.ones(2, 2)), 2, 2)
    assert (found.value, found.pairs) == (0.0, 0)
    assert bool(found.by_view.isnan().all())


def test_a_point_behind_another_is_hidden_unless_it_was_observed():
    found = two_views(torch.tensor([[0.0, 0, 2], [0.01, 0, 4], [0, 0, -2], [9, 0, 2]]))
    scale = torch.ones(2, 2, dtype=torch.float64)
    assert places_in(Witnesses({}, scale, found.points.positions), found, 0).point.tolist() == [0]
    observed = torch.tensor([[False, True, True, True], [True, True, True, True]])
    seen = places_in(Witnesses({}, scale, found.points.positions, observed), found, 0)
    assert seen.point.tolist() == [1]
    torch.testing.assert_close(seen.pixel, torch.tensor([[50.25, 40.0]], dtype=torch.float64))


def test_residuals_are_distances_in_pixels_and_infinite_behind():
    found = two_views(torch.tensor([[0.0, 0, 2], [0.5, 0, 2], [0, 0, -2]]))
    pixel = torch.tensor([[53.0, 44.0], [75.0, 40.0], [10.0, 10.0], [0.0, 40.0]], dtype=torch.float64)
    seen = Observations(torch.tensor([0, 0, 0, 1]), pixel, torch.tensor([0, 1, 2, 0]))
    measured = residuals(found, seen)
    assert measured.behind == 0.25
    assert measured.by_view.tolist() == [5.0, 0.0]
    assert measured.count == 4
    assert math.isinf(measured.most)


def test_observations_of_no_point_do_not_count():
    found = two_views(torch.tensor([[0.0, 0, 2]]))
    nothing = Observations(torch.tensor([0]), torch.zeros(1, 2, dtype=torch.float64), torch.tensor([-1]))
    assert chosen_observations(found) is None
    assert chosen_observations(replace(found, observations=nothing)) is None


def test_coverage_counts_points_squares_and_what_is_behind():
    across, down = torch.meshgrid(torch.linspace(-0.99, 0.99, 50), torch.linspace(-0.79, 0.79, 40), indexing="ij")
    wall = torch.stack([across.flatten(), down.flatten(), torch.full((2000,), 2.0)], dim=1)
    coverage = look_at_points(two_views(torch.cat([wall, -wall])), torch.cat([wall, -wall]).double(), [0])
    assert float(coverage.inside[0]) == 2000
    assert float(coverage.behind[0]) == 0.5
    assert float(coverage.covered[0]) == 1.0
    assert coverage.outside == 0.5
    assert float(coverage.spacing[0]) == pytest.approx(2.0, rel=0.03)  # 8,000 pixels, 2,000 points
    assert bool(coverage.inside[1].isnan())


def test_every_reading_of_a_pose_is_another_rigid_motion_and_the_kinds_are_all_there():
    rotation = exp_so3(torch.tensor([[0.3, -0.5, 0.9], [1.1, 0.2, -0.4]], dtype=torch.float64))
    found = replace(
        two_views(torch.zeros(1, 3)), camera_from_world=rigid(rotation, torch.tensor([[1.0, 2, 3]] * 2).double())
    )
    readings = [*pose_readings(), *frame_readings()]
    read = torch.stack([reading.change(found).camera_from_world for reading in readings])
    turns = read[..., :3, :3]
    torch.testing.assert_close(turns @ turns.transpose(-1, -2), torch.eye(3, dtype=torch.float64).expand_as(turns))
    assert bool((torch.linalg.det(turns) > 0).all())
    assert bool(((read - found.camera_from_world).abs().amax(dim=(1, 2, 3)) > 0.1).all())
    assert readings[0].kind != "camera_axes"
    assert {reading.kind for reading in readings} >= {"opengl_axes", "camera_axes", "inverse_poses", "quaternion_order"}


def test_a_focal_reading_says_how_much_it_is_off_and_undoes_it():
    found = two_views(torch.zeros(1, 3))
    reading = focal_reading(1 / 1.2)
    assert "about 20 % too long" in reading.title
    torch.testing.assert_close(reading.change(found).lenses[0].params[:2], torch.full((2,), 100 / 1.2).double())
    assert "about 20 % too short" in focal_reading(1 / 0.8).title


def test_a_centred_pinhole_has_no_principal_point_to_mirror_and_no_distortion_to_negate():
    kinds = {reading.kind for reading in lens_readings(two_views(torch.zeros(1, 3)))}
    assert kinds == {"intrinsics_scale", "focal_length", "distortion_missing"}


@pytest.fixture
def textured(tmp_path: Path) -> Path:
    """Two photos of one texture, the second at half the exposure; a mask hides the left half of the first."""
    noise = torch.rand(20, 25, generator=torch.Generator().manual_seed(0))
    texture = torch.nn.functional.interpolate(noise[None, None], (80, 100), mode="bicubic")[0, 0].clamp(0, 1)
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name, gain in (("a.png", 200), ("b.png", 100)):
        pixels = (texture * gain + 10).byte()
        Image.fromarray(pixels.numpy()).convert("RGB").save(tmp_path / "images" / name)
    mask = torch.zeros(80, 100, dtype=torch.uint8)
    mask[:, 50:] = 255
    Image.fromarray(mask.numpy()).save(tmp_path / "masks" / "a.png")
    write_colmap(tmp_path / "sparse", two_views(torch.tensor([[0.0, 0, 2], [0, 1, 2], [1, 0, 3]])))
    return tmp_path


def test_details_are_free_of_exposure(textured):
    capture = read_capture(textured, test_every=0)
    bright, dim = (look_at_photo(capture, view) for view in (0, 1))
    pair = torch.stack([bright.details.flatten().float(), dim.details.flatten().float()])
    assert float(torch.corrcoef(pair)[0, 1]) > 0.99
    assert bright.brightness > 1.6 * dim.brightness
    assert abs(bright.sharpness - dim.sharpness) < 0.1


def test_what_is_near_a_mask_is_not_usable(textured):
    capture = read_capture(textured, masks=textured / "masks", test_every=0)
    usable = look_at_photo(capture, 0).usable
    assert usable is not None
    assert not bool(usable[:, :56].any())
    assert bool(usable[:, 56:].all())
    assert look_at_photo(capture, 1).usable is None
