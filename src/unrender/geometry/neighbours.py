"""Which points lie close together, how far apart they are, and how flat they lie.

Everything here is about a bare set of points [N, 3] in any unit: distances come out in the unit that went in, so
thresholds that are multiples of ``spacing`` decide the same whatever the unit. Trees are built in float64.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from scipy.spatial import KDTree

from unrender.errors import ShapeError

__all__ = [
    "close_pairs",
    "morton_codes",
    "morton_order",
    "nearest_neighbours",
    "nearest_of",
    "principal_axes",
    "spacing",
]

MORTON_BITS = 21
CHUNK = 1 << 14


def nearest_neighbours(points: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The ``count`` nearest other points of each of ``points`` [N, 3], nearest first.

    Returns distances [N, K] float64 and indices [N, K] int64 with K = min(count, N - 1).
    Raises ShapeError for fewer than two points.
    """
    number = points.shape[0]
    if number < 2:
        raise ShapeError("neighbours need other points", expected="at least 2 points", got=number)
    coordinates = points.double().numpy()
    wanted = min(count, number - 1) + 1
    distances, indices = nearest_of(coordinates, coordinates, wanted)
    return without_self(torch.from_numpy(distances), torch.from_numpy(indices.astype(np.int64)))


def nearest_of(points: np.ndarray, places: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances and indices of the ``count`` ``points`` [N, 3] nearest to each of ``places`` [M, 3], SciPy's way.

    SciPy's query leaves its threads behind when a signal interrupts the thread that waits for them, and they go on in
    memory that is then given back: the process dies. So it waits in a thread that no signal reaches.
    """
    with ThreadPoolExecutor(1) as pool:
        distances, indices = pool.submit(KDTree(points).query, places, k=count, workers=-1).result()
    return np.asarray(distances), np.asarray(indices)


def without_self(distances: torch.Tensor, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Each row of [N, K + 1] less the point itself, which need not come first where points coincide."""
    own = indices == torch.arange(len(indices))[:, None]
    own[:, -1] |= ~own.any(dim=1)
    shape = (len(indices), indices.shape[1] - 1)
    return distances[~own].reshape(shape), indices[~own].reshape(shape)


def close_pairs(points: torch.Tensor, distance: float) -> torch.Tensor:
    """All pairs of ``points`` [N, 3] at most ``distance`` apart, [P, 2] int64, the smaller index first."""
    pairs = KDTree(points.double().numpy()).query_pairs(distance, output_type="ndarray")
    return torch.from_numpy(pairs.astype(np.int64)).reshape(-1, 2)


def spacing(points: torch.Tensor) -> float:
    """Median distance to the nearest other point. Points that coincide should be merged before."""
    return float(nearest_neighbours(points, 1)[0].median())


def principal_axes(points: torch.Tensor, neighbours: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Principal axes of neighbourhoods: variances [N, 3], smallest first, and axes [N, 3, 3], column j of variance j.

    A neighbourhood is the point and its ``neighbours`` [N, K] (indices into ``points`` [N, 3]). Float64; the sign
    of an axis means nothing.
    """
    points = points.double()
    parts = [axes_of(points[rows], points[near]) for rows, near in chunks(neighbours)]
    return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])


def chunks(neighbours: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Row numbers and rows of ``neighbours``, few enough at a time that their coordinates fit into memory."""
    return list(zip(torch.arange(len(neighbours)).split(CHUNK), neighbours.split(CHUNK), strict=True))


def axes_of(own: torch.Tensor, near: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Variances [M, 3] and axes [M, 3, 3] of the points ``own`` [M, 3] together with ``near`` [M, K, 3]."""
    members = torch.cat([own[:, None], near], dim=1)
    centred = members - members.mean(dim=1, keepdim=True)
    covariance = centred.transpose(1, 2) @ centred / members.shape[1]
    # Divided by its trace, so that lengths of 1e-9 or 1e9 make the same well-scaled eigenproblem.
    size = covariance.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None]
    variances, axes = torch.linalg.eigh(covariance / size.clamp(min=torch.finfo(size.dtype).tiny)[..., None])
    return variances.clamp(min=0) * size, axes


def morton_codes(points: torch.Tensor) -> torch.Tensor:
    """Place [N] int64 of each of ``points`` [N, 3] on the Morton (Z) curve in their bounding cube, 21 bits per axis.

    Bit 3 b + a of the code is bit b of coordinate a.
    """
    points = points.double()
    low = points.amin(dim=0)
    extent = (points.amax(dim=0) - low).max().clamp(min=torch.finfo(torch.float64).tiny)
    cells = ((points - low) / extent * 2**MORTON_BITS).long().clamp(max=2**MORTON_BITS - 1)
    return spread(cells[:, 0]) | spread(cells[:, 1]) << 1 | spread(cells[:, 2]) << 2


def spread(values: torch.Tensor) -> torch.Tensor:
    """Move bit b of each 21-bit integer to bit 3 b, by halving the distance that blocks of bits still have to go."""
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        values = (values | values << shift) & mask
    return values


def morton_order(points: torch.Tensor) -> torch.Tensor:
    """Permutation [N] int64 that sorts ``points`` [N, 3] along the Morton curve: close in memory is close in space."""
    return torch.argsort(morton_codes(points), stable=True)
