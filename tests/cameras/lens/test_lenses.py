"""What every lens of the table has to do."""

import math
import time

import pytest
import torch

from unrender.cameras.lens import LENSES, Lens, make_lens
from unrender.errors import CaptureError

WIDTH, HEIGHT = 640, 480


def at_distances(rays):
    chance = torch.Generator().manual_seed(3)
    return rays * (0.5 + 4.5 * torch.rand(len(rays), 1, dtype=torch.float64, generator=chance))


def test_every_model_has_a_case(table):
    assert set(table) == set(LENSES)


def test_every_lens_keeps_the_protocol(lens):
    assert isinstance(lens, Lens)
    assert len(lens.parameter_names) == len(lens.params)
    assert LENSES[lens.model] is type(lens)


def test_unproject_inverts_project_over_the_whole_valid_region(lens, look):
    rays = look(lens, 3000, share=1 - 1e-12)
    pixels, inside = lens.project(at_distances(rays))
    near = pixels.abs().amax(dim=1) < 1e5
    assert bool(inside.all())
    assert near.double().mean() > 0.2
    back, _ = lens.project(lens.unproject(pixels[near]))
    assert (back - pixels[near]).abs().max() < 1e-6


def test_project_inverts_unproject(lens, look):
    rays = look(lens, share=0.99)
    found = torch.nn.functional.normalize(lens.unproject(lens.project(at_distances(rays))[0]), dim=1)
    assert (found - rays).abs().max() < 1e-8


def test_directions_are_as_long_as_depth_says(lens):
    pixels = torch.tensor([[320.0, 240], [100, 50], [630, 470]], dtype=torch.float64)
    rays = lens.unproject(pixels)
    lengths = rays.norm(dim=1) if lens.depth_is_distance else rays[:, 2]
    torch.testing.assert_close(lengths, torch.ones(3, dtype=torch.float64))


def test_the_jacobian_is_the_derivative(lens, look):
    points = at_distances(look(lens, 40, share=0.95))
    expected = torch.func.vmap(torch.func.jacrev(lambda point: lens.project(point[None])[0][0]))(points)
    torch.testing.assert_close(lens.jacobian(points), expected, rtol=1e-9, atol=1e-8)


def test_on_the_axis_the_jacobian_is_the_derivative_too(lens):
    points = torch.tensor([[0.0, 0.0, 2.0]], dtype=torch.float64)
    if lens.model == "OCAM":
        pytest.skip("its radius need not be 0 there, and then has no derivative")
    by_autograd = torch.func.jacrev(lambda point: lens.project(point[None])[0][0])(points[0])
    torch.testing.assert_close(lens.jacobian(points)[0], by_autograd, rtol=1e-12, atol=1e-12)
    aside = 1e-6 * torch.eye(3, dtype=torch.float64)
    moved = (lens.project(points + aside)[0] - lens.project(points - aside)[0]).T / 2e-6
    torch.testing.assert_close(lens.jacobian(points)[0], moved, rtol=1e-6, atol=1e-5)


def test_magnification_is_the_largest_singular_value(lens, look):
    points = at_distances(look(lens, share=0.95))
    expected = torch.linalg.svdvals(lens.jacobian(points))[:, 0]
    assert torch.allclose(lens.magnification(points), expected, rtol=1e-10)


def test_pixels_are_differentiable_in_the_parameters(lens, look):
    points = at_distances(look(lens, 5, share=0.9))
    params = lens.params.clone()
    for name, (least, greatest) in lens.ranges.items():  # finite differences have to stay inside
        params[lens.parameter_names.index(name)].clamp_(least + 1e-4, greatest - 1e-4)
    params.requires_grad_()
    assert torch.autograd.gradcheck(lambda p: type(lens)(WIDTH, HEIGHT, p).project(points)[0], params, atol=1e-4)


def test_float32_in_float32_out_and_close(lens, look):
    rim = getattr(lens, "valid_radius", math.inf)
    points = at_distances(look(lens, share=0.5 if math.isinf(rim) else min(0.5, 2 / rim)))
    expected, _ = lens.project(points)
    points = points[expected.abs().amax(dim=1) < 2000].float()
    pixels, _ = lens.project(points)
    assert pixels.dtype == lens.magnification(points).dtype == torch.float32
    assert lens.jacobian(points).dtype == lens.unproject(pixels).dtype == torch.float32
    assert (pixels - lens.project(points.double())[0]).abs().max() < 5e-3
    assert (lens.project(lens.unproject(pixels))[0] - pixels).abs().max() < 2e-2


