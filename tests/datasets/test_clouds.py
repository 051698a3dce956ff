"""Point clouds: round trips, every layout that is met, and damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from plyfile import PlyData, PlyElement

from unrender.datasets.clouds import PointCloud, read_ply, write_ply
from unrender.errors import CaptureError, ShapeError

HEADER = (
    "ply\nformat {format} 1.0\nelement vertex {count}\n"
    "property float x\nproperty float y\nproperty float z\nend_header\n"
)


def cloud(generator: torch.Generator, count: int = 50) -> PointCloud:
    positions = torch.randn(count, 3, dtype=torch.float64, generator=generator) * 1e3
    colors = torch.randint(0, 256, (count, 3), generator=generator).float() / 255
    return PointCloud(positions, colors, torch.randn(count, 3, generator=generator))


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("bare", [False, True])
def test_what_is_written_is_read(tmp_path: Path, generator: torch.Generator, text: bool, bare: bool):
    written = cloud(generator)
    written = PointCloud(written.positions) if bare else written
    write_ply(tmp_path / "a.ply", written, text=text)
    read = read_ply(tmp_path / "a.ply")
    assert torch.equal(read.positions, written.positions)
    if bare:
        assert read.colors is None
        assert read.normals is None
    else:
        torch.testing.assert_close(read.colors, written.colors, rtol=0, atol=1e-7)
        torch.testing.assert_close(read.normals, written.normals, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("kind", "full"), [("u1", 255), ("u2", 65535), ("f4", 1.0), ("f8", 1.0)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_colours_of_any_type_are_0_to_1(tmp_path: Path, kind: str, full: float, order: str):
    names = [(name, "f4") for name in "xyz"] + [(name, kind) for name in ("red", "green", "blue")]
    vertices = np.array([(1, 2, 3, 0, full, full)], dtype=names)
    PlyData([PlyElement.describe(vertices, "vertex")], byte_order=order).write(str(tmp_path / "a.ply"))
    read = read_ply(tmp_path / "a.ply")
    assert read.positions.tolist() == [[1, 2, 3]]
    assert read.positions.dtype == torch.float64
    assert read.colors is not None
    assert read.colors.tolist() == [[0, 1, 1]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        (b"", "cannot be read"),
        (b"hello\n", "cannot be read"),
        (HEADER.format(format="ascii", count=2).encode() + b"1 2 3\n", "cannot be read"),
        (HEADER.format(format="ascii", count=1).encode() + b"1 2 three\n", "cannot be read"),
        (HEADER.format(format="binary_little_endian", count=2).encode() + b"\0" * 20, "cannot be read"),
        (HEADER.format(format="binary_little_endian", count=10**15).encode() + b"\0" * 24, "cannot be read"),
        (HEADER.format(format="ascii", count=10**12).encode() + b"1 2 3\n", "cannot be read"),
        (HEADER.format(format="ascii", count=-1).encode() + b"1 2 3\n", "cannot be read"),
        (HEADER.format(format="ascii", count=0).encode(), "no points"),
        (HEADER.replace("vertex", "face").format(format="ascii", count=1).encode() + b"1 2 3\n", "no element 'vertex'"),
        (HEADER.replace("float z", "float w").format(format="ascii", count=1).encode() + b"1 2 3\n", "expected x y z"),
        (HEADER.format(format="ascii", count=1).encode()[:40], "cannot be read"),
    ],
)
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, content: bytes | None, says: str):
    if content is not None:
        (tmp_path / "a.ply").write_bytes(content)
    with pytest.raises(CaptureError, match=says) as refusal:
        read_ply(tmp_path / "a.ply")
    assert "a.ply" in str(refusal.value)


def test_points_that_are_nowhere_are_dropped(generator: torch.Generator):
    whole = cloud(generator, 4)
    whole.positions[1, 2] = float("nan")
    whole.positions[2, 0] = float("inf")
    assert whole.normals is not None
    whole.normals[3, 1] = float("nan")
    kept = whole.finite()
    assert torch.equal(kept.positions, whole.positions[[0, 3]])
    assert kept.normals is not None
    assert kept.normals[1].tolist() == [0, 0, 0]
    assert torch.equal(kept.normals[0], whole.normals[0])


def test_lengths_must_agree():
    with pytest.raises(ShapeError, match=r"colors.*\[2, 3\].*\[3, 3\]"):
        PointCloud(torch.zeros(2, 3), torch.zeros(3, 3))
