"""The equirectangular mapping: known directions, round trips, equal areas."""

from __future__ import annotations

import math

import pytest
import torch

from unrender.geometry.equirect import direction_from_texel, texel_centers, texel_from_direction


@pytest.mark.parametrize(
    ("direction", "place"),
    [
        ((0.0, 0.0, 1.0), (0.5, 0.5)),
        ((1.0, 0.0, 0.0), (0.75, 0.5)),
        ((-3.0, 0.0, 0.0), (0.25, 0.5)),
        ((0.0, 1.0, 1.0), (0.5, 0.25)),
        ((0.0, -1.0, 1.0), (0.5, 0.75)),
    ],
)
def test_known_directions(direction: tuple[float, ...], place: tuple[float, float]) -> None:
    u, v = texel_from_direction(torch.tensor(direction, dtype=torch.float64))
    assert (float(u), float(v)) == pytest.approx(place, abs=1e-12)


def test_poles_are_the_first_and_last_row() -> None:
    _, v = texel_from_direction(torch.tensor([[0.0, 2.0, 0.0], [0.0, -2.0, 0.0]]))
    assert v.tolist() == [0.0, 1.0]


def test_there_and_back() -> None:
    directions = torch.nn.functional.normalize(
        torch.randn(1000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64), dim=-1
    )
    torch.testing.assert_close(direction_from_texel(*texel_from_direction(directions)), directions, atol=1e-12, rtol=0)


def test_precision_near_a_pole_in_float32() -> None:
    angle = 1e-4
    direction = torch.tensor([math.sin(angle), math.cos(angle), 0.0])
    assert float(texel_from_direction(direction)[1]) * math.pi == pytest.approx(angle, rel=1e-5)


def test_texel_centers_map_back_to_their_texels() -> None:
    u, v = texel_from_direction(texel_centers(8, 16))
    torch.testing.assert_close(u * 16, (torch.arange(16) + 0.5).expand(8, 16), atol=1e-4, rtol=0)
    torch.testing.assert_close(v * 8, (torch.arange(8) + 0.5)[:, None].expand(8, 16), atol=1e-4, rtol=0)
