"""How good an image is, each number with the sentence that defines it."""

from __future__ import annotations

import torch

from unrender.errors import ShapeError
from unrender.messages import Scores
from unrender.metrics import flip as _flip
from unrender.metrics import lpips as _lpips
from unrender.metrics import psnr as _psnr
from unrender.metrics import ssim as _ssim

__all__ = ["DEFINITIONS", "score"]

DEFINITIONS: dict[str, str] = {
    "psnr": _psnr.DEFINITION,
    "ssim": _ssim.DEFINITION,
    "flip": _flip.DEFINITION,
    "lpips": _lpips.DEFINITION,
}
"""Exactly what each score is; printed with every table of scores."""


def score(image: torch.Tensor, reference: torch.Tensor, weight: torch.Tensor | None = None) -> Scores:
    """PSNR, SSIM and FLIP of two recorded images [3, H, W] in 0..1 (sRGB); values outside are clamped.

    ``weight`` [1, H, W] in 0..1: how much each pixel may be used, all alike when None; what weighs 0 changes nothing.
    Raises ShapeError when the shapes differ or are not [3, H, W].
    """
    if image.shape != reference.shape or image.dim() != 3 or image.shape[0] != 3:
        shapes = f"{list(image.shape)} and {list(reference.shape)}"
        raise ShapeError("cannot compare these images", expected="[3, H, W] twice", got=shapes)
    if weight is not None and list(weight.shape) != [1, *image.shape[1:]]:
        expected = f"[1, H, W] {[1, *image.shape[1:]]}"
        raise ShapeError("wrong shape", where="weight", expected=expected, got=list(weight.shape))
    judges = (_psnr.psnr, _ssim.ssim, _flip.flip)
    return Scores(*(judge(image, reference, weight) for judge in judges))
