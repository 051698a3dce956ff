"""Where a ray meets a shape in the shape's own frame, and what the surface is like there."""

from __future__ import annotations

import math

import torch

from unrender.datasets.synthetic.shapes import BOX, CLEARANCE, FLAT, ROUND

__all__ = ["MEET", "face_of", "local_of"]


def meet_box(origin: torch.Tensor, direction: torch.Tensor, _profile: torch.Tensor) -> torch.Tensor:
    """Ray parameter [M, N] at which local rays [3, M, N] meet the cube from outside or inside; +inf: never."""
    inverse = 1 / torch.where(direction.abs() < 1e-9, 1e-9, direction)
    one, other = (-1 - origin) * inverse, (1 - origin) * inverse
    enter = torch.minimum(one, other).amax(0)
    leave = torch.maximum(one, other).amin(0)
    distance = torch.where(enter > CLEARANCE, enter, leave)
    return distance.masked_fill((leave < enter) | (distance <= CLEARANCE), math.inf)


def meet_flat(origin: torch.Tensor, direction: torch.Tensor, profile: torch.Tensor) -> torch.Tensor:
    """The same for the square or the disk at z = 0."""
    distance = -origin[2] / torch.where(direction[2].abs() < 1e-9, 1e-9, direction[2])
    x, y = origin[0] + distance * direction[0], origin[1] + distance * direction[1]
    inside = torch.where(profile[:, :1] > 0, x * x + y * y <= 1, (x.abs() <= 1) & (y.abs() <= 1))
    return distance.masked_fill(~inside | (distance <= CLEARANCE), math.inf)


def meet_round(origin: torch.Tensor, direction: torch.Tensor, profile: torch.Tensor) -> torch.Tensor:
    """The same for x^2 + y^2 = a + b z + c z^2, z in [-1, 1]."""
    a, b, c = profile[:, 0:1], profile[:, 1:2], profile[:, 2:3]
    (x, y, z), (dx, dy, dz) = origin, direction
    square = dx * dx + dy * dy - c * dz * dz
    half = x * dx + y * dy - (b / 2 + c * z) * dz
    rest = x * x + y * y - a - (b + c * z) * z
    root = (half * half - square * rest).clamp(min=0).sqrt()
    # The stable form of the two roots: no difference of nearly equal numbers.
    q = -(half + torch.where(half < 0, -root, root))
    first = q / torch.where(square.abs() < 1e-12, 1e-12, square)
    second = rest / torch.where(q.abs() < 1e-12, 1e-12, q)
    missed = half * half < square * rest
    roots = torch.stack([first, second])
    bad = missed | (roots <= CLEARANCE) | ((z + roots * dz).abs() > 1)
    return roots.masked_fill(bad, math.inf).amin(0)


MEET = {BOX: meet_box, FLAT: meet_flat, ROUND: meet_round}


def face_of(
    kind: torch.Tensor, local: torch.Tensor, profile: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Face [N], place on it [N, 2] in 0..1 and outward local normal [N, 3] of local points [N, 3] on shapes."""
    axis = local.abs().argmax(-1)
    side = torch.gather(local, 1, axis[:, None])[:, 0] > 0
    first, second = (torch.gather(local, 1, ((axis + k) % 3)[:, None])[:, 0] for k in (1, 2))
    box_normal = torch.nn.functional.one_hot(axis, 3) * torch.where(side, 1.0, -1.0)[:, None]
    x, y, z = local.unbind(-1)
    turn = torch.atan2(y, x) / math.pi
    round_normal = torch.stack([x, y, -(profile[:, 1] / 2 + profile[:, 2] * z)], dim=-1)
    flat_normal = torch.tensor([0.0, 0.0, 1.0]).expand_as(local)
    s = torch.where(kind == BOX, first, torch.where(kind == FLAT, x, turn))
    t = torch.where(kind == BOX, second, torch.where(kind == FLAT, y, z))
    choice = kind[:, None]
    normal = torch.where(choice == BOX, box_normal, torch.where(choice == FLAT, flat_normal, round_normal))
    return 2 * axis + side.long(), (torch.stack([s, t], dim=-1) + 1) / 2, normal


def local_of(kind: torch.Tensor, face: torch.Tensor, st: torch.Tensor, profile: torch.Tensor) -> torch.Tensor:
    """The inverse of ``face_of``: local points [N, 3]. Places outside a disk are drawn to its rim."""
    first, second = (2 * st - 1).unbind(-1)
    axis = face // 2 % 3
    cube = torch.zeros(len(st), 3)
    for offset, value in enumerate((face % 2 * 2.0 - 1, first, second)):
        cube.scatter_(1, ((axis + offset) % 3)[:, None], value[:, None])
    reach = torch.where(profile[:, 0] > 0, (first.square() + second.square()).sqrt().clamp(min=1), 1.0)
    flat = torch.stack([first / reach, second / reach, torch.zeros_like(first)], dim=-1)
    radius = (profile[:, 0] + (profile[:, 1] + profile[:, 2] * second) * second).clamp(min=0).sqrt()
    around = torch.stack([radius * torch.cos(first * math.pi), radius * torch.sin(first * math.pi), second], dim=-1)
    choice = kind[:, None]
    return torch.where(choice == BOX, cube, torch.where(choice == FLAT, flat, around))
