"""Vignette: the light that a lens loses towards the corners, an even polynomial of the distance from its centre.

    V(s) = 1 + a2 s + a4 s^2 + a6 s^3,    s = r^2

It is held within (0, 1] and falling over the photo by a sufficient condition that is easy to project on: the slope of
V, a quadratic in s on [0, S], has no positive Bernstein coefficient, and the fall over [0, S] is at most 0.95.

Letters: C cameras, B batch, H W pixels, S the largest s on the photo.
"""

from __future__ import annotations

import torch

__all__ = ["DIMMEST", "fallen", "within_bounds"]

DIMMEST = 0.05
"""The least share of light that arrives anywhere, so that it can be undone."""


def fallen(vignette: torch.Tensor, squared: torch.Tensor) -> torch.Tensor:
    """Share of the light that arrives where r^2 is ``squared`` [B, H, W], for a2, a4, a6 [B, 3] or, channel by channel,
    [B, 3, 3]: [B, 1 or 3, H, W], never below 0.05.
    """
    rows = vignette.reshape(len(vignette), -1, 3)
    a2, a4, a6 = rows[..., None, None].unbind(2)
    s = squared[:, None]
    return (1 + s * (a2 + s * (a4 + s * a6))).clamp(min=DIMMEST)


def within_bounds(vignette: torch.Tensor, reach: torch.Tensor) -> torch.Tensor:
    """The vignettes [C, (3,) 3]; those that rise or fall too far for s in [0, ``reach``], [C], are changed as little
    as the Bernstein coefficients of their slope need.
    """
    a2, a4, a6 = vignette.unbind(-1)
    S = reach.view(-1, *[1] * (vignette.dim() - 2))
    slopes = torch.stack([a2, a2 + a4 * S, a2 + 2 * a4 * S + 3 * a6 * S * S], dim=-1).clamp(max=0)
    fall = -slopes.mean(dim=-1, keepdim=True) * S[..., None]
    slopes = slopes * ((1 - DIMMEST) / fall.clamp(min=1 - DIMMEST))
    first, middle, last = slopes.unbind(-1)
    return torch.stack([first, (middle - first) / S, (last - 2 * middle + first) / (3 * S * S)], dim=-1)
