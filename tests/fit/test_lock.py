"""A run belongs to one process at a time, and is free the moment that process ends, however it ends."""

import os
import signal
import subprocess
import sys

import pytest

from unrender.errors import RunError
from unrender.fit.lock import LOCK_FILES, RunLock

HOLDER = """
import sys, time
from pathlib import Path
from unrender.fit.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_dies_with_its_process(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=rf"another process is fitting into this run \(process {child.pid} on "):
            RunLock(tmp_path).__enter__()
        child.send_signal(signal.SIGKILL)
    with RunLock(tmp_path):
        pass


def test_one_of_two_in_the_same_process(tmp_path):
    with RunLock(tmp_path), pytest.raises(RunError, match="another process"):
        RunLock(tmp_path).__enter__()
    with RunLock(tmp_path):
        pass


def test_it_leaves_nothing_but_what_it_names(tmp_path):
    with RunLock(tmp_path):
        pass
    assert {path.name for path in tmp_path.iterdir()} <= set(LOCK_FILES)


def test_what_is_no_folder_cannot_be_locked(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot lock the folder"):
        RunLock(tmp_path / "file").__enter__()
