import math
import time

import pytest
import torch

from unrender.cameras.lens import LENSES, make_lens
from unrender.errors import CaptureError

WIDTH, HEIGHT = 640, 480
PARAMS = {
    "SIMPLE_PINHOLE": [[500, 321.5, 239]],
    "PINHOLE": [[500, 510, 321.5, 239]],
    "SIMPLE_RADIAL": [[500, 321.5, 239, -0.12], [500, 321.5, 239, 0.3]],
    "RADIAL": [[500, 321.5, 239, -0.12, 0.03], [500, 321.5, 239, -0.3, 0.05], [500, 320, 240, 0.2, -0.4]],
    "OPENCV": [[500, 510, 321.5, 239, -0.12, 0.03, 0.002, -0.003], [450, 440, 300, 250, 0.1, -0.1, -0.004, 0.001]],
}
CASES = [(model, params) for model, several in PARAMS.items() for params in several]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}{case[1][4:]}")
def lens(request):
    model, params = request.param
    return make_lens(model, WIDTH, HEIGHT, params)


def generator():
    return torch.Generator().manual_seed(7)


def random_pixels(count=2000, margin=0.0):
    size = torch.tensor([WIDTH, HEIGHT], dtype=torch.float64)
    return (torch.rand(count, 2, dtype=torch.float64, generator=generator()) * (1 + 2 * margin) - margin) * size


def random_points(lens, count=300):
    """Points at depths 0.5 to 5 in and around the photo, within the valid region."""
    rays = lens.unproject(random_pixels(count, margin=0.2))
    slopes = rays[:, :2] * (0.98 * lens.valid_radius / rays[:, :2].norm(dim=1, keepdim=True)).clamp(max=1)
    depth = 0.5 + 4.5 * torch.rand(count, 1, dtype=torch.float64, generator=generator())
    return torch.cat([slopes * depth, depth], dim=1)


def test_every_model_has_a_case():
    assert set(PARAMS) == set(LENSES)


def test_projection_agrees_with_colmap(lens):
    pycolmap = pytest.importorskip("pycolmap")
    camera = pycolmap.Camera(model=lens.model, width=WIDTH, height=HEIGHT, params=lens.params.numpy())
    assert tuple(camera.params_info.replace(" ", "").split(",")) == lens.parameter_names
    points = random_points(lens)
    pixels, inside = lens.project(points)
    theirs = torch.from_numpy(camera.img_from_cam(points.numpy()))
    assert bool(inside.all())
    assert (pixels - theirs).abs().max() < 1e-9


def test_unproject_inverts_project_over_the_photo_and_around_it(lens):
    reachable = 0.95 * _reach(lens)
    pixels = random_pixels(margin=0.2)
    fx, fy, cx, cy = lens.intrinsics
    pixels = pixels[torch.hypot((pixels[:, 0] - cx) / fx, (pixels[:, 1] - cy) / fy) < reachable]
    assert len(pixels) > 1000
    rays = lens.unproject(pixels)
    back, inside = lens.project(rays)
    assert bool(inside.all())
    assert (back - pixels).abs().max() < 1e-9
    assert bool((rays[:, 2] == 1).all())


def _reach(lens):
    """Image radius at focal length 1 of the rim of the valid region."""
    if math.isinf(lens.valid_radius):
        return math.inf
    rim = torch.tensor([lens.valid_radius], dtype=torch.float64)
    return float(lens.distort(rim, torch.zeros(1, dtype=torch.float64))[0])


def test_project_inverts_unproject_to_the_rim():
    lens = make_lens("RADIAL", WIDTH, HEIGHT, [500, 320, 240, -0.3, 0.01])
    radius = lens.valid_radius * torch.linspace(0, 1, 1001, dtype=torch.float64)
    points = torch.stack([0.6 * radius, -0.8 * radius, torch.ones_like(radius)], dim=1)
    pixels = lens.project(points)[0]
    assert (lens.project(lens.unproject(pixels))[0] - pixels).abs().max() < 1e-9


def test_unproject_ends_where_newton_s_method_goes_to_and_fro():
    """Around the bend of this lens two radii send Newton's method from one to the other, inside any bracket."""
    lens = make_lens("RADIAL", WIDTH, HEIGHT, [1, 0, 0, 0.37316058753484854, -0.13259421877545063])
    slopes = torch.linspace(1.186, 1.188, 2001, dtype=torch.float64)
    points = torch.stack([slopes, torch.zeros_like(slopes), torch.ones_like(slopes)], dim=1)
    torch.testing.assert_close(lens.unproject(lens.project(points)[0]), points, atol=1e-12, rtol=0)


