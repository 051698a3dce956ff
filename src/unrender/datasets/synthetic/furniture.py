"""What stands in the room: every piece is a list of shapes that lie close together."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from unrender.datasets.synthetic.books import bookcase, table_books
from unrender.datasets.synthetic.materials import BLACK, BRASS, OAK, WALNUT, WHITE, Palette, uniform
from unrender.datasets.synthetic.plants import dry_stems, flowers, plant
from unrender.datasets.synthetic.shapes import Piece, ball, box, disk, rectangle, rotation, tube, turned

__all__ = ["LAMPS", "furnish"]

LAMPS = ((0.42, 2.12, 1.52), (2.85, 0.24, 1.12))
"""Centres of the two lamp shades: the floor lamp's and the table lamp's."""

Opening = tuple[float, float, float, float]


def furnish(palette: Palette, chance: torch.Generator, opening: Opening) -> list[Piece]:
    """All pieces; ``opening`` is the window."""
    return [
        *curtains(palette, opening),
        radiator(palette),
        rug(palette),
        *coffee_table(palette, chance),
        *armchair(palette),
        [shape.moved(rotation(z=62), (3.95, 2.62, 0)) for shape in chair(palette)],
        pouffe(palette),
        *bookcase(palette, chance),
        *sideboard(palette, chance),
        door(palette),
        *pictures(palette),
        floor_lamp(palette),
        pendant(palette),
        *plant(palette, chance, (4.5, 3.5)),
        *dry_stems(palette, chance),
    ]


def curtains(palette: Palette, opening: Opening) -> list[Piece]:
    """Folds of cloth on both sides of the window, and their rod."""
    left, right, _, high = opening
    cloth = palette.add("weave", (0.60, 0.30, 0.16), (0.42, 0.17, 0.09))
    brass = palette.add("plain", BRASS, gloss=0.8)
    top, y = high + 0.16, 3.86
    pieces = []
    for start in (left - 0.50, right - 0.02):
        folds = []
        for i in range(9):
            x, shift = start + 0.065 * i, 0.022 * (-1) ** i
            folds.append(tube((x, y + shift, 0.04), (x, y + shift * 0.6, top), 0.047, cloth, 0.040))
        pieces.append(folds)
    rod = [tube((left - 0.62, y, top + 0.02), (right + 0.62, y, top + 0.02), 0.014, brass)]
    rod += [ball((x, y, top + 0.02), 0.032, brass) for x in (left - 0.62, right + 0.62)]
    return [*pieces, rod]


def radiator(palette: Palette) -> Piece:
    """Ribs under the window."""
    white = palette.add("plain", WHITE, gloss=0.3)
    ribs = [tube((1.96 + 0.072 * i, 3.88, 0.14), (1.96 + 0.072 * i, 3.88, 0.66), 0.026, white) for i in range(16)]
    return ribs + [tube((1.92, 3.88, z), (3.08, 3.88, z), 0.034, white) for z in (0.14, 0.66)]


def rug(palette: Palette) -> Piece:
    """A patterned rug under the table."""
    top = palette.add("rug", (0.36, 0.055, 0.045), (0.045, 0.075, 0.17))
    edge = palette.add("plain", (0.05, 0.07, 0.15))
    return [
        box((2.4, 1.95, 0.005), (2.6, 1.8, 0.01), edge),
        rectangle((2.4, 1.95, 0.0104), (1.3, 0, 0), (0, 0.9, 0), top, origin=(-1.3, -0.9)),
    ]


def coffee_table(palette: Palette, chance: torch.Generator) -> list[Piece]:
    """A round table on slanted legs, with a vase of flowers, a bowl of oranges, books and a cup."""
    wood, x, y = palette.add("wood", *WALNUT, gloss=0.45), 2.42, 1.92
    base = [
        disk((x, y, 0.43), (0, 0, 1), 0.46, wood),
        disk((x, y, 0.40), (0, 0, -1), 0.45, wood),
        tube((x, y, 0.40), (x, y, 0.43), 0.45, wood, 0.46),
    ]
    for i in range(3):
        c, s = math.cos(2.1 * i + 0.5), math.sin(2.1 * i + 0.5)
        base.append(tube((x + 0.40 * c, y + 0.40 * s, 0.01), (x + 0.26 * c, y + 0.26 * s, 0.40), 0.014, wood, 0.024))
    return [
        base,
        vase(palette, (x + 0.08, y + 0.14, 0.43)),
        flowers(palette, chance, (x + 0.08, y + 0.14, 0.72)),
        bowl(palette, chance, (x - 0.22, y + 0.02, 0.43)),
        table_books(palette, (x + 0.10, y - 0.22, 0.43)),
    ]


def vase(palette: Palette, base: tuple[float, float, float]) -> Piece:
    """A glazed vase with a belly, a neck and a lip."""
    glaze = palette.add("mosaic", (0.045, 0.20, 0.27), (0.72, 0.66, 0.50), gloss=0.8)
    heights = [0.0, 0.035, 0.07, 0.11, 0.15, 0.19, 0.23, 0.26, 0.29]
    radii = [0.050, 0.078, 0.097, 0.104, 0.097, 0.072, 0.046, 0.042, 0.056]
    return turned(base, heights, radii, glaze)


def bowl(palette: Palette, chance: torch.Generator, base: tuple[float, float, float]) -> Piece:
    """A white bowl with oranges and a lime."""
    x, y, z = base
    shapes = turned(base, [0.0, 0.035, 0.07], [0.055, 0.105, 0.13], palette.add("plain", (0.70, 0.69, 0.66), gloss=0.6))
    orange, lime = (
        palette.add("plain", (0.72, 0.26, 0.02), gloss=0.25),
        palette.add("plain", (0.26, 0.42, 0.05), gloss=0.25),
    )
    for i in range(6):
        angle, radius = 1.26 * i + uniform(chance, -0.15, 0.15), 0.0 if i == 5 else 0.07
        place = (x + radius * math.cos(angle), y + radius * math.sin(angle), z + (0.115 if i == 5 else 0.065))
        shapes.append(ball(place, uniform(chance, 0.037, 0.043), lime if i == 3 else orange))
    return shapes


def armchair(palette: Palette) -> list[Piece]:
    """An upholstered chair with round arms and a loose cushion."""
    cloth = palette.add("weave", (0.11, 0.24, 0.25), (0.055, 0.14, 0.155))
    cushion = palette.add("stripes", (0.66, 0.56, 0.38), (0.60, 0.22, 0.07))
    wood = palette.add("wood", *WALNUT)
    seat = [
        box((0, 0, 0.25), (0.56, 0.72, 0.22), cloth),
        ball((0, -0.02, 0.37), (0.285, 0.36, 0.085), cloth),
        box((0, 0.33, 0.60), (0.60, 0.16, 0.62), cloth, rotation(x=-12)),
        tube((-0.30, 0.395, 0.905), (0.30, 0.395, 0.905), 0.085, cloth),
        ball((-0.30, 0.395, 0.905), 0.085, cloth),
        ball((0.30, 0.395, 0.905), 0.085, cloth),
        ball((-0.06, 0.17, 0.60), (0.20, 0.075, 0.20), cushion, rotation(x=-18, z=8)),
    ]
    for side in (-0.36, 0.36):
        seat.append(box((side, 0.02, 0.33), (0.15, 0.74, 0.38), cloth))
        seat.append(tube((side, -0.35, 0.52), (side, 0.39, 0.52), 0.082, cloth))
        seat.append(ball((side, -0.35, 0.52), (0.082, 0.03, 0.082), cloth))
        seat += [tube((side, y, 0), (side, y, 0.16), 0.016, wood, 0.026) for y in (-0.30, 0.32)]
    return [[shape.moved(rotation(z=38), (0.78, 3.12, 0)) for shape in seat]]


def chair(palette: Palette) -> Piece:
    """A wooden chair with thin legs, rungs and a back of spindles; it looks along -y from the origin."""
    wood = palette.add("wood", *OAK, gloss=0.3)
    shapes = [box((0, 0, 0.45), (0.42, 0.42, 0.026), wood)]
    for x in (-0.18, 0.18):
        shapes.append(tube((x * 1.12, -0.20, 0), (x, -0.17, 0.44), 0.013, wood, 0.019))
        shapes.append(tube((x * 1.12, 0.22, 0), (x, 0.18, 0.44), 0.013, wood, 0.019))
        shapes.append(tube((x, 0.19, 0.45), (x * 1.1, 0.27, 0.92), 0.016, wood, 0.014))
        shapes.append(tube((x * 1.05, -0.185, 0.2), (x * 1.05, 0.2, 0.2), 0.010, wood))
    shapes.append(tube((-0.19, 0.007, 0.2), (0.19, 0.007, 0.2), 0.010, wood))
    shapes += [tube((x, 0.19, 0.46), (x * 1.1, 0.262, 0.88), 0.007, wood) for x in (-0.12, -0.06, 0.0, 0.06, 0.12)]
    return [*shapes, box((0, 0.268, 0.90), (0.44, 0.028, 0.075), wood, rotation(x=-9))]


def pouffe(palette: Palette) -> Piece:
    """A round padded stool."""
    cloth = palette.add("stripes", (0.62, 0.52, 0.36), (0.10, 0.20, 0.26))
    x, y = 1.72, 3.05
    side = turned((x, y, 0.01), [0.0, 0.16, 0.32], [0.22, 0.255, 0.22], cloth)
    return [*side, ball((x, y, 0.33), (0.222, 0.222, 0.05), palette.add("weave", (0.62, 0.52, 0.36), (0.5, 0.4, 0.26)))]


def sideboard(palette: Palette, chance: torch.Generator) -> list[Piece]:
    """A low cupboard under the painting, with a lamp, a globe, a chess board and books on it."""
    wood, dark = palette.add("wood", *OAK, gloss=0.35), palette.add("plain", BLACK)
    brass = palette.add("plain", BRASS, gloss=0.8)
    body = [box((2.2, 0.24, 0.44), (1.8, 0.42, 0.52), wood)]
    for i in range(3):
        x = 1.62 + 0.58 * i
        body += [box((x, 0.451, 0.44), (0.555, 0.004, 0.46), dark), box((x, 0.457, 0.44), (0.54, 0.012, 0.445), wood)]
        body += [ball((x + 0.21, 0.475, 0.50), 0.013, brass)]
    body += [tube((x, y, 0), (x, y, 0.18), 0.014, wood, 0.02) for x in (1.4, 3.0) for y in (0.1, 0.38)]
    return [body, table_lamp(palette), globe(palette), chess(palette, chance)]


def shade(palette: Palette, center: tuple[float, float, float], radius: float, height: float) -> Piece:
    """A glowing cone of cloth, open at both ends, and the bulb in it."""
    x, y, z = center
    cloth = palette.add("plain", (0.75, 0.62, 0.42), glow=(2.1, 1.25, 0.55))
    bulb = palette.add("plain", (0.9, 0.8, 0.6), glow=(9.0, 6.0, 3.0))
    cone = replace(tube((x, y, z - height / 2), (x, y, z + height / 2), radius, cloth, radius * 0.68), sides=2)
    return [cone, ball(center, 0.035, bulb)]


def table_lamp(palette: Palette) -> Piece:
    """A turned ceramic foot and a shade."""
    x, y, z = LAMPS[1]
    glaze = palette.add("plain", (0.52, 0.15, 0.08), gloss=0.8)
    foot = turned((x, y, 0.70), [0, 0.06, 0.12, 0.18, 0.24], [0.055, 0.085, 0.075, 0.035, 0.018], glaze)
    return [
        *foot,
        tube((x, y, 0.94), (x, y, z), 0.008, palette.add("plain", BRASS, gloss=0.8)),
        *shade(palette, (x, y, z), 0.165, 0.22),
    ]


def globe(palette: Palette) -> Piece:
    """A globe on a brass foot."""
    brass = palette.add("plain", BRASS, gloss=0.8)
    x, y = 1.56, 0.24
    land = palette.add("globe", (0.07, 0.20, 0.32), (0.52, 0.42, 0.20), gloss=0.4)
    return [
        *turned((x, y, 0.70), [0, 0.02, 0.04], [0.08, 0.06, 0.012], brass),
        tube((x, y, 0.74), (x, y, 0.80), 0.009, brass),
        ball((x, y, 0.925), 0.13, land, rotation(x=23)),
    ]


def chess(palette: Palette, chance: torch.Generator) -> Piece:
    """A chess board with some men left on it."""
    x, y, z = 2.2, 0.26, 0.70
    rim = palette.add("wood", *WALNUT)
    shapes = [
        box((x, y, z + 0.01), (0.44, 0.34, 0.02), rim),
        rectangle(
            (x, y, z + 0.0204),
            (0.2, 0, 0),
            (0, 0.15, 0),
            palette.add("tiles", (0.62, 0.50, 0.32), (0.06, 0.035, 0.02), gloss=0.4),
        ),
    ]
    for i in range(9):
        man = palette.add("plain", (0.66, 0.58, 0.42) if i % 2 else (0.05, 0.03, 0.02), gloss=0.5)
        column, row = int(uniform(chance, 0, 7.99)), (i * 2 + int(uniform(chance, 0, 1.99))) % 6
        place = (x - 0.175 + 0.05 * column, y - 0.125 + 0.05 * row, z + 0.0204)
        shapes += turned(place, [0, 0.012, 0.045], [0.018, 0.013, 0.006], man)
        shapes.append(ball((place[0], place[1], place[2] + 0.052), 0.012, man))
    return shapes


def door(palette: Palette) -> Piece:
    """A panelled door with its frame and a brass knob, in the wall y = 0."""
    leaf = palette.add("plain", (0.30, 0.37, 0.34))
    frame, x = palette.add("plain", WHITE), 3.95
    shapes = [box((x, 0.015, 1.02), (0.84, 0.03, 2.04), leaf)]
    for z, height in ((0.48, 0.62), (1.42, 0.98)):
        for side in (-0.19, 0.19):
            shapes += [
                box((x + side, 0.032, z), (0.29, 0.012, height), leaf),
                box((x + side, 0.040, z), (0.22, 0.012, height - 0.07), leaf),
            ]
    shapes += [box((x + side, 0.025, 1.04), (0.07, 0.05, 2.08), frame) for side in (-0.455, 0.455)]
    shapes.append(box((x, 0.025, 2.10), (0.98, 0.05, 0.08), frame))
    return [*shapes, ball((x - 0.36, 0.075, 1.0), 0.028, palette.add("plain", BRASS, gloss=0.9))]


def pictures(palette: Palette) -> list[Piece]:
    """One painting over the sideboard and three frames on the wall x = 0."""
    gilt, black = palette.add("plain", (0.46, 0.31, 0.11), gloss=0.4), palette.add("plain", BLACK, gloss=0.3)
    grey = (0.5, 0.5, 0.5)
    return [
        picture((2.05, 0.0, 1.66), (-1, 0, 0), (1.2, 0.8), palette.add("sunset", grey), gilt),
        picture((0.0, 0.98, 1.55), (0, 1, 0), (0.72, 0.90), palette.add("circles", grey), black),
        picture(
            (0.0, 1.66, 1.80),
            (0, 1, 0),
            (0.42, 0.504),
            palette.add("pages", (0.70, 0.66, 0.56), (0.05, 0.05, 0.06)),
            black,
        ),
        picture((0.0, 3.05, 1.62), (0, 1, 0), (0.9, 0.6), palette.add("sunset", (0.4, 0.4, 0.4)), gilt),
    ]


def picture(
    center: tuple[float, float, float],
    across: tuple[float, float, float],
    size: tuple[float, float],
    canvas: int,
    frame: int,
) -> Piece:
    """A canvas in a frame on a wall; ``across`` points to the right as one looks at it."""
    u, up = torch.tensor(across, dtype=torch.float64), torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    normal = torch.linalg.cross(u, up)
    middle = torch.tensor(center, dtype=torch.float64)
    turn = torch.stack([u, up, normal], dim=1)
    width, height = size
    shapes = [rectangle(middle + 0.012 * normal, u * width / 2, up * height / 2, canvas)]
    for side in (-1, 1):
        shapes.append(
            box(middle + 0.014 * normal + side * (width / 2 + 0.018) * u, (0.04, height + 0.076, 0.028), frame, turn)
        )
        shapes.append(
            box(middle + 0.014 * normal + side * (height / 2 + 0.018) * up, (width, 0.04, 0.028), frame, turn)
        )
    return shapes


def floor_lamp(palette: Palette) -> Piece:
    """A thin stand with a shade, beside the armchair."""
    x, y, z = LAMPS[0]
    metal = palette.add("plain", BLACK, gloss=0.6)
    foot = turned((x, y, 0), [0, 0.012, 0.03], [0.15, 0.145, 0.012], metal)
    return [*foot, tube((x, y, 0.02), (x, y, z), 0.010, metal), *shade(palette, (x, y, z), 0.20, 0.26)]


def pendant(palette: Palette) -> Piece:
    """A paper ball that hangs from the ceiling on a cord."""
    paper, cord = palette.add("stripes", (0.78, 0.75, 0.68), (0.72, 0.69, 0.62)), palette.add("plain", BLACK)
    return [ball((2.42, 1.92, 2.10), 0.21, paper), tube((2.42, 1.92, 2.30), (2.42, 1.92, 2.6), 0.004, cord)]
