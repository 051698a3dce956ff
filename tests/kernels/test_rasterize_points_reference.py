"""The one-pixel rasteriser against a plain loop, by-hand pixels and the law of stochastic discarding."""

import math
from itertools import pairwise

import pytest
import torch

from unrender.kernels.rasterize_points.reference import (
    Hits,
    blend,
    draws,
    find_hits,
    layer_sizes,
    nearest_depth,
    pyramid_offsets,
)


def loop(pixels, depth, radius, threshold, keep, size, layers, alpha, gamma, descriptors):
    """The same, point by point and pixel by pixel, as the paper says it. Independent of the code under test."""
    height, width = size
    result = []
    for level in range(layers):
        cell = 2**level
        rows, columns = math.ceil(height / cell), math.ceil(width / cell)
        bins = {}
        for index in range(len(depth)):
            u, v = pixels[index].tolist()
            if not (keep[index] and 0 <= u < width and 0 <= v < height):
                continue
            if gamma is not None and not radius[index] / cell / math.sqrt(1 - threshold[index]) > 1 / gamma:
                continue
            bins.setdefault((int(v // cell), int(u // cell)), []).append(index)
        image = torch.zeros(rows, columns, descriptors.shape[1], dtype=torch.float64)
        count = torch.zeros(rows, columns, dtype=torch.int64)
        for (row, column), members in bins.items():
            limit = (1 + alpha) * min(float(depth[index]) for index in members)
            passed = [index for index in members if float(depth[index]) <= limit]
            image[row, column] = descriptors[passed].double().mean(0)
            count[row, column] = len(passed)
        result.append((image, count))
    return result


def cloud(generator, number=400, size=(19, 27)):
    pixels = torch.rand(number, 2, generator=generator) * torch.tensor([size[1] + 6.0, size[0] + 6.0]) - 3
    return {
        "pixels": pixels,
        "depth": 1 + 0.03 * torch.rand(number, generator=generator),
        "radius": 3 * torch.rand(number, generator=generator),
        "threshold": torch.rand(number, generator=generator),
        "keep": torch.rand(number, generator=generator) > 0.2,
        "size": size,
    }


@pytest.mark.parametrize("gamma", [None, 1.5])
@pytest.mark.parametrize("alpha", [0.0, 0.01])
def test_equals_a_plain_loop(generator, alpha, gamma):
    inputs = cloud(generator)
    descriptors = torch.randn(400, 3, generator=generator)
    hits = find_hits(**inputs, layers=4, alpha=alpha, gamma=gamma)
    image = blend(descriptors.double(), hits)
    offsets = pyramid_offsets(layer_sizes(19, 27, 4))
    expected = loop(**inputs, layers=4, alpha=alpha, gamma=gamma, descriptors=descriptors)
    for level, (pixels, count) in enumerate(expected):
        here = slice(offsets[level], offsets[level + 1])
        assert torch.equal(hits.count[here], count.flatten())
        torch.testing.assert_close(image[here], pixels.reshape(-1, 3), rtol=1e-12, atol=1e-12)


def test_layers_cover_odd_images_whole():
    assert layer_sizes(19, 27, 4) == [(19, 27), (10, 14), (5, 7), (3, 4)]


def test_a_point_at_a_pixel_centre_lands_there_in_every_layer():
    """COLMAP's first pixel centre is (0.5, 0.5): no half-pixel bias in any layer."""
    for u, v in [(0.5, 0.5), (13.5, 6.5), (26.999, 18.999)]:
        alone = torch.ones(1)
        hits = find_hits(torch.tensor([[u, v]]), alone, 99 * alone, 0 * alone, alone > 0, (19, 27), 4, 0.01, 1.5)
        offsets = pyramid_offsets(layer_sizes(19, 27, 4))
        expected = [offsets[level] + int(v) // 2**level * -(-27 // 2**level) + int(u) // 2**level for level in range(4)]
        assert hits.pixel.tolist() == expected


def test_discarding_leaves_four_gamma_squared_over_pi_points_per_thinned_pixel():
    """A plane of uniform density: points of spacing s have radius r ~ s, so thinned pixels hold 4 gamma^2 / pi where
    the radius is half the mean spacing of a disc-shaped cell (pi r^2 points^-1 = 1 / 4)."""
    generator = torch.Generator().manual_seed(3)
    gamma, edge, number = 1.5, 64, 600_000
    pixels = torch.rand(number, 2, generator=generator) * edge
    density = number / edge**2
    # adop-facts: the radius is the distance to the 4th neighbour; its area holds 4 points: pi r^2 density = 4.
    radius = torch.full((number,), math.sqrt(4 / (math.pi * density)))
    everything = torch.ones(number, dtype=torch.bool)
    threshold = torch.rand(number, generator=generator)
    hits = find_hits(pixels, torch.ones(number), radius, threshold, everything, (edge, edge), 1, 0.01, gamma)
    assert float(hits.count.double().mean()) == pytest.approx(4 * gamma**2 / math.pi, rel=0.01)


def test_draw_probability_is_gamma_r_squared():
    generator = torch.Generator().manual_seed(1)
    threshold = torch.rand(200_000, generator=generator)
    for radius, level in [(0.2, 0), (0.5, 0), (0.5, 2), (2.0, 1)]:
        share = float(draws(torch.full((200_000,), radius), threshold, level, 1.5).double().mean())
        assert share == pytest.approx(min(1.0, (1.5 * radius / 2**level) ** 2), abs=0.004)


def test_what_is_drawn_coarsely_is_drawn_finely():
    """A layer which discards reads a subset of the finer one."""
    generator = torch.Generator().manual_seed(2)
    radius, threshold = torch.rand(1000, generator=generator), torch.rand(1000, generator=generator)
    drawn = [draws(radius, threshold, level, 1.5) for level in range(4)]
    for fine, coarse in pairwise(drawn):
        assert not bool((coarse & ~fine).any())


def test_kept_out_points_do_not_occlude():
    """A ghost takes no part in the depth test: the point behind it shows."""
    pixels = torch.tensor([[2.5, 1.5], [2.5, 1.5]])
    depth, keep, ones = torch.tensor([1.0, 5.0]), torch.tensor([False, True]), torch.ones(2)
    hits = find_hits(pixels, depth, ones, 0 * ones, keep, (4, 4), 1, 0.01, None)
    assert hits.point.tolist() == [1]
    assert float(hits.depth[1 * 4 + 2]) == 5.0


def test_nearest_depth_is_infinite_where_empty(generator):
    inputs = cloud(generator)
    depth = nearest_depth(inputs["pixels"], inputs["depth"], inputs["keep"], inputs["size"], level=1)
    hits = find_hits(**inputs, layers=2, alpha=0.01, gamma=None)
    assert depth.shape == (10, 14)
    assert torch.equal(depth.flatten(), hits.depth[19 * 27 :])
    assert torch.equal(torch.isinf(depth.flatten()), hits.count[19 * 27 :] == 0)


def test_descriptor_gradient_is_exact(generator):
    inputs = cloud(generator, number=60, size=(5, 6))
    hits = find_hits(**inputs, layers=3, alpha=0.01, gamma=1.5)
    descriptors = torch.randn(60, 2, dtype=torch.float64, generator=generator, requires_grad=True)
    assert isinstance(hits, Hits)
    assert torch.autograd.gradcheck(lambda values: blend(values, hits), descriptors)
