"""Scores of what a mask leaves: masked pixels change nothing, a full mask is none, half a mask is half the picture."""

from __future__ import annotations

from dataclasses import astuple

import pytest
import torch

from unrender.errors import ShapeError
from unrender.metrics import DEFINITIONS, score
from unrender.metrics.psnr import psnr


@pytest.fixture
def pair(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    reference = torch.rand(3, 40, 56, generator=generator)
    return reference + 0.1 * torch.randn(3, 40, 56, generator=generator), reference


def test_masked_pixels_change_no_score(pair: tuple[torch.Tensor, torch.Tensor], generator: torch.Generator):
    image, reference = pair
    weight = (torch.rand(1, 40, 56, generator=generator) > 0.4) * torch.rand(1, 40, 56, generator=generator)
    noise = [torch.where(weight > 0, x, torch.rand(x.shape, generator=generator)) for x in pair]
    noise[0][:, weight[0] == 0] *= torch.inf
    assert score(image, reference, weight) == score(noise[0], noise[1], weight)
    assert score(image, reference, weight) != score(image, reference)


def test_a_full_mask_is_none(pair: tuple[torch.Tensor, torch.Tensor]):
    for level in (1.0, 0.3):
        got = astuple(score(*pair, torch.full((1, 40, 56), level)))
        assert got == pytest.approx(astuple(score(*pair)), abs=1e-6)


def test_psnr_of_half_a_picture(pair: tuple[torch.Tensor, torch.Tensor]):
    weight = torch.zeros(1, 40, 56)
    weight[..., :20] = 1
    assert psnr(*pair, weight) == pytest.approx(psnr(pair[0][..., :20], pair[1][..., :20]))


def test_equal_where_it_counts_is_perfect(pair: tuple[torch.Tensor, torch.Tensor]):
    weight = torch.ones(1, 40, 56)
    weight[:, 10:25, 20:30] = 0
    image = torch.where(weight > 0, pair[1], 0.5)
    assert astuple(score(image, pair[1], weight)) == (100, pytest.approx(1), pytest.approx(0, abs=1e-6))
    assert all("mask" in DEFINITIONS[name] for name in ("psnr", "ssim", "flip"))


def test_a_weight_of_another_shape_is_refused(pair: tuple[torch.Tensor, torch.Tensor]):
    with pytest.raises(ShapeError, match=r"weight: wrong shape, expected \[1, H, W\] \[1, 40, 56\], got \[40, 56\]"):
        score(*pair, torch.ones(40, 56))
