"""Progress: a live bar on a terminal, few plain lines elsewhere, nothing when quiet; never on stdout."""

from contextlib import redirect_stderr

import pytest

from unrender.cli.progress import ProgressView
from unrender.messages import Evaluated, Finished, Note, Saved, Scores, Skipped, Started, Stepped

MESSAGES = [
    Note("a [note] of 100%"),
    Started(7, 2, 1000, 2000, 64, 48, 0, 1000, None),
    *(Stepped(step, 0.5, 20.0, (step + 1) / 1000, 0.1 * step, 100.0 - 0.1 * step) for step in range(1000)),
    Evaluated("photo.jpg", "exif", Scores(21.5, 0.8, 0.1), 1, 1),
]


def shown(capsys, tmp_path, quiet=False):
    with ProgressView(quiet) as view:
        for message in [*MESSAGES, Saved(tmp_path / "c", "checkpoint")]:
            view.show(message)
    return capsys.readouterr()


def test_plain_lines_without_a_terminal(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    said = shown(capsys, tmp_path)
    assert said.out == ""
    assert said.err.splitlines() == [
        "a [note] of 100%",
        "fitting 1,000 points and 2,000 numbers to 7 photos of 64 x 48 for 1000 steps; 2 held out",
        "fitting   0 %  step 1  loss 0.5000  20.00 dB  1:40 left",
        "fitting 100 %  step 1000  loss 0.5000  20.00 dB  0:00 left",
        "scoring 100 %  photo.jpg  21.50 dB",
        f"saved {tmp_path / 'c'}",
    ]


def test_a_live_bar_on_a_terminal(terminal, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    with redirect_stderr(terminal):
        said = shown(capsys, tmp_path)
    assert said == ("", "")
    assert "\x1b[" in terminal.getvalue()
    assert "step 1000" in terminal.getvalue()


def test_names_are_not_markup_and_results_pass_by_the_bar(terminal, capsys):
    with redirect_stderr(terminal), ProgressView() as view:
        view.advance("rendering", 0.5, "view [/b] :smile:.png")
        print("result")  # noqa: T201
    assert capsys.readouterr().out == "result\n"
    assert "view [/b] :smile:.png" in terminal.getvalue()


def test_steps_left_out_are_named_then_counted(capsys):
    with ProgressView() as view:
        for step in range(9):
            view.show(Skipped(step, "the loss (nan)", ("a.jpg", "b.jpg"), step + 1))
        view.show(Stepped(9, 0.1, 20.0, 1.0, 1.0, 0.0))
        view.show(Finished(10, 1.0, interrupted=False))
    assert capsys.readouterr().err.splitlines() == [
        "step 1 left out: the loss (nan) is not finite, a.jpg, b.jpg",
        "step 2 left out: the loss (nan) is not finite, a.jpg, b.jpg",
        "step 3 left out: the loss (nan) is not finite, a.jpg, b.jpg; more are only counted",
        "fitting 100 %  step 10  loss 0.1000  20.00 dB  0:00 left  9 left out",
        "9 steps left out; log.jsonl names them",
    ]


def test_nothing_when_quiet(capsys, tmp_path):
    assert shown(capsys, tmp_path, quiet=True) == ("", "")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (61, "1:01"), (3725, "1:02:05"), (float("inf"), "?")])
def test_time_left_is_readable(capsys, monkeypatch, seconds, text):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with ProgressView() as view:
        view.show(Stepped(0, 0.1, 20.0, 0.5, 1.0, seconds))
    assert f" {text} left" in capsys.readouterr().err
