"""Which exposure a view gets that no photo was taken of: learnt from those that were fitted to the training photos.

``mean``: the mean of the training views, for every view the same;
``neighbours``: as the photos taken nearby (``pose_neighbours.py``);
``predicted``: as an automatic would choose by the light of the view (``light_meter.py``).

White points go with the neighbours where those say anything of each other, else they are neutral. How far each is off
is found by leaving every training photo out in turn; the bandwidth and the ridge are chosen by the same errors, which
makes them a little rosy.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import torch
from scipy.ndimage import gaussian_filter1d

from unrender.cameras.camera import Cameras
from unrender.errors import SettingsError
from unrender.fit.light_meter import LightMeter, meter
from unrender.fit.pose_neighbours import Neighbours
from unrender.messages import Message, Metered
from unrender.render.model import Model

__all__ = ["PREDICTIONS", "ExposurePrediction", "learn_exposures", "smoothed", "with_exposure"]

PREDICTIONS = ("mean", "neighbours", "predicted")
"""What can be asked for, the plainest first."""
_MOST_METERED = 64
"""Training views that are rendered to learn from; they are spread evenly over all."""
_WORTH = 0.9
"""Another than the mean is chosen where its error is this share of the mean's at most."""
_SMOOTH_FRAMES = 12.0
"""Standard deviation over which exposures of a flight are smoothed; less where the flight is short."""


@dataclass(frozen=True, eq=False)
class ExposurePrediction:
    """What the training views of a model say of others.

    ``mean``: their mean EV; ``meter``: None where they are too few to learn one; ``errors``: root mean square of
    left-out EV less fitted EV [stops], a number for each of ``PREDICTIONS`` that there is, none where one view trains.
    """

    mean: float
    ev: Neighbours
    white_point: Neighbours
    meter: LightMeter | None
    errors: Mapping[str, float]

    @property
    def best(self) -> str:
        """The name of the one to take: the least error, but the mean unless another is worth it."""
        least = min(self.errors, key=self.errors.__getitem__, default="mean")
        return least if self.errors.get(least, 1.0) < _WORTH * self.errors.get("mean", 0.0) else "mean"

    def expose(self, name: str, cameras: Cameras, readings: torch.Tensor | None = None) -> Cameras:
        """``cameras`` with the EV and white point that ``name``, one of ``PREDICTIONS``, gives them.

        ``readings`` [B, F]: what was metered of the views, needed for ``predicted`` only. Raises SettingsError on
        another name, or for ``predicted`` where there is no meter.
        """
        if name == "mean":
            neutral = torch.zeros_like(cameras.sensor.white_point)
            return with_exposure(cameras, torch.full((len(cameras),), self.mean), neutral)
        if name == "neighbours":
            return with_exposure(cameras, self.ev.at(cameras)[:, 0], self.white_point.at(cameras))
        if name != "predicted":
            raise SettingsError("unknown exposure", expected=f"one of {', '.join(PREDICTIONS)}", got=name)
        if self.meter is None or readings is None:
            raise SettingsError(
                "too few training views to learn exposures from", expected="3 or more", do="take neighbours or mean"
            )
        return with_exposure(cameras, self.meter.ev(readings), self.white_point.at(cameras))


def learn_exposures(
    model: Model, views: Sequence[int], *, light: bool = True
) -> Generator[Message, None, ExposurePrediction]:
    """Learn from the training ``views`` of a fitted model; the generator's value is what was learnt.

    At most 64 of them, evenly spread, are rendered small for the meter; none, and no meter, without ``light``.
    Deterministic.
    """
    cameras = model.cameras.select(list(views))
    ev = cameras.sensor.exposure.detach().cpu().double()
    metered = _spread(len(views)) if light else []
    rows = []
    for done, row in enumerate(meter(model, cameras.select(metered)), start=1):
        rows.append(row)
        yield Metered(done, len(metered))
    finite = [bool(row.isfinite().all()) for row in rows]
    rows, metered = list(compress(rows, finite)), list(compress(metered, finite))
    neighbours = Neighbours.of(cameras, ev[:, None])
    white_point = Neighbours.of(cameras, cameras.sensor.white_point.detach())
    light_meter = LightMeter.learn(torch.stack(rows), ev[metered]) if rows else None
    return ExposurePrediction(
        float(ev.mean()), neighbours, white_point, light_meter, _errors(ev, neighbours, light_meter, metered)
    )


def with_exposure(cameras: Cameras, ev: torch.Tensor, white_point: torch.Tensor | None = None) -> Cameras:
    """The same views at ``ev`` [B] stops and, where given, with ``white_point`` [B, ...] as sensors have it."""
    sensor = cameras.sensor
    white_point = sensor.white_point if white_point is None else white_point.to(sensor.white_point)
    return replace(cameras, sensor=replace(sensor, exposure=ev.to(sensor.exposure), white_point=white_point))


def smoothed(cameras: Cameras, closed: bool) -> Cameras:
    """The frames of a flight with EVs and white points that change smoothly in time, so that nothing flickers.

    A Gaussian of 12 frames, of an eighth of a shorter flight; ``closed``: the first frame follows on the last.
    """
    sensor, sigma = cameras.sensor, min(_SMOOTH_FRAMES, len(cameras) / 8)
    both = torch.cat([sensor.exposure[:, None], sensor.white_point], dim=1).detach().cpu().double().numpy()
    values = torch.from_numpy(gaussian_filter1d(both, sigma, axis=0, mode="wrap" if closed else "nearest"))
    return with_exposure(cameras, values[:, 0], values[:, 1:])


def _spread(count: int) -> list[int]:
    """Places of at most 64 of ``count`` views."""
    if count <= _MOST_METERED:
        return list(range(count))
    return [round(place * (count - 1) / (_MOST_METERED - 1)) for place in range(_MOST_METERED)]


def _errors(
    ev: torch.Tensor, neighbours: Neighbours, light_meter: LightMeter | None, metered: Sequence[int]
) -> dict[str, float]:
    """Root mean square errors of what each way foretells of the views that were metered."""
    count = len(ev)
    if count < 2:
        return {}
    foretold = {"mean": (ev.sum() - ev) / (count - 1), "neighbours": neighbours.left_out[:, 0]}
    judged = list(metered) or slice(None)
    off = {name: (values - ev)[judged] for name, values in foretold.items()}
    if light_meter is not None:
        off["predicted"] = light_meter.left_out - ev[list(metered)]
    return {name: float(each.square().mean().sqrt()) for name, each in off.items()}
