"""Views as a report shows them: the photo, what the model makes of it, where they differ, and how much.

Held-out views are rendered under the policy ``exif`` (see ``unrender.fit.evaluate``), training views with the exposure
and white point that were fitted to them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import torch

from unrender.datasets.capture import Capture
from unrender.fit.evaluate import exif_cameras
from unrender.messages import Reported, Scores
from unrender.metrics import score
from unrender.metrics.flip import flip_picture
from unrender.metrics.weights import blackened
from unrender.render.frame import Frame
from unrender.render.model import Model
from unrender.render.render import render
from unrender.reports.pictures import Picture, embedded

__all__ = ["LargeView", "MeasuredView", "choose_views", "enlarge", "measure", "noteworthy"]

_LEAST = 2
_CLIPPED = 254.5 / 255
_BARE_LAYER = 3
"""Where no point falls into a square of 2^3 pixels, the network has nothing near to draw from."""
_THUMB, _THUMB_QUALITY = 96, 70


@dataclass(frozen=True)
class MeasuredView:
    """One view.

    ``view``: its index; ``held_out``: whether the fit never saw it; ``scores``: None when the render is not finite;
    ``clipped``: share of the photo's used pixels that are white in a channel; ``bare``: share of pixels with no point
    within some pixels, NaN where the renderer does not say; ``thumb``: the photo, small; ``ours`` [3, H, W] uint8: the
    rendering.
    """

    view: int
    name: str
    held_out: bool
    scores: Scores | None
    clipped: float
    bare: float
    thumb: Picture
    ours: torch.Tensor

    @property
    def psnr(self) -> float:
        """In dB, -inf when the render is not finite."""
        return -math.inf if self.scores is None else self.scores.psnr


@dataclass(frozen=True)
class LargeView:
    """A view to look at: ``kind`` says why this one; ``difference``: its FLIP map."""

    kind: str
    measured: MeasuredView
    photo: Picture
    rendering: Picture
    difference: Picture


def choose_views(capture: Capture, most: int) -> list[int]:
    """At most ``most`` views to measure: half of them held out, where there are so many.

    Whoever stops early has seen both parts, each from its first view to its last: they take turns, and each next view
    lies in the widest gap.
    """
    test, train = _spread(capture.test), _spread(capture.train)
    held_out = min(len(test), max(most // 2, most - len(train)))
    pairs = zip_longest(test[:held_out], train[: most - held_out])
    return [view for pair in pairs for view in pair if view is not None]


def measure(
    model: Model, capture: Capture, views: Sequence[int], seconds: float = math.inf
) -> Generator[Reported, None, list[MeasuredView]]:
    """Render and measure ``views`` at their working size, as many as fit into ``seconds``, but two at least.

    The result is in the order of the capture. A view of which a mask leaves nothing is left out.
    """
    measured, due = [], time.monotonic() + seconds
    for done, view in enumerate(views, start=1):
        found = _measure_one(model, capture, view)
        measured += [] if found is None else [found]
        yield Reported(capture.names[view], done, len(views))
        if done >= _LEAST and time.monotonic() >= due:
            break
    return sorted(measured, key=lambda each: each.view)


def noteworthy(
    views: Sequence[MeasuredView], worst: int = 4, middle: int = 2, best: int = 2
) -> list[tuple[str, MeasuredView]]:
    """The worst, median and best of ``views`` by PSNR, each with which it is, none twice; all where they are few."""
    ranked = sorted(views, key=lambda each: (each.psnr, each.view))
    if len(ranked) <= worst + middle + best:
        return [("", each) for each in ranked]
    between = ranked[worst : len(ranked) - best]
    first = min(max((len(ranked) - middle) // 2 - worst, 0), len(between) - middle)
    parts = {"worst": ranked[:worst], "median": between[first : first + middle], "best": ranked[len(ranked) - best :]}
    return [(kind, each) for kind, part in parts.items() for each in part]


def enlarge(kind: str, view: MeasuredView, capture: Capture, edge: int) -> LargeView:
    """The pictures of a view, at most ``edge`` pixels wide and high."""
    mask, pictures = capture.mask(view.view), torch.stack([capture.image(view.view), view.ours.float() / 255])
    shown = capture.cameras.select([view.view, view.view]).shown(pictures)
    photo, ours = blackened(shown[0], mask), shown[1]
    difference = flip_picture(blackened(ours, mask), photo)
    return LargeView(kind, view, embedded(photo, edge), embedded(ours, edge), embedded(difference, edge))


@torch.no_grad()
def _measure_one(model: Model, capture: Capture, view: int) -> MeasuredView | None:
    device = model.cameras.sizes.device
    photo, mask = capture.image(view), capture.mask(view)
    if mask is not None and not bool(mask.any()):
        return None
    held_out = view in capture.test
    cameras = exif_cameras(model.cameras, [view]) if held_out else model.cameras.select([view])
    frame = render(model.scene, cameras, replace(model.raster, ghosts=0.0))
    ours = cameras.record(model.shader(frame))[0].to("cpu")
    finite = bool(ours.isfinite().all())
    scores = (
        _finite(score(ours.to(device), photo.to(device), None if mask is None else mask.to(device))) if finite else None
    )
    photo = blackened(photo, mask)
    return MeasuredView(
        view=view,
        name=capture.names[view],
        held_out=held_out,
        scores=scores,
        clipped=_share_clipped(photo, mask),
        bare=_share_bare(frame),
        thumb=embedded(photo, _THUMB, _THUMB_QUALITY),
        ours=(ours.nan_to_num(0.0).clamp(0, 1) * 255).round().byte(),
    )


def _finite(scores: Scores) -> Scores | None:
    """No scores where there is too little to compare."""
    return scores if all(map(math.isfinite, (scores.psnr, scores.ssim, scores.flip))) else None


def _share_clipped(photo: torch.Tensor, mask: torch.Tensor | None) -> float:
    """Of the pixels that may be used, those white in a channel."""
    clipped = (photo >= _CLIPPED).any(dim=0)
    return float(clipped.float().mean() if mask is None else (clipped * mask[0]).sum() / mask.sum())


def _share_bare(frame: Frame) -> float:
    """Of the pixels, those in whose neighbourhood no point was drawn."""
    if frame.hits is None:
        return math.nan
    return float((frame.hits[min(_BARE_LAYER, len(frame.hits) - 1)] == 0).float().mean())


def _spread(views: Sequence[int]) -> list[int]:
    """The same views, every beginning of which is spread evenly: in the order of their places' bits read backwards."""
    bits = max(1, (len(views) - 1).bit_length())
    return [views[place] for place in sorted(range(len(views)), key=lambda place: f"{place:0{bits}b}"[::-1])]
