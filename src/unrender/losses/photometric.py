"""How far two images are apart, pixel by pixel."""

from __future__ import annotations

import torch

from unrender.errors import ShapeError

__all__ = ["checked_weight", "l1", "seen", "weighted_mean"]


def l1(image: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Mean absolute difference of [B, D, H, W] images; pixels weigh ``weight`` [B, 1, H, W], and 0 is not looked at.

    A batch without any weight has loss 0. Raises ShapeError when the shapes do not fit.
    """
    weight = checked_weight(image, target, weight)
    return weighted_mean((seen(image, weight) - seen(target, weight)).abs(), weight)


def weighted_mean(values: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Mean of [B, D, H, W] over everything, pixels weighed by [B, 1, H, W]; 0 when nothing weighs anything."""
    if weight is None:
        return values.mean()
    return (values * weight).sum() / (weight.sum() * values.shape[1]).clamp_min(1e-12)


def seen(image: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """[B, D, H, W], black where ``weight`` [B, 1, H, W] is 0, so that not even a NaN there does harm."""
    return image if weight is None else torch.where(weight > 0, image, torch.zeros_like(image))


def checked_weight(image: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor | None:
    """``weight`` in the type of the images. Raises ShapeError unless it is [B, 1, H, W], and they are [B, D, H, W]."""
    if image.dim() != 4 or image.shape != target.shape:
        shapes = f"{list(image.shape)} and {list(target.shape)}"
        raise ShapeError("image and target differ in shape", expected="[B, D, H, W] twice", got=shapes)
    if weight is None:
        return None
    expected = [image.shape[0], 1, *image.shape[2:]]
    if list(weight.shape) != expected:
        raise ShapeError("wrong shape", where="weight", expected=f"[B, 1, H, W] {expected}", got=list(weight.shape))
    return weight.to(image)
