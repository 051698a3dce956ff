"""Colours and intensities as they are recorded -> colours in 0..1."""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["grey", "unit_range", "whole_levels"]

_SAMPLES = 1_000_000
_OVER_ONE = 1.5
"""Colours of 0..1 may go a little beyond 1, where something sharpened them; the next scale begins at 2 of 255."""


def unit_range(levels: np.ndarray) -> np.ndarray:
    """Colours [N, 3] of unknown scale -> 0..1, divided by 1, 255 or 65535: the first that none of them exceeds.

    One scale for all. Raises ValueError for levels that are below 0 or beyond 65535; NaN and infinity stay.
    """
    known = np.isfinite(levels)
    least = np.min(levels, initial=0, where=known)
    most = np.max(levels, initial=0, where=known)
    if least < 0 or most > 65535:
        raise ValueError(f"colours of {least:g} to {most:g}")
    if most <= _OVER_ONE:
        return levels
    return levels / levels.dtype.type(255 if most <= 255 else 65535)


def grey(intensity: np.ndarray) -> torch.Tensor:
    """Intensities [N] -> grey colours [N, 3] float32: the first and the 99th hundredth become 0 and 1.

    Instruments have scales of their own, and a few reflectors outshine all else. Where all is equal, grey is 0.5.
    """
    values = intensity.astype(np.float32)
    sample = values[:: max(1, len(values) // _SAMPLES)]
    sample = sample[np.isfinite(sample)].astype(np.float64)
    low, high = np.quantile(sample, (0.01, 0.99)) if len(sample) > 0 else (0.0, 0.0)
    if not high > low:
        return torch.full((len(values), 3), 0.5)
    with np.errstate(invalid="ignore", over="ignore"):
        values = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    return torch.from_numpy(values)[:, None].repeat(1, 3)


def whole_levels(colors: torch.Tensor, most: int = 255) -> np.ndarray:
    """Colours [N, 3] -> whole numbers [N, 3] int32 of 0..``most``, clamped and rounded; NaN becomes 0."""
    return (colors.detach().cpu().double().nan_to_num(0).clamp(0, 1) * most).round().to(torch.int32).numpy()
