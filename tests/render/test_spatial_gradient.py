"""The derivative that users get: the chain through every lens, what it costs, and whether cameras come home by it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import LENSES, make_lens
from unrender.cameras.sensor import Sensor
from unrender.datasets.synthetic import light
from unrender.datasets.synthetic.room import build_room
from unrender.datasets.synthetic.scanner import DIAGONAL, scan
from unrender.datasets.synthetic.viewpoints import walk
from unrender.errors import SettingsError
from unrender.geometry.transforms import look_at
from unrender.initialize.densify import neighbourhood_radius
from unrender.kernels.rasterize_points import moving as points_moving
from unrender.render.rasterize import points as raster
from unrender.render.rasterize.points import rasterize
from unrender.render.settings import PointRasterSettings
from unrender.scenes.points import PointScene

SIZE = (48, 64)
PARAMS = {
    "SIMPLE_PINHOLE": [60.0, 31.5, 24.5],
    "PINHOLE": [60.0, 63.0, 31.5, 24.5],
    "SIMPLE_RADIAL": [60.0, 31.5, 24.5, -0.12],
    "RADIAL": [60.0, 31.5, 24.5, -0.12, 0.03],
    "OPENCV": [60.0, 63.0, 31.5, 24.5, -0.12, 0.03, 0.01, -0.02],
}
RENDERED = PointRasterSettings(layers=3, gamma=None, spatial="rendered")


def camera(model="OPENCV", eye=(0.2, 0.1, -3.0)):
    return Cameras(
        camera_from_world=look_at(torch.tensor([eye]).double(), (0.1, 0.0, 0.0), (0.05, -1.0, 0.0)),
        camera_index=torch.zeros(1, dtype=torch.int64),
        lenses=(make_lens(model, SIZE[1], SIZE[0], PARAMS[model]),),
        pixel_scale=torch.tensor([[1.1, 0.9]]).double(),
        pixel_offset=torch.tensor([[2.0, -1.0]]).double(),
        sizes=torch.tensor([SIZE]),
        sensor=Sensor.start(torch.full((1,), math.nan), cameras=1),
    )


def texture(position):
    x, y, z = position.unbind(-1)
    waves = [torch.sin(7 * x + 3 * z), torch.cos(5 * y + 4 * x), torch.sin(6 * (x + y - z))]
    return 1 + 0.5 * torch.stack(waves, -1)


def scene_of(position, origin=(0.0, 0.0, 0.0)):
    chance, number = torch.Generator().manual_seed(5), len(position)
    return PointScene(
        origin=torch.tensor(origin).double(),
        position=position.float(),
        normal=torch.zeros(number, 3),
        radius=torch.full((number,), 0.05),
        threshold=torch.rand(number, generator=chance),
        descriptors=texture(position.float()),
        environment=torch.full((3, 8, 16), 1.0),
    )


def two_walls(number=6_000):
    """A painted wall, and a slanted one with a rim before it."""
    chance = torch.Generator().manual_seed(2)
    a, b = 5 * torch.rand(number, 2, generator=chance) - 2.5, 1.2 * torch.rand(number // 4, 2, generator=chance) - 0.6
    back = torch.cat([a, 1 + 0.1 * torch.sin(2 * a[:, :1])], 1)
    return scene_of(torch.cat([back, torch.stack([b[:, 0], b[:, 1], b[:, 0] - 0.5], 1)]))


@pytest.fixture
def cloud(generator):
    return scene_of(2 * torch.rand(300, 3, generator=generator) - 1, origin=(0.1, -0.05, 0.2))


def features(scene, cameras, settings, seed=0):
    frame = rasterize(scene, cameras, settings, torch.Generator().manual_seed(seed))
    assert frame.features is not None
    return frame.features


def power(layers, exponent):
    return torch.stack([(layer**exponent).sum() for layer in layers]).sum()


def test_without_a_spatial_leaf_nothing_is_paid(cloud, monkeypatch):
    """Nobody asks what moves."""
    monkeypatch.setattr(raster, "let_points_move", None)
    learned = replace(cloud, descriptors=cloud.descriptors.clone().requires_grad_())
    power(features(learned, camera(), PointRasterSettings(layers=3, ghosts=0.25)), 2).backward()
    assert float(learned.descriptors.grad.abs().sum()) > 0


@pytest.mark.parametrize("spatial", ["ghosts", "rendered", "both"])
def test_a_spatial_leaf_changes_neither_image_nor_other_gradients(cloud, spatial):
    settings, results = PointRasterSettings(layers=3, ghosts=0.25, spatial=spatial), []
    for moving in (False, True):
        scene = replace(
            cloud,
            descriptors=cloud.descriptors.clone().requires_grad_(),
            environment=cloud.environment.clone().requires_grad_(),
            position=cloud.position.clone().requires_grad_(moving),
        )
        layers = features(scene, camera(), settings)
        power(layers, 3).backward()
        results.append([*layers, scene.descriptors.grad, scene.environment.grad])
        assert (scene.position.grad is not None) == moving
    assert all(torch.equal(without, with_it) for without, with_it in zip(*results, strict=True))


def hat(vector):
    x, y, z = vector
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def colmap_pixels(model, p, world, pose, xi, scale, offset):
    """COLMAP's formulas in complex numbers, independent of the code under test; the pose increment to first order."""
    x, y, z = ((np.eye(3) + hat(xi[3:])) @ (pose[:3, :3] @ world.T + pose[:3, 3:]) + xi[:3, None])[:3]
    x, y = x / z, y / z
    names = dict(zip(LENSES[model].parameter_names, p, strict=True))
    k1, k2 = names.get("k1", names.get("k", 0)), names.get("k2", 0)
    p1, p2 = names.get("p1", 0), names.get("p2", 0)
    s = x * x + y * y
    u = x * (1 + k1 * s + k2 * s * s) + 2 * p1 * x * y + p2 * (s + 2 * x * x)
    v = y * (1 + k1 * s + k2 * s * s) + 2 * p2 * x * y + p1 * (s + 2 * y * y)
    fx, fy = names.get("fx", names.get("f")), names.get("fy", names.get("f"))
    return np.stack([scale[0] * (fx * u + names["cx"]) + offset[0], scale[1] * (fy * v + names["cy"]) + offset[1]], 1)


