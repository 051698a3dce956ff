"""Surfels: points that know which way they face and how far their own neighbourhood reaches."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch

__all__ = ["Surfels"]


@dataclass(frozen=True)
class Surfels:
    """N oriented points on their way to a point scene.

    ``origin`` [3] float64, world; ``position`` [N, 3] float32, world minus origin; ``normal`` [N, 3] float32, unit,
    towards the cameras, or zero where unknown; ``radius`` [N] float32, scene units; ``color`` [N, 3] float32 in
    0..1 as recorded; ``source`` [N] int32, index of the point of the capture's cloud that it is, -1 for added ones.
    """

    origin: torch.Tensor
    position: torch.Tensor
    normal: torch.Tensor
    radius: torch.Tensor
    color: torch.Tensor
    source: torch.Tensor

    def __len__(self) -> int:
        return self.position.shape[0]

    def select(self, index: torch.Tensor) -> Surfels:
        """The surfels of an index [M] or mask [N], in that order."""
        chosen = {name: getattr(self, name)[index] for name in PER_POINT}
        return replace(self, **chosen)

    def joined(self, others: Surfels) -> Surfels:
        """These and then ``others``, which share the origin."""
        both = {name: torch.cat([getattr(self, name), getattr(others, name)]) for name in PER_POINT}
        return replace(self, **both)


PER_POINT = tuple(field.name for field in fields(Surfels) if field.name != "origin")
