"""Points as one view sees them: the PyTorch twin of ``maths.h``, and with ``lens_maths.py`` of ``lens.h``.

In float32 it agrees with them to the bit, because it rounds the same operations in the same order: where two terms are
added here, they are added in that order there. Change both. In float64 it says how much that rounding matters.

Letters: N points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch

from unrender.kernels.rasterize_points.lens_maths import look
from unrender.kernels.rasterize_points.rounding import exact_root
from unrender.kernels.rasterize_points.views import fields_of

__all__ = ["Projected", "ghosts", "project"]


@dataclass(frozen=True)
class Projected:
    """``pixels`` [N, 2] (u, v), ``depth`` [N] (z, or the distance where the lens's ``depth_is_distance``), ``reach``
    [N]: radius over sqrt(1 - beta) [pixels]; ``keep`` [N] bool: seen by the lens, in its valid region and not facing
    away (not: inside the image).
    """

    pixels: torch.Tensor
    depth: torch.Tensor
    reach: torch.Tensor
    keep: torch.Tensor


def project(
    position: torch.Tensor, normal: torch.Tensor, radius: torch.Tensor, threshold: torch.Tensor, view: torch.Tensor
) -> Projected:
    """Points (``position``, ``normal`` [N, 3], ``radius``, ``threshold`` [N]) in ``view``, a row of ``pack_views``.

    The arithmetic has the dtype of ``position``.
    """
    parts = fields_of(view.to(position))
    rows, move = parts["rotation"].reshape(3, 3), parts["translation"]
    point = position.unbind(-1)
    x, y, z = (_dot(row.unbind(), point) + shift for row, shift in zip(rows, move, strict=True))
    seen = look(parts, x, y, z)
    (fx, fy), (cx, cy) = parts["focal"], parts["center"]
    in_reach = (seen.depth > 0) & (seen.depth <= torch.finfo(torch.float32).max)
    return Projected(
        pixels=torch.stack([fx * seen.u + cx, fy * seen.v + cy], dim=-1),
        depth=seen.depth,
        reach=seen.magnification * (radius / exact_root(1 - threshold)),
        keep=in_reach & seen.inside & _facing(position, normal, parts["eye"]),
    )


def _dot(a: tuple[torch.Tensor, ...], b: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The scalar product, added from left to right."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _facing(position: torch.Tensor, normal: torch.Tensor, eye: torch.Tensor) -> torch.Tensor:
    """Eq. 5; zero normals face everybody."""
    return (_dot(normal.unbind(-1), (position - eye).unbind(-1)) < 0) | (normal == 0).all(-1)


Word = TypeVar("Word", int, torch.Tensor)
_WORD = 0xFFFFFFFF  # PyTorch has no 32-bit unsigned arithmetic: words live in int64


def ghosts(seed: int, view: int, points: torch.Tensor, rate: float) -> torch.Tensor:
    """Whether each of the points numbered ``points`` [K] int64 is left out of ``view`` (ADOP, section IV-C), [K] bool.

    A hash of (seed, view, point) below ``rate``: any part of a view can be asked for, and nothing is kept.
    """
    key = _mix(_mix(seed & _WORD ^ _mix(seed >> 32 & _WORD)) + view & _WORD)
    return _mix(_mix(points) + key & _WORD) < int(rate * 2**32)


def _mix(x: Word) -> Word:
    """A word [0, 2^32) whose bits depend on all bits of ``x``."""
    x = x ^ x >> 16
    x = x * 0x7FEB352D & _WORD
    x = x ^ x >> 15
    x = x * 0x846CA68B & _WORD
    return x ^ x >> 16
