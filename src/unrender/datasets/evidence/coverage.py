"""Where points lie as the photos see them: behind, outside, how dense, and how much of each photo they cover."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unrender.datasets.reconstruction import Reconstruction
from unrender.datasets.synthetic.workers import side_by_side
from unrender.geometry.transforms import transform

__all__ = ["Coverage", "look_at_points"]

_MOST = 60_000
"""Points that are looked at, of more a random part."""
_CELLS = 16
"""A photo is this many squares wide when it is asked how much of it has points."""


@dataclass(frozen=True)
class Coverage:
    """What views see of N points, hidden or not.

    ``inside`` [V]: points in each photo; ``behind`` [V]: share of the points behind the camera or outside what its lens
    can see; ``covered`` [V]: share of the photo's squares with a point; ``spacing`` [V]: from point to point in what is
    covered [photo pixels]; all NaN for views that were not looked at; ``outside``: share of the points in no photo.
    """

    inside: torch.Tensor
    behind: torch.Tensor
    covered: torch.Tensor
    spacing: torch.Tensor
    outside: float


def look_at_points(found: Reconstruction, points: torch.Tensor, views: Sequence[int], seed: int = 0) -> Coverage:
    """What ``views`` of ``found`` see of ``points`` [N, 3]."""
    total = len(points)
    if total > _MOST:
        points = points[torch.randperm(total, generator=torch.Generator().manual_seed(seed))[:_MOST]]
    seen = torch.zeros(len(points), dtype=torch.bool)
    rows = torch.full((4, len(found)), math.nan, dtype=torch.float64)
    for view, (numbers, inside) in zip(views, side_by_side(lambda view: _of(found, points, view), views), strict=True):
        seen |= inside
        rows[:, view] = torch.tensor(numbers, dtype=torch.float64)
    many = total / max(len(points), 1)
    return Coverage(rows[0] * many, rows[1], rows[2], rows[3] / math.sqrt(many), float((~seen).double().mean()))


def _of(
    found: Reconstruction, points: torch.Tensor, view: int
) -> tuple[tuple[float, float, float, float], torch.Tensor]:
    """Points inside, share behind, share of squares covered, spacing; and which points are inside."""
    lens = found.lenses[int(found.camera_index[view])]
    pixel, before = lens.project(transform(found.camera_from_world[view], points))
    size = torch.tensor([lens.width, lens.height], dtype=torch.float64)
    inside = before & (pixel >= 0).all(dim=1) & (pixel < size).all(dim=1)
    square = lens.width / _CELLS
    rows = math.ceil(lens.height / square)
    column, row = (pixel[inside] / square).long().unbind(dim=1)
    filled = len(torch.unique(row.clamp(max=rows - 1) * _CELLS + column.clamp(max=_CELLS - 1)))
    count = int(inside.sum())
    spacing = square * math.sqrt(filled / count) if count else math.nan
    return (count, float((~before).double().mean()), filled / (rows * _CELLS), spacing), inside