def complex_step(function, at, weights):
    """Gradient of sum(weights function(at)), exact to rounding."""
    gradient = np.zeros(at.shape)
    for index in np.ndindex(at.shape):
        step = at.astype(complex)
        step[index] += 1e-30j
        gradient[index] = (weights * function(step)).imag.sum() / 1e-30
    return gradient


@pytest.mark.parametrize("model", list(PARAMS))
def test_the_chain_through_every_lens_equals_a_complex_step(cloud, model, monkeypatch):
    """A known derivative by pixels goes in; what arrives at positions, pose and lens is compared."""
    chance, given = torch.Generator().manual_seed(3), []

    def with_known_derivative(image, positions, movers, *_rest):
        given.append(torch.randn(positions.shape, generator=chance, dtype=torch.float64))
        return image + (given[-1] * positions).sum().to(image)

    monkeypatch.setattr(points_moving, "let_move", with_known_derivative)
    monkeypatch.setenv("UNRENDER_KERNELS", "reference")
    few = {name: getattr(cloud, name)[:12] for name in ("position", "normal", "radius", "threshold", "descriptors")}
    scene = replace(cloud, **{**few, "position": few["position"].clone().requires_grad_()})
    plain = camera(model)
    xi = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    params = plain.lenses[0].params.clone().requires_grad_()
    layers = features(scene, plain.moved(xi).with_lenses([params]), RENDERED)
    ours = torch.autograd.grad(layers[0][0, 0, 0, 0], (xi, params, scene.position))
    world = scene.position.detach().double().numpy() + scene.origin.numpy()
    pose, weights = plain.camera_from_world[0].numpy(), given[0].numpy()
    scale, offset = plain.pixel_scale[0].numpy(), plain.pixel_offset[0].numpy()
    known = params.detach().numpy()
    by_pose = complex_step(lambda s: colmap_pixels(model, known, world, pose, s, scale, offset), np.zeros(6), weights)
    by_lens = complex_step(lambda s: colmap_pixels(model, s, world, pose, np.zeros(6), scale, offset), known, weights)
    by_place = complex_step(lambda s: colmap_pixels(model, known, s, pose, np.zeros(6), scale, offset), world, weights)
    assert len(weights) == 12
    np.testing.assert_allclose(ours[0][0].numpy(), by_pose, rtol=1e-11, atol=1e-9)
    np.testing.assert_allclose(ours[1].numpy(), by_lens, rtol=1e-11, atol=1e-9)
    np.testing.assert_allclose(ours[2].numpy(), by_place, rtol=1e-6, atol=1e-5)


