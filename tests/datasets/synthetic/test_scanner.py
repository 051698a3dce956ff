"""The scan: points on surfaces, noise as wished, strays few."""

from __future__ import annotations

import torch

from unrender.datasets.synthetic.light import LitRoom
from unrender.datasets.synthetic.scanner import DIAGONAL, STRAYS, scan


def heights(lit: LitRoom, positions: torch.Tensor, normals: torch.Tensor) -> torch.Tensor:
    """Signed distance from each point to the surface below it along its normal."""
    start = (positions + 0.03 * normals).float()
    return 0.03 - lit.room.shapes.cast(start, -normals).distance


def test_points_lie_on_surfaces_within_the_noise(lit_room: LitRoom):
    for noise in (0.0, 0.0006):
        cloud = scan(lit_room, 3000, noise, gain=1.0)
        assert cloud.colors is not None
        assert cloud.normals is not None
        assert torch.allclose(cloud.normals.norm(dim=-1), torch.ones(3000), atol=1e-5)
        assert cloud.colors.min() >= 0
        assert cloud.colors.max() <= 1
        height = heights(lit_room, cloud.positions, cloud.normals).abs()
        limit = 4 * noise * DIAGONAL + 1e-4
        # Strays hang in the air; beside thin parts the normal's tilt lets the test ray slip past.
        assert (height < limit).float().mean() > 0.95 - STRAYS
        if noise:
            assert 0.5 * noise * DIAGONAL < height[height < limit].mean() < 1.2 * noise * DIAGONAL


def test_same_seed_same_points(lit_room: LitRoom):
    first, again, other = (scan(lit_room, 500, 0.001, 1.0, seed).positions for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
