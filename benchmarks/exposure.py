"""How well the exposure of a view is foretold that nobody photographed, measured on photos that were held out.

    python benchmarks/exposure.py --folder DIR [--capture CAPTURE] [--markdown FILE]

Fits the synthetic room, photographed by an automatic over four stops, and any other captures, and scores their held-out
photos under every exposure policy. Runs that are in DIR already are gone on with, so a second call only scores.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from unrender.cli.demo import fit_settings
from unrender.datasets.synthetic.capture import RoomSettings, make_room_capture
from unrender.fit.machine import machine_table
from unrender.fit.run import Run
from unrender.fit.settings import FitSettings

POLICIES = ("exif", "predicted", "neighbours", "ignored")
ROOM = RoomSettings(views=48, width=224, height=168, keep_views=False, ev_spread=4.0)


def main() -> None:
    """Fit what is not fitted yet, score, print a page, and write it."""
    options = _options()
    runs = {"room": _room(options), **{path.name: _run(options, path) for path in options.capture}}
    page = "\n".join(_page(options, {name: _scored(run) for name, run in runs.items()})) + "\n"
    print(page)
    if options.markdown:
        options.markdown.write_text(page)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where runs lie, and are gone on with")
    parser.add_argument("--capture", type=Path, action="append", default=[], help="also fit this one")
    parser.add_argument("--room-steps", type=int, default=900)
    parser.add_argument("--steps", type=int, default=600, help="of a capture's fit")
    parser.add_argument("--width", type=int, default=224, help="of a capture's photos")
    parser.add_argument("--markdown", type=Path)
    return parser.parse_args()


def _room(options: argparse.Namespace) -> Run:
    folder = options.folder / "room"
    if not (folder / "capture").exists():
        for _ in make_room_capture(folder / "capture", ROOM):
            pass
    return _fitted(folder / "run", folder / "capture", fit_settings(0.0, options.room_steps, 0))


def _run(options: argparse.Namespace, capture: Path) -> Run:
    return _fitted(options.folder / capture.name, capture, FitSettings(width=options.width, steps=options.steps))


def _fitted(folder: Path, capture: Path, settings: FitSettings) -> Run:
    run = Run.open(folder) if Run.exists(folder) else Run.create(folder, capture, settings)
    for _ in run.fit():
        pass
    return run


def _scored(run: Run) -> dict[str, Any]:
    for _ in run.evaluate(policies=True):
        pass
    ev = run.load_model().cameras.sensor.exposure.detach()[list(run.views("train").values())]
    about = {"train": len(ev), "test": len(run.views("test")), "stops": float(ev.max() - ev.min())}
    return run.load_scores() | about | {"steps": run.settings.steps}


def _page(options: argparse.Namespace, found: dict[str, dict[str, Any]]) -> Iterator[str]:
    captures = "".join(f" --capture {path.name.upper()}" for path in options.capture)
    processor, threads = machine_table()["machine"]["processor"], torch.get_num_threads()
    yield "# Which exposure for a view that nobody photographed?\n"
    yield f"    python benchmarks/exposure.py --folder DIR{captures}\n"
    yield (
        f"{datetime.now(timezone.utc):%d %B %Y}, {processor}, {threads} threads, no GPU, PyTorch {torch.__version__}, "
        "seed 0. Whole held-out photos; *EV off*: mean absolute EV less the one that is fitted to the photo itself, "
        "all else frozen. *Left out*: root mean square error over training photos, each left out in turn; by it "
        "`unrender render` chooses.\n"
    )
    for name, table in found.items():
        yield from _table(name, table)


def _table(name: str, table: dict[str, Any]) -> Iterator[str]:
    policies = table["policies"]
    left_out = {**policies["left_out"], "ignored": policies["left_out"].get("mean")}
    yield (
        f"## {name}: {table['train']} training photos over {table['stops']:.1f} stops, {table['test']} held out, "
        f"{table['width']} x {table['height']}, {table['steps']} steps\n"
    )
    yield "| exposure | PSNR [dB] | SSIM | FLIP | EV off [stops] | left out [stops] |\n|---|---|---|---|---|---|"
    for policy in (each for each in POLICIES if each in policies):
        row, error = policies[policy], left_out.get(policy)
        yield (
            f"| {policy} | {row['psnr']:.2f} | {row['ssim']:.3f} | {row['flip']:.3f} | {row['ev_error']:.2f} | "
            f"{'' if error is None else f'{error:.2f}'} |"
        )
    fitted = table["fitted_exposure"]
    yield f"\nTaken: {policies['taken']}. Fitted on the left half, scored on the right: {fitted['psnr']:.2f} dB.\n"


if __name__ == "__main__":
    main()
