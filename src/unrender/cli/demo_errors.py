"""How far a fitted sensor is from the one that really took the photos, up to what photos cannot tell.

Photos do not determine the common offset of all exposures, nor the scale at which a response is read (a brighter scene,
recorded darker, looks the same). Both are removed before comparing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from unrender.cameras.sensor import Sensor

__all__ = ["PhotometricErrors", "aligned_response", "exposure_errors", "photometric_errors"]

SAMPLES = 513
"""Places in 0..1 at which responses are compared, denser near black."""
WIDEST_SCALE = 2.0
"""Largest scale of exposure between two responses that is tried [stops]."""


@dataclass(frozen=True)
class PhotometricErrors:
    """(before, after) of each: exposures start from EXIF, responses from x^0.45."""

    exposure_mean: tuple[float, float]
    exposure_median: tuple[float, float]
    response: tuple[float, float]

    def rows(self) -> tuple[tuple[str, tuple[float, float]], ...]:
        """Name with unit, and the pair."""
        return (
            ("exposure error, mean [stops]", self.exposure_mean),
            ("exposure error, median [stops]", self.exposure_median),
            ("response error, largest", self.response),
        )


def photometric_errors(fitted: Sensor, truth: Sensor, views: Sequence[int]) -> PhotometricErrors:
    """Errors of what ``fitted`` started from and of what it became, over the given views."""
    from unrender.cameras.sensor import Sensor

    before = exposure_errors(fitted.exposure_start, truth.exposure, views).abs()
    after = exposure_errors(fitted.exposure.detach(), truth.exposure, views).abs()
    started = Sensor.start(fitted.exposure_start)
    return PhotometricErrors(
        exposure_mean=(float(before.mean()), float(after.mean())),
        exposure_median=(float(before.median()), float(after.median())),
        response=(_response_error(started, truth), _response_error(fitted, truth)),
    )


def exposure_errors(exposure: torch.Tensor, truth: torch.Tensor, views: Sequence[int]) -> torch.Tensor:
    """EV differences [stops] of the given views, without their mean."""
    difference = (exposure - truth)[list(views)].double()
    return difference - difference.mean()


def aligned_response(sensor: Sensor, truth: Sensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Places x [S] in 0..1, the true response there and ``sensor``'s at the scale that fits it best, both [3, S].

    Of the first camera; the scale is found per channel as the one with the least largest difference.
    """
    import torch

    x = torch.linspace(0, 1, SAMPLES, dtype=torch.float64) ** 2
    scales = torch.exp2(torch.linspace(-WIDEST_SCALE, WIDEST_SCALE, 401, dtype=torch.float64))
    curves, wanted = [], []
    for channel in range(3):
        target = _curve(truth, channel, x)
        tries = _curve(sensor, channel, (scales[:, None] * x).clamp(max=1))
        curves.append(tries[(tries - target).abs().amax(1).argmin()])
        wanted.append(target)
    return x, torch.stack(wanted), torch.stack(curves)


def _response_error(sensor: Sensor, truth: Sensor) -> float:
    _, wanted, curves = aligned_response(sensor, truth)
    return float((curves - wanted).abs().max())


def _curve(sensor: Sensor, channel: int, x: torch.Tensor) -> torch.Tensor:
    """The first camera's response of one channel at ``x``: linear between the knots."""
    import torch

    knots, values = sensor.knots.double(), sensor.response[0, channel].detach().double()
    piece = torch.searchsorted(knots, x.contiguous(), right=True).clamp(1, len(knots) - 1)
    start, end = knots[piece - 1], knots[piece]
    return torch.lerp(values[piece - 1], values[piece], (x - start) / (end - start))
