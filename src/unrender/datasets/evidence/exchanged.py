"""Photos that do not show what their pose sees, and whose pose they have instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unrender.datasets.evidence.agreement import Witnesses, consensus, fit_to, sample
from unrender.datasets.reconstruction import Reconstruction

__all__ = ["Misplaced", "misplaced_photos"]

_SUSPECT, _WRONG = 0.4, 0.12
"""Agreement of a view, as part of that of most, below which it is suspected, and below which it is surely wrong."""
_FITS, _MARGIN = 0.3, 0.12
"""A photo fits another pose when it agrees there at least as much, as part of most, and so much more than here."""
_LEAST = 40
"""Places that a view must have been compared at."""
_MOST = 24


@dataclass(frozen=True)
class Misplaced:
    """``pairs`` of views whose photos are exchanged; ``belongs``: (view, view whose photo fits its pose) otherwise;
    ``strange``: views whose photo fits no suspected pose.
    """

    pairs: tuple[tuple[int, int], ...]
    belongs: tuple[tuple[int, int], ...]
    strange: tuple[int, ...]


def misplaced_photos(
    witnesses: Witnesses, found: Reconstruction, by_view: torch.Tensor, counts: torch.Tensor
) -> Misplaced:
    """Look among the views whose agreement ``by_view`` [V], on ``counts`` [V] points, is far below that of most."""
    compared = (counts >= _LEAST) & by_view.isfinite()
    if int(compared.sum()) < 4:
        return Misplaced((), (), ())
    usual = float(by_view[compared].median())
    low = torch.nonzero(compared & (by_view < _SUSPECT * usual))[:, 0].tolist()
    suspects = sorted(low, key=lambda view: float(by_view[view]))[:_MOST]
    best = _best_photos(witnesses, found, suspects, usual)
    pairs = tuple((view, other) for view, other in best.items() if best.get(other) == view and view < other)
    paired = {view for pair in pairs for view in pair}
    belongs = tuple((view, other) for view, other in best.items() if view not in paired)
    strange = tuple(view for view in suspects if view not in best and float(by_view[view]) < _WRONG * usual)
    return Misplaced(pairs, belongs, strange)


def _best_photos(witnesses: Witnesses, found: Reconstruction, suspects: Sequence[int], usual: float) -> dict[int, int]:
    """For each suspected pose the suspected photo that fits it, where one does and it is not its own."""
    if len(suspects) < 2:
        return {}
    trusted = sample(witnesses, found, [view for view in witnesses.views if view not in set(suspects)])
    agreed, found_at = consensus(trusted, len(witnesses.points)), {}
    for view in suspects:
        fits = {photo: fit_to(sample(witnesses, found, [view], {view: photo}), agreed) for photo in suspects}
        best = max(fits, key=lambda photo: fits[photo])
        if best != view and fits[best] > _FITS * usual and fits[best] > fits[view] + _MARGIN:
            found_at[view] = best
    return found_at
