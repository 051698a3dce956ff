"""Casting rays at many shapes: packed in arrays, in groups with a bounding box each.

Only rays that meet a group's box look at its members, all members of one kind at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unrender.datasets.synthetic.intersect import MEET, face_of, local_of
from unrender.datasets.synthetic.shapes import BOX, FLAT, Shape, bounds, chart_sizes

__all__ = ["Hits", "Shapes", "Surface", "pack"]

PART = 10
"""Most shapes of a group that are looked at together."""


@dataclass(frozen=True)
class Hits:
    """``distance`` [N] along each direction in units of its length, +inf: nothing met; ``shape`` [N], -1 there."""

    distance: torch.Tensor
    shape: torch.Tensor


@dataclass(frozen=True)
class Surface:
    """Where rays met shapes, for N hits.

    ``point`` [N, 3]; ``normal`` [N, 3] unit, towards the ray's start; ``chart`` [N]: which face of which shape;
    ``st`` [N, 2] in 0..1 over that chart; ``uv`` [N, 2]: the same in scene units; ``material`` [N];
    ``inside`` [N]: the ray came from within a box or a round.
    """

    point: torch.Tensor
    normal: torch.Tensor
    chart: torch.Tensor
    st: torch.Tensor
    uv: torch.Tensor
    material: torch.Tensor
    inside: torch.Tensor


@dataclass(frozen=True)
class Members:
    """M shapes of one kind. ``rows`` [3M, 3], ``offsets`` [3M, 1]: world to local, all x first, then all y, all z."""

    kind: int
    numbers: torch.Tensor
    rows: torch.Tensor
    offsets: torch.Tensor
    profiles: torch.Tensor


@dataclass(frozen=True)
class Group:
    """A bounding box, corners [3, 1], around smaller groups or, in the smallest, around shapes sorted by kind."""

    low: torch.Tensor
    high: torch.Tensor
    parts: tuple[Group, ...]
    members: tuple[Members, ...]


@dataclass(frozen=True)
class Shapes:
    """S packed shapes, float32. ``axes``, ``inverse`` [S, 3, 3]; ``sizes`` [K, 2]: extent of each chart in scene units.

    A box has six charts (faces -x, +x, -y, ...), a flat and a round have one, or two: front or outside, back or inside.
    """

    center: torch.Tensor
    axes: torch.Tensor
    inverse: torch.Tensor
    kind: torch.Tensor
    profile: torch.Tensor
    material: torch.Tensor
    texture_origin: torch.Tensor
    sides: torch.Tensor
    first_chart: torch.Tensor
    sizes: torch.Tensor
    groups: tuple[Group, ...]

    def cast(self, origins: torch.Tensor, directions: torch.Tensor, limit: torch.Tensor | None = None) -> Hits:
        """The nearest shape that rays from ``origins`` [N, 3] along ``directions`` [N, 3] meet before ``limit`` [N]."""
        start, along = origins.T.contiguous(), directions.T.contiguous()
        inverse = 1 / torch.where(along.abs() < 1e-9, 1e-9, along)
        shift = -start * inverse
        nearest = torch.full((len(origins),), math.inf) if limit is None else limit.clone()
        shape = torch.full((len(origins),), -1, dtype=torch.int64)
        for group in self.groups:
            rays = rays_through(group, shift, inverse, nearest)
            for part in group.parts or (group,):
                chosen = (
                    rays if part is group else rays[rays_through(part, shift[:, rays], inverse[:, rays], nearest[rays])]
                )
                if len(chosen):
                    meet_members(part.members, chosen, start[:, chosen], along[:, chosen], nearest, shape)
        return Hits(torch.where(shape < 0, math.inf, nearest), shape)

    def surface(self, origins: torch.Tensor, directions: torch.Tensor, hits: Hits) -> Surface:
        """What the rays met; every ray must have a hit."""
        shape = hits.shape
        point = origins + hits.distance[:, None] * directions
        local = apply(self.inverse[shape], point - self.center[shape])
        kind, profile = self.kind[shape], self.profile[shape]
        face, st, local_normal = face_of(kind, local, profile)
        normal = torch.nn.functional.normalize(apply(self.inverse[shape].transpose(1, 2), local_normal), dim=-1)
        behind = (normal * directions).sum(-1) > 0
        normal = torch.where(behind[:, None], -normal, normal)
        chart = self.first_chart[shape] + torch.where(kind == BOX, face, behind & (self.sides[shape] == 2))
        uv = st * self.sizes[chart] + self.texture_origin[shape]
        return Surface(point, normal, chart, st, uv, self.material[shape], behind & (kind != FLAT))

    def chart_points(self, chart: torch.Tensor, st: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Points [N, 3], outward normals [N, 3] and shape numbers [N] at places ``st`` [N, 2] of charts [N]."""
        shape = torch.searchsorted(self.first_chart, chart, right=True) - 1
        face = chart - self.first_chart[shape]
        kind, profile = self.kind[shape], self.profile[shape]
        local = local_of(kind, face, st, profile)
        _, _, local_normal = face_of(kind, local, profile)
        normal = torch.nn.functional.normalize(apply(self.inverse[shape].transpose(1, 2), local_normal), dim=-1)
        back = (kind != BOX) & (face == 1)
        return self.center[shape] + apply(self.axes[shape], local), torch.where(back[:, None], -normal, normal), shape


