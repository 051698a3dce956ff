"""``unrender bench``: what it writes where, and what it refuses. What is measured is in tests/bench."""

from __future__ import annotations

import json

import pytest
import torch

from unrender.bench import points as points_module
from unrender.bench.points import bench_points


@pytest.fixture
def measured(monkeypatch):
    """The verb, with measurements that are settled and not made."""

    def answer(errand):
        if errand.backend == "floor":
            return [{"drawn": 3, "blended": 2, "projection_ms": None, "copy_speed": 1e10} for _ in errand.cases]
        line = {"median": 5.0, "spread": 0.5, "cpu": 4.0, "calls": errand.repeats, "peak_bytes": 2**20}
        return [line | {"direction": direction} for direction in ("forward", "backward")]

    monkeypatch.setattr(points_module, "bench_points", lambda bench: bench_points(bench, answer))


def test_the_table_goes_to_stdout_and_progress_to_stderr(unrender, measured):
    said = unrender("bench", "points", "--points", "1e3", "--layers", 1, "--backends", "reference", "--threads", 1)
    assert said.status == 0
    assert len(said.out.splitlines()) == 5
    assert "median" in said.out.splitlines()[0]
    assert "measuring 100 %  1,000 points, 1 layers, reference, backward: 5.0 ms" in said.err
    assert "\x1b" not in said.out + said.err


def test_json_alone_is_one_object_and_quiet_is_silence(unrender, measured):
    said = unrender("bench", "points", "--points", "1e3", "--backends", "reference", "--json", "--quiet", "--seed", 0)
    assert (said.status, said.err, said.out.count("\n")) == (0, "", 1)
    table = json.loads(said.out)
    assert len(table["rows"]) == 8
    assert table["machine"]["threads"] == torch.get_num_threads()


def test_json_with_a_file_writes_it_and_prints_the_table(unrender, measured, tmp_path):
    file, page = tmp_path / "rows.json", tmp_path / "page.md"
    command = (
        "bench",
        "points",
        "--backends",
        "reference",
        "--discard",
        "yes",
        "--points",
        "1e3",
        "2e3",
        "--layers",
        2,
    )
    said = unrender(*command, "--json", file, "--markdown", page)
    assert said.status == 0
    assert "median" in said.out
    rows = json.loads(file.read_text())["rows"]
    assert [(row["points"], row["layers"], row["discard"]) for row in rows[::2]] == [(1000, 2, True), (2000, 2, True)]
    assert page.read_text().count("| reference |") == 4


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--points", "0"), "--points: number of points, expected whole numbers from 1"),
        (("--points", "1.5"), "got 1.5"),
        (("--points", "nan"), "got nan"),
        (("--points", "inf"), "got inf"),
        (("--layers", "0"), "--layers: number of layers, expected 1 to 12"),
        (("--repeats", "1"), "--repeats: number of calls, expected 2 or more, got 1"),
        (("--peer-seconds", "nan"), "--peer-seconds: time"),
        (("rows.json",), "say --json rows.json"),
        (("--json", "no/such/folder/rows.json"), "not a file in a folder that is there"),
        (("--backends", "nonsense"), "no such backend"),
        (("--points", "2e9", "--backends", "reference"), "GiB, which are free"),
    ],
)
def test_nonsense_is_refused_in_one_line(unrender, words, line):
    said = unrender("bench", "points", *words)
    assert (said.status, said.out, said.err.count("\n")) == (2, "", 1)
    assert line in said.err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(unrender):
    said = unrender("bench", "points", "--device", "cuda")
    assert (said.status, said.err) == (2, "unrender: error: --device: no CUDA device here; leave --device out\n")
