"""What the compiled kernels bring a fit: steps per second with and without them, same seed, and whether quality stays.

    python benchmarks/plush_before_after.py CAPTURE --folder DIR [--markdown FILE]

Two fits of the same steps, each in a process of its own, one with ``UNRENDER_KERNELS=reference`` and one with
``native``. Steps per second are of the log, after the first ``--skip`` steps; quality is that of the held-out photos.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
KERNELS = ("reference", "native")


class Fitted(NamedTuple):
    """What one fit gave: steps per second, and means over held-out photos with exposure from EXIF."""

    speed: float
    psnr: float
    ssim: float
    flip: float


def main() -> None:
    """Fit twice; print a table, and write it as a page."""
    options = _options()
    found = {kernels: _fit(options, kernels) for kernels in KERNELS}
    page = _page(options, found)
    print(page)
    if options.markdown:
        options.markdown.write_text(page)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture", type=Path)
    parser.add_argument("--folder", type=Path, required=True, help="for both runs; runs of before are removed")
    parser.add_argument("--width", type=int, default=448)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--skip", type=int, default=20, help="steps at the start that do not count")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--markdown", type=Path)
    return parser.parse_args()


def _fit(options: argparse.Namespace, kernels: str) -> Fitted:
    """One fit with its scores."""
    run = options.folder / kernels
    shutil.rmtree(run, ignore_errors=True)
    words = ["fit", options.capture, "-o", run]
    words += [word for name in ("width", "steps", "seed", "threads") for word in (f"--{name}", getattr(options, name))]
    paths = os.pathsep.join(filter(None, [str(REPOSITORY / "src"), os.environ.get("PYTHONPATH")]))
    subprocess.run(
        [sys.executable, "-m", "unrender", *map(str, words)],
        env={**os.environ, "PYTHONPATH": paths, "UNRENDER_KERNELS": kernels},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    scores = json.loads((run / "eval.json").read_text())["test"]
    return Fitted(_steps_per_second(run, options.skip), scores["psnr"], scores["ssim"], scores["flip"])


def _steps_per_second(run: Path, skip: int) -> float:
    """By the clock of the fit's own log."""
    lines = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    steps = [(line["step"], line["elapsed"]) for line in lines if line.get("type") == "Stepped"]
    (first, began), (last, ended) = steps[skip], steps[-1]
    return (last - first) / (ended - began)


def _page(options: argparse.Namespace, found: dict[str, Fitted]) -> str:
    gain = found["native"].speed / found["reference"].speed
    lines = [
        "# A fit before and after the compiled kernels",
        "",
        "    python benchmarks/plush_before_after.py PLUSH",
        "",
    ]
    lines += [f"{options.steps} steps at width {options.width}, seed {options.seed}, {options.threads} thread(s);"]
    lines += [f"held-out photos, exposure from EXIF. Steps per second: {gain:.2f} times as many.", ""]
    lines += ["| kernels | steps/s | PSNR [dB] | SSIM | FLIP |", "|---|---|---|---|---|"]
    lines += [f"| {name} | {f.speed:.2f} | {f.psnr:.2f} | {f.ssim:.4f} | {f.flip:.4f} |" for name, f in found.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
