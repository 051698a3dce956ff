"""Panoramas: the whole sphere in one photo."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from unrender.cameras.lens.calibrated import Calibrated, largest_singular_value

__all__ = ["Equirectangular"]

_POLE = 1e-12  # sine of the angle from a pole that counts as the pole


@dataclass(frozen=True, eq=False)
class Equirectangular(Calibrated):
    """Longitude (0, straight ahead, in the middle) over ``w`` pixels, latitude (up at the top) over ``h`` pixels.

    Every direction is in the image. At the poles, straight up and down, longitude and Jacobian are those beside it.
    """

    model: ClassVar[str] = "EQUIRECTANGULAR"
    parameter_names: ClassVar[tuple[str, ...]] = ("w", "h")
    depth_is_distance: ClassVar[bool] = True
    ranges: ClassVar[dict[str, tuple[float, float]]] = {"w": (1e-3, 1e9), "h": (1e-3, 1e9)}

    def project(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Points [N, 3] -> photo pixels [N, 2], and [N] bool: not at the centre."""
        width, height = self.params.unbind()
        x, y, z, across, _, there = _unit(points)
        u = width * (torch.atan2(x, z) / (2 * math.pi) + 0.5)
        v = height * (torch.atan2(y, across) / math.pi + 0.5)
        return torch.stack([u, v], dim=-1), there

    def unproject(self, pixels: torch.Tensor) -> torch.Tensor:
        """Photo pixels [N, 2] -> unit directions [N, 3]. Columns go round and round; rows end at the poles."""
        width, height = self.params.unbind()
        u, v = pixels.unbind(-1)
        around = 2 * math.pi * (u / width - 0.5)
        down = (math.pi * (v / height - 0.5)).clamp(-math.pi / 2, math.pi / 2)
        across = torch.cos(down)
        return torch.stack([across * torch.sin(around), torch.sin(down), across * torch.cos(around)], dim=-1)

    def jacobian(self, points: torch.Tensor) -> torch.Tensor:
        """Derivative of pixels by point, [N, 2, 3]."""
        return torch.stack([torch.stack(row, dim=-1) for row in self._rows(points)], dim=-2)

    def magnification(self, points: torch.Tensor) -> torch.Tensor:
        """Largest singular value of ``jacobian``, [N]; towards the poles it grows without end."""
        return largest_singular_value(*self._rows(points))

    def narrowing(self, rows: torch.Tensor) -> torch.Tensor:
        """Width of pixels at heights ``rows`` of the photo, as a share of the equator's: the cosine of the latitude."""
        return torch.cos(math.pi * (rows / self.params[1] - 0.5)).clamp(min=0)

    def _rows(self, points: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        """Derivatives of u and of v by point; entries [N]."""
        width, height = self.params.unbind()
        x, y, z, across, distance, _ = _unit(points)
        turn, rise = width / (2 * math.pi) / (across * across * distance), height / math.pi / distance
        by_v = (-x * y / across * rise, across * rise, -y * z / across * rise)
        return (z * turn, torch.zeros_like(x), -x * turn), by_v


def _unit(points: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Unit directions x, y, z of points, their distance from the y axis, the points' distance from the centre, and
    whether that is more than 0, each [N]; directions of poles are moved aside by a trifle.
    """
    size = points.detach().abs().amax(dim=-1, keepdim=True)
    there = size > 1e-18
    size = torch.where(there, size, 1)
    scaled = torch.where(there, points / size, points.new_tensor([0.0, 0.0, 1.0]))
    distance = scaled.square().sum(-1, keepdim=True).sqrt()
    x, y, z = (scaled / distance).unbind(-1)
    square = x * x + z * z
    pole = square < _POLE**2
    x, z = torch.where(pole, 0, x), torch.where(pole, _POLE, z)
    across = torch.where(pole, _POLE, torch.where(pole, 1, square).sqrt())
    return x, y, z, across, (distance * size)[..., 0], there[..., 0]
