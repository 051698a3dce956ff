"""How long points take on a GPU: the compiled CUDA kernels, plain PyTorch on the same card, and the floor.

    python benchmarks/points_cuda.py --points 1e7 1e8 --markdown benchmarks/results/points_cuda.md --json rows.json

A wavy sphere of points in Morton order fills most of a 1080p picture; a third of its points face the camera. The floor
is what must be moved, read once and written once (points that are drawn, descriptors of those that are blended,
pictures, gradients), at the speed at which the card copies a gigabyte.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from itertools import product
from pathlib import Path

import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import make_lens
from unrender.cameras.sensor import Sensor
from unrender.kernels import nvrtc
from unrender.kernels.rasterize_points.op import Geometry, Rules, rasterize_points
from unrender.kernels.rasterize_points.projection import project
from unrender.kernels.rasterize_points.reference import draws, in_image, layer_sizes, pyramid_offsets
from unrender.kernels.rasterize_points.views import pack_views

SIZE, CHANNELS, EYE = (1080, 1920), 4, 3.0
FOCAL = 1.3 * SIZE[0]
GAMMA, ALPHA = 1.5, 0.01
CHUNK = 1 << 21


@dataclass(frozen=True)
class Row:
    """Milliseconds: ``median_ms`` and ``spread_ms`` (between the quartiles) of calls that the GPU finds waiting, which
    show its work and nothing else; ``alone_ms`` of a call that it waits for; ``peak_bytes`` above what was held,
    the last call's pictures included.
    """

    points: int
    layers: int
    discard: bool
    half: bool
    direction: str
    backend: str
    median_ms: float
    spread_ms: float
    alone_ms: float
    floor_ms: float
    peak_bytes: int


def spread_bits(cell: torch.Tensor) -> torch.Tensor:
    """Ten bits, each three places from the next."""
    for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):
        cell = (cell | cell << shift) & mask
    return cell


def make_sphere(number: int) -> tuple[Geometry, torch.Tensor]:
    """Points and descriptors, made on the GPU."""
    chance = torch.Generator("cuda").manual_seed(0)
    direction = torch.nn.functional.normalize(torch.randn(number, 3, generator=chance, device="cuda"), dim=1)
    position = direction * (1 + 0.02 * torch.sin(20 * direction[:, :1]) * torch.sin(17 * direction[:, 1:2]))
    code = torch.zeros(number, dtype=torch.int64, device="cuda")
    for axis, cell in enumerate(((position + 1.1) / 2.2 * 1023).long().unbind(1)):
        code |= spread_bits(cell) << axis
    order = torch.argsort(code)
    radius = torch.full((number,), 1.1 * math.sqrt(4 * math.pi / number), device="cuda")
    threshold = torch.rand(number, generator=chance, device="cuda")
    descriptors = torch.randn(number, CHANNELS, generator=chance, device="cuda")
    return Geometry(position[order], direction[order], radius, threshold), descriptors


WIDE = FOCAL / 2
LENSES: dict[str, tuple[float, ...]] = {
    "RADIAL": (FOCAL, SIZE[1] / 2, SIZE[0] / 2, 0.02, -0.01),
    "FULL_OPENCV": (FOCAL, FOCAL, SIZE[1] / 2, SIZE[0] / 2, 0.02, -0.01, 0, 0, 0, 0.01, 0, 0),
    "OPENCV_FISHEYE": (WIDE, WIDE, SIZE[1] / 2, SIZE[0] / 2, -0.02, 0.003, 0, 0),
    "OCAM": (1, 0, 0, SIZE[0] / 2, SIZE[1] / 2, WIDE * math.pi / 2, WIDE, -1.0, 1.0, 0.5),
    "EQUIRECTANGULAR": (SIZE[1], SIZE[0]),
}
"""Lenses to draw through, with COLMAP's parameters: one of each kind of arithmetic."""


def view(lens: str) -> torch.Tensor:
    """A camera three radii away, on the CPU as a renderer gives it."""
    pose = torch.eye(4, dtype=torch.float64)
    pose[2, 3] = EYE
    cameras = Cameras(
        camera_from_world=pose[None],
        camera_index=torch.zeros(1, dtype=torch.int64),
        lenses=(make_lens(lens, SIZE[1], SIZE[0], LENSES[lens]),),
        pixel_scale=torch.ones(1, 2, dtype=torch.float64),
        pixel_offset=torch.zeros(1, 2, dtype=torch.float64),
        sizes=torch.tensor([SIZE]),
        sensor=Sensor.start(torch.zeros(1)),
    )
    return pack_views(cameras, torch.zeros(3, dtype=torch.float64))


def between_events(work: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """Milliseconds of ``work`` on the GPU, after ``before``."""
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    before()
    begin.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end)


def timed(work: Callable[[], object], repeats: int = 9, each: int = 4) -> tuple[float, float, float]:
    """Median and spread of calls that are queued before the GPU begins, and the median of calls made one by one."""

    def several() -> None:
        for _ in range(each):
            work()

    work()
    queued = [between_events(several, lambda: torch.cuda._sleep(20_000_000)) / each for _ in range(repeats)]
    low, median, high = statistics.quantiles(queued, n=4, method="inclusive")
    return median, high - low, statistics.median(between_events(work) for _ in range(repeats))


