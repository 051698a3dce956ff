"""Which views ``unrender render`` shows, and how each is exposed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from unrender.cli.progress import ProgressView, follow
from unrender.errors import SettingsError

if TYPE_CHECKING:
    import torch

    from unrender.cameras.camera import Cameras
    from unrender.fit.run import Run
    from unrender.render.model import Model

__all__ = ["FLIGHTS", "Eyes", "Path", "Policy", "Views"]

Path = Literal["test", "train", "all", "orbit", "interpolate", "sweep"]
Policy = Literal["exif", "fitted", "neighbours", "predicted", "mean"]
FLIGHTS = ("orbit", "interpolate")
"""Paths past no photo in particular."""


@dataclass(frozen=True)
class Views:
    """What was asked for; see ``RenderVerb``.

    ``frames``: pictures of a flight or a sweep; ``name``: the photo whose view is swept; ``exposure``: None for what
    each view has by itself; ``guess``: whether an EV that nobody knows matters, so that it is worth foretelling.
    """

    path: Path
    frames: int
    name: str | None
    stops: tuple[float, float]
    up: tuple[float, float, float] | None
    width: int | None
    exposure: Policy | None
    ev: float | None
    guess: bool

    def names(self, run: Run) -> list[str]:
        """File stems of the pictures, which sort as they are shown."""
        import numpy as np

        from unrender.fit.evaluate import picture_stems

        if self.path in FLIGHTS:
            return [f"frame_{index:04d}" for index in range(self.frames)]
        stems = [picture_stems(run.names)[view] for view in self._photos(run)]
        if self.path != "sweep":
            return stems
        offsets = np.linspace(*self.stops, self.frames)
        return [f"{stems[0]}_{index:04d}_ev{off:+.2f}" for index, off in enumerate(offsets)]

    def cameras(self, run: Run, model: Model) -> Cameras:
        """The cameras at the wanted size, exposed as is known without a look: a flight at the mean, photos as their
        EXIF says or as they were fitted. A sweep's camera is not swept yet. Raises SettingsError where there is no
        such view.
        """
        from unrender.fit.evaluate import exif_cameras

        if self.path in FLIGHTS:
            chosen = _flight(model.cameras.select(_train(run)), self)
        elif self._known(run) == "exif":
            chosen = exif_cameras(model.cameras, self._photos(run))
        else:
            chosen = model.cameras.select(self._photos(run))
        return chosen if self.width is None else _resized(chosen, self.width)

    def exposed(self, run: Run, model: Model, cameras: Cameras, view: ProgressView) -> Cameras:
        """``cameras`` at the wanted EVs, one for each picture. An EV that was asked for counts from the run's mean."""
        import torch

        from unrender.fit.exposure_prediction import smoothed, with_exposure

        if self.ev is not None:
            wanted = torch.full_like(cameras.sensor.exposure, cameras.sensor.exposure_mean + self.ev)
            cameras = with_exposure(cameras, wanted)
        elif unknown := self._unknown(run, cameras):
            foretold = _foretold(model, _train(run), cameras.select(unknown), self.exposure, view)
            cameras = _put(
                cameras, unknown, smoothed(foretold, self.path == "orbit") if self.path in FLIGHTS else foretold
            )
        if self.path != "sweep":
            return cameras
        offsets = torch.linspace(*self.stops, self.frames, dtype=torch.float64)
        return with_exposure(cameras.select([0] * self.frames), cameras.sensor.exposure.double() + offsets)

    def _photos(self, run: Run) -> list[int]:
        """The views of the run that are looked at."""
        if self.path == "sweep":
            return [_named(run, self.name)]
        views = (
            list(range(len(run.names)))
            if self.path == "all"
            else list(run.views("train" if self.path == "train" else "test").values())
        )
        if not views:
            raise SettingsError(f"the run has no {self.path} view", where=run.folder, do="take another --path")
        return views

    def _known(self, run: Run) -> str:
        """What exposes photos where nothing is foretold: ``fitted`` if a fit has seen them all, else ``exif``."""
        if self.exposure is not None:
            return self.exposure
        return "fitted" if set(self._photos(run)) <= set(_train(run)) else "exif"

    def _unknown(self, run: Run, cameras: Cameras) -> list[int]:
        """Places of the cameras whose EV is to be foretold."""
        everything = list(range(len(cameras)))
        if self.exposure is not None:
            return [] if self.exposure in ("exif", "fitted") else everything
        if not self.guess:
            return []
        if self.path in FLIGHTS:
            return everything
        return _without_exif(cameras) if self._known(run) == "exif" else []


