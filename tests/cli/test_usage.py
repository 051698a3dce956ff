"""A command line that cannot be read: one line, status 2, like everything else that is refused."""

import io
import os
import signal
import subprocess
import sys
import time

import pytest

from unrender.cli.usage import usage_line


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "fly",
            "Unrecognized options: fly; Available subcommands: "
            "demo, inspect, fit, align, eval, render, report, export, convert, response, bench; see unrender --help",
        ),
        ("fit", "Missing from unrender fit: CAPTURE, -o RUN, --output RUN; see unrender fit --help"),
        ("fit capture", "Missing from unrender fit: -o RUN, --output RUN; see unrender fit --help"),
        ("fit c -o r --steps x", "Error parsing --steps: expected INT, got 'x'; see unrender --help"),
        ("render r -o o --frames x", "Error parsing --frames: expected INT, got 'x'; see unrender --help"),
        ("fit c -o r --device tpu", "invalid choice 'tpu' for argument '--device'. Expected one of ('cpu', 'cuda')"),
        ("fit c -o r --wdith 3", "Unrecognized options: --wdith, 3; Perhaps you meant: --width W; see unrender --help"),
        ("eval", "Missing from unrender eval: RUN; see unrender eval --help"),
        ("eval --wdith", "Missing value for argument 'run-folder'. Expected 1 values; see unrender eval --help"),
    ],
)
def test_a_usage_error(unrender, monkeypatch, columns, words, message):
    monkeypatch.setenv("COLUMNS", str(columns))
    said = unrender(*words.split())
    assert (said.status, said.out) == (2, "")
    assert said.err.startswith(f"unrender: error: {message}")
    assert said.err.count("\n") == 1


def test_with_a_frame_as_on_a_terminal():
    lines = "│ Bad thing  │", "│ ────────── │", "│ See:       │", "│     --a    │", "│        It. │"
    box = "\n".join(["╭─ Oops ─────╮", *lines, "╰────────────╯"])
    assert usage_line(box) == "Bad thing; See: --a"
    assert usage_line("not a\nbox") == "not a box"


SLOW = """
import builtins, sys, time
real = builtins.__import__
def slow(name, *rest):
    if name.startswith("unrender.cli.main"):
        print("importing", flush=True)
        try:
            time.sleep(20)
        except BaseException:  # as PyTorch does while it loads NumPy
            pass
    return real(name, *rest)
builtins.__import__ = slow
from unrender.__main__ import main
sys.exit(main())
"""


def test_ctrl_c_while_python_imports_is_one_line():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", SLOW]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert isinstance(child.stdout, io.TextIOBase)
    assert child.stdout.readline() == "importing\n"
    time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    assert child.communicate(timeout=30) == ("", "unrender: interrupted\n")
    assert child.returncode == 130


SWALLOWING = """
import sys
from pathlib import Path
from unrender.cli.signals import signals_interrupt
sys.path.insert(0, sys.argv[1])
Path(sys.argv[1], "swallows.py").write_text(
    "import os, signal\\n"
    "try:\\n    os.kill(os.getpid(), getattr(signal, 'SIG' + 'TERM'))\\n"
    "except BaseException:\\n    pass\\n"
)
with signals_interrupt():
    import swallows
print("went on")
"""


def test_a_module_that_swallows_a_signal_while_it_is_loaded_does_not_go_on(tmp_path):
    """As PyTorch does while it loads NumPy; what goes on then has half of it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", SWALLOWING, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (143, "", "unrender: interrupted\n")
