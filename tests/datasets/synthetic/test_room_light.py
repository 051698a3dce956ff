"""Light in the room: range, closed forms, and patterns that blur as pixels do."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from unrender.datasets.synthetic import light
from unrender.datasets.synthetic.casting import pack
from unrender.datasets.synthetic.light import LitRoom, exchange, outdoors, sunlight, window_light
from unrender.datasets.synthetic.raycast import geometry_of, radiance_of
from unrender.datasets.synthetic.room import LENGTH, WINDOW
from unrender.datasets.synthetic.shapes import ball
from unrender.datasets.synthetic.textures import PATTERNS, pattern_names, wave
from unrender.datasets.synthetic.viewpoints import walk


def corner_factor(a: float, b: float) -> float:
    """Form factor from a facing point under one corner of a rectangle a x b at distance 1 (closed form)."""
    p, q = math.sqrt(1 + a * a), math.sqrt(1 + b * b)
    return (a / p * math.atan(b / p) + b / q * math.atan(a / q)) / math.tau


def test_window_light_is_that_of_its_form_factor(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(light, "WINDOW_CELLS", (6, 3))
    monkeypatch.setattr(light, "outdoors", lambda direction: torch.ones_like(direction))
    left, right, low, high = WINDOW
    distance = 1.5
    center = torch.tensor([[(left + right) / 2, LENGTH - distance, (low + high) / 2]]).expand(16, 3)
    nothing = pack([[ball((100.0, 100.0, -100.0), 1.0, 0)]])
    found = window_light(nothing, center, torch.tensor([[0.0, 1.0, 0.0]]).expand(16, 3), torch.arange(16)).mean()
    expected = math.pi * 4 * corner_factor((right - left) / 2 / distance, (high - low) / 2 / distance)
    assert float(found) == pytest.approx(expected, rel=0.02)


def test_exchange_sums_the_series_of_a_closed_grey_room():
    seen = torch.arange(12).reshape(6, 2) % 6
    passed = exchange(torch.ones(6, 3), torch.full((6, 3), 0.5), seen)
    assert torch.allclose(passed, torch.full((6, 3), 1 - 0.5**light.BOUNCES))
    assert exchange(torch.ones(6, 3), torch.full((6, 3), 0.5), torch.full((6, 2), -1)).abs().max() == 0


def test_sun_reaches_the_floor_only_through_the_window(lit_room: LitRoom):
    x, y = torch.meshgrid(torch.linspace(0.1, 4.9, 60), torch.linspace(0.1, 3.9, 50), indexing="ij")
    floor = torch.stack([x.flatten(), y.flatten(), torch.full((3000,), 0.012)], -1)
    up = torch.tensor([[0.0, 0.0, 1.0]]).expand(3000, 3)
    sunny = sunlight(lit_room.room.shapes, floor, up, torch.zeros(3000, dtype=torch.int64))[:, 0] > 0
    assert 0.02 < sunny.float().mean() < 0.25
    through = floor[sunny] + light.SUN * ((LENGTH - floor[sunny, 1]) / light.SUN[1])[:, None]
    left, right, low, high = WINDOW
    assert through[:, 0].min() > left - 0.06
    assert through[:, 0].max() < right + 0.06
    assert through[:, 2].min() > low - 0.06
    assert through[:, 2].max() < high + 0.06


def test_ten_stops_lie_between_window_and_shadow(lit_room: LitRoom):
    cameras = walk(24, 64, 48)
    radiance = torch.stack([radiance_of(lit_room, cameras, view) for view in (3, 7, 12, 20)])
    assert radiance.dtype == torch.float32
    assert bool(radiance.isfinite().all())
    assert radiance.min() >= 0
    luminance = radiance.mean(1).flatten()
    dark, bright = luminance.quantile(torch.tensor([0.001, 0.999]))
    assert torch.log2(bright / dark) >= 10


def test_light_falls_off_from_the_window_by_the_stops_asked_for(lit_room: LitRoom):
    """A floor board keeps its pattern: only the factor along y is new, and it is the asked one from wall to wall."""
    wide = replace(lit_room, falloff=8.0)
    ends = wide.brightness(torch.tensor([0.0, LENGTH]))
    assert float(torch.log2(ends[1] / ends[0])) == pytest.approx(8)
    cameras = walk(24, 64, 48)
    for view in (3, 20):
        plain, fallen = (radiance_of(each, cameras, view) for each in (lit_room, wide))
        lit = plain > 1e-6
        stops = torch.log2(fallen[lit] / plain[lit])
        assert -4.01 <= float(stops.min()) <= float(stops.max()) <= 4.01
        assert float(stops.max() - stops.min()) > 1


def test_depth_and_distance_belong_to_the_same_point(lit_room: LitRoom):
    cameras = walk(24, 64, 48)
    geometry = geometry_of(lit_room, cameras, 5)
    met = geometry.distance.isfinite()
    points = cameras.centers[5] + geometry.distance[..., None].double() * cameras.directions(5).double()
    seen = cameras.project(5, points[met])
    v, u = met.nonzero().unbind(1)
    assert (seen.pixels - torch.stack([u, v], 1) - 0.5).abs().max() < 2e-3
    assert (seen.depth - geometry.depth[met]).abs().max() < 1e-4
    assert bool(seen.inside.all())
    assert ((geometry.normal.permute(1, 2, 0) * cameras.directions(5)).sum(-1) <= 1e-6).all()


def test_outdoors_is_bright_and_has_no_seam():
    turn = torch.tensor([math.pi - 1e-5, -math.pi + 1e-5])
    # The seam of the azimuth lies behind the window's wall, where nobody looks; ahead there is none.
    ahead = torch.stack([torch.sin(turn - math.pi), torch.cos(turn - math.pi), torch.full((2,), 0.1)], -1)
    seen = outdoors(torch.nn.functional.normalize(ahead, dim=-1))
    assert (seen[0] - seen[1]).abs().max() < 1e-2
    assert seen.min() > 0.3


@pytest.mark.parametrize("name", pattern_names())
def test_patterns_reflect_part_of_the_light_and_blur(name: str):
    pattern = PATTERNS[pattern_names().index(name)]
    chance = torch.Generator().manual_seed(0)
    uv = torch.rand(4000, 2, generator=chance) * 1.1
    a, b = torch.tensor([[0.5, 0.3, 0.2]]).expand(4000, 3), torch.tensor([[0.1, 0.2, 0.3]]).expand(4000, 3)
    sharp = pattern(uv, torch.full((4000,), 1e-4), a, b)
    assert sharp.shape == (4000, 3)
    assert sharp.min() >= -1e-3
    assert sharp.max() <= 1.25
    soft = pattern(uv, torch.full((4000,), 0.1), a, b)
    assert soft.std(0).mean() <= sharp.std(0).mean() + 0.01
    assert (soft.mean(0) - sharp.mean(0)).abs().max() < 0.12


def test_waves_are_averaged_over_the_pixel():
    x = torch.linspace(0, 1, 50)
    offsets = torch.linspace(-0.5, 0.5, 2001) * 0.07
    inside = (((x[:, None] + offsets) / 0.11) % 1 < 0.45).float().mean(1)
    assert torch.allclose(wave(x, 0.11, 0.45, torch.full((50,), 0.07)), inside, atol=2e-3)
