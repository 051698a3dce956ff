"""Whether a fit that is killed anywhere ends with the same bytes, and what it does on a full disk.

    python benchmarks/kills.py --folder DIR --markdown FILE [--disk DIR]

One fit of a synthetic room by ``--steps`` is left alone; ``--runs`` others are killed with SIGKILL at moments uniform
over its whole life (start-up, steps, writing, scoring), resumed until they end, and compared byte by byte. A checkpoint
is written after every step, so that many kills land in the middle of one. ``--disk``: a folder on a file system of its
own, of some 96 MB, that may be filled: ``mount -t tmpfs -o size=96m tmpfs DIR``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random

from sittings import Outcome, Strike, call, logged_steps, make_room, provenance, sit

CHECKPOINT = "checkpoint.safetensors"
ROOM = {"views": 14, "width": 160, "height": 120, "points": 12_000, "seed": 7}
CONFIG = """checkpoint_every = 0
[crop]
size = 96
[network]
precision = "float32"
"""
"""The precision is settled: on a busy machine ``auto``, measured once for each run, need not choose alike for two."""
SPACE_LEFT = 300_000
"""Bytes free on the full disk: enough for a log, not for a checkpoint."""


class Fits:
    """Fits of one room, alike but for what is done to them."""

    def __init__(self, folder: Path, steps: int) -> None:
        self.folder, self.steps = folder, steps
        self._config = folder / "config.toml"

    def prepare(self) -> Outcome:
        """Photograph the room and make the fit that is left alone, in ``reference``."""
        self.folder.mkdir(parents=True)
        self._config.write_text(CONFIG)
        _well(make_room(self.folder / "capture", json.dumps(ROOM)))
        return _well(call(self.words(self.folder / "reference")))

    def words(self, run: Path) -> list[str]:
        """The command that begins the fit in ``run`` or goes on with it."""
        words = ["fit", str(self.folder / "capture"), "-o", str(run), "--config", str(self._config)]
        return [*words, "--steps", str(self.steps), "--threads", "1", "--resume"]

    def same(self, run: Path) -> bool:
        """Whether ``run`` ended with the bytes of the fit that was left alone."""
        return (run / CHECKPOINT).read_bytes() == (self.folder / "reference" / CHECKPOINT).read_bytes()


def main() -> int:
    """Kill and compare; status 0 when all runs agree."""
    options = _options()
    facts, random, fits = provenance(), Random(options.seed), Fits(options.folder, options.steps)
    shutil.rmtree(options.folder, ignore_errors=True)
    alone = fits.prepare()
    same, kills = 0, Counter[str]()
    for number in range(options.runs):
        run = options.folder / f"run_{number}"
        kills += _killed(fits, run, alone.seconds, random)
        same += fits.same(run)
        sys.stderr.write(f"run {number + 1}: {same} of {number + 1} identical, {kills.total()} kills so far\n")
        shutil.rmtree(run)
    story = None if options.disk is None else _full_disk(fits, options.disk)
    options.markdown.write_text(_page(options, facts, alone.seconds, same, kills, story))
    return 0 if same == options.runs else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for everything; removed first")
    parser.add_argument("--markdown", type=Path, required=True, help="file for the page")
    parser.add_argument("--disk", type=Path, help="small file system to fill")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _killed(fits: Fits, run: Path, life: float, random: Random) -> Counter[str]:
    """Fit into ``run`` through one to six kills; how many landed in which phase."""
    phases, planned = Counter[str](), random.randint(1, 6)
    while phases.total() < planned:
        outcome, phase = sit(run, fits.words(run), Strike(signal.SIGKILL, random.uniform(0.0, life)))
        if phase is None:  # the end came first
            _well(outcome)
            break
        phases[phase] += 1
    _well(call(fits.words(run)))
    return phases


def _full_disk(fits: Fits, disk: Path) -> Sequence[str]:
    """Fit part of the way on a disk, fill it, try to go on, free it, go on; what was seen, line by line."""
    run, filler = disk / "run", disk / "filler"
    shutil.rmtree(run, ignore_errors=True)
    call(fits.words(run), Strike(signal.SIGKILL, 0.0, when=lambda: logged_steps(run) > fits.steps // 2))
    good = (run / CHECKPOINT).read_bytes()
    with filler.open("wb") as file:
        file.write(bytes(max(0, shutil.disk_usage(disk).free - SPACE_LEFT)))
    full = call(fits.words(run))
    kept = (run / CHECKPOINT).read_bytes() == good
    filler.unlink()
    _well(call(fits.words(run)))
    errors = [line for line in full.lines if line.startswith("unrender: error: ")]
    return (
        f"status {full.status}, {'a' if 'Traceback' in full.stderr else 'no'} traceback",
        f"it says: `{'; '.join(errors).replace(str(run), 'RUN')}`",
        f"the last good checkpoint {'stays, byte for byte' if kept else 'was LOST'}",
        f"with space again, resumed: {'the same' if fits.same(run) else 'OTHER'} bytes as the fit that was left alone",
    )


def _page(
    options: argparse.Namespace,
    facts: dict[str, str],
    life: float,
    same: int,
    kills: Counter[str],
    story: Sequence[str] | None,
) -> str:
    lines = ["# Killed anywhere, resumed, the same bytes", "", "    python benchmarks/kills.py", ""]
    lines += [f"A fit of the synthetic room ({ROOM['views']} photos of {ROOM['width']} x {ROOM['height']}) by"]
    lines += [
        f"`--steps {options.steps}`, a checkpoint after every step, is left alone: {life:.0f} s. Others are killed"
    ]
    lines += ["with SIGKILL one to six times, at moments uniform over that whole life, and resumed to their end."]
    lines += ["", "| what | how many |", "|---|---|"]
    lines += [f"| **final checkpoint identical, byte for byte** | **{same} of {options.runs}** |"]
    lines += [f"| kills | {kills.total()} |"]
    lines += [f"| ... while {phase} | {kills[phase]} |" for phase in ("starting", "stepping", "writing")]
    lines += [
        "",
        "Starting: before the first step, imports included. Writing: an unfinished checkpoint was left behind.",
    ]
    if story is not None:
        lines += [
            "",
            "On a disk that is full when the fit, killed half-way, is resumed (tmpfs):",
            "",
            *(f"- {s}" for s in story),
        ]
    lines += ["", f"{facts['machine']}; {facts['versions']}; commit {facts['commit']}, {facts['date']}."]
    return "\n".join(lines) + "\n"


def _well(outcome: Outcome) -> Outcome:
    """The same, once it ended well."""
    if outcome.status != 0:
        sys.exit(f"{' '.join(outcome.arguments)} ended with {outcome.status}:\n{outcome.stderr}")
    return outcome


if __name__ == "__main__":
    sys.exit(main())
