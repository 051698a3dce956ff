"""Light: the sky outside, the sun, two lamps, and what surfaces pass on to each other.

Irradiance that varies slowly (sky through the window, lamps, light from other surfaces) does not depend on the view,
so it is computed once on a grid over every face ("baked") and looked up. Sun and mirror images are
sharp; they are traced for each pixel. All quantities are linear; radiance 1 is about a sunless white wall.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from unrender.datasets.synthetic.casting import Hits, Shapes
from unrender.datasets.synthetic.furniture import LAMPS
from unrender.datasets.synthetic.room import LENGTH, WINDOW, Room
from unrender.datasets.synthetic.textures import noise
from unrender.datasets.synthetic.workers import side_by_side

__all__ = ["LitRoom", "bake", "outdoors", "sunlight"]

SUN = torch.nn.functional.normalize(torch.tensor([0.42, 0.75, 0.60]), dim=0)
SUN_IRRADIANCE = torch.tensor([46.0, 40.0, 31.0])
SUN_RADIUS = 0.009
"""Radius of the sun in radians, a little hazy: the softness of its shadows."""
LAMP_INTENSITY = torch.tensor([1.9, 1.15, 0.52])
SHADE_RADIUS = 0.24
WINDOW_CELLS, LAMP_SAMPLES, BOUNCE_RAYS, BOUNCES = (6, 3), 3, 20, 5
CHUNK = 1 << 14


@dataclass(frozen=True)
class Atlas:
    """Irradiance on every chart: ``first``, ``columns``, ``rows`` [K] place chart k in ``irradiance`` [T, 3]."""

    first: torch.Tensor
    columns: torch.Tensor
    rows: torch.Tensor
    irradiance: torch.Tensor

    def texel(self, chart: torch.Tensor, column: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """Number of a cell; places beyond the chart's edge count as on it."""
        last_column, last_row = self.columns[chart] - 1, self.rows[chart] - 1
        return (
            self.first[chart]
            + row.clamp(min=0).minimum(last_row) * self.columns[chart]
            + column.clamp(min=0).minimum(last_column)
        )

    def look_up(self, chart: torch.Tensor, st: torch.Tensor) -> torch.Tensor:
        """Irradiance [N, 3] at places ``st`` [N, 2] of charts [N], bilinear."""
        at = st * torch.stack([self.columns[chart], self.rows[chart]], -1) - 0.5
        cell = at.floor()
        (x, y), (column, row) = (at - cell).unbind(-1), cell.long().unbind(-1)
        total = torch.zeros(len(st), 3)
        for i, weight_x in ((0, 1 - x), (1, x)):
            for j, weight_y in ((0, 1 - y), (1, y)):
                total += (weight_x * weight_y)[:, None] * self.irradiance[self.texel(chart, column + i, row + j)]
        return total


@dataclass(frozen=True)
class LitRoom:
    """A room and the light on its surfaces.

    ``falloff``: stops by which the wall across from the window is darker against the window's wall than baked light
    and reflections make it, evenly along y: from a sunlit end into a cellar. Surfaces keep the contrast of their
    patterns, so that a photo of one place is well exposed at some exposure.
    """

    room: Room
    atlas: Atlas
    falloff: float = 0.0

    def brightness(self, y: torch.Tensor) -> torch.Tensor:
        """What the light at ``y`` [N] is multiplied by."""
        return torch.exp2(self.falloff * (y.clamp(0, LENGTH) / LENGTH - 0.5))


