"""The table of renderers, and the page that shows it."""

from dataclasses import fields
from pathlib import Path

import pytest

from unrender.errors import SettingsError
from unrender.render.render import RENDERERS, Capabilities, render

PAGE = Path(__file__).parents[2] / "docs" / "limits.md"


def rows_of(page):
    lines = [line for line in page.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return cells[0], {(row[0], row[1]): row[2:] for row in cells[2:]}


def test_the_limits_page_shows_the_table():
    header, rows = rows_of(PAGE.read_text())
    assert header == ["scene", "method", *(field.name for field in fields(Capabilities))]
    expected = {}
    for (scene, method), renderer in RENDERERS.items():
        values = [getattr(renderer.capabilities, field.name) for field in fields(Capabilities)]
        shown = [("yes" if value else "no") if isinstance(value, bool) else ", ".join(value) for value in values]
        expected[scene.__name__, method] = shown
    assert rows == expected


def test_an_unknown_pair_is_refused_by_name():
    with pytest.raises(SettingsError, match="no renderer for str by raycast"):
        render("scene", None, method="raycast")  # pyright: ignore[reportArgumentType]
