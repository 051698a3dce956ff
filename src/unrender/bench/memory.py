"""Whether a benchmark fits into memory, asked before it begins."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unrender.bench.backends import Backend
from unrender.errors import RunError
from unrender.fit.memory import PROGRAM, available_memory

__all__ = ["needed_bytes", "refuse_too_many"]

PICTURES = 600 * 2**20
"""Bytes at the peak that do not grow with the points: pyramids and their gradients, copies for the copy speed."""


def needed_bytes(points: int, backends: Sequence[Backend]) -> int:
    """What the hungriest of ``backends`` holds at its peak, about, libraries included."""
    return PROGRAM + PICTURES + points * max((backend.bytes_per_point for backend in backends), default=0)


def refuse_too_many(points: Sequence[int], backends: Sequence[Backend], device: str) -> None:
    """Raises RunError when the largest number of ``points`` cannot be measured in the memory that is free."""
    need, have = needed_bytes(max(points), backends), _free(device)
    if need > have:
        hungriest = max(backends, key=lambda backend: backend.bytes_per_point)
        raise RunError(
            f"{max(points):,} points on the backend {hungriest.name} would need about {need / 2**30:.1f} GiB of memory",
            expected=f"at most {have / 2**30:.1f} GiB, which are free",
            do="measure fewer --points or other --backends",
        )


def _free(device: str) -> int:
    return torch.cuda.mem_get_info()[0] if device == "cuda" else available_memory()
