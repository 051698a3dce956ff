"""How far points land from where the photos are said to have seen them: exact, where a format keeps observations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from unrender.datasets.reconstruction import Observations, Reconstruction

__all__ = ["MOST", "Residuals", "chosen_observations", "residuals"]

MOST = 60_000
"""Observations that are looked at, of more a random part."""
_SHARE = 0.8
"""The residual that counts is the one that so many are below: outliers do not, the corners of the photo do."""


@dataclass(frozen=True)
class Residuals:
    """Distances in photo pixels, infinite where a point is behind its camera or outside the lens.

    ``median``; ``most``: four of five are below; ``behind``: share of infinite ones; ``by_view`` [V]: medians, NaN
    where a view has no observation; ``count`` of observations.
    """

    median: float
    most: float
    behind: float
    by_view: torch.Tensor
    count: int


def chosen_observations(found: Reconstruction, most: int = MOST, seed: int = 0) -> Observations | None:
    """Observations of points, at most ``most`` of them; None where there are none."""
    if found.observations is None:
        return None
    which = torch.nonzero(found.observations.point >= 0)[:, 0]
    if len(which) == 0:
        return None
    if len(which) > most:
        generator = torch.Generator().manual_seed(seed)
        which = which[torch.randperm(len(which), generator=generator)[:most]].sort().values
    seen = found.observations
    return Observations(seen.view[which], seen.pixel[which], seen.point[which])


def residuals(found: Reconstruction, seen: Observations) -> Residuals:
    """Of the observations ``seen`` of ``found``, whose points and views they name."""
    distance = _distances(found, seen)
    ranked = distance.sort().values
    by_view = torch.full((len(found),), math.nan, dtype=torch.float64)
    ends = torch.searchsorted(seen.view, torch.arange(len(found)), right=True).tolist()
    for view, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
        if end > start:
            by_view[view] = distance[start:end].median()
    return Residuals(
        median=float(ranked[len(ranked) // 2]),
        most=float(ranked[int(_SHARE * len(ranked))]),
        behind=float(distance.isinf().double().mean()),
        by_view=by_view,
        count=len(seen),
    )


def _distances(found: Reconstruction, seen: Observations) -> torch.Tensor:
    """Of each observation [O] float64, photo pixels."""
    pose = found.camera_from_world[seen.view]
    places = (pose[:, :3, :3] @ found.points.positions[seen.point][:, :, None])[:, :, 0] + pose[:, :3, 3]
    distance, camera = torch.full((len(seen),), math.inf, dtype=torch.float64), found.camera_index[seen.view]
    for number, lens in enumerate(found.lenses):
        which = torch.nonzero(camera == number)[:, 0]
        pixel, inside = lens.project(places[which])
        off = (pixel - seen.pixel[which]).norm(dim=1)
        distance[which] = off.where(inside & off.isfinite(), math.inf)
    return distance
