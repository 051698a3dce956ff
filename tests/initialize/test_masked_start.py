"""Black that only means "do not look here" leaves no trace in what a start takes from photos, nor at its edges."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from unrender.datasets.capture import Capture
from unrender.initialize.colors import seen_radiance
from unrender.initialize.environment import seen_environment
from unrender.initialize.fusion import fuse
from unrender.initialize.radiometry import sample_photos
from unrender.initialize.stereo import bare_share, depth_maps
from unrender.initialize.surfels import Surfels

Make = Callable[..., Capture]
MakeSurfels = Callable[[torch.Tensor], Surfels]


def masked(capture: Capture, used: torch.Tensor) -> Capture:
    """The same photos, black where ``used`` [H, W] is 0."""
    image = capture.image
    object.__setattr__(capture, "image", lambda view: image(view) * (used > 0))
    object.__setattr__(capture, "mask", lambda view: used[None].clone())
    return capture


@pytest.fixture
def spots(generator: torch.Generator) -> torch.Tensor:
    """A mask of 48 x 64 that leaves two thirds, in spots of a few pixels, some by half."""
    coarse = torch.rand(1, 1, 12, 16, generator=generator)
    used = torch.nn.functional.interpolate(coarse, scale_factor=4, mode="bilinear")[0, 0]
    return ((used - 0.4) * 6).clamp(0, 1)


def waves(origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """Radiance of the wall z = 0, painted."""
    place = origins + directions * (-origins[:, 2:] / directions[:, 2:])
    return 0.25 + 0.2 * torch.stack([torch.sin(9 * place[:, 0]), torch.cos(7 * place[:, 1]), 0 * place[:, 0]], dim=1)


def test_points_at_the_edge_of_a_mask_get_the_whole_radiance(
    surfels: MakeSurfels, capture_of: Make, plane: torch.Tensor, ring: list[list[float]], spots: torch.Tensor
) -> None:
    radiance, weight = seen_radiance(surfels(plane), masked(capture_of(plane, ring), spots), range(8))
    torch.testing.assert_close(radiance[weight > 0], torch.full_like(radiance[weight > 0], 0.3), atol=0.002, rtol=0)
    assert 0.9 < float((weight > 0).float().mean()) < 1


def test_nothing_is_compared_where_it_is_masked(
    surfels: MakeSurfels,
    capture_of: Make,
    plane: torch.Tensor,
    ring: list[list[float]],
    spots: torch.Tensor,
    generator: torch.Generator,
) -> None:
    plain, hidden = capture_of(plane, ring), masked(capture_of(plane, ring), spots)
    everything, samples = (sample_photos(surfels(plane), c, range(8), generator) for c in (plain, hidden))
    assert everything is not None
    assert samples is not None
    expected = everything.color[0, :, 0, 0][None, :, None, None].expand_as(samples.color)
    torch.testing.assert_close(samples.color, expected, atol=0.002, rtol=0)
    nothing = masked(capture_of(plane, ring), torch.zeros_like(spots))
    assert sample_photos(surfels(plane), nothing, range(8), generator) is None


def test_masked_cells_know_nothing_of_depth(
    surfels: MakeSurfels, capture_of: Make, plane: torch.Tensor, ring: list[list[float]]
) -> None:
    """On a wall half of which is masked, stereo finds the other half as well as before, and nothing at that one."""
    used = torch.ones(48, 64)
    used[:, 40:] = 0
    few, origin = plane[::20], torch.zeros(3, dtype=torch.float64)
    whole = fuse(
        depth_maps(surfels(few), capture_of(few, ring, waves), range(8)), capture_of(few, ring).cameras, origin
    )
    capture = masked(capture_of(few, ring, waves), used)
    maps = depth_maps(surfels(few), capture, range(8))
    found = fuse(maps, capture.cameras, origin)
    for depth_map in maps:
        assert not depth_map.trust[:, 40:].any()
        assert not depth_map.color[:, :, 40:].any()
    assert 0.3 * len(whole) < len(found) < 0.8 * len(whole)
    inner = found.position[(found.position[:, :2].abs() < 0.8).all(dim=1)]
    assert float(inner[:, 2].abs().median()) < 0.02
    assert float(inner[:, 2].abs().quantile(0.9)) < 0.1


def test_a_masked_background_is_not_bare(
    surfels: MakeSurfels, capture_of: Make, plane: torch.Tensor, ring: list[list[float]]
) -> None:
    used = torch.zeros(48, 64)
    used[16:32, 24:40] = 1
    capture = capture_of(plane, ring)
    assert bare_share(surfels(plane), capture, range(8)) > 0.5
    assert bare_share(surfels(plane), masked(capture, used), range(8)) < 0.4
    assert bare_share(surfels(plane), masked(capture, 0 * used), range(8)) == 0


def test_the_environment_does_not_darken(
    surfels: MakeSurfels, capture_of: Make, spots: torch.Tensor, generator: torch.Generator
) -> None:
    eyes = torch.nn.functional.normalize(torch.randn(40, 3, generator=generator), dim=1)
    tiny = 1e-3 * torch.randn(50, 3, generator=generator, dtype=torch.float64)
    found, _ = seen_environment(surfels(tiny), masked(capture_of(tiny, eyes.tolist()), spots), range(40), (32, 64))
    torch.testing.assert_close(found, torch.full_like(found, 0.3), atol=0.002, rtol=0)
