"""Tone mapping operators: ways to look at radiance on a screen that no camera took.

They compress linear radiance to 0..1 and encode it for display. To see what a photo would have stored use
``Cameras.record`` instead.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import torch

from unrender.errors import SettingsError
from unrender.images.colour import srgb_from_linear

__all__ = ["OPERATORS", "filmic", "gamma", "linear", "reinhard", "tonemap"]


def tonemap(radiance: torch.Tensor, operator: str = "filmic", ev: float = 0.0) -> torch.Tensor:
    """Linear radiance [..., 3, H, W] -> a picture for a screen, [..., 3, H, W] in 0..1.

    ``operator``: a name in ``OPERATORS``; ``ev``: exposure in stops, and as with a camera a higher one is darker:
    radiance 2^ev is what the operator sees as 1. Raises SettingsError on an unknown operator.
    """
    if operator not in OPERATORS:
        raise SettingsError("unknown tone mapping operator", expected=f"one of {', '.join(OPERATORS)}", got=operator)
    return OPERATORS[operator](radiance.clamp(min=0) * 2.0**-ev)


def linear(radiance: torch.Tensor) -> torch.Tensor:
    """No compression: clipped at 1, then the sRGB transfer."""
    return srgb_from_linear(radiance.clamp(0, 1))


def gamma(radiance: torch.Tensor) -> torch.Tensor:
    """No compression: clipped at 1, then the power 1 / 2.2 instead of sRGB."""
    return radiance.clamp(0, 1) ** (1 / 2.2)


def reinhard(radiance: torch.Tensor) -> torch.Tensor:
    """Luminance L becomes L / (1 + L) and colours keep their ratios (Reinhard et al. 2002, Eq. 3); then sRGB.

    A strongly coloured highlight can still clip in one channel.
    """
    weights = radiance.new_tensor(_LUMINANCE)[:, None, None]
    luminance = (radiance * weights).sum(dim=-3, keepdim=True)
    return srgb_from_linear((radiance / (1 + luminance)).clamp(max=1))


def filmic(radiance: torch.Tensor) -> torch.Tensor:
    """Toe and shoulder of film (Hable 2010), white at 11.2; then the power 1 / 2.2.

    With Hable's exposure bias of 2, without which mid grey would lie about a stop below the other operators'.
    """
    white = _hable(radiance.new_tensor(_WHITE))
    return (_hable((2 * radiance).clamp(0, _WHITE)) / white).clamp(0, 1) ** (1 / 2.2)


def _hable(x: torch.Tensor) -> torch.Tensor:
    """Hable's rational curve: shoulder a, linear strength b and angle c, toe strength d, numerator e, denominator f."""
    a, b, c, d, e, f = 0.22, 0.30, 0.10, 0.20, 0.01, 0.30
    return (x * (a * x + c * b) + d * e) / (x * (a * x + b) + d * f) - e / f


_LUMINANCE = (0.2126, 0.7152, 0.0722)
_WHITE = 11.2

OPERATORS: MappingProxyType[str, Callable[[torch.Tensor], torch.Tensor]] = MappingProxyType(
    {"linear": linear, "gamma": gamma, "reinhard": reinhard, "filmic": filmic}
)
"""Operator name -> function from radiance >= 0 [..., 3, H, W] to a picture in 0..1."""
