"""The implementations that are measured, ours and others'. ``BACKENDS`` is the list."""

from __future__ import annotations

from unrender.bench.backends.backend import Backend
from unrender.bench.backends.ours import NATIVE, REFERENCE
from unrender.bench.backends.pulsar import PULSAR
from unrender.bench.backends.pytorch3d import PYTORCH3D

__all__ = ["BACKENDS", "Backend"]

BACKENDS: dict[str, Backend] = {backend.name: backend for backend in (NATIVE, REFERENCE, PYTORCH3D, PULSAR)}
"""By name."""