def position_gradient(scene, settings):
    moving = replace(scene, position=scene.position.clone().requires_grad_())
    layers = features(moving, camera(), settings)
    (gradient,) = torch.autograd.grad(power(layers, 2), moving.position)
    return gradient


@pytest.mark.parametrize("kernels", ["native", "reference"])
def test_ghosts_and_rendered_points_make_both(cloud, kernels, monkeypatch):
    monkeypatch.setenv("UNRENDER_KERNELS", kernels)
    settings = PointRasterSettings(layers=3, ghosts=0.25)
    ghosts, rendered, both = (
        position_gradient(cloud, replace(settings, spatial=name)) for name in ("ghosts", "rendered", "both")
    )
    assert not bool(((ghosts != 0).any(1) & (rendered != 0).any(1)).any())
    assert bool((ghosts != 0).any())
    assert torch.equal(ghosts + rendered, both)


@pytest.mark.parametrize("kernels", ["native", "reference"])
def test_points_that_face_away_get_nothing(cloud, kernels, monkeypatch):
    monkeypatch.setenv("UNRENDER_KERNELS", kernels)
    facing = torch.tensor([0.0, 0.0, 1.0]).expand(len(cloud), 3)
    assert not bool(position_gradient(replace(cloud, normal=facing), RENDERED).any())


def test_what_cannot_be_is_refused(cloud):
    moving = replace(cloud, position=cloud.position.clone().requires_grad_())
    with pytest.raises(SettingsError, match="comes from ghosts, and there are none"):
        rasterize(moving, camera(), PointRasterSettings())
    with torch.no_grad():
        rasterize(moving, camera(), PointRasterSettings())
    assert not features(moving, camera(), PointRasterSettings(spatial="none"))[0].requires_grad
    with pytest.raises(SettingsError, match="unknown spatial, expected one of"):
        PointRasterSettings(spatial="all")  # pyright: ignore[reportArgumentType]
    with pytest.raises(SettingsError, match="unknown moves"):
        PointRasterSettings(moves="up")  # pyright: ignore[reportArgumentType]
    with pytest.raises(SettingsError, match="slope"):
        PointRasterSettings(slope=-1.0)


def loss(seen, target):
    return torch.stack([((a - b) ** 2).mean() for a, b in zip(seen, target, strict=True)]).sum()


def displacement(scene, true, other):
    here, there = (view.project(0, scene.position.double(), scene.origin) for view in (true, other))
    inside = here.inside & ((here.pixels >= 0) & (here.pixels < torch.tensor([SIZE[1], SIZE[0]]))).all(1)
    return float((here.pixels - there.pixels)[inside].norm(dim=1).mean())


def descents(scene, settings, trials):
    """In how many random shifts by 0.5 to 4 pixels the negative gradient of the pose points back."""
    chance, true, right = torch.Generator().manual_seed(4), camera(), 0
    target = features(scene, true, PointRasterSettings(layers=4))
    for trial in range(trials):
        shift = torch.nn.functional.pad(torch.randn(1, 2, generator=chance, dtype=torch.float64), (0, 4))
        wanted = 0.5 + 3.5 * float(torch.rand((), generator=chance))
        shift = 0.01 * shift * (wanted / displacement(scene, true, true.moved(0.01 * shift)))
        increment = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
        seen = features(scene, true.moved(shift).moved(increment), settings, trial)
        (gradient,) = torch.autograd.grad(loss(seen, target), increment)
        right += bool((gradient * shift).sum() > 0)
    return right


