"""The library's own two: the compiled kernel, and plain PyTorch scatter, its reference."""

from __future__ import annotations

import torch

from unrender.bench.backends.backend import Backend, Calls, both_directions
from unrender.bench.workload import Case, Sphere
from unrender.kernels.loader import gpu, native
from unrender.kernels.rasterize_points.op import rasterize_points

__all__ = ["NATIVE", "REFERENCE"]


def _calls(sphere: Sphere, case: Case) -> Calls:
    """Which of the two runs is up to UNRENDER_KERNELS."""
    descriptors = sphere.descriptors.requires_grad_()

    def render() -> list[torch.Tensor]:
        return [rasterize_points(sphere.geometry, descriptors, sphere.views, case.rules).features]

    return both_directions(render, descriptors)


def _native_absent(device: str) -> str | None:
    if device == "cuda" and not torch.cuda.is_available():
        return "no CUDA device here"
    there = gpu() if device == "cuda" else native() is not None
    return None if there else "no compiled kernels here, or UNRENDER_KERNELS turns them off"


NATIVE = Backend("native", "the compiled kernel", False, _native_absent, lambda _: None, _calls, 150)
REFERENCE = Backend("reference", "plain PyTorch scatter", False, lambda _: None, lambda _: None, _calls, 250)
