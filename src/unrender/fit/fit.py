"""The training loop: draw crops, render them, compare, step. It yields messages and never prints.

All that is random in step s follows from (seed, s), so that a fit that ends by steps, once resumed, goes on as if it
had never stopped. (One that ends by the clock takes its step sizes from the clock too.)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import replace
from functools import partial

import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.sensor import Sensor
from unrender.datasets.capture import Capture
from unrender.errors import RunError
from unrender.fit.checkpoint import load_values
from unrender.fit.crops import Window, crop_cameras, crop_image, crop_masked, draw_window, view_order
from unrender.fit.optimizers import Optimizer, rate_of
from unrender.fit.refine.refinement import Refinement
from unrender.fit.refine.settings import PHOTOMETRY, STRUCTURE, family_of
from unrender.fit.schedules import cosine, unlocked
from unrender.fit.settings import DEFAULT_STEPS, FitSettings
from unrender.initialize.exposures import start_exposures
from unrender.initialize.points import clean_surfels, points_from_capture
from unrender.initialize.radiometry import start_sensor
from unrender.losses import total
from unrender.messages import Finished, Message, Note, Skipped, Started, Stepped
from unrender.parameters import Parameter
from unrender.render.model import Model
from unrender.render.shade.network import NetworkShader, faster_precision

__all__ = ["MOST_SKIPPED", "Fit", "measured", "start_model"]

MOST_SKIPPED = 100
"""Steps that may be left out in a row before a fit gives up: what never works again is not skipped but broken."""


def measured(settings: FitSettings, capture: Capture, device: str = "cpu") -> FitSettings:
    """The same settings with what depends on the machine settled by measuring: the network's precision, where ``auto``.

    Measured once, on a crop of ``capture``, before a run begins, and kept in it: two precisions give different bits.
    """
    if settings.network.precision != "auto":
        return settings
    shader = NetworkShader(settings.network, seed=settings.seed).to(device)
    height, width = (min(settings.crop.size, edge) for edge in capture.cameras.sizes.min(dim=0).values.tolist())
    precision = faster_precision(shader, (height, width))
    return replace(settings, network=replace(settings.network, precision=precision))


def start_model(capture: Capture, settings: FitSettings) -> tuple[Model, tuple[str, ...]]:
    """The first model of a capture (at its working size), and lines that a user should read.

    Only training views are used. Same capture, settings and thread count: same bits.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    cameras, said = _start_cameras(capture, settings, generator)
    capture = replace(capture, cameras=cameras)
    scene, notes = points_from_capture(capture, settings.points, generator)
    shader = NetworkShader(settings.network, seed=settings.seed)
    return Model(scene, shader, cameras, settings.raster), (*said, *notes)


def _start_cameras(
    capture: Capture, settings: FitSettings, generator: torch.Generator
) -> tuple[Cameras, tuple[str, ...]]:
    """The capture's cameras, copied where a fit steps them in place, with the sensor that it starts from."""
    surfels = partial(clean_surfels, capture, settings.points)
    sensor, said = capture.cameras.sensor, ()
    if bool(capture.exif_ev[list(capture.train)].isnan().any()):
        sensor, said = start_exposures(surfels()[0], capture)
    sensor = deepcopy(sensor).with_models(
        response=settings.sensor.response,
        color=settings.sensor.color,
        per_channel=settings.sensor.vignette_per_channel,
    )
    poses = capture.cameras.camera_from_world.clone()
    cameras = replace(capture.cameras, sensor=sensor, camera_from_world=poses)
    cameras = cameras.with_linear(cameras.linear) if cameras.linear else cameras
    if starts_measured(sensor, settings):
        started = start_sensor(surfels()[0], replace(capture, cameras=cameras), generator)
        cameras, said = replace(cameras, sensor=started), (*said, *_disbelieved(capture, sensor, started))
    return cameras, said


