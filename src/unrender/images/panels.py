"""Pictures in a row under small labels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from PIL import Image, ImageDraw, ImageFont

__all__ = ["labelled_row"]


def labelled_row(panels: Sequence[torch.Tensor], labels: Sequence[str]) -> torch.Tensor:
    """``panels`` [3, H, W] in 0..1 of one size beside each other: uint8 [H', n W, 3]."""
    row = torch.cat([(panel.clamp(0, 1) * 255).round().byte() for panel in panels], dim=2).permute(1, 2, 0)
    size = max(10, panels[0].shape[1] // 24)
    label = Image.new("RGB", (row.shape[1], size + size // 2), "black")
    draw, font = ImageDraw.Draw(label), ImageFont.load_default(size)
    for index, text in enumerate(labels):
        draw.text((index * panels[0].shape[2] + size // 2, size // 8), text, fill="white", font=font)
    return torch.cat([torch.frombuffer(bytearray(label.tobytes()), dtype=torch.uint8).view(-1, *row.shape[1:]), row])
