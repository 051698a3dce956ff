"""LAS and LAZ as laspy writes them: versions, point formats, colours of 8 bits in 16, and headers that lie."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pytest
import torch

from unrender.datasets.clouds import PointCloud, read_cloud, write_cloud
from unrender.errors import CaptureError

COUNT = 200
CORNER = np.array([682_123.456, 5_234_567.891, 431.002])


def written(path: Path, version: str, point_format: int, **dimensions: Any) -> np.ndarray:
    """A file of laspy's own; its positions as laspy gives them back."""
    header = laspy.LasHeader(version=version, point_format=point_format)
    header.offsets, header.scales = np.floor(CORNER), np.array([0.001, 0.001, 0.0005])
    las = laspy.LasData(header)
    rows = np.random.default_rng(0).uniform(0, 50, (COUNT, 3)) + CORNER
    las.x, las.y, las.z = rows.T
    for name, values in dimensions.items():
        las[name] = values
    las.write(str(path))
    return np.asarray(laspy.read(path).xyz)


@pytest.mark.parametrize("suffix", [".las", ".laz"])
@pytest.mark.parametrize(("version", "point_format"), [("1.2", 0), ("1.2", 3), ("1.3", 5), ("1.4", 6), ("1.4", 8)])
def test_positions_of_every_version_are_laspys(tmp_path: Path, version: str, point_format: int, suffix: str):
    expected = written(tmp_path / f"a{suffix}", version, point_format)
    read = read_cloud(tmp_path / f"a{suffix}")
    np.testing.assert_allclose(read.positions.numpy(), expected, rtol=1e-15)
    assert read.colors is None
    assert read.normals is None


@pytest.mark.parametrize(("most", "scale"), [(65535, 65535), (256, 65535), (255, 255), (1, 255)])
@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_colours_are_0_to_1_whether_of_16_bits_or_8(tmp_path: Path, suffix: str, most: int, scale: int):
    levels = np.random.default_rng(1).integers(0, most + 1, (3, COUNT))
    levels[0, 0] = most
    written(tmp_path / f"a{suffix}", "1.4", 7, red=levels[0], green=levels[1], blue=levels[2])
    read = read_cloud(tmp_path / f"a{suffix}")
    torch.testing.assert_close(read.colors, torch.from_numpy(levels.T / scale).float())


def test_an_intensity_alone_is_grey_and_black_is_no_colour(tmp_path: Path):
    written(tmp_path / "a.las", "1.4", 7, intensity=np.arange(COUNT) * 10)
    read = read_cloud(tmp_path / "a.las")
    assert read.colors is not None
    assert read.colors[0].tolist() == [0, 0, 0]
    assert read.colors[-1].tolist() == [1, 1, 1]
    torch.testing.assert_close(read.colors[COUNT // 2], torch.full((3,), 0.505), rtol=0, atol=0.005)


@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_laspy_reads_what_we_write(tmp_path: Path, generator: torch.Generator, suffix: str):
    positions = torch.rand(COUNT, 3, dtype=torch.float64, generator=generator) * 30 + torch.from_numpy(CORNER)
    colors, normals = torch.rand(COUNT, 3, generator=generator), torch.randn(COUNT, 3, generator=generator)
    rounding = write_cloud(tmp_path / f"a{suffix}", PointCloud(positions, colors, normals))
    las: Any = laspy.read(tmp_path / f"a{suffix}")
    assert las.header.are_points_compressed == (suffix == ".laz")
    assert rounding == pytest.approx(5e-8)
    np.testing.assert_allclose(las.xyz, positions, rtol=0, atol=rounding * 1.01 + 1e-9)
    np.testing.assert_array_equal(las.header.offsets, positions.amin(0))
    np.testing.assert_allclose(las.header.maxs, positions.amax(0), rtol=0, atol=1e-7)
    levels = np.stack([las.red, las.green, las.blue], axis=1)
    np.testing.assert_allclose(levels / 65535, colors, atol=1e-5)
    np.testing.assert_array_equal(np.stack([las["NormalX"], las["NormalY"], las["NormalZ"]], axis=1), normals)


@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_many_chunks_are_read_in_order(tmp_path: Path, generator: torch.Generator, suffix: str):
    positions = torch.rand(130_000, 3, dtype=torch.float64, generator=generator)
    rounding = write_cloud(tmp_path / f"a{suffix}", PointCloud(positions))
    read = read_cloud(tmp_path / f"a{suffix}")
    assert float((read.positions - positions).abs().max()) <= rounding * 1.01


def test_without_laspy_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written(tmp_path / "a.laz", "1.2", 0)
    monkeypatch.setitem(sys.modules, "lazrs", None)
    with pytest.raises(CaptureError, match=r"need the packages laspy and lazrs; pip install 'unrender\[las\]'"):
        read_cloud(tmp_path / "a.laz")


def put(at: int, form: str, *values: object) -> dict[int, bytes]:
    return {at: struct.pack(form, *values)}


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        (".las", put(247, "<Q", 10**18), "too short for the 1000000000000000000 points"),
        (".las", put(247, "<Q", COUNT + 1), f"too short for the {COUNT + 1} points"),
        (".laz", put(247, "<Q", 10**18), "more than the memory holds"),
        (".laz", put(247, "<Q", 60_000), "too short for the 60000 points"),
        (".las", put(247, "<Q", 0), "no points"),
        (".las", put(131, "<d", float("nan")), "scales"),
        (".las", put(131, "<d", 0.0), "scales"),
        (".las", put(155, "<d", float("inf")), "offsets"),
        (".las", put(100, "<I", 2**32 - 1), "no room for 4294967295 records"),
        (".las", put(96, "<I", 2**32 - 1), "parts lie outside the file"),
        (".las", put(94, "<H", 3), "parts lie outside the file"),
        (".las", put(105, "<H", 0), "0 bytes a point"),
        (".las", put(105, "<H", 21), "Incoherent point size"),
        (".las", put(104, "<B", 120), "cannot be read"),
        (".laz", put(104, "<B", 7), "cannot be read"),
        (".las", put(104, "<B", 0x87), "does not say how"),
    ],
)
def test_headers_that_lie_are_refused(tmp_path: Path, kind: str, changes: dict[int, bytes], says: str):
    path = tmp_path / f"a{kind}"
    written(path, "1.4", 7)
    content = bytearray(path.read_bytes())
    for at, value in changes.items():
        content[at : at + len(value)] = value
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=says):
        read_cloud(path)


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (0, struct.pack("<q", 10**15), "table of chunks lies outside"),
        (8 + 36 + 4, struct.pack("<I", 2**32 - 1), "a chunk of points that ends outside the file"),
    ],
)
def test_chunks_that_lie_take_no_memory(tmp_path: Path, place: int, value: bytes, says: str):
    path = tmp_path / "a.laz"
    written(path, "1.4", 7)
    content = bytearray(path.read_bytes())
    at = struct.unpack_from("<I", content, 96)[0] + place
    content[at : at + len(value)] = value
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=says):
        read_cloud(path)
