"""The fourth channel: how opaque a pixel is, beside its colours [H, W, 3 or 4]."""

from __future__ import annotations

import numpy as np

__all__ = ["divided", "with_opacity"]

_ROWS = 256
"""Rows that are divided at a time: a large photo is not to be there twice."""


def with_opacity(colour: np.ndarray, opacity: np.ndarray | None, mode: str) -> np.ndarray:
    """``colour`` [H, W, 3] for mode "RGB"; for "RGBA" [H, W, 4] with ``opacity`` [H, W], of the same type, full where
    that is None.
    """
    if mode != "RGBA":
        return colour
    if opacity is None:
        opacity = np.full(colour.shape[:2], _most(colour), dtype=colour.dtype)
    return np.concatenate([colour, opacity[..., None]], axis=2)


def divided(pixels: np.ndarray) -> np.ndarray:
    """Colours [H, W, 4] as they were before they were multiplied by opacity, as they are where that is 0; in place."""
    most = _most(pixels)
    for rows in np.array_split(pixels, -(-len(pixels) // _ROWS)):
        opacity = rows[..., 3:].astype(np.float32) / most
        with np.errstate(all="ignore"):  # of infinite light as much is left
            before = rows[..., :3] / np.where(opacity > 0, opacity, 1)
        rows[..., :3] = before if pixels.dtype.kind == "f" else before.round().clip(0, most)
    return pixels


def _most(pixels: np.ndarray) -> float:
    """What full opacity is in this type."""
    return 1.0 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
