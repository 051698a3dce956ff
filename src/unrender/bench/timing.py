"""Time, copy speed and peak memory, on the processor and on a GPU."""

from __future__ import annotations

import gc
import resource
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

__all__ = ["PeakMemory", "Timing", "cache_bytes", "copy_speed", "timed"]

ENOUGH = 10.0
"""Seconds after which work is not repeated, once it was timed twice."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds: ``median``, ``spread`` from the first to the third quartile; ``cpu``: least processor time of all
    threads, which neighbours on a busy machine disturb less than the clock. ``calls``: how many were counted.
    """

    median: float
    spread: float
    cpu: float
    calls: int


class _Lap(NamedTuple):
    wall: float
    cpu: float


def timed(
    work: Callable[[], object],
    repeats: int,
    device: str = "cpu",
    watch: AbstractContextManager[object] | None = None,
) -> Timing:
    """``work`` called up to ``repeats`` times after one call, inside ``watch``, that is not counted (it may sort,
    compile or grow).
    """
    with watch or nullcontext():
        first = _lap(work, device)
    count = max(2, min(repeats, int(ENOUGH / max(first.wall, 1e-9))))
    gc.disable()
    try:
        laps = [_lap(work, device) for _ in range(count)]
    finally:
        gc.enable()
    low, median, high = statistics.quantiles([1e3 * lap.wall for lap in laps], n=4, method="inclusive")
    return Timing(median, high - low, 1e3 * min(lap.cpu for lap in laps), count)


def _lap(work: Callable[[], object], device: str) -> _Lap:
    """Seconds of one call: by the clock, or by the GPU's own events."""
    cpu = time.process_time()
    seconds = _gpu_seconds(work) if device == "cuda" else _clock_seconds(work)
    return _Lap(seconds, time.process_time() - cpu)


def _clock_seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _gpu_seconds(work: Callable[[], object]) -> float:
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return 1e-3 * begin.elapsed_time(end)


def copy_speed(device: str = "cpu") -> float:
    """Bytes per second that are moved, read and written together, when an array is copied by all of torch's threads.

    The array is four times as large as all last caches together, and at least 256 MiB.
    """
    cache = torch.cuda.get_device_properties(0).L2_cache_size if device == "cuda" else cache_bytes()
    source = torch.ones(max(2**28, 4 * cache) // 4, device=device)
    target = torch.zeros_like(source)
    return 2 * source.nbytes / (1e-3 * timed(lambda: target.copy_(source), 15, device).median)


def cache_bytes(cpus: Path = Path("/sys/devices/system/cpu")) -> int:
    """Bytes of all last-level caches of the machine, 64 MiB where the system does not tell."""
    found = {_cache(index) for index in cpus.glob("cpu[0-9]*/cache/index*")} - {None}
    last = max((cache.level for cache in found if cache), default=0)
    return sum(cache.size for cache in found if cache and cache.level == last) or 2**26


class _Cache(NamedTuple):
    level: int
    size: int
    cpus: str


def _cache(index: Path) -> _Cache | None:
    """One cache, the same from each of the cores that share it."""
    try:
        size = int((index / "size").read_text().strip().removesuffix("K")) * 1024
        return _Cache(int((index / "level").read_text()), size, (index / "shared_cpu_list").read_text())
    except (OSError, ValueError):
        return None


class PeakMemory:
    """The highest resident size of this process since ``restart``, above what it was when this was made.

    On a GPU: what PyTorch's allocator held at most. Where the system does not forget a peak (other than Linux, or
    locked down) it is the highest since the process began.
    """

    def __init__(self, device: str = "cpu") -> None:
        self._cuda = device == "cuda"
        self._base = torch.cuda.memory_allocated() if self._cuda else psutil.Process().memory_info().rss

    def restart(self) -> None:
        """Forget higher sizes of before."""
        if self._cuda:
            torch.cuda.reset_peak_memory_stats()
            return
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return

    def read(self) -> int:
        """Bytes."""
        peak = torch.cuda.max_memory_allocated() if self._cuda else _highest_resident()
        return peak - self._base


def _highest_resident() -> int:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
