"""Exposures that EXIF does not say, from what photos share: a point that two photos show has one radiance.

Under the response that a fit starts from, what two photos recorded of a point says how many stops they lie apart; the
median over all points that they share bears occlusion and gloss, and clipped samples do not count. From the photos
whose EV is known this spreads through the overlaps: the photo that shares most with those already placed is next. Then
every photo that was placed so is placed again against all others, until that changes nothing.

Green alone is looked at: the white point of green is 1 by definition, that of red and blue is not known yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.sensor import GAMMA, Sensor
from unrender.datasets.capture import Capture
from unrender.datasets.names import some_of
from unrender.initialize.colors import sample
from unrender.initialize.radiometry import MOSTLY
from unrender.initialize.sight import look
from unrender.initialize.surfels import Surfels

__all__ = ["Exposed", "place_exposures", "start_exposures"]

# Recorded values between which a sample says how bright its point is.
DIMMEST, BRIGHTEST = 0.04, 0.96
# Fewest points that two photos must share.
FEWEST = 20
# Rounds in which photos are placed against all others.
ROUNDS = 10
GREEN = 1


@dataclass(frozen=True)
class Exposed:
    """What one photo says of some points: ``point`` [M], each once, and ``stops`` [M]: log2 of what its sensor got."""

    point: torch.Tensor
    stops: torch.Tensor


def start_exposures(
    surfels: Surfels, capture: Capture, exif_ev: torch.Tensor | None = None
) -> tuple[Sensor, tuple[str, ...]]:
    """The capture's sensor with the EV of training photos that EXIF does not say; and what was done, in words.

    ``exif_ev`` [V], NaN where unknown: the capture's own when None. Those that are known stay, and so does everything
    of held-out photos. Where none is known, EVs relative to their mean are found. A photo that shares too little with
    others stays at the mean.
    """
    sensor = capture.cameras.sensor
    ev = (capture.exif_ev if exif_ev is None else exif_ev).double()
    unknown = [view for view in capture.train if bool(ev[view].isnan())]
    if not unknown:
        return sensor, ()
    photos = {view: exposed_points(surfels, capture, view) for view in capture.train}
    known = {view: float(ev[view]) for view in capture.train if view not in unknown}
    placed = place_exposures(photos, known, sensor.exposure_mean)
    found = [view for view in unknown if view in placed]
    exposure = sensor.exposure.clone()
    exposure[found] = torch.tensor([placed[view] for view in found], dtype=exposure.dtype, device=exposure.device)
    alone = [capture.names[view] for view in unknown if view not in placed]
    return replace(sensor, exposure=exposure, exposure_start=exposure.clone()), _notes(len(found), bool(known), alone)


def place_exposures(photos: Mapping[int, Exposed], known: Mapping[int, float], mean: float = 0.0) -> dict[int, float]:
    """EV in stops of every photo that can be compared with a ``known`` one, those included and unchanged.

    Where none is known, of every photo of the largest group of photos that overlap; their mean is ``mean``.
    """
    if known:
        placed = _spread(photos, dict(known))
        return _settle(photos, placed, fixed=set(known))
    groups: list[dict[int, float]] = []
    for view in photos:
        if not any(view in group for group in groups):
            groups.append(_spread(photos, {view: mean}))
    largest = max(groups, key=len, default={})
    if len(largest) < 2:
        return {}
    placed = _settle(photos, largest, fixed=set())
    drift = sum(placed.values()) / len(placed) - mean
    return {view: ev - drift for view, ev in placed.items()}


@torch.no_grad()
def exposed_points(surfels: Surfels, capture: Capture, view: int) -> Exposed:
    """What the photo of ``view`` says of the surfels that it sees, where it is neither clipped nor masked."""
    sight, mask = look(surfels, capture.cameras, view), capture.mask(view)
    colors = sample(capture.image(view), sight.pixels, None if mask is None else mask[0])[:, GREEN]
    usable = colors < BRIGHTEST
    usable &= colors > _dimmest(capture.cameras, view)
    if mask is not None:
        usable &= sample(mask, sight.pixels)[:, 0] > MOSTLY
    got = _received(capture.cameras, view, colors[usable])
    return Exposed(sight.index[usable], got.log2().double())


def _dimmest(cameras: Cameras, view: int) -> float:
    return DIMMEST ** (1 / GAMMA) if int(cameras.camera_index[view]) in cameras.linear else DIMMEST


def _received(cameras: Cameras, view: int, colors: torch.Tensor) -> torch.Tensor:
    """The exposure [M] in 0..1 that a sensor records as ``colors`` [M], the response undone and nothing else."""
    sensor = cameras.sensor.select(torch.tensor([view]))
    bare = replace(
        sensor,
        exposure=torch.full_like(sensor.exposure, sensor.exposure_mean),
        white_point=torch.zeros_like(sensor.white_point),
    )
    image, middle = colors.expand(1, 3, 1, -1), torch.zeros(1, 2, 1, len(colors))
    return bare.radiance(image, middle, cameras.camera_index[[view]])[0, GREEN, 0]


class _Brightness:
    """log2 radiance of points as the placed photos say it: the mean over those that show each."""

    def __init__(self, count: int) -> None:
        self.total, self.count = torch.zeros(count, dtype=torch.float64), torch.zeros(count, dtype=torch.int64)

    def add(self, photo: Exposed, ev: float, sign: int = 1) -> None:
        """Count a photo in, or out with a ``sign`` of -1."""
        self.total.index_add_(0, photo.point, sign * (photo.stops + ev))
        self.count.index_add_(0, photo.point, torch.full_like(photo.point, sign))

    def shared(self, photo: Exposed) -> int:
        """How many points of a photo are known."""
        return int((self.count[photo.point] > 0).sum())

    def ev_of(self, photo: Exposed) -> float:
        """At which EV the photo shows those points as bright as they are."""
        known = self.count[photo.point] > 0
        point = photo.point[known]
        return float((self.total[point] / self.count[point] - photo.stops[known]).median())


def _spread(photos: Mapping[int, Exposed], placed: dict[int, float]) -> dict[int, float]:
    """``placed`` and all that can be placed from there."""
    brightness = _Brightness(_points(photos))
    for view, ev in placed.items():
        brightness.add(photos[view], ev)
    while left := [view for view in photos if view not in placed]:
        view = max(left, key=lambda view: brightness.shared(photos[view]))
        if brightness.shared(photos[view]) < FEWEST:
            break
        placed[view] = brightness.ev_of(photos[view])
        brightness.add(photos[view], placed[view])
    return placed


def _settle(photos: Mapping[int, Exposed], placed: dict[int, float], fixed: set[int]) -> dict[int, float]:
    """The same with every photo that is not ``fixed`` placed against all others."""
    brightness = _Brightness(_points(photos))
    for view, ev in placed.items():
        brightness.add(photos[view], ev)
    for _ in range(ROUNDS):
        for view in (view for view in placed if view not in fixed):
            brightness.add(photos[view], placed[view], sign=-1)
            if brightness.shared(photos[view]) >= FEWEST:
                placed[view] = brightness.ev_of(photos[view])
            brightness.add(photos[view], placed[view])
    return placed


def _points(photos: Mapping[int, Exposed]) -> int:
    return 1 + max((int(photo.point.max()) for photo in photos.values() if len(photo.point)), default=0)


def _notes(found: int, some_known: bool, alone: list[str]) -> tuple[str, ...]:
    base = "those that EXIF says" if some_known else "each other: EVs are relative to their mean"
    notes = [f"exposure of {found} photos estimated from points that they share with {base}"] if found else []
    if alone:
        notes.append(f"{len(alone)} photos share too little for that and start at the mean exposure: {some_of(alone)}")
    return tuple(notes)
