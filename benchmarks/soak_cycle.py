"""One cycle of the soak: a room, a fit that is left alone, the same fit killed again and again, and what must agree.

Everything is drawn from the cycle's seed, so that a failure can be made again with ``soak.py --seed SEED --cycles 1``.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from sittings import Child, Outcome, Strike, call, make_room, parts, sit

SIGNALS = (signal.SIGKILL,) * 3 + (signal.SIGTERM, signal.SIGINT)
CHECKPOINT, PREVIOUS = "checkpoint.safetensors", "checkpoint.previous.safetensors"
CONFIG = """checkpoint_every = {every}
radiometry = {radiometry}
[crop]
size = {crop}
batch = {batch}
[network]
precision = "{precision}"
"""
"""The precision is settled: on a busy machine ``auto``, measured once for each run, need not choose alike for two."""


class BrokenError(Exception):
    """The rest of the cycle would mean nothing."""


@dataclass(frozen=True)
class Plan:
    """What a cycle does, drawn from its seed."""

    seed: int
    views: int
    width: int
    points: int
    steps: int
    every: float
    crop: int
    batch: int
    precision: str
    test_every: int
    radiometry: bool
    skip: bool
    runs: int
    kills: int
    frames: int
    path: str
    exr: bool


def draw_plan(seed: int) -> Plan:
    """A small random experiment, a few minutes long on one core."""
    random = Random(seed)
    return Plan(
        seed=seed,
        views=random.randint(12, 20),
        width=random.randrange(128, 225, 8),
        points=random.randint(5_000, 20_000),
        steps=random.randint(120, 300),
        every=random.choice((0, 0, 0, 0.3, 2.0)),
        crop=random.randrange(64, 129, 16),
        batch=random.choice((1, 1, 2)),
        precision=random.choice(("float32", "bfloat16")),
        test_every=random.randint(4, 8),
        radiometry=random.random() < 0.3,
        skip=random.random() < 0.3,
        runs=random.randint(2, 3),
        kills=random.randint(4, 9),
        frames=random.randint(6, 24),
        path=random.choice(("orbit", "interpolate")),
        exr=random.random() < 0.3,
    )


@dataclass
class Record:
    """What was seen, over all cycles."""

    counts: Counter[str] = field(default_factory=Counter)
    calls: list[tuple[float, str, float]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def called(self, verb: str, outcome: Outcome) -> None:
        """Note a command's peak memory and the second of the soak in which it ended."""
        self.counts[f"{verb} commands"] += 1
        self.calls.append((round(time.monotonic() - self.began, 1), verb, round(outcome.peak, 1)))


