"""What the photos taken nearby say of a view: means over them, weighted by how near their cameras are.

The distance of two cameras has two parts: between their centres, in units of the captured region's radius, and between
their viewing directions, in radians. Weights are exp(-d^2 / 2 h^2) over their sum (Nadaraya and Watson 1964), so that
what they say moves smoothly with the camera, without a jump where the nearest photo changes. The bandwidth h is the one
that best foretells each photo from the others. Letters: V photos, B views asked about, K values per photo.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from unrender.cameras.camera import Cameras

__all__ = ["BANDWIDTHS", "Neighbours"]

BANDWIDTHS = (0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.57, 0.8, math.inf)
"""From which h is chosen. With inf all photos count alike: their mean, for photos that say nothing of each other."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """``cameras`` of V photos with ``values`` [V, K] float64, and what the values would be elsewhere.

    ``bandwidth``: h; ``left_out`` [V, K]: each photo's values as the others foretell them, the lone one's as its own.
    """

    cameras: Cameras
    values: torch.Tensor
    bandwidth: float
    left_out: torch.Tensor

    @classmethod
    def of(cls, cameras: Cameras, values: torch.Tensor) -> Neighbours:
        """With the bandwidth of the least squared error where each photo is left out, the widest of equal ones."""
        values = values.to("cpu", torch.float64)
        squares = _squared_distances(cameras, cameras)
        if len(values) < 2:
            return cls(cameras, values, math.inf, values.clone())
        squares.fill_diagonal_(math.inf)
        foretold = {h: _weights(squares, h) @ values for h in reversed(BANDWIDTHS)}
        best = min(foretold, key=lambda h: float((foretold[h] - values).square().sum()))
        return cls(cameras, values, best, foretold[best])

    def at(self, cameras: Cameras) -> torch.Tensor:
        """Values [B, K] float64 of other views."""
        return _weights(_squared_distances(cameras, self.cameras), self.bandwidth) @ self.values


def _weights(squares: torch.Tensor, bandwidth: float) -> torch.Tensor:
    """[B, V], a row's sum is 1; never underflows. A photo at infinite distance has no weight."""
    if math.isinf(bandwidth):
        squares = torch.where(squares.isinf(), squares, 0.0)
    return torch.softmax(-squares / (2 * min(bandwidth, 1.0) ** 2), dim=1)


def _squared_distances(cameras: Cameras, photos: Cameras) -> torch.Tensor:
    """[B, V] float64."""
    ours, theirs = cameras.centers.detach().cpu(), photos.centers.detach().cpu()
    radius = float((theirs - theirs.mean(dim=0)).norm(dim=1).max()) or 1.0
    looking, they_look = (each.camera_from_world[:, 2, :3].detach().cpu() for each in (cameras, photos))
    angles = torch.acos((looking @ they_look.T).clamp(-1, 1))
    return (torch.cdist(ours, theirs) / radius).square() + angles.square()
