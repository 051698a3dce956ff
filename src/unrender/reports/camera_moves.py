"""How far cameras moved: the poses and lenses that the capture came with against those of a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from markupsafe import Markup

from unrender.cameras.camera import Cameras
from unrender.reports.page import Fact, Section, fact_tiles, note
from unrender.reports.tables import Cell, Column, Row, number, sortable_table

__all__ = ["CameraMove", "camera_moves", "moves_section"]

_SAMPLES = 500
_LEAST_TURN = 1e-9
"""Degrees below which a turn is rounding."""
_FOLDED = 12


@dataclass(frozen=True)
class CameraMove:
    """How one view's camera differs from that of the capture.

    ``distance`` between the centres [scene units]; ``degrees`` turned; ``pixels``: median distance between where
    points of the scene lie in the image before and after, NaN where none is seen, so that lenses count too; ``kept``:
    False where the move was undone, because it made things worse.
    """

    name: str
    distance: float
    degrees: float
    pixels: float
    kept: bool = True

    @property
    def moved(self) -> bool:
        """Whether it differs at all."""
        return self.distance > 0 or self.degrees > _LEAST_TURN or self.pixels > 0


def camera_moves(
    before: Cameras, after: Cameras, names: Sequence[str], points: torch.Tensor, undone: Sequence[str] = ()
) -> list[CameraMove]:
    """The move of each of V views; ``points`` [N, 3] float64 of the world say how much it matters in the image.

    ``undone``: names of views whose refined cameras were given up.
    """
    step = max(1, len(points) // _SAMPLES)
    points, before, after = points[::step].double().cpu(), before.to("cpu"), after.to("cpu")
    distances = (before.centers - after.centers).norm(dim=1).tolist()
    turns = after.camera_from_world[:, :3, :3] @ before.camera_from_world[:, :3, :3].transpose(1, 2)
    degrees = [math.degrees(_angle(turn)) for turn in turns]
    return [
        CameraMove(name, distances[view], degrees[view], _pixels(before, after, view, points), name not in undone)
        for view, name in enumerate(names)
    ]


def moves_section(moves: Sequence[CameraMove], links: Sequence[str | Markup] | None = None) -> Section:
    """What a page says about the moves; ``links``: how it names each view, its name when None."""
    title = "How far cameras moved"
    if not any(each.moved or not each.kept for each in moves):
        said = note("Not refined: poses and lenses are those that the capture came with. So no camera moved.")
        return Section(title, said, anchor="cameras", short="Cameras")
    rows = [_row(each, link) for each, link in zip(moves, links or [each.name for each in moves], strict=True)]
    lead = "From the cameras that the capture came with. Pixels: the median over points of the scene, lens included."
    body = fact_tiles(_facts(moves)) + sortable_table(_COLUMNS, rows, _FOLDED)
    return Section(title, body, lead, anchor="cameras", short="Cameras")


_COLUMNS = (
    Column("photo"),
    Column("moved [units]", numeric=True, first="down", hint="distance between camera centres, scene units"),
    Column("turned [°]", numeric=True, first="down"),
    Column("in the image [px]", numeric=True, first="down", hint="median over points of the scene, lens included"),
    Column("kept"),
)


def _row(move: CameraMove, link: str | Markup) -> Row:
    kept = Cell("yes") if move.kept else Cell("rolled back", tone="warn")
    cells = (number(move.distance, ".4g"), number(move.degrees, ".3f"), number(move.pixels, ".2f"))
    return Row((Cell(link, move.name), *cells, kept))


def _facts(moves: Sequence[CameraMove]) -> list[Fact]:
    columns = {
        "Moved": ("distance", ".3g", " units"),
        "Turned": ("degrees", ".2g", "°"),
        "In the image": ("pixels", ".2g", " px"),
    }
    facts = []
    for label, (name, form, unit) in columns.items():
        values = sorted(value for each in moves if math.isfinite(value := getattr(each, name)))
        middle, most = (values[len(values) // 2], values[-1]) if values else (math.nan, math.nan)
        facts.append(Fact(label, f"{middle:{form}}{unit}", f"median; most {most:{form}}{unit}"))
    undone = sum(not each.kept for each in moves)
    return [*facts, Fact("Rolled back", str(undone), f"of {len(moves)}", "warn" if undone else "")]


def _angle(turn: torch.Tensor) -> float:
    """Of a rotation [3, 3], in radians; from its skew part too, as the trace alone is blind to small ones."""
    skew = torch.stack([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    return math.atan2(float(skew.norm()) / 2, (float(turn.trace()) - 1) / 2)


def _pixels(before: Cameras, after: Cameras, view: int, points: torch.Tensor) -> float:
    """Median distance in the image between where both cameras of a view see the points that both see."""
    was, now = before.project(view, points), after.project(view, points)
    height, width = before.size_of(view)
    size = torch.tensor([width, height], dtype=torch.float64)
    seen = was.inside & now.inside & ((was.pixels >= 0) & (was.pixels < size)).all(dim=1)
    if not bool(seen.any()):
        return math.nan
    return float((was.pixels - now.pixels)[seen].norm(dim=1).median())
