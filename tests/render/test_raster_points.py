"""Point scenes through real cameras: culling, environment, ghosts, batches, precision and exact gradients."""

import math

import pytest
import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import make_lens
from unrender.cameras.sensor import Sensor
from unrender.errors import ShapeError
from unrender.geometry.transforms import look_at
from unrender.kernels.sample_environment.reference import sample_environment
from unrender.render.rasterize.points import rasterize
from unrender.render.settings import PointRasterSettings
from unrender.scenes.points import PointScene

SIZE = (24, 32)
SHOW_ALL = PointRasterSettings(layers=3, gamma=None)


def make_cameras(views=1, model="SIMPLE_RADIAL", params=(30.0, 16.0, 12.0, 0.05), offset=0.0):
    eyes = [(0.3 * view + offset, 0.1, -3.0) for view in range(views)]
    poses = [look_at(torch.tensor(e), torch.tensor((offset, 0.0, 0.0)), torch.tensor((0.0, -1.0, 0.0))) for e in eyes]
    return Cameras(
        camera_from_world=torch.stack(poses).double(),
        camera_index=torch.zeros(views, dtype=torch.int64),
        lenses=(make_lens(model, SIZE[1], SIZE[0], params),),
        pixel_scale=torch.ones(views, 2, dtype=torch.float64),
        pixel_offset=torch.zeros(views, 2, dtype=torch.float64),
        sizes=torch.tensor(SIZE).expand(views, 2),
        sensor=Sensor.start(torch.full((views,), math.nan), cameras=1),
    )


def make_scene(position, normal=None, origin=(0.0, 0.0, 0.0), logarithmic=False, channels=3):
    number = len(position)
    generator = torch.Generator().manual_seed(5)
    return PointScene(
        origin=torch.tensor(origin, dtype=torch.float64),
        position=position.float(),
        normal=torch.zeros(number, 3) if normal is None else normal.float(),
        radius=torch.full((number,), 0.05),
        threshold=torch.rand(number, generator=generator),
        descriptors=torch.randn(number, channels, generator=generator),
        environment=torch.randn(channels, 8, 16, generator=generator),
        logarithmic=logarithmic,
    )


def random_points(generator, number=300):
    return torch.rand(number, 3, generator=generator) * 2 - 1


def test_points_land_where_the_camera_projects_them(generator):
    scene, cameras = make_scene(random_points(generator, 5)), make_cameras()
    frame = rasterize(scene, cameras, SHOW_ALL)
    pixels = cameras.project(0, scene.position.double(), scene.origin).pixels
    assert frame.hits is not None
    for level, hits in enumerate(frame.hits):
        expected = torch.zeros_like(hits[0, 0])
        for u, v in pixels.tolist():
            expected[int(v // 2**level), int(u // 2**level)] += 1
        assert bool(((hits[0, 0] > 0) == (expected > 0)).all())


def test_points_facing_away_are_culled_and_zero_normals_are_not():
    position = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [-0.5, 0.0, 0.0]])
    normal = torch.tensor([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    frame = rasterize(make_scene(position, normal), make_cameras(), SHOW_ALL)
    assert frame.hits is not None
    assert int(frame.hits[0].sum()) == 2


@pytest.mark.parametrize("logarithmic", [False, True])
def test_environment_fills_exactly_the_empty_pixels(generator, logarithmic):
    scene, cameras = make_scene(random_points(generator, 40), logarithmic=logarithmic), make_cameras()
    frame = rasterize(scene, cameras, SHOW_ALL)
    assert frame.features is not None
    assert frame.hits is not None
    texture = scene.environment.exp() if logarithmic else scene.environment
    for level, (features, hits) in enumerate(zip(frame.features, frame.hits, strict=True)):
        sky = sample_environment(texture, cameras.directions(0, level).reshape(-1, 3)).T.reshape(features[0].shape)
        empty = hits[0, 0] == 0
        torch.testing.assert_close(features[0][:, empty], sky[:, empty])
        assert not bool(torch.isclose(features[0][:, ~empty], sky[:, ~empty]).all())


def test_logarithmic_descriptors_are_averaged_in_linear_space():
    position = torch.zeros(2, 3)
    scene = make_scene(position, logarithmic=True)
    frame = rasterize(scene, make_cameras(), SHOW_ALL)
    assert frame.features is not None
    assert frame.hits is not None
    features = frame.features[0][0][:, frame.hits[0][0, 0] == 2]
    torch.testing.assert_close(features[:, 0], scene.descriptors.exp().mean(0))


def test_environment_has_no_seam():
    """A smooth function of direction stays smooth across u = 0 = 1, and the poles are reached."""
    from unrender.geometry.equirect import texel_centers

    texture = texel_centers(32, 64)[..., 2].clone()[None]  # value = z component: cos of the azimuth
    azimuth = torch.linspace(-math.pi - 0.3, -math.pi + 0.3, 201)
    directions = torch.stack([azimuth.sin(), torch.zeros(201), azimuth.cos()], dim=1)
    samples = sample_environment(texture, directions)[:, 0]
    torch.testing.assert_close(samples, azimuth.cos(), atol=5e-3, rtol=0)
    poles = sample_environment(texture, torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]]))
    assert float(poles.abs().max()) < 0.1


