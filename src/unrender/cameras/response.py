"""Response curves: from exposure to recorded value, both in 0..1, in several families.

Every curve is its values at the knots x_i = (i / K)^4 and linear between them, whatever family made them, so that
recording and its exact inverse are the same lines for all. A family turns a few *raw* numbers, which an optimiser may
step as it likes, into the K rises between the knots. Rises are positive and add up to 1: R(0) = 0, R(1) = 1, and R
rises, by construction.

So spaced, 24 pieces hold x^0.45 to 0.0014 (uniform knots miss it by 0.07 near black), and the piece that holds x is
found without a search: floor(K x^(1/4)).

Letters: C cameras, P raw numbers, K pieces, B batch, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import torch
from torch.nn.functional import softplus

from unrender.cameras.emor import EMOR
from unrender.errors import SettingsError

__all__ = [
    "FAMILIES",
    "GAMMA",
    "SEGMENTS",
    "Family",
    "interpolate",
    "interpolate_back",
    "response_knots",
    "start_rises",
]

SEGMENTS = 24
"""Pieces of a response that is free at every knot."""
FINE = 96
"""Pieces of a response that is a formula: they hold the curves it can be to 0.0005."""
GAMMA = 0.45
"""Exponent of the response that a fit starts from."""
LEAST_EXPONENT = 0.05
"""What an exponent or a slope of a formula cannot fall below."""
_STEEP = 10.0
"""How sharply a falling piece of an EMoR curve is bent into a rising one."""
_TOLERANCE = 1e-9


def response_knots(
    dtype: torch.dtype = torch.float32, device: torch.device | str | None = None, segments: int = SEGMENTS
) -> torch.Tensor:
    """Where a response has its knots, [K + 1] in 0..1: x_i = (i / K)^4."""
    return (torch.arange(segments + 1, dtype=dtype, device=device) / segments) ** 4


def start_rises(segments: int = SEGMENTS) -> torch.Tensor:
    """Rises of x^0.45 over the pieces, [K] float64."""
    return (response_knots(torch.float64, segments=segments) ** GAMMA).diff()


@dataclass(frozen=True)
class Family:
    """``segments``: K; ``numbers``: P; ``rises``: raw [..., P] -> [..., K] positive with sum 1, differentiable;
    ``start`` [P]: the raw numbers of x^0.45, or of what the family has nearest to it.
    """

    segments: int
    numbers: int
    rises: Callable[[torch.Tensor], torch.Tensor]
    start: Callable[[], torch.Tensor]

    def values(self, raw: torch.Tensor) -> torch.Tensor:
        """The curves at their knots, [..., K + 1]: 0 first, 1 last, rising between."""
        inner = self.rises(raw).cumsum(-1)[..., :-1]
        zero = torch.zeros_like(inner[..., :1])
        return torch.cat([zero, inner, zero + 1], dim=-1)

    def nearest(self, values: torch.Tensor) -> torch.Tensor:
        """Raw numbers [..., P] float64 of the curves nearest (least squares) to ``values`` [..., K + 1]."""
        raw = self.start().expand(*values.shape[:-1], self.numbers).clone().requires_grad_()
        search = torch.optim.LBFGS(
            [raw], max_iter=300, tolerance_grad=_TOLERANCE, tolerance_change=1e-14, line_search_fn="strong_wolfe"
        )

        def miss() -> torch.Tensor:
            search.zero_grad()
            error = (self.values(raw) - values).square().sum()
            error.backward()
            return error

        with torch.enable_grad():
            search.step(miss)
        return raw.detach()


def _knots() -> Family:
    """A free curve: raw are logits of the rises (the paper's 25 texels, with its constraints built in)."""
    return Family(SEGMENTS, SEGMENTS, lambda raw: raw.softmax(-1), lambda: start_rises().log())


def _gamma() -> Family:
    """x^g: raw is log g."""

    def rises(raw: torch.Tensor) -> torch.Tensor:
        return _rises_of(lambda x: x ** raw.exp(), raw)

    return Family(FINE, 1, rises, lambda: torch.tensor([GAMMA], dtype=torch.float64).log())


def _emor() -> Family:
    """The mean of measured responses and its first five principal components (EMoR, Grossberg and Nayar 2004).

    raw are their coefficients. A combination of them may fall; each of its rises, in units of the mean's, goes through
    a softplus that leaves all but the smallest as they are, and all are scaled to end at 1.
    """
    table = torch.tensor(EMOR, dtype=torch.float64)
    mean, components = table[0].diff(), table[1:].diff(dim=-1)

    def rises(raw: torch.Tensor) -> torch.Tensor:
        ratio = 1 + raw @ (components / mean).to(raw)
        risen = mean.to(raw) * softplus(_STEEP * ratio) / _STEEP
        return risen / risen.sum(-1, keepdim=True)

    return Family(SEGMENTS, len(components), rises, _emor_start)


@lru_cache(maxsize=1)
def _emor_start() -> torch.Tensor:
    family = FAMILIES["emor"]
    flat = Family(family.segments, family.numbers, family.rises, lambda: torch.zeros(5, dtype=torch.float64))
    return flat.nearest(response_knots(torch.float64) ** GAMMA)


def _ppisp() -> Family:
    """A toe, a shoulder, and a power over both, in four numbers (PPISP, 2026).

        C(x) = a (x / c)^t                          up to the centre c,
        C(x) = 1 - (1 - a) ((1 - x) / (1 - c))^s    beyond,    R(x) = C(x)^g,    a = s c / (t (1 - c) + s c)

    with a such that the slope has no jump. raw: t, s and g before a softplus, c before a sigmoid.
    """

    def rises(raw: torch.Tensor) -> torch.Tensor:
        toe, shoulder, power = (LEAST_EXPONENT + softplus(raw[..., k : k + 1]) for k in range(3))
        centre = raw[..., 3:].sigmoid().clamp(1e-3, 1 - 1e-3)
        height = shoulder * centre / (toe * (1 - centre) + shoulder * centre)

        def curve(x: torch.Tensor) -> torch.Tensor:
            low = height * (x / centre).clamp(max=1) ** toe
            high = (1 - height) * ((1 - x) / (1 - centre)).clamp(max=1) ** shoulder
            return torch.where(x <= centre, low, 1 - high) ** power

        return _rises_of(curve, raw)

    def start() -> torch.Tensor:
        bent = torch.tensor([1.0, 1.0, GAMMA], dtype=torch.float64) - LEAST_EXPONENT
        return torch.cat([bent.expm1().log(), bent.new_zeros(1)])

    return Family(FINE, 4, rises, start)


def _rises_of(curve: Callable[[torch.Tensor], torch.Tensor], raw: torch.Tensor) -> torch.Tensor:
    """Rises [..., FINE] of a formula between the knots; at 0 and 1, where powers have no derivative, it is known."""
    inner = curve(response_knots(raw.dtype, raw.device, FINE)[1:-1])
    zero = torch.zeros_like(inner[..., :1])
    return torch.cat([zero, inner, zero + 1], dim=-1).diff(dim=-1)


FAMILIES: MappingProxyType[str, Family] = MappingProxyType(
    {"knots": _knots(), "gamma": _gamma(), "emor": _emor(), "ppisp": _ppisp()}
)
"""Name -> family of response curves."""


def family(name: str) -> Family:
    """The family of a name. Raises SettingsError for an unknown one."""
    if name not in FAMILIES:
        raise SettingsError("unknown family of responses", expected=", ".join(FAMILIES), got=name)
    return FAMILIES[name]


def interpolate(x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Piecewise linear curves ``values`` [B, 3, K + 1] at ``x`` [B, 3, H, W] in 0..1.

    The derivative leaves out the choice of the piece (x^(1/4) has none at 0); within it the value is linear in x.
    """
    segments = values.shape[-1] - 1
    knots = response_knots(values.dtype, values.device, segments)
    slope = values.diff(dim=-1) / knots.diff()
    base = values[..., :-1] - slope * knots[:-1]
    with torch.no_grad():
        piece = (x.sqrt().sqrt() * segments).long().clamp(0, segments - 1).flatten(2)
    return (base.gather(2, piece) + slope.gather(2, piece) * x.flatten(2)).view_as(x)


def interpolate_back(y: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The x in 0..1 at which the rising curves ``values`` [B, 3, K + 1] reach ``y`` [B, 3, H, W] in 0..1."""
    knots = response_knots(values.dtype, values.device, values.shape[-1] - 1)
    slope = knots.diff() / values.diff(dim=-1).clamp(min=torch.finfo(values.dtype).tiny)
    with torch.no_grad():
        piece = torch.searchsorted(values[..., 1:-1].contiguous(), y.flatten(2).contiguous(), right=True)
    start, left = knots[piece], values.gather(2, piece)
    return (start + slope.gather(2, piece) * (y.flatten(2) - left)).clamp(0, 1).view_as(y)