def test_pixels_that_nothing_reaches_get_the_rim(lens):
    far = 1e14 * torch.tensor([[1.0, 0], [0, -1], [-0.7, 0.7]], dtype=torch.float64)
    rays = lens.unproject(far)
    assert bool(torch.isfinite(rays).all())
    if not math.isfinite(getattr(lens, "valid_radius", math.inf)):
        return
    x, y, _ = lens.chart(rays)
    straight_behind = torch.nn.functional.normalize(rays, dim=1)[:, 2] < -1 + 1e-9  # a place that no chart has
    rim = torch.full_like(x, lens.valid_radius)[~straight_behind]
    torch.testing.assert_close(torch.hypot(x, y)[~straight_behind], rim, rtol=1e-6, atol=0)


def test_nothing_becomes_nan(lens):
    numbers = [0.0, 1.0, -1.0, -1e-9, 1e-5, 1e5]
    points = torch.cartesian_prod(*[torch.tensor(numbers, dtype=torch.float64)] * 3)
    for dtype in (torch.float64, torch.float32):
        params = lens.params.clone().requires_grad_()
        mine = points.to(dtype).requires_grad_()
        pixels, inside = type(lens)(WIDTH, HEIGHT, params).project(mine)
        assert not bool(pixels.isnan().any())
        assert not bool(lens.jacobian(mine)[inside].isnan().any())
        assert not bool(lens.magnification(mine)[inside].isnan().any())
        assert not bool(inside[0]), "a point at the centre is not in the image"
        for gradient in torch.autograd.grad(pixels[inside].sum(), (params, mine)):
            assert not bool(gradient.isnan().any())
        places = torch.cartesian_prod(*[torch.tensor(numbers, dtype=dtype)] * 2)
        assert not bool(lens.unproject(places).isnan().any())


def test_only_wide_lenses_see_what_is_behind(lens):
    behind = torch.tensor([[1.0, 0, -1e-3], [-2, 1, -0.1]], dtype=torch.float64)
    _, inside = lens.project(behind)
    assert lens.depth_is_distance or not bool(inside.any())
    assert not bool(lens.project(torch.tensor([[0.0, 0.0, -1.0]]))[1]) or lens.model == "EQUIRECTANGULAR"


def test_projection_of_many_points_is_fast():
    lens = make_lens("OPENCV", WIDTH, HEIGHT, [500, 510, 321.5, 239, -0.12, 0.03, 0.002, -0.003])
    points = torch.rand(200_000, 3, generator=torch.Generator().manual_seed(7)) + torch.tensor([-0.5, -0.5, 1.0])
    lens.magnification(points)
    start = time.perf_counter()
    lens.project(points)
    lens.magnification(points)
    assert time.perf_counter() - start < 0.2, "some 6 ms on one idle core"


@pytest.mark.parametrize(
    ("model", "params", "words"),
    [
        ("FISHEYE_OF_A_TROUT", [1, 2, 3], "unknown camera model FISHEYE_OF_A_TROUT"),
        ("PINHOLE", [500, 320, 240], "wrong number of parameters"),
        ("FOV", [500, 320, 240, 1], "wrong number of parameters.*omega"),
        ("OCAM", [1, 0, 0, 240, 320, 3], "wrong number of parameters.*a0, a1"),
        ("OCAM", [1, 0, 0, 240], "wrong number of parameters"),
        ("SIMPLE_PINHOLE", [math.nan, 320, 240], "must be finite"),
        ("OCAM", [1, 0, 0, 240, 320, 250, 150, math.inf], "a2 must be finite"),
        ("PINHOLE", [500, -500, 320, 240], "must be positive"),
        ("EQUIRECTANGULAR", [640, -1], "h out of range"),
        ("EUCM", [500, 500, 320, 240, 1.1, 1], "alpha out of range, expected 0 to 1, got 1.1"),
        ("EUCM", [500, 500, 320, 240, 0.5, 0], "beta out of range"),
        ("FOV", [500, 500, 320, 240, 3.2], "omega out of range"),
        ("OCAM", [-1, 0, 0, 240, 320, 250, 150], "turns the image over"),
        ("OCAM", [1, 0, 0, 240, 320, 250, -150], "does not grow"),
    ],
)
def test_nonsense_is_refused_in_one_line(model, params, words):
    with pytest.raises(CaptureError, match=words) as refusal:
        make_lens(model, WIDTH, HEIGHT, params)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("model", list(LENSES))
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_no_parameter_may_be_infinite_or_no_number(model, bad, table):
    for place in range(len(table[model][0])):
        params = list(table[model][0])
        params[place] = bad
        with pytest.raises(CaptureError, match="must be finite"):
            make_lens(model, WIDTH, HEIGHT, params)
    with pytest.raises(CaptureError, match="size"):
        make_lens(model, 0, HEIGHT, table[model][0])
