"""One case on one implementation, in a process of its own, so that its peak memory is its own.

    python -m unrender.bench.measure JSON

JSON: an ``Errand``. Prints a line of JSON per direction as soon as it is known. An errand of ``floor`` measures no
implementation but the floors of cases that differ in their rules only, a line each.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from unrender.bench.backends import BACKENDS
from unrender.bench.floor import find_floor
from unrender.bench.timing import PeakMemory, copy_speed, timed
from unrender.bench.workload import Case, make_sphere

__all__ = ["Errand", "measure"]


@dataclass(frozen=True)
class Errand:
    """``backend``: a name of ``BACKENDS``, or ``floor``; ``cases``: of the same points; ``repeats``: calls that count;
    ``limit``: seconds after which a call is given up with the whole process, None for never.
    """

    backend: str
    cases: tuple[Case, ...]
    repeats: int
    limit: float | None = None

    def text(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self))

    @staticmethod
    def read(text: str) -> Errand:
        """From JSON."""
        table = json.loads(text)
        return Errand(**table | {"cases": tuple(Case(**case) for case in table["cases"])})


def measure(errand: Errand) -> Iterator[dict[str, Any]]:
    """What is known, piece by piece."""
    torch.set_num_threads(errand.cases[0].threads)
    return _floors(errand) if errand.backend == "floor" else _directions(errand)


def _floors(errand: Errand) -> Iterator[dict[str, Any]]:
    device = errand.cases[0].device
    speed = copy_speed(device)
    sphere = make_sphere(errand.cases[0])
    for case in errand.cases:
        yield asdict(find_floor(sphere, case, speed, errand.repeats))


def _directions(errand: Errand) -> Iterator[dict[str, Any]]:
    (case,) = errand.cases
    peak = PeakMemory(case.device)
    sphere = make_sphere(case)
    peak.restart()
    with _given_up_after(errand.limit):
        calls = BACKENDS[errand.backend].calls(sphere, case)
    for direction, work in calls.items():
        timing = timed(work, errand.repeats, case.device, _given_up_after(errand.limit))
        yield {"direction": direction, **asdict(timing), "peak_bytes": peak.read()}
        peak.restart()


@contextmanager
def _given_up_after(seconds: float | None) -> Iterator[None]:
    """SIGALRM ends the process when the block takes longer, also inside a library that never returns to Python."""
    if seconds is None:
        yield
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


def _main() -> None:
    for line in measure(Errand.read(sys.argv[1])):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main()
