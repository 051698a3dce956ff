"""The soak: hours of fits, kills, resumes, evaluations and renders, all drawn from a seed.

    python benchmarks/soak.py --hours 2 --folder DIR --seed 0 --json FILE --markdown FILE

Cycle ``n`` has seed ``--seed`` + n and one thread; see ``soak_cycle.py`` for what it does and checks. No failure ends
the soak. The summary is written after every cycle, and Ctrl-C or SIGTERM ends it early with a summary. Folders of
cycles that failed are kept for a look (the first three); the rest are removed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from sittings import call, provenance
from soak_cycle import Cycle, Record, draw_plan, empty

KEPT = 3
HEAD = """# The soak

    python benchmarks/soak.py --hours {hours:g} --seed {seed}

Cycles on the synthetic room, each drawn from its seed: a fit that is left alone, the same fit killed again and again
with SIGKILL, SIGTERM or Ctrl-C at random moments and resumed, files spoilt between the sittings (checkpoints cut short
or with a bit turned, half a line in the log, cut settings, rubbish in a temporary file), both scored, and a rendered
sequence that is killed and repeated. The killed fit must end with the checkpoint bytes of the one left alone, scores
and pictures must be equal, no command may show a traceback, and whatever is refused must be refused with status 2 and
one line. Each command has one thread.

"""


def main() -> int:
    """Soak; status 0 when nothing failed."""
    options = _options()
    record, plans = Record(), 0
    folder = empty(options.folder)
    for number in (signal.SIGTERM, signal.SIGINT):  # in the background shells ignore Ctrl-C, for the commands too
        signal.signal(number, signal.default_int_handler)
    helps = {verb: call([verb, "--help"]).stdout for verb in ("fit", "render")}
    facts = provenance() | {"seed": options.seed, "hours asked": options.hours}
    try:
        while time.monotonic() - record.began < options.hours * 3600 and plans != options.cycles:
            _one_cycle(options.seed + plans, folder, record, helps)
            plans += 1
            _write(options, facts, record)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the summary is still to be written
        record.counts["ended early"] = 1
    _write(options, facts, record)
    return 1 if record.failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0, help="begin no cycle after this (default 2)")
    parser.add_argument("--cycles", type=int, default=None, help="begin no more than this many")
    parser.add_argument("--folder", type=Path, required=True, help="for everything; emptied first")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first cycle (default 0)")
    parser.add_argument("--json", type=Path, required=True, help="file for the summary")
    parser.add_argument("--markdown", type=Path, required=True, help="file for the page")
    return parser.parse_args()


def _one_cycle(seed: int, folder: Path, record: Record, helps: dict[str, str]) -> None:
    began, failures = time.monotonic(), len(record.failures)
    place = empty(folder / f"cycle_{seed}")
    cycle = Cycle(draw_plan(seed), place, record, helps)
    try:
        cycle.run()
    except Exception as error:  # noqa: BLE001 (a mistake of the soak itself must not end it either)
        cycle.check(False, f"the soak itself: {type(error).__name__}: {error}")
    failed = len(record.failures) - failures
    record.counts["largest folder of a cycle, MiB"] = max(
        record.counts["largest folder of a cycle, MiB"], _size(place) // 2**20
    )
    if not failed or len(list(folder.iterdir())) > KEPT:
        shutil.rmtree(place)
    minutes, told = (time.monotonic() - began) / 60, f"{failed} FAILED" if failed else "all well"
    kills = sum(count for name, count in record.counts.items() if name.startswith("kills by"))
    sys.stderr.write(f"cycle seed {seed}: {minutes:.1f} min, {told}; {kills} kills so far\n")


def _write(options: argparse.Namespace, facts: dict[str, Any], record: Record) -> None:
    hours = (time.monotonic() - record.began) / 3600
    table: dict[str, Any] = facts | {"hours": round(hours, 3), "counts": dict(sorted(record.counts.items()))}
    table |= {"peak memory": _memory(record), "bytes left": _size(options.folder), "failures": record.failures}
    for path in (options.json, options.markdown):
        path.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(table, indent=2) + "\n")
    options.markdown.write_text(HEAD.format(hours=options.hours, seed=options.seed) + _page(table))


def _memory(record: Record) -> dict[str, dict[str, float]]:
    """Median and largest peak [MiB] of each verb's commands in the first and the last hour (or half, if shorter)."""
    span = min(3600.0, (time.monotonic() - record.began) / 2)
    end = max((at for at, _, _ in record.calls), default=0.0)
    table: dict[str, dict[str, float]] = {}
    for verb in sorted({verb for _, verb, _ in record.calls}):
        first = [peak for at, name, peak in record.calls if name == verb and at <= span]
        last = [peak for at, name, peak in record.calls if name == verb and at > end - span]
        rows = {"first, median": first, "first, largest": first, "last, median": last, "last, largest": last}
        table[verb] = {
            name: round(statistics.median(peaks) if "median" in name else max(peaks), 1)
            for name, peaks in rows.items()
            if peaks
        }
    return table


def _page(table: dict[str, Any]) -> str:
    facts = [f"{table['hours']:.2f} hours", *(table[name] for name in ("machine", "versions", "date"))]
    lines = ["; ".join((*facts, f"commit {table['commit']}."))]
    lines += ["", "| what | how many |", "|---|---|"]
    lines += [f"| {name} | {count:,} |" for name, count in table["counts"].items()]
    lines += [
        f"| bytes left in the folder at the end | {table['bytes left']:,} |",
        f"| **failures** | **{len(table['failures'])}** |",
    ]
    lines += ["", "Peak memory of commands [MiB], in the first and in the last hour (halves, when shorter):", ""]
    columns = ("first, median", "first, largest", "last, median", "last, largest")
    lines += [f"| verb | {' | '.join(columns)} |", "|---" * 5 + "|"]
    for verb, peaks in table["peak memory"].items():
        lines.append(f"| {verb} | {' | '.join(f'{peaks[name]:.0f}' if name in peaks else '' for name in columns)} |")
    for failure in table["failures"]:
        lines += ["", f"**Failed** (seed {failure['plan']['seed']}): {failure['what']}"]
        lines += [f"`{failure['command']}` ended with {failure['status']}"] if "command" in failure else []
    return "\n".join(lines) + "\n"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
