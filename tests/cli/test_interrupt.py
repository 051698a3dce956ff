"""Ctrl-C saves and says how to go on; going on ends where an uninterrupted fit ends; a second Ctrl-C kills."""

import os
import signal
import subprocess
import sys
import time

from unrender.cli.fit import fit_run
from unrender.cli.progress import ProgressView
from unrender.fit.run import Run
from unrender.messages import Finished, Started


def test_ctrl_c_saves_and_a_resume_ends_with_the_same_bytes(unrender, tiny_capture, small, tmp_path):
    options = ("--config", str(small), "--steps", "30", "--threads", "1")
    command = [sys.executable, "-m", "unrender", "fit", str(tiny_capture), "-o", str(tmp_path / "run"), *options]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=with_source())
    log = tmp_path / "run" / "log.jsonl"
    while child.poll() is None and not (log.exists() and '"step": 3,' in log.read_text()):
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert out == ""
    assert f"unrender fit {tiny_capture} -o {tmp_path / 'run'} --resume" in err
    assert "Traceback" not in err
    assert 4 <= Run.open(tmp_path / "run").load_checkpoint().step < 30

    assert unrender("fit", tiny_capture, "-o", tmp_path / "run", *options, "--resume").status == 0
    assert unrender("fit", tiny_capture, "-o", tmp_path / "whole", *options).status == 0
    checkpoints = [(tmp_path / name / "checkpoint.safetensors").read_bytes() for name in ("run", "whole")]
    assert checkpoints[0] == checkpoints[1]


def with_source():
    """The environment of a child that finds the package where these tests found it, installed or not."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


class Interrupted(Run):
    """A run whose user presses Ctrl-C in its first step."""

    def __init__(self):
        self.handlers = []

    def fit(self, stop=None):
        assert stop is not None
        self.handlers.append(signal.getsignal(signal.SIGINT))
        yield Started(1, 1, 1, 1, 1, 1, 0, 1, None)
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        self.handlers.append(signal.getsignal(signal.SIGINT))
        yield Finished(1, 0.0, interrupted=True)


def test_a_second_ctrl_c_is_left_to_the_system():
    before, run = signal.getsignal(signal.SIGINT), Interrupted()
    assert not fit_run(run, ProgressView(quiet=True))
    assert run.handlers == [before, signal.SIG_DFL]
    assert signal.getsignal(signal.SIGINT) is before
