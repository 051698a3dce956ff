"""A window cut from a photo and from its camera must be the same window."""

import math
from dataclasses import replace

import pytest
import torch

from unrender.cameras.camera import Cameras, pixel_centers
from unrender.cameras.lens import make_lens
from unrender.cameras.sensor import Sensor
from unrender.fit.crops import Window, crop_cameras, crop_image, draw_window, view_order

PHOTO = (60, 80)


def cameras(views=2):
    return Cameras(
        camera_from_world=torch.eye(4, dtype=torch.float64).repeat(views, 1, 1),
        camera_index=torch.zeros(views, dtype=torch.int64),
        lenses=(make_lens("PINHOLE", 80, 60, (70.0, 70.0, 40.0, 30.0)),),
        pixel_scale=torch.ones(views, 2, dtype=torch.float64),
        pixel_offset=torch.zeros(views, 2, dtype=torch.float64),
        sizes=torch.tensor(PHOTO).expand(views, 2),
        sensor=Sensor.start(torch.full((views,), math.nan), cameras=1),
    )


@pytest.mark.parametrize("zoom", [(1.0, 1.0), (0.5, 0.5), (2.0, 2.0), (0.75, 1.5)])
def test_camera_and_photo_windows_agree(generator, zoom):
    """The photo's pixels hold their own coordinates, so that the cut tells where it was taken from."""
    coordinates = pixel_centers(*PHOTO).permute(2, 0, 1)
    windows = [draw_window(PHOTO, (24, 24), zoom, generator) for _ in range(2)]
    cut = torch.stack([crop_image(coordinates, window) for window in windows])
    seen = crop_cameras(cameras(), [0, 1], windows)
    assert seen.size == (24, 24)
    inner = slice(3, -3)  # at the window's edge the antialiasing filter is cut off
    for view in range(2):
        grid = pixel_centers(24, 24).double()
        photo = (grid - seen.pixel_offset[view]) / seen.pixel_scale[view]
        off = (cut[view] - photo.permute(2, 0, 1).float())[:, inner, inner]
        # Shrunk by an uneven factor, a filter of a few taps lies a little beside its centre, to either side alike.
        assert float(off.abs().max()) < (0.1 if float(seen.pixel_scale[view].min()) < 1 else 2e-3)
        assert float(off.mean(dim=(1, 2)).abs().max()) < 5e-3


def test_windows_stay_inside_the_photo(generator):
    for _ in range(200):
        window = draw_window(PHOTO, (48, 48), (0.5, 2.0), generator)
        assert window.left >= 0
        assert window.top >= 0
        assert window.left + window.width <= PHOTO[1]
        assert window.top + window.height <= PHOTO[0]
        assert window.size == (48, 48)


def test_a_crop_as_large_as_the_photo_is_the_photo(generator):
    window = draw_window(PHOTO, PHOTO, (0.5, 1.0), generator)
    assert window == Window(0, 0, *PHOTO, size=PHOTO)


def test_every_view_comes_once_per_epoch():
    views = [3, 5, 8, 13]
    assert sorted(view_order(views, 0, seed=1)) == views
    orders = {tuple(view_order(views, epoch, seed=1)) for epoch in range(20)}
    assert len(orders) > 5
    assert view_order(views, 7, seed=1) == view_order(views, 7, seed=1)


def test_pixels_of_a_panorama_count_by_what_they_see_of_the_sphere():
    """All of them together see it once: the shares add up to the sphere's area."""
    lens = make_lens("EQUIRECTANGULAR", 80, 60, (80.0, 60.0))
    round_about = replace(cameras(1), lenses=(lens,))
    share = round_about.share_of_sphere(0)
    assert share is not None
    assert share.shape == (1, *PHOTO)
    widest = (2 * math.pi / 80) * (math.pi / 60)
    assert float(share.sum()) * widest == pytest.approx(4 * math.pi, rel=1e-3)
    scale, half = torch.full((1, 2), 0.5, dtype=torch.float64), torch.tensor([[30, 40]])
    below = crop_cameras(round_about.resize(scale, half), [0], [Window(8, 15, 15, 20, (15, 20))])
    there = below.share_of_sphere(0)
    assert there is not None
    assert torch.allclose(there[0, :, 0], share[0, 30:, 0].view(15, 2).mean(1), atol=1e-3)
    assert cameras().share_of_sphere(0) is None