class Cycle:
    """One cycle in ``folder``, told to ``record``; ``options``: help texts of the verbs."""

    def __init__(self, plan: Plan, folder: Path, record: Record, options: dict[str, str]) -> None:
        self.plan, self.folder, self.record, self._options = plan, folder, record, options
        self.random = Random(plan.seed + 1)
        self.capture, self.reference, self.killed = folder / "capture", folder / "reference", folder / "killed_0"
        self.story: list[str] = []
        self._seconds = 0.0

    def run(self) -> None:
        """Do all of it; failures are in the record afterwards."""
        try:
            self._photograph()
            self._fit_alone()
            for number in range(self.plan.runs):
                self.killed = self.folder / f"killed_{number}"
                self._fit_killed()
            self._compare_evaluations()
            self._render()
            self.record.counts["cycles"] += 1
        except BrokenError:
            self.record.counts["cycles broken off"] += 1

    def check(self, holds: bool, what: str, outcome: Outcome | None = None) -> bool:
        """Record a failure with all that is needed to make it again unless ``holds``."""
        if not holds:
            entry: dict[str, Any] = {"what": what, "plan": asdict(self.plan), "story": list(self.story)}
            if outcome is not None:
                command = " ".join(("unrender", *outcome.arguments))
                entry |= {"command": command, "status": outcome.status, "stderr": outcome.stderr[-3000:]}
            self.record.failures.append(entry)
        return holds

    def _must(self, holds: bool, what: str, outcome: Outcome | None = None) -> None:
        if not self.check(holds, what, outcome):
            raise BrokenError(what)

    def _called(self, outcome: Outcome) -> Outcome:
        """Record a command and hold it to what every command owes its user."""
        self.record.called(outcome.arguments[0], outcome)
        if "Traceback" in outcome.stderr:
            at_start = outcome.sent == "SIGINT" and outcome.lines[-1].startswith("KeyboardInterrupt")
            self.record.counts["Ctrl-C answered by Python, while importing"] += at_start
            self.check(at_start, "a traceback", outcome)
        expected = outcome.status in (0, 2) or outcome.ended_by_signal
        self.check(expected, "an exit status that nobody asked for", outcome)
        return outcome

    def _photograph(self) -> None:
        plan = self.plan
        room = {"views": plan.views, "width": plan.width, "height": plan.width * 3 // 4, "points": plan.points}
        outcome = make_room(self.capture, json.dumps(room | {"seed": plan.seed}))
        self._must(outcome.status == 0, "the room could not be photographed", outcome)
        (self.folder / "config.toml").write_text(
            CONFIG.format(**asdict(plan) | {"radiometry": str(plan.radiometry).lower()})
        )

    def _fit_words(self, run: Path, *more: str) -> list[str]:
        measured = self.reference / "settings.toml"  # what it chose by timing would be chosen anew by another run
        config = self.folder / "config.toml" if run == self.reference else measured
        words = ["fit", str(self.capture), "-o", str(run), "--config", str(config)]
        words += ["--steps", str(self.plan.steps), "--test-every", str(self.plan.test_every), "--threads", "1"]
        skip = self.plan.skip and "--on-nonfinite" in self._options["fit"]
        return [*words, *(("--on-nonfinite", "skip") if skip else ()), *more]

    def _fit_alone(self) -> None:
        outcome = self._called(call(self._fit_words(self.reference)))
        self._must(outcome.status == 0, "the fit that was left alone failed", outcome)
        self._seconds = outcome.seconds
        self.record.counts["fits"] += 1

    def _fit_killed(self) -> None:
        self.story.append(self.killed.name)
        self._refuse_second()
        kills = 0
        while kills < self.plan.kills:
            outcome = self._sitting(self._strike())
            if outcome.status == 0:
                break
            kills += outcome.ended_by_signal
            if (self.killed / CHECKPOINT).exists() and self.random.random() < 0.4:
                self.random.choice(RUBBISH)(self)
        outcome = self._sitting(None)
        self._must(outcome.status == 0, "the killed fit did not reach its end", outcome)
        same = (self.killed / CHECKPOINT).read_bytes() == (self.reference / CHECKPOINT).read_bytes()
        self.record.counts["fits"] += 1
        self.record.counts["killed fits identical to the one left alone"] += same
        self.check(same, "the killed fit ended with other bytes")
        self._count_leftovers(self.killed, self.reference)

    def _strike(self) -> Strike:
        """A random signal at a random moment; every fourth aims at a file being written."""
        number = self.random.choice(SIGNALS)
        seconds = self.random.uniform(0.0, self._seconds * self.random.choice((0.1, 0.2, 0.3, 0.6)))
        if self.random.random() >= 0.25:
            return Strike(number, seconds)
        before = parts(self.killed).items()
        return Strike(number, seconds, when=lambda: parts(self.killed).items() - before)

    def _sitting(self, strike: Strike | None) -> Outcome:
        """Go on with the killed run; afterwards its small files are whole."""
        if (self.killed / "settings.toml").exists():
            self.record.counts["resumes"] += 1
        outcome, phase = sit(self.killed, self._fit_words(self.killed, "--resume"), strike)
        self._called(outcome)
        self.story.append(f"{outcome.sent or 'unharmed'} after {outcome.seconds:.3f} s: {phase or outcome.status}")
        if phase is not None:
            self.record.counts[f"kills by {outcome.sent}"] += 1
            self.record.counts[f"kills while {phase}"] += 1
        self.check(outcome.status != 2, "a run was refused that should go on", outcome)
        self._check_tables()
        return outcome

    def _check_tables(self) -> None:
        """Settings, capture and machine tables are byte for byte those of the run that was left alone."""
        if (self.killed / "settings.toml").exists():
            for name in ("settings.toml", "capture.toml", "machine.toml"):
                path = self.killed / name
                same = path.exists() and path.read_bytes() == (self.reference / name).read_bytes()
                self.check(same, f"{name} is gone or damaged")

    def _refuse_second(self) -> None:
        """A second fit into a live run is refused; the first one is then killed."""
        first = Child(self._fit_words(self.killed, "--resume"))
        try:
            while first.alive() and not (self.killed / "log.jsonl").exists():
                time.sleep(0.01)
            second = self._called(call(self._fit_words(self.killed, "--resume")))
            lived = first.alive()
        finally:
            first.send(signal.SIGKILL)
        self._called(first.outcome())
        if lived:
            self.record.counts["second fits refused"] += second.refused
            self.check(second.refused and len(second.lines) == 1, "a second fit into a live run", second)

    def _compare_evaluations(self) -> None:
        scores: list[dict[str, Any]] = []
        for run in (self.reference, self.killed):
            outcome = self._called(call(["eval", str(run), "--threads", "1", "--json"]))
            self._must(outcome.status == 0, "a finished run could not be scored", outcome)
            scores.append(json.loads(outcome.stdout))
            del scores[-1]["seconds"], scores[-1]["run"]  # of the clock, and where it lies
        same = scores[0] == scores[1] and _content(self.reference / "eval") == _content(self.killed / "eval")
        self.record.counts["evaluations identical"] += same
        self.check(same, "scores or pictures of the killed fit differ")

    def _render(self) -> None:
        """A sequence that is killed and repeated ends with the same files as one left alone."""
        whole, broken = self.folder / "whole", self.folder / "broken"
        outcome = self._called(call(self._render_words(whole)))
        self._must(outcome.status == 0, "a finished run could not be rendered", outcome)
        again = ("--resume",) if "--resume" in self._options["render"] else ()
        for _ in range(self.random.randint(1, 4)):
            strike = Strike(self.random.choice(SIGNALS), self.random.uniform(0.0, outcome.seconds))
            struck = self._called(call(self._render_words(broken, *again), strike))
            self.story.append(f"render {struck.sent} after {struck.seconds:.3f} s: {struck.status}")
            self.record.counts["renders killed"] += struck.ended_by_signal
        last = self._called(call(self._render_words(broken, *again)))
        self.check(last.status == 0, "a killed sequence could not be rendered again", last)
        same = _content(whole) == {name: text for name, text in _content(broken).items() if name not in parts(broken)}
        self.record.counts["sequences identical"] += same
        self.check(same, "a killed and repeated sequence differs", last)
        self._count_leftovers(broken, whole)

    def _render_words(self, output: Path, *more: str) -> list[str]:
        words = ["render", str(self.killed), "-o", str(output), "--path", self.plan.path, "--threads", "1"]
        words += ["--frames", str(self.plan.frames), "--width", str(self.plan.width)]
        return [*words, *(("--exr",) if self.plan.exr else ()), *more]

    def _count_leftovers(self, folder: Path, clean: Path) -> None:
        """Files that kills left behind, which an undisturbed folder does not have."""
        strays = {path.name for path in folder.iterdir()} - {path.name for path in clean.iterdir()}
        for name in strays:
            kind = "damaged checkpoints put aside" if ".damaged" in name else "stray files left"
            self.record.counts[kind] += 1
            self.record.counts[f"{kind}, bytes"] += (folder / name).stat().st_size if (folder / name).is_file() else 0

    def refused(self, what: str) -> None:
        """Going on is refused with one line, or done."""
        outcome = self._called(call(self._fit_words(self.killed, "--resume")))
        self.record.counts["rubbish refused"] += outcome.refused
        self.check(outcome.refused, f"{what}: not refused", outcome)
        self.check(len([line for line in outcome.lines if "error:" in line]) <= 1, f"{what}: not one line", outcome)


def _cut_newest(cycle: Cycle) -> None:
    """Cut the newest checkpoint short, when there is one before it: the run goes on from that."""
    newest = cycle.killed / CHECKPOINT
    if (cycle.killed / PREVIOUS).exists():
        _overwrite(cycle, newest, newest.read_bytes()[: cycle.random.randrange(newest.stat().st_size)])


def _flip_bit(cycle: Cycle) -> None:
    """Turn one bit among the values of the newest checkpoint, when there is one before it."""
    newest = cycle.killed / CHECKPOINT
    if (cycle.killed / PREVIOUS).exists():
        content = bytearray(newest.read_bytes())
        content[cycle.random.randrange(len(content) // 2, len(content))] ^= 1 << cycle.random.randrange(8)
        _overwrite(cycle, newest, bytes(content))


def _cut_both(cycle: Cycle) -> None:
    """Cut every checkpoint: going on is refused; with them gone the run begins again."""
    paths = [path for name in (CHECKPOINT, PREVIOUS) if (path := cycle.killed / name).exists()]
    for path in paths:
        _overwrite(cycle, path, path.read_bytes()[: cycle.random.randrange(path.stat().st_size)])
    cycle.refused("every checkpoint cut short")
    for path in cycle.killed.glob("checkpoint*.safetensors"):
        path.unlink()


def _half_line(cycle: Cycle) -> None:
    """End the log with half a line."""
    log = cycle.killed / "log.jsonl"
    _overwrite(cycle, log, log.read_bytes() + b'{"type": "Stepped", "step": 3, "lo')


def _junk_part(cycle: Cycle) -> None:
    """Leave rubbish where checkpoints are written before they are whole."""
    _overwrite(cycle, cycle.killed / f".{CHECKPOINT}.part", cycle.random.randbytes(50_000))


def _cut_settings(cycle: Cycle) -> None:
    """Cut the settings in a place that is no TOML: refused; mended, the run goes on."""
    path = cycle.killed / "settings.toml"
    whole = path.read_bytes()
    _overwrite(cycle, path, whole[: whole.index(b"=") + 1])
    cycle.refused("settings cut short")
    path.write_bytes(whole)


RUBBISH: Sequence[Callable[[Cycle], None]] = (_cut_newest, _flip_bit, _cut_both, _half_line, _junk_part, _cut_settings)


def _overwrite(cycle: Cycle, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    cycle.story.append(f"{path.name} spoilt, {len(content)} bytes")
    cycle.record.counts["files spoilt"] += 1


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def empty(folder: Path) -> Path:
    """``folder``, new and empty."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
