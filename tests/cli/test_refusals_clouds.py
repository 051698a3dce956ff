"""Bad point clouds for --points: one clear line on stderr, exit status 2, nothing begun. A case is a row."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from unrender.datasets.clouds import CLOUD_SUFFIXES, PointCloud, write_cloud


def put(at: int, value: bytes) -> Callable[[bytes], bytes]:
    return lambda content: content[:at] + value + content[at + len(value) :]


MANY = (10**18).to_bytes(8, "little")

# name of the file, what is done to a good one's bytes, what is said
CLOUDS: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "no kind": ("c.obj", lambda _: b"v 0 0 0\n", "c.obj: no known kind of point cloud, expected .ply .las"),
    "empty": ("c.csv", lambda _: b"", "c.csv: cannot be read as points in text (no points)"),
    "a line cut short": ("c.xyz", lambda c: c[:-5], "(line 11: not 3 numbers like the first: '27.0 28.0')"),
    "a count of others": ("c.pts", lambda c: c.replace(b"10\n", b"11\n", 1), "expected 11 points, got 10"),
    "a survey cut short": ("c.las", lambda c: c[:-9], "too short for the 10 points that its header states"),
    "a survey of too many": ("c.las", put(247, MANY), f"too short for the {10**18} points"),
    "a survey beyond memory": ("c.laz", put(247, MANY), f"{10**18} points are more than the memory holds"),
    "a scan of other bytes": ("c.e57", put(1030, b"\0\1\2\3"), "c.e57: cannot be read as E57 ("),
    "a scan of rubbish": ("c.e57", lambda _: b"\xff" * 999, "c.e57: cannot be read as E57 (it does not begin as E57)"),
}


@pytest.mark.parametrize(("name", "change", "message"), CLOUDS.values(), ids=CLOUDS)
def test_refusal(unrender, tiny_capture, tmp_path, name, change, message):
    path = tmp_path / name
    if path.suffix in CLOUD_SUFFIXES:
        write_cloud(path, PointCloud(torch.arange(30).reshape(10, 3).double()))
    path.write_bytes(change(path.read_bytes() if path.exists() else b""))
    said = unrender("fit", tiny_capture, "-o", tmp_path / "run", "--points", path)
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("unrender: error: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert [child.name for child in tmp_path.iterdir()] == [name]


def test_a_folder_for_a_cloud(unrender, tiny_capture, tmp_path):
    said = unrender("fit", tiny_capture, "-o", tmp_path / "run", "--points", tmp_path)
    assert said.status == 2
    assert "a folder, not a file, expected a point cloud" in said.err
