"""Area averaging against its definition: enlarge by repetition to a common multiple, then average blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrender.errors import ShapeError
from unrender.images.resize import area_average

SIZES = st.integers(1, 12).flatmap(lambda old: st.tuples(st.just(old), st.integers(1, old)))


def by_repetition(image: np.ndarray, height: int, width: int) -> np.ndarray:
    fine = image.repeat(height, axis=0).repeat(width, axis=1)
    return fine.reshape(height, image.shape[0], width, image.shape[1], -1).mean(axis=(1, 3))


@settings(max_examples=60, deadline=None)
@given(rows=SIZES, columns=SIZES, seed=st.integers(0, 2**16))
def test_new_pixels_are_the_mean_of_the_area_they_cover(rows: tuple[int, int], columns: tuple[int, int], seed: int):
    image = torch.rand(rows[0], columns[0], 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    small = area_average(image, rows[1], columns[1])
    np.testing.assert_allclose(small.numpy(), by_repetition(image.numpy(), rows[1], columns[1]), atol=1e-14)


@settings(max_examples=30, deadline=None)
@given(rows=SIZES, columns=SIZES, level=st.integers(0, 255))
def test_a_constant_stays_itself(rows: tuple[int, int], columns: tuple[int, int], level: int):
    image = torch.full((rows[0], columns[0]), level, dtype=torch.uint8)
    torch.testing.assert_close(
        area_average(image, rows[1], columns[1]), torch.full((rows[1], columns[1]), float(level))
    )


@settings(max_examples=30, deadline=None)
@given(rows=SIZES, columns=SIZES)
def test_the_mean_of_the_image_is_kept(rows: tuple[int, int], columns: tuple[int, int]):
    image = torch.rand(rows[0], columns[0], dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(area_average(image, rows[1], columns[1]).mean(), image.mean())


def test_whole_factors_are_block_means_of_8_bit_photos(generator: torch.Generator):
    photo = torch.randint(0, 256, (36, 48, 3), dtype=torch.uint8, generator=generator)
    blocks = photo.double().reshape(12, 3, 12, 4, 3).mean(dim=(1, 3))
    small = area_average(photo, 12, 12)
    assert small.dtype == torch.float32
    torch.testing.assert_close(small, blocks.float(), rtol=0, atol=1e-4)


def test_the_same_size_gives_the_same_image(generator: torch.Generator):
    image = torch.rand(5, 7, 3, generator=generator)
    assert torch.equal(area_average(image, 5, 7), image)


@pytest.mark.parametrize(("height", "width"), [(6, 7), (5, 8), (0, 7), (5, 0)])
def test_nothing_is_enlarged_or_emptied(height: int, width: int):
    with pytest.raises(ShapeError, match="never enlarges"):
        area_average(torch.zeros(5, 7), height, width)


def test_batches_are_refused():
    with pytest.raises(ShapeError, match=r"\[1, 2, 3, 4\]"):
        area_average(torch.zeros(1, 2, 3, 4), 1, 1)
