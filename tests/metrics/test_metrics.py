"""The scores against scikit-image, closed forms and flip-evaluator's own laws."""

from __future__ import annotations

import math

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from unrender.errors import ShapeError, UnrenderError
from unrender.metrics import DEFINITIONS, score
from unrender.metrics.flip import flip, flip_picture
from unrender.metrics.lpips import lpips
from unrender.metrics.psnr import psnr
from unrender.metrics.ssim import ssim


def images(seed, height=32, width=40):
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(seed))


def test_psnr_of_a_known_difference():
    image = torch.full((3, 8, 8), 0.5)
    assert psnr(image + 0.1, image) == pytest.approx(20.0, abs=1e-4)
    assert psnr(image, image) == 100
    assert math.isnan(psnr(image * math.nan, image))


def test_psnr_is_that_of_scikit_image_and_clamps():
    image, reference = images(1), images(2)
    assert psnr(image, reference) == pytest.approx(
        peak_signal_noise_ratio(reference.numpy(), image.numpy(), data_range=1)
    )
    bright = torch.full((3, 8, 8), 7.0)
    assert psnr(bright, torch.ones(3, 8, 8)) == 100


def test_ssim_is_that_of_scikit_image():
    image, reference = images(1), 0.6 * images(1) + 0.4 * images(2)
    expected = structural_similarity(
        image.double().numpy(), reference.double().numpy(), channel_axis=0, data_range=1.0,
        gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    assert ssim(image, reference) == pytest.approx(expected)
    assert ssim(image, image) == pytest.approx(1.0)


def test_flip_is_nought_for_equal_images_and_grows_with_the_difference():
    image = images(1)
    assert flip(image, image) == pytest.approx(0.0, abs=1e-6)
    near, far = flip((image + 0.05).clamp(0, 1), image), flip((image + 0.3).clamp(0, 1), image)
    assert 0 < near < far < 1
    assert flip(torch.zeros(3, 16, 16), torch.ones(3, 16, 16)) > 0.9


def test_flip_picture_is_black_exactly_where_nothing_differs():
    reference = torch.full((3, 32, 64), 0.5)
    image = reference.clone()
    image[0, :, 50:] = 1.0
    picture = flip_picture(image, reference)
    assert picture.shape == (3, 32, 64)
    assert float(picture.min()) >= 0
    assert float(picture.max()) <= 1
    assert float(picture[..., :20].sum(0).max()) < 0.05
    assert float(picture[..., 55:].sum(0).min()) > 0.5


def test_score_is_the_three_and_each_has_a_definition():
    image, reference = images(1), images(2)
    scores = score(image, reference)
    assert scores.psnr == psnr(image, reference)
    assert scores.ssim == ssim(image, reference)
    assert scores.flip == flip(image, reference)
    assert set(DEFINITIONS) >= set(vars(scores))
    assert "67" in DEFINITIONS["flip"]


def test_images_that_cannot_be_compared_are_refused():
    with pytest.raises(ShapeError, match="cannot compare"):
        score(images(1), images(2, 33))
    with pytest.raises(ShapeError, match="cannot compare"):
        score(images(1)[:1], images(2)[:1])


def test_lpips_without_its_package_or_weights_is_refused(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "lpips", None)
    with pytest.raises(UnrenderError, match="pip install lpips"):
        lpips(images(1), images(2), tmp_path / "package-absent.pth")


def test_lpips_with_its_package_but_without_weights_is_refused(tmp_path):
    pytest.importorskip("lpips", reason="the lpips package is optional")
    with pytest.raises(UnrenderError, match="no LPIPS weights"):
        lpips(images(1), images(2), tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(UnrenderError, match="cannot use"):
        lpips(images(1), images(2), tmp_path / "text.pth")


def test_lpips_is_that_of_its_authors(tmp_path):
    package = pytest.importorskip("lpips", reason="the lpips package is optional")
    network = package.LPIPS(net="alex", pretrained=True, pnet_rand=True, verbose=False).eval()
    torch.save(network.state_dict(), tmp_path / "alex.pth")
    image, reference = images(1, 64, 64), images(2, 64, 64)
    expected = network(image[None], reference[None], normalize=True).item()
    assert expected > 0
    assert lpips(image, reference, tmp_path / "alex.pth") == pytest.approx(expected)
