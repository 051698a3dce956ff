"""The sensor before any fitting: what the same points look like in photos of different exposure.

A point that several training photos show has one radiance, however they recorded it. So exposures, white points,
vignette and response are those under which every point explains all of its recorded colours, up to the gauges that the
sensor holds. Least squares in logarithms come near at once (``linear_sensor.py``), a few steps along the gradient of
what is recorded do the rest. Occlusion and gloss make some samples wrong; the loss is nearly the absolute difference,
which bears that. Samples beside an edge count less: half a pixel there is another colour.

Letters: V training views, M samples per view, N points that were sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch.nn.functional import avg_pool2d, max_pool2d

from unrender.cameras.camera import Cameras
from unrender.cameras.sensor import Sensor
from unrender.datasets.capture import Capture
from unrender.initialize.colors import sample
from unrender.initialize.linear_sensor import linear_sensor
from unrender.initialize.sight import look
from unrender.initialize.surfels import Surfels

__all__ = ["Samples", "sample_photos", "start_sensor"]

# Samples per photo, and at most so many photos, evenly spaced.
SAMPLES, MOST_VIEWS = 2000, 128
# Steps of Adam, and step sizes: log radiance, EV, log2 white point, vignette, logits of the response.
STEPS = 150
RATES = {"radiance": 0.02, "exposure": 5e-3, "white_point": 2e-3, "vignette": 3e-3, "response_raw": 3e-2}
# A point is sampled where more than this part of the pixels around it may be used.
MOSTLY = 0.5
# Difference of neighbouring pixels at which a sample counts half, and how near to black or white it is clipped.
EDGE = 0.03
CLIPPED = 1 / 255
# Stops beside what photos show from which on EXIF is not believed, the part of photos from which on none of it is, the
# contrast that is absurd, and the stops that two photos must lie apart to say something of it.
FAR, MOST_WRONG, MOST_BENT, APART = 1.0, 0.25, 2.0, 0.3
# Weight of the response's smoothness, and the difference of recorded values below which the loss is a parabola.
PRIOR, ROUND = 1e-4, 0.01


@dataclass(frozen=True)
class Samples:
    """Recorded colours of points: ``views`` [V]; ``point`` [V, M], 0..N-1; ``color`` [V, 3, 1, M] in 0..1;
    ``coordinates`` [V, 2, 1, M]: where on the sensor (``Cameras.sensor_coordinates``); ``trust`` [V, M]: how much each
    should count.
    """

    views: tuple[int, ...]
    point: torch.Tensor
    color: torch.Tensor
    coordinates: torch.Tensor
    trust: torch.Tensor


def start_sensor(surfels: Surfels, capture: Capture, generator: torch.Generator) -> Sensor:
    """The capture's sensor, its exposures, white points, vignette and response moved to what the training photos say.

    ``exposure_start``, from EXIF, stays, but where it is far from what photos show it counts as unknown
    (``exposure_known``); held-out views stay as they are. Unchanged where no point is seen.
    """
    sensor = deepcopy(capture.cameras.sensor)
    samples = sample_photos(surfels, capture, capture.train, generator)
    if samples is None:
        return sensor
    if not capture.cameras.linear:  # whose curves are known: least squares would find others
        sensor = _solved(sensor, capture.cameras, samples)
    cameras = replace(capture.cameras, sensor=sensor)
    log_radiance = _first_radiance(samples, cameras).log().requires_grad_()
    leaves = {"radiance": log_radiance} | {name: getattr(sensor, name) for name in RATES if name != "radiance"}
    for leaf in leaves.values():
        leaf.requires_grad_()
    optimizer = torch.optim.Adam([{"params": [leaf], "lr": RATES[name]} for name, leaf in leaves.items()])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        _disagreement(samples, cameras, log_radiance).backward()
        optimizer.step()
        schedule.step()
        for parameter in cameras.parameters():
            if parameter.hold is not None:
                parameter.hold()
    for leaf in leaves.values():
        leaf.requires_grad_(False)
        leaf.grad = None
    return sensor


@torch.no_grad()
def sample_photos(
    surfels: Surfels, capture: Capture, views: Sequence[int], generator: torch.Generator
) -> Samples | None:
    """What photos show at random points that they see; None where none sees any."""
    chosen = list(views[:: max(1, -(-len(views) // MOST_VIEWS))])
    sights = {view: shown for view in chosen if len((shown := _shown(surfels, capture, view))[0]) > 0}
    if not sights:
        return None
    points, colors, places, trust = [], [], [], []
    for view, (index, pixels) in sights.items():
        taken = torch.randint(len(index), (SAMPLES,), generator=generator)
        coordinates = capture.cameras.select([view]).sensor_coordinates()[0]
        mask = capture.mask(view)
        points.append(index[taken])
        trust.append(1 / (1 + (sample(_steepness(capture.image(view), mask), pixels[taken])[:, 0] / EDGE).square()))
        colors.append(sample(capture.image(view), pixels[taken], None if mask is None else mask[0]).T[:, None])
        places.append(sample(coordinates, pixels[taken]).T[:, None])
    _, point = torch.unique(torch.stack(points), return_inverse=True)
    return Samples(tuple(sights), point, torch.stack(colors), torch.stack(places), torch.stack(trust))


def _solved(sensor: Sensor, cameras: Cameras, samples: Samples) -> Sensor:
    """Least squares; once more with those of EXIF's exposures alone that agree with the photos, where not all do or no
    camera can have recorded the photos so.
    """
    views, colors = samples.views, _columns(samples)

    def solved(known: torch.Tensor) -> Sensor | None:
        told = replace(sensor, exposure_known=known)
        return linear_sensor(told, cameras, views, samples.point, colors, samples.trust)

    known = sensor.exposure_known
    found = solved(known)
    told = known & torch.zeros_like(known).index_fill(0, torch.tensor(views, device=known.device), True)
    if not bool(told.any()) or (found is not None and not bool(_far(found.exposure, sensor, told).any())):
        return sensor if found is None else found
    unknown = torch.zeros_like(known)
    alone = solved(unknown)
    agreeing = unknown if alone is None else _agreeing(alone.exposure, sensor, told)
    known = known & (agreeing | ~told) if bool(agreeing.any()) else unknown
    found = solved(known) if bool(agreeing.any()) else alone
    return replace(sensor, exposure_known=known) if found is None else found


def _far(exposure: torch.Tensor, sensor: Sensor, told: torch.Tensor) -> torch.Tensor:
    """[V] bool: views that EXIF has ``told`` of, whose EV is more than ``FAR`` from it, their median taken out."""
    off = exposure - sensor.exposure_start
    return told & ((off - off[told].median()).abs() > FAR)


def _agreeing(exposure: torch.Tensor, sensor: Sensor, told: torch.Tensor) -> torch.Tensor:
    """[V] bool: of the views that EXIF has ``told`` of, those that agree with ``exposure``, which is right up to its
    contrast: the median of what pairs of photos say it is. None where too few agree, or the contrast is absurd.
    """
    ours, exif = exposure[told], sensor.exposure_start[told]
    first, second = torch.combinations(torch.arange(len(ours)), 2).T if len(ours) > 1 else torch.zeros(2, 0).long()
    apart = (ours[first] - ours[second]).abs() > APART
    ratios = ((exif[first] - exif[second]) / (ours[first] - ours[second]))[apart]
    contrast = float(ratios.median()) if len(ratios) else 1.0
    far = _far(contrast * exposure, sensor, told)
    believed = MOST_BENT > contrast > 1 / MOST_BENT and int(far.sum()) <= MOST_WRONG * int(told.sum())
    return told & ~far & believed


def _columns(samples: Samples) -> torch.Tensor:
    """Colour and sensor coordinates of every sample, [V, M, 5]."""
    return torch.cat([samples.color, samples.coordinates], dim=1)[:, :, 0].transpose(1, 2)


def _steepness(image: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Largest difference of each pixel of [3, H, W] from the mean of the 3 x 3 around it, [1, H, W]; only of what the
    mask [1, H, W] lets be used.
    """
    usable = torch.ones_like(image[:1]) if mask is None else mask
    seen = torch.where(usable > 0, image, 0.0)
    total, count = (avg_pool2d(part[None], 3, 1, 1)[0] for part in (seen * usable, usable))
    off = torch.where(usable > 0, seen - total / count.clamp(min=1e-6), 0.0)
    return max_pool2d(off.abs().amax(0)[None, None], 3, 1, 1)[0]


