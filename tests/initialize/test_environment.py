"""The environment starts as what the photos show where no point is, without seams or holes."""

from __future__ import annotations

from collections.abc import Callable

import torch

from unrender.datasets.capture import Capture
from unrender.geometry.equirect import texel_centers
from unrender.initialize.environment import empty_pixels, environment_size, fill_gaps, seen_environment
from unrender.initialize.sight import look
from unrender.initialize.surfels import Surfels

Make = Callable[..., Capture]
MakeSurfels = Callable[[torch.Tensor], Surfels]


def glow(origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """Radiance that depends on the direction alone, between 0.1 and 0.5."""
    return 0.3 + 0.2 * torch.nn.functional.normalize(directions, dim=1)


def test_directions_that_were_seen_get_their_radiance(
    surfels: MakeSurfels, capture_of: Make, generator: torch.Generator
) -> None:
    eyes = torch.nn.functional.normalize(torch.randn(60, 3, generator=generator), dim=1)
    tiny = 1e-3 * torch.randn(50, 3, generator=generator, dtype=torch.float64)
    capture = capture_of(tiny, eyes.tolist(), glow)
    found, weight = seen_environment(surfels(tiny), capture, range(60), (32, 64))
    truth = glow(torch.zeros(1), texel_centers(32, 64).reshape(-1, 3)).T.reshape(3, 32, 64)
    seen = weight > 5
    assert float(seen.float().mean()) > 0.9
    assert float((found - truth)[:, seen].abs().max()) < 0.03
    assert float((found - truth).abs().max()) < 0.15


def test_pixels_with_points_do_not_count(surfels: MakeSurfels, capture_of: Make, plane: torch.Tensor) -> None:
    cameras = capture_of(plane, [[0.0, 0.0, -3.0]]).cameras
    empty = empty_pixels(look(surfels(plane), cameras, 0).layers)
    assert float(empty[12:36, 20:44].float().mean()) < 0.02
    assert bool(empty[:, :6].all())


def test_gaps_take_their_surroundings_around_the_seam() -> None:
    weight = torch.zeros(16, 32)
    weight[:, 30:] = 1
    value = torch.tensor([0.2, 0.4, 0.8])[:, None, None]
    torch.testing.assert_close(fill_gaps(value * weight, weight), value.expand(3, 16, 32))
    weight[:, 14:18] = 1
    image = value * weight
    image[:, :, 14:18] = 0
    filled = fill_gaps(image, weight)
    # The first columns are next to the bright ones, across the seam; the middle ones are next to the dark ones.
    assert bool((filled[:, :, 0] > 2 * filled[:, :, 12]).all())


def test_a_texel_is_about_four_pixels_wide(capture_of: Make, plane: torch.Tensor) -> None:
    cameras = capture_of(plane, [[0.0, 0.0, -3.0]]).cameras
    # 2 pi times 60 pixels of focal length are 377 pixels around, 94 texels: 128 is the nearest power of two.
    assert environment_size(cameras, [0]) == (
        64,
        128,
    )
