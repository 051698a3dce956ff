"""Every error is one line with the right status: the user's, the system's, memory, and our own bugs."""

import errno
import os

import pytest
import torch

from unrender.cli.eval import EvalVerb
from unrender.cli.session import available_cores


@pytest.fixture
def failing(unrender, monkeypatch, tmp_path):
    """A verb that fails with an error; what the command line makes of it."""

    def call(error):
        def fail(self):
            raise error

        monkeypatch.setattr(EvalVerb, "run", fail)
        return unrender("eval", tmp_path)

    return call


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (errno.ENOSPC, "/run/eval.json: No space left on device; free some and try again"),
        (errno.EACCES, "/run/eval.json: Permission denied; mend its rights or choose another place"),
        (errno.EROFS, "/run/eval.json: Read-only file system; choose another place"),
        (errno.EMFILE, "/run/eval.json: Too many open files"),
    ],
)
def test_what_the_system_refuses(failing, number, line):
    said = failing(OSError(number, os.strerror(number), "/run/eval.json"))
    assert said == (2, "", f"unrender: error: {line}\n")


def test_too_little_memory_names_the_knobs(failing):
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**50, dtype=torch.float64)
    for given in (error.value, MemoryError()):
        said = failing(given)
        assert said.status == 2
        assert said.err.count("\n") == 1
        assert all(knob in said.err for knob in ("--width", "--threads", "points.count"))
    assert "9007199.3 GB" in failing(error.value).err


def test_a_bug_of_ours_says_so(failing, monkeypatch):
    said = failing(ZeroDivisionError("division\nby zero"))
    assert said.status == 1
    assert said.out == ""
    assert said.err.startswith("unrender: this is a bug in unrender (ZeroDivisionError in test_main.py, line ")
    assert said.err.endswith("division by zero); please report it with what UNRENDER_TRACEBACK=1 shows\n")
    monkeypatch.setenv("UNRENDER_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        failing(ZeroDivisionError())


@pytest.mark.parametrize("verb", ["fit", "eval", "render", "demo", "bench"])
def test_every_verb_has_the_same_session(unrender, verb):
    said = unrender(verb, "--help").out
    for option in ("--device {cpu,cuda}", "--threads N", "--seed S", "--quiet", "--json"):
        assert said.count(f" {option} ") >= 1, option
    assert "eval and render draw nothing" in " ".join(said.replace("│", " ").split())


def test_more_threads_than_cores(unrender, tmp_path, monkeypatch):
    cores = available_cores()
    refused = f"more threads than cores, expected at most {cores}, got {cores + 1}; "
    said = unrender("eval", tmp_path, "--threads", cores + 1)
    assert said.status == 2
    assert said.err.startswith(f"unrender: error: --threads: {refused}")
    monkeypatch.setenv("UNRENDER_THREADS", str(cores + 1))
    assert unrender("eval", tmp_path).err.startswith(f"unrender: error: UNRENDER_THREADS: {refused}")
    monkeypatch.delenv("UNRENDER_THREADS")
    monkeypatch.setenv("OMP_NUM_THREADS", f"{cores + 1},1")
    assert unrender("eval", tmp_path).err.startswith(f"unrender: error: OMP_NUM_THREADS: {refused}")
    monkeypatch.setenv("OMP_NUM_THREADS", "many")  # torch does not read this either
    assert "there is no run here" in unrender("eval", tmp_path).err


def test_torch_keeps_its_own_count_unless_told(unrender, tmp_path, monkeypatch):
    """It has read OMP_NUM_THREADS itself."""
    monkeypatch.delenv("UNRENDER_THREADS", raising=False)
    before = torch.get_num_threads()
    unrender("eval", tmp_path)
    assert torch.get_num_threads() == before
