"""A lens in the words of another family."""

import math

import pytest
import torch

from unrender.cameras.lens import LENSES, make_lens
from unrender.cameras.lens.nearest import nearest_lens
from unrender.errors import CaptureError

WIDTH, HEIGHT = 640, 480
TWO = [500.0, 510, 321.5, 239]


@pytest.mark.parametrize(
    ("model", "params", "to", "expected"),
    [
        ("SIMPLE_PINHOLE", [500, 320, 240], "PINHOLE", [500, 500, 320, 240]),
        ("PINHOLE", [500, 500, 320, 240], "SIMPLE_RADIAL", [500, 320, 240, 0]),
        ("SIMPLE_RADIAL", [500, 320, 240, 0.1], "OPENCV", [500, 500, 320, 240, 0.1, 0, 0, 0]),
        ("RADIAL", [500, 320, 240, 0.1, 0], "SIMPLE_RADIAL", [500, 320, 240, 0.1]),
        ("OPENCV", [*TWO, 0.1, -0.02, 0.001, 0.002], "FULL_OPENCV", [*TWO, 0.1, -0.02, 0.001, 0.002, 0, 0, 0, 0]),
        ("SIMPLE_RADIAL_FISHEYE", [300, 320, 240, 0.1], "OPENCV_FISHEYE", [300, 300, 320, 240, 0.1, 0, 0, 0]),
        ("SIMPLE_DIVISION", [500, 320, 240, -0.2], "DIVISION", [500, 500, 320, 240, -0.2]),
    ],
)
def test_what_another_family_can_say_is_taken_over(model, params, to, expected):
    found, off = nearest_lens(make_lens(model, WIDTH, HEIGHT, params), to)
    assert off == 0
    assert found.model == to
    assert found.params.tolist() == expected


@pytest.mark.parametrize(
    ("model", "params", "to", "most"),
    [
        ("FULL_OPENCV", [*TWO, -0.12, 0.03, 0.002, -0.003, 0.01, 0.02, -0.01, 0.003], "OPENCV", 0.1),
        ("OPENCV", [*TWO, -0.12, 0.03, 0, 0], "FOV", 3),
        ("DIVISION", [500, 500, 320, 240, -0.1], "RADIAL", 0.1),
        ("EUCM", [500, 510, 320, 240, 0, 1], "PINHOLE", 1e-6),
        ("PINHOLE", TWO, "SIMPLE_PINHOLE", 4),
        ("OPENCV_FISHEYE", [900, 900, 320, 240, -0.03, 0.004, 0, 0], "OPENCV", 0.1),
        ("OCAM", [1, 0, 0, 239.5, 320.5, 368.025, 250, 10], "OPENCV_FISHEYE", 0.3),
        ("RADIAL", [500, 320, 240, 0.1, 0.01], "SIMPLE_RADIAL", 1),
    ],
)
def test_the_nearest_is_near_and_as_far_off_as_it_says(model, params, to, most):
    lens = make_lens(model, WIDTH, HEIGHT, params)
    found, off = nearest_lens(lens, to)
    assert found.model == to
    assert 0 <= off < most
    places = torch.rand(2000, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    pixels = places * torch.tensor([WIDTH, HEIGHT], dtype=torch.float64)
    seen = found.project(lens.unproject(pixels))[0]
    assert float((seen - pixels).norm(dim=1).max()) <= off + 1e-3


@pytest.mark.parametrize("to", ["OPENCV", "SIMPLE_PINHOLE", "FULL_OPENCV"])
def test_what_a_family_cannot_see_is_infinitely_far_off(to):
    wide = make_lens("SIMPLE_FISHEYE", WIDTH, HEIGHT, [150, 320, 240])  # 122 degrees from the axis at the photo's side
    _, off = nearest_lens(wide, to)
    assert math.isinf(off)


def test_a_lens_is_its_own_nearest():
    for model, params in (("FOV", [*TWO, 0.9]), ("OCAM", [1, 0, 0, 240, 320, 235.6, 150])):
        lens = make_lens(model, WIDTH, HEIGHT, params)
        assert nearest_lens(lens, model) == (lens, 0.0)


def test_unknown_models():
    lens = make_lens("PINHOLE", WIDTH, HEIGHT, TWO)
    for model in ("OCAM", "PINHOLES"):
        with pytest.raises(CaptureError):
            nearest_lens(lens, model)
    assert "OCAM" in LENSES
