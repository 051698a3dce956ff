"""The small decoder of TRIPS: coarse to fine only, a third of the U-Net's work and a tenth of its parameters."""

from __future__ import annotations

import torch
from torch import nn

from unrender.render.shade.gated import GatedConv, upsample_to

__all__ = ["Decoder"]


class Decoder(nn.Module):
    """Rendered layers, finest first, to feature maps of the finest (Franke et al. 2024, TRIPS, section 4.4).

    Starts at the coarsest layer; each step upsamples, reads the next finer rendered layer before and after
    one gated convolution, and so never sends fine pixels through a bottleneck.
    """

    def __init__(self, channels: int, levels: int, width: int) -> None:
        super().__init__()
        carried = width + channels
        outputs = [width] * (levels - 2) + [carried]
        self.start = GatedConv(channels, width)
        self.steps = nn.ModuleList(GatedConv(carried + channels, output) for output in outputs[: levels - 1])
        self.final = nn.Linear(carried + channels if levels > 1 else carried, 3)

    def forward(self, layers: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """The feature maps of the finest layer, for ``final``."""
        x = self._beside(self.start(layers[-1]), layers[-1])
        for step, layer in zip(self.steps, reversed(layers[:-1]), strict=True):
            x = self._beside(step(self._beside(upsample_to(x, layer), layer)), layer)
        return x

    @staticmethod
    def _beside(x: torch.Tensor, layer: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, layer.to(x.dtype)], dim=1)
