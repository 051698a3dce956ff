"""How good a model is on views it has never seen, whole image, under exposure policies that are always named.

Masked pixels do not count, and what is there changes nothing.

``exif``: the held-out photo's exposure is its EXIF EV (the training views' mean where EXIF is missing), its white point
is neutral. Nothing is learned from the held-out photo.

``fitted``: EV and white point of that one view are fitted on the left half of the photo, everything else frozen, and
only the right half is scored. It says how good the picture is once its brightness is right.

On request also under those of ``exposure_policies.py``: exposures foretold from the training views.

``plain_points`` is the floor that a fit has to beat: the input points as they are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import torch

from unrender.cameras.camera import Cameras
from unrender.datasets.capture import Capture
from unrender.errors import CaptureError, RunError, ShapeError
from unrender.fit.exposure_policies import (
    DEFINITION,
    PolicyMean,
    PolicyScores,
    mean_of,
    policies_table,
    policy_cameras,
    score_policies,
)
from unrender.fit.exposure_prediction import ExposurePrediction, learn_exposures
from unrender.images.io import write_png
from unrender.images.panels import labelled_row
from unrender.images.windows import SIZE
from unrender.initialize.colors import cloud_radiance
from unrender.messages import Evaluated, Message, Saved, Scores
from unrender.metrics import DEFINITIONS, score
from unrender.metrics.flip import flip_picture
from unrender.metrics.weights import blackened
from unrender.parameters import Parameter
from unrender.render.frame import Frame
from unrender.render.model import Model
from unrender.render.settings import PointRasterSettings
from unrender.scenes.points import PointScene

__all__ = [
    "POLICIES",
    "Evaluation",
    "ViewScores",
    "evaluate",
    "exif_cameras",
    "fit_exposure",
    "picture_stems",
    "plain_points",
    "refuse_broken",
    "side_by_side",
]

POLICIES = {
    "test": "policy exif: whole image, exposure from EXIF (the training views' mean where missing), neutral white "
    "point; nothing is learned from held-out photos; masked pixels do not count; mean over images",
    "fitted_exposure": "policy fitted: EV and white point of the view fitted on the left half of the image (of a "
    "masked one: of what may be used), all else frozen, scored on the right half; mean over images",
    "contrast_from": "what held the contrast of the scene against that of the response: exif or prior",
    "seconds": "seconds of fitting behind this model, over all sittings, without starting the scene and scoring",
}


@dataclass(frozen=True)
class ViewScores:
    """One held-out view under both policies, and under all others that were asked for."""

    name: str
    exif: Scores
    fitted: Scores
    policies: Mapping[str, PolicyScores] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluation:
    """Every held-out view's scores; ``width`` and ``height`` of the first one [pixels]; ``masked``: names of those that
    have none, as their masks leave nothing; ``prediction``: what exposures were foretold by, where that was asked for.
    """

    views: tuple[ViewScores, ...]
    width: int
    height: int
    masked: tuple[str, ...] = ()
    prediction: ExposurePrediction | None = None

    @property
    def exif(self) -> Scores:
        """The mean under the policy ``exif``."""
        return _mean([view.exif for view in self.views])

    @property
    def fitted(self) -> Scores:
        """The mean under the policy ``fitted``."""
        return _mean([view.fitted for view in self.views])

    @property
    def policies(self) -> dict[str, PolicyMean]:
        """The mean under each policy of ``exposure_policies.py``; none where they were not asked for."""
        names = self.views[0].policies if self.views else ()
        return {name: mean_of([view.policies[name] for view in self.views]) for name in names}

    def table(self, seconds: float) -> dict[str, Any]:
        """What ``eval.json`` holds; ``test`` is the policy ``exif``, ``seconds`` of fitting are behind the model."""
        table = {
            "test": asdict(self.exif),
            "images": [{"name": view.name, **asdict(view.exif)} for view in self.views],
            "fitted_exposure": asdict(self.fitted),
            "definition": {name: DEFINITIONS[name] for name in asdict(self.exif)} | POLICIES,
            "seconds": seconds,
            "width": self.width,
            "height": self.height,
        }
        if self.masked:
            table["masked"] = list(self.masked)
        if self.prediction is not None:
            table["policies"] = policies_table(self.policies, self.prediction)
            table["definition"]["policies"] = DEFINITION
        return table


def evaluate(
    model: Model, capture: Capture, folder: Path | None = None, *, policies: bool = False
) -> Generator[Message, None, Evaluation]:
    """Score the held-out views of ``capture``; the generator's value is the result.

    With a ``folder`` a picture per view (photo, ours, FLIP map; policy ``exif``) is written there. ``policies``: also
    at the exposures that can be foretold, see ``exposure_policies.py``. Deterministic. Raises CaptureError when no view
    is held out, RunError when a render is not finite: it has no scores.
    """
    chosen = _scorable(capture)
    prediction = (yield from learn_exposures(model, capture.train)) if policies else None
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    views: list[ViewScores] = []
    stems = picture_stems(capture.names)
    for view in chosen:
        name, device = capture.names[view], model.cameras.sizes.device
        photo, mask = capture.image(view).to(device), capture.mask(view)
        mask = None if mask is None else mask.to(device)
        cameras = exif_cameras(model.cameras, [view])
        with torch.no_grad():
            radiance = model.radiance(cameras)
            ours = cameras.record(radiance)[0]
        refuse_broken(radiance, name)
        refuse_broken(ours, name)
        others = {} if prediction is None else _score_others(prediction, model, cameras, radiance, photo, mask)
        scores = ViewScores(name, score(ours, photo, mask), _score_fitted(cameras, radiance, photo, mask), others)
        views.append(scores)
        for policy, found in (("exif", scores.exif), ("fitted", scores.fitted)):
            yield Evaluated(name, policy, found, len(views), len(chosen))
        if folder is not None:
            photo, ours = (cameras.shown(picture[None])[0] for picture in (photo, ours))
            yield _save_picture(folder / f"{stems[view]}.png", photo, ours, mask)
    height, width = model.cameras.sizes[chosen[0]].tolist()
    masked = tuple(capture.names[view] for view in capture.test if view not in chosen)
    return Evaluation(tuple(views), width, height, masked, prediction)


def _scorable(capture: Capture) -> list[int]:
    """The held-out views of which something may be used. Raises CaptureError when there is none."""
    if not capture.test:
        raise CaptureError("no view is held out", where=capture.root, do="choose some with test_every or test_names")
    scorable = [view for view in capture.test if _leaves_something(capture.mask(view))]
    if not scorable:
        raise CaptureError(
            "the masks leave nothing of any held-out photo", where=capture.root, do="hold out others (--test-names)"
        )
    return scorable


def _leaves_something(mask: torch.Tensor | None) -> bool:
    return mask is None or bool(_judged(mask).any())


def _judged(mask: torch.Tensor) -> torch.Tensor:
    """The part of a mask [1, H, W] that all scores look at: the middle pixels of SSIM's windows."""
    edge = SIZE // 2
    return mask[:, edge:-edge, edge:-edge]


