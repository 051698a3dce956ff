"""Lenses with any numbers, however strange: the way there and back over all that is valid, one to one."""

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from unrender.cameras.lens import LENSES, make_lens
from unrender.cameras.lens.central import Central
from unrender.errors import CaptureError

WIDTH, HEIGHT = 640, 480
SPANS = {"f": (50, 2000), "c": (0, 640), "k": (-1.5, 1.5), "p": (-0.1, 0.1), "s": (-0.1, 0.1), "w": (10, 9e3)}
SPANS |= {"omega": (-3.1, 3.1), "alpha": (0, 1), "beta": (0.05, 20), "h": (10, 9e3)}
OCAM = {"c": (0.7, 1.3), "d": (-0.1, 0.1), "e": (-0.1, 0.1), "cx": (0, 480), "cy": (0, 640)}
SERIES = [(50, 400), (50, 400), (-60, 60), (-60, 60), (-20, 20), (-20, 20), (-5, 5)]


def numbers(model):
    """Parameters of any lens of a model."""
    if model == "OCAM":
        spans = [*OCAM.values(), *SERIES]
    else:
        spans = [SPANS.get(name, SPANS.get(name[0], (0, 0))) for name in LENSES[model].parameter_names]
    return st.tuples(*[st.floats(*span) for span in spans])


@pytest.mark.parametrize("model", list(LENSES))
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_there_and_back_over_the_whole_valid_region(model, data, look):
    try:
        lens = make_lens(model, WIDTH, HEIGHT, data.draw(numbers(model)))
    except CaptureError:
        assume(False)
    assume(getattr(lens, "valid_radius", 1.0) > 1e-6)
    rays = look(lens, 200, share=1 - 1e-9)
    pixels, inside = lens.project(2 * rays)
    within = pixels.abs().amax(dim=1) < 1e5
    assert bool(inside[within].all())
    found = lens.unproject(pixels[within])
    back, _ = lens.project(found)
    assert not within.any() or (back - pixels[within]).abs().max() < 1e-6
    assert bool(torch.isfinite(found).all())
    assert not bool(lens.jacobian(rays).isnan().any())
    found = torch.nn.functional.normalize(found, dim=1)
    angles = (found - rays[within]).norm(dim=1) * lens.magnification(rays[within])
    assert not within.any() or angles.max() < 1e-2, "another direction, more than a hundredth of a pixel away"


@pytest.mark.parametrize("model", ["SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV", "THIN_PRISM_FISHEYE"])
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_the_mapping_is_one_to_one_in_the_valid_region(model, data, look):
    """For any two directions, the step in the plane has a positive share along the step in the chart."""
    lens = make_lens(model, WIDTH, HEIGHT, data.draw(numbers(model)))
    assert isinstance(lens, Central)
    assume(math.isfinite(lens.valid_radius) and lens.valid_radius > 1e-6)
    x, y, _ = lens.chart(look(lens, 100, share=1 - 1e-9, seed=1))
    u, v = lens.distort(x, y)
    along = (x[:, None] - x) * (u[:, None] - u) + (y[:, None] - y) * (v[:, None] - v)
    assert float(along.min()) >= -1e-12
