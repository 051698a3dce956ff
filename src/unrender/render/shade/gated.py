"""What both networks are built of: the gated convolution, and the step to a finer pyramid layer.

The step down is ``images.pyramids.halve``; the step up keeps the same alignment, so that nothing is shifted.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["GatedConv", "upsample_to"]


class GatedConv(nn.Module):
    """act(conv3x3(x)) * sigmoid(conv3x3(x)): [B, I, H, W] -> [B, O, H, W] (Yu et al. 2019; ADOP section IV-B).

    The gate lets the network ignore pixels that no point covers. ``act`` is ELU, or the identity after upsampling.
    Two convolutions and not one of twice the width: in channels-last memory a cut through the channels has a stride,
    and the element-wise half then costs more than the shared convolution saves (measured).
    """

    def __init__(self, inputs: int, outputs: int, *, elu: bool = True) -> None:
        super().__init__()
        self.feature = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.gate = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.elu = elu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, I, H, W] -> [B, O, H, W], zeros beyond the border."""
        feature = self.feature(x)
        return (functional.elu(feature) if self.elu else feature) * torch.sigmoid(self.gate(x))


def upsample_to(x: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Bilinear x2 about half-integer pixel centres, cut to the height and width of ``like`` (one row less when odd)."""
    twice = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    return twice[..., : like.shape[-2], : like.shape[-1]]
