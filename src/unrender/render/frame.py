"""Frame: what a renderer gathered per pixel. What is absent is None."""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["Frame"]


@dataclass(frozen=True)
class Frame:
    """B views in L pyramid layers, finest first; layer l has ceil(H / 2^l) x ceil(W / 2^l) pixels.

    ``features``: per layer [B, D, H_l, W_l] float32, linear, environment filled in where no point is;
    ``hits``: per layer [B, 1, H_l, W_l] int32, how many points were blended (0: environment);
    ``depth``: per layer [B, 1, H_l, W_l] float32, nearest depth in scene units, +inf where empty: z along the optical
    axis, or the distance from the centre in views whose ``depth_is_distance`` (one bool each);
    ``logarithmic``: whether the scene keeps its features as logarithms: here they are all positive, over many stops;
    ``radiance``: [B, 3, H, W] float32, linear, for renderers that need no shader.
    """

    features: tuple[torch.Tensor, ...] | None = None
    hits: tuple[torch.Tensor, ...] | None = None
    depth: tuple[torch.Tensor, ...] | None = None
    depth_is_distance: tuple[bool, ...] | None = None
    logarithmic: bool = False
    radiance: torch.Tensor | None = None