def test_survey_coordinates_keep_their_precision(generator):
    """The same scene a thousand kilometres away gives the same pyramid."""
    position = random_points(generator)
    near = rasterize(make_scene(position), make_cameras(), SHOW_ALL)
    far = rasterize(make_scene(position, origin=(1e6, 0.0, 0.0)), make_cameras(offset=1e6), SHOW_ALL)
    assert near.hits is not None
    assert far.hits is not None
    differing = (near.hits[0] != far.hits[0]).double().mean()
    assert float(differing) < 0.01


def test_a_batch_equals_its_views(generator):
    scene, cameras = make_scene(random_points(generator)), make_cameras(views=3)
    batch = rasterize(scene, cameras, SHOW_ALL)
    for view in range(3):
        alone = rasterize(scene, cameras.select([view]), SHOW_ALL)
        assert batch.features is not None
        assert alone.features is not None
        for together, single in zip(batch.features, alone.features, strict=True):
            assert torch.equal(together[view], single[0])


def test_ghosts_are_left_out_per_view_and_repeat_with_the_seed(generator):
    scene, cameras = make_scene(random_points(generator, 3000)), make_cameras(views=2)
    settings = PointRasterSettings(layers=1, gamma=None, alpha=10.0, ghosts=0.25)

    def hits(seed):
        frame = rasterize(scene, cameras, settings, torch.Generator().manual_seed(seed))
        assert frame.hits is not None
        return frame.hits[0]

    everything = rasterize(scene, cameras, PointRasterSettings(layers=1, gamma=None, alpha=10.0))
    assert everything.hits is not None
    share = float(hits(1).sum()) / float(everything.hits[0].sum())
    assert share == pytest.approx(0.75, abs=0.03)
    assert torch.equal(hits(1), hits(1))
    assert not torch.equal(hits(1), hits(2))


def test_gradients_to_descriptors_and_environment_are_exact(generator):
    scene = make_scene(random_points(generator, 20), logarithmic=True)
    cameras = make_cameras()

    def features(descriptors, environment):
        from dataclasses import replace

        moved = replace(scene, descriptors=descriptors, environment=environment)
        frame = rasterize(moved, cameras, PointRasterSettings(layers=2))
        assert frame.features is not None
        return torch.cat([layer.flatten() for layer in frame.features])

    inputs = (scene.descriptors.double().requires_grad_(), scene.environment.double().requires_grad_())
    assert torch.autograd.gradcheck(features, inputs, fast_mode=True)


def test_views_of_different_size_are_refused(generator):
    from dataclasses import replace

    cameras = make_cameras(views=2)
    mixed = replace(cameras, sizes=torch.tensor([[24, 32], [12, 16]]))
    with pytest.raises(ShapeError, match="differ in size"):
        rasterize(make_scene(random_points(generator)), mixed, SHOW_ALL)
