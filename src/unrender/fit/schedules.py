"""How step sizes change over a fit, as functions of the fraction of it that is done."""

from __future__ import annotations

import math

__all__ = ["cosine", "unlocked"]


def cosine(fraction: float, final: float, warm_up: float = 0.01) -> float:
    """Factor on a step size: a short linear rise from 0 to 1, then half a cosine down to ``final`` at fraction 1."""
    if fraction < warm_up:
        return max(fraction, 1e-3 * warm_up) / warm_up
    along = (min(fraction, 1.0) - warm_up) / (1 - warm_up)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * along))


def unlocked(fraction: float, unlock: float) -> bool:
    """Whether parameters that wait for the share ``unlock`` of the fit may move."""
    return fraction >= unlock