def outdoors(direction: torch.Tensor, blur: torch.Tensor | float = 0.0) -> torch.Tensor:
    """Radiance [N, 3] of sky, clouds, hills and meadow in unit directions [N, 3]; ``blur`` [rad] widens edges."""
    height, azimuth = direction[:, 2], torch.atan2(direction[:, 0], direction[:, 1])
    up = height.clamp(0, 1)[:, None]
    sky = torch.lerp(torch.tensor([6.4, 7.4, 8.6]), torch.tensor([1.3, 2.9, 6.4]), (up * 1.5).clamp(max=1).sqrt())
    plane = direction[:, :2] / (height.clamp(min=0.02)[:, None] + 0.12)
    cloud = noise(plane * 1.3 + 4.0) * 0.6 + noise(plane * 3.1 + 9.0) * 0.3 + noise(plane * 7.0) * 0.1
    sky = torch.lerp(sky, torch.tensor([9.5, 9.3, 9.0]), ((cloud - 0.45) * 4).clamp(0, 0.9)[:, None])
    glow = (direction @ SUN).clamp(min=0)[:, None]
    sky = sky + glow**24 * torch.tensor([5.0, 4.2, 3.0])
    colour = sky
    edge = torch.as_tensor(blur) + 0.004
    ridges = (
        (0.115, 0.035, 2.3, (2.3, 3.0, 3.9)),
        (0.060, 0.030, 4.1, (1.1, 1.7, 1.75)),
        (0.012, 0.018, 7.9, (0.55, 0.95, 0.45)),
    )
    for base, size, rate, tint in ridges:
        rough = noise(torch.stack([azimuth * rate * 9, torch.full_like(azimuth, rate)], -1)) - 0.5
        top = base + size * torch.sin(azimuth * rate + rate) + 0.35 * size * rough
        inside = ((top - height) / edge + 0.5).clamp(0, 1)[:, None]
        shade = 1 + 0.5 * (noise(torch.stack([azimuth * 30, height * 60 + rate], -1)) - 0.5)
        colour = torch.lerp(colour, torch.tensor(tint) * shade[:, None], inside)
    ground = direction[:, :2] / (-height).clamp(min=0.03)[:, None]
    meadow = torch.tensor([0.75, 1.05, 0.35]) * (0.8 + 0.5 * noise(ground * 0.8 + 3))[:, None]
    return torch.lerp(colour, meadow, ((-0.02 - height) / edge + 0.5).clamp(0, 1)[:, None])