def _shown(surfels: Surfels, capture: Capture, view: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Which surfels [M] a view sees where its photo may be used, and their pixels [M, 2]."""
    sight, mask = look(surfels, capture.cameras, view), capture.mask(view)
    if mask is None:
        return sight.index, sight.pixels
    usable = sample(mask, sight.pixels)[:, 0] > MOSTLY
    return sight.index[usable], sight.pixels[usable]


def _first_radiance(samples: Samples, cameras: Cameras) -> torch.Tensor:
    """Mean radiance [N, 3] of each point under the sensor as it is."""
    chosen = cameras.select(samples.views)
    radiance = chosen.sensor.radiance(samples.color, samples.coordinates, chosen.camera_index)
    flat, point = radiance[:, :, 0].transpose(1, 2).reshape(-1, 3), samples.point.flatten()
    count = torch.bincount(point)
    return (flat.new_zeros(len(count), 3).index_add_(0, point, flat) / count[:, None]).clamp(min=1e-4)


def _disagreement(samples: Samples, cameras: Cameras, log_radiance: torch.Tensor) -> torch.Tensor:
    """How far the points' radiances, as recorded, are from the photos; what is seen once or clipped says nothing."""
    chosen = cameras.select(samples.views)
    radiance = log_radiance.exp()[samples.point].transpose(1, 2)[:, :, None]
    recorded = chosen.sensor.record(radiance, samples.coordinates, chosen.camera_index, leak=True)
    shared = (torch.bincount(samples.point.flatten()) > 1)[samples.point][:, None, None]
    difference = ((recorded - samples.color).square() + ROUND**2).sqrt()
    told = ~Sensor.clipped(samples.color, CLIPPED)
    weight = shared * told * samples.trust[:, None, None]
    mean = (difference * weight).sum() / weight.sum().clamp(min=1e-6)
    return mean + PRIOR * chosen.sensor.response_smoothness()
