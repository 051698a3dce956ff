"""The synthetic room through a fisheye of 190 degrees and all around, against the photographer, who follows rays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from unrender.cameras.camera import Cameras
from unrender.datasets.synthetic import light
from unrender.datasets.synthetic.light import LitRoom
from unrender.datasets.synthetic.raycast import geometry_of, radiance_of
from unrender.datasets.synthetic.room import build_room
from unrender.datasets.synthetic.scanner import DIAGONAL, scan
from unrender.datasets.synthetic.viewpoints import walk
from unrender.geometry.transforms import look_at
from unrender.initialize.densify import neighbourhood_radius
from unrender.kernels.rasterize_points.op import Geometry, Rules, rasterize_points
from unrender.kernels.rasterize_points.views import pack_views
from unrender.render.rasterize.points import rasterize
from unrender.render.settings import PointRasterSettings
from unrender.scenes.points import PointScene

SIZES = {"fisheye": (96, 128), "panorama": (80, 160), "phone": (96, 128)}
PLAIN = PointRasterSettings(layers=1, gamma=None)


@pytest.fixture(scope="module")
def room() -> Iterator[tuple[LitRoom, PointScene]]:
    """The room, roughly lit, and a dense scan of it that wears the radiance it saw."""
    with pytest.MonkeyPatch.context() as patch:
        for name, few in (("WINDOW_CELLS", (2, 1)), ("LAMP_SAMPLES", 1), ("BOUNCE_RAYS", 4)):
            patch.setattr(light, name, few)
        lit = light.bake(build_room(), 0.5)
        yield lit, scene_of(lit, 150_000)


def scene_of(lit: LitRoom, points: int) -> PointScene:
    cloud = scan(lit, points, 0.0, 1.0)
    assert cloud.colors is not None
    assert cloud.normals is not None
    center = cloud.positions.mean(0)
    chance = torch.Generator().manual_seed(0)
    return PointScene(
        origin=center,
        position=(cloud.positions - center).float(),
        normal=cloud.normals.float(),
        radius=neighbourhood_radius(cloud.positions),
        threshold=torch.rand(points, generator=chance),
        descriptors=cloud.colors.float() ** (1 / 0.45),
        environment=torch.zeros(3, 16, 32),
        logarithmic=False,
    )


def view(lens: str, number: int = 0) -> Cameras:
    height, width = SIZES[lens]
    return walk(4, width, height, lens=lens).select([number])


@pytest.mark.parametrize("lens", SIZES)
def test_the_room_looks_as_in_its_photo(room: tuple[LitRoom, PointScene], lens: str):
    """A pixel off anywhere would be a pixel off at every edge, and a fisheye half of whose image is elsewhere."""
    lit, scene = room
    cameras = view(lens)
    frame, photo, geometry = (
        rasterize(scene, cameras, PLAIN),
        radiance_of(lit, cameras, 0),
        geometry_of(lit, cameras, 0),
    )
    assert frame.features is not None
    assert frame.hits is not None
    assert frame.depth is not None
    assert frame.depth_is_distance == (lens != "phone",)
    seen = (frame.hits[0][0, 0] > 0) & geometry.distance.isfinite()
    assert float(seen.float().mean()) > 0.8
    off = (frame.features[0][0] - photo.clamp(0, 1)).abs().mean(0)[seen]
    assert float(off.median()) < 0.008
    assert float(off.quantile(0.8)) < 0.06
    truth = geometry.depth if lens == "phone" else geometry.distance
    assert float(((frame.depth[0][0, 0] - truth).abs() / truth)[seen].median()) < 0.012
    moved = torch.roll(frame.features[0][0], 2, dims=2)  # else this test would say little
    assert float((moved - photo.clamp(0, 1)).abs().mean(0)[seen].median()) > 1.5 * float(off.median())


def test_a_fisheye_of_190_degrees_sees_to_the_rear():
    lens = view("fisheye").lens(0)
    rays = torch.nn.functional.normalize(lens.unproject(torch.tensor([[0.0, 48.3], [128, 48.3]]).double()), dim=1)
    angles = torch.rad2deg(torch.acos(rays[:, 2]))
    torch.testing.assert_close(angles, torch.full_like(angles, 95.0), rtol=0, atol=0.6)


def test_a_panorama_goes_round_and_round():
    """What passes straight behind leaves at one edge and comes in at the other."""
    turns = torch.linspace(-0.3, 0.3, 61)
    position = torch.stack([torch.sin(turns), 0.02 * turns.sign(), -torch.cos(turns)], dim=1)
    cameras = replace(view("panorama"), camera_from_world=torch.eye(4, dtype=torch.float64)[None])
    one = torch.ones(len(turns))
    geometry = Geometry(position, torch.zeros_like(position), one, 0 * one)
    views, rules = pack_views(cameras, torch.zeros(3, dtype=torch.float64)), Rules(80, 160, 1, 0.01, None)
    found = rasterize_points(geometry, one[:, None], views, rules)
    columns = torch.nonzero(found.counts.reshape(80, 160).sum(0))[:, 0].tolist()
    reach = math.ceil(0.3 / (2 * math.pi) * 160)
    assert columns == [*range(reach), *range(160 - reach, 160)]
    assert int(found.counts.sum()) == len(turns)


def test_the_whole_room_is_around(room: tuple[LitRoom, PointScene]):
    """From its middle every direction shows a point, the poles too."""
    _, scene = room
    eye = torch.tensor([2.42, 1.9, 1.4], dtype=torch.float64)
    pose = look_at(eye, eye + torch.tensor([1.0, 0, 0], dtype=torch.float64), (0.0, 0.0, 1.0))
    cameras = replace(view("panorama"), camera_from_world=pose[None])
    hits = rasterize(scene, cameras, PointRasterSettings(layers=4, gamma=None)).hits
    assert hits is not None
    assert float((hits[3] > 0).float().mean()) > 0.98


@pytest.mark.parametrize("lens", ["fisheye", "panorama"])
def test_a_displaced_camera_comes_home(room: tuple[LitRoom, PointScene], lens: str):
    """2 degrees and 2 % of the room's diagonal off; plain Adam on 6 numbers takes most of that back."""
    scene = scene_of(room[0], 25_000)
    true, chance = view(lens), torch.Generator().manual_seed(3)
    target = rasterize(scene, true, PointRasterSettings(layers=4)).features
    along, about = torch.nn.functional.normalize(torch.randn(2, 3, generator=chance).double(), dim=1)
    start = true.moved(torch.cat([0.02 * DIAGONAL * along, math.radians(2) * about])[None])
    increment = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([increment], betas=(0.9, 0.9))
    for step in range(40):
        optimizer.param_groups[0]["lr"] = 9e-3 * 0.03 ** (step / 40)
        optimizer.zero_grad()
        settings = PointRasterSettings(layers=4, ghosts=0.25)
        image = rasterize(scene, start.moved(increment), settings, torch.Generator().manual_seed(step)).features
        assert image is not None
        assert target is not None
        weighed(lens, image, target).backward()
        optimizer.step()
    before, after = (off(scene, true, end) for end in (start, start.moved(increment.detach())))
    assert before > 0.7
    assert after < 0.6 * before, f"{before:.2f} to {after:.2f} px"


def weighed(lens: str, image: tuple[torch.Tensor, ...], target: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Squared difference, by solid angle: towards its poles a panorama stretches little over many pixels."""
    total = torch.zeros(())
    for ours, theirs in zip(image, target, strict=True):
        height = ours.shape[2]
        latitude = math.pi * ((torch.arange(height) + 0.5) / height - 0.5)
        share = torch.cos(latitude) if lens == "panorama" else torch.ones(height)
        total = total + (((ours - theirs) ** 2) * share[:, None]).mean()
    return total


def off(scene: PointScene, one: Cameras, other: Cameras) -> float:
    """Median distance [pixels] between where points lie."""
    seen = [cameras.project(0, scene.position, scene.origin) for cameras in (one, other)]
    distance = (seen[0].pixels - seen[1].pixels).norm(dim=1)
    return float(distance[seen[0].inside & seen[1].inside].median())
