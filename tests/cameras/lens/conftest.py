"""A table of lenses: a new family is a row. Every test of ``test_lenses.py`` and ``test_colmap.py`` runs on each."""

import math

import pytest
import torch

from unrender.cameras.lens import make_lens

WIDTH, HEIGHT = 640, 480
ONE, TWO = [500, 321.5, 239], [500, 510, 321.5, 239]
WIDE, WIDER = [180, 321.5, 239], [150, 156, 321.5, 239]
OCAM_FIT = [245.7, 160.2, -3.1, 4.2, 1.7, -0.6]  # 0.02 on the axis, as fitted ones are
PARAMS = {
    "SIMPLE_PINHOLE": [ONE],
    "PINHOLE": [TWO],
    "SIMPLE_RADIAL": [[*ONE, -0.12], [*ONE, 0.3]],
    "RADIAL": [[*ONE, -0.12, 0.03], [*ONE, -0.3, 0.05], [500, 320, 240, 0.2, -0.4]],
    "OPENCV": [[*TWO, -0.12, 0.03, 0.002, -0.003], [450, 440, 300, 250, 0.1, -0.1, -0.04, 0.01]],
    "FULL_OPENCV": [
        [*TWO, -0.12, 0.03, 0.002, -0.003, 0.01, 0.02, -0.01, 0.003],
        [*TWO, 0.4, -0.1, -0.004, 0.001, 0.05, 0.7, 0.1, 0.02],
        [*TWO, 0, 0, 0, 0, 0, -0.5, 0.1, -0.05],
    ],
    "SIMPLE_FISHEYE": [WIDE],
    "FISHEYE": [WIDER],
    "SIMPLE_RADIAL_FISHEYE": [[*WIDE, 0.05], [*WIDE, -0.04]],
    "RADIAL_FISHEYE": [[*WIDE, -0.03, 0.004], [*WIDE, 0.04, -0.01]],
    "OPENCV_FISHEYE": [[*WIDER, -0.03, 0.004, -0.002, 0.0001], [*WIDER, 0.1, -0.05, 0.01, -0.001]],
    "THIN_PRISM_FISHEYE": [[*WIDER, -0.03, 0.004, 0.002, -0.003, -0.002, 0.0001, 0.004, -0.002]],
    "RAD_TAN_THIN_PRISM_FISHEYE": [
        [*WIDER, 0.35, -0.3, 0.1, 0.01, -0.02, 0.003, 0.0007, -0.0004, 0.001, -0.0003, -0.0005, 0.0002],
        [*WIDER, -0.03, 0.004, -0.002, 0, 0, 0, 0.01, 0.02, -0.01, 0.003, 0.02, -0.001],
    ],
    "FOV": [[*TWO, 0.9], [*WIDER, -1.9], [*TWO, 0.02]],
    "SIMPLE_DIVISION": [[*ONE, -0.3], [*ONE, 0.2]],
    "DIVISION": [[*TWO, -1.1], [*TWO, 0]],
    "EUCM": [[*TWO, 0.6, 1.1], [*WIDER, 0.4, 0.8], [*TWO, 0, 1], [*WIDER, 1, 2.5], [*TWO, 0.5, 1]],
    "OCAM": [[1.0003, 2e-4, -3e-4, 239, 321.5, *OCAM_FIT], [0.98, 0.01, 0.02, 250, 300, 235.6, 150]],
    "EQUIRECTANGULAR": [[640, 480], [700.5, 350.25]],
}
CASES = [(model, params) for model, several in PARAMS.items() for params in several]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}{case[1][2:]}")
def lens(request):
    model, params = request.param
    return make_lens(model, WIDTH, HEIGHT, params)


@pytest.fixture(scope="session")
def table():
    return PARAMS


@pytest.fixture(scope="session")
def look():
    """(lens, number, how far out of what is valid, seed) -> unit directions [number, 3] all over the valid region."""
    return directions


def directions(lens, number=300, share=1.0, seed=7):
    chance = torch.Generator().manual_seed(seed)
    if not hasattr(lens, "from_chart"):
        ball = torch.randn(number, 3, dtype=torch.float64, generator=chance)
        return torch.nn.functional.normalize(ball, dim=1)
    turn, out = torch.rand(2, number, dtype=torch.float64, generator=chance)
    rim = lens.valid_radius
    radius = share * rim * out.sqrt() if rim < 20 else torch.tan(1.5 * share * out).clamp(max=share * rim)
    x, y = radius * torch.stack([torch.cos(2 * math.pi * turn), torch.sin(2 * math.pi * turn)])
    return torch.nn.functional.normalize(lens.from_chart(x, y), dim=1)