def test_pixels_beyond_the_rim_get_the_rim():
    lens = make_lens("SIMPLE_RADIAL", WIDTH, HEIGHT, [500, 320, 240, -0.4])
    far = lens.unproject(torch.tensor([[2000.0, 240.0], [320.0, -9000.0]], dtype=torch.float64))
    rim = torch.tensor([[lens.valid_radius, 0, 1], [0, -lens.valid_radius, 1]], dtype=torch.float64)
    assert torch.allclose(far, rim, atol=1e-12)


def test_the_jacobian_is_the_derivative(lens):
    points = random_points(lens, count=40)
    expected = torch.func.vmap(torch.func.jacrev(lambda point: lens.project(point[None])[0][0]))(points)
    assert torch.allclose(lens.jacobian(points), expected, rtol=1e-10, atol=1e-9)


def test_magnification_is_the_largest_singular_value(lens):
    points = random_points(lens)
    expected = torch.linalg.svdvals(lens.jacobian(points))[:, 0]
    assert torch.allclose(lens.magnification(points), expected, rtol=1e-12)


def test_pixels_are_differentiable_in_the_parameters(lens):
    points = random_points(lens, count=5)
    params = lens.params.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: type(lens)(WIDTH, HEIGHT, p).project(points)[0], params)


def test_float32_in_float32_out_and_close(lens):
    points = random_points(lens)
    pixels, _ = lens.project(points.float())
    assert pixels.dtype == lens.magnification(points.float()).dtype == torch.float32
    assert lens.jacobian(points.float()).dtype == lens.unproject(pixels).dtype == torch.float32
    assert (pixels - lens.project(points)[0]).abs().max() < 2e-3
    assert (lens.project(lens.unproject(pixels))[0] - pixels).abs().max() < 1e-2


@pytest.mark.parametrize(("k1", "k2"), [(-0.2, 0.0), (-0.3, 0.01), (0.2, -0.4), (-0.5, 0.1), (0.0, -0.1), (0.3, -1e-4)])
def test_the_valid_region_ends_where_the_distortion_stops_growing(k1, k2):
    lens = make_lens("RADIAL", WIDTH, HEIGHT, [500, 320, 240, k1, k2])
    radius = torch.linspace(0, 50, 5_000_001, dtype=torch.float64)
    image = radius + k1 * radius**3 + k2 * radius**5
    first_fall = int((image.diff() < 0).nonzero()[0])
    assert lens.valid_radius == pytest.approx(float(radius[first_fall]), abs=3e-5)


@pytest.mark.parametrize(("k1", "k2"), [(0.0, 0.0), (0.3, 0.0), (0.2, 0.1), (-0.3, 0.05)])
def test_the_valid_region_is_unlimited_where_the_distortion_always_grows(k1, k2):
    assert math.isinf(make_lens("RADIAL", WIDTH, HEIGHT, [500, 320, 240, k1, k2]).valid_radius)


def test_points_behind_or_beyond_the_fold_are_not_inside():
    lens = make_lens("SIMPLE_RADIAL", WIDTH, HEIGHT, [500, 320, 240, -0.2])
    rim = lens.valid_radius
    points = torch.tensor([[0, 0, 1], [0, 0, -1], [0, 0, 0], [rim - 1e-6, 0, 1], [rim + 1e-6, 0, 1], [0, -9, 1]])
    pixels, inside = lens.project(points.double())
    assert inside.tolist() == [True, False, False, True, False, False]
    folded = lens.project(torch.tensor([[5**0.5, 0.0, 1]]))
    assert abs(float(folded[0][0, 0]) - 320) < 1e-3, "without the test this point would land in the middle"
    assert not bool(folded[1])
    assert bool(torch.isfinite(pixels).all())


def test_projection_of_many_points_is_fast():
    lens = make_lens("OPENCV", WIDTH, HEIGHT, PARAMS["OPENCV"][0])
    points = torch.rand(200_000, 3, generator=generator()) + torch.tensor([-0.5, -0.5, 1.0])
    lens.magnification(points)
    start = time.perf_counter()
    lens.project(points)
    lens.magnification(points)
    assert time.perf_counter() - start < 0.2, "some 6 ms on one idle core"


@pytest.mark.parametrize(
    ("model", "params", "words"),
    [
        ("FISHEYE", [1, 2, 3], "unknown camera model FISHEYE"),
        ("PINHOLE", [500, 320, 240], "wrong number of parameters"),
        ("SIMPLE_PINHOLE", [math.nan, 320, 240], "must be finite"),
        ("PINHOLE", [500, -500, 320, 240], "must be positive"),
    ],
)
def test_nonsense_is_refused_in_one_line(model, params, words):
    with pytest.raises(CaptureError, match=words) as refusal:
        make_lens(model, WIDTH, HEIGHT, params)
    assert "\n" not in str(refusal.value)
