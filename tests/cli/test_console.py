"""Words reach whoever listens: any letter, a pipe whose reader has left, a terminal that was closed, a full disk."""

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr
from pathlib import Path

import pytest
from rich.table import Table

from unrender.cli import console

FULL = Path("/dev/full")


class Closed(io.StringIO):
    """A terminal that was closed."""

    def write(self, text):
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("CI", "true"), ("TERM", "dumb")])
def test_a_terminal_is_live_unless_told_otherwise(terminal, monkeypatch, name, value):
    assert console.is_live(terminal)
    assert not console.is_live(io.StringIO())
    monkeypatch.setenv(name, value)
    assert not console.is_live(terminal)
    with redirect_stderr(terminal):
        console.error_console().print("words", style="red")
    assert terminal.getvalue() == "words\n"


def test_forced_colour_does_not_make_a_file_a_terminal(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with redirect_stderr(io.StringIO()) as stream:
        console.error_console().print("words", style="red")
    assert stream.getvalue() == "words\n"


def test_a_closed_terminal_is_no_error():
    with redirect_stderr(Closed()):
        console.error_console().print("words")


def test_results_are_printed_as_they_are(capsys):
    console.print_result("a [b]name[/b] :smile: " + "long " * 40)
    assert capsys.readouterr().out == "a [b]name[/b] :smile: " + "long " * 40 + "\n"


def test_json_is_strict(capsys, tmp_path):
    console.print_json({"run": tmp_path / "Gerät", "psnr": float("nan"), "flip": [float("inf"), 1.5]})
    assert capsys.readouterr().out == f'{{"run": "{tmp_path}/Ger\\u00e4t", "psnr": null, "flip": [null, 1.5]}}\n'


PROGRAM = """
import sys, time
from unrender.cli import console
console.tolerate_any_text()
from rich.table import Table
table = Table(title="scores")
table.add_column("photo")
table.add_row("Geraet \\u00e4\\udcff.jpg")
try:
    console.print_result(*["words"] * 20_000, table)
except OSError as error:
    sys.exit(f"{error.filename}: {error.strerror}")
sys.exit(7)
"""


def printed(stdout, encoding="utf-8"):
    """A child that prints to ``stdout`` and then ends with status 7."""
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=stdout, stderr=subprocess.PIPE, env=environment, encoding=encoding
    )


def test_a_reader_that_leaves_is_no_error():
    child = printed(subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    child.stdout.close()
    assert child.stderr is not None
    assert child.stderr.read() == ""
    assert child.wait(30) == 7


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_one():
    with FULL.open("w") as full:
        child = printed(full)
        assert child.communicate(timeout=30)[1] == "standard output: No space left on device\n"
    assert child.returncode == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_letters_that_a_terminal_lacks_are_escaped(encoding):
    child = printed(subprocess.PIPE, encoding)
    out, err = child.communicate(timeout=30)
    assert err == ""
    assert "\\udcff.jpg" in out
    assert child.returncode == 7


def test_tables_keep_whole_names(capsys, monkeypatch):
    from unrender.cli.eval import score_table
    from unrender.fit.evaluate import Evaluation, ViewScores
    from unrender.messages import Scores

    monkeypatch.setenv("COLUMNS", "60")
    name, scores = "[/i]" + "x" * 90 + ".jpg", Scores(20.0, 0.5, 0.1)
    table = score_table(Evaluation((ViewScores(name, scores, scores),), 64, 48), images=True)
    assert isinstance(table, Table)
    console.print_result(table)
    shown = "".join(character for character in capsys.readouterr().out if character in "[/i].jpgx")
    assert shown.count("x") >= 90
