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

from unrender.datasets.capture import Capture
from unrender.fit.crops import Window, crop_cameras, crop_masked
from unrender.fit.refine.structure import Structure
from unrender.render.model import Model

__all__ = ["Judgement", "judge", "kept_back"]

TILE = 16
"""Edge of what is kept back in one piece [working pixels]: more than points or the loss's windows reach over."""
_MARGIN = 0.02
"""Decibels by which something must be worse to be taken back: less is how the renderer rounds."""


def kept_back(view: int, size: tuple[int, int], share: float, seed: int) -> torch.Tensor:
    """Which pixels of a photo no step looks at, [1, H, W] bool: whole tiles at random, the same at every call."""
    height, width = size
    chance = torch.Generator().manual_seed(seed * 1_000_003 + 7_919 * view + 1)
    tiles = torch.rand(-(-height // TILE), -(-width // TILE), generator=chance) < share
    return tiles.repeat_interleave(TILE, 0).repeat_interleave(TILE, 1)[None, :height, :width]


@dataclass(frozen=True)
class Judgement:
    """Decibels on the kept-back pixels of each training view [V], NaN where none can be judged.

    ``now``: as the model is; ``without``: family -> with that family as the input has it.
    """

    now: torch.Tensor
    without: dict[str, torch.Tensor]

    def worse_views(self) -> torch.Tensor:
        """Views whose refined pose is worse than the input's, [V] bool."""
        given = self.without.get("poses")
        return torch.zeros_like(self.now, dtype=torch.bool) if given is None else self.now < given - _MARGIN

    def worse_families(self) -> tuple[str, ...]:
        """Lens and points, where the mean over all views is worse with what they became."""
        means = {name: float((self.now - values).nanmean()) for name, values in self.without.items() if name != "poses"}
        return tuple(name for name, gain in means.items() if gain < -_MARGIN)


@torch.no_grad()
def judge(
    model: Model, capture: Capture, structure: Structure, crop: int, seed: int, families: Collection[str]
) -> Judgement:
    """Compare the model with itself where ``families`` are the input's, in a window of at most ``crop`` pixels of each
    training photo.
    """
    windows = {view: _window(model, view, crop, seed) for view in capture.train}
    share = structure.settings.kept_back

    def decibels(changed: Model) -> torch.Tensor:
        found = torch.full((len(capture),), math.nan, dtype=torch.float64)
        for view, window in windows.items():
            hidden = kept_back(view, model.cameras.size_of(view), share, seed)
            found[view] = _decibels(changed, capture, view, window, hidden)
        return found

    now = decibels(model)
    return Judgement(now, {name: decibels(structure.without(model, [name])) for name in families})


def _window(model: Model, view: int, crop: int, seed: int) -> Window:
    """A window of full scale somewhere in the photo."""
    height, width = model.cameras.size_of(view)
    size = min(height, crop), min(width, crop)
    chance = torch.Generator().manual_seed(seed * 1_000_003 + 104_729 * view + 2)
    top, left = ((torch.rand(2, generator=chance)) * torch.tensor([height - size[0] + 1, width - size[1] + 1])).long()
    return Window(int(left), int(top), *size, size)


def _decibels(model: Model, capture: Capture, view: int, window: Window, hidden: torch.Tensor) -> float:
    """PSNR of the hidden pixels of a window; NaN where there are none that may be used."""
    device = model.cameras.sizes.device
    image, mask = capture.image(view), capture.mask(view)
    usable = hidden.float() if mask is None else hidden * mask
    target, weight = (part.to(device) for part in crop_masked(image, usable, window))
    if not float(weight.sum()):
        return math.nan
    cameras = crop_cameras(model.cameras, [view], [window])
    ours = cameras.record(model.radiance(cameras))[0]
    error = float(((ours - target).square().mean(dim=0, keepdim=True) * weight).sum() / weight.sum())
    return -10 * math.log10(max(error, 1e-10))
