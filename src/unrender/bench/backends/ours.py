"""The library's own two: the compiled kernel, and plain PyTorch scatter, its reference."""

from __future__ import annotations

import torch

from unrender.bench.backends.backend import Backend, Calls, both_directions
from unrender.bench.workload import Case, Sphere
from unrender.kernels.loader import gpu, native
from unrender.kernels.rasterize_points.op import rasterize_points

__all__ = ["NATIVE", "REFERENCE"]

NATIVE_DTYPES = (torch.float32, torch.float16)
"""Descriptors that the compiled kernel takes: what it learns is added here."""


def _calls(sphere: Sphere, case: Case) -> Calls:
    """Which of the two runs is up to UNRENDER_KERNELS."""
    descriptors = sphere.descriptors.requires_grad_()

    def render() -> list[torch.Tensor]:
        return [rasterize_points(sphere.geometry, descriptors, sphere.views, case.rules).features]

    return both_directions(render, descriptors)


def _native_absent(device: str) -> str | None:
    there = gpu() if device == "cuda" else native() is not None
    return None if there else "no compiled kernels here, or UNRENDER_KERNELS turns them off"


def _native_unlike(case: Case) -> str | None:
    return None if case.dtype in NATIVE_DTYPES else f"no {case.dtype} descriptors yet".replace("torch.", "")


NATIVE = Backend("native", "the compiled kernel", False, _native_absent, _native_unlike, _calls, 150)
REFERENCE = Backend("reference", "plain PyTorch scatter", False, lambda _: None, lambda _: None, _calls, 250)
