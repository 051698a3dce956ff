from dataclasses import replace

import pytest
import torch

from unrender.cameras.camera import pixel_centers
from unrender.cameras.lens import make_lens
from unrender.errors import ShapeError
from unrender.geometry.transforms import rigid, transform


@pytest.fixture
def points(generator):
    return torch.randn(200, 3, dtype=torch.float64, generator=generator)


def test_projection_is_pose_then_lens_then_pixel_affine(cameras, points):
    scaled = cameras.resize(torch.tensor([[0.5, 0.25]]), cameras.sizes)
    for view in range(len(cameras)):
        camera_points = transform(cameras.camera_from_world[view], points)
        photo_pixels, inside = cameras.lens(view).project(camera_points)
        seen = scaled.project(view, points)
        assert torch.allclose(seen.pixels, photo_pixels * torch.tensor([0.5, 0.25]))
        assert torch.allclose(seen.depth, camera_points[:, 2])
        assert torch.equal(seen.inside, inside)
        assert torch.allclose(seen.magnification, 0.5 * cameras.lens(view).magnification(camera_points))


def test_crops_of_crops_shift_and_enlarge_pixels(cameras, points):
    first, second = torch.tensor([[10.0, 5.0]]), torch.tensor([[3.5, 2.0]])
    zoom = torch.full((len(cameras),), 1.5)
    cropped = cameras.crop(first, (30, 40)).crop(second, (10, 12), zoom)
    assert cropped.size == (10, 12)
    plain, seen = cameras.project(1, points), cropped.project(1, points)
    assert torch.allclose(seen.pixels, 1.5 * (plain.pixels - first) - second)
    assert torch.allclose(seen.magnification, 1.5 * plain.magnification)
    assert torch.equal(seen.depth, plain.depth)


