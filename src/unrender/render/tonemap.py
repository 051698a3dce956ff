"""Tone mapping operators: ways to look at radiance on a screen that no camera took.

They compress linear radiance to 0..1 and encode it for display. To see what a photo would have stored use
``Cameras.record`` instead.

All but ``fusion`` look at one pixel at a time, and light of one colour is shown the brighter the more of it there is.
None gives NaN for radiance that is 0, negative (shown as 0) or infinite. What each keeps of a colour stands with it.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import torch

from unrender.errors import SettingsError
from unrender.images.colour import luminance, srgb_from_linear
from unrender.render.exposure_fusion import fusion

__all__ = ["OPERATORS", "agx", "filmic", "gamma", "linear", "reinhard", "tonemap"]


def tonemap(radiance: torch.Tensor, operator: str = "filmic", ev: float = 0.0) -> torch.Tensor:
    """Linear radiance [..., 3, H, W] -> a picture for a screen, [..., 3, H, W] in 0..1.

    ``operator``: a name in ``OPERATORS``; ``ev``: exposure in stops, and as with a camera a higher one is darker:
    radiance 2^ev is what the operator sees as 1. Raises SettingsError on an unknown operator, or an ``ev`` that is not
    within 100 stops of 0.
    """
    if operator not in OPERATORS:
        raise SettingsError("unknown tone mapping operator", expected=f"one of {', '.join(OPERATORS)}", got=operator)
    if not abs(ev) <= _MOST_STOPS:
        raise SettingsError("exposure", expected=f"within {_MOST_STOPS} stops of 0", got=ev)
    return OPERATORS[operator]((radiance.clamp(0, _BRIGHTEST) * 2.0**-ev).clamp(max=_BRIGHTEST))


def linear(radiance: torch.Tensor) -> torch.Tensor:
    """No compression: clipped at 1, then the sRGB transfer."""
    return srgb_from_linear(radiance.clamp(0, 1))


def gamma(radiance: torch.Tensor) -> torch.Tensor:
    """No compression: clipped at 1, then the power 1 / 2.2 instead of sRGB."""
    return _root(radiance.clamp(0, 1))


def reinhard(radiance: torch.Tensor) -> torch.Tensor:
    """Luminance L becomes L / (1 + L) and colours keep their ratios (Reinhard et al. 2002, Eq. 3); then sRGB.

    A strongly coloured highlight can still clip in one channel.
    """
    return srgb_from_linear((radiance / (1 + luminance(radiance))).clamp(max=1))


def filmic(radiance: torch.Tensor) -> torch.Tensor:
    """Toe and shoulder of film (Hable 2010), white at 11.2; then the power 1 / 2.2.

    With Hable's exposure bias of 2, without which mid grey would lie about a stop below the other operators'.
    """
    white = _hable(radiance.new_tensor(_WHITE))
    return _root((_hable((2 * radiance).clamp(0, _WHITE)) / white).clamp(0, 1))


def agx(radiance: torch.Tensor) -> torch.Tensor:
    """Colours bleach towards white as they get bright, as on film; derived here in the manner of AgX (Sobotka 2022).

    Three steps: every colour moves by a fifth towards the grey of its luminance, so that no channel is alone;
    each channel is encoded as log2 from 10 stops below mid grey (0.18) to 6.5 above; a logistic curve through mid grey,
    scaled to reach 0 and 1 at those stops, makes of that what the screen is sent. In radiance that curve is
    x^n / (x^n + c^n), the response of photoreceptors (Naka and Rushton 1966). It is not the curve of AgX, which is
    pieced together of powers, and there is no look after it.

    Grey stays grey and mid grey as bright as it is; channels keep their order. Smooth between the stated stops,
    constant outside.
    """
    inset = radiance + _INSET * (luminance(radiance) - radiance)
    low, high = (_MID_GREY * 2.0**stops for stops in (-_STOPS_BELOW, _STOPS_ABOVE))
    stops = torch.log2(inset.clamp(low, high) / _MID_GREY)
    dark, bright = (float(_logistic(torch.tensor(end, dtype=torch.float64))) for end in (-_STOPS_BELOW, _STOPS_ABOVE))
    return ((_logistic(stops) - dark) / (bright - dark)).clamp(0, 1)


def _logistic(stops: torch.Tensor) -> torch.Tensor:
    """The curve of ``agx`` over stops above mid grey, before it is scaled to 0..1."""
    return torch.sigmoid(_CONTRAST * (stops - _CENTER))


def _root(x: torch.Tensor) -> torch.Tensor:
    """x^(1 / 2.2), straight where x is so small that no screen shows it: the slope of the power has no bound at 0."""
    least = 1e-8
    return torch.where(x < least, x * least ** (1 / 2.2 - 1), x.clamp(min=least) ** (1 / 2.2))


def _hable(x: torch.Tensor) -> torch.Tensor:
    """Hable's rational curve: shoulder a, linear strength b and angle c, toe strength d, numerator e, denominator f."""
    a, b, c, d, e, f = 0.22, 0.30, 0.10, 0.20, 0.01, 0.30
    return (x * (a * x + c * b) + d * e) / (x * (a * x + b) + d * f) - e / f


_WHITE = 11.2
_BRIGHTEST, _MOST_STOPS = 1e30, 100.0
_MID_GREY, _INSET = 0.18, 0.2
_STOPS_BELOW, _STOPS_ABOVE = 10.0, 6.5
_CONTRAST = 0.6
"""Slope of ``agx`` in its middle: a factor of e in value / (1 - value) every 1.7 stops, as steep as AgX."""
_CENTER = 0.3252
"""Stops above mid grey at which ``agx`` is halfway; so mid grey is where sRGB has it, at 0.461."""

OPERATORS: MappingProxyType[str, Callable[[torch.Tensor], torch.Tensor]] = MappingProxyType(
    {"linear": linear, "gamma": gamma, "reinhard": reinhard, "filmic": filmic, "agx": agx, "fusion": fusion}
)
"""Operator name -> function from radiance >= 0 [..., 3, H, W] to a picture in 0..1."""
