"""The benchmark of points: every backend on a tiny cloud, what is left out, what is refused, and the page."""

from __future__ import annotations

import signal
from dataclasses import fields, replace

import pytest
import torch

from unrender.bench import points as bench_points_module
from unrender.bench.backends import BACKENDS
from unrender.bench.backends.backend import both_directions
from unrender.bench.measure import Errand
from unrender.bench.memory import needed_bytes, refuse_too_many
from unrender.bench.metrics import METRICS, Row
from unrender.bench.page import json_table, markdown_page, text_lines
from unrender.bench.points import Absence, Measured, PointsBench, bench_points, in_own_process
from unrender.bench.workload import Case, make_sphere
from unrender.errors import RunError, SettingsError
from unrender.messages import Note

PROMISED = {
    *("points", "layers", "discard", "direction", "backend", "threads"),
    *("median_ms", "spread_ms", "floor_ms", "peak_bytes"),
}
TINY = PointsBench(points=(500,), layers=(1,), discards=(False,), repeats=2)
OURS = [name for name in ("native", "reference") if BACKENDS[name].absent("cpu") is None]


def drain(messages):
    """All messages, and the table."""
    said, ends = [], []

    def listen():
        ends.append((yield from messages))

    said.extend(listen())
    return said, ends[0]


@pytest.fixture
def peer(monkeypatch):
    """Lets a backend be somebody else's that is here; what it gives."""

    def make(run):
        monkeypatch.setitem(BACKENDS, "pulsar", replace(BACKENDS["pulsar"], absent=lambda device: None))
        monkeypatch.setattr(bench_points_module, "_peer_version", lambda: "0")

        def answer(errand):
            if errand.backend == "floor":
                return [{"drawn": 1, "blended": 1, "projection_ms": None, "copy_speed": 1e10} for _ in errand.cases]
            return run(errand)

        return answer

    return make


def test_every_backend_of_ours_is_measured_both_ways(here):
    said, table = drain(bench_points(TINY, here))
    assert [(row.backend, row.direction) for row in table.rows] == [
        (name, direction) for name in OURS for direction in ("forward", "backward")
    ]
    for row in table.rows:
        assert row.median_ms > 0
        assert row.floor_ms > 1080 * 1920 * 24 / 1e10 * 1e3
        assert row.points_per_s == pytest.approx(500 / row.median_ms * 1e3)
        assert 100 < row.blended <= row.drawn < 250
    done = [message for message in said if isinstance(message, Measured)]
    assert [message.done for message in done] == list(range(1, done[0].total + 1))


def test_a_process_of_its_own_holds_the_scene_and_the_pictures():
    lines = list(in_own_process(Errand("reference", (Case(500, 1, discard=False, threads=1),), 2)))
    assert [line["direction"] for line in lines] == ["forward", "backward"]
    assert all(2**20 < line["peak_bytes"] < 2**30 for line in lines)


def test_peers_run_where_they_are():
    """One render and its gradient on a few points; skipped where they are not installed."""
    case = Case(300, 1, discard=False, threads=1)
    for name in ("pytorch3d", "pulsar"):
        if BACKENDS[name].absent("cpu") is not None:
            pytest.skip("no PyTorch3D")
        calls = BACKENDS[name].calls(make_sphere(case), case)
        calls["forward"]()
        gradient = calls["backward"]()[0]
        assert (gradient != 0).any(dim=1).sum() > 50


def test_json_has_what_is_promised(here):
    _, table = drain(bench_points(TINY, here))
    written = json_table(TINY, table)
    assert set(written) >= {"machine", "rows"}
    for row in written["rows"]:
        assert set(row) >= PROMISED
        assert type(row["discard"]) is bool
        assert type(row["peak_bytes"]) is int
    assert {field.name for field in fields(Row)} - METRICS.keys() == PROMISED - METRICS.keys()
    assert {metric.better for metric in METRICS.values()} == {"lower", "higher", "neither"}


def test_page_and_lines_have_every_row(here):
    _, table = drain(bench_points(TINY, here))
    table.left_out.append(Absence("slow", "too slow", 500, 1))
    page, lines = markdown_page(TINY, table, "unrender bench points --points 500"), text_lines(table)
    assert page.startswith("# Points, forward and backward\n\n    unrender bench points --points 500\n")
    assert sum(line.startswith("| 500 |") for line in page.splitlines()) == len(table.rows)
    assert len(lines) == 1 + len(table.rows) + len(table.left_out)
    assert len({len(line) for line in lines[: 1 + len(table.rows)]}) == 1
    for text in (page, "\n".join(lines)):
        assert "slow left out at 500 points, 1 layer(s): too slow" in text