@pytest.mark.parametrize(
    ("moves", "spatial"),
    [("together", "ghosts"), ("together", "rendered"), ("alone", "ghosts"), ("replace", "ghosts")],
)
def test_a_shifted_camera_gets_a_descent_direction(moves, spatial):
    """Across two textured walls: in at least 95 % of the shifts."""
    settings = PointRasterSettings(layers=4, ghosts=0.25 if spatial == "ghosts" else 0, spatial=spatial, moves=moves)
    assert descents(two_walls(), settings, 40) >= 38


@pytest.mark.parametrize("spatial", ["ghosts", "rendered"])
def test_a_silhouette_alone_gets_a_descent_direction(spatial):
    """A patch of one colour before an environment of another: nothing but its rim says where it is."""
    place = 1.4 * torch.rand(4000, 2, generator=torch.Generator().manual_seed(0)) - 0.7
    scene = scene_of(torch.nn.functional.pad(place, (0, 1)))
    scene = replace(scene, descriptors=torch.tensor([[2.0, 0.5, 1.5]]).repeat(4000, 1))
    settings = PointRasterSettings(layers=4, ghosts=0.25 if spatial == "ghosts" else 0, spatial=spatial)
    assert descents(scene, settings, 20) >= 19


def test_a_point_that_is_off_comes_back():
    """One patch of the wall displaced by 3 pixels is pulled back as a whole."""
    scene, true = two_walls(), camera()
    target = features(scene, true, PointRasterSettings(layers=4))
    patch = (scene.position[:, :2].abs() < 0.6).all(1) & (scene.position[:, 2] < 0.3)
    offset = torch.tensor([0.12, -0.08, 0.0])
    position = (scene.position + offset * patch[:, None]).requires_grad_()
    settings = PointRasterSettings(layers=4, ghosts=0.25)
    seen = features(replace(scene, position=position), true, settings)
    (gradient,) = torch.autograd.grad(loss(seen, target), position)
    assert float((gradient[patch] * offset).sum()) > 0


@pytest.fixture(scope="module")
def room():
    """A scan of the synthetic room, roughly lit, that wears the radiance it saw; and three views of it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, few in (("WINDOW_CELLS", (2, 1)), ("LAMP_SAMPLES", 1), ("BOUNCE_RAYS", 4)):
            patch.setattr(light, name, few)
        cloud = scan(light.bake(build_room(), 0.5), 25_000, 0.0, 1.0)
    assert cloud.colors is not None
    assert cloud.normals is not None
    center = cloud.positions.mean(0)
    scene = replace(
        scene_of(cloud.positions - center, origin=center.tolist()),
        normal=cloud.normals,
        radius=neighbourhood_radius(cloud.positions),
        descriptors=cloud.colors ** (1 / 0.45),
    )
    return scene, walk(3, SIZE[1], SIZE[0])


@pytest.mark.parametrize("view", [0, 1, 2])
def test_a_displaced_camera_comes_home(room, view):
    """The synthetic room, 1 degree and 1 % of its diagonal: plain Adam on 6 numbers ends well within half a pixel."""
    scene, cameras = room
    true, chance = cameras.select([view]), torch.Generator().manual_seed(view)
    target = features(scene, true, PointRasterSettings(layers=4))
    along, about = torch.nn.functional.normalize(torch.randn(2, 3, generator=chance).double(), dim=1)
    start = true.moved(torch.cat([0.01 * DIAGONAL * along, math.radians(1) * about])[None])
    increment = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([increment], betas=(0.9, 0.9))
    for step in range(80):
        optimizer.param_groups[0]["lr"] = 6e-3 * 0.03 ** (step / 80)
        optimizer.zero_grad()
        settings = PointRasterSettings(layers=4, ghosts=0.25)
        loss(features(scene, start.moved(increment), settings, step), target).backward()
        optimizer.step()
    before, after = (displacement(scene, true, end) for end in (start, start.moved(increment.detach())))
    assert before > 0.5
    assert after < min(0.4, 0.5 * before), f"{before:.2f} to {after:.2f} px"