def test_half_size_pixels_cover_two_by_two(cameras):
    """A point at the corner shared by four fine pixels is at the centre of the coarse one."""
    halved = cameras.resize(torch.full((1, 2), 0.5), cameras.sizes // 2)
    assert torch.allclose(halved.directions(0), cameras.directions(0, level=1))


def test_directions_and_project_invert_each_other(cameras):
    cropped = cameras.crop(torch.tensor([[7.0, 4.0]]), (33, 41), torch.full((4,), 1.3))
    for view in range(2):
        for level in (0, 1, 3):
            directions = cropped.directions(view, level)
            height, width = -(-33 // 2**level), -(-41 // 2**level)
            assert directions.shape == (height, width, 3)
            assert torch.allclose(directions.norm(dim=-1), torch.ones(height, width))
            ahead = cropped.centers[view] + 2.5 * directions.double().reshape(-1, 3)
            pixels = cropped.project(view, ahead).pixels
            assert torch.allclose(pixels, pixel_centers(height, width).reshape(-1, 2).double() * 2**level, atol=1e-3)


def test_rays_go_through_the_pixels_asked_for(cameras):
    pixels = torch.tensor([[0.0, 0.0], [31.7, 12.3], [64.0, 48.0]])
    ahead = cameras.centers[0] + cameras.rays(0, pixels).double()
    assert torch.allclose(cameras.project(0, ahead).pixels, pixels.double(), atol=1e-4)


def test_points_far_from_the_world_s_origin_keep_their_precision(cameras, points):
    origin = torch.tensor([1e6, -2e6, 3e6], dtype=torch.float64)
    near = cameras.project(0, points)
    rotation, translation = cameras.camera_from_world[:, :3, :3], cameras.camera_from_world[:, :3, 3]
    moved = replace(cameras, camera_from_world=rigid(rotation, translation - rotation @ origin))
    far = moved.project(0, points.float(), origin)
    ahead = near.inside & (near.depth > 0.5)
    assert far.pixels.dtype == torch.float32
    assert (far.pixels - near.pixels)[ahead].abs().max() < 1e-3
    naive = moved.project(0, (points + origin).float())
    assert (naive.pixels - near.pixels)[ahead].abs().max() > 1, "what the origin is for"


def test_select_takes_views_in_order_and_is_differentiable(cameras):
    exposure = cameras.sensor.exposure.clone().requires_grad_()
    poses = cameras.camera_from_world.clone().requires_grad_()
    whole = replace(cameras, camera_from_world=poses, sensor=replace(cameras.sensor, exposure=exposure))
    chosen = whole.select([3, 1, 3])
    assert len(chosen) == len(chosen.sensor) == 3
    assert torch.equal(chosen.centers, whole.centers[[3, 1, 3]])
    assert chosen.camera_index.tolist() == [1, 1, 1]
    (chosen.sensor.exposure.sum() + chosen.camera_from_world[:, 0, 3].sum()).backward()
    assert exposure.grad.tolist() == [0, 1, 0, 2]
    assert poses.grad[:, 0, 3].tolist() == [0, 1, 0, 2]


def test_centers_are_where_the_cameras_stand(cameras):
    standing = transform(cameras.camera_from_world, cameras.centers[:, None])
    assert torch.allclose(standing, torch.zeros(4, 1, 3, dtype=torch.float64), atol=1e-14)


def test_sensor_coordinates_are_one_at_the_corners_of_the_photo(cameras):
    coordinates = cameras.sensor_coordinates()
    assert coordinates.shape == (4, 2, 48, 64)
    assert torch.allclose(coordinates, -coordinates.flip(2, 3), atol=1e-6)
    half_pixel = torch.tensor([0.5, 0.5]) / torch.tensor([32.0, 24.0]).norm()
    corner = coordinates[0, :, 0, 0] - half_pixel
    assert float(corner.norm()) == pytest.approx(1)
    assert float(corner[0] / corner[1]) == pytest.approx(64 / 48)


def test_sensor_coordinates_follow_crops_and_sizes(cameras):
    whole = cameras.sensor_coordinates()
    window = cameras.crop(torch.tensor([[6.0, 8.0]]), (16, 20)).sensor_coordinates()
    assert torch.allclose(window, whole[:, :, 8:24, 6:26], atol=1e-6)
    halved = cameras.resize(torch.full((1, 2), 0.5), cameras.sizes // 2).sensor_coordinates()
    assert torch.allclose(halved, torch.nn.functional.avg_pool2d(whole, 2), atol=1e-6)


def test_recording_a_crop_is_cropping_the_recording(cameras, generator):
    vignette = torch.tensor([[-0.3, 0.1, -0.1], [-0.2, 0.0, 0.0]])
    seen = replace(cameras, sensor=replace(cameras.sensor, vignette=vignette))
    radiance = torch.rand(4, 3, 48, 64, generator=generator)
    window = seen.crop(torch.tensor([[6.0, 8.0]]), (16, 20))
    assert torch.allclose(window.record(radiance[..., 8:24, 6:26]), seen.record(radiance)[..., 8:24, 6:26], atol=1e-6)
    assert torch.allclose(seen.record(seen.radiance(seen.record(radiance))), seen.record(radiance), atol=1e-6)


def test_size_is_shared_or_refused(cameras):
    assert cameras.size == (48, 64)
    mixed = replace(cameras, sizes=torch.tensor([[48, 64], [48, 64], [24, 32], [48, 64]]))
    with pytest.raises(ShapeError, match="differ in size"):
        _ = mixed.size


def test_to_keeps_everything(cameras):
    moved = cameras.to("cpu")
    assert torch.equal(moved.camera_from_world, cameras.camera_from_world)
    assert [type(lens) for lens in moved.lenses] == [type(lens) for lens in cameras.lenses]
    assert len(moved.sensor) == 4


def test_parameters_have_unique_dotted_names(cameras):
    names = [parameter.name for parameter in cameras.parameters()]
    assert len(set(names)) == len(names)
    assert {"cameras.exposure", "cameras.white_point", "cameras.vignette", "cameras.response"} <= set(names)
    assert all(name.startswith("cameras.") for name in names)


def test_the_real_photo_s_points_land_where_colmap_puts_them(plush, generator):
    pycolmap = pytest.importorskip("pycolmap")
    camera = pycolmap.Reconstruction(plush / "sparse").cameras[1]
    lens = make_lens(camera.model.name, camera.width, camera.height, camera.params)
    extent = torch.tensor([camera.width, camera.height], dtype=torch.float64)
    pixels = torch.rand(500, 2, dtype=torch.float64, generator=generator) * extent
    rays = lens.unproject(pixels)
    theirs = torch.from_numpy(camera.cam_from_img(pixels.numpy()))
    assert (rays[:, :2] - theirs).abs().max() < 1e-9


def test_cameras_without_an_anchor_view_follow_the_others(cameras):
    """One camera per photo: those of held-out photos are never trained, and take the mean of the others."""
    sensor = cameras.sensor
    last = cameras.camera_index == cameras.camera_index.max()
    held_out = replace(cameras, sensor=replace(sensor, anchor=~last))
    with torch.no_grad():
        held_out.sensor.vignette[:-1] = -0.3
        held_out.sensor.response_raw[:-1] += torch.linspace(0, 1, 24)
    for parameter in held_out.parameters():
        if parameter.hold is not None:
            parameter.hold()
    torch.testing.assert_close(held_out.sensor.vignette[-1], held_out.sensor.vignette[:-1].mean(0))
    torch.testing.assert_close(held_out.sensor.response_raw[-1], held_out.sensor.response_raw[:-1].mean(0))


def test_zero_increments_and_equal_parameters_are_the_same_cameras(cameras):
    again = cameras.moved(torch.zeros(4, 6, dtype=torch.float64)).with_lenses([lens.params for lens in cameras.lenses])
    assert torch.equal(again.camera_from_world, cameras.camera_from_world)
    for lens, plain in zip(again.lenses, cameras.lenses, strict=True):
        assert type(lens) is type(plain)
        assert torch.equal(lens.params, plain.params)


def test_an_increment_is_made_in_camera_axes(cameras):
    """Moved by 1 along the optical axis every point is 1 deeper; turned about it, a point on it stays where it was."""
    point = torch.tensor([[0.3, 0.2, 0.5]]).double()
    for view in range(4):
        ahead = cameras.moved(torch.tensor([0.0, 0, 1, 0, 0, 0]).double().expand(4, 6))
        torch.testing.assert_close(ahead.project(view, point).depth, cameras.project(view, point).depth + 1)
        axis = cameras.centers[view] + 2 * cameras.camera_from_world[view, 2, :3]
        turned = cameras.moved(torch.tensor([0.0, 0, 0, 0, 0, 0.1]).double().expand(4, 6))
        torch.testing.assert_close(turned.project(view, axis[None]).pixels, cameras.project(view, axis[None]).pixels)
        assert not torch.allclose(turned.project(view, point).pixels, cameras.project(view, point).pixels)


def test_increments_and_lens_parameters_can_be_fitted(cameras):
    """A step down the gradient of the distance brings pixels nearer, for poses and for lenses; both after a step."""
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0)).double() - 0.5
    wanted = cameras.project(0, points).pixels
    xi = torch.full((4, 6), 0.01, dtype=torch.float64, requires_grad=True)
    params = [lens.params.clone().requires_grad_() for lens in cameras.lenses]
    with torch.no_grad():
        params[0][0] += 2
    distances, by_pose = [], xi
    for _ in range(2):
        seen = cameras.moved(xi).with_lenses(params).project(0, points).pixels
        distances.append(((seen - wanted) ** 2).mean())
        by_pose, by_lens = torch.autograd.grad(distances[-1], (xi, params[0]))
        with torch.no_grad():
            xi -= 1e-4 * by_pose
            params[0] -= 1e-4 * by_lens / (1 + by_lens.abs())
    assert distances[1] < distances[0]
    assert not bool(by_pose[1:].any())


def test_with_lenses_wants_one_per_camera(cameras):
    with pytest.raises(ShapeError, match="one per camera"):
        cameras.with_lenses([cameras.lenses[0].params])


def test_wide_lenses_look_behind_and_measure_distance(cameras):
    wide = make_lens("FISHEYE", 64, 48, [14, 14.5, 32, 24])
    views = replace(cameras, lenses=(wide, wide)).resize(torch.full((4, 2), 0.5), torch.tensor([[24, 32]] * 4))
    points = 9 * torch.randn(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    seen = views.project(0, points)
    assert bool(seen.inside.all())
    torch.testing.assert_close(seen.depth, (points - views.centers[0]).norm(dim=1))
    rays = views.rays(0, seen.pixels)
    found = views.centers[0] + rays.double() * seen.depth[:, None]
    torch.testing.assert_close(found, points, atol=1e-5, rtol=0)
    assert views.directions(0).shape == (24, 32, 3)
    axis = views.camera_from_world[0, 2, :3]
    assert float((views.directions(0).double() @ axis).min()) < -0.1, "the corners look behind"
