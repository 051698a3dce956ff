"""Books, and the case that holds them."""

from __future__ import annotations

import torch

from unrender.datasets.synthetic.materials import BRASS, OAK, WALNUT, Colour, Palette, uniform
from unrender.datasets.synthetic.plants import sprigs
from unrender.datasets.synthetic.shapes import Piece, ball, box, disk, rotation, tube, turned

__all__ = ["bookcase", "table_books"]


def table_books(palette: Palette, base: tuple[float, float, float]) -> Piece:
    """Two books that lie crossed, and a cup on top."""
    x, y, z = base
    red, blue = palette.add("plain", (0.42, 0.06, 0.05)), palette.add("plain", (0.06, 0.14, 0.30))
    paper = palette.add("plain", (0.70, 0.66, 0.56))
    shapes: Piece = []
    for level, (cover, turn) in enumerate(((red, 12), (blue, 38))):
        low, about = z + 0.03 * level, rotation(z=turn)
        shapes.append(box((x, y, low + 0.014), (0.25, 0.185, 0.022), paper, about))
        shapes += [box((x, y, low + height), (0.26, 0.195, 0.004), cover, about) for height in (0.002, 0.027)]
    low, cup = z + 0.06, palette.add("stripes", (0.72, 0.68, 0.58), (0.72, 0.68, 0.58), gloss=0.5)
    shapes += [tube((x, y, low), (x, y, low + 0.085), 0.036, cup, 0.042)]
    shapes += [disk((x, y, low + 0.07), (0, 0, 1), 0.041, palette.add("plain", (0.05, 0.022, 0.01), gloss=0.8))]
    return shapes


def bookcase(palette: Palette, chance: torch.Generator) -> list[Piece]:
    """Shelves on the wall x = 5, with books and a few things."""
    wood = palette.add("wood", *OAK, gloss=0.2)
    low, high, top, x = 0.35, 1.85, 1.98, 4.84
    case = [box((x, y, top / 2), (0.30, 0.025, top), wood) for y in (low, high)]
    levels = [0.06, 0.44, 0.82, 1.20, 1.58, top]
    case += [box((x, (low + high) / 2, z), (0.30, high - low, 0.025), wood) for z in levels]
    case.append(box((4.985, (low + high) / 2, top / 2), (0.012, high - low, top), palette.add("wood", *WALNUT)))
    rows = [
        books(palette, chance, z + 0.0125, low + 0.03, high - 0.03 - gap)
        for z, gap in zip(levels, (0.3, 0.0, 0.42, 0.1, 0.5), strict=False)
    ]
    things = [
        *turned(
            (x, 1.66, 0.8325),
            [0, 0.06, 0.12, 0.17, 0.22],
            [0.04, 0.07, 0.075, 0.04, 0.03],
            palette.add("plain", (0.60, 0.56, 0.46), gloss=0.5),
        ),
        *turned((x, 1.50, 1.5925), [0, 0.05, 0.10], [0.06, 0.075, 0.055], palette.add("plain", (0.40, 0.13, 0.07))),
        ball((x, 1.71, 1.655), 0.062, palette.add("plain", BRASS, gloss=0.9)),
        box((x, 1.66, 0.20), (0.2, 0.26, 0.25), palette.add("weave", (0.42, 0.29, 0.15), (0.25, 0.16, 0.08))),
    ]
    return [case, *rows, things, sprigs(palette, (x, 1.50, 1.68))]


def books(palette: Palette, chance: torch.Generator, z: float, start: float, end: float) -> Piece:
    """A row of upright books between two places along y, the last one leaning."""
    covers: tuple[Colour, ...] = (
        (0.40, 0.06, 0.05), (0.05, 0.12, 0.28), (0.07, 0.22, 0.14), (0.55, 0.33, 0.07), (0.30, 0.10, 0.22),
        (0.60, 0.54, 0.42), (0.08, 0.08, 0.09), (0.10, 0.30, 0.36), (0.50, 0.18, 0.06), (0.28, 0.24, 0.18),
    )  # fmt: skip
    shapes, y = [], start
    while y < end - 0.09:
        thick, height, deep = uniform(chance, 0.02, 0.05), uniform(chance, 0.21, 0.31), uniform(chance, 0.17, 0.22)
        cover = palette.add("spine", covers[int(uniform(chance, 0, 9.99))], (0.66, 0.52, 0.24))
        shapes.append(box((4.965 - deep / 2, y + thick / 2, z + height / 2), (deep, thick, height), cover))
        y += thick + 0.0015
    lean = palette.add("spine", covers[int(uniform(chance, 0, 9.99))], (0.66, 0.60, 0.46))
    return [*shapes, box((4.87, y + 0.055, z + 0.128), (0.19, 0.03, 0.25), lean, rotation(x=13))]