def _disbelieved(capture: Capture, told: Sensor, started: Sensor) -> tuple[str, ...]:
    """A line about the photos whose EXIF is far from what they show, if there are any."""
    wrong = told.exposure_known & ~started.exposure_known
    names = [capture.names[view] for view in wrong.nonzero()[:, 0].tolist()]
    if not names:
        return ()
    named = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return (f"EXIF's exposure is not that of {len(names)} photos ({named}), by points that they share: not believed",)


def starts_measured(sensor: Sensor, settings: FitSettings) -> bool:
    """Whether the sensor starts from what photos of the same points say (``settings.radiometry``)."""
    if settings.radiometry is not None:
        return settings.radiometry
    return sensor.contrast_from == "exif" and set(PHOTOMETRY) <= set(settings.refine.what)


class Fit:
    """A model on its way to explain a capture.

    ``step`` steps and ``elapsed`` seconds are behind it, over all sittings; ``skipped`` of the steps were left out
    because something was not finite. ``whole``: whether the model stands between two steps, fit to be saved.
    """

    def __init__(self, model: Model, capture: Capture, settings: FitSettings) -> None:
        self.model, self.capture, self.settings = model, capture, settings
        self.step, self.elapsed, self.skipped = 0, 0.0, 0
        self.whole = True
        self._skipped_in_a_row = 0
        self._parameters = model.parameters()
        self.refinement = Refinement(model, capture, settings) if settings.refine.structure else None
        self.optimizer = Optimizer(self._moving, {p.name: self._rate(p.name) for p in self._moving})

    def run(self, stop: Callable[[], bool] | None = None) -> Iterator[Message]:
        """Fit until the settings' end or until ``stop()`` is true after a step; the model is changed in place.

        A loss or gradient that is not finite never reaches the parameters. It raises RunError, or is left out with
        ``on_nonfinite = "skip"`` (RunError when that happens ``MOST_SKIPPED`` times in a row).
        """
        yield self._started()
        if self._rate("cameras.exposure") > 0:
            yield Note(contrast_line(self.model.cameras.sensor))
        yield from () if self.refinement is None else self.refinement.notes()
        interrupted = False
        while self.fraction < 1 and not interrupted:
            began = time.perf_counter()
            yield from self._judge()
            made = self._make_step()
            self.elapsed += time.perf_counter() - began
            yield self._stepped(*made) if isinstance(made, tuple) else made
            interrupted = stop is not None and stop()
        if not interrupted or self.fraction >= 1:
            yield from self._judge()
        if self.refinement is not None:
            yield self.refinement.outcome(self.model)
        yield Finished(self.step, self.elapsed, interrupted and self.fraction < 1)

    @property
    def fraction(self) -> float:
        """How much of the fit is done, 0 to 1, by steps or by the clock."""
        if self.settings.minutes is not None:
            return self.elapsed / (60 * self.settings.minutes)
        return self.step / (self.settings.steps or DEFAULT_STEPS)

    def state(self) -> dict[str, torch.Tensor]:
        """All that moves: the parameters under their names and the optimiser's moments."""
        refinement = {} if self.refinement is None else self.refinement.state()
        return {p.name: p.raw.detach() for p in self._parameters} | self.optimizer.state() | refinement

    def restore(self, tensors: Mapping[str, torch.Tensor], step: int, elapsed: float, skipped: int = 0) -> None:
        """Go on from what ``state`` gave after ``step`` steps, ``skipped`` of them left out, and ``elapsed`` seconds.

        Raises RunError when it does not fit.
        """
        load_values(self._parameters, tensors)
        self.optimizer.restore(tensors)
        if self.refinement is not None:
            self.refinement.restore(tensors)
        self.step, self.elapsed, self.skipped = step, elapsed, skipped

    def _judge(self) -> Iterator[Message]:
        """When it is time, what was refined is judged, and taken back where it did harm."""
        if self.refinement is None or not self.refinement.is_due(self.fraction):
            return
        self.model, said = self.refinement.judge(self.model, at_end=self.refinement.is_settled(self.fraction))
        yield from said

    def _make_step(self) -> tuple[float, float] | Skipped:
        """Loss and PSNR of a step that was made, or why it was left out."""
        generator = torch.Generator().manual_seed(self.settings.seed * 1_000_003 + self.step)
        views, windows = self.draw(generator)
        target, weight = self.targets(views, windows)
        cameras, model = crop_cameras(self.model.cameras, views, windows), self.model
        if self.refinement is not None:
            model, cameras = self.refinement.step(model, cameras, views, self.fraction)
        image = cameras.record(model.radiance(cameras, generator, self.settings.ghosts), leak=True)
        loss = total(image, target, weight, self.settings.loss)
        loss = loss + self.settings.response_prior * self.model.cameras.sensor.response_smoothness()
        loss.backward()
        if broken := self._broken(loss.detach()):
            self.optimizer.forget_gradients()
            return self._leave_out(broken, tuple(self.capture.names[view] for view in views))
        made = float(loss.detach()), _psnr(image.detach(), target, weight)
        self.whole = False  # an error from here on leaves neither the state before the step nor that after it
        self.optimizer.step(self._factor)
        if self.refinement is not None:
            self.model = self.refinement.take(self.model, self.step)
        self._skipped_in_a_row = 0
        self.step += 1
        self.whole = True
        return made

    def _broken(self, loss: torch.Tensor) -> str | None:
        """What is not finite, named as near to its cause as can be seen from here."""
        gradients = self.optimizer.broken_gradients()
        if bool(torch.isfinite(loss)) and not gradients:
            return None
        broken = [p.name for p in self._parameters if not bool(torch.isfinite(p.raw).all())]
        if broken:
            return f"parameter {broken[0]}"
        return f"the gradient of {gradients[0]}" if bool(torch.isfinite(loss)) else f"the loss ({float(loss)})"

    def _leave_out(self, what: str, views: tuple[str, ...]) -> Skipped:
        """Count a step that cannot be made. Raises RunError where that is not asked for or has no end."""
        where = f"step {self.step}, {', '.join(views)}"
        if self.settings.on_nonfinite == "stop":
            do = "look at the photo and its camera; --resume --on-nonfinite skip goes on without such steps"
            raise RunError(f"{what} is not finite", where=where, do=do)
        self._skipped_in_a_row += 1
        if self._skipped_in_a_row >= MOST_SKIPPED:
            raise RunError(
                f"{what} is not finite, as in all of the last {MOST_SKIPPED} steps", where=where, do="lower the rates"
            )
        self.skipped += 1
        self.step += 1
        return Skipped(self.step - 1, what, views, self.skipped)

    def _stepped(self, loss: float, psnr: float) -> Stepped:
        """The step before ``self.step``, which has just been made."""
        remaining = self.elapsed * (1 / self.fraction - 1) if self.fraction > 0 else math.inf
        return Stepped(self.step - 1, loss, psnr, min(self.fraction, 1.0), self.elapsed, max(remaining, 0.0))

    def draw(self, generator: torch.Generator) -> tuple[list[int], list[Window]]:
        """Views and windows of this step's crops, [B] each; ``generator`` places the windows."""
        batch, train = self.settings.crop.batch, self.capture.train
        views = []
        for place in range(self.step * batch, (self.step + 1) * batch):
            epoch, position = divmod(place, len(train))
            views.append(view_order(train, epoch, self.settings.seed)[position])
        photos = [self.model.cameras.size_of(view) for view in views]
        smallest = min(height for height, _ in photos), min(width for _, width in photos)
        size = min(self.settings.crop.size, smallest[0]), min(self.settings.crop.size, smallest[1])
        return views, [draw_window(photo, size, self.settings.crop.zoom, generator) for photo in photos]

    def targets(self, views: list[int], windows: list[Window]) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What the photos show in the windows, [B, 3, h, w], and how much each pixel counts, [B, 1, h, w] (None: all
        alike), on the model's device.
        """
        device = self.model.cameras.sizes.device
        crops = [self._crop(view, window) for view, window in zip(views, windows, strict=True)]
        images = torch.stack([image for image, _ in crops]).to(device)
        if all(weight is None for _, weight in crops):
            return images, None
        even = torch.ones(1, *images.shape[2:])
        return images, torch.stack([even if weight is None else weight for _, weight in crops]).to(device)

    def _crop(self, view: int, window: Window) -> tuple[torch.Tensor, torch.Tensor | None]:
        """What a photo shows in a window, [3, h, w], and how much each pixel counts, [1, h, w] (None: all alike)."""
        image, weight = self.capture.image(view), self._weight(view)
        return (crop_image(image, window), None) if weight is None else crop_masked(image, weight, window)

    def _weight(self, view: int) -> torch.Tensor | None:
        """How much each pixel of a photo counts in steps, [1, H, W]: by its mask, by what is kept back, and by how much
        of the sphere it sees; None where all count alike.
        """
        parts = [self.capture.mask(view), self.capture.cameras.share_of_sphere(view)]
        if self.refinement is not None and not self.refinement.is_settled(self.fraction):
            parts.append(self.refinement.looked_at(view))
        given = [part.float() for part in parts if part is not None]
        return math.prod(given[1:], start=given[0]) if given else None

    @property
    def _moving(self) -> tuple[Parameter, ...]:
        """All that may be stepped: what the model is made of, and the steps of its structure."""
        return (*self._parameters, *(() if self.refinement is None else self.refinement.structure.parameters()))

    def _rate(self, name: str) -> float:
        family = family_of(name)
        if family is not None and family not in self.settings.refine.what:
            return 0.0
        measured = family in PHOTOMETRY and starts_measured(self.model.cameras.sensor, self.settings)
        return rate_of(name, self.settings.rates) * (self.settings.measured_rate if measured else 1.0)

    def _factor(self, name: str) -> float:
        family, refine = family_of(name), self.settings.refine
        begins = 0.0 if family is None else refine.begins(family, self.settings.unlock)
        along = self.fraction / (refine.settled if family in STRUCTURE else 1.0)
        if not unlocked(self.fraction, begins) or along >= 1:
            return 0.0
        return cosine(along, self.settings.decay)

    def _started(self) -> Started:
        height, width = self.model.cameras.sizes[0].tolist()
        return Started(
            train_views=len(self.capture.train),
            test_views=len(self.capture.test),
            points=len(self.model.scene),
            parameters=sum(parameter.raw.numel() for parameter in self._parameters),
            width=width,
            height=height,
            step=self.step,
            steps=None if self.settings.minutes else self.settings.steps or DEFAULT_STEPS,
            seconds=60 * self.settings.minutes if self.settings.minutes else None,
        )


def contrast_line(sensor: Sensor) -> str:
    """What holds the contrast of the scene against that of the response, which photos alone cannot tell apart."""
    told = sensor.exposure_start[sensor.anchor & sensor.exposure_known]
    apart = f"{float(told.max() - told.min()):.1f} stops apart" if len(told) else "none apart"
    if sensor.contrast_from == "exif":
        return f"contrast is held by the exposures that EXIF says of {len(told)} photos, {apart}"
    exposures = f"{len(told)} exposures, {apart}" if len(told) > 1 else "one exposure"
    known = f"EXIF says {exposures}: too little to tell" if len(told) else "EXIF says no exposure"
    return f"contrast is held by the prior on the response: {known}"


def _psnr(image: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None) -> float:
    """Of the pixels that count [dB]."""
    squared = (image.clamp(0, 1) - target).square().mean(dim=1, keepdim=True)
    error = float(squared.mean() if weight is None else (squared * weight).sum() / weight.sum().clamp(min=1e-6))
    return -10 * math.log10(max(error, 1e-10))
