"""The benchmark of the point rasteriser: every case on every implementation, each in a process of its own."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from unrender.bench.backends import BACKENDS, Backend
from unrender.bench.floor import Floor, moved_bytes
from unrender.bench.measure import Errand
from unrender.bench.memory import refuse_too_many
from unrender.bench.metrics import Row
from unrender.bench.workload import Case, make_cases
from unrender.errors import RunError, SettingsError
from unrender.messages import Message, Note

__all__ = ["Absence", "Measured", "PointsBench", "Table", "bench_points", "in_own_process"]

DIRECTIONS = ("forward", "backward")


@dataclass(frozen=True)
class PointsBench:
    """What to measure. ``backends``: names of ``BACKENDS``, None for all that are here; ``repeats``: calls that count;
    ``peer_seconds``: what one call of somebody else's may take. The rest: see ``Case``.
    """

    points: Sequence[int] = (100_000, 1_000_000, 10_000_000)
    layers: Sequence[int] = (1, 4)
    discards: Sequence[bool] = (False, True)
    backends: Sequence[str] | None = None
    threads: int = 1
    device: str = "cpu"
    half: bool = False
    repeats: int = 15
    peer_seconds: float = 60.0
    seed: int = 0

    def cases(self) -> list[Case]:
        """Every combination."""
        rest = {"device": self.device, "half": self.half, "seed": self.seed}
        return list(make_cases(self.points, self.layers, self.discards, self.threads, **rest))


@dataclass(frozen=True)
class Absence:
    """A ``backend`` was left out of ``points`` and ``layers``, None for all of them, and why."""

    backend: str
    why: str
    points: int | None = None
    layers: int | None = None

    @property
    def text(self) -> str:
        """One line."""
        where = "" if self.points is None else f" at {self.points:,} points, {self.layers} layer(s)"
        return f"{self.backend} left out{where}: {self.why}"


@dataclass(frozen=True)
class Measured(Message):
    """A row is known: number ``done`` of at most ``total``."""

    row: Row
    done: int
    total: int


@dataclass
class Table:
    """What was found: ``rows``, what was ``left_out``, bytes per second at which memory is copied (one figure for each
    number of points), and versions of the ``peers`` that were measured.
    """

    rows: list[Row] = field(default_factory=list)
    left_out: list[Absence] = field(default_factory=list)
    copy_speeds: list[float] = field(default_factory=list)
    peers: dict[str, str] = field(default_factory=dict)


Runner = Callable[[Errand], Iterable[dict[str, Any]]]


def in_own_process(errand: Errand) -> Iterator[dict[str, Any]]:
    """What a fresh process finds out; it may end early by the errand's limit.

    Raises RunError with the last words of a process that failed.
    """
    kernels = errand.backend if errand.backend in ("native", "reference") else os.environ.get("UNRENDER_KERNELS", "")
    paths = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-m", "unrender.bench.measure", errand.text()],
        env={**os.environ, "PYTHONPATH": paths, "UNRENDER_KERNELS": kernels or "native"},
        capture_output=True,
        text=True,
        check=False,
    )
    yield from (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    if done.returncode not in (0, -signal.SIGALRM):
        killed = "the system ended it, most likely for want of memory"
        words = done.stderr.strip().splitlines() or [killed]
        raise RunError("could not be measured", where=errand.backend, got=words[-1])


def bench_points(bench: PointsBench, run: Runner = in_own_process) -> Generator[Message, None, Table]:
    """Measure; what is yielded tells how far it is, what is returned is the table.

    Raises SettingsError when a backend cannot do what is asked, RunError when there is too little memory.
    """
    table, cases = Table(), bench.cases()
    backends = list(_chosen(bench, table))
    for absence in table.left_out:
        yield Note(absence.text)
    refuse_too_many(bench.points, backends, bench.device)
    floors: dict[Case, Floor] = {}
    total = len(DIRECTIONS) * len(cases) * len(backends)
    for place, case in enumerate(cases):
        if case not in floors:
            floors |= _floors(case, cases, bench, run)
            table.copy_speeds.append(floors[case].copy_speed)
        for number, backend in enumerate(backends):
            known, absence = _measure(case, backend, bench, table, run)
            before = len(DIRECTIONS) * (place * len(backends) + number)
            for done, line in enumerate(known, start=before + 1):
                table.rows.append(_row(case, backend, floors[case], line))
                yield Measured(table.rows[-1], done, total)
            if absence is not None:
                table.left_out.append(absence)
                yield Note(absence.text)
    return table


def _chosen(bench: PointsBench, table: Table) -> Iterator[Backend]:
    """The backends that run; one that was asked for by name must."""
    for name in bench.backends or BACKENDS:
        if name not in BACKENDS:
            raise SettingsError("no such backend", where="backends", expected=" ".join(BACKENDS), got=name)
        why = BACKENDS[name].absent(bench.device)
        if why is None and bench.half and not BACKENDS[name].peer:
            why = BACKENDS[name].unlike(bench.cases()[0])
        if why is None:
            yield BACKENDS[name]
            if BACKENDS[name].peer:
                table.peers[name] = _peer_version()
        elif bench.backends:
            raise SettingsError(why, where=f"backend {name}", do="leave it out")
        else:
            table.left_out.append(Absence(name, why))


def _peer_version() -> str:
    """PyTorch3D's, from which both peers come."""
    try:
        return importlib.metadata.version("pytorch3d")
    except importlib.metadata.PackageNotFoundError:
        return str(getattr(importlib.import_module("pytorch3d"), "__version__", "unknown"))


