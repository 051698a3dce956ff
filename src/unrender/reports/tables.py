"""Tables whose columns sort when their heads are clicked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

__all__ = ["Cell", "Column", "Row", "number", "sortable_table"]


@dataclass(frozen=True)
class Column:
    """A column: its ``title``; whether it holds numbers, which stand to the right; which way a first click sorts it.

    ``first``: ``""`` when it cannot be sorted; ``hint``: what the title means, shown when pointed at; ``order``: how
    the rows are sorted by it from the start, where they are.
    """

    title: str
    numeric: bool = False
    first: Literal["up", "down", ""] = "up"
    hint: str = ""
    order: Literal["ascending", "descending", ""] = ""


@dataclass(frozen=True)
class Cell:
    """What a cell shows, and the value that it is sorted by: its text when None. NaN goes to the end either way."""

    shows: str | Markup
    value: float | str | None = None
    tone: str = ""


@dataclass(frozen=True)
class Row:
    """Cells of a row, one per column; ``anchor``: the name that links give it."""

    cells: Sequence[Cell]
    anchor: str = ""


def number(value: float | None, form: str = ".2f", missing: str = "\N{EN DASH}", tone: str = "") -> Cell:
    """A cell with a number as ``form`` writes it, ``missing`` where there is none."""
    if value is None or not math.isfinite(value):
        return Cell(missing, math.nan)
    shown = format(value, form)
    if not any(digit in shown for digit in "123456789"):
        shown = shown.lstrip("+-")  # nothing has no sign
    return Cell(shown.replace("-", "\N{MINUS SIGN}") if shown[:1] == "-" else shown, value, tone)


def sortable_table(columns: Sequence[Column], rows: Sequence[Row], folded: int = 0) -> Markup:
    """A table with a head for each column; on a narrow screen it scrolls under its first column.

    ``folded``: rows that are shown until one asks for all (0: all).
    """
    heads = Markup("").join(map(_head, columns))
    fold = Markup(' data-folded="{}"').format(folded) if 0 < folded < len(rows) else ""
    body = Markup("\n").join(_row(row, columns) for row in rows)
    return Markup(
        '<div class="wide"><table class="sortable"{}><thead><tr>{}</tr></thead><tbody>\n{}\n</tbody></table></div>'
    ).format(fold, heads, body)


def _head(column: Column) -> Markup:
    style = Markup(' class="number"') if column.numeric else ""
    hint = Markup(' title="{}"').format(column.hint) if column.hint else ""
    if not column.first:
        return Markup('<th scope="col"{}{}>{}</th>').format(style, hint, column.title)
    order = Markup(' aria-sort="{}"').format(column.order) if column.order else ""
    return Markup('<th scope="col"{}{}{} data-first="{}"><button type="button">{}</button></th>').format(
        style, hint, order, column.first, column.title
    )


def _row(row: Row, columns: Sequence[Column]) -> Markup:
    anchor = Markup(' id="{}"').format(row.anchor) if row.anchor else ""
    cells = (_cell(cell, column) for cell, column in zip(row.cells, columns, strict=True))
    return Markup("<tr{}>{}</tr>").format(anchor, Markup("").join(cells))


def _cell(cell: Cell, column: Column) -> Markup:
    kinds = " ".join(filter(None, ("number" if column.numeric else "", cell.tone)))
    style = Markup(' class="{}"').format(kinds) if kinds else ""
    value = "" if isinstance(cell.value, float) and math.isnan(cell.value) else cell.value
    sort = "" if cell.value is None else Markup(' data-value="{}"').format(value)
    return Markup("<td{}{}>{}</td>").format(style, sort, cell.shows)