def refuse_broken(picture: torch.Tensor, name: str) -> None:
    """Raises RunError when a rendered ``picture`` of the view ``name`` holds a value that is not finite."""
    if not bool(picture.isfinite().all()):
        raise RunError(
            "the render is not finite", where=name, do="the fit has diverged: start a new run with lower rates"
        )


def exif_cameras(cameras: Cameras, views: Sequence[int]) -> Cameras:
    """The views as their EXIF says they were exposed (mean EV where missing) and with a neutral white point."""
    chosen = cameras.select(views)
    sensor = chosen.sensor
    neutral = torch.zeros_like(sensor.white_point)
    return replace(chosen, sensor=replace(sensor, exposure=sensor.exposure_start.clone(), white_point=neutral))


def fit_exposure(
    camera: Cameras, radiance: torch.Tensor, photo: torch.Tensor, weight: torch.Tensor | None = None
) -> Cameras:
    """One view's EV and white point such that ``radiance`` [1, 3, H, W] looks most like ``photo`` [3, H, W].

    Least squares on recorded values: the best of a few EVs around the start, then L-BFGS. Only these numbers move.
    ``weight`` [1, H, W]: how much each pixel may be used; with nothing to look at the camera stays as it is.
    """
    if weight is not None and not bool(weight.any()):
        return camera
    radiance = radiance.detach()
    exposure = _nearest_exposure(camera, radiance, photo, weight).clone().requires_grad_()
    white_point = camera.sensor.white_point.detach().clone().requires_grad_()
    free = _with_exposure(camera, exposure, white_point)
    optimizer = torch.optim.LBFGS([exposure, white_point], max_iter=40, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        error = _error(free.record(radiance, leak=True)[0], photo, weight)
        error.backward()
        return error

    with torch.enable_grad():
        optimizer.step(loss)
    return _with_exposure(camera, exposure.detach(), white_point.detach())


def plain_points(capture: Capture) -> Model:
    """The floor: the input points drawn plainly, as a model that needs no fit.

    Every point colours the one pixel it falls into and the nearest point wins; nothing is culled or thinned. Empty
    pixels show the points' mean radiance. Points wear the radiance that the unfitted sensor of the first camera makes
    of their colour (mid-grey where the cloud has none) at the mean exposure; each view records it at its own exposure.
    """
    cloud = capture.points
    colors = torch.full((len(cloud), 3), 0.5) if cloud.colors is None else cloud.colors.float()
    linear = cloud_radiance(colors, capture.cameras.sensor)
    origin = cloud.positions.double().mean(0)
    scene = PointScene(
        origin=origin,
        position=(cloud.positions.double() - origin).float(),
        normal=torch.zeros(len(colors), 3),
        radius=torch.zeros(len(colors)),
        threshold=torch.zeros(len(colors)),
        descriptors=linear.contiguous(),
        environment=linear.mean(0)[:, None, None].expand(3, 2, 4).contiguous(),
    )
    return Model(scene, _Bare(), capture.cameras, PointRasterSettings(layers=1, alpha=0.0, gamma=None))


def side_by_side(photo: torch.Tensor, ours: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Photo, ours and their FLIP map in a row under small labels: [3, H, W] in 0..1 -> uint8 [H', 3 W, 3].

    Where the ``mask`` [1, H, W] is 0, photo and map are black.
    """
    photo = blackened(photo, mask)
    panels = (photo, ours, flip_picture(blackened(ours, mask), photo))
    return labelled_row(panels, ("photo", "ours", "FLIP (dark = equal)"))


def picture_stems(names: Sequence[str]) -> list[str]:
    """A file stem for each of all the photos of a capture, no two alike, whatever the case.

    Folders become part of it and the suffix goes, unless two photos would then share it; what is still shared is
    numbered.
    """
    flat = [Path(name.replace("\\", "/")).as_posix().replace("/", "_") for name in names]
    short = [str(Path(name).with_suffix("")) for name in flat]
    shared = Counter(stem.casefold() for stem in short)
    stems = [long if shared[stem.casefold()] > 1 else stem for long, stem in zip(flat, short, strict=True)]
    taken: set[str] = set()
    for place, stem in enumerate(stems):
        free = chain([stem], (f"{stem}_{number}" for number in count(2)))
        stems[place] = next(candidate for candidate in free if candidate.casefold() not in taken)
        taken.add(stems[place].casefold())
    return stems


class _Bare:
    """A shader for scenes whose features are radiance already."""

    def __call__(self, frame: Frame) -> torch.Tensor:
        """The finest layer."""
        if frame.features is None:
            raise ShapeError("a frame without features", expected="a feature pyramid")
        return frame.features[0]

    def parameters(self) -> tuple[Parameter, ...]:
        """None."""
        return ()

    def to(self, device: torch.device | str) -> _Bare:
        """Itself."""
        return self


def _score_fitted(
    camera: Cameras, radiance: torch.Tensor, photo: torch.Tensor, mask: torch.Tensor | None = None
) -> Scores:
    if mask is not None:
        left, right = _halves(mask)
        fitted = fit_exposure(camera, radiance, photo, left).sensor
        return score(replace(camera, sensor=fitted).record(radiance)[0], photo, right)
    height, width = photo.shape[1:]
    half = width // 2
    left = camera.crop(torch.zeros_like(camera.pixel_offset), (height, half))
    fitted = fit_exposure(left, radiance[..., :half], photo[..., :half]).sensor
    ours = replace(camera, sensor=fitted).record(radiance)[0]
    return score(ours[..., half:], photo[..., half:])


def _score_others(
    prediction: ExposurePrediction,
    model: Model,
    camera: Cameras,
    radiance: torch.Tensor,
    photo: torch.Tensor,
    mask: torch.Tensor | None,
) -> dict[str, PolicyScores]:
    own = float(fit_exposure(camera, radiance, photo, mask).sensor.exposure[0])
    return score_policies(policy_cameras(prediction, model, camera), radiance, photo, mask, own)


def _halves(mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A mask [1, H, W] left and right of the column before which not more than half of what may be used lies."""
    judged = _judged(mask).double().sum(dim=(0, 1)).cumsum(0)
    column = SIZE // 2 + int((judged <= judged[-1] / 2).sum())
    left = torch.arange(mask.shape[2], device=mask.device) < column
    return mask * left, mask * ~left


def _error(image: torch.Tensor, photo: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Mean squared difference of [3, H, W] over the pixels that count."""
    difference = image - photo
    if weight is None:
        return difference.square().mean()
    return (blackened(difference, weight).square() * weight).sum() / (3 * weight.sum())


def _nearest_exposure(
    camera: Cameras, radiance: torch.Tensor, photo: torch.Tensor, weight: torch.Tensor | None
) -> torch.Tensor:
    """The EV [1] that fits best among those up to 4 stops around the start, half a stop apart."""
    start = camera.sensor.exposure.detach()
    candidates = start + torch.arange(-4.0, 4.5, 0.5, device=start.device)[:, None]
    with torch.no_grad():
        tries = (_with_exposure(camera, ev, camera.sensor.white_point).record(radiance)[0] for ev in candidates)
        errors = [float(_error(image, photo, weight)) for image in tries]
    return candidates[min(range(len(errors)), key=errors.__getitem__)]


def _with_exposure(camera: Cameras, exposure: torch.Tensor, white_point: torch.Tensor) -> Cameras:
    return replace(camera, sensor=replace(camera.sensor, exposure=exposure, white_point=white_point))


def _save_picture(path: Path, photo: torch.Tensor, ours: torch.Tensor, mask: torch.Tensor | None) -> Saved:
    write_png(path, side_by_side(photo.cpu(), ours.cpu(), None if mask is None else mask.cpu()))
    return Saved(path, "photo, ours, FLIP map")


def _mean(scores: Sequence[Scores]) -> Scores:
    columns = zip(*(asdict(each).values() for each in scores), strict=True)
    return Scores(*(sum(column) / len(scores) for column in columns))
