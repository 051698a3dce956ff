"""Scores of images that may be used in part: what weighs nothing is made equal in both, and does not count."""

from __future__ import annotations

import torch

__all__ = ["blackened", "weighted_mean"]


def blackened(image: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """[D, H, W], black where ``weight`` [1, H, W] is 0: so no window or filter beside it sees what is there."""
    return image if weight is None else torch.where(weight > 0, image, torch.zeros_like(image))


def weighted_mean(values: torch.Tensor, weight: torch.Tensor | None) -> float:
    """Mean of [D, H, W] float64 over everything, pixels weighed by ``weight`` [1, H, W]; NaN where nothing weighs."""
    if weight is None:
        return values.mean().item()
    weight = weight.to(values)
    return ((blackened(values, weight) * weight).sum() / (weight.sum() * values.shape[0])).item()