def copy_speed() -> float:
    """Bytes per second, read and written together."""
    source = torch.ones(2**28, device="cuda")
    target = torch.empty_like(source)
    return 2e3 * source.nbytes / timed(lambda: target.copy_(source))[0]


def count_drawn(geometry: Geometry, row: torch.Tensor, rules: Rules) -> int:
    """Points that are drawn in the finest layer; coarser ones draw no others."""
    count = 0
    for part in zip(*(tensor.split(CHUNK) for tensor in geometry), strict=True):
        seen = project(*Geometry(*part), row)
        keep = seen.keep & in_image(seen.pixels, SIZE)
        if rules.gamma is not None:
            keep &= draws(seen.reach, torch.zeros_like(seen.reach), 0, rules.gamma)
        count += int(keep.sum())
    return count


def floor_bytes(rules: Rules, row_bytes: int, drawn: int, rows: int) -> int:
    """Geometry of points drawn, pictures, and ``rows`` of descriptors or gradients."""
    pixels = pyramid_offsets(layer_sizes(*SIZE, rules.layers))[-1]
    return drawn * 4 * (3 + (rules.gamma is not None)) + pixels * 4 * (CHANNELS + 2) + rows * row_bytes


def measure(
    geometry: Geometry, descriptors: torch.Tensor, views: torch.Tensor, rules: Rules, speed: float, backend: str
) -> Iterator[tuple[Row, int]]:
    """Both directions, and blended pairs of point and pixel."""
    number, half = len(descriptors), descriptors.dtype == torch.float16
    leaf, kept = descriptors.detach().requires_grad_(), []

    def forward() -> None:
        kept.clear()
        kept.append(rasterize_points(geometry, leaf, views, rules))

    def backward() -> torch.Tensor:
        features = kept[0].features
        return torch.autograd.grad(features, leaf, torch.ones_like(features), retain_graph=True)[0]

    forward()
    pairs, drawn = int(kept[0].counts.sum()), count_drawn(geometry, views[0], rules)
    blended = int((backward() != 0).any(1).sum())
    for direction, work, rows in (("forward", forward, blended), ("backward", backward, number)):
        torch.cuda.reset_peak_memory_stats()
        base = torch.cuda.memory_allocated()
        times = timed(work, 3, 1) if backend == "reference" else timed(work)
        peak = torch.cuda.max_memory_allocated() - base
        floor = 1e3 * floor_bytes(rules, CHANNELS * leaf.element_size(), drawn, rows) / speed
        case = (number, rules.layers, rules.gamma is not None, half, direction, backend)
        median, spread, alone, floor = (round(ms, 4) for ms in (*times, floor))
        yield Row(*case, median, spread, alone, floor, peak), pairs


@contextmanager
def kernels(backend: str) -> Iterator[None]:
    """``native`` or ``reference``, for a while."""
    before = os.environ.get("UNRENDER_KERNELS", "native")
    os.environ["UNRENDER_KERNELS"] = backend
    yield
    os.environ["UNRENDER_KERNELS"] = before


def bench(points: list[int], lens: str, speed: float) -> Iterator[tuple[Row, int]]:
    """All rows, and the blended pairs of each."""
    for number in points:
        geometry, descriptors = make_sphere(number)
        for layers, discard, half in product((1, 4), (False, True), (False, True)):
            rules = Rules(*SIZE, layers, ALPHA, GAMMA if discard else None)
            given = descriptors.half() if half else descriptors
            yield from measure(geometry, given, view(lens), rules, speed, "native")
            if layers == 4 and not half and number <= 10**7:
                with kernels("reference"):
                    yield from measure(geometry, given, view(lens), rules, speed, "reference")
        del geometry, descriptors
        torch.cuda.empty_cache()


def page(rows: list[tuple[Row, int]], lens: str, speed: float, commit: str) -> str:
    """The table, with what a reader needs to judge it."""
    lines = [
        "| points | layers | discard | descriptors | direction | by "
        "| GPU [ms] | spread | alone | floor | pairs | peak [MB] |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row, pairs in rows:
        kind = "float16" if row.half else "float32"
        what = [f"{row.points:,}", row.layers, "yes" if row.discard else "no", kind, row.direction, row.backend]
        times = [f"{ms:.3f}" for ms in (row.median_ms, row.spread_ms, row.alone_ms, row.floor_ms)]
        lines.append("| " + " | ".join(map(str, [*what, *times, f"{pairs:,}", row.peak_bytes // 2**20])) + " |")
    card = f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, NVRTC {nvrtc.compiler_version()}"
    what = f"{card}, Python {platform.python_version()}, {date.today()}, commit {commit}, {lens}"
    head = f"{what}. Copy: {speed / 1e12:.2f} TB/s."
    return "\n".join([head, "", *lines, ""])


def main() -> None:
    """Measure, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=float, nargs="+", default=[1e7])
    parser.add_argument("--lens", choices=list(LENSES), default="RADIAL")
    parser.add_argument("--commit", default="unknown")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    speed, rows = copy_speed(), []
    for row, pairs in bench([int(number) for number in options.points], options.lens, speed):
        rows.append((row, pairs))
        print(json.dumps(asdict(row) | {"pairs": pairs}), flush=True)
        if options.json:
            options.json.write_text(json.dumps({"copy_bytes_per_s": speed, "rows": [asdict(row) for row, _ in rows]}))
        if options.markdown:
            options.markdown.write_text(page(rows, options.lens, speed, options.commit))


if __name__ == "__main__":
    main()
