"""Procedural patterns: what colour a surface has at a place, blurred to the size of the pixel that looks at it.

Every pattern takes ``uv`` [N, 2] and ``blur`` [N] (the pixel's extent on the surface), both in scene units, and two
colours [N, 3]; it returns the share of light that is reflected, linear, [N, 3]. Edges are as wide as ``blur``
and noise finer than it is left out, so that small pictures do not shimmer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch

__all__ = ["PATTERNS", "noise", "pattern_names"]

Pattern = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@lru_cache(maxsize=1)
def lattice() -> torch.Tensor:
    """Random numbers in 0..1 on a 64 x 64 lattice, the source of all noise here."""
    return torch.rand(64 * 64, generator=torch.Generator().manual_seed(20))


def scatter(cells: torch.Tensor, channel: int = 0) -> torch.Tensor:
    """A number in 0..1 for each integer cell [N, 2] (or [N])."""
    i, j = cells.long().unbind(-1) if cells.ndim == 2 else (cells.long(), cells.new_zeros((), dtype=torch.int64))
    return lattice()[((i * 37 + j * 1009 + channel * 331 + (i // 64) * 811) % 4096)]


def noise(uv: torch.Tensor) -> torch.Tensor:
    """Smooth random numbers in 0..1 with features of size 1, at places [N, 2] -> [N]."""
    cell = uv.floor()
    x, y = smooth(uv - cell).unbind(-1)
    i, j = cell.long().unbind(-1)
    table = lattice()
    row, below = (j & 63) * 64, ((j + 1) & 63) * 64
    left, right = i & 63, (i + 1) & 63
    top = torch.lerp(table[row + left], table[row + right], x)
    return torch.lerp(top, torch.lerp(table[below + left], table[below + right], x), y)


def smooth(x: torch.Tensor) -> torch.Tensor:
    """Cubic ease from 0 to 1."""
    return x * x * (3 - 2 * x)


def rise(x: torch.Tensor, width: torch.Tensor | float) -> torch.Tensor:
    """0 below, 1 above x = 0, the edge as wide as ``width``."""
    return smooth((x / width + 0.5).clamp(0, 1))


def fade(feature: float, blur: torch.Tensor) -> torch.Tensor:
    """1 where features of this size are resolved, 0 where the pixel swallows them."""
    return (2 - 3 * blur / feature).clamp(0, 1)


def wave(x: torch.Tensor, period: float, share: float, blur: torch.Tensor) -> torch.Tensor:
    """1 on ``share`` of each period and 0 elsewhere, averaged over the pixel exactly."""

    def integral(at: torch.Tensor) -> torch.Tensor:
        turns = at / period
        whole = turns.floor()
        return (whole * share + (turns - whole).clamp(max=share)) * period

    half = blur.clamp(min=period * 0.02) / 2
    return (integral(x + half) - integral(x - half)) / (2 * half)


def mix(a: torch.Tensor, b: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """``a`` where ``share`` [N] is 0, ``b`` where it is 1."""
    return a + (b - a) * share[:, None]


def grain(uv: torch.Tensor, blur: torch.Tensor, size: float, strength: float) -> torch.Tensor:
    """A factor about 1 [N, 1]: two octaves of noise with features of ``size``."""
    coarse = (noise(uv / size) - 0.5) * fade(size, blur)
    fine = (noise(uv / size * 2.3 + 17.3) - 0.5) * fade(size / 2.3, blur)
    return (1 + strength * (2 * coarse + fine))[:, None]


def plain(uv: torch.Tensor, blur: torch.Tensor, a: torch.Tensor, _b: torch.Tensor) -> torch.Tensor:
    """Paint with a faint unevenness."""
    return a * grain(uv, blur, 0.09, 0.03)


def wood(uv: torch.Tensor, blur: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Grain along the second coordinate."""
    bend = noise(torch.stack([uv[:, 0] * 9, uv[:, 1] * 2.2], -1)) * 0.05
    rings = 0.5 + 0.5 * torch.sin((uv[:, 0] + bend) * (2 * math.pi / 0.032))
    streak = noise(torch.stack([uv[:, 0] / 0.012, uv[:, 1] / 0.35], -1))
    share = 0.5 + (rings - 0.5) * 0.55 * fade(0.03, blur) + (streak - 0.5) * 0.8 * fade(0.012, blur)
    return mix(a, b, share.clamp(0, 1))


