"""How good a held-out view is at each exposure that can be foretold for it, and how far that is from the photo's own.

``exif``, ``neighbours``, ``predicted``: see ``exposure_prediction.py``; ``ignored``: the mean EV for every view and a
neutral white point, as if all photos were exposed alike. Nothing is learned from the held-out photo under any of them.
Their error is the EV less the one that is fitted to the whole photo with everything else frozen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from unrender.cameras.camera import Cameras
from unrender.fit.exposure_prediction import ExposurePrediction
from unrender.fit.light_meter import meter
from unrender.messages import Scores
from unrender.metrics import score
from unrender.render.model import Model

__all__ = ["DEFINITION", "PolicyMean", "PolicyScores", "mean_of", "policies_table", "policy_cameras", "score_policies"]

DEFINITION = (
    "whole image; nothing is learned from held-out photos: exif, EV of the photo's EXIF; neighbours, mean over "
    "training views weighted by pose; predicted, by the rendered light as learnt from the training views; ignored, the "
    "mean EV; ev_error: mean absolute EV less that fitted to the whole photo, all else frozen [stops]; left_out: root "
    "mean square error of the EVs of training views, each left out in turn [stops]"
)
"""What ``eval.json`` says of its ``policies``."""
_PREDICTIONS = {"neighbours": "neighbours", "predicted": "predicted", "ignored": "mean"}
"""Names of policies and of what they are made by."""


@dataclass(frozen=True)
class PolicyScores:
    """One view under one policy; ``off``: its EV less the one fitted to the photo [stops]."""

    scores: Scores
    off: float


@dataclass(frozen=True)
class PolicyMean:
    """The mean over views; ``ev_error``: of the absolute EV errors [stops]."""

    scores: Scores
    ev_error: float


def policy_cameras(prediction: ExposurePrediction, model: Model, exif: Cameras) -> dict[str, Cameras]:
    """The one view ``exif`` (its camera under that policy) under each policy that there is."""
    names = [name for name, made_by in _PREDICTIONS.items() if made_by != "predicted" or prediction.meter is not None]
    readings = torch.stack(list(meter(model, exif))) if "predicted" in names else None
    return {"exif": exif} | {name: prediction.expose(_PREDICTIONS[name], exif, readings) for name in names}


def score_policies(
    policies: Mapping[str, Cameras], radiance: torch.Tensor, photo: torch.Tensor, mask: torch.Tensor | None, own: float
) -> dict[str, PolicyScores]:
    """Scores of ``radiance`` [1, 3, H, W] as the cameras of each policy record it; ``own``: the photo's own EV."""
    return {
        name: PolicyScores(score(camera.record(radiance)[0], photo, mask), float(camera.sensor.exposure[0]) - own)
        for name, camera in policies.items()
    }


def mean_of(views: Sequence[PolicyScores]) -> PolicyMean:
    """The mean over views."""
    columns = zip(*(asdict(each.scores).values() for each in views), strict=True)
    return PolicyMean(
        Scores(*(sum(column) / len(views) for column in columns)), sum(abs(each.off) for each in views) / len(views)
    )


def policies_table(means: Mapping[str, PolicyMean], prediction: ExposurePrediction) -> dict[str, Any]:
    """What ``eval.json`` holds under ``policies``."""
    table = {name: asdict(each.scores) | {"ev_error": each.ev_error} for name, each in means.items()}
    return {**table, "left_out": dict(prediction.errors), "taken": prediction.best}