def _floors(case: Case, cases: Sequence[Case], bench: PointsBench, run: Runner) -> dict[Case, Floor]:
    """Of all cases of as many points."""
    alike = tuple(other for other in cases if other.points == case.points)
    lines = run(Errand("floor", alike, bench.repeats))
    return {other: Floor(**line) for other, line in zip(alike, lines, strict=True)}


def _measure(
    case: Case, backend: Backend, bench: PointsBench, table: Table, run: Runner
) -> tuple[list[dict[str, Any]], Absence | None]:
    """What one backend gave, and why it did not give all."""
    if backend.unlike(case) is not None:
        return [], None
    if any(_at_least(case, absence) for absence in table.left_out if absence.backend == backend.name):
        return [], Absence(backend.name, "not tried, since less was too slow", case.points, case.layers)
    limit = bench.peer_seconds if backend.peer else None
    known: list[dict[str, Any]] = []
    try:
        known.extend(run(Errand(backend.name, (case,), bench.repeats, limit)))
    except RunError as error:
        if not backend.peer:
            raise
        return known, Absence(backend.name, str(error), case.points, case.layers)
    if len(known) == len(DIRECTIONS):
        return known, None
    why = f"{DIRECTIONS[len(known)]} takes more than {bench.peer_seconds:g} s"
    return known, Absence(backend.name, why, case.points, case.layers)


def _at_least(case: Case, absence: Absence) -> bool:
    """Whether a case is no less work than one that was left out."""
    return case.points >= (absence.points or 0) and case.layers >= (absence.layers or 0)


def _row(case: Case, backend: Backend, floor: Floor, line: dict[str, Any]) -> Row:
    seconds = 1e-3 * line["median"]
    return Row(
        points=case.points,
        layers=case.layers,
        discard=case.discard,
        direction=line["direction"],
        backend=backend.name,
        threads=case.threads,
        median_ms=line["median"],
        spread_ms=line["spread"],
        floor_ms=floor.milliseconds(case, line["direction"]),
        peak_bytes=line["peak_bytes"],
        cpu_ms=line["cpu"],
        calls=line["calls"],
        drawn=floor.drawn,
        blended=floor.blended,
        points_per_s=case.points / seconds,
        bytes_per_s=moved_bytes(case, line["direction"], floor.drawn, floor.blended) / seconds,
    )
