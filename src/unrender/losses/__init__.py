"""What a fit makes small: a weighted sum of named differences between a rendered image and a photo."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from unrender.errors import SettingsError
from unrender.losses.clipping import agreeing
from unrender.losses.perceptual import VGGLoss
from unrender.losses.photometric import l1
from unrender.losses.structural import dssim, gradient

__all__ = ["LossSettings", "VGGLoss", "dssim", "gradient", "l1", "load_judges", "parts", "total"]


@dataclass(frozen=True)
class LossSettings:
    """The weight of each part; a part of weight 0 is not computed.

    The default needs no pretrained network: mean absolute difference, (1 - SSIM) / 2, and finite differences over a
    pyramid of ``gradient_levels``. ``vgg`` needs ``vgg_weights``, a file with torchvision's vgg19 state dict.
    ``clipping``: where a photo is clipped, a rendering beyond the clip counts as equal to it, see ``clipping.py``.
    """

    l1: float = 1.0
    dssim: float = 0.25
    gradient: float = 0.5
    gradient_levels: int = 4
    vgg: float = 0.0
    vgg_weights: str | None = None
    clipping: bool = True

    def __post_init__(self) -> None:
        weights = (self.l1, self.dssim, self.gradient, self.vgg)
        if min(weights) < 0 or max(weights) == 0:
            raise SettingsError("a loss needs weights >= 0, one of them positive", got=weights)
        if self.gradient_levels < 1:
            raise SettingsError("the gradient loss needs a level", expected="gradient_levels >= 1")
        if self.vgg > 0 and self.vgg_weights is None:
            raise SettingsError(
                "the VGG loss needs its weights", expected="a path", got=None, where="loss.vgg_weights", do="set it"
            )
        if self.vgg_weights is not None and not Path(self.vgg_weights).is_file():
            where = f"loss.vgg_weights = {self.vgg_weights}"
            raise SettingsError("no such file", where=where, do="give torchvision's vgg19 state dict")


def total(
    image: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None, settings: LossSettings | None = None
) -> torch.Tensor:
    """The weighted sum of ``parts``: [B, 3, H, W] recorded colours in 0..1, ``weight`` [B, 1, H, W] -> scalar."""
    settings = settings or LossSettings()
    image = agreeing(image, target) if settings.clipping and image.shape == target.shape else image
    named = parts(image, target, weight, settings)
    return torch.stack([getattr(settings, name) * value for name, value in named.items()]).sum()


def parts(
    image: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None, settings: LossSettings | None = None
) -> dict[str, torch.Tensor]:
    """Every part whose weight is positive, by name and before weighting."""
    settings = settings or LossSettings()
    out: dict[str, torch.Tensor] = {}
    if settings.l1 > 0:
        out["l1"] = l1(image, target, weight)
    if settings.dssim > 0:
        out["dssim"] = dssim(image, target, weight)
    if settings.gradient > 0:
        out["gradient"] = gradient(image, target, weight, levels=settings.gradient_levels)
    if settings.vgg > 0 and settings.vgg_weights is not None:
        out["vgg"] = _vgg(settings.vgg_weights).to(image.device)(image, target, weight)
    return out


def load_judges(settings: LossSettings) -> None:
    """Read the weights that the loss needs, if any, so that bad ones are found now. Raises UnrenderError as VGGLoss."""
    if settings.vgg > 0 and settings.vgg_weights is not None:
        _vgg(settings.vgg_weights)


@lru_cache(maxsize=1)
def _vgg(path: str) -> VGGLoss:
    return VGGLoss(path)