def apply(matrices: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    """Matrices [N, 3, 3] times vectors [N, 3]."""
    return (matrices * vectors[:, None, :]).sum(-1)


def rays_through(group: Group, shift: torch.Tensor, inverse: torch.Tensor, nearest: torch.Tensor) -> torch.Tensor:
    """Numbers of the rays (-start / direction, 1 / direction: [3, N]) that meet the box before ``nearest`` [N]."""
    one, other = torch.addcmul(shift, group.low, inverse), torch.addcmul(shift, group.high, inverse)
    enter = torch.minimum(one, other).amax(0)
    leave = torch.maximum(one, other).amin(0)
    return ((leave >= enter.clamp(min=0)) & (enter < nearest)).nonzero()[:, 0]


def meet_members(
    members: Sequence[Members],
    rays: torch.Tensor,
    start: torch.Tensor,
    along: torch.Tensor,
    nearest: torch.Tensor,
    shape: torch.Tensor,
) -> None:
    """Notes in ``nearest`` and ``shape`` [N] which ``rays`` [R] (``start``, ``along`` [3, R]) meet a member first."""
    for some in members:
        origin = (some.rows @ start - some.offsets).view(3, len(some.numbers), -1)
        direction = (some.rows @ along).view(3, len(some.numbers), -1)
        distance, member = MEET[some.kind](origin, direction, some.profiles).min(0)
        closer = (distance < nearest[rays]).nonzero()[:, 0]
        nearest[rays[closer]] = distance[closer]
        shape[rays[closer]] = some.numbers[member[closer]]


def pack(pieces: Sequence[Sequence[Shape]]) -> Shapes:
    """Lists of neighbouring shapes -> arrays, one group per list."""
    flat = [shape for piece in pieces for shape in piece]
    inverses = torch.linalg.inv(torch.stack([shape.axes for shape in flat]))
    sizes = [chart_sizes(shape) for shape in flat]
    counts = torch.tensor([len(charts) for charts in sizes])
    groups, first = [], 0
    for piece in pieces:
        groups.append(pack_group(piece, first, inverses))
        first += len(piece)
    return Shapes(
        center=torch.stack([shape.center for shape in flat]).float(),
        axes=torch.stack([shape.axes for shape in flat]).float(),
        inverse=inverses.float(),
        kind=torch.tensor([shape.kind for shape in flat]),
        profile=torch.tensor([shape.profile for shape in flat], dtype=torch.float32),
        material=torch.tensor([shape.material for shape in flat]),
        texture_origin=torch.tensor([shape.texture_origin for shape in flat], dtype=torch.float32),
        sides=torch.tensor([shape.sides for shape in flat]),
        first_chart=counts.cumsum(0) - counts,
        sizes=torch.tensor([size for charts in sizes for size in charts], dtype=torch.float32),
        groups=tuple(groups),
    )


def pack_group(piece: Sequence[Shape], first: int, inverses: torch.Tensor) -> Group:
    """One group; ``first`` is the number of its first shape. Large ones are cut into parts."""
    corners = [bounds(shape) for shape in piece]
    low = torch.stack([low for low, _ in corners]).amin(0)
    high = torch.stack([high for _, high in corners]).amax(0)
    parts: tuple[Group, ...] = ()
    members: tuple[Members, ...] = ()
    if len(piece) > PART:
        parts = tuple(pack_group(piece[i : i + PART], first + i, inverses) for i in range(0, len(piece), PART))
    else:
        members = tuple(pack_members(piece, kind, first, inverses) for kind in sorted({shape.kind for shape in piece}))
    return Group(low.float()[:, None], high.float()[:, None], parts, members)


def pack_members(piece: Sequence[Shape], kind: int, first: int, inverses: torch.Tensor) -> Members:
    """The shapes of one kind of a small group."""
    chosen = [i for i, shape in enumerate(piece) if shape.kind == kind]
    numbers = torch.tensor([first + i for i in chosen])
    rows = inverses[numbers]
    offsets = (rows @ torch.stack([piece[i].center for i in chosen])[..., None])[..., 0]
    return Members(
        kind=kind,
        numbers=numbers,
        rows=rows.transpose(0, 1).reshape(-1, 3).float().contiguous(),
        offsets=offsets.T.reshape(-1, 1).float(),
        profiles=torch.tensor([piece[i].profile for i in chosen], dtype=torch.float32),
    )
