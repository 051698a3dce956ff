"""The inverse response that photos of the same points agree on, by linear least squares in log exposure.

Debevec and Malik 1997, Eq. 3, with three changes: the curve is a smooth departure h from the one that a fit starts
from, g(z) = log2(z) / 0.45 + h(z), on a few nodes rather than on all 256 levels; exposures may be unknowns too; and the
squares are reweighted so that samples which fit badly count as little as in least absolute differences.

    g(z_pv) - log2(radiance_p) + EV_v = 0

Radiances are eliminated point by point, so that the equations have 3 L + V unknowns, whatever the number of points.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unrender.cameras.sensor import GAMMA, response_knots

__all__ = ["Equations", "response_values", "solve"]

# Nodes of h, at z = (j / (NODES - 1))^2, and the weight of its smoothness as a part of the data's.
NODES, SMOOTH = 33, 0.8
# Rounds of reweighting, and the residual in stops below which a sample counts fully.
ROUNDS, ROUND = 8, 0.05
# Recorded values from which on a sample says where the sensor saturates; fewest that are, and that are not, clipped.
NEAR, FEWEST = 0.85, 20


@dataclass(frozen=True)
class Equations:
    """``values`` [V, M, 3] float64: what V photos recorded of M points, in 0..1; ``weights`` of that shape, 0 where
    clipped; ``full``: the recorded value from which on a sample is taken for clipped; ``start_ev`` [V] float64;
    ``given`` [V] bool: EVs that hold mean and spread; ``free``: whether EVs move.
    """

    values: torch.Tensor
    weights: torch.Tensor
    full: float
    start_ev: torch.Tensor
    given: torch.Tensor
    free: bool


def solve(equations: Equations) -> tuple[torch.Tensor, torch.Tensor]:
    """h at the nodes, [3, NODES] float64 with h(1) = 0, and the EVs [V] float64.

    With ``free`` EVs, the fitted ones of those ``given`` have the same mean and the same spread as at the start: the
    slope of fitted over given is 1.
    """
    weights, found = equations.weights, None
    for _ in range(ROUNDS):
        found = _least_squares(equations, weights)
        residual = _residuals(equations, *found)
        weights = equations.weights / (residual.square() + ROUND**2).sqrt()
    assert found is not None
    curve, ev = found
    top = _saturation(equations, curve, ev)
    curve[:, -1] = torch.where(top.isnan(), curve[:, -1], top)
    return curve - curve[:, -1:], ev


def response_values(curve: torch.Tensor) -> torch.Tensor:
    """The response at ``response_knots`` [3, K + 1] float64, rising from 0 to 1, for h at the nodes [3, NODES].

    Where the sensor saturates before the curve is up, which noise near white can make of it, the curve leaps there.
    """
    z = torch.linspace(0, 1, 2049, dtype=torch.float64)[1:]
    departure = hats(z) @ curve.T
    stops = (z.log2() / GAMMA)[:, None] + departure - departure[-1]
    scale = torch.cummax(stops, dim=0).values.exp2() ** GAMMA  # on which recorded values spread evenly
    knots = response_knots(torch.float64) ** GAMMA
    channels = [_interpolated(knots, scale[:, channel].contiguous(), z) for channel in range(3)]
    curves = torch.cummax(torch.stack(channels), dim=1).values
    curves[:, -1] = 1.0
    return curves


def _interpolated(x: torch.Tensor, knots: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Values at ``x`` of the polyline through (0, 0) and (knots, values)."""
    knots, values = (torch.cat([torch.zeros(1, dtype=x.dtype), part]) for part in (knots, values))
    piece = torch.searchsorted(knots, x).clamp(1, len(knots) - 1)
    left, right = knots[piece - 1], knots[piece]
    share = ((x - left) / (right - left).clamp(min=1e-12)).clamp(0, 1)
    return values[piece - 1] + share * (values[piece] - values[piece - 1])


def hats(z: torch.Tensor) -> torch.Tensor:
    """Linear interpolation from the nodes to recorded values ``z`` [...]: [..., NODES]."""
    nodes = torch.linspace(0, 1, NODES, dtype=torch.float64) ** 2
    piece = (z.sqrt() * (NODES - 1)).long().clamp(0, NODES - 2)
    share = (z - nodes[piece]) / (nodes[piece + 1] - nodes[piece])
    out = torch.zeros(*z.shape, NODES, dtype=torch.float64)
    out.scatter_(-1, piece[..., None], (1 - share)[..., None])
    return out.scatter_(-1, piece[..., None] + 1, share[..., None])


