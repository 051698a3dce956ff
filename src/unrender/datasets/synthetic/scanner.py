"""The scanner: rays from a few stations become a point cloud with noise, holes and strays, as real scans have them."""

from __future__ import annotations

import math

import torch

from unrender.datasets.clouds import PointCloud
from unrender.datasets.synthetic.casting import Hits
from unrender.datasets.synthetic.light import LitRoom
from unrender.datasets.synthetic.raycast import radiance_along
from unrender.datasets.synthetic.room import HEIGHT, LENGTH, WIDTH

__all__ = ["DIAGONAL", "scan"]

DIAGONAL = math.sqrt(WIDTH**2 + LENGTH**2 + HEIGHT**2)
"""The room's diagonal, the length that noise is relative to."""
STATIONS = (
    (1.2, 1.0, 1.6),
    (3.9, 0.9, 1.3),
    (3.5, 3.1, 1.7),
    (1.4, 2.5, 1.4),
    (2.5, 0.8, 0.9),
    (2.9, 3.2, 0.6),
    (2.42, 1.92, 1.75),
)
"""Where the scanner stood [scene units]."""
SURPLUS = 2
"""Hits taken for each point that is kept."""
STRAYS = 0.01
"""Share of points that hang in the air, as where a beam grazes an edge."""
NORMAL_NOISE = 0.05
"""Standard deviation of the normals' tilt in each direction [rad]."""


def scan(lit: LitRoom, points: int, noise: float, gain: float, seed: int = 0) -> PointCloud:
    """A cloud of ``points`` points with normals towards the scanner and colours in 0..1.

    ``noise``: standard deviation of the position in each direction, as a share of the room's diagonal; ``gain``: what
    radiance is multiplied by before the scanner stores it with exponent 0.45. Density falls with distance, and what no
    station sees stays empty.
    """
    chance = torch.Generator().manual_seed(seed)
    count = math.ceil(points * SURPLUS / len(STATIONS))
    seen = [sweep(lit, torch.tensor(station), count, chance) for station in STATIONS]
    point, normal, beam, distance = (torch.cat(parts) for parts in zip(*seen, strict=True))
    # A plain sweep is densest beside the scanner: keeping hits in proportion to their distance evens out half of it.
    kept = torch.multinomial(distance, min(points, len(point)), generator=chance)
    point, normal, beam, distance = point[kept], normal[kept], beam[kept], distance[kept]
    radiance = radiance_along(
        lit, point - 0.05 * beam, beam, torch.zeros(len(point), dtype=torch.int64), 0.002, mirror=False
    )
    place = point.double() + torch.randn(len(point), 3, generator=chance, dtype=torch.float64) * (noise * DIAGONAL)
    stray = torch.rand(len(point), generator=chance) < STRAYS
    back = torch.rand(len(point), generator=chance) * 0.3 * distance
    place = torch.where(stray[:, None], place - (back[:, None] * beam).double(), place)
    tilt = torch.randn(len(point), 3, generator=chance) * NORMAL_NOISE
    return PointCloud(
        place, (radiance * gain).clamp(0, 1) ** 0.45, torch.nn.functional.normalize(normal + tilt, dim=-1)
    )


def sweep(lit: LitRoom, station: torch.Tensor, count: int, chance: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Points, normals and beams [M, 3] and distances [M] of what ``count`` even directions meet."""
    up = 1 - 2 * (torch.arange(count) + torch.rand(count, generator=chance)) / count
    turn = torch.arange(count, dtype=torch.float64) * (math.pi * (3 - math.sqrt(5)))
    turn = (turn % (2 * math.pi)).float() + float(torch.rand((), generator=chance))
    level = (1 - up * up).clamp(min=0).sqrt()
    beam = torch.stack([level * torch.cos(turn), level * torch.sin(turn), up], -1)
    hits = lit.room.shapes.cast(station.expand(count, 3), beam)
    met = (hits.shape >= 0).nonzero()[:, 0]
    beam = beam[met]
    surface = lit.room.shapes.surface(station.expand(len(met), 3), beam, Hits(hits.distance[met], hits.shape[met]))
    return surface.point, surface.normal, beam, hits.distance[met]