def sunlight(shapes: Shapes, points: torch.Tensor, normals: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
    """Irradiance [N, 3] by the sun; ``phase`` [N] in 0..3 picks a quarter of its disk: four samples soften an edge.

    A ray that misses the window's opening is not traced.
    """
    turn = phase * (math.pi / 2) + 0.6
    across = torch.nn.functional.normalize(torch.stack([SUN[1], -SUN[0], SUN.new_zeros(())]), dim=0)
    upward = torch.linalg.cross(across, SUN)
    offset = torch.cos(turn)[:, None] * across + torch.sin(turn)[:, None] * upward
    direction = torch.nn.functional.normalize(SUN + 0.7 * SUN_RADIUS * offset, dim=-1)
    cosine = (normals * direction).sum(-1)
    through = points + direction * ((LENGTH - points[:, 1]) / direction[:, 1])[:, None]
    left, right, low, high = WINDOW
    open_ = (through[:, 0] > left) & (through[:, 0] < right) & (through[:, 2] > low) & (through[:, 2] < high)
    rays = ((open_ | (points[:, 1] > LENGTH)) & (cosine > 0)).nonzero()[:, 0]
    free = shapes.cast(points[rays] + 1e-3 * normals[rays], direction[rays]).shape < 0
    light = torch.zeros(len(points), 3)
    light[rays] = (free * cosine[rays])[:, None] * SUN_IRRADIANCE
    return light


def bake(room: Room, texel: float = 0.07) -> LitRoom:
    """Light a room: direct light on every cell of about ``texel`` scene units, then five rounds of exchange.

    Instead of random rays, the cells of every 4 x 4 block share out one even set, and ``smoothed`` joins them.
    """
    atlas, chart, column, row = lay_out(room.shapes, texel)
    st = torch.stack([(column + 0.5) / atlas.columns[chart], (row + 0.5) / atlas.rows[chart]], -1)
    points, normals, shape = room.shapes.chart_points(chart, st)
    uv = st * room.shapes.sizes[chart] + room.shapes.texture_origin[shape]
    colour = room.palette.reflectance(room.shapes.material[shape], uv, torch.full((len(uv),), texel))
    starts, turn = points + 2e-3 * normals, (column % 4) * 4 + row % 4

    def lit_by(part: torch.Tensor) -> tuple[torch.Tensor, ...]:
        here = (room.shapes, starts[part], normals[part])
        steady = window_light(*here, turn[part]) + lamp_light(*here, turn[part])
        return steady, sunlight(*here, turn[part] % 4), *gather_cells(*here, turn[part], atlas)

    results = side_by_side(lit_by, torch.arange(len(points)).split(CHUNK))
    steady, sunny, seen, free = (torch.cat(parts) for parts in zip(*results, strict=True))
    passed = exchange(steady + sunny, colour, seen)
    light = smoothed(atlas, chart, torch.stack([column, row], 1), steady + passed, free.float())
    return LitRoom(room, replace(atlas, irradiance=light))


def even(turn: torch.Tensor, number: int) -> torch.Tensor:
    """Two numbers in 0..1 for each entry of ``turn`` [N], [2, N]: Roberts' even sequence R2, shifted by ``number``."""
    steps = torch.tensor([[0.7548777], [0.5698403]])
    return (steps * (turn + 16 * number) + 0.5) % 1


def exchange(direct: torch.Tensor, colour: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Irradiance [T, 3] from other surfaces; ``seen`` [T, R]: cells met by cosine-distributed rays, -1 for none."""
    passed = torch.zeros_like(direct)
    for _ in range(BOUNCES):
        leaving = torch.cat([colour * (direct + passed), torch.zeros(1, 3)])
        passed = torch.stack([leaving[:, channel][seen].mean(1) for channel in range(3)], 1)
    return passed


def lay_out(shapes: Shapes, texel: float) -> tuple[Atlas, torch.Tensor, torch.Tensor, torch.Tensor]:
    """An empty atlas, and chart, column and row [T] of each of its cells; small charts get finer cells."""
    extent = shapes.sizes
    fine = (extent.amax(1, keepdim=True) / 10).clamp(0.7 * texel, texel)
    cells = (extent / fine).round().long().clamp(min=2)
    columns, rows = cells.unbind(1)
    counts = columns * rows
    first = counts.cumsum(0) - counts
    chart = torch.repeat_interleave(torch.arange(len(counts)), counts)
    within = torch.arange(int(counts.sum())) - first[chart]
    return (
        Atlas(first, columns, rows, torch.zeros(len(chart), 3)),
        chart,
        within % columns[chart],
        within // columns[chart],
    )


def smoothed(
    atlas: Atlas, chart: torch.Tensor, cells: torch.Tensor, light: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """Each cell's weighted mean with its neighbours on the chart (1 2 1, twice): takes the noise of few rays away.

    Cells inside another solid have no ``weight`` [T]; they take their neighbours' light, so that no dark seam shows.
    """
    total = torch.cat([light * weight[:, None], weight[:, None]], 1)
    for _ in range(2):
        for axis in (0, 1):
            step = torch.zeros(2, dtype=torch.int64)
            step[axis] = 1
            before, after = (atlas.texel(chart, *(cells + sign * step).unbind(1)) for sign in (-1, 1))
            total = 0.5 * total + 0.25 * (total[before] + total[after])
    return torch.where(total[:, 3:] > 0, total[:, :3] / total[:, 3:].clamp(min=1e-6), light)


def window_light(shapes: Shapes, starts: torch.Tensor, normals: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """Irradiance [N, 3] from outdoors, by one ray to each cell of the opening."""
    left, right, low, high = WINDOW
    columns, rows = WINDOW_CELLS
    area = (right - left) * (high - low) / (columns * rows)
    total = torch.zeros_like(starts)
    for i in range(columns):
        for j in range(rows):
            jitter = even(turn, 0)
            x = left + (right - left) * (i + jitter[0]) / columns
            z = low + (high - low) * (j + jitter[1]) / rows
            away = torch.stack([x, torch.full_like(x, LENGTH), z], -1) - starts
            squared = away.square().sum(-1)
            direction = away / squared.sqrt()[:, None]
            share = (
                (normals * direction).sum(-1).clamp(min=0)
                * direction[:, 1].clamp(min=0)
                * area
                / squared.clamp(min=area)
            )
            rays = (share > 1e-5).nonzero()[:, 0]
            free = shapes.cast(starts[rays], direction[rays]).shape < 0
            total[rays] += (free * share[rays])[:, None] * outdoors(direction[rays])
    return total


def lamp_light(shapes: Shapes, starts: torch.Tensor, normals: torch.Tensor, turn: torch.Tensor) -> torch.Tensor:
    """Irradiance [N, 3] from the lamps: open shades let more light up and down than sideways."""
    total = torch.zeros_like(starts)
    for lamp in LAMPS:
        for i in range(LAMP_SAMPLES):
            away = (
                torch.tensor(lamp) + 0.05 * (2 * torch.stack([*even(turn, i), even(turn, i + 1)[0]], -1) - 1) - starts
            )
            distance = away.norm(dim=-1)
            direction = away / distance[:, None]
            open_ = ((direction[:, 2].abs() - 0.52) / 0.14 + 0.5).clamp(0, 1)
            share = (
                (normals * direction).sum(-1).clamp(min=0)
                * (0.4 + open_)
                / distance.square().clamp(min=0.02)
                / LAMP_SAMPLES
            )
            rays = (share > 1e-4).nonzero()[:, 0]
            limit = (distance[rays] - SHADE_RADIUS).clamp(min=1e-3)
            free = shapes.cast(starts[rays], direction[rays], limit).shape < 0
            total[rays] += (free * share[rays])[:, None] * LAMP_INTENSITY
    return total


def gather_cells(
    shapes: Shapes, starts: torch.Tensor, normals: torch.Tensor, turn: torch.Tensor, atlas: Atlas
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cells [N, R] that cosine-distributed rays from each start meet first, -1 where a ray leaves the room.

    And which starts [N] are free: a start inside a solid meets most faces from within.
    """
    across = torch.nn.functional.normalize(
        torch.linalg.cross(normals, normals.roll(1, -1) + torch.tensor([0.31, 0.17, 0.05])), dim=-1
    )
    along = torch.linalg.cross(normals, across)
    seen, within = [], torch.zeros(len(starts))
    for i in range(BOUNCE_RAYS):
        jitter = even(turn, 0)
        squared, angle = (i + jitter[0]) / BOUNCE_RAYS, 2 * math.pi * (i * 0.618034 + jitter[1])
        radius = squared.sqrt()
        flat = torch.cos(angle)[:, None] * across + torch.sin(angle)[:, None] * along
        direction = radius[:, None] * flat + (1 - squared).sqrt()[:, None] * normals
        cells, inner = cells_met(shapes, starts, direction, atlas)
        seen.append(cells)
        within += inner
    return torch.stack(seen, 1), within < 0.5 * BOUNCE_RAYS


def cells_met(
    shapes: Shapes, starts: torch.Tensor, direction: torch.Tensor, atlas: Atlas
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cell [N] that each ray meets first, or -1, and whether the ray met a solid's face from within, [N]."""
    hits = shapes.cast(starts, direction)
    rays = (hits.shape >= 0).nonzero()[:, 0]
    surface = shapes.surface(starts[rays], direction[rays], Hits(hits.distance[rays], hits.shape[rays]))
    cell = (surface.st * torch.stack([atlas.columns[surface.chart], atlas.rows[surface.chart]], -1)).long()
    seen = torch.full((len(starts),), -1, dtype=torch.int64)
    seen[rays] = atlas.texel(surface.chart, *cell.unbind(1))
    inner = torch.zeros(len(starts), dtype=torch.bool)
    inner[rays] = surface.inside
    return seen, inner