def _least_squares(equations: Equations, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One weighted solution: h [3, NODES] and EVs [V]."""
    views = len(equations.start_ev)
    count = 3 * NODES + views
    normal, right = torch.zeros(count, count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
    for channel in range(3):
        columns = torch.cat([torch.arange(NODES) + channel * NODES, torch.arange(views) + 3 * NODES])
        rows, target = _eliminated(equations, weights, channel)
        normal[columns[:, None], columns] += rows.T @ rows
        right[columns] += rows.T @ target
    normal, right = _with_priors(equations, normal, right)
    solution = torch.linalg.solve(normal, right)
    return solution[: 3 * NODES].reshape(3, NODES), solution[3 * NODES :]


def _eliminated(equations: Equations, weights: torch.Tensor, channel: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Equations of one channel, less their weighted mean over the photos of a point: [V M, NODES + V] and [V M]."""
    z, weight = equations.values[..., channel], weights[..., channel]
    views, count = z.shape
    ev = torch.eye(views, dtype=torch.float64)[:, None].expand(views, count, views)
    rows = torch.cat([hats(z), ev], dim=2)
    target = -z.clamp(min=1e-6).log2() / GAMMA
    total = weight.sum(dim=0).clamp(min=1e-12)
    rows = rows - (rows * weight[..., None]).sum(dim=0) / total[:, None]
    target = target - (target * weight).sum(dim=0) / total
    root = weight.sqrt()
    return (rows * root[..., None]).reshape(views * count, -1), (target * root).reshape(-1)


def _with_priors(equations: Equations, normal: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Smoothness of h, h(1) = 0, and what holds the EVs.

    A bracket of equal steps determines a curve only up to ripples whose period in log exposure is that step: they move
    no pixel against another. Third differences are large for ripples and small for the bends of real responses.
    """
    normal, right = normal.clone(), right.clone()
    size = float(normal.diagonal().mean())
    bend = torch.eye(NODES, dtype=torch.float64).diff(n=3, dim=0)
    for channel in range(3):
        own = slice(channel * NODES, (channel + 1) * NODES)
        normal[own, own] += SMOOTH * size * bend.T @ bend
        normal[own, own][-1, -1] += size
    own = slice(3 * NODES, None)
    held, wanted = _held(equations)
    normal[own, own] += 1e3 * size * held.T @ held
    right[own] += 1e3 * size * held.T @ wanted
    return normal, right


def _held(equations: Equations) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear conditions on the EVs [V]: all of them; or mean and spread of those given."""
    start, given = equations.start_ev, equations.given
    if not equations.free:
        return torch.eye(len(start), dtype=torch.float64), start
    chosen = given if bool(given.any()) else torch.ones_like(given)
    mean = chosen.double() / chosen.sum()
    centred = torch.where(chosen, start - start[chosen].mean(), 0.0)
    spread = centred.square().sum()
    if float(spread) == 0:
        return mean[None], (mean * start).sum()[None]
    held = torch.stack([mean, centred / spread])
    return held, held @ start


def _saturation(equations: Equations, curve: torch.Tensor, ev: torch.Tensor) -> torch.Tensor:
    """log2 of the exposure at which each channel saturates, [3]; NaN where no photo shows it.

    Where a photo is clipped, the others say what it got: the exposure that best parts what clipped from what did not.
    This fixes the unit of exposure; what the curve does just below white would say it far less well.
    """
    tops = []
    for channel in range(3):
        z, weight = equations.values[..., channel], equations.weights[..., channel]
        said = z.clamp(min=1e-6).log2() / GAMMA + hats(z) @ curve[channel] + ev[:, None]
        radiance = (said * weight).sum(dim=0) / weight.sum(dim=0).clamp(min=1e-12)
        got = radiance - ev[:, None]
        seen = (weight.sum(dim=0) > 0) & (z > NEAR)
        tops.append(_parting(got[seen], z[seen] >= equations.full))
    return torch.stack(tops)


def _parting(got: torch.Tensor, clipped: torch.Tensor) -> torch.Tensor:
    """The value that has fewest ``clipped`` below it and fewest others above; NaN where there are too few of either."""
    if min(int(clipped.sum()), int((~clipped).sum())) < FEWEST:
        return got.new_tensor(torch.nan)
    order = got.argsort()
    sign = clipped[order].double() * 2 - 1
    wrong = torch.cat([sign.new_zeros(1), sign.cumsum(0)])[:-1]  # less the others above all
    best = torch.nonzero(wrong == wrong.min())[:, 0]
    return got[order[best[len(best) // 2]]]


def _residuals(equations: Equations, curve: torch.Tensor, ev: torch.Tensor) -> torch.Tensor:
    """How many stops each sample is from its point, [V, M, 3]."""
    z = equations.values
    departure = torch.stack([hats(z[..., channel]) @ curve[channel] for channel in range(3)], dim=-1)
    said = z.clamp(min=1e-6).log2() / GAMMA + departure + ev[:, None, None]
    weight = equations.weights
    return said - (said * weight).sum(dim=0) / weight.sum(dim=0).clamp(min=1e-12)
