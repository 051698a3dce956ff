"""Flowers, leaves and dry stems: the thin parts of the room."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import torch

from unrender.datasets.synthetic.materials import Palette, uniform
from unrender.datasets.synthetic.shapes import Piece, ball, disk, rotation, tube, turned

__all__ = ["dry_stems", "flowers", "plant", "sprigs"]


def flowers(palette: Palette, chance: torch.Generator, mouth: tuple[float, float, float]) -> Piece:
    """Stems with blossoms that lean out of a vase."""
    stem = palette.add("plain", (0.07, 0.17, 0.04))
    tints = ((0.72, 0.10, 0.13), (0.80, 0.45, 0.05), (0.74, 0.66, 0.55), (0.62, 0.16, 0.36))
    shapes: Piece = []
    x, y, z = mouth
    for i in range(13):
        angle, lean, rise = 2.4 * i, 0.05 + 0.125 * (i / 12), uniform(chance, 0.14, 0.30) - 0.05 * (i / 12)
        head = (x + lean * math.cos(angle), y + lean * math.sin(angle), z + rise)
        shapes.append(tube((x + 0.02 * math.cos(angle), y + 0.02 * math.sin(angle), z - 0.05), head, 0.0028, stem))
        petals = palette.add("plain", tints[i % 4])
        turn = rotation(z=math.degrees(angle), y=uniform(chance, 15, 40))
        size = uniform(chance, 0.028, 0.042)
        shapes.append(ball(head, (size, size, size * 0.62), petals, turn))
        shapes.append(
            ball(
                [h + t for h, t in zip(head, (turn[:, 2] * size * 0.5).tolist(), strict=True)],
                size * 0.4,
                palette.add("plain", (0.55, 0.33, 0.03)),
            )
        )
        blade = palette.add("leaf", (0.06, 0.20, 0.05), (0.14, 0.30, 0.08))
        side = (x + lean * 0.9 * math.cos(angle + 0.6), y + lean * 0.9 * math.sin(angle + 0.6), z + rise * 0.5)
        shapes.append(disk(side, (math.cos(angle) * 0.7, math.sin(angle) * 0.7, 0.7), 0.016, blade, stretch=2.6))
    return shapes


def plant(palette: Palette, chance: torch.Generator, place: tuple[float, float]) -> list[Piece]:
    """A pot with arching stems and oval leaves."""
    x, y = place
    clay, soil = (
        palette.add("mosaic", (0.44, 0.17, 0.085), (0.60, 0.45, 0.30)),
        palette.add("plain", (0.045, 0.03, 0.02)),
    )
    pot = [*turned((x, y, 0), [0, 0.16, 0.32], [0.14, 0.185, 0.20], clay), disk((x, y, 0.29), (0, 0, 1), 0.196, soil)]
    bark = palette.add("plain", (0.12, 0.16, 0.05))
    shapes: Piece = []
    for i in range(11):
        angle, height = 2.4 * i + uniform(chance, -0.2, 0.2), uniform(chance, 0.75, 1.45)
        c, s, spread = math.cos(angle), math.sin(angle), uniform(chance, 0.12, 0.34)
        points = [(x + c * spread * f * f, y + s * spread * f * f, 0.28 + height * f) for f in (0.0, 0.4, 0.75, 1.0)]
        points = [(px, min(py, 3.72), pz) for px, py, pz in points]
        shapes += [
            tube(a, b, 0.009 - 0.0022 * k, bark, 0.0068 - 0.0022 * k) for k, (a, b) in enumerate(pairwise(points))
        ]
        shapes += leaves(palette, chance, points)
    return [pot, shapes]


def leaves(palette: Palette, chance: torch.Generator, stem: list[tuple[float, float, float]]) -> Piece:
    """Leaves along the upper part of a stem."""
    shapes: Piece = []
    for i in range(8):
        f = 0.9 + 2.1 * i / 7
        k = min(int(f), 2)
        base = [a + (b - a) * (f - k) for a, b in zip(stem[k], stem[k + 1], strict=True)]
        angle, droop = 2.4 * i + uniform(chance, -0.5, 0.5), uniform(chance, 5, 45)
        long, wide = uniform(chance, 0.075, 0.12), uniform(chance, 0.028, 0.042)
        turn = rotation(z=math.degrees(angle) - 90, x=-droop)
        middle = [b + t for b, t in zip(base, (turn[:, 1] * long).tolist(), strict=True)]
        green = palette.add("leaf", (0.045, 0.17, 0.045), (0.15, 0.33, 0.09), gloss=0.2)
        axes = turn * torch.tensor([wide, long, 1.0], dtype=torch.float64)
        flat = disk(middle, (0, 0, 1), 1.0, green)
        shapes.append(replace(flat, axes=axes))
    return shapes


def dry_stems(palette: Palette, chance: torch.Generator) -> list[Piece]:
    """A tall floor vase with thin dry stems."""
    x, y = 0.42, 0.42
    clay = palette.add("stripes", (0.56, 0.50, 0.40), (0.46, 0.40, 0.31))
    jar = turned((x, y, 0), [0, 0.12, 0.24, 0.38, 0.52], [0.09, 0.15, 0.155, 0.09, 0.065], clay)
    straw, tuft = palette.add("plain", (0.44, 0.32, 0.16)), palette.add("plain", (0.62, 0.50, 0.30))
    shapes: Piece = []
    for i in range(12):
        angle, lean, height = 2.4 * i, uniform(chance, 0.05, 0.24), uniform(chance, 0.5, 0.85)
        head = (x + lean * math.cos(angle), y + lean * math.sin(angle), 0.5 + height)
        shapes.append(tube((x, y, 0.4), head, 0.003, straw))
        shapes.append(ball(head, (0.014, 0.014, 0.07), tuft, rotation(z=math.degrees(angle), y=12)))
    return [jar, shapes]


def sprigs(palette: Palette, mouth: tuple[float, float, float]) -> Piece:
    """Seven sprigs with a leaf each, fanned out of a small pot."""
    stem, green = palette.add("plain", (0.07, 0.2, 0.05)), palette.add("leaf", (0.06, 0.20, 0.05), (0.14, 0.30, 0.08))
    x, y, z = mouth
    shapes: Piece = []
    for i in range(-3, 4):
        tip = (x - 0.12, y + 0.05 * i, z + 0.18 - 0.006 * i * i)
        shapes += [
            tube((x, y + 0.008 * i, z), tip, 0.003, stem),
            disk(tip, (-0.6, 0.2 * i, 0.7), 0.022, green, stretch=1.8),
        ]
    return shapes
