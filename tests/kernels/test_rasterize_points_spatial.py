"""The approximated derivative by position: every case by hand, a plain loop, and the forward pass itself as judge."""

import math
from dataclasses import replace
from typing import get_args

import pytest
import torch

from unrender.kernels.rasterize_points import spatial
from unrender.kernels.rasterize_points.reference import Hits, blend, find_hits, layer_sizes, pyramid_offsets
from unrender.kernels.rasterize_points.spatial import Movers, Moves, layers_drawn, let_move, near_image
from unrender.kernels.rasterize_points.spatial import spatial_gradient as gradient_of

ALPHA = 0.01
MOVES = get_args(Moves)


def mover(u, v, depth=1.0, value=2.0, drawn=9, relief=0.0):
    return Movers(
        torch.tensor([[u, v]]),
        torch.tensor([depth]),
        torch.tensor([drawn]),
        torch.tensor([relief]),
        torch.tensor([[value]], dtype=torch.float64),
    )


def cross(home_count=1, home_depth=1.0):
    """A 3 x 3 image of one channel. Around its middle: right empty, left near, below far, above as deep as 1."""
    depth = torch.tensor([9.0, 1.005, 9, 0.5, home_depth, math.inf, 9, 4, 9])
    count = torch.tensor([1, 2, 1, 1, home_count, 0, 1, 3, 1])
    image = torch.tensor([0.0, 5, 0, 1, 2.5, 7, 0, 10, 0], dtype=torch.float64)[:, None]
    felt = torch.tensor([0.0, 300, 0, 11, 0.1, 13, 0, 17, 0], dtype=torch.float64)[:, None]
    return image, felt, Hits(torch.zeros(0), torch.zeros(0), count, depth)


def one(mover, moves, image, felt, hits, size=(3, 3), layers=1):
    return gradient_of(mover, image, felt, hits, size, layers, ALPHA, moves)[0].tolist()


def test_the_four_cases_by_hand():
    """T = 2. Right: empty, environment 7. Left: behind 0.5. Below: in front of 4, which shows 10. Above: two of 5."""
    right, left = 13 * (2 - 7), 0
    below, above = 17 * (2 - 10), 300 * ((2 * 5 + 2) / 3 - 5)
    assert one(mover(1.5, 1.5), "alone", *cross()) == pytest.approx([(right - left) / 2, (below - above) / 2])


def test_replacing_never_looks_at_depth():
    right, left, below, above = 13 * (2 - 7), 11 * (2 - 1), 17 * (2 - 10), 300 * (2 - 5)
    assert one(mover(1.5, 1.5), "replace", *cross()) == pytest.approx([(right - left) / 2, (below - above) / 2])


def test_together_rims_count_on_both_sides_and_once_per_pixel():
    """Four points are at home and the ghost makes five. In front, the change is felt at home (0.1) as well."""
    right, left = (13 + 0.1) * (2 - 7) / 5, 0
    below, above = (17 + 0.1) * (2 - 10) / 5, 300 * ((2 * 5 + 2) / 3 - 5)
    seen = one(mover(1.5, 1.5), "together", *cross(home_count=4))
    assert seen == pytest.approx([(right - left) / 2, (below - above) / 2])


def test_together_a_slanted_surface_is_one_surface():
    """A relief of 4 per pixel: 4 lies within the band of 1 now (three points of 10), and so does 0.5 (one of 1)."""
    right, left = (13 + 0.1) * (2 - 7) / 2, 11 * (2 - 1) / 2
    below, above = 17 * (2 - 10) / 4, 300 * ((2 * 5 + 2) / 3 - 5)
    assert one(mover(1.5, 1.5, relief=4.0), "together", *cross()) == pytest.approx(
        [(right - left) / 2, (below - above) / 2]
    )


def test_what_is_hidden_at_home_counts_alone_but_not_together():
    hidden = cross(home_depth=0.3)
    assert one(mover(1.5, 1.5), "together", *hidden) == [0, 0]
    assert one(mover(1.5, 1.5), "alone", *hidden) == one(mover(1.5, 1.5), "alone", *cross())


def test_a_ghost_alone_in_its_pixel_uncovers_nothing():
    image, felt, hits = cross(home_count=0, home_depth=math.inf)
    assert one(mover(1.5, 1.5), "together", image, felt, hits)[0] == pytest.approx(13 * (2 - 7) / 2)


@pytest.mark.parametrize("moves", MOVES)
def test_borders(moves):
    """Arriving outside changes nothing; from outside only a point alone, or one that always replaces, comes in."""
    image, felt, hits = cross()
    corner = one(mover(2.5, 1.5, depth=0.1), moves, image, felt, hits)  # moves left into the middle, right into nothing
    assert corner[0] == pytest.approx(-0.1 * (2 - 2.5) / 2)
    outside = one(mover(-0.5, 1.5, depth=0.1), moves, image, felt, hits)
    assert outside == ([0, 0] if moves == "together" else pytest.approx([11 * (2 - 1) / 2, 0]))
    assert one(mover(-1.5, 1.5, depth=0.1), moves, image, felt, hits) == [0, 0]


