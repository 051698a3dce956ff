"""E57 as pye57 writes it: several scans with poses, invalid points, spherical coordinates, and XML that attacks."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pye57
import pytest
import torch

from unrender.datasets.cloud_files import e57
from unrender.datasets.clouds import PointCloud, read_cloud, write_cloud
from unrender.errors import CaptureError

libe57 = importlib.import_module("pye57.libe57")  # a compiled module, which pyright does not see

COUNT = 60
QUARTER = np.array([np.sqrt(0.5), 0, 0, np.sqrt(0.5)])  # a quarter turn about z: (x, y, z) -> (-y, x, z)


def scan(seed: int, *fields: str) -> dict[str, np.ndarray]:
    """A scan as pye57 takes it, with those fields beside coordinates."""
    random = np.random.default_rng(seed)
    columns = {f"cartesian{axis}": random.normal(size=COUNT).astype(np.float32).astype(float) for axis in "XYZ"}
    made = {"intensity": random.random(COUNT).astype(np.float32), "cartesianInvalidState": np.arange(COUNT) % 3}
    made |= {f"color{name}": random.integers(0, 256, COUNT) for name in ("Red", "Green", "Blue")}
    return columns | {name: made[name].astype("b" if name.endswith("State") else made[name].dtype) for name in fields}


COLORS = ("colorRed", "colorGreen", "colorBlue")


def test_scans_come_together_by_their_poses(tmp_path: Path):
    first, second = scan(0, *COLORS), scan(1, *COLORS, "intensity")
    translation = np.array([5e5, 4e6, 100.0])
    with pye57.E57(str(tmp_path / "a.e57"), mode="w") as file:
        file.write_scan_raw(first)
        file.write_scan_raw(second, rotation=QUARTER, translation=translation)
    read = read_cloud(tmp_path / "a.e57")
    here = np.stack([first[f"cartesian{axis}"] for axis in "XYZ"], axis=1)
    x, y, z = (second[f"cartesian{axis}"] for axis in "XYZ")
    np.testing.assert_array_equal(read.positions[:COUNT], here)
    np.testing.assert_allclose(read.positions[COUNT:], np.stack([-y, x, z], axis=1) + translation, rtol=0, atol=2e-9)
    levels = np.concatenate([np.stack([part[name] for name in COLORS], axis=1) for part in (first, second)])
    torch.testing.assert_close(read.colors, torch.from_numpy(levels / 255).float())


def test_it_agrees_with_pye57(tmp_path: Path):
    with pye57.E57(str(tmp_path / "a.e57"), mode="w") as file:
        rotation = np.array([0.5, -0.5, 0.5, 0.5])
        file.write_scan_raw(scan(3, "cartesianInvalidState", *COLORS), rotation=rotation, translation=np.arange(3.0))
    with pye57.E57(str(tmp_path / "a.e57")) as file:
        data = file.read_scan(0, colors=True)
    expected = np.stack([data[f"cartesian{axis}"] for axis in "XYZ"], axis=1)
    read = read_cloud(tmp_path / "a.e57")
    assert len(read) == COUNT // 3
    np.testing.assert_allclose(read.positions, expected, rtol=0, atol=1e-14)
    assert read.colors is not None
    np.testing.assert_allclose(read.colors[:, 0] * 255, data["colorRed"], atol=1e-4)


@pytest.mark.parametrize(
    ("first", "second", "colored"),
    [(COLORS, (), False), ((*COLORS, "intensity"), ("intensity",), True), (("intensity",), ("intensity",), True)],
)
def test_only_what_all_scans_have_is_kept(tmp_path: Path, first: tuple, second: tuple, colored: bool):
    with pye57.E57(str(tmp_path / "a.e57"), mode="w") as file:
        file.write_scan_raw(scan(0, *first))
        file.write_scan_raw(scan(1, *second))
    colors = read_cloud(tmp_path / "a.e57").colors
    assert (colors is not None) == colored
    if colors is not None:
        assert torch.equal(colors[:, 0], colors[:, 1])
        assert colors.min() == 0
        assert colors.max() == 1


def with_prototype(path: Path, columns: dict[str, np.ndarray], nodes: dict[str, tuple], limits: int = 0) -> None:
    """A file of one scan whose columns are of the given nodes: (class name, arguments)."""
    with pye57.E57(str(path), mode="w") as file:
        image = file.image_file
        prototype, node = libe57.StructureNode(image), libe57.StructureNode(image)
        buffers = libe57.VectorSourceDestBuffer()
        count = len(next(iter(columns.values())))
        for name, values in columns.items():
            kind, *arguments = nodes[name]
            prototype.set(name, getattr(libe57, kind)(image, *arguments))
            buffers.append(libe57.SourceDestBuffer(image, name, values, count, True, True))
        if limits:
            box = libe57.StructureNode(image)
            for name in COLORS:
                box.set(f"{name}Minimum", libe57.IntegerNode(image, 0))
                box.set(f"{name}Maximum", libe57.IntegerNode(image, limits))
            node.set("colorLimits", box)
        points = libe57.CompressedVectorNode(image, prototype, libe57.VectorNode(image, True))
        node.set("points", points)
        file.data3d.append(node)
        writer = points.writer(buffers)
        writer.write(count)
        writer.close()


def test_spherical_coordinates_become_cartesian(tmp_path: Path):
    names = ("sphericalRange", "sphericalAzimuth", "sphericalElevation")
    rows = np.array([[2, 0, 0], [3, np.pi / 2, 0], [4, 1, np.pi / 2], [1, np.pi, -np.pi / 4]])
    columns = {name: np.ascontiguousarray(column) for name, column in zip(names, rows.T, strict=True)}
    columns["sphericalInvalidState"] = np.zeros(4)
    nodes = dict.fromkeys(names, ("FloatNode", 0.0)) | {"sphericalInvalidState": ("IntegerNode", 0, 0, 2)}
    with_prototype(tmp_path / "a.e57", columns, nodes)
    half = np.sqrt(0.5)
    expected = [[2, 0, 0], [0, 3, 0], [0, 0, 4], [-half, 0, -half]]
    np.testing.assert_allclose(read_cloud(tmp_path / "a.e57").positions, expected, atol=1e-15)


@pytest.mark.parametrize(("most", "limits"), [(1023, 1023), (65535, 65535), (65535, 0), (255, 0)])
def test_scaled_numbers_and_colours_of_any_depth(tmp_path: Path, most: int, limits: int):
    places = [f"cartesian{axis}" for axis in "XYZ"]
    columns = {name: np.array([1.25, -3.5]) + index for index, name in enumerate(places)}
    columns |= {name: np.array([0.0, most]) for name in COLORS}
    nodes: dict[str, tuple] = dict.fromkeys(places, ("ScaledIntegerNode", 0, -(10**6), 10**6, 0.001, 0.0))
    nodes |= dict.fromkeys(COLORS, ("IntegerNode", 0, 0, most))
    with_prototype(tmp_path / "a.e57", columns, nodes, limits)
    read = read_cloud(tmp_path / "a.e57")
    np.testing.assert_allclose(read.positions, [[1.25, 2.25, 3.25], [-3.5, -2.5, -1.5]], atol=1e-12)
    assert read.colors is not None
    assert read.colors.tolist() == [[0, 0, 0], [1, 1, 1]]


def test_pye57_reads_what_we_write(tmp_path: Path, generator: torch.Generator):
    positions = torch.randn(COUNT, 3, dtype=torch.float64, generator=generator) + 1e6
    levels = torch.randint(0, 256, (COUNT, 3), generator=generator)
    write_cloud(tmp_path / "a.e57", PointCloud(positions, levels / 255))
    with pye57.E57(str(tmp_path / "a.e57")) as file:
        data = file.read_scan(0, colors=True, ignore_missing_fields=True)
    np.testing.assert_array_equal(np.stack([data[f"cartesian{axis}"] for axis in "XYZ"], axis=1), positions)
    np.testing.assert_array_equal(np.stack([data[name] for name in COLORS], axis=1), levels)


def test_large_scans_are_read_in_parts(tmp_path: Path, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(e57, "_AT_ONCE", 1000)
    positions = torch.randn(4321, 3, dtype=torch.float64, generator=generator)
    normals = torch.randn(4321, 3, generator=generator)
    write_cloud(tmp_path / "a.e57", PointCloud(positions, None, normals))
    read = read_cloud(tmp_path / "a.e57")
    assert torch.equal(read.positions, positions)
    torch.testing.assert_close(read.normals, normals, rtol=0, atol=0)


def test_without_pye57_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_cloud(tmp_path / "a.e57", PointCloud(torch.zeros(1, 3).double()))
    monkeypatch.setitem(sys.modules, "pye57.libe57", None)
    with pytest.raises(CaptureError, match=r"E57 needs the package pye57; pip install 'unrender\[e57\]'"):
        read_cloud(tmp_path / "a.e57")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b"<e57Root", b"<!DOCTYPE x><e57Root", "document type"),
        (b"<data3D", b"<a>" * 40 + b"</a>" * 40 + b"<data3D", "nested more than 32 deep"),
        (b'recordCount="60"', b'recordCount="999999999999999999"', "too short for the 999999999999999999 points"),
        (b'recordCount="60"', b'recordCount="0"', "no points"),
        (b'recordCount="60"', b'recordCount="-9"', "cannot be read as E57"),
        (b'recordCount="60"', b'recordCount="61"', "cannot be read as E57"),
        (b"cartesianX ", b"cartesianQ ", "cannot be read as E57"),
        (b"</e57Root>", b"", "its XML"),
    ],
)
def test_descriptions_that_lie_are_refused(tmp_path: Path, checksummed, old: bytes, new: bytes, says: str):
    path = tmp_path / "a.e57"
    write_cloud(path, PointCloud(torch.randn(60, 3).double()))
    path.write_bytes(checksummed(path.read_bytes(), lambda xml: xml.replace(old, new)))
    with pytest.raises(CaptureError, match=says):
        read_cloud(path)
