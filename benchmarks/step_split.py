"""Where the time of a training step goes: data, rasteriser, network, sensor and loss, optimiser.

    python benchmarks/step_split.py CAPTURE --width 448 --steps 10 --markdown benchmarks/results/step_split.md

The step is the one of ``fit.fit`` taken apart: the backward pass is run stage by stage from detached copies, which
gives the same gradients. Medians over ``--steps`` steps after three that are not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from sittings import provenance

from unrender.datasets.read_capture import read_capture
from unrender.fit.crops import crop_cameras
from unrender.fit.fit import Fit, measured, start_model
from unrender.fit.settings import FitSettings
from unrender.kernels.loader import native
from unrender.losses import total
from unrender.render.frame import Frame
from unrender.render.render import render

WARM_UP = 3


class Stopwatch:
    """Adds up seconds per stage name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count what happens inside towards ``stage``."""
        began = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began


def leaf(tensor: torch.Tensor) -> torch.Tensor:
    """A copy that gathers its own gradient."""
    return tensor.detach().requires_grad_()


def step(fit: Fit) -> dict[str, float]:
    """One training step, taken apart."""
    watch, model, settings = Stopwatch(), fit.model, fit.settings
    generator = torch.Generator().manual_seed(fit.step)
    with watch("data"):
        views, windows = fit.draw(generator)
        target, weight = fit.targets(views, windows)
        cameras = crop_cameras(model.cameras, views, windows)
    with watch("rasteriser"):
        frame = render(model.scene, cameras, replace(model.raster, ghosts=settings.ghosts), generator=generator)
        features = tuple(leaf(layer) for layer in frame.features or ())
    with watch("network"):
        radiance = model.shader(Frame(features=features))
        arrived = leaf(radiance)
    with watch("sensor and loss"):
        image = cameras.record(arrived, leak=True)
        loss = total(image, target, weight, settings.loss)
        loss = loss + settings.response_prior * model.cameras.sensor.response_smoothness()
        loss.backward()
    with watch("network"):
        torch.autograd.backward([radiance], [arrived.grad])
    with watch("rasteriser"):
        torch.autograd.backward(frame.features or (), [layer.grad for layer in features])
    with watch("optimiser"):
        fit.optimizer.step(lambda _: 1.0)
    fit.step += 1
    return watch.seconds


def main() -> None:
    """Print a table and, with --json and --markdown, write the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("capture", type=Path)
    parser.add_argument("--width", type=int, default=448)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    capture = read_capture(arguments.capture).at_width(arguments.width)
    settings = measured(FitSettings(width=arguments.width), capture)
    fit = Fit(start_model(capture, settings)[0], capture, settings)
    for view in capture.train:
        capture.image(view)  # decoded once in a fit, and not what is asked here
    rows = [step(fit) for _ in range(WARM_UP + arguments.steps)][WARM_UP:]
    medians = {stage: 1e3 * statistics.median(row[stage] for row in rows) for stage in rows[0]}
    whole = [1e3 * sum(row.values()) for row in rows]
    for stage, milliseconds in medians.items():
        print(f"{stage:>16} {milliseconds:8.1f} ms")
    print(f"{'step':>16} {statistics.median(whole):8.1f} ms   ({min(whole):.1f} to {max(whole):.1f})")
    if arguments.json:
        arguments.json.write_text(json.dumps({"threads": arguments.threads, "median_ms": medians}, indent=1) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(page(arguments, fit, medians, whole))


def page(arguments: argparse.Namespace, fit: Fit, medians: dict[str, float], whole: list[float]) -> str:
    """The medians of this run as a page."""
    facts, kernels = provenance(), "PyTorch reference" if native() is None else "compiled"
    lines = ["# Where a training step's time goes", ""]
    lines += [f"    python benchmarks/step_split.py CAPTURE --width {arguments.width} --steps {arguments.steps}", ""]
    lines += [
        f"One crop of {fit.settings.crop.size} pixels, {len(fit.model.scene):,} points, {kernels} kernels,"
        f" {arguments.threads} thread(s); medians of {arguments.steps} steps after {WARM_UP} that are not counted;",
        "photos already decoded.",
        "",
        "| stage | forward and backward |",
        "|---|---|",
    ]
    lines += [f"| {stage} | {milliseconds:.1f} ms |" for stage, milliseconds in medians.items()]
    lines += [f"| **step** | **{statistics.median(whole):.0f} ms** ({min(whole):.0f} to {max(whole):.0f}) |", ""]
    lines += [f"{facts['machine'].rpartition(',')[0]}; {facts['versions']}; commit {facts['commit']}, {facts['date']}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