@pytest.mark.parametrize("moves", MOVES)
def test_a_layer_counts_by_the_inverse_size_of_its_pixels_and_only_where_it_draws(moves):
    """Layer 1 of a 2 x 4 image has two pixels; only the right one, empty and showing 7, passes a gradient on."""
    image, felt = torch.full((10, 1), 7.0, dtype=torch.float64), torch.zeros(10, 1, dtype=torch.float64)
    felt[9] = 3
    hits = Hits(torch.zeros(0), torch.zeros(0), torch.zeros(10, dtype=torch.int64), torch.full((10,), math.inf))
    assert one(mover(0.5, 0.5, drawn=2), moves, image, felt, hits, (2, 4), 2) == pytest.approx([3 * -5 / 2 / 2, 0])
    assert one(mover(0.5, 0.5, drawn=1), moves, image, felt, hits, (2, 4), 2) == [0, 0]


def case(generator, number=500, size=(13, 18), layers=3, gamma: float | None = 1.5):
    """A random cloud in and around an image, a fifth of it ghosts, in float64, and everything that a loop needs."""
    pixels = torch.rand(number, 2, generator=generator) * torch.tensor([size[1] + 10.0, size[0] + 10.0]) - 5
    depth = torch.tensor([1.0, 1.005, 1.3, 2.0])[torch.randint(4, (number,), generator=generator)]
    radius, threshold = 2 * torch.rand(number, generator=generator), torch.rand(number, generator=generator)
    ghost = torch.rand(number, generator=generator) < 0.2
    descriptors = torch.randn(number, 2, generator=generator, dtype=torch.float64)
    hits = find_hits(pixels, depth, radius, threshold, ~ghost, size, layers, ALPHA, gamma)
    image = blend(descriptors, hits)
    image[hits.count == 0] = torch.randn(2, generator=generator, dtype=torch.float64)
    felt = torch.randn(image.shape, generator=generator, dtype=torch.float64)
    drawn = layers_drawn(radius, threshold, layers, gamma)
    relief = 0.2 * torch.rand(number, generator=generator)
    which = ghost & near_image(pixels, size, layers)
    movers = Movers(pixels[which], depth[which], drawn[which], relief[which], descriptors[which])
    return movers, image, felt, hits, size, layers


def plain_share(z, relief, level, moves, here, there):
    """Share and whether home feels it too; ``here`` and ``there`` are (depth, count), ``here`` None outside."""
    if moves == "replace":
        return 1.0, False
    band = ALPHA + (2**level * relief if moves == "together" else 0)
    if moves == "together" and (here is None or z > (1 + ALPHA) * here[0]):
        return 0.0, False
    if there[1] == 0 or z * (1 + band) < there[0]:
        return (1.0, False) if moves == "alone" else (1 / (here[1] + 1), here[1] > 0)
    return (0.0 if z > (1 + band) * there[0] else 1 / (there[1] + 1)), False


