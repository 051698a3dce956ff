"""Photography: what a camera's automatic makes of radiance, and the photo it stores.

The camera meters each view, chooses an exposure value (EV), and writes it into EXIF rounded to thirds of a
stop; the sensor (``cameras/sensor.py``) then turns radiance into eight bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.sensor import Sensor
from unrender.images.exif import exif_bytes

__all__ = ["RESPONSES", "exif_of", "expose", "filmic", "gamma", "metered", "photograph", "thirds"]

DAYLIGHT_EV = 9.0
"""The mean EV100 that the photos are given: a bright room."""
KEY = 0.12
"""Where the metered mean lies below white: 3.1 stops, as a camera does that protects highlights."""
DARKEST = 1e-6
"""Luminance below which the meter sees no difference."""
F_NUMBER = 1.8
VIGNETTE = (-0.34, 0.10, -0.06)
VIGNETTE_CENTER = (0.03, -0.02)


def filmic(exposed: torch.Tensor) -> torch.Tensor:
    """An S-shaped response: a soft toe, a long shoulder. Exposure in 0..1 -> recorded value in 0..1, rising."""

    def curve(x: torch.Tensor) -> torch.Tensor:
        return x * (2.4 * x + 0.25) / (x * (2.0 * x + 1.1) + 0.16)

    white = curve(torch.ones((), dtype=exposed.dtype))
    return (curve(exposed) / white) ** (1 / 2.0)


def gamma(exposed: torch.Tensor) -> torch.Tensor:
    """x^0.45, the curve that a fit starts from."""
    return exposed**0.45


RESPONSES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"filmic": filmic, "gamma": gamma}
"""Response curves by name."""


def metered(radiance: torch.Tensor) -> float:
    """Centre-weighted mean of the log2 luminance of one view [3, H, W], in stops."""
    height, width = radiance.shape[1:]
    luminance = torch.einsum("c,chw->hw", radiance.new_tensor([0.2126, 0.7152, 0.0722]), radiance)
    v, u = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
    weight = torch.exp(-1.5 * (u * u + v * v))
    return float((weight * torch.log2(luminance + DARKEST)).sum() / weight.sum())


def expose(
    stops: Sequence[float],
    *,
    ev_spread: float | None,
    white_balance_spread: float,
    vignette: float,
    response: str,
    seed: int,
) -> tuple[Sensor, float]:
    """The true sensor of V metered views, and the factor that takes their radiance to the sensor's unit.

    EV follows ``stops`` [V], the meter's readings, with a random correction of up to half a stop; then all deviations
    from the mean are stretched so that the brightest and the darkest exposure lie ``ev_spread`` stops apart (None:
    not stretched, as a camera does that exposes every photo well). White points differ by ``white_balance_spread``
    stops (standard deviation). ``vignette`` 1 takes 30 % of the light at the corners.
    """
    chance = torch.Generator().manual_seed(seed)
    wished = (
        torch.tensor(stops, dtype=torch.float64) + torch.rand(len(stops), generator=chance, dtype=torch.float64) - 0.5
    )
    deviation = wished - wished.mean()
    if ev_spread is not None:
        deviation = deviation * (ev_spread / (deviation.max() - deviation.min()).clamp(min=1e-9))
    white_point = torch.randn(len(stops), 2, generator=chance) * white_balance_spread
    tints = torch.tensor([1.03, 1.0, 0.96])
    sensor = Sensor.start((DAYLIGHT_EV + deviation).float())
    sensor = sensor.with_response(lambda x: RESPONSES[response](x) ** tints.to(x)[:, None])
    sensor = replace(
        sensor,
        white_point=white_point - white_point.mean(0),
        vignette=torch.tensor([VIGNETTE]) * vignette,
        vignette_center=torch.tensor([VIGNETTE_CENTER]),
    )
    return sensor, KEY * 2.0 ** -float(wished.mean())


def thirds(ev: torch.Tensor) -> torch.Tensor:
    """EV as cameras say it: the nearest third of a stop."""
    return (ev * 3).round() / 3


def exif_of(ev: float) -> bytes:
    """An EXIF block whose f-number, time and ISO give this EV100; ISO rises when the time would exceed 1/50 s."""
    seconds, iso = F_NUMBER**2 * 2.0**-ev, 100
    while seconds > 0.02 and iso < 3200:
        seconds, iso = seconds / 2, iso * 2
    return exif_bytes(F_NUMBER, seconds, iso)


def photograph(cameras: Cameras, view: int, radiance: torch.Tensor) -> torch.Tensor:
    """The photo that ``view`` stores for radiance [3, H, W] in the sensor's unit: uint8 [H, W, 3]."""
    recorded = cameras.select([view]).record(radiance[None])[0]
    return (recorded * 255).round().to(torch.uint8).permute(1, 2, 0)