def _train(run: Run) -> list[int]:
    return list(run.views("train").values())


def _named(run: Run, name: str | None) -> int:
    """The photo ``name``, with its suffix or as its picture is called; the first held-out one, or else the first."""
    from unrender.fit.evaluate import picture_stems

    if name is None:
        return min(run.views("test").values(), default=0)
    places = range(len(run.names))
    known = dict(zip(picture_stems(run.names), places, strict=True)) | dict(zip(run.names, places, strict=True))
    if name not in known:
        near = difflib.get_close_matches(name, run.names, n=1, cutoff=0.0)[0]
        raise SettingsError("no photo of this name in the run", where="--view", got=name, do=f"say {near}, perhaps")
    return known[name]


def _flight(cameras: Cameras, wanted: Views) -> Cameras:
    import torch

    from unrender.cameras.paths import interpolate, orbit

    if wanted.path == "interpolate":
        return interpolate(cameras, wanted.frames)
    up = None if wanted.up is None else torch.tensor(wanted.up, dtype=torch.float64)
    return orbit(cameras, wanted.frames, up)


def _resized(cameras: Cameras, width: int) -> Cameras:
    import torch

    if width < 1:
        raise SettingsError("width of the pictures", where="--width", expected="1 pixel or more", got=width)
    heights = (cameras.sizes[:, 0] * width / cameras.sizes[:, 1]).round().long().clamp(min=1)
    sizes = torch.stack([heights, torch.full_like(heights, width)], dim=1)
    return cameras.resize((sizes / cameras.sizes).double().flip(1), sizes)


def _without_exif(cameras: Cameras) -> list[int]:
    """Places of the views whose photos do not say how they were exposed: these start at the mean EV exactly."""
    start = cameras.sensor.exposure_start
    return (start == start.new_tensor(cameras.sensor.exposure_mean)).nonzero()[:, 0].tolist()


def _foretold(
    model: Model, train: Sequence[int], cameras: Cameras, policy: Policy | None, view: ProgressView
) -> Cameras:
    """``cameras`` as they would be exposed had somebody taken photos there; says how. ``policy`` None: by what
    foretells the training photos best.
    """
    import torch

    from unrender.fit.exposure_prediction import learn_exposures
    from unrender.fit.light_meter import meter

    prediction = follow(learn_exposures(model, train, light=policy in (None, "predicted")), view)
    chosen = prediction.best if policy is None else policy
    readings: list[torch.Tensor] = []
    if chosen == "predicted" and prediction.meter is not None:
        for row in meter(model, cameras.to(model.cameras.sizes.device)):
            readings.append(row)
            view.advance("exposing", len(readings) / len(cameras), f"{len(readings)} of {len(cameras)}")
    view.say(_how_exposed(chosen, prediction.errors))
    return prediction.expose(chosen, cameras, torch.stack(readings) if readings else None)


def _how_exposed(policy: str, errors: Mapping[str, float]) -> str:
    """The policy, and how well each foretells training photos that are left out."""
    said = ", ".join(f"{name} {error:.2f}" for name, error in errors.items())
    return f"exposure: {policy}" + (f" (training photos left out are off by, in stops: {said})" if said else "")


def _put(cameras: Cameras, places: Sequence[int], exposed: Cameras) -> Cameras:
    """``cameras`` with the EVs and white points of ``exposed`` at ``places``."""
    sensor, index = cameras.sensor, list(places)
    exposure, white_point = sensor.exposure.clone(), sensor.white_point.clone()
    exposure[index], white_point[index] = exposed.sensor.exposure, exposed.sensor.white_point
    return replace(cameras, sensor=replace(sensor, exposure=exposure, white_point=white_point))


class Eyes:
    """Looks through cameras at a model. A view that is looked at again, as in a sweep, is not rendered again."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._last: tuple[Cameras, torch.Tensor] | None = None

    def radiance(self, camera: Cameras) -> torch.Tensor:
        """Linear radiance [1, 3, H, W] of the one view ``camera``, on the CPU."""
        import torch

        if self._last is None or not _sees_the_same(camera, self._last[0]):
            with torch.no_grad():
                self._last = camera, self._model.radiance(camera.to(self._model.cameras.sizes.device)).cpu()
        return self._last[1]


def _sees_the_same(one: Cameras, other: Cameras) -> bool:
    """Whether two views differ in nothing but their sensor."""
    names = ("camera_from_world", "camera_index", "pixel_scale", "pixel_offset", "sizes")
    return one.lenses is other.lenses and all(bool((getattr(one, n) == getattr(other, n)).all()) for n in names)
