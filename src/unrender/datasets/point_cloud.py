"""A point cloud: where points are, what colour they were seen in, which way they face."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unrender.errors import ShapeError

__all__ = ["FARTHEST", "PointCloud"]

FARTHEST = 1e15
"""Largest coordinate of anything, in the unit of the input: float32 still holds the squares of distances."""


@dataclass(frozen=True)
class PointCloud:
    """N points in the frame and scale of the input.

    ``positions`` [N, 3] float64, world; ``colors`` [N, 3] float32 in 0..1 as recorded (as a rule sRGB) or None;
    ``normals`` [N, 3] float32, zero where unknown, or None. Raises ShapeError when the lengths disagree.
    """

    positions: torch.Tensor
    colors: torch.Tensor | None = None
    normals: torch.Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("positions", "colors", "normals"):
            rows = getattr(self, name)
            if rows is not None and rows.shape != (len(self), 3):
                raise ShapeError(f"{name} of a point cloud", expected=[len(self), 3], got=list(rows.shape))

    def __len__(self) -> int:
        return self.positions.shape[0]

    def select(self, which: torch.Tensor) -> PointCloud:
        """The points of an index [M] or a mask [N] bool."""
        colors, normals = (None if rows is None else rows[which] for rows in (self.colors, self.normals))
        return PointCloud(self.positions[which], colors, normals)

    def finite(self) -> PointCloud:
        """Without the points whose position is not finite or beyond ``FARTHEST``; normals and colours that are not
        finite become zero.
        """
        kept = self.select((self.positions.abs() <= FARTHEST).all(dim=1))
        colors, normals = (_zero_unless_finite(rows) for rows in (kept.colors, kept.normals))
        return PointCloud(kept.positions, colors, normals)


def _zero_unless_finite(rows: torch.Tensor | None) -> torch.Tensor | None:
    return None if rows is None else torch.where(rows.isfinite().all(dim=1, keepdim=True), rows, 0)
