"""Points sorted for the GPU: what ``blocks.cpp`` does on the CPU, in PyTorch. See there, and ``footprint.h``.

Letters: N points of the scene, M of them that are finite, B blocks of ``BLOCK`` points.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["BLOCK", "SortedPoints", "sort_points"]

BLOCK, STEP = 256, 16  # kBlock, kStep
_AXIS_BITS = 21  # of a Morton code: an outlier a thousand extents away leaves more than enough for the rest
_CHUNK = 1 << 13  # blocks measured together: bounds the memory beyond the result
_ZERO, _CONE, _MIXED = range(3)  # Normals


@dataclass(frozen=True)
class SortedPoints:
    """``points`` [7, M] float32: position, normal, reach; ``index`` [M] int32: their places among the ``scene_points``;
    ``blocks`` [B, 29] float32: rows of ``Block``.
    """

    points: torch.Tensor
    index: torch.Tensor
    blocks: torch.Tensor
    scene_points: int


@torch.no_grad()
def sort_points(
    position: torch.Tensor, normal: torch.Tensor, radius: torch.Tensor, threshold: torch.Tensor
) -> SortedPoints:
    """Points along a Morton curve, cut into blocks, and inside of these by falling reach.

    ``position``, ``normal`` [N, 3], ``radius``, ``threshold`` [N] float32. Points that are not finite are left out.
    """
    order = _along_curve(position)
    reach = radius / (1 - threshold).double().sqrt().float()
    order = _by_reach(order, reach)
    columns = (*position.unbind(1), *normal.unbind(1), reach)
    points = torch.stack([column.index_select(0, order) for column in columns])
    made = [_measure(points[:, at : at + _CHUNK * BLOCK]) for at in range(0, len(order), _CHUNK * BLOCK)]
    blocks = torch.cat(made) if made else points.new_zeros(0, 29)
    return SortedPoints(points, order.int(), blocks, len(position))


def _along_curve(position: torch.Tensor) -> torch.Tensor:
    """Numbers [M] of the finite points in the order of their Morton codes."""
    finite = torch.nonzero(torch.isfinite(position).all(1))[:, 0]
    if not len(finite):
        return finite
    kept = position if len(finite) == len(position) else position.index_select(0, finite)
    low, high = kept.amin(0).double(), kept.amax(0).double()
    scale = (2**_AXIS_BITS - 1) / (high - low).max().clamp(min=1e-300)  # one for all axes: cells are cubes
    code = torch.zeros_like(finite)
    for axis in range(3):
        code |= _every_third_bit(((kept[:, axis].double() - low[axis]) * scale).long()) << axis
    return finite[torch.sort(code, stable=True).indices]


def _every_third_bit(x: torch.Tensor) -> torch.Tensor:
    for shift, mask in (
        (32, 0x001F00000000FFFF),
        (16, 0x001F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        x = (x | x << shift) & mask
    return x


def _by_reach(order: torch.Tensor, reach: torch.Tensor) -> torch.Tensor:
    """The same numbers [M] with each block's by falling reach; what is no number comes last."""
    far = reach.index_select(0, order)
    rank = torch.where(far.isnan(), -torch.inf, far)
    whole = len(order) // BLOCK * BLOCK
    inside = rank[:whole].view(-1, BLOCK).sort(dim=1, descending=True, stable=True).indices
    rest = rank[whole:].sort(descending=True, stable=True).indices
    return torch.cat([order[:whole].view(-1, BLOCK).gather(1, inside).flatten(), order[whole:][rest]])


def _measure(points: torch.Tensor) -> torch.Tensor:
    """Rows [B, 29] of ``Block`` for sorted ``points`` [7, M]."""
    missing = -points.shape[1] % BLOCK
    reach = torch.nn.functional.pad(points[6], (0, missing)).view(-1, BLOCK)[:, ::STEP]
    filled = torch.cat([points[:6], points[:6, -1:].expand(-1, missing)], dim=1)  # once more the last: no other box
    position, normal = filled.double().view(2, 3, -1, BLOCK)
    low, high = position.amin(2), position.amax(2)
    center = (0.5 * (low + high)).float()
    # From the rounded centre, and rounded up.
    half = torch.maximum(high - center, center - low).float()
    half = torch.nextafter(half, torch.full_like(half, torch.inf))
    radius = (half.double().square().sum(0).sqrt() * (1 + 1e-6)).float()
    axis, spread, normals = _cone(normal)
    return torch.cat([center, half, radius[None], axis, spread, normals.view(torch.float32), reach.T]).T.contiguous()


def _cone(normal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Axis [3, B], cosine and sine of the angle [2, B], and kind [1, B] int32 of the normals [3, B, BLOCK]."""
    length = normal.square().sum(0).sqrt()
    # So that no product under- or overflows; false for NaN.
    usable = ((length > 1e-12) & (length < 1e12)).all(1)
    total = torch.where(length > 0, normal / length, 0.0).sum(2)
    norm = total.square().sum(0).sqrt()
    axis = (total / norm).float()
    least = ((normal * axis[:, :, None].double()).sum(0) / length).amin(1) - 1e-6  # the axis is rounded
    cone = usable & (norm > 0) & (least > 0)
    kind = torch.where(cone, _CONE, torch.where((normal == 0).all(2).all(0), _ZERO, _MIXED))
    spread = torch.stack([least, (1 - least.square()).clamp(min=0).sqrt()])
    return torch.where(cone, axis, 0.0), torch.where(cone, spread, 0.0).float(), kind.int()[None]
