"""PLY: every layout that is met, agreement with COLMAP's own reader and writer, and damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch

from unrender.datasets.clouds import PointCloud, read_ply, write_ply
from unrender.errors import CaptureError

HEADER = (
    "ply\nformat {format} 1.0\nelement vertex {count}\n"
    "property float x\nproperty float y\nproperty float z\nend_header\n"
)
TYPES = {"u1": "uchar", "u2": "ushort", "i4": "int", "f4": "float", "f8": "float64"}


def with_columns(path: Path, vertices: np.ndarray, order: str) -> None:
    """A binary PLY of a structured array, or one in text where the order is none."""
    form = {"<": "binary_little_endian", ">": "binary_big_endian", "": "ascii"}[order]
    names = vertices.dtype.names or ()
    properties = [f"property {TYPES[vertices.dtype[name].str[1:]]} {name}" for name in names]
    lines = ["ply", f"format {form} 1.0", "comment by hand", f"element vertex {len(vertices)}", *properties]
    body = vertices.astype(vertices.dtype.newbyteorder(">" if order == ">" else "<")).tobytes()
    if not order:
        body = "".join(" ".join(map(str, row)) + "\n" for row in vertices.tolist()).encode()
    path.write_bytes("\n".join([*lines, "end_header", ""]).encode() + body)


@pytest.mark.parametrize("text", [False, True])
def test_both_forms_hold_every_bit(tmp_path: Path, generator: torch.Generator, text: bool):
    positions = torch.randn(50, 3, dtype=torch.float64, generator=generator) * 1e-3 + 1e6
    normals = torch.randn(50, 3, generator=generator)
    write_ply(tmp_path / "a.ply", PointCloud(positions, None, normals), text=text)
    read = read_ply(tmp_path / "a.ply")
    assert torch.equal(read.positions, positions)
    torch.testing.assert_close(read.normals, normals, rtol=0, atol=0)
    assert read.colors is None


@pytest.mark.parametrize(
    ("kind", "level", "color"),
    [
        ("u1", 255, 1),
        ("u1", 1, 1 / 255),
        ("u2", 65535, 1),
        ("u2", 255, 255 / 65535),
        ("i4", 255, 1),
        ("f4", 1.0, 1),
        ("f4", 0.5, 0.5),
        ("f8", 255.0, 1),
    ],
)
@pytest.mark.parametrize("order", ["<", ">", ""])
def test_colours_of_any_type_are_0_to_1(tmp_path: Path, kind: str, level: float, color: float, order: str):
    names = [(name, "f4") for name in "xyz"] + [(name, kind) for name in ("red", "green", "blue")]
    with_columns(tmp_path / "a.ply", np.array([(1, 2, 3, 0, level, level)], dtype=names), order)
    read = read_ply(tmp_path / "a.ply")
    assert read.positions.tolist() == [[1, 2, 3]]
    assert read.positions.dtype == torch.float64
    torch.testing.assert_close(read.colors, torch.tensor([[0, color, color]]).float())


def test_an_intensity_alone_is_grey(tmp_path: Path):
    names = [(name, "f8") for name in ("x", "y", "z", "scalar_Intensity")]
    rows = np.array([(0, 0, 0, intensity) for intensity in (-1000, 0, 1000)], dtype=names)
    with_columns(tmp_path / "a.ply", rows, "<")
    read = read_ply(tmp_path / "a.ply")
    torch.testing.assert_close(read.colors, torch.tensor([0, 0.5, 1.0])[:, None].expand(3, 3))


def test_colmap_reads_what_we_write(tmp_path: Path, generator: torch.Generator):
    levels = torch.randint(0, 256, (9, 3), generator=generator)
    positions = torch.randint(-99, 99, (9, 3), generator=generator).double() / 8
    write_ply(tmp_path / "a.ply", PointCloud(positions, levels / 255, torch.ones(9, 3)))
    model = pycolmap.Reconstruction()
    model.import_PLY(tmp_path / "a.ply")
    points = [point for _, point in sorted(model.points3D.items())]
    np.testing.assert_array_equal([point.xyz for point in points], positions)
    np.testing.assert_array_equal([point.color for point in points], levels)


def test_we_read_what_colmap_writes(tmp_path: Path):
    model = pycolmap.Reconstruction()
    rows = [[0.5, 1, 2, 255, 0, 3], [7, -8, 9.25, 4, 5, 6]]
    for row in rows:
        model.add_point3D(np.array(row[:3]), pycolmap.Track(), np.array(row[3:], np.uint8))
    model.export_PLY(tmp_path / "a.ply")
    read = read_ply(tmp_path / "a.ply")
    assert read.colors is not None
    both = torch.cat([read.positions, read.colors.double() * 255], dim=1)
    torch.testing.assert_close(both[both[:, 0].argsort()], torch.tensor(rows, dtype=torch.float64))


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_meshes_in_text_are_read_for_their_vertices(tmp_path: Path, ends: str):
    lines = ["ply", "format ascii 1.0", "obj_info a mesh", "element camera 1", "property list uchar int ids"]
    lines += ["element vertex 2", "property double x", "property double y", "property double z", "property uchar tag"]
    lines += ["element face 1", "property list uchar int vertex_indices", "end_header"]
    lines += ["3 1 2 3", "1.5 2 3 9", "4 5 6 9", "3 0 1 1", ""]
    (tmp_path / "a.ply").write_bytes(ends.join(lines).encode())
    assert read_ply(tmp_path / "a.ply").positions.tolist() == [[1.5, 2, 3], [4, 5, 6]]


def test_binary_meshes_are_read_for_their_vertices(tmp_path: Path):
    header = HEADER.format(format="binary_big_endian", count=2)
    header = header.replace("element vertex", "element camera 2\nproperty short id\nelement vertex")
    header = header.replace("end_header", "element face 1\nproperty list uchar int vertex_indices\nend_header")
    faces = b"\3" + bytes(12)
    content = header.encode() + bytes(4) + np.arange(6, dtype=">f4").tobytes() + faces
    (tmp_path / "a.ply").write_bytes(content)
    assert read_ply(tmp_path / "a.ply").positions.tolist() == [[0, 1, 2], [3, 4, 5]]


def stated(form: str, count: object, body: bytes, old: str = "", new: str = "") -> bytes:
    return HEADER.replace(old, new).format(format=form, count=count).encode() + body


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (stated("ascii", 2, b"1 2 3\n"), "too short for the 2 vertices"),
        (stated("ascii", 2, b"1.25 2.25 3.25\n"), "1 of 2 vertices"),
        (stated("ascii", 1, b"1 2 three\n"), "line 1: not 3 numbers"),
        (stated("ascii", 1, b"1 2 3 4\n"), "line 1: not 3 numbers"),
        (stated("binary_little_endian", 2, bytes(23)), "too short for the 2 vertices"),
        (stated("binary_little_endian", 10**15, bytes(24)), "too short"),
        (stated("binary_little_endian", 10**18, bytes(24)), "too short"),
        (stated("ascii", 10**12, b"1 2 3\n"), "too short"),
        (stated("ascii", "9" * 5000, b"1 2 3\n"), "no line of a header"),
        (stated("ascii", -1, b"1 2 3\n"), "no line of a header: 'element vertex -1'"),
        (stated("ascii", 0, b""), "no points"),
        (stated("ascii", 1, b"1 2 3\n", "vertex", "face"), "no element 'vertex'"),
        (stated("ascii", 1, b"1 2 3\n", "float z", "float w"), "expected x y z"),
        (stated("ascii", 1, b"1 2 3\n", "float z", "float x"), "no property: 'float x'"),
        (stated("ascii", 1, b"1 2 3\n", "float z", "half z"), "no property: 'half z'"),
        (stated("ascii", 1, b"1 2 3\n", "float z", "list uchar int z"), "expected x y z"),
        (stated("ascii", 1, b"1 2 3\n", "1.0\n", "2.0\n"), "no line of a header: 'format ascii 2.0'"),
        (stated("ascii", 1, b"1 2 3\n", "format {format} 1.0\n", ""), "no format"),
        (stated("ascii", 1, b"1 2 3\n", "element vertex", "element a 999999999999999\nelement vertex"), "too short"),
        (stated("ascii", 1, b"")[:40], "no line of a header"),
        (b"ply\nformat ascii 1.0\n", "no end_header"),
        (b"ply\n" + b"comment\n" * 20_000, "no end_header"),
        (b"ply\nformat ascii 1.0\ncomment " + b"x" * (1 << 17), "no line of a header"),
    ],
)
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, content: bytes, says: str):
    (tmp_path / "a.ply").write_bytes(content)
    with pytest.raises(CaptureError, match=says) as refusal:
        read_ply(tmp_path / "a.ply")
    assert "a.ply" in str(refusal.value)
    assert len(str(refusal.value)) < 500


def test_colours_in_text_must_fit_their_type(tmp_path: Path):
    header = HEADER.replace(
        "end_header", "".join(f"property uchar {n}\n" for n in ("red", "green", "blue")) + "end_header"
    )
    (tmp_path / "a.ply").write_text(header.format(format="ascii", count=1) + "1 2 3 0 0 300\n")
    with pytest.raises(CaptureError, match="colours that their type cannot hold"):
        read_ply(tmp_path / "a.ply")
