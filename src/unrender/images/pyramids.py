"""Image pyramids by 2x2 means, at any size.

Pixel i of level l covers the fine pixels 2^l i .. 2^l (i + 1) - 1, and a level has ceil(H / 2^l) x ceil(W / 2^l)
pixels: nothing is shifted and nothing is cropped; at an odd size the last pixel is the mean of the one row (column)
that is there.
"""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["halve", "pyramid"]


def halve(images: torch.Tensor) -> torch.Tensor:
    """Mean of each 2x2 block: [B, D, H, W] -> [B, D, ceil(H / 2), ceil(W / 2)]; at an odd edge, of the pixels there."""
    return functional.avg_pool2d(images, 2, ceil_mode=True, count_include_pad=False)


def pyramid(images: torch.Tensor, levels: int) -> tuple[torch.Tensor, ...]:
    """``levels`` images [B, D, ceil(H / 2^l), ceil(W / 2^l)], finest first; the first is ``images`` itself."""
    out = [images]
    while len(out) < levels:
        out.append(halve(out[-1]))
    return tuple(out)
