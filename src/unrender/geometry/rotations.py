"""Rotations in space: matrices, unit quaternions (w x y z, Hamilton) and rotation vectors, and the ways between them.

All functions are batched over leading axes, keep the dtype of their argument and have finite derivatives everywhere.
"""

from __future__ import annotations

import math

import torch

__all__ = ["exp_so3", "log_so3", "quat_wxyz_from_rotation", "rotation_from_quat_wxyz", "skew"]


def skew(vector: torch.Tensor) -> torch.Tensor:
    """[..., 3] -> [..., 3, 3], the matrix whose product with b is vector x b."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def exp_so3(vector: torch.Tensor) -> torch.Tensor:
    """Rotation vector [..., 3] (axis times angle, radians) -> rotation [..., 3, 3] (Rodrigues)."""
    first, second, _ = exp_series((vector * vector).sum(-1))
    cross = skew(vector)
    identity = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return identity + first[..., None, None] * cross + second[..., None, None] * (cross @ cross)


def log_so3(rotation: torch.Tensor) -> torch.Tensor:
    """Rotation [..., 3, 3] -> rotation vector [..., 3] of length at most pi. At pi either sign may come out."""
    quaternion = quat_wxyz_from_rotation(rotation)
    w, axis = quaternion[..., :1], quaternion[..., 1:]
    squared = (axis * axis).sum(-1, keepdim=True)
    small = squared < 1e-6
    sine = torch.where(small, 1, squared).sqrt()
    ratio = squared / torch.where(small, w * w, 1)
    series = (2 - ratio * (2 / 3 - ratio * 2 / 5)) / torch.where(small, w, 1)
    return axis * torch.where(small, series, 2 * torch.atan2(sine, w) / sine)


def rotation_from_quat_wxyz(quaternion: torch.Tensor) -> torch.Tensor:
    """Quaternion [..., 4] (w x y z, of any length but 0) -> rotation [..., 3, 3]."""
    w, axis = (quaternion / quaternion.norm(dim=-1, keepdim=True)).split((1, 3), dim=-1)
    cross = skew(axis)
    identity = torch.eye(3, dtype=quaternion.dtype, device=quaternion.device)
    return identity + 2 * (w[..., None] * cross + cross @ cross)


def quat_wxyz_from_rotation(rotation: torch.Tensor) -> torch.Tensor:
    """Rotation [..., 3, 3] -> unit quaternion [..., 4] (w x y z) with w >= 0.

    The matrix 4 q q^T is linear in the rotation; its row with the largest diagonal entry is the best conditioned
    multiple of q.
    """
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in rotation.unbind(-2))
    products = torch.stack(
        [
            torch.stack([1 + a + e + i, h - f, c - g, d - b], dim=-1),
            torch.stack([h - f, 1 + a - e - i, b + d, c + g], dim=-1),
            torch.stack([c - g, b + d, 1 - a + e - i, f + h], dim=-1),
            torch.stack([d - b, c + g, f + h, 1 - a - e + i], dim=-1),
        ],
        dim=-2,
    )
    best = products.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = products.take_along_dim(best[..., None, None], dim=-2)[..., 0, :]
    unit = row / row.norm(dim=-1, keepdim=True)
    return torch.where(unit[..., :1] < 0, -unit, unit)


def exp_series(squared: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """sin(t) / t, (1 - cos t) / t^2 and (t - sin t) / t^3 for ``squared`` = t^2 [...], exact and smooth at 0.

    Below 1 rad the power series is used: the closed forms lose digits there, and their derivatives are 0 / 0 at 0.
    """
    small = squared < 1
    near, far = torch.where(small, squared, 0), torch.where(small, 1, squared)
    angle = far.sqrt()
    closed = (angle.sin() / angle, (1 - angle.cos()) / far, (angle - angle.sin()) / (far * angle))
    first, second, third = (torch.where(small, _alternating(near, n), c) for n, c in enumerate(closed, start=1))
    return first, second, third


def _alternating(squared: torch.Tensor, start: int) -> torch.Tensor:
    """Sum over n of (-squared)^n / (2 n + start)!, by Horner; ten terms reach 1e-20 for arguments below 1."""
    total = torch.zeros_like(squared)
    for n in reversed(range(10)):
        total = 1 / math.factorial(2 * n + start) - squared * total
    return total
