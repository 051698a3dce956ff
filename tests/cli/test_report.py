"""Every fit leaves a report, a stopped one too; nothing that happens to a report happens to the fit."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from unrender.cli import report as report_verb
from unrender.cli.progress import ProgressView
from unrender.cli.session import Session
from unrender.cli.signals import Interrupted, signals_interrupt, signals_wait
from unrender.cli.sitting import Sitting
from unrender.errors import RunError
from unrender.fit.run import Run
from unrender.messages import Finished, Started, Stepped
from unrender.reports import fit_report as fit_report_module


def reporting(monkeypatch, act):
    """From now on a report does ``act()`` instead."""

    def act_instead(run, photos=None, *, quick=False):
        act()
        yield from ()
        return run.folder / "report.html"

    monkeypatch.setattr(fit_report_module, "fit_report", act_instead)


def failing(error):
    def act():
        raise error

    return act


def test_a_fit_leaves_a_report_and_says_where(fitted):
    run, said = fitted
    assert said.out.endswith(f"report in {run / 'report.html'}\n")
    assert "room" not in (run / "report.html").read_text("utf-8")
    assert (run / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    assert "reporting 100 %" in said.err


def test_a_fit_without_a_report_is_the_same_fit(unrender, tiny_capture, small, fitted, tmp_path):
    command = ("fit", tiny_capture, "-o", tmp_path / "run", "--config", small, "--steps", 6, "--threads", 1)
    said = unrender(*command, "--no-report", "--json")
    assert said.status == 0
    assert json.loads(said.out)["report"] is None
    assert not (tmp_path / "run" / "report.html").exists()
    checkpoints = [run / "checkpoint.safetensors" for run in (fitted[0], tmp_path / "run")]
    assert checkpoints[0].read_bytes() == checkpoints[1].read_bytes()


def test_report_makes_it_again_of_as_many_photos_as_asked(unrender, fitted, tmp_path):
    run = shutil.copytree(fitted[0], tmp_path / "run")
    (run / "report.html").unlink()
    said = unrender("report", run, "--photos", 2)
    assert said == (0, f"report in {run / 'report.html'}\n", said.err)
    assert "2 of 9 were rendered" in (run / "report.html").read_text("utf-8")
    said = unrender("report", run, "--json", "--quiet", "--threads", 1, "--photos", 0)
    assert json.loads(said.out) == {"run": str(run), "report": str(run / "report.html")}
    assert said.err == ""


def test_a_resumed_run_tells_of_all_its_sittings(unrender, tiny_capture, fitted, tmp_path):
    run = shutil.copytree(fitted[0], tmp_path / "run")
    assert unrender("fit", tiny_capture, "-o", run, "--resume", "--steps", 9, "--threads", 1).status == 0
    assert "in 2 sittings" in (run / "report.html").read_text("utf-8")


REFUSED = {
    "no run": (lambda run, folder: ["report", folder / "nowhere"], "there is no run here"),
    "too many photos": (lambda run, folder: ["report", run, "--photos", 301], "expected 0 to 300, got 301"),
    "fewer than none": (lambda run, folder: ["report", run, "--photos", -1], "expected 0 to 300, got -1"),
    "photos of no number": (lambda run, folder: ["report", run, "--photos", "all"], "expected INT, got 'all'"),
    "more threads than cores": (lambda run, folder: ["report", run, "--threads", 4096], "more threads than cores"),
    "a run that never began": (lambda run, folder: ["report", without(run, "checkpoint.safetensors")], "no checkpoint"),
    "a page that is a folder": (lambda run, folder: ["report", with_folder(run)], "report.html"),
    "an option of fit": (lambda run, folder: ["report", run, "--no-report"], "--no-report"),
}


def without(run, name):
    (run / name).unlink()
    return run


def with_folder(run):
    without(run, "report.html").joinpath("report.html").mkdir()
    return run


@pytest.mark.parametrize(("build", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_one_line(unrender, fitted, tmp_path, build, message):
    said = unrender(*build(shutil.copytree(fitted[0], tmp_path / "run"), tmp_path))
    assert (said.status, said.out) == (2, "")
    *_, last = said.err.splitlines()
    assert last.startswith("unrender: error: ")
    assert message in last
    assert "Traceback" not in said.err


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RunError("it is locked")])
def test_a_report_that_cannot_be_made_does_not_spoil_the_fit(
    unrender, tiny_capture, small, tmp_path, monkeypatch, error
):
    reporting(monkeypatch, failing(error))
    said = unrender("fit", tiny_capture, "-o", tmp_path / "run", "--config", small, "--steps", 1)
    assert said.status == 0
    assert "PSNR" in said.out
    assert "report in" not in said.out
    assert f"no report: {error}" in said.err


def test_a_signal_while_the_report_of_a_finished_fit_is_made(unrender, tiny_capture, small, tmp_path, monkeypatch):
    reporting(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGTERM))
    said = unrender("fit", tiny_capture, "-o", tmp_path / "run", "--config", small, "--steps", 1)
    assert said.status == 143
    again = f"make its report with: unrender report {tmp_path / 'run'}"
    assert said.err.endswith(f"unrender: stopped; the fit is done, saved and scored, {again}\n")
    assert Run.open(tmp_path / "run").load_scores()["test"]


class Stopped(Run):
    """A run that is stopped by a signal in its first step."""

    def __init__(self, folder, number):
        self.folder, self._number = folder, number

    def fit(self, stop=None):
        yield Started(1, 1, 1, 1, 1, 1, 0, 4, None)
        os.kill(os.getpid(), self._number)
        yield Stepped(0, 0.1, 20.0, 0.25, 1.0, 3.0)
        yield Finished(1, 1.0, interrupted=True)


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_report_with_the_status_of_the_first(tmp_path, monkeypatch, second):
    begun = []
    reporting(monkeypatch, lambda: begun.append(1) or os.kill(os.getpid(), second) or pytest.fail("it went on"))
    run = Stopped(tmp_path / "run", signal.SIGHUP)
    with pytest.raises(Interrupted) as stop, signals_interrupt(), Sitting(tmp_path, run.folder, Session()) as sitting:
        sitting.fit(run, ProgressView(quiet=True))
    assert begun
    assert stop.value.status == 129


def test_a_signal_while_modules_load_waits_until_they_are_there():
    """Cut short, they would be half loaded."""
    loaded = []

    def load():
        with signals_interrupt(), signals_wait():
            os.kill(os.getpid(), signal.SIGTERM)
            loaded.append(1)

    with pytest.raises(Interrupted) as stop:
        load()
    assert loaded
    assert stop.value.status == 143


def test_the_report_of_a_stopped_fit_is_quick(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(report_verb, "follow", lambda *_: None)
    monkeypatch.setattr(fit_report_module, "fit_report", lambda run, photos=None, *, quick=False: asked.append(quick))
    run = Stopped(tmp_path / "run", signal.SIGINT)
    with pytest.raises(Interrupted), signals_interrupt(), Sitting(tmp_path, run.folder, Session()) as sitting:
        sitting.fit(run, ProgressView(quiet=True))
    assert asked == [True]


@pytest.mark.parametrize("signals", [1, 2])
def test_ctrl_c_leaves_a_report_and_a_second_one_leaves_without(unrender, tiny_capture, small, tmp_path, signals):
    """In a process of its own, that goes on to the bytes of a fit that was never stopped."""
    run, options = tmp_path / "run", ("--config", str(small), "--steps", "20", "--threads", "1")
    command = [sys.executable, "-m", "unrender", "fit", str(tiny_capture), "-o", str(run), *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    while child.poll() is None and not (
        (run / "log.jsonl").exists() and '"step": 3,' in (run / "log.jsonl").read_text()
    ):
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith("writing the report"):
            break
    if signals == 2:
        child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 130, err
    assert "Traceback" not in err
    assert "stopped and saved; go on with: unrender fit" in err
    assert (run / "report.html").exists() == (signals == 1)
    assert unrender("fit", tiny_capture, "-o", run, "--resume", "--no-report", "--threads", 1).status == 0
    assert unrender("fit", tiny_capture, "-o", tmp_path / "whole", *options, "--no-report").status == 0
    checkpoints = [folder / "checkpoint.safetensors" for folder in (run, tmp_path / "whole")]
    assert checkpoints[0].read_bytes() == checkpoints[1].read_bytes()