def loop(movers, image, felt, hits, size, layers, moves):
    """Point by point, layer by layer, neighbour by neighbour. Independent of the code under test."""
    result, offset = torch.zeros(len(movers), 2, dtype=torch.float64), 0
    for level in range(layers):
        width = math.ceil(size[1] / 2**level)
        for k in range(len(movers)):
            u, v = (math.floor(x) for x in movers.pixels[k].tolist())
            for axis, sign in ((0, 1), (0, -1), (1, 1), (1, -1)):
                u1, v1 = (u + sign * 2**level, v) if axis == 0 else (u, v + sign * 2**level)
                if not (0 <= u1 < size[1] and 0 <= v1 < size[0]) or movers.drawn[k] <= level:
                    continue
                p = offset + (v // 2**level) * width + u // 2**level
                q = offset + (v1 // 2**level) * width + u1 // 2**level
                here = (float(hits.depth[p]), int(hits.count[p])) if 0 <= u < size[1] and 0 <= v < size[0] else None
                there = (float(hits.depth[q]), int(hits.count[q]))
                z, relief = float(movers.depth[k]), float(movers.relief[k])
                share, both = plain_share(z, relief, level, moves, here, there)
                for c in range(image.shape[1]):
                    g = float(felt[q, c]) + (float(felt[p, c]) if both else 0.0)
                    change = share * (float(movers.descriptors[k, c]) - float(image[q, c]))
                    result[k, axis] += 0.5 * sign * change * g / 2**level
        offset += width * math.ceil(size[0] / 2**level)
    return result


@pytest.mark.parametrize("gamma", [None, 1.5])
@pytest.mark.parametrize("moves", MOVES)
def test_equals_a_plain_loop(generator, moves, gamma):
    for number in (40, 500):
        everything = case(generator, number, gamma=gamma)
        seen = gradient_of(*everything, ALPHA, moves)
        assert float(seen.abs().amax()) > 0.1
        torch.testing.assert_close(seen, loop(*everything, moves), rtol=1e-12, atol=1e-12)


def test_the_forward_pass_agrees(generator):
    """Move a ghost by a pixel of a layer, render that layer with it there and without it: half the difference of the
    losses of opposite moves is the derivative. (Exact here, where no depth lies between two bands.)"""
    movers, image, felt, hits, size, layers = case(generator, 300, gamma=None)
    single = [movers.split(1)[k] for k in range(0, len(movers), 5)]
    sizes = layer_sizes(*size, layers)
    offsets = pyramid_offsets(sizes)
    for one_of in single:
        expected = torch.zeros(2, dtype=torch.float64)
        for level, axis in ((level, axis) for level in range(layers) for axis in (0, 1)):
            for sign in (1, -1):
                place = one_of.pixels.clone()
                place[0, axis] += sign * 2**level
                lone = torch.ones(1)
                there = find_hits(place, one_of.depth, lone, 0 * lone, lone > 0, size, layers, ALPHA, None)
                for q in there.pixel[(there.pixel >= offsets[level]) & (there.pixel < offsets[level + 1])].tolist():
                    shown = rendered_with(one_of, q, image, hits)
                    expected[axis] += 0.5 * sign / 2**level * float(((shown - image[q]) * felt[q]).sum())
        seen = gradient_of(one_of, image, felt, hits, size, layers, ALPHA, "alone")[0]
        torch.testing.assert_close(seen, expected, rtol=1e-12, atol=1e-12)


def rendered_with(point, pixel, image, hits):
    """What ``pixel`` shows when ``point`` joins those that are blended there, by the forward pass."""
    depth = torch.cat([hits.depth[pixel].expand(int(hits.count[pixel])), point.depth])
    values = torch.cat([image[pixel].expand(int(hits.count[pixel]), -1), point.descriptors])
    ones = torch.ones(len(depth))
    joined = find_hits(0.5 * torch.ones(len(depth), 2), depth, ones, 0 * ones, ones > 0, (1, 1), 1, ALPHA, None)
    return blend(values, joined)[0]


def test_lots_do_not_matter(generator, monkeypatch):
    everything = case(generator)
    whole = gradient_of(*everything, ALPHA)
    monkeypatch.setattr(spatial, "_CHUNK", 7)
    assert torch.equal(gradient_of(*everything, ALPHA), whole)


def test_a_whole_surface_that_moves_gets_the_derivative_of_its_image(generator):
    """One point per pixel of a plane: the sum over all points is the central difference of the image, halved by
    blending with the one that is there, and with no bias from the image itself."""
    height, width = 12, 15
    v, u = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels, ones = torch.stack([u, v], -1).reshape(-1, 2), torch.ones(height * width)
    values = torch.randn(height * width, 1, generator=generator, dtype=torch.float64)
    hits = find_hits(pixels, ones, ones, 0 * ones, ones > 0, (height, width), 1, ALPHA, None)
    felt = torch.zeros(height, width, dtype=torch.float64)
    felt[4, 7] = 1
    movers = Movers(pixels, ones, ones.long(), 0 * ones, values)
    image = values.reshape(height, width)
    for moves, part in zip(MOVES, (0.5, 0.5, 1.0), strict=True):
        seen = gradient_of(movers, values, felt.reshape(-1, 1), hits, (height, width), 1, ALPHA, moves).sum(0)
        expected = torch.stack([image[4, 6] - image[4, 8], image[3, 7] - image[5, 7]]) / 2
        torch.testing.assert_close(seen, part * expected, rtol=1e-12, atol=1e-12)


def test_the_image_and_its_own_gradient_pass_unchanged(generator):
    movers, image, felt, hits, size, layers = case(generator)
    image, positions = image.requires_grad_(), movers.pixels.double().requires_grad_()
    moved = let_move(image, positions, movers, hits, size, layers, ALPHA)
    assert torch.equal(moved, image)
    by_image, by_position = torch.autograd.grad(moved, (image, positions), felt)
    assert torch.equal(by_image, felt)
    assert torch.equal(by_position, gradient_of(movers, image.detach(), felt, hits, size, layers, ALPHA))


def test_float32_is_float64_to_rounding(generator):
    movers, image, felt, hits, size, layers = case(generator)
    narrow = replace(movers, descriptors=movers.descriptors.float())
    seen = gradient_of(narrow, image.float(), felt.float(), hits, size, layers, ALPHA)
    assert seen.dtype == torch.float32
    torch.testing.assert_close(
        seen.double(), gradient_of(movers, image, felt, hits, size, layers, ALPHA), rtol=1e-4, atol=1e-5
    )
