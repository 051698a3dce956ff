"""Choosing one hypothesis per pixel so that neighbours agree: semi-global matching.

Each pixel has a cost for each of K ordered hypotheses. Alone, the cheapest is wrong wherever nothing catches the eye.
Along straight lines through the image, changing to the next hypothesis costs a little and jumping costs more, less so
where the image itself has an edge; the best path to each pixel is found by dynamic programming, and the lines' costs
are summed (Hirschmueller 2008, "Stereo processing by semiglobal matching and mutual information").

Letters: K hypotheses, h w cells.
"""

from __future__ import annotations

import torch

__all__ = ["aggregate", "cheapest"]

# What the next hypothesis costs, what a jump costs, and the difference between neighbouring colours at which jumping
# is cheap. Costs are differences of recorded colours in 0..1.
SLOPE, JUMP, EDGE = 0.01, 0.06, 0.08


def aggregate(cost: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
    """Path costs [K, h, w] summed over the four directions along rows and columns.

    ``cost`` [K, h, w]: of each hypothesis; ``guide`` [3, h, w]: recorded colours in 0..1, whose edges let the choice
    jump.
    """
    rows = _both_ways(cost, guide)
    columns = _both_ways(cost.transpose(1, 2), guide.transpose(1, 2)).transpose(1, 2)
    return rows + columns


def cheapest(cost: torch.Tensor) -> torch.Tensor:
    """The hypothesis of least cost [h, w], between two of them by the parabola through it and its neighbours."""
    best = cost.argmin(dim=0)
    inner = best.clamp(1, max(1, cost.shape[0] - 2))
    if cost.shape[0] < 3:
        return best.to(cost)
    before, here, after = (cost.gather(0, (inner + step)[None])[0] for step in (-1, 0, 1))
    bend = (before - 2 * here + after).clamp(min=torch.finfo(cost.dtype).eps)
    offset = ((before - after) / (2 * bend)).clamp(-0.5, 0.5)
    return best + torch.where(inner == best, offset, 0.0)


def _both_ways(cost: torch.Tensor, guide: torch.Tensor) -> torch.Tensor:
    """Path costs along the last axis, from both ends."""
    difference = guide.diff(dim=2).abs().mean(dim=0)
    jump = SLOPE + (JUMP - SLOPE) * torch.exp(-difference / EDGE)
    return _sweep(cost, jump) + _sweep(cost.flip(2), jump.flip(1)).flip(2)


def _sweep(cost: torch.Tensor, jump: torch.Tensor) -> torch.Tensor:
    """Path costs from the first to the last place of the last axis.

    ``cost`` [K, m, n]; ``jump`` [m, n - 1]: price of any change between two places. The least of each place is taken
    off, so that the numbers stay small.
    """
    lines = cost.unbind(2)
    path, swept = lines[0], [lines[0]]
    far = torch.full_like(path[:1], torch.inf)
    for line, price in zip(lines[1:], jump.unbind(1), strict=True):
        least = path.amin(dim=0)
        beside = torch.minimum(torch.cat([path[1:], far]), torch.cat([far, path[:-1]])) + SLOPE
        path = line + torch.minimum(torch.minimum(path, beside), least + price) - least
        swept.append(path)
    return torch.stack(swept, dim=2)
