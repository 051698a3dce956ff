"""The SSIM map against scikit-image, its laws, and the pyramid's."""

from __future__ import annotations

import pytest
import torch
from skimage.metrics import structural_similarity

from unrender.errors import ShapeError
from unrender.images.pyramids import halve, pyramid
from unrender.images.windows import gaussian_mean, gaussian_window, ssim_map


def images(*shape, seed=0, dtype=torch.float64):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_window_is_symmetric_sums_to_one_and_has_its_width():
    window = gaussian_window()
    assert window.shape == (11,)
    torch.testing.assert_close(window, window.flip(0))
    assert window.sum().item() == pytest.approx(1.0)
    assert (window[4] / window[5]).item() == pytest.approx(2.718281828 ** (-1 / 4.5))


def test_mean_of_a_plane_is_the_plane():
    v, u = torch.meshgrid(torch.arange(20.0), torch.arange(17.0), indexing="ij")
    plane = (0.1 + 0.02 * u + 0.03 * v)[None, None]
    torch.testing.assert_close(gaussian_mean(plane), plane[..., 5:-5, 5:-5])


@pytest.mark.parametrize("size", [(11, 11), (24, 31)])
def test_ssim_map_is_that_of_scikit_image(size):
    image, reference = images(3, *size, seed=1), images(3, *size, seed=2)
    reference = 0.7 * image + 0.3 * reference
    expected = structural_similarity(
        image.numpy(), reference.numpy(), channel_axis=0, data_range=1.0,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True,
    )  # fmt: skip
    ours = ssim_map(image[None], reference[None])[0]
    torch.testing.assert_close(ours, torch.from_numpy(expected[1])[:, 5:-5, 5:-5])
    assert ours.mean().item() == pytest.approx(expected[0])


def test_ssim_is_one_for_equal_images_and_symmetric():
    image, other = images(1, 3, 15, 15, seed=1), images(1, 3, 15, 15, seed=2)
    torch.testing.assert_close(ssim_map(image, image), torch.ones(1, 3, 5, 5, dtype=torch.float64))
    torch.testing.assert_close(ssim_map(image, other), ssim_map(other, image))


def test_ssim_derivative():
    image, other = images(1, 2, 12, 13, seed=1).requires_grad_(), images(1, 2, 12, 13, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(ssim_map, (image, other), fast_mode=True)


def test_images_that_have_no_window_or_differ_are_refused():
    with pytest.raises(ShapeError, match="11"):
        ssim_map(images(1, 3, 10, 40), images(1, 3, 10, 40))
    with pytest.raises(ShapeError, match="one shape"):
        ssim_map(images(1, 3, 20, 20), images(1, 3, 20, 21))


def test_pyramid_covers_every_pixel_at_odd_sizes():
    image = images(1, 2, 5, 7)
    levels = pyramid(image, 4)
    assert [tuple(level.shape[-2:]) for level in levels] == [(5, 7), (3, 4), (2, 2), (1, 1)]
    half = halve(image)
    torch.testing.assert_close(half[..., 0, 0], image[..., :2, :2].mean((-1, -2)))
    torch.testing.assert_close(half[..., 2, 3], image[..., 4, 6])
    torch.testing.assert_close(half[..., 0, 3], image[..., :2, 6].mean(-1))


def test_pyramid_of_a_constant_is_constant():
    for level in pyramid(torch.full((1, 1, 9, 13), 0.3), 5):
        torch.testing.assert_close(level, torch.full_like(level, 0.3))
