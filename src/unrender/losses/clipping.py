"""What a photo says where it is clipped: only that there was at least as much light, or at most as much.

The training response keeps a slope beyond black and white (Eq. 20 of ADOP), and Adam divides gradients by their size:
so even that slight pull brings whatever is clipped in most photos down to where it just clips. A rendering that is
beyond the clip too agrees with the photo, in every part of the loss.
"""

from __future__ import annotations

import torch

from unrender.cameras.sensor import BLACK, WHITE

__all__ = ["agreeing"]


def agreeing(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """``image`` [B, 3, H, W], replaced by ``target`` where that is clipped and the image lies beyond it.

    There no part of a loss sees a difference, and no gradient flows; on the wrong side of the clip all is as it was.
    Photos of more bits are treated the same: their last 255th counts as clipped.
    """
    below = torch.where(target <= BLACK, image.maximum(target), image)
    return torch.where(target >= WHITE, below.minimum(target), below)
