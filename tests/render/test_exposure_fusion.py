"""Exposure fusion: exact where there is nothing to choose, and what each exposure shows best is there."""

import pytest
import torch

from unrender.images.colour import srgb_from_linear
from unrender.render.exposure_fusion import fuse, fusion
from unrender.render.tonemap import tonemap


def test_a_lone_exposure_stays_as_it_is(generator):
    picture = torch.rand(1, 3, 21, 34, generator=generator)
    assert torch.allclose(fuse(picture), picture[0], atol=1e-6)


def test_equal_exposures_stay_as_they_are(generator):
    """The pyramid is taken apart and put together again without loss, at any size."""
    for height, width in ((1, 1), (1, 7), (2, 3), (17, 16), (33, 40)):
        picture = torch.rand(1, 3, height, width, generator=generator)
        assert torch.allclose(fuse(picture.expand(4, -1, -1, -1)), picture[0], atol=1e-6)


def test_the_order_of_exposures_does_not_matter(generator):
    images = torch.rand(3, 3, 16, 20, generator=generator)
    assert torch.allclose(fuse(images), fuse(images.flip(0)), atol=1e-6)


def test_detail_in_light_and_in_shade_is_kept(generator):
    """A room with a window, 2^9 apart: one exposure loses either, the fusion shows the texture of both."""
    texture = 0.75 + 0.5 * torch.rand(1, 64, 64, generator=generator)
    light = torch.where(torch.arange(64) < 32, 0.02, 0.02 * 2.0**9)
    radiance = (texture * light).expand(3, -1, -1)
    window = (slice(None), slice(8, -8), slice(40, -8))
    shade = (slice(None), slice(8, -8), slice(8, 24))
    plain, fused = tonemap(radiance, "linear"), tonemap(radiance, "fusion")
    assert float(plain[window].std()) < 1e-6
    assert float(fused[window].std()) > 0.02
    assert float(fused[shade].std()) > float(plain[shade].std())
    assert float(fused[window].mean()) > float(fused[shade].mean())


def test_the_best_exposed_picture_has_the_say():
    """Flat grey: contrast and saturation are silent, and what lies near the middle counts."""
    levels = torch.tensor([0.02, 0.5, 0.98])[:, None, None, None].expand(-1, 3, 8, 8)
    assert float(fuse(levels).mean()) == pytest.approx(0.5, abs=0.01)


def test_batches_are_fused_one_by_one(generator):
    radiance = torch.rand(2, 3, 12, 10, generator=generator)
    both = fusion(radiance)
    assert torch.allclose(both[1], fusion(radiance[1]), atol=1e-6)
    assert torch.allclose(fusion(radiance[0], stops=(0.0,)), srgb_from_linear(radiance[0]), atol=1e-6)
