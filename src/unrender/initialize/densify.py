"""More points on the surfaces that the measured ones lie on.

One-pixel points leave gaps where they are sparse. New points are drawn on the tangent disc of a measured point;
where its normal is unknown, between the point and its neighbours, which stays on whatever thin thing the points
follow.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from unrender.geometry.neighbours import nearest_neighbours
from unrender.initialize.surfels import Surfels

__all__ = ["densify", "neighbourhood_radius", "tangent_axes"]

# The radius of a point's neighbourhood is the distance to this many-th neighbour.
NEIGHBOURS = 4


def neighbourhood_radius(positions: torch.Tensor) -> torch.Tensor:
    """Distance [N] float32 from each of ``positions`` [N, 3] to its 4th neighbour."""
    return nearest_neighbours(positions, NEIGHBOURS)[0][:, -1].float()


def densify(surfels: Surfels, count: int, reach: float, generator: torch.Generator) -> Surfels:
    """``surfels`` and enough new ones to make ``count``; all of them as they are when there are as many already.

    Every surfel gets the same number of children, give or take one. A child is uniform on the tangent disc of
    ``reach`` times its parent's radius, or a random mixture of the parent and two of its 4 neighbours where the
    normal is unknown. It inherits colour and normal. Radii are measured anew, as all of them have become denser.
    """
    missing = count - len(surfels)
    if missing <= 0:
        return surfels
    # Around and around in a random order: equal shares, and the remainder goes to no place in particular.
    parents = torch.randperm(len(surfels), generator=generator)[torch.arange(missing) % len(surfels)]
    children = surfels.select(parents)
    flat = (children.normal != 0).any(dim=1, keepdim=True)
    position = torch.where(flat, on_disc(children, reach, generator), between(surfels, parents, generator))
    added = torch.full_like(children.source, -1)
    both = surfels.joined(replace(children, position=position, source=added))
    return replace(both, radius=neighbourhood_radius(both.position))


def on_disc(surfels: Surfels, reach: float, generator: torch.Generator) -> torch.Tensor:
    """A uniformly random place [N, 3] on each surfel's tangent disc of ``reach`` times its radius."""
    distance, angle = torch.rand(2, len(surfels), generator=generator)
    distance, angle = reach * surfels.radius * distance.sqrt(), angle * (2 * torch.pi)
    first, second = tangent_axes(surfels.normal)
    return surfels.position + (distance * angle.cos())[:, None] * first + (distance * angle.sin())[:, None] * second


def tangent_axes(normals: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two unit vectors [N, 3] that make a right-handed frame (first, second, normal) with unit ``normals`` [N, 3]."""
    least = torch.nn.functional.one_hot(normals.abs().argmin(dim=1), 3).to(normals.dtype)
    first = torch.nn.functional.normalize(torch.linalg.cross(least, normals, dim=1), dim=1)
    return first, torch.linalg.cross(normals, first, dim=1)


def between(surfels: Surfels, parents: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A random place [M, 3] in the triangle of each of ``parents`` [M] and two of its 4 nearest neighbours."""
    neighbours = nearest_neighbours(surfels.position, NEIGHBOURS)[1]
    choice = torch.randint(neighbours.shape[1], (len(parents), 2), generator=generator)
    corners = surfels.position[torch.cat([parents[:, None], neighbours[parents[:, None], choice]], dim=1)]
    # Uniform in a triangle: sorted cuts of the unit interval (a Dirichlet distribution with all parameters 1).
    cuts = torch.rand(len(parents), 2, generator=generator).sort(dim=1).values
    shares = torch.stack([cuts[:, 0], cuts[:, 1] - cuts[:, 0], 1 - cuts[:, 1]], dim=1)
    return (corners * shares[..., None]).sum(dim=1)