def planks(uv: torch.Tensor, blur: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Floor boards 14 cm wide and 1.3 m long, laid with shifted joints."""
    width, length = 0.14, 1.3
    column = (uv[:, 0] / width).floor()
    along = uv[:, 1] + scatter(column, 3) * length
    board = torch.stack([column, (along / length).floor()], -1)
    shifted = uv + torch.stack([scatter(board, 1), scatter(board, 2)], -1) * 7
    tone = 0.72 + 0.5 * scatter(board)
    gaps = torch.maximum(
        wave(uv[:, 0] + 0.0015, width, 0.003 / width, blur), wave(along + 0.001, length, 0.003 / length, blur)
    )
    return wood(shifted, blur, a, b) * (tone * (1 - 0.85 * gaps))[:, None]


def wallpaper(uv: torch.Tensor, blur: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Staggered leaf pairs on a plain ground."""
    pitch_u, pitch_v = 0.26, 0.22
    row = (uv[:, 1] / pitch_v).floor()
    x = (uv[:, 0] / pitch_u + 0.5 * (row % 2)) % 1 - 0.5
    y = (uv[:, 1] / pitch_v) % 1 - 0.5
    x, y = x * pitch_u, y * pitch_v
    soft = blur.clamp(min=0.004)
    leaf = torch.zeros_like(x)
    for side in (-1.0, 1.0):
        for level, reach in ((-0.035, 1.0), (0.005, 0.85), (0.04, 0.6)):
            p, q = side * x, y - level
            along, across = (p * 0.8 + q * 0.6) / reach, (q * 0.8 - p * 0.6) / reach
            body = 1 - ((along - 0.032) / 0.032) ** 2 - (across / (0.011 + 0.004 * along / 0.03)) ** 2
            leaf = torch.maximum(leaf, rise(body * 0.01, soft))
    stem = rise(0.0022 - x.abs(), soft) * rise(0.075 - y.abs(), soft) * (0.004 / soft).clamp(max=1)
    return mix(a, b, torch.maximum(leaf, stem) * 0.9) * grain(uv, blur, 0.2, 0.02)


def stripes(uv: torch.Tensor, blur: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Bands across the second coordinate."""
    return mix(a, b, wave(uv[:, 1], 0.11, 0.45, blur)) * grain(uv, blur, 0.02, 0.05)


def weave(uv: torch.Tensor, blur: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Coarse cloth of two threads, with a slow shade over it."""
    thread = 0.016
    x, y = torch.sin(uv[:, 0] * (2 * math.pi / thread)), torch.sin(uv[:, 1] * (2 * math.pi / thread))
    share = 0.4 + 0.35 * x * y * fade(thread, blur) + 0.5 * (noise(uv / 0.05) - 0.5) * fade(0.05, blur)
    return mix(a, b, share.clamp(0, 1))


def tiles(uv: torch.Tensor, blur: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """A board of two colours, 5 cm wide squares."""
    odd_u, odd_v = wave(uv[:, 0], 0.1, 0.5, blur), wave(uv[:, 1], 0.1, 0.5, blur)
    return mix(a, b, odd_u + odd_v - 2 * odd_u * odd_v)


def rug(uv: torch.Tensor, blur: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """A woven rug: a border, then stars on a lattice; centred at uv = 0, for half extents of 1.3 by 0.9."""
    x, y = uv.abs().unbind(-1)
    edge = torch.minimum(1.3 - x, 0.9 - y)
    soft = blur.clamp(min=0.006)
    cell = (uv / 0.2 + 0.5) % 1 - 0.5
    diamond = cell.abs().sum(-1) * 0.2
    ring = rise(0.075 - diamond, soft) - rise(0.05 - diamond, soft) + rise(0.026 - diamond, soft)
    odd = ((uv / 0.2 + 0.5).floor().sum(-1) % 2)[:, None]
    gold, cream = uv.new_tensor([0.62, 0.36, 0.10]), uv.new_tensor([0.66, 0.58, 0.45])
    field = mix(a, torch.where(odd > 0, gold, cream), ring)
    zigzag = ((x + y * 0.999) / 0.1 % 1 - 0.5).abs() * 0.1
    band = mix(b, cream.expand_as(b), rise(zigzag - 0.025, soft))
    colour = mix(band, field, rise(edge - 0.14, soft))
    lines = rise(0.010 - (edge - 0.15).abs(), soft) + rise(0.010 - (edge - 0.03).abs(), soft)
    return mix(colour, gold.expand_as(colour), lines.clamp(max=1)) * grain(uv, blur, 0.012, 0.12)


def spine(uv: torch.Tensor, blur: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The back of a book: two bands and a line of letters along the second coordinate."""
    soft = blur.clamp(min=0.002)
    v = uv[:, 1]
    bands = rise(0.006 - (v - 0.03).abs(), soft) + rise(0.003 - (v - 0.045).abs(), soft)
    cells = torch.stack([(uv[:, 0] / 0.006).floor(), (v / 0.009).floor()], -1)
    written = ((v > 0.07) & (v < 0.16)).float() * (scatter(cells, 5) > 0.45).float() * fade(0.012, blur)
    return mix(a, b, (bands + 0.8 * written).clamp(0, 1)) * grain(uv, blur, 0.03, 0.05)


def pages(uv: torch.Tensor, blur: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Closely written lines of words on paper."""
    line = 0.028
    row = (uv[:, 1] / line).floor()
    word = (uv[:, 0] / 0.035 + scatter(row, 1) * 5).floor()
    ink = wave(uv[:, 1], line, 0.4, blur) * (scatter(torch.stack([word, row], -1), 2) > 0.3).float()
    heading = ((row % 9) == 0).float() * wave(uv[:, 1], line, 0.75, blur)
    return mix(a, b, torch.maximum(ink * 0.75, heading * (uv[:, 0] < 0.3).float()))


def sunset(uv: torch.Tensor, blur: torch.Tensor, a: torch.Tensor, _b: torch.Tensor) -> torch.Tensor:
    """A painting: a low sun, a sky of bands, hills behind hills and a lake; 1.2 by 0.8."""
    x, y = uv[:, 0], uv[:, 1]
    soft = blur.clamp(min=0.003)
    brush = (noise(torch.stack([x / 0.06, y / 0.015], -1)) - 0.5) * 0.06 * fade(0.02, blur)
    height = y / 0.8 + brush
    sky = mix(
        uv.new_tensor([0.90, 0.42, 0.10]).expand_as(a),
        uv.new_tensor([0.08, 0.16, 0.42]),
        smooth((height * 1.6 - 0.5).clamp(0, 1)),
    )
    sun = rise(0.085 - ((x - 0.78).square() + (y - 0.42).square()).sqrt(), soft)
    colour = mix(sky, uv.new_tensor([0.95, 0.80, 0.35]).expand_as(sky), sun)
    ranges = (
        (0.42, 0.06, 3.1, (0.42, 0.17, 0.30)),
        (0.35, 0.05, 5.3, (0.20, 0.10, 0.28)),
        (0.27, 0.035, 8.7, (0.05, 0.09, 0.16)),
    )
    for base, size, rate, tint in ranges:
        ridge = base + size * torch.sin(x * rate + rate) + size * 0.5 * torch.sin(x * rate * 2.7)
        colour = mix(colour, uv.new_tensor(tint).expand_as(colour), rise(ridge - y, soft))
    lake = mix(
        uv.new_tensor([0.10, 0.22, 0.36]).expand_as(a),
        uv.new_tensor([0.85, 0.45, 0.15]),
        rise(0.07 + brush - (x - 0.78).abs(), soft + 0.03),
    )
    return mix(colour, lake * (1 + 4 * brush)[:, None], rise(0.16 - y, soft))


def circles(uv: torch.Tensor, blur: torch.Tensor, _a: torch.Tensor, _b: torch.Tensor) -> torch.Tensor:
    """A painting: squares of rings in bright colours, 18 cm each."""
    size = 0.18
    cell = (uv / size).floor()
    radius = (uv / size - cell - 0.5).norm(dim=-1) * size
    soft = blur.clamp(min=0.003)
    palette = uv.new_tensor(
        [
            [0.75, 0.10, 0.06],
            [0.85, 0.55, 0.05],
            [0.05, 0.22, 0.45],
            [0.80, 0.74, 0.60],
            [0.10, 0.38, 0.24],
            [0.45, 0.10, 0.30],
        ]
    )
    colour = palette[(scatter(cell, 0) * 5.99).long()]
    for ring, reach in enumerate((0.080, 0.060, 0.042, 0.022)):
        colour = mix(colour, palette[(scatter(cell, ring + 1) * 5.99).long()], rise(reach - radius, soft))
    return colour * grain(uv, blur, 0.02, 0.06)


def mosaic(uv: torch.Tensor, blur: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Glazed bands around a vessel, the second coordinate being its height."""
    y = uv[:, 1]
    soft = blur.clamp(min=0.003)
    zigzag = y - 0.10 - 0.02 * (2 * ((uv[:, 0] / 0.06) % 1) - 1).abs()
    share = (
        rise(0.008 - zigzag.abs(), soft) + rise(0.004 - (y - 0.065).abs(), soft) + rise(0.004 - (y - 0.155).abs(), soft)
    )
    return mix(a, b, share.clamp(max=1)) * grain(uv, blur, 0.04, 0.05)


def leaf(uv: torch.Tensor, _blur: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Green with a paler middle rib; ``uv`` from the corner of the leaf's bounding square."""
    return mix(a, b, 0.5 * noise(uv / 0.05 + 3.1))


def globe(uv: torch.Tensor, blur: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Land ``b`` in a sea ``a``, with meridians."""
    shape = noise(uv / 0.13 + 5.0) * 0.7 + noise(uv / 0.05 + 9.0) * 0.3
    colour = mix(a, b, rise(shape - 0.60, 0.03 + blur))
    return colour * (1 - 0.25 * wave(uv[:, 0], 0.06, 0.05, blur))[:, None]


PATTERNS: tuple[Pattern, ...] = (
    plain, wood, planks, wallpaper, stripes, weave, tiles, rug, spine, pages, sunset, circles, mosaic, leaf, globe,
)  # fmt: skip


def pattern_names() -> tuple[str, ...]:
    """Names of the patterns in the order of ``PATTERNS``."""
    return tuple(pattern.__name__ for pattern in PATTERNS)
