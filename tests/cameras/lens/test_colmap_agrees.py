"""COLMAP's own arithmetic, through pycolmap, for every lens that it has."""

import numpy as np
import pytest
import torch

from unrender.cameras.lens import LENSES, make_lens

pycolmap = pytest.importorskip("pycolmap")
WIDTH, HEIGHT = 640, 480
THEIRS = set(pycolmap.CameraModelId.__members__) - {"INVALID"}


def theirs(lens):
    if lens.model not in THEIRS:
        pytest.skip(f"COLMAP has no {lens.model}")
    return pycolmap.Camera(model=lens.model, width=WIDTH, height=HEIGHT, params=lens.params.numpy())


def in_front(rays):
    return rays[rays[:, 2] > 0.02]


def test_we_have_every_lens_that_colmap_has_in_its_order():
    assert set(LENSES) >= THEIRS
    for model in THEIRS:
        info = pycolmap.Camera.create_from_model_name(1, model, 100.0, WIDTH, HEIGHT).params_info
        assert tuple(info.replace(" ", "").split(",")) == LENSES[model].parameter_names


def test_projection_agrees(lens, look):
    camera = theirs(lens)
    points = 3 * in_front(look(lens, 1000))
    pixels = lens.project(points)[0]
    expected = torch.from_numpy(camera.img_from_cam(points.numpy()))
    near = pixels.abs().amax(dim=1) < 1e4
    assert near.sum() > 100
    assert (pixels[near] - expected[near]).abs().max() < 1e-6


def test_unprojection_agrees_where_colmap_converges(lens, look):
    camera = theirs(lens)
    pixels, _ = lens.project(in_front(look(lens, 1000, share=0.97)))
    pixels = pixels[pixels.abs().amax(dim=1) < 1e4]
    slopes = camera.cam_from_img(pixels.numpy())
    back = camera.img_from_cam(np.column_stack([slopes, np.ones(len(slopes))]))
    converged = torch.from_numpy(np.abs(back - pixels.numpy()).max(axis=1) < 1e-9)
    assert converged.double().mean() > 0.25
    rays = torch.nn.functional.normalize(lens.unproject(pixels), dim=1)
    expected = np.column_stack([slopes, np.ones(len(slopes))])
    expected = torch.nn.functional.normalize(torch.from_numpy(expected), dim=1)
    ahead = rays[:, 2] > 0.02  # their iteration may find another direction that lands there
    same = (rays - expected).norm(dim=1) < 1e-9
    other = converged & ahead & ~same
    assert not bool((other & lens.project(expected)[1]).any()), "a second valid direction for one pixel"
    assert same[converged & ahead].double().mean() > 0.9


@pytest.mark.parametrize("model", ["OPENCV_FISHEYE", "FOV", "EUCM", "THIN_PRISM_FISHEYE", "SIMPLE_FISHEYE"])
def test_we_go_on_behind_the_lens_where_colmap_stops(model, table):
    lens = make_lens(model, WIDTH, HEIGHT, table[model][0])
    behind = np.array([[1.0, 0.2, -0.05]])
    assert np.isnan(theirs(lens).img_from_cam(behind)).all()
    pixels, inside = lens.project(torch.from_numpy(behind))
    assert bool(inside)
    found = lens.unproject(pixels)
    expected = torch.nn.functional.normalize(torch.from_numpy(behind), dim=1)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
