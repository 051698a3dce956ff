"""Whether refinement helped, seen by pixels that no step looked at, and what is taken back where it did not.

A pose can always be bent until the pixels that it is fitted to are a little better. So some of every photo is kept back
from all steps, and what was refined is compared there with what the input says, drawn by the same model. The model has
had time to get used to the refined cameras, which speaks for them; where they are worse all the same, they go.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch.nn.functional import avg_pool2d

from unrender.datasets.capture import Capture
from unrender.fit.crops import Window, crop_cameras, crop_masked
from unrender.fit.refine.structure import Structure
from unrender.render.model import Model

__all__ = ["Judgement", "decibels", "judge", "kept_back"]

TILE = 16
"""Edge of what is kept back in one piece [working pixels]: more than points or the loss's windows reach over."""
_LEAST_USED = 0.05
"""Share of a tile that must be usable to be judged: what a window cuts off says little."""
_SURE = 1.64
"""Standard errors by which something must be worse to be taken back: nineteen of twenty times that is no chance."""


def kept_back(view: int, size: tuple[int, int], share: float, seed: int) -> torch.Tensor:
    """Which pixels of a photo no step looks at, [1, H, W] bool: whole tiles at random, the same at every call."""
    height, width = size
    chance = torch.Generator().manual_seed(seed * 1_000_003 + 7_919 * view + 1)
    tiles = torch.rand(-(-height // TILE), -(-width // TILE), generator=chance) < share
    return tiles.repeat_interleave(TILE, 0).repeat_interleave(TILE, 1)[None, :height, :width]


@dataclass(frozen=True)
class Judgement:
    """Mean squared errors of the kept-back tiles of each training view: view -> [T], of none where it has none.

    ``now``: as the model is; ``without``: family -> with that family as the input has it.
    """

    now: dict[int, torch.Tensor]
    without: dict[str, dict[int, torch.Tensor]]

    def worse_views(self) -> list[int]:
        """Views whose refined pose is worse than the input's, beyond chance."""
        given = self.without.get("poses", {})
        return [view for view, errors in given.items() if _is_worse(self.now[view], errors)]

    def rejected(self, least_gain: float) -> dict[str, str]:
        """Families to be taken back, and why: lens and points that are worse over all views beyond chance; poses that
        gain less than ``least_gain`` [dB], those aside that are taken back by themselves.
        """
        families = [name for name in self.without if name != "poses"]
        worse = [name for name in families if _is_worse(_all(self.now), _all(self.without[name]))]
        reasons = dict.fromkeys(worse, "made kept-back pixels worse")
        if "poses" in self.without and (gain := self.gain("poses", self.worse_views())) < least_gain != 0:
            reasons["poses"] = f"bring {gain:+.2f} dB to kept-back pixels, as right ones would"
        return reasons

    def gain(self, family: str, leave_out: Collection[int] = ()) -> float:
        """Decibels that a family's refinement brought, over all views but some; NaN where nothing can be judged."""
        now, before = (
            {view: tiles for view, tiles in errors.items() if view not in leave_out}
            for errors in (self.now, self.without[family])
        )
        return decibels(_all(now)) - decibels(_all(before))

    def decibels(self, views: int) -> torch.Tensor:
        """PSNR of each of ``views`` photos with the input's pose and as it is, [V, 2]; NaN where it was not judged."""
        table = torch.full((views, 2), math.nan, dtype=torch.float64)
        for view, errors in self.without.get("poses", {}).items():
            table[view] = torch.tensor([decibels(errors), decibels(self.now[view])], dtype=torch.float64)
        return table


def decibels(errors: torch.Tensor) -> float:
    """PSNR of mean squared errors; NaN of none."""
    return -10 * math.log10(max(float(errors.mean()), 1e-10)) if len(errors) else math.nan


def _all(errors: dict[int, torch.Tensor]) -> torch.Tensor:
    return torch.cat(list(errors.values())) if errors else torch.zeros(0)


def _is_worse(now: torch.Tensor, before: torch.Tensor) -> bool:
    """Whether errors are larger than before, tile by tile, by more than chance has it."""
    if len(now) < 2:
        return False
    more = now - before
    return float(more.mean()) > _SURE * float(more.std()) / math.sqrt(len(more))


@torch.no_grad()
def judge(
    model: Model, capture: Capture, structure: Structure, crop: int, seed: int, families: Collection[str]
) -> Judgement:
    """Compare the model with itself where ``families`` are the input's, in a window of at most ``crop`` pixels of each
    training photo.
    """
    windows = {view: _window(model, view, crop, seed) for view in capture.train}
    share = structure.settings.kept_back

    def errors(changed: Model) -> dict[int, torch.Tensor]:
        hidden = {view: kept_back(view, model.cameras.size_of(view), share, seed) for view in windows}
        return {view: _errors(changed, capture, view, window, hidden[view]) for view, window in windows.items()}

    return Judgement(errors(model), {name: errors(structure.without(model, [name])) for name in families})


def _window(model: Model, view: int, crop: int, seed: int) -> Window:
    """A window of full scale somewhere in the photo."""
    height, width = model.cameras.size_of(view)
    size = min(height, crop), min(width, crop)
    chance = torch.Generator().manual_seed(seed * 1_000_003 + 104_729 * view + 2)
    top, left = ((torch.rand(2, generator=chance)) * torch.tensor([height - size[0] + 1, width - size[1] + 1])).long()
    return Window(int(left), int(top), *size, size)


def _errors(model: Model, capture: Capture, view: int, window: Window, hidden: torch.Tensor) -> torch.Tensor:
    """Mean squared error of each hidden tile of a window, [T]: of what may be used of it."""
    device = model.cameras.sizes.device
    image, mask = capture.image(view), capture.mask(view)
    usable = hidden.float() if mask is None else hidden * mask
    target, weight = (part.to(device) for part in crop_masked(image, usable, window))
    cameras = crop_cameras(model.cameras, [view], [window])
    ours = cameras.record(model.radiance(cameras))[0]
    squared = (ours - target).square().mean(dim=0, keepdim=True)
    wrong, used = (avg_pool2d(part, TILE, ceil_mode=True)[0] for part in (squared * weight, weight))
    return (wrong / used.clamp(min=1e-12))[used > _LEAST_USED].double().cpu()
