"""Commands of unrender as child processes that can be killed at a chosen moment, and what is known of them afterwards.

Only the standard library is imported here: the peak memory that the system reports of a child counts its parent's
memory until the child is another program, so that the parent must stay small.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).resolve().parent.parent
TIME_LIMIT = 900.0
"""Seconds after which a command counts as hanging."""
MAKE_ROOM = """
import json, sys, torch
from unrender.datasets.synthetic.capture import RoomSettings, make_room_capture
torch.set_num_threads(1)
list(make_room_capture(sys.argv[1], RoomSettings(keep_views=False, **json.loads(sys.argv[2]))))
"""


@dataclass(frozen=True)
class Strike:
    """Send ``number`` after ``seconds``, and then as soon as ``when`` is true."""

    number: signal.Signals
    seconds: float
    when: Callable[[], object] = lambda: True


@dataclass(frozen=True)
class Outcome:
    """What became of a command. ``sent``: name of the signal that reached it; ``peak``: its largest memory [MiB]."""

    arguments: tuple[str, ...]
    status: int
    stdout: str
    stderr: str
    seconds: float
    peak: float
    sent: str | None = None

    @property
    def lines(self) -> list[str]:
        """What it said on stderr."""
        return self.stderr.strip().splitlines()

    @property
    def refused(self) -> bool:
        """Whether it ended with status 2 and one line for the user."""
        return self.status == 2 and len(self.lines) >= 1 and self.lines[-1].startswith("unrender: error: ")

    @property
    def ended_by_signal(self) -> bool:
        """Whether the signal, and nothing else, ended it."""
        wanted = {"SIGKILL": {-9}, "SIGTERM": {-15, 130, 143}, "SIGINT": {-2, 130}}
        return self.sent is not None and self.status in wanted[self.sent]


class Child:
    """A running command, in a session of its own so that Ctrl-C in the terminal is not for it."""

    def __init__(self, arguments: Sequence[str], program: Sequence[str] = ("-m", "unrender")) -> None:
        self.arguments = tuple(arguments)
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 (closed by outcome)
        self._began = time.monotonic()
        paths = os.pathsep.join(filter(None, [str(REPOSITORY / "src"), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, *program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
            start_new_session=True,
        )
        self._sent: str | None = None
        self._ended: tuple[int, float, float] | None = None

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def alive(self) -> bool:
        """Whether it still runs."""
        if self._ended is None:
            pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                self._process.returncode = os.waitstatus_to_exitcode(status)
                self._ended = self._process.returncode, self.seconds, usage.ru_maxrss / 1024
        return self._ended is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal; nothing when it has ended."""
        if self.alive():
            self._process.send_signal(number)
            self._sent = number.name

    def outcome(self) -> Outcome:
        """Wait for its end; one that hangs is killed, which its status then tells."""
        try:
            while self.alive():
                if self.seconds > TIME_LIMIT:
                    self._process.kill()
                time.sleep(0.01)
        except BaseException:
            self._process.kill()
            raise
        assert self._ended is not None
        status, seconds, peak = self._ended
        return Outcome(self.arguments, status, _text(self._out), _text(self._err), seconds, peak, self._sent)


def call(arguments: Sequence[str], strike: Strike | None = None) -> Outcome:
    """Run ``unrender ARGUMENTS`` to its end, or to the strike's."""
    child = Child(arguments)
    try:
        if strike is not None:
            while child.alive() and not (child.seconds >= strike.seconds and strike.when()):
                time.sleep(0.001)
            child.send(strike.number)
        return child.outcome()
    except BaseException:
        child.send(signal.SIGKILL)
        raise


def sit(run: Path, arguments: Sequence[str], strike: Strike | None) -> tuple[Outcome, str | None]:
    """One sitting of a fit into ``run``, and the phase in which a signal ended it."""
    before, steps = parts(run), logged_steps(run)
    outcome = call(arguments, strike)
    if not outcome.ended_by_signal:
        return outcome, None
    if parts(run).items() - before.items():
        return outcome, "writing"
    return outcome, "stepping" if logged_steps(run) > steps else "starting"


def parts(folder: Path) -> dict[str, int]:
    """Files in ``folder`` that are not finished, with the times when they were last written."""
    found: dict[str, int] = {}
    for pattern in (".*.part", ".tmp*", "*.part"):
        for path in folder.glob(pattern):
            with suppress(FileNotFoundError):  # it was finished meanwhile
                found[path.name] = path.stat().st_mtime_ns
    return found


def logged_steps(run: Path) -> int:
    """How many steps the run's log tells of, over all sittings."""
    try:
        return (run / "log.jsonl").read_bytes().count(b'"type": "Stepped"')
    except FileNotFoundError:
        return 0


def make_room(folder: Path, settings: str) -> Outcome:
    """Photograph a synthetic room into ``folder``; ``settings``: JSON of its RoomSettings."""
    return Child([str(folder), settings], program=("-c", MAKE_ROOM)).outcome()


def program() -> Path:
    """The package that the commands run: an editable install of another clone would come before this one."""
    return Path(Child([], program=("-c", "import unrender; print(unrender.__file__)")).outcome().stdout.strip())


def provenance() -> dict[str, str]:
    """Date, commit and machine, as every result names them; ends the script when the commands are not this commit's."""
    if REPOSITORY not in program().parents:
        sys.exit(f"the commands would run {program()}, not {REPOSITORY}: install this clone")
    return {
        "date": date.today().isoformat(),
        "commit": _git("rev-parse", "--short", "HEAD")
        + (" with changes" if _git("status", "--porcelain", "src") else ""),
        "machine": f"{os.cpu_count()} cores, {_processor()}, {platform.system()}, one thread for each command",
        "versions": f"Python {platform.python_version()}, PyTorch {version('torch')}",
    }


def _text(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode(errors="replace")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
