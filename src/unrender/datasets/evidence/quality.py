"""Photos that are blurred or badly exposed, against what is usual in their capture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from unrender.datasets.evidence.looks import Look

__all__ = ["Quality", "photo_quality"]

_BLURRED = -1.0
"""Stops of sharpness below the usual from which a photo counts as blurred, if it is also far outside the spread."""
_FAR = 4.0
_PLAIN = 0.25
"""A photo with less than this part of the usual contrast shows a bare wall, of which nobody can say how sharp it is."""
_CLIPPED, _DARK = 0.25, 0.6
"""Share of white, or of black, pixels from which a photo counts as badly exposed."""


@dataclass(frozen=True)
class Quality:
    """``sharpness`` of each view against the median [stops]; ``blurred`` and ``badly_exposed`` views, ascending."""

    sharpness: dict[int, float]
    blurred: tuple[int, ...]
    badly_exposed: tuple[int, ...]


def photo_quality(looks: Mapping[int, Look]) -> Quality:
    """Of the photos that were looked at."""
    if not looks:
        return Quality({}, (), ())
    sharp = torch.tensor([look.sharpness for look in looks.values()])
    contrast = torch.tensor([look.contrast for look in looks.values()])
    relative = sharp - sharp.median()
    spread = 1.4826 * float(relative.abs().median())  # as a standard deviation, but not led astray by outliers
    blurred = (relative < min(_BLURRED, -_FAR * spread)) & (contrast > _PLAIN * contrast.median())
    views = list(looks)
    return Quality(
        sharpness=dict(zip(views, relative.tolist(), strict=True)),
        blurred=tuple(view for view, flag in zip(views, blurred.tolist(), strict=True) if flag),
        badly_exposed=tuple(view for view, look in looks.items() if look.white > _CLIPPED or look.black > _DARK),
    )
