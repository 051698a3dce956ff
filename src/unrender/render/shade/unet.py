"""The gated U-Net of ADOP: best quality per parameter, and too slow for a short fit on a CPU."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from unrender.images.pyramids import halve
from unrender.render.shade.gated import GatedConv, upsample_to

__all__ = ["UNet"]


class UNet(nn.Module):
    """Rendered layers, finest first, to feature maps of the finest (ADOP section IV-B, figure 5).

    Going down, each level is the pooled level above through one gated convolution, next to the rendered layer of that
    size. Going up, each level is the upsampled level below through one gated convolution, next to the level itself.
    """

    def __init__(self, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        steps = list(pairwise(widths))
        self.start = GatedConv(channels, widths[0])
        self.down = nn.ModuleList(GatedConv(fine, coarse - channels) for fine, coarse in steps)
        self.up = nn.ModuleList(GatedConv(coarse, fine, elu=False) for fine, coarse in steps)
        self.merge = nn.ModuleList(GatedConv(2 * fine, fine) for fine, _ in steps)
        self.final = nn.Linear(widths[0], 3)

    def forward(self, layers: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """The feature maps of the finest layer, for ``final``."""
        levels = [self.start(layers[0])]
        for conv, layer in zip(self.down, layers[1:], strict=True):
            pooled = conv(halve(levels[-1]))
            levels.append(torch.cat([pooled, layer.to(pooled.dtype)], dim=1))
        x = levels.pop()
        for up, merge in zip(reversed(self.up), reversed(self.merge), strict=True):
            level = levels.pop()
            x = merge(torch.cat([up(upsample_to(x, level)), level], dim=1))
        return x
