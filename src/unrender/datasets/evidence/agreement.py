"""Whether photos agree where points say that they look at the same place.

Points are projected into the photos, and the detail that a photo shows there (``looks.py``) is compared with the mean
of what the other photos show of the same point. The correlation is near 1 where poses, lenses and points are right and
photos sharp, and 0 as soon as points land some pixels beside where they belong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from unrender.datasets.evidence.looks import STEP, Look
from unrender.datasets.reconstruction import Reconstruction
from unrender.geometry.transforms import transform

__all__ = ["Agreement", "Places", "Samples", "Witnesses", "agreement", "consensus", "fit_to", "places_in", "sample"]

_CELLS = 24
"""A photo is this many squares wide when it is asked what hides what."""
_BEHIND = 1.25
"""A point this many times as far as the nearest one in its square counts as hidden."""
_MARGIN = 2.0
"""Standard deviations by which a correlation of chance is thought to be too high."""


@dataclass(frozen=True)
class Witnesses:
    """Photos and points that are asked.

    ``looks``: photos by view; ``scale`` [V, 2]: working pixels per photo pixel; ``points`` [P, 3] float64, world;
    ``observed`` [V, P] bool: what each view is said to have seen; None where nobody says.
    """

    looks: Mapping[int, Look]
    scale: torch.Tensor
    points: torch.Tensor
    observed: torch.Tensor | None = None

    @property
    def views(self) -> list[int]:
        """The views whose photos are there."""
        return sorted(self.looks)

    def fewer(self, views: Sequence[int], points: int) -> Witnesses:
        """Only those views and the first so many points."""
        observed = None if self.observed is None else self.observed[:, :points]
        return Witnesses({view: self.looks[view] for view in views}, self.scale, self.points[:points], observed)


@dataclass(frozen=True)
class Places:
    """Where a view sees points: ``point`` [M], indices of the witnesses' points, and ``pixel`` [M, 2], working."""

    point: torch.Tensor
    pixel: torch.Tensor


@dataclass(frozen=True)
class Samples:
    """What photos show of points: ``view`` [S], ``point`` [S], ``details`` [S, 2] float32."""

    view: torch.Tensor
    point: torch.Tensor
    details: torch.Tensor


@dataclass(frozen=True)
class Agreement:
    """``value``: the correlation; ``pairs``: how many details were compared; ``by_view`` [V], NaN where nothing was;
    ``counts`` [V]; ``texture``: root mean square of the details: near 0 there is nothing to compare.
    """

    value: float
    pairs: int
    by_view: torch.Tensor
    counts: torch.Tensor
    texture: float

    @property
    def bound(self) -> float:
        """``value`` less what chance may give."""
        return self.value - _MARGIN / math.sqrt(max(self.pairs, 1))


def places_in(witnesses: Witnesses, found: Reconstruction, view: int) -> Places:
    """The points that a view sees: in front, in the image, and observed there, or hidden by no other point."""
    lens, scale = found.lenses[int(found.camera_index[view])], witnesses.scale[view]
    inside_camera = transform(found.camera_from_world[view], witnesses.points)
    photo_pixel, inside = lens.project(inside_camera)
    size = torch.tensor([lens.width, lens.height], dtype=torch.float64)
    inside = inside & (photo_pixel >= 0).all(dim=1) & (photo_pixel < size).all(dim=1)
    if witnesses.observed is not None:
        inside = inside & witnesses.observed[view]
    point = torch.nonzero(inside)[:, 0]
    if witnesses.observed is None:
        depth = inside_camera.norm(dim=1) if lens.depth_is_distance else inside_camera[:, 2]
        point = point[_unhidden(photo_pixel[point], depth[point], lens.width, lens.height)]
    return Places(point, photo_pixel[point] * scale)


