"""How fast the one-pixel rasteriser is: forward and backward, beside plain PyTorch and the floor.

    python benchmarks/points.py --points 1e5 1e6 1e7 --threads 1 2 --json points.json

The scene is a wavy sphere of points in the order of a Morton curve, half of which face away, seen whole at 1080p with 4
channels. Times are medians over ``--repeats`` calls after one that is not counted (it sorts the cloud); spread is from
the first to the third quartile. ``cpu_ms``: least processor time of all threads, which neighbours on a busy machine
disturb less than the clock.

The floor is the larger of two times taken in the same run: that of moving each byte that must move once, at the speed
at which ``--threads`` threads copy; and that of the projection alone. Bytes that must move: geometry and descriptors of
the points that are drawn, the images, and backward the gradients of both.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from unittest.mock import patch

import torch

from unrender.kernels.loader import native
from unrender.kernels.rasterize_points.op import Geometry, Rules, rasterize_points
from unrender.kernels.rasterize_points.reference import layer_sizes, pyramid_offsets

SIZE = (1080, 1920)
CHANNELS = 4
GAMMA = 1.5


@dataclass(frozen=True)
class Row:
    """One line of the table. Times in milliseconds."""

    points: int
    layers: int
    discard: bool
    direction: str
    backend: str
    threads: int
    median_ms: float
    spread_ms: float
    cpu_ms: float
    floor_ms: float
    points_per_s: float
    bytes_per_s: float
    peak_bytes: int


def make_scene(number: int) -> tuple[Geometry, torch.Tensor, torch.Tensor]:
    """Geometry, descriptors and one view."""
    generator = torch.Generator().manual_seed(0)
    direction = torch.nn.functional.normalize(torch.randn(number, 3, generator=generator), dim=1)
    position = direction * (1 + 0.02 * torch.sin(20 * direction[:, :1]) * torch.sin(17 * direction[:, 1:2]))
    order = torch.argsort(morton_code(position))
    spacing = math.sqrt(4 * math.pi / number)
    geometry = Geometry(
        position=position[order],
        normal=direction[order],
        radius=torch.full((number,), 1.1 * spacing),
        threshold=torch.rand(number, generator=generator),
    )
    eye, focal, (height, width) = 3.0, 1.3 * SIZE[0], SIZE
    rest = [0, 0, eye, 0, 0, -eye, focal, focal, width / 2, height / 2, focal, focal, 0.02, -0.01, 0, 0, math.inf]
    view = torch.tensor([1, 0, 0, 0, 1, 0, 0, 0, 1, *rest], dtype=torch.float64)
    return geometry, torch.randn(number, CHANNELS, generator=generator), view[None]


def morton_code(position: torch.Tensor) -> torch.Tensor:
    """Places along a curve through 1024^3 cells, [N] int64."""
    code = torch.zeros(len(position), dtype=torch.int64)
    for axis, cell in enumerate(((position + 1.1) / 2.2 * 1023).long().unbind(1)):
        for bit in range(10):
            code |= (cell >> bit & 1) << (3 * bit + axis)
    return code


def timed(work: Callable[[], object], repeats: int) -> tuple[float, float, float]:
    """Median, spread and least processor time [ms] of ``work``, after one call that is not counted."""
    work()
    wall, cpu = [], []
    for _ in range(repeats):
        before = time.perf_counter(), time.process_time()
        work()
        wall.append(1e3 * (time.perf_counter() - before[0]))
        cpu.append(1e3 * (time.process_time() - before[1]))
    low, median, high = statistics.quantiles(wall, n=4)
    return median, high - low, min(cpu)


def copy_speed() -> float:
    """Bytes per second that are read, and as many written."""
    source = torch.ones(2**26)
    target = torch.zeros_like(source)
    return 4 * source.numel() / (1e-3 * timed(lambda: target.copy_(source), 10)[0])


def calls(
    geometry: Geometry, descriptors: torch.Tensor, views: torch.Tensor, rules: Rules
) -> dict[str, Callable[[], object]]:
    """What is timed, per direction."""

    def forward() -> torch.Tensor:
        return rasterize_points(geometry, descriptors, views, rules).features

    features = forward()
    weights = torch.ones_like(features)

    def backward() -> object:
        return torch.autograd.grad(features, descriptors, weights, retain_graph=True)

    return {"forward": forward, "backward": backward}


def rows(number: int, layers: int, discard: bool, threads: int, repeats: int, backends: list[str]) -> Iterator[Row]:
    """Forward and backward on each backend."""
    geometry, descriptors, views = make_scene(number)
    rules = Rules(*SIZE, layers, 0.01, GAMMA if discard else None)
    moved, alone = floor(geometry, views, rules, repeats)
    speed = copy_speed()
    for backend in backends:
        with patch.dict(os.environ, UNRENDER_KERNELS=backend):
            for direction, work in calls(geometry, descriptors.requires_grad_(), views, rules).items():
                median, spread, cpu = timed(work, repeats if backend == "native" else 3)
                least = max(1e3 * moved[direction] / speed, alone)
                peak = 1024 * getrusage(RUSAGE_SELF).ru_maxrss
                per_s = number / median * 1e3, moved[direction] / median * 1e3
                case = (number, layers, discard, direction, backend, threads)
                yield Row(*case, median, spread, cpu, least, *per_s, peak)


def floor(geometry: Geometry, views: torch.Tensor, rules: Rules, repeats: int) -> tuple[dict[str, float], float]:
    """Bytes that must be read and written (the mean of both), per direction, and the time of the projection alone."""
    module, gamma = native(), -1.0 if rules.gamma is None else rules.gamma
    if module is None:
        return {"forward": math.nan, "backward": math.nan}, math.nan
    cloud = module.Rasterizer(*geometry, torch.get_num_threads())
    numbers = (rules.height, rules.width, rules.layers, rules.alpha, gamma, 0.0, 0, torch.get_num_threads())
    drawn = cloud.draw_nothing(views, *numbers)
    pixels = pyramid_offsets(layer_sizes(rules.height, rules.width, rules.layers))[-1]
    read = drawn * (12 + 4 + (4 if rules.gamma else 0))
    images, row = pixels * (4 * CHANNELS + 8), 4 * CHANNELS
    moved = {
        "forward": (read + drawn * row + images) / 2,
        "backward": (read + len(geometry.position) * row + images) / 2,
    }
    return moved, timed(lambda: cloud.draw_nothing(views, *numbers), repeats)[0]


def main() -> None:
    """Print a table and, with --json, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=float, nargs="+", default=[1e5, 1e6, 1e7])
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--backends", nargs="+", default=["native", "reference"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print("   points  L  discard  direction  backend    threads   median  spread     cpu   floor [ms]")
    table = []
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for number in map(int, arguments.points):
            for layers in arguments.layers:
                for discard in (False, True):
                    for row in rows(number, layers, discard, threads, arguments.repeats, arguments.backends):
                        table.append(asdict(row))
                        print(
                            f"{number:9d} {layers:2d}  {discard!s:7}  {row.direction:9}  {row.backend:9}  {threads:7d}"
                            f"  {row.median_ms:7.1f} {row.spread_ms:7.1f} {row.cpu_ms:7.1f} {row.floor_ms:7.1f}",
                            flush=True,
                        )
    if arguments.json:
        machine = {"processor": platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__}
        arguments.json.write_text(json.dumps({"machine": machine, "rows": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
