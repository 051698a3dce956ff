"""Points as one view sees them: the PyTorch twin of ``maths.h`` and ``lens.h``.

In float32 it agrees with them to the bit, because it rounds the same operations in the same order: where two terms are
added here, they are added in that order there. Change both. In float64 it says how much that rounding matters.

Letters: N points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch

from unrender.kernels.rasterize_points.views import FIELDS

__all__ = ["Projected", "ghosts", "project"]


@dataclass(frozen=True)
class Projected:
    """``pixels`` [N, 2] (u, v), ``depth`` [N] (z), ``reach`` [N]: radius over sqrt(1 - beta) [pixels]; ``keep`` [N]
    bool: in front of the lens, in its valid region and not facing away (not: inside the image).
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
    parts = dict(zip(FIELDS, view.to(position).split(list(FIELDS.values())), strict=True))
    rows, move = parts["rotation"].reshape(3, 3), parts["translation"]
    point = position.unbind(-1)
    x, y, z = (_dot(row.unbind(), point) + shift for row, shift in zip(rows, move, strict=True))
    inverse = 1 / z
    x, y = x * inverse, y * inverse
    u, v = _distort(parts["distortion"], x, y)
    (fx, fy), (cx, cy) = parts["focal"], parts["center"]
    inside = (z > 0) & (z <= torch.finfo(torch.float32).max) & (x * x + y * y <= parts["valid"])
    return Projected(
        pixels=torch.stack([fx * u + cx, fy * v + cy], dim=-1),
        depth=z,
        reach=_magnification(parts["scale"], parts["distortion"], x, y, inverse) * (radius / _root(1 - threshold)),
        keep=inside & _facing(position, normal, parts["eye"]),
    )


def _dot(a: tuple[torch.Tensor, ...], b: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The scalar product, added from left to right."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _root(x: torch.Tensor) -> torch.Tensor:
    """The square root, rounded correctly; PyTorch's own in float32 may be off by one in the last place."""
    return x.double().sqrt().to(x)


def _facing(position: torch.Tensor, normal: torch.Tensor, eye: torch.Tensor) -> torch.Tensor:
    """Eq. 5; zero normals face everybody."""
    return (_dot(normal.unbind(-1), (position - eye).unbind(-1)) < 0) | (normal == 0).all(-1)


def _distort(coefficients: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Brown's model with k1, k2, p1, p2."""
    k1, k2, p1, p2 = coefficients
    s = x * x + y * y
    radial = 1 + s * (k1 + k2 * s)
    twice_xy = 2 * x * y
    u = x * radial + p1 * twice_xy + p2 * (s + 2 * x * x)
    v = y * radial + p2 * twice_xy + p1 * (s + 2 * y * y)
    return u, v


def _magnification(
    scale: torch.Tensor, coefficients: torch.Tensor, x: torch.Tensor, y: torch.Tensor, inverse: torch.Tensor
) -> torch.Tensor:
    """Largest singular value of d pixel / d point; see ``Perspective.magnification``."""
    (mx, my), (k1, k2, p1, p2) = scale, coefficients
    xx, yy = x * x, y * y
    s = xx + yy
    radial = 1 + s * (k1 + k2 * s)
    slope = 2 * (k1 + 2 * k2 * s)
    u_x = radial + slope * xx + 2 * p1 * y + 6 * p2 * x
    u_y = slope * (x * y) + 2 * p1 * x + 2 * p2 * y
    v_y = radial + slope * yy + 2 * p2 * x + 6 * p1 * y
    a, b, c, d = mx * u_x, mx * u_y, my * u_y, my * v_y
    along_u, along_v = a * x + b * y, c * x + d * y
    uu = a * a + b * b + along_u * along_u
    vv = c * c + d * d + along_v * along_v
    uv = a * c + b * d + along_u * along_v
    half = 0.5 * (uu - vv)
    return _root(0.5 * (uu + vv) + _root(half * half + uv * uv)) * inverse


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
