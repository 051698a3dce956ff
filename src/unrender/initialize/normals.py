"""Normals for clouds that come without: the thin direction of each neighbourhood, turned towards the cameras.

A wrong normal makes a point vanish from views that should show it, an unknown one costs nothing. So a normal is
only given where the neighbourhood is flat and where the cameras that see it agree on its side; elsewhere it is
zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from unrender.cameras.camera import Cameras
from unrender.geometry.neighbours import nearest_neighbours, principal_axes
from unrender.initialize.sight import look
from unrender.initialize.surfels import Surfels

__all__ = ["given_normals", "oriented_normals", "thin_directions"]


def given_normals(normals: torch.Tensor) -> torch.Tensor:
    """Normals [N, 3] of a cloud made unit and float32; zero where they are zero or not finite."""
    normals = torch.where(normals.isfinite().all(dim=1, keepdim=True), normals.double(), 0.0)
    return torch.nn.functional.normalize(normals, dim=1, eps=torch.finfo(torch.float64).tiny).float()


def thin_directions(positions: torch.Tensor, neighbours: int, thickness: float) -> torch.Tensor:
    """Unit normals [N, 3] float32 of arbitrary sign of the flat neighbourhoods of ``positions`` [N, 3], zero elsewhere.

    Flat: the standard deviation along the thinnest axis is at most ``thickness`` times that along the middle one.
    The middle, not the widest: points on a line are thin in two directions and have no normal.
    """
    variances, axes = principal_axes(positions, nearest_neighbours(positions, neighbours)[1])
    flat = (variances[:, 0] < thickness**2 * variances[:, 1])[:, None]
    return torch.where(flat, axes[:, :, 0], 0.0).float()


def oriented_normals(surfels: Surfels, cameras: Cameras, views: Sequence[int], agreement: float) -> torch.Tensor:
    """The normals [N, 3] of ``surfels`` turned towards those of ``views`` that see them, zero where these disagree.

    Each view that plausibly sees the surfel (in frame and not hidden; which way it faces does not count yet) votes
    with the cosine between normal and direction to the camera, so that grazing views, whose sign is chance, hardly
    count. The balance of the votes, in -1..1, has to reach ``agreement`` in one direction. Unseen surfels get the
    side most cameras are on.
    """
    votes, weights = side_votes(surfels, cameras, views, seen_only=True)
    unseen = weights == 0
    everyone, total = side_votes(surfels.select(unseen), cameras, views, seen_only=False)
    votes[unseen], weights[unseen] = everyone, total
    balance = votes / weights.clamp(min=torch.finfo(weights.dtype).tiny)
    side = torch.sign(balance) * (balance.abs() >= agreement)
    return surfels.normal * side[:, None]


def side_votes(
    surfels: Surfels, cameras: Cameras, views: Sequence[int], seen_only: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over ``views`` of the cosine between normal and direction to the camera, and of its magnitude, each [N]."""
    either_way = replace(surfels, normal=torch.zeros_like(surfels.normal))
    votes, weights = torch.zeros(len(surfels)), torch.zeros(len(surfels))
    for view in views:
        towards = cameras.centers[view] - surfels.origin - surfels.position
        cosine = (torch.nn.functional.normalize(towards, dim=1).float() * surfels.normal).sum(dim=1)
        if seen_only:
            index = look(either_way, cameras, view).index
            cosine = torch.zeros_like(cosine).index_copy(0, index, cosine[index])
        votes += cosine
        weights += cosine.abs()
    return votes, weights