def sample(
    witnesses: Witnesses, found: Reconstruction, views: Sequence[int], photo_of: Mapping[int, int] | None = None
) -> Samples:
    """What ``views`` of the reconstruction see of the points; ``photo_of``: the view whose photo each looks at, when
    that is not its own.
    """
    parts = []
    for view in views:
        look = witnesses.looks.get(view if photo_of is None else photo_of.get(view, -1))
        if look is not None:
            parts.append(_seen(look, places_in(witnesses, found, view), view))
    if not parts:
        nothing = torch.zeros(0, dtype=torch.int64)
        return Samples(nothing, nothing, torch.zeros(0, 2))
    views_of, points, details = zip(*parts, strict=True)
    return Samples(torch.cat(views_of), torch.cat(points), torch.cat(details))


def agreement(samples: Samples, views: int, points: int) -> Agreement:
    """How well the photos agree on ``points`` points, of ``views`` views."""
    others = _without_own(samples, points)
    met = others.isfinite().all(dim=1)
    ours, theirs, view = samples.details[met], others[met], samples.view[met]
    pairs = int(met.sum())
    return Agreement(
        value=float(_correlation(ours, theirs, torch.zeros_like(view), 1).nan_to_num(nan=0.0)[0]),
        pairs=pairs,
        by_view=_correlation(ours, theirs, view, views),
        counts=torch.bincount(view, minlength=views),
        texture=float(samples.details.square().mean().sqrt()) if len(samples.details) else 0.0,
    )


def consensus(samples: Samples, points: int) -> torch.Tensor:
    """The mean detail of each of ``points`` points [P, 2], NaN where there is no sample."""
    total = torch.zeros(points, 2).index_add_(0, samples.point, samples.details)
    count = torch.bincount(samples.point, minlength=points)[:, None].float()
    return total / count.where(count > 0, math.nan)


def fit_to(samples: Samples, consensus: torch.Tensor) -> float:
    """The correlation of samples with what others agreed on, -1 where there is nothing to compare."""
    theirs = consensus[samples.point]
    met = theirs.isfinite().all(dim=1)
    group = torch.zeros(int(met.sum()), dtype=torch.int64)
    return float(_correlation(samples.details[met], theirs[met], group, 1).nan_to_num(nan=-1.0)[0])


def _seen(look: Look, places: Places, view: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    height, width = look.details.shape[1:]
    column = places.pixel[:, 0].long().clamp(0, width - 1)
    row = places.pixel[:, 1].long().clamp(0, height - 1)
    point = places.point
    if look.usable is not None:
        kept = look.usable[row, column]
        column, row, point = column[kept], row[kept], point[kept]
    return torch.full_like(point, view), point, look.details[:, row, column].T.float() * STEP


def _unhidden(pixel: torch.Tensor, depth: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Which points have nothing clearly nearer in their square of the photo [M] bool."""
    square = width / _CELLS
    column, row = (pixel / square).long().unbind(dim=1)
    key, count = row * _CELLS + column.clamp(max=_CELLS - 1), (math.ceil(height / square) + 1) * _CELLS
    nearest = torch.full((count,), math.inf, dtype=depth.dtype).scatter_reduce(0, key, depth, "amin")
    return depth <= nearest[key] * _BEHIND


def _without_own(samples: Samples, points: int) -> torch.Tensor:
    """For each sample the mean of the others of its point [S, 2], NaN where there is no other."""
    total = torch.zeros(points, 2).index_add_(0, samples.point, samples.details)
    count = torch.bincount(samples.point, minlength=points)[samples.point][:, None].float()
    return (total[samples.point] - samples.details) / (count - 1).where(count > 1, math.nan)


def _correlation(ours: torch.Tensor, theirs: torch.Tensor, group: torch.Tensor, groups: int) -> torch.Tensor:
    """Mean over the two kinds of detail of the correlation in each group [G], NaN where there is nothing."""

    def summed(values: torch.Tensor) -> torch.Tensor:
        return torch.zeros(groups, 2, dtype=torch.float64).index_add_(0, group, values.double())

    power = (summed(ours * ours) * summed(theirs * theirs)).sqrt()
    correlation = summed(ours * theirs) / power.where(power > 0, math.nan)
    return correlation.mean(dim=1).where(torch.bincount(group, minlength=groups) > 0, math.nan)
