"""Exposure fusion: one picture out of several exposures, each where it is best (Mertens, Kautz, Van Reeth 2007).

No radiance is compressed: exposures are blended as the screen shows them, like a photographer's bracket. A weight per
pixel and exposure, normalised over the exposures, says how good it is there: contrast (absolute Laplacian of the grey
picture), saturation (standard deviation over the channels) and well-exposedness (a Gaussian about 0.5 with sigma 0.2,
multiplied over the channels). Pictures are blended in Laplacian pyramids with Gaussian pyramids of the weights, which
hides the seams. Letters: E exposures, H W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.nn.functional import conv2d, pad

from unrender.images.colour import srgb_from_linear

__all__ = ["FUSED_STOPS", "fuse", "fusion"]

FUSED_STOPS = (-4.0, -2.0, 0.0, 2.0, 4.0)
"""EVs of the exposures that are fused, in stops about the wanted one."""
_SIGMA = 0.2
_LEAST = 1e-3
"""Added to each measure. Without it a grey picture, whose saturation is 0, would have no weights at all."""
_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def fusion(radiance: torch.Tensor, stops: Sequence[float] = FUSED_STOPS) -> torch.Tensor:
    """Radiance [..., 3, H, W] >= 0 exposed at each EV of ``stops``, encoded as sRGB, and fused: [..., 3, H, W] in 0..1.

    What a pixel becomes depends on those around it: a brighter one may be shown darker, and where light differs a lot
    tones far apart may look alike. That is the price of showing both. Derivatives exist where no exposure clips.
    """
    images = torch.stack([srgb_from_linear((radiance * 2.0**-ev).clamp(0, 1)) for ev in stops])
    flat = images.flatten(1, -4) if images.ndim > 4 else images[:, None]
    return torch.stack([fuse(bracket) for bracket in flat.unbind(1)]).view(radiance.shape)


def fuse(images: torch.Tensor) -> torch.Tensor:
    """Pictures [E, 3, H, W] in 0..1 of the same thing -> one, [3, H, W] in 0..1. A lone picture stays as it is."""
    weights = _goodness(images)
    weights = weights / weights.sum(dim=0, keepdim=True)
    levels = max(1, int(math.log2(min(images.shape[-2:]))))
    blended: list[torch.Tensor] = []
    for _ in range(levels - 1):
        coarse = _halve(images)
        blended.append((weights * (images - _double(coarse, images.shape))).sum(dim=0, keepdim=True))
        images, weights = coarse, _halve(weights)
    fused = (weights * images).sum(dim=0, keepdim=True)
    for detail in reversed(blended):
        fused = detail + _double(fused, detail.shape)
    return fused[0].clamp(0, 1)


def _goodness(images: torch.Tensor) -> torch.Tensor:
    """Contrast, saturation and well-exposedness multiplied, [E, 1, H, W] > 0."""
    grey = images.mean(dim=1, keepdim=True)
    laplace = grey.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    contrast = conv2d(pad(grey, (1, 1, 1, 1), mode="replicate"), laplace).abs()
    saturation = (images - grey).square().mean(dim=1, keepdim=True).add(1e-12).sqrt()  # the root has a slope at grey
    exposedness = torch.exp(-(images - 0.5).square().sum(dim=1, keepdim=True) / (2 * _SIGMA**2))
    return (contrast + _LEAST) * (saturation + _LEAST) * (exposedness + _LEAST)


def _halve(images: torch.Tensor) -> torch.Tensor:
    """Blurred, and every second pixel of it: [..., H, W] -> [..., ceil(H / 2), ceil(W / 2)]."""
    return _blur(images)[..., ::2, ::2]


def _double(images: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """``images`` between whose pixels what is missing is filled in, as large as the last two of ``shape``."""
    spread, known = images.new_zeros((*images.shape[:-2], *shape[-2:])), images.new_zeros((1, 1, *shape[-2:]))
    spread[..., ::2, ::2], known[..., ::2, ::2] = images, 1.0
    return _blur(spread) / _blur(known)


def _blur(images: torch.Tensor) -> torch.Tensor:
    """The binomial filter of five taps along both axes, [E, C, H, W]."""
    flat = images.flatten(0, 1)[:, None]
    taps = images.new_tensor(_BINOMIAL)
    rows = conv2d(pad(flat, (2, 2, 0, 0), mode="replicate"), taps[None, None, None])
    return conv2d(pad(rows, (0, 0, 2, 2), mode="replicate"), taps[None, None, :, None]).view_as(images)
