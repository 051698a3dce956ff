"""Which points of a cloud to trust: not twice the same one, and none that floats alone.

Every threshold is a multiple of something measured in the cloud itself, so that the unit of the world does not matter.
"""

from __future__ import annotations

import numpy as np
import torch

from unrender.geometry.neighbours import close_pairs, nearest_neighbours, nearest_of, spacing

__all__ = ["distinct_points", "sociable_points"]


def distinct_points(positions: torch.Tensor, closeness: float) -> torch.Tensor:
    """Indices [M] int64, ascending, of points of which no two are within ``closeness`` times the median spacing.

    Of a close pair in ``positions`` [N, 3] the first stays. Points at exactly the same place are merged before the
    spacing is measured: a cloud in which every point is written twice has a spacing too.
    """
    first = np.sort(np.unique(positions.numpy(), axis=0, return_index=True)[1])
    index = torch.from_numpy(first.astype(np.int64))
    if len(index) < 2:
        return index
    pairs = close_pairs(positions[index], closeness * spacing(positions[index]))
    keep = torch.ones(len(index), dtype=torch.bool)
    keep[pairs[:, 1]] = False
    return index[keep]


def sociable_points(positions: torch.Tensor, camera_centers: torch.Tensor, loneliness: float) -> torch.Tensor:
    """Points [N] bool whose neighbours are no farther than ``loneliness`` times what is usual in this cloud.

    Far things are sampled more sparsely than near ones, so the distance to the 4th neighbour is taken as an angle:
    divided by the distance to the nearest of ``camera_centers`` [V, 3]. What is usual is the median of these
    angles.
    """
    gap = nearest_neighbours(positions, 4)[0][:, -1]
    distance, _ = nearest_of(camera_centers.double().numpy(), positions.double().numpy(), 1)
    angle = gap / torch.from_numpy(np.maximum(distance, np.finfo(np.float64).tiny))
    return angle <= loneliness * angle.median()
