"""The sensor by linear least squares: in logarithms all that it does to light adds up.

    ln X(y) + ln 2 (EV + white point) - ln V(r^2) = ln radiance          of a point that recorded y at r from the centre

with X the inverse of the response, here y^(1/0.45) e^h(y), h linear between knots (Debevec and Malik 1997, with the
exposures, white points and vignette free too). Points drop out by taking, of each, what is left of their mean. What
remains is small and is solved at once, where steps along the gradient creep: response, vignette and exposures explain
much of each other. Samples far from agreement, by gloss or occlusion, weigh less from round to round (Cauchy).

Letters: V training views, C cameras, M samples per view, J knots of h.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.sensor import GAMMA, Sensor
from unrender.cameras.vignette import DIMMEST

__all__ = ["linear_sensor"]

J = 21
ROUNDS = 8
# Recorded values between which a sample says how bright its point is, and the error of one where it begins to doubt.
DIM, BRIGHT, SIGMA = 0.03, 0.97, 0.01
# Weight of the smoothness of h and of what must hold, against that of one sample.
SMOOTH, HELD = 10.0, 1e7
# How far [stops] a photo's EV may be from EXIF's, and from an estimate: thousands of samples outvote it, but a camera
# of one photo has a curve that could explain any EV.
EXIF_OFF, GUESS_OFF = 0.2, 1.0
GREEN = 1
STRANGE = 4.0
"""Largest |h| of a camera: 6 stops beside x^0.45."""


@dataclass(frozen=True)
class _Layout:
    """Where the unknowns are: h [C, 3, J], ln V [C, 3], EV [V], white points [V, 3] (green's is held at 0)."""

    cameras: int
    views: int

    def curve(self, camera: torch.Tensor, channel: int) -> torch.Tensor:
        return (camera * 3 + channel) * J

    def vignette(self, camera: torch.Tensor) -> torch.Tensor:
        return self.cameras * 3 * J + camera * 3

    def ev(self, view: torch.Tensor) -> torch.Tensor:
        return self.cameras * 3 * (J + 1) + view

    def white(self, view: torch.Tensor, channel: int) -> torch.Tensor:
        return self.cameras * 3 * (J + 1) + self.views * (1 + channel) + view

    @property
    def size(self) -> int:
        return self.cameras * 3 * (J + 1) + 4 * self.views


@torch.no_grad()
def linear_sensor(
    sensor: Sensor,
    cameras: Cameras,
    views: tuple[int, ...],
    point: torch.Tensor,
    samples: torch.Tensor,
    trust: torch.Tensor,
) -> Sensor | None:
    """``sensor`` with the exposures and white points of ``views``, vignettes and responses that agree best.

    ``point`` [V, M]: which point a sample shows; ``samples`` [V, M, 5]: its recorded colour and sensor coordinates;
    ``trust`` [V, M]: how much it should count. Homographies of colour stay as they are. None where no camera
    records so: EXIF's exposures, which hold the contrast, are not those of the photos.
    """
    layout = _Layout(len(cameras.lenses), len(views))
    rows = [_rows(layout, cameras.camera_index[list(views)], samples, channel) for channel in range(3)]
    unknown = torch.zeros(layout.size, dtype=torch.float64)
    contrast = _contrast(layout, rows, trust.flatten())
    fixed, goal = _held(layout, sensor.select(torch.tensor(views)), contrast)
    for round_ in range(ROUNDS):
        normal, right = fixed.T @ fixed, fixed.T @ goal
        for index, value, known, y in rows:
            weight = _weight(y, trust.flatten())
            weight = weight * _shared(point.flatten(), weight)
            if round_:
                left = known + (value * unknown[index]).sum(dim=1)
                left = left - _mean_of(point.flatten(), left, weight)
                weight = weight / (1 + (left * GAMMA * y / SIGMA).square())
            _add(normal, right, index, value, known, weight, point.flatten())
        unknown = torch.linalg.lstsq(normal, right[:, None], driver="gelsd").solution[:, 0]
    if not float(unknown[: layout.cameras * 3 * J].abs().max()) < STRANGE:
        return None
    return _sensor_of(sensor, layout, list(views), unknown)


Rows = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def _rows(layout: _Layout, camera: torch.Tensor, samples: torch.Tensor, channel: int) -> Rows:
    """For each sample of a channel: unknowns [S, 7] and their factors, the known part of ln radiance [S], and y [S]."""
    count = samples.shape[1]
    view = torch.arange(len(samples)).repeat_interleave(count)
    camera = camera[view]
    flat = samples.reshape(-1, 5).double()
    y, squared = flat[:, channel].clamp(1e-3, 1), flat[:, 3:].square().sum(dim=1)
    place = y * (J - 1)
    knot = place.long().clamp(max=J - 2)
    share = place - knot
    curve, vignette = layout.curve(camera, channel) + knot, layout.vignette(camera)
    index = [curve, curve + 1, layout.ev(view), layout.white(view, channel), *(vignette + power for power in range(3))]
    two = torch.full_like(y, math.log(2))
    value = [1 - share, share, two, two, *(-(squared**power) for power in (1, 2, 3))]
    return torch.stack(index, 1), torch.stack(value, 1), y.log() / GAMMA, y


def _weight(y: torch.Tensor, trust: torch.Tensor) -> torch.Tensor:
    """An error of y is one of ln X times 1 / (0.45 y); clipped samples say nothing."""
    return trust.double() * (GAMMA * y / SIGMA).square() * ((y > DIM) & (y < BRIGHT))


def _shared(point: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """1 where a point has two samples that weigh something."""
    return (torch.bincount(point, (weight > 0).double()) > 1)[point]


def _mean_of(point: torch.Tensor, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """For each sample the weighted mean over its point."""
    total = torch.bincount(point, weight).clamp(min=1e-12)
    return (torch.bincount(point, weight * values) / total)[point]


def _add(
    normal: torch.Tensor,
    right: torch.Tensor,
    index: torch.Tensor,
    value: torch.Tensor,
    known: torch.Tensor,
    weight: torch.Tensor,
    point: torch.Tensor,
) -> None:
    """Add a channel's normal equations, points eliminated: sum over samples, less one row for each point's mean."""
    columns, index = torch.unique(index, return_inverse=True)
    used = (weight > 0).nonzero()[:, 0]
    index, value, known, weight = index[used], value[used], known[used], weight[used]
    names, point = torch.unique(point[used], return_inverse=True)
    size = len(columns)
    means = torch.zeros(len(names) * (size + 1), dtype=torch.float64)
    both = torch.cat([value, known[:, None]], dim=1)
    places = torch.cat([index, torch.full((len(index), 1), size)], dim=1)
    means.index_add_(0, (point[:, None] * (size + 1) + places).flatten(), (both * weight[:, None]).flatten())
    means = means.view(len(names), size + 1) / torch.bincount(point, weight).sqrt()[:, None]
    square = torch.zeros((size + 1) ** 2, dtype=torch.float64)
    pairs = places[:, :, None] * (size + 1) + places[:, None]
    square.index_add_(0, pairs.flatten(), (both[:, :, None] * both[:, None] * weight[:, None, None]).flatten())
    square = square.view(size + 1, size + 1) - means.T @ means
    normal[columns[:, None], columns] += square[:size, :size]
    right[columns] -= square[:size, size]


def _contrast(layout: _Layout, rows: list[Rows], trust: torch.Tensor) -> torch.Tensor:
    """What h must be orthogonal to so that it changes no contrast, [C, 3, J] of length 1: the slope of h on ln y over
    all samples of a camera's channel. Held at some knots only, h would bend wildly where no sample lies.
    """
    slopes = torch.zeros(3, layout.cameras * J, dtype=torch.float64)
    for channel, (index, value, _, y) in enumerate(rows):
        weight, level = _weight(y, trust), y.log()
        camera, knot = index[:, 0] // (3 * J), index[:, 0] % J
        away = weight * (level - _mean_of(camera, level, weight))
        for step in (0, 1):
            slopes[channel].index_add_(0, camera * J + knot + step, away * value[:, step])
    return torch.nn.functional.normalize(slopes.view(3, layout.cameras, J).transpose(0, 1), dim=2)


def _held(layout: _Layout, sensor: Sensor, contrast: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and their values that hold gauges and smooth h: X(1) = 1, mean EV and white point, the slope of EV on EXIF's
    (or the response's ``contrast``, where EXIF cannot tell), green's white point.
    """
    rows, goal, view = [], [], torch.arange(layout.views)

    def hold(index: torch.Tensor, value: torch.Tensor | float, wanted: float = 0.0, weight: float = HELD) -> None:
        row = torch.zeros(layout.size, dtype=torch.float64)
        row[index] = torch.as_tensor(value, dtype=torch.float64)
        rows.append(row * math.sqrt(weight))
        goal.append(wanted * math.sqrt(weight))

    start = sensor.exposure_start.double() - sensor.exposure_mean
    hold(layout.ev(view), 1 / layout.views, float(start.mean()))
    for channel in range(3):
        hold(layout.white(view, channel), 1 / layout.views)
    for one in view:
        hold(layout.white(one, GREEN), 1.0)
        told = EXIF_OFF if bool(sensor.exposure_known[one]) else GUESS_OFF
        hold(layout.ev(one), 1.0, float(start[one]), weight=1 / told**2)
        for channel in (0, 2):
            hold(layout.white(one, channel), 1.0, weight=1e-3)
    exif = sensor.contrast_from == "exif"
    if exif:
        given = torch.where(sensor.exposure_known, start - start[sensor.exposure_known].mean(), 0.0)
        hold(layout.ev(view), given / given.square().sum(), 1.0)
        for channel in (0, 2):  # each channel has a contrast of its own: a tint that grows with EV
            hold(layout.white(view, channel), given / given.square().sum())
    for camera in torch.arange(layout.cameras):
        for power in range(3):
            hold(layout.vignette(camera) + power, 1.0, weight=1.0)
        for channel in range(3):
            first = layout.curve(camera, channel)
            hold(first + J - 1, 1.0)
            if not exif:  # that of x^0.45
                hold(first + torch.arange(J), contrast[camera, channel])
            for knot in range(1, J - 1):
                hold(first + torch.tensor([knot - 1, knot, knot + 1]), torch.tensor([1.0, -2.0, 1.0]), weight=SMOOTH)
    return torch.stack(rows), torch.tensor(goal, dtype=torch.float64)


def _sensor_of(sensor: Sensor, layout: _Layout, views: list[int], unknown: torch.Tensor) -> Sensor:
    """The sensor with the solution in it."""
    view, colour = torch.arange(layout.views), sensor.white_point.clone()
    exposure = sensor.exposure.clone()
    exposure[views] = (sensor.exposure_mean + unknown[layout.ev(view)]).to(exposure)
    if colour.shape[1] == 2:
        colour[views] = torch.stack([unknown[layout.white(view, channel)] for channel in (0, 2)], 1).to(colour)
    curves, falls = [], []
    for camera in torch.arange(layout.cameras):
        curves.append(
            torch.stack([_curve(unknown[layout.curve(camera, k) + torch.arange(J)], sensor) for k in range(3)])
        )
        falls.append(_polynomial(unknown[layout.vignette(camera) + torch.arange(3)]))
    vignette = torch.stack(falls).to(sensor.vignette)
    if sensor.vignette.dim() == 3:
        vignette = vignette[:, None].expand_as(sensor.vignette).clone()
    found = replace(sensor, exposure=exposure, white_point=colour, vignette=vignette).with_response(torch.stack(curves))
    found.hold_vignette()
    return found


def _curve(h: torch.Tensor, sensor: Sensor) -> torch.Tensor:
    """The response at the sensor's knots: X(y) = y^(1/0.45) e^h(y), made rising, the other way round."""
    y = torch.linspace(0, 1, 4001, dtype=torch.float64)
    place = y * (J - 1)
    knot = place.long().clamp(max=J - 2)
    x = y ** (1 / GAMMA) * torch.lerp(h[knot], h[knot + 1], place - knot).exp()
    x = (x.cummax(dim=0).values + 1e-9 * y).clamp(max=1)
    x[-1] = 1.0
    wanted = sensor.knots.double()
    right = torch.searchsorted(x, wanted).clamp(1, len(x) - 1)
    share = ((wanted - x[right - 1]) / (x[right] - x[right - 1]).clamp(min=1e-15)).clamp(0, 1)
    found = torch.lerp(y[right - 1], y[right], share)
    found[0], found[-1] = 0.0, 1.0
    return found


def _polynomial(log_fall: torch.Tensor) -> torch.Tensor:
    """a2, a4, a6 of the vignette whose logarithm is the polynomial ``log_fall``: least squares over the photo."""
    s = torch.linspace(0, 1, 50, dtype=torch.float64)[:, None]
    powers = torch.cat([s, s**2, s**3], dim=1)
    return torch.linalg.lstsq(powers, (powers @ log_fall).exp().clamp(min=DIMMEST)[:, None] - 1).solution[:, 0]