def test_a_slow_peer_is_left_out_and_not_tried_with_more(peer):
    tried = []

    def run(errand):
        tried.append((errand.cases[0].points, errand.cases[0].layers, errand.limit))
        return [] if errand.cases[0].layers > 1 else [ROW | {"direction": d} for d in ("forward", "backward")]

    bench = PointsBench(points=(10, 20), layers=(1, 4), backends=("pulsar",), peer_seconds=7)
    said, table = drain(bench_points(bench, peer(run)))
    assert tried == [(10, 1, 7), (10, 4, 7), (20, 1, 7)]  # no discarding, and not 4 layers of 20
    assert [(absence.points, absence.layers) for absence in table.left_out] == [(10, 4), (20, 4)]
    assert "forward takes more than 7 s" in table.left_out[0].why
    assert [message.text for message in said if isinstance(message, Note)] == [a.text for a in table.left_out]
    assert len(table.rows) == 4


ROW = {"median": 1.0, "spread": 0.0, "cpu": 1.0, "calls": 2, "peak_bytes": 1}


def test_a_peer_that_breaks_is_left_out_and_ours_is_not(peer):
    def breaks(errand):
        raise RunError("could not be measured", got="a reason")

    _, table = drain(bench_points(PointsBench(points=(10,), layers=(1,), backends=("pulsar",)), peer(breaks)))
    assert "a reason" in table.left_out[0].text
    with pytest.raises(RunError, match="a reason"):
        drain(bench_points(PointsBench(points=(10,), backends=("reference",)), peer(breaks)))


def test_the_process_of_its_own_says_what_it_found_until_it_is_stopped(monkeypatch):
    real = bench_points_module.subprocess.run

    def runs(code):
        """The next child is this Python code."""
        monkeypatch.setattr(
            bench_points_module.subprocess, "run", lambda words, **how: real([words[0], "-c", code], **how)
        )
        return list(in_own_process(Errand("reference", (Case(1, 1, False, 1),), 2)))

    assert runs("import os; print('noise'); print('{\"kernels\": \"' + os.environ['UNRENDER_KERNELS'] + '\"}')") == [
        {"kernels": "reference"}
    ]
    stopped = f"import os; print('{{}}', flush=True); os.kill(os.getpid(), {int(signal.SIGALRM)})"
    assert runs(stopped) == [{}]
    with pytest.raises(RunError, match="reference: could not be measured, got ValueError: no"):
        runs("raise ValueError('no')")
    with pytest.raises(RunError, match="want of memory"):
        runs("import os; os.kill(os.getpid(), 9)")


def test_refusals(here, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for bench, line in (
        (
            PointsBench(backends=("nonsense",)),
            "no such backend, expected native reference pytorch3d pulsar, got nonsense",
        ),
        (PointsBench(backends=("native",), device="cuda"), "no CUDA device here"),
        (PointsBench(backends=("pytorch3d",), half=True), "pytorch3d"),
        (PointsBench(points=(10**12,), backends=("reference",)), "1,000,000,000,000 points on the backend reference"),
    ):
        with pytest.raises((SettingsError, RunError), match=line):
            next(bench_points(bench, here))


def test_memory_is_refused_with_need_and_have(monkeypatch):
    monkeypatch.setattr("unrender.bench.memory.available_memory", lambda: 10 * 2**30)
    ours = [BACKENDS["reference"]]
    refuse_too_many([1000], ours, "cpu")
    need = needed_bytes(10**9, ours) / 2**30
    with pytest.raises(RunError, match=rf"about {need:.1f} GiB of memory, expected at most 10.0 GiB, which are free"):
        refuse_too_many([1000, 10**9], ours, "cpu")


def test_the_gradient_is_of_the_last_picture():
    weights = torch.ones(3, requires_grad=True)
    calls = both_directions(lambda: [2 * weights, weights * 5], weights)
    calls["forward"]()
    for _ in range(2):
        gradient = calls["backward"]()[0]
        assert gradient.tolist() == [7, 7, 7]
