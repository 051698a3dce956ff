"""Rigid transforms as matrices [..., 4, 4] that act on column vectors, named ``a_from_b``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import normalize

from unrender.geometry.rotations import exp_series, exp_so3, skew

__all__ = ["exp_se3", "inverse", "look_at", "rigid", "transform"]


def rigid(rotation: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
    """Rotation [..., 3, 3] and translation [..., 3] -> [..., 4, 4]."""
    top = torch.cat([rotation, translation[..., None]], dim=-1)
    bottom = torch.tensor([0, 0, 0, 1], dtype=top.dtype, device=top.device).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], dim=-2)


def inverse(a_from_b: torch.Tensor) -> torch.Tensor:
    """[..., 4, 4] rigid -> b_from_a, without solving anything."""
    back = a_from_b[..., :3, :3].transpose(-1, -2)
    return rigid(back, -(back @ a_from_b[..., :3, 3:])[..., 0])


def transform(a_from_b: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Points [..., N, 3] in b -> the same points in a."""
    return points @ a_from_b[..., :3, :3].transpose(-1, -2) + a_from_b[..., None, :3, 3]


def exp_se3(increment: torch.Tensor) -> torch.Tensor:
    """Pose increment [..., 6] = (translation, rotation vector [rad]) -> rigid [..., 4, 4].

    The exponential map of se(3) (Eq. 13); ``camera_from_world <- exp_se3(xi) @ camera_from_world`` refines a pose.
    """
    translation, vector = increment.split(3, dim=-1)
    _, second, third = exp_series((vector * vector).sum(-1))
    cross = skew(vector)
    identity = torch.eye(3, dtype=increment.dtype, device=increment.device)
    left = identity + second[..., None, None] * cross + third[..., None, None] * (cross @ cross)
    return rigid(exp_so3(vector), (left @ translation[..., None])[..., 0])


def look_at(
    eye: torch.Tensor | Sequence[float], target: torch.Tensor | Sequence[float], up: torch.Tensor | Sequence[float]
) -> torch.Tensor:
    """camera_from_world [..., 4, 4] float64 of a camera at ``eye`` [..., 3] that looks at ``target``, ``up`` upwards.

    Camera axes are x right, y down, z forward. Where ``up`` is parallel to the view, the world axis that is most
    across the view takes its place.
    """
    vectors = [torch.as_tensor(vector, dtype=torch.float64) for vector in (eye, target, up)]
    center, aim, upward = torch.broadcast_tensors(*vectors)
    forward = normalize(aim - center, dim=-1)
    across = torch.nn.functional.one_hot(forward.abs().argmin(-1), 3).to(forward.dtype)
    parallel = torch.linalg.cross(forward, normalize(upward, dim=-1)).norm(dim=-1, keepdim=True) < 1e-6
    right = normalize(torch.linalg.cross(forward, torch.where(parallel, across, upward)), dim=-1)
    rotation = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=-2)
    return rigid(rotation, -(rotation @ center[..., None])[..., 0])
