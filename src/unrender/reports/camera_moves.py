"""How far refinement moved cameras and lenses, and what of it was taken back: what ``refinement.json`` tells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from unrender.reports.page import Fact, Section, code, fact_tiles, note
from unrender.reports.tables import Cell, Column, Row, number, sortable_table

__all__ = ["median_and_most", "moves_line", "moves_section"]

_FOLDED = 12
_REFINED, _TAKEN_BACK = "refined", "taken back"
_LEAD = (
    "From the cameras that the capture came with. In the image: how far what a photo sees moved, root mean square. "
    "Each photo is judged by pixels that no step looked at: their PSNR with the capture's pose and the refined one."
)


def moves_section(
    refinement: Mapping[str, Any] | None, families: Sequence[str] = (), links: Mapping[str, str] | None = None
) -> Section:
    """What a page says of a ``Refined`` message as ``refinement.json`` holds it; None where nothing was refined, or not
    yet: ``families`` of structure that are to be. ``links``: where a click on the photo of a name leads.
    """
    title, short = "How far cameras moved", "Cameras"
    if refinement is None:
        return Section(title, _unmoved(families), anchor="cameras", short=short)
    rows = [_row(camera, (links or {}).get(camera["name"])) for camera in refinement["cameras"]]
    body = fact_tiles(_facts(refinement)) + sortable_table(_COLUMNS, rows, _FOLDED) + _lenses(refinement["lenses"])
    return Section(title, body, _LEAD, anchor="cameras", short=short)


_COLUMNS = (
    Column("photo"),
    Column("moved [units]", numeric=True, first="down", hint="distance between camera centres, in units of the scene"),
    Column("turned [°]", numeric=True, first="down"),
    Column("in the image [px]", numeric=True, first="down"),
    Column("before [dB]", numeric=True, hint="PSNR of kept-back pixels with the capture's pose"),
    Column("after [dB]", numeric=True, hint="PSNR of kept-back pixels with the refined pose"),
    Column("fate"),
)


def _unmoved(families: Sequence[str]) -> Markup:
    if families:
        return note(f"Of {', '.join(families)} nothing is told yet: that comes with the end of a fit.")
    return note(
        Markup("Not refined: poses and lenses are those that the capture came with. {} moves them.").format(
            code("unrender fit --refine photometry,poses,lens")
        )
    )


def _row(camera: Mapping[str, Any], url: str | None) -> Row:
    name, fate = camera["name"], camera["fate"]
    link = Markup('<a href="{}">{}</a>').format(url, name) if url else name
    return Row(
        (
            Cell(link, name),
            number(camera["moved"], ".4g"),
            number(camera["degrees"], ".3f"),
            number(camera["pixels"]),
            number(camera["before"]),
            number(camera["after"]),
            Cell(fate, tone="warn" if fate == _TAKEN_BACK else ""),
        )
    )


def _facts(refinement: Mapping[str, Any]) -> list[Fact]:
    """Medians over the cameras that were refined, and what was given up."""
    forms = {
        "Moved": ("moved", ".3g", " units"),
        "Turned": ("degrees", ".2g", "°"),
        "In the image": ("pixels", ".2f", " px"),
    }
    facts = [Fact("Refined", f"{_count(refinement, _REFINED)} cameras", ", ".join(refinement["families"]))]
    for label, (name, form, unit) in forms.items():
        if (found := median_and_most(refinement, name)) is not None:
            median, most = (f"{value:{form}}{unit}" for value in found)
            facts.append(Fact(label, median, f"median; most {most}"))
    back = _count(refinement, _TAKEN_BACK)
    dropped = ", ".join(refinement["dropped"])
    facts.append(Fact("Taken back", f"{back} cameras", "worse than before", "warn" if back else ""))
    return [*facts, *([Fact("Given up", dropped, "of all photos", "warn")] if dropped else [])]


def moves_line(refinement: Mapping[str, Any]) -> str:
    """The same for people in a terminal."""
    found = {name: median_and_most(refinement, name) for name in ("moved", "degrees", "pixels")}
    known = [numbers for numbers in found.values() if numbers is not None]
    if len(known) < len(found):
        return "no camera moved"
    (moved, _), (degrees, _), (pixels, most) = known
    median = f"{pixels:.2f} pixels ({moved:.3g} units, {degrees:.2g} degrees)"
    line = f"{_count(refinement, _REFINED)} cameras moved: median {median}, most {most:.2f} pixels"
    back = _count(refinement, _TAKEN_BACK)
    return line + (f"; {back} taken back" if back else "")


def median_and_most(refinement: Mapping[str, Any], name: str) -> tuple[float, float] | None:
    """Of a number of all refined cameras; None where none of them has it."""
    refined = [camera[name] for camera in refinement["cameras"] if camera["fate"] == _REFINED]
    values = sorted(value for value in refined if value is not None and math.isfinite(value))
    return (values[len(values) // 2], values[-1]) if values else None


def _count(refinement: Mapping[str, Any], fate: str) -> int:
    return sum(camera["fate"] == fate for camera in refinement["cameras"])


def _lenses(lenses: Sequence[Mapping[str, Any]]) -> Markup:
    """Every parameter of every refined lens."""
    if not lenses:
        return Markup()
    columns = (
        Column("lens"),
        Column("parameter"),
        *(Column(name, numeric=True) for name in ("given", "refined", "change")),
    )
    rows = [
        Row(
            (
                Cell(f"{place}: {lens['model']}"),
                Cell(name),
                *(number(value, ".6g") for value in (given, now, now - given)),
            )
        )
        for place, lens in enumerate(lenses)
        for name, given, now in zip(lens["names"], lens["given"], lens["refined"], strict=True)
    ]
    return Markup("<h3>Lenses</h3>") + sortable_table(columns, rows, _FOLDED)
