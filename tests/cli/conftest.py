"""The command line, called in this process, and a run that all tests may read."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from unrender.cli.main import main

SMALL = """
[crop]
size = 32
[points]
count = 2000
[network]
levels = 2
width = 8
precision = "float32"
"""


class Outcome(NamedTuple):
    """Exit status, and what was written where."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="session")
def unrender() -> Callable[..., Outcome]:
    """Call ``unrender`` with some arguments."""

    def call(*arguments: object) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = main([str(argument) for argument in arguments])
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
        return Outcome(status, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of a fit that takes a second."""
    path = tmp_path_factory.mktemp("settings") / "small.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="session")
def fitted(
    unrender: Callable[..., Outcome], tiny_capture: Path, small: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Outcome]:
    """A finished run of six steps, and what fitting it said. Not to be written to."""
    run = tmp_path_factory.mktemp("fitted") / "run"
    return run, unrender("fit", tiny_capture, "-o", run, "--config", small, "--steps", 6, "--threads", 1)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A live terminal, to which a test redirects stderr."""
    for name in ("NO_COLOR", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()
