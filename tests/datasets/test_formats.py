"""The front door: which format a folder is, and the table of them in the docs."""

from __future__ import annotations

from pathlib import Path

import pytest

from unrender.datasets import formats
from unrender.datasets.formats import FORMATS, Format, find_format, read_reconstruction
from unrender.errors import CaptureError, SettingsError

DOCS = Path(__file__).resolve().parents[2] / "docs"


def row(name: str, kind: Format) -> str:
    """The line of the docs for one format."""
    page = f"formats/{name}.md"
    named = f"[`{name}`]({page})" if (DOCS / page).is_file() else f"`{name}`"
    held = ", ".join(kind.lenses) if len(kind.lenses) < 15 else "all of COLMAP's"
    beside = ", ".join(kind.holds) or "nothing"
    written = f"{held} | {beside}" if kind.write else "not written |"
    return f"| {named} | {kind.title} | {kind.looks_like} | {written} |"


def test_the_docs_have_the_table() -> None:
    head = "| name | what it is | recognised by | written with the lenses | and with |\n|---|---|---|---|---|\n"
    table = head + "\n".join(row(name, kind) for name, kind in FORMATS.items())
    assert table in (DOCS / "formats.md").read_text(encoding="utf-8"), f"docs/formats.md lacks this table:\n\n{table}\n"


def test_a_format_that_is_named_is_not_guessed(small: Path) -> None:
    assert find_format(small) == ("colmap", ())
    assert find_format(small, "colmap") == ("colmap", ())
    with pytest.raises(SettingsError, match=r"unknown format 'colmapp'.*did you mean 'colmap'"):
        find_format(small, "colmapp")


def test_what_looks_like_two_formats_is_said(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Format("Another", "anything", lambda _: True, FORMATS["colmap"].read)
    monkeypatch.setattr(formats, "FORMATS", {**FORMATS, "other": other})
    assert read_reconstruction(small).notes[0] == "read as colmap; it looks like other too (--format)"


def test_what_looks_like_none_is_refused_with_what_would_do(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="this folder is empty, expected COLMAP sparse model"):
        find_format(tmp_path)
    (tmp_path / "a.jpg").touch()
    with pytest.raises(CaptureError, match=r"no poses here that unrender knows.*--format"):
        find_format(tmp_path)
    with pytest.raises(CaptureError, match="no such file or folder"):
        find_format(tmp_path / "absent")
