"""Clock, copy speed and memory."""

from __future__ import annotations

import mmap
import time

import pytest

from unrender.bench import timing
from unrender.bench.timing import PeakMemory, cache_bytes, timed


def test_the_first_call_does_not_count_and_median_and_spread_are_of_the_others(monkeypatch):
    seconds = iter([9.0, 1e-3, 2e-3, 3e-3, 4e-3, 100e-3])
    monkeypatch.setattr(timing, "_clock_seconds", lambda work: work() or next(seconds))
    monkeypatch.setattr(timing, "ENOUGH", 1e9)
    calls = []
    found = timed(lambda: calls.append(1), 5)
    assert len(calls) == 6
    assert found.calls == 5
    assert (found.median, found.spread) == (pytest.approx(3), pytest.approx(2))


def test_slow_work_is_repeated_twice(monkeypatch):
    monkeypatch.setattr(timing, "_clock_seconds", lambda _: 60.0)
    assert timed(lambda: None, 15).calls == 2


def test_time_is_milliseconds_by_the_clock():
    found = timed(lambda: time.sleep(0.01), 3)
    assert 10 <= found.median < 100
    assert found.cpu < 10


def test_peak_memory_is_of_the_work_since_it_was_restarted():
    peak, mebibyte = PeakMemory(), 2**20

    def use(size):
        with mmap.mmap(-1, size * mebibyte) as memory:  # not malloc's, which may have some left
            memory.write(b"1" * len(memory))

    use(256)
    peak.restart()
    before = peak.read()
    use(32)
    assert 32 - 8 < (peak.read() - before) / mebibyte < 64 + 8


def test_the_last_caches_are_summed_once_each(tmp_path):
    def write(cpu, index, level, size, shared):
        folder = tmp_path / f"cpu{cpu}" / "cache" / f"index{index}"
        folder.mkdir(parents=True)
        for name, text in (("level", level), ("size", size), ("shared_cpu_list", shared)):
            (folder / name).write_text(f"{text}\n")

    for cpu in range(4):
        write(cpu, 0, 1, "64K", cpu)
        write(cpu, 1, 3, "32768K", "0-1" if cpu < 2 else "2-3")
    assert cache_bytes(tmp_path) == 2 * 32 * 2**20
    assert cache_bytes(tmp_path / "nothing") == 64 * 2**20
