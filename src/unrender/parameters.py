"""Parameter: a tensor that can be fitted, under the dotted name that everything else speaks.

Scene, shader and cameras each answer ``parameters()`` with a tuple of these. Optimiser, checkpoint,
export and viewer use the names (``scene.points.descriptors``, ``cameras.exposure``, ...) and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

__all__ = ["FREE", "POSITIVE", "Constraint", "Parameter"]


@dataclass(frozen=True)
class Constraint:
    """A bijection between the raw tensor that is stepped and the physical value that is meant."""

    name: str
    physical_from_raw: Callable[[torch.Tensor], torch.Tensor]
    raw_from_physical: Callable[[torch.Tensor], torch.Tensor]


FREE = Constraint("free", lambda raw: raw, lambda physical: physical)
POSITIVE = Constraint("positive", torch.exp, torch.log)


@dataclass(frozen=True)
class Parameter:
    """One named tensor of a model.

    ``raw`` is the leaf that an optimiser steps in place; ``value`` is what it means, in ``unit``.
    ``hold`` is called after every step and puts back what the photos cannot determine
    (a gauge such as the mean exposure), so that it cannot drift. ``seldom``: a step sees few of its rows (of views, of
    points); the others, whose gradient is 0, rest with all that an optimiser knows of them.
    """

    name: str
    raw: torch.Tensor
    unit: str = "1"
    constraint: Constraint = FREE
    hold: Callable[[], None] | None = None
    seldom: bool = False

    @property
    def value(self) -> torch.Tensor:
        """The physical value, differentiable with respect to ``raw``."""
        return self.constraint.physical_from_raw(self.raw)
