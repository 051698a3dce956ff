"""The room: walls, window, furniture and small things, each of a material, 5 x 4 x 2.6 metres.

World: x to the right, y towards the window, z up, the origin on the floor in one corner. The seed changes what a
decorator would (books, leaves, oranges), never the plan, so that a camera path is free of furniture for all seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unrender.datasets.synthetic import furniture
from unrender.datasets.synthetic.casting import Shapes, pack
from unrender.datasets.synthetic.materials import Palette
from unrender.datasets.synthetic.shapes import Shape, box, rectangle

__all__ = ["HEIGHT", "LENGTH", "WIDTH", "WINDOW", "Room", "build_room"]

WIDTH, LENGTH, HEIGHT = 5.0, 4.0, 2.6
WINDOW = (1.35, 3.65, 0.85, 2.2)
"""The opening in the wall y = LENGTH: x from, x to, z from, z to."""
WALL = 0.28
"""How thick the window's wall is."""


@dataclass(frozen=True)
class Room:
    """Shapes and what they are made of."""

    shapes: Shapes
    palette: Palette


def build_room(seed: int = 0) -> Room:
    """The room for a seed."""
    chance, palette = torch.Generator().manual_seed(seed), Palette()
    pieces = [
        walls(palette),
        *([board] for board in skirting(palette)),
        window(palette),
        *furniture.furnish(palette, chance, WINDOW),
    ]
    return Room(pack([piece for piece in pieces if piece]), palette)


def walls(palette: Palette) -> list[Shape]:
    """Floor, ceiling and four walls, the last one in four pieces around the window."""
    paper = palette.add("wallpaper", (0.50, 0.56, 0.50), (0.26, 0.37, 0.33))
    cream = palette.add("plain", (0.70, 0.64, 0.54))
    x, y, z = WIDTH / 2, LENGTH / 2, HEIGHT / 2
    floor = palette.add("planks", (0.40, 0.22, 0.105), (0.24, 0.12, 0.05), gloss=0.6)
    left, right, low, high = WINDOW
    shapes = [
        rectangle((x, y, 0), (x, 0, 0), (0, y, 0), floor),
        rectangle((x, y, HEIGHT), (x, 0, 0), (0, -y, 0), palette.add("plain", (0.78, 0.76, 0.72))),
        rectangle((0, y, z), (0, y, 0), (0, 0, z), paper),
        rectangle((WIDTH, y, z), (0, -y, 0), (0, 0, z), paper),
        rectangle((x, 0, z), (-x, 0, 0), (0, 0, z), cream),
    ]
    spans = ((0, left, 0, HEIGHT), (right, WIDTH, 0, HEIGHT), (left, right, 0, low), (left, right, high, HEIGHT))
    for x0, x1, z0, z1 in spans:
        middle = ((x0 + x1) / 2, LENGTH, (z0 + z1) / 2)
        shapes.append(rectangle(middle, ((x1 - x0) / 2, 0, 0), (0, 0, (z1 - z0) / 2), cream, origin=(x0, z0)))
    return shapes


def skirting(palette: Palette) -> list[Shape]:
    """Boards along the foot of the walls and a rail under the ceiling."""
    white = palette.add("plain", (0.74, 0.72, 0.68))
    shapes = []
    for z, height, depth in ((0.05, 0.10, 0.024), (HEIGHT - 0.03, 0.06, 0.05)):
        shapes += [
            box((WIDTH / 2, depth / 2, z), (WIDTH, depth, height), white),
            box((WIDTH / 2, LENGTH - depth / 2, z), (WIDTH, depth, height), white),
            box((depth / 2, LENGTH / 2, z), (depth, LENGTH, height), white),
            box((WIDTH - depth / 2, LENGTH / 2, z), (depth, LENGTH, height), white),
        ]
    return shapes


def window(palette: Palette) -> list[Shape]:
    """Reveal, frame, bars and sill."""
    white = palette.add("plain", (0.76, 0.75, 0.72))
    left, right, low, high = WINDOW
    x, z, width, height = (left + right) / 2, (low + high) / 2, right - left, high - low
    depth = LENGTH + WALL / 2 + 0.003
    back = LENGTH + 0.16
    shapes = [
        box((left - 0.05, depth, z), (0.1, WALL, height + 0.2), white),
        box((right + 0.05, depth, z), (0.1, WALL, height + 0.2), white),
        box((x, depth, high + 0.05), (width, WALL, 0.1), white),
        box((x, depth, low - 0.05), (width, WALL, 0.1), white),
        box((x, LENGTH + 0.02, low - 0.005), (width + 0.16, 0.36, 0.04), white),
    ]
    for at, size in (
        (left + 0.025, 0.06),
        (x, 0.05),
        (right - 0.025, 0.06),
        (left + width / 4, 0.025),
        (right - width / 4, 0.025),
    ):
        shapes.append(box((at, back, z), (size, 0.06, height), white))
    for at, size in ((low + 0.025, 0.06), (low + 0.64 * height, 0.03), (high - 0.025, 0.06)):
        shapes.append(box((x, back, at), (width, 0.05, size), white))
    return shapes
