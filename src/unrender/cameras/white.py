"""Colour of a view's light: a white point, or a homography of chromaticities.

**White point**, two numbers, log2 of red and blue: a channel is divided by its white point, green by 1 (Eq. 16).

**Homography**, eight numbers (after PPISP, 2026): chromaticities r = R / I, g = G / I with I = R + G + B move as points
of a plane, (r, g, 1) -> M (r, g, 1) up to scale, M = 1 + (n1 n2 n3; n4 n5 n6; n7 n8 0). I stays, so that exposure alone
says how bright a photo is. Zeros change nothing in either model.

Letters: V views, H W pixels.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

from unrender.errors import SettingsError

__all__ = ["Model", "corrected", "numbers_of", "uncorrected", "white_points"]

Model = Literal["white_point", "homography"]
_NUMBERS = {"white_point": 2, "homography": 8}
_LEAST = 0.05
"""Of the third homogeneous coordinate: chromaticities are not sent to infinity."""


def numbers_of(model: Model) -> int:
    """How many numbers a view has. Raises SettingsError for an unknown model."""
    if model not in _NUMBERS:
        raise SettingsError("unknown model of colour", expected=" or ".join(get_args(Model)), got=model)
    return _NUMBERS[model]


def corrected(light: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """``light`` [V, 3, H, W] as the sensors of the views see it, under ``numbers`` [V, 2 or 8]; differentiable."""
    if numbers.shape[1] == 2:
        return light * torch.exp2(-_log_white(numbers))
    return _moved(light, _matrix(numbers))


def uncorrected(light: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """The inverse of ``corrected``."""
    if numbers.shape[1] == 2:
        return light * torch.exp2(_log_white(numbers))
    return _moved(light, torch.linalg.inv(_matrix(numbers)))


def white_points(numbers: torch.Tensor) -> torch.Tensor:
    """log2 of the red and blue white point of each view against green, [V, 2]: what grey light lacks of them."""
    if numbers.shape[1] == 2:
        return numbers
    red, green, blue = corrected(numbers.new_ones(len(numbers), 3, 1, 1), numbers)[..., 0, 0].clamp(min=1e-6).unbind(1)
    return torch.stack([(green / red).log2(), (green / blue).log2()], dim=1)


def _log_white(numbers: torch.Tensor) -> torch.Tensor:
    """log2 of the white point, [V, 3, 1, 1]."""
    red, blue = numbers.unbind(-1)
    return torch.stack([red, torch.zeros_like(red), blue], dim=-1)[..., None, None]


def _matrix(numbers: torch.Tensor) -> torch.Tensor:
    """The homography [V, 3, 3]."""
    last = numbers.new_zeros(len(numbers), 1)
    return torch.eye(3).to(numbers) + torch.cat([numbers, last], dim=1).view(-1, 3, 3)


def _moved(light: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Chromaticities moved, the sum of the channels kept."""
    total = light.sum(dim=1, keepdim=True)
    plane = torch.cat([light[:, :2], total], dim=1)
    moved = torch.einsum("vij,vjhw->vihw", matrix, plane)
    third = torch.where(total < 0, -1, 1) * torch.maximum(moved[:, 2:].abs(), _LEAST * total.abs())
    scale = torch.where(total == 0, 1, total / torch.where(total == 0, 1, third))
    red_green = moved[:, :2] * scale
    return torch.cat([red_green, total - red_green.sum(dim=1, keepdim=True)], dim=1)
