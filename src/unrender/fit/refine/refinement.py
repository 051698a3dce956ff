"""The part of a fit that refines structure: what each step lets move, when it is judged, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch

from unrender.cameras.camera import Cameras
from unrender.datasets.capture import Capture
from unrender.datasets.names import some_of
from unrender.fit.refine.guard import Judgement, judge, kept_back
from unrender.fit.refine.structure import Structure
from unrender.fit.refine.table import refined_message
from unrender.fit.settings import FitSettings
from unrender.messages import Message, Note, Refined
from unrender.render.model import Model

__all__ = ["Refinement"]

_TELLS_APART = 0.03
"""Share of what a focal length moves that must be its own: 0.1 to 0.2 in rooms, 0.005 to 0.02 of flat walls."""
_UNJUDGED = -1.0
"""Stands in a saved state for the decibels of a view that was not judged: PSNR is never below 0."""
_HOLD_EVERY = 100
"""Steps after which the world is put back where the input's cameras were."""


class Refinement:
    """Structure on its way through a fit. ``structure``: its steps; ``judged``: how often it was judged (in the midst
    of the fit and at its end).
    """

    def __init__(self, model: Model, capture: Capture, settings: FitSettings) -> None:
        self.capture, self.settings = capture, settings
        self.structure = Structure(model, capture, settings.refine)
        self.judged = 0
        self._decibels = torch.full((len(capture), 2), math.nan, dtype=torch.float64)

    def notes(self) -> Iterator[Message]:
        """What a user should know before it begins."""
        yield Note(f"refining {', '.join(self.settings.refine.structure)}")
        reasons = {"see too few points": self.structure.unseen, "see points that leave it open": self.structure.loose}
        for reason, views in reasons.items() if "poses" in self.settings.refine.what else ():
            if views:
                names = some_of([self.capture.names[view] for view in views])
                yield Note(f"{len(views)} photos {reason} where they were taken from, and are not moved: {names}")

        if {"poses", "lens"} <= set(self.settings.refine.what) and self.structure.focal_alone < _TELLS_APART:
            own = f"{self.structure.focal_alone:.1%} of what the focal length moves is its own"
            both = "focal length and distance explain each other, and both may be wrong together"
            yield Note(f"photos see little depth: {both} ({own}); leave lens out of --refine")

    def families(self, fraction: float) -> tuple[str, ...]:
        """What may move after ``fraction`` of the fit."""
        refine = self.settings.refine
        if self.is_settled(fraction):
            return ()
        return tuple(
            name
            for name in refine.structure
            if name not in self.structure.dropped and fraction >= refine.begins(name, 0)
        )

    def step(self, model: Model, cameras: Cameras, views: Sequence[int], fraction: float) -> tuple[Model, Cameras]:
        """The model and the ``cameras`` of ``views`` as a step sees them: differentiable in what may move."""
        families = self.families(fraction)
        if not families:
            return model, cameras
        cameras = self.structure.camera_steps(cameras, views, families)
        return self._drawn(self.structure.scene_step(model, families), fraction), cameras

    def take(self, model: Model, step: int) -> Model:
        """The model after the optimiser's step."""
        model = self.structure.take(model)
        if step % _HOLD_EVERY == _HOLD_EVERY - 1:
            self.structure.hold(model)
        return model

    def looked_at(self, view: int) -> torch.Tensor:
        """Which pixels steps look at, [1, H, W] bool: those that are not kept back."""
        size, share = self.structure.given.size_of(view), self.settings.refine.kept_back
        return ~kept_back(view, size, share, self.settings.seed)

    def is_settled(self, fraction: float) -> bool:
        """Whether structure stays as it is from here on, and no pixel is kept back any more."""
        return fraction >= self.settings.refine.settled

    def is_due(self, fraction: float) -> bool:
        """Whether it is time to judge."""
        return self.judged < (fraction >= self.settings.refine.judged) + self.is_settled(fraction)

    def judge(self, model: Model, *, at_end: bool = False) -> tuple[Model, list[Message]]:
        """The model without what made unseen pixels worse, and what is to be said of it."""
        self.judged = max(self.judged + 1, 2 if at_end else 1)
        judgement, said = self.judgement(model), []
        for family, why in judgement.rejected(self.settings.refine.least_gain).items():
            self.structure.dropped.add(family)
            model = self.structure.without(model, [family])
            said.append(Note(f"refined {family} {why}: taken back, and fixed from here on"))
        if worse := [] if "poses" in self.structure.dropped else judgement.worse_views():
            self.structure.send_back(model, worse)
            names = some_of([self.capture.names[view] for view in worse])
            said.append(Note(f"{len(worse)} refined poses made kept-back pixels worse: taken back and fixed: {names}"))
        gains = {family: judgement.gain(family) for family in judgement.without}
        said += [
            Note(f"refined {family}: {gain:+.2f} dB on pixels that no step looked at")
            for family, gain in gains.items()
            if math.isfinite(gain)
        ]
        found = judgement.decibels(len(self.capture))
        self._decibels = torch.where(found.isnan(), self._decibels, found)
        return model, said

    def outcome(self, model: Model) -> Refined:
        """What it came to so far."""
        return refined_message(model.cameras, self.capture, self.structure, self._decibels)

    def judgement(self, model: Model) -> Judgement:
        """How the refined structure compares with the input's, now."""
        families = [name for name in self.settings.refine.structure if name not in self.structure.dropped]
        return judge(model, self.capture, self.structure, self.settings.crop.size, self.settings.seed, families)

    def state(self) -> dict[str, torch.Tensor]:
        """What is not the model's."""
        decibels = self._decibels.nan_to_num(nan=_UNJUDGED)  # what is saved is finite
        ours = {"refine.judged": torch.tensor(self.judged), "refine.decibels": decibels}
        return self.structure.state() | ours

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put back what ``state`` gave."""
        self.structure.restore(tensors)
        self.judged = int(tensors["refine.judged"])
        decibels = tensors["refine.decibels"].to(self._decibels, copy=True)
        self._decibels = torch.where(decibels == _UNJUDGED, math.nan, decibels)

    def _drawn(self, model: Model, fraction: float) -> Model:
        """The model as this step draws it: with derivatives as the settings say, those of fine layers fading in."""
        refine = self.settings.refine
        along = (fraction - refine.begins(refine.structure[0], 0)) / max(refine.coarse, 1e-9)
        raster = replace(model.raster, spatial=refine.spatial, moves=refine.moves, coarse=max(0.0, 1 - along))
        return replace(model, raster=raster)
