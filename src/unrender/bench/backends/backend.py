"""What every measured implementation answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from unrender.bench.workload import Case, Sphere

__all__ = ["Backend", "Calls", "both_directions"]

Calls = dict[str, Callable[[], Any]]
"""Work to be timed by direction: ``forward`` and ``backward``."""


@dataclass(frozen=True)
class Backend:
    """One implementation. ``says``: what it is, for the page; ``peer``: somebody else's, which may be absent or slow.

    ``absent(device)``: why it cannot run on this machine, None where it can. ``unlike(case)``: what of a case it does
    not do, None where it does all. ``calls``: what is timed. ``bytes_per_point``: memory at the peak, scene included,
    above a fixed amount; measured, and used to refuse what cannot fit.
    """

    name: str
    says: str
    peer: bool
    absent: Callable[[str], str | None]
    unlike: Callable[[Case], str | None]
    calls: Callable[[Sphere, Case], Calls]
    bytes_per_point: int


def both_directions(render: Callable[[], Sequence[torch.Tensor]], descriptors: torch.Tensor) -> Calls:
    """``render`` and the gradient of what it gave last to ``descriptors``, for a gradient of ones."""
    kept: list[torch.Tensor] = []
    weights: list[torch.Tensor] = []

    def forward() -> None:
        kept.clear()  # before the next: a loop does not hold two
        kept.extend(render())

    def backward() -> object:
        if not weights:
            weights.extend(torch.ones_like(picture) for picture in kept)
        return torch.autograd.grad(kept, descriptors, weights, retain_graph=True)

    return {"forward": forward, "backward": backward}
