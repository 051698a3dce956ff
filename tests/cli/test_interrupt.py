"""A signal saves and says how to go on; going on ends where an uninterrupted fit ends; a second Ctrl-C kills."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

from unrender.cli import fit as fit_verb
from unrender.cli.progress import ProgressView
from unrender.cli.session import Session
from unrender.cli.signals import Interrupted, StopRequest, signals_interrupt, signals_request
from unrender.cli.sitting import Sitting
from unrender.fit.run import Run
from unrender.messages import Finished, Note, Started, Stepped

STARTED = Started(1, 1, 1, 1, 1, 1, 0, 4, None)


def with_source():
    """The environment of a child that finds the package where these tests found it, installed or not."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def stopped_fit(capture, run, options, number, until):
    """A fit in a process of its own that gets a signal once its log holds ``until``; status, stdout, stderr."""
    command = [sys.executable, "-m", "unrender", "fit", str(capture), "-o", str(run), *options]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=with_source())
    log = run / "log.jsonl"
    while child.poll() is None and not (log.exists() and until in log.read_text()):
        time.sleep(0.01)
    child.send_signal(number)
    return *reversed(child.communicate(timeout=60)), child.returncode


def test_ctrl_c_saves_and_the_line_it_prints_ends_with_the_same_bytes(unrender, tiny_capture, small, tmp_path):
    """The run's folder has a blank in its name: the line must still be a command."""
    run, options = tmp_path / "my run", ("--config", str(small), "--steps", "30", "--threads", "1")
    err, out, status = stopped_fit(tiny_capture, run, options, signal.SIGINT, '"step": 3,')
    assert status == 130, err
    assert out == ""
    assert "stopping after this step; Ctrl-C again to kill" in err
    assert "Traceback" not in err
    *_, last = err.splitlines()
    assert 4 <= Run.open(run).load_checkpoint().step < 30
    said, _, again = last.partition("; go on with: unrender ")
    assert said == "unrender: stopped and saved"
    assert unrender(*shlex.split(again)).status == 0
    assert unrender("fit", tiny_capture, "-o", tmp_path / "whole", *options).status == 0
    checkpoints = [(folder / "checkpoint.safetensors").read_bytes() for folder in (run, tmp_path / "whole")]
    assert checkpoints[0] == checkpoints[1]


def test_sigterm_does_the_same_with_its_own_status_and_json(tiny_capture, small, tmp_path):
    options = ("--config", str(small), "--steps", "30", "--threads", "1", "--json", "--quiet")
    err, out, status = stopped_fit(tiny_capture, tmp_path / "run", options, signal.SIGTERM, '"step": 3,')
    assert status == 143, err
    step = Run.open(tmp_path / "run").load_checkpoint().step
    assert json.loads(out) == {"run": str(tmp_path / "run"), "interrupted": True, "step": step}
    assert err.count("\n") == 1
    assert "--resume --threads 1" in err


class Signalled(Run):
    """A run that gets a signal at a chosen moment."""

    def __init__(self, folder, before_started=(), in_a_step=()):
        self.folder, self.handlers = folder, []
        self._before, self._in_a_step = before_started, in_a_step

    def fit(self, stop=None):
        yield Note("reading")
        for number in self._before:
            os.kill(os.getpid(), number)
        yield STARTED
        assert stop is not None
        assert not stop()
        for number in self._in_a_step:
            os.kill(os.getpid(), number)
        self.handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        yield Stepped(0, 0.1, 20.0, 0.25, 1.0, 3.0)
        yield Finished(1, 1.0, interrupted=stop())


def sat(tmp_path, **signals):
    """What a sitting at a signalled run says at its end, and the run."""
    run = Signalled(tmp_path / "run", **signals)
    with pytest.raises(Interrupted) as stop, signals_interrupt(), Sitting(tmp_path, run.folder, Session()) as sitting:
        sitting.fit(run, ProgressView(quiet=True))
    return stop.value, run


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_every_signal_is_noted_in_a_step_and_has_its_status(tmp_path, name, status):
    stop, _ = sat(tmp_path, in_a_step=[getattr(signal, name)])
    assert stop.status == status


def test_a_second_ctrl_c_is_left_to_the_system_and_a_second_sigterm_is_not(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    _, run = sat(tmp_path, in_a_step=[signal.SIGTERM, signal.SIGTERM])
    assert run.handlers[0] is signal.SIG_DFL
    assert run.handlers[1] is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is before


def test_a_signal_before_anything_was_written(tmp_path):
    stop, _ = sat(tmp_path, before_started=[signal.SIGINT])
    assert stop.says == "stopped before there was anything to save; the same command begins again"


def test_a_signal_before_the_first_step(unrender, tiny_capture, small, tmp_path, monkeypatch):
    """The settings are in the run by then, so that the line that goes on needs none."""
    began = Run.fit
    monkeypatch.setattr(Run, "fit", lambda self, stop: os.kill(os.getpid(), signal.SIGINT) or began(self, stop))
    said = unrender("fit", tiny_capture, "-o", tmp_path / "run", "--config", small, "--steps", 1, "--json")
    assert said.status == 130
    assert json.loads(said.out) == {"run": str(tmp_path / "run"), "interrupted": True, "step": None}
    again = f"go on with: unrender fit {tiny_capture} -o {tmp_path / 'run'} --resume\n"
    assert said.err.endswith(f"unrender: stopped before the first step, nothing is lost; {again}")


def test_a_signal_while_scoring(unrender, tiny_capture, small, tmp_path, monkeypatch):
    monkeypatch.setattr(fit_verb, "follow", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    said = unrender("fit", tiny_capture, "-o", tmp_path / "run", "--config", small, "--steps", 1, "--json")
    assert said.status == 143
    assert json.loads(said.out)["step"] == 1
    assert said.err.endswith(f"the fit is done and saved, score it with: unrender eval {tmp_path / 'run'}\n")


def test_what_the_process_was_told_to_ignore_stays_ignored():
    """As under ``nohup``."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_interrupt(), signals_request(StopRequest(), print):
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
