"""Point clouds: what every kind of file gives back, which kind a file is, and what a kind cannot hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unrender.datasets.cloud_files import damage
from unrender.datasets.clouds import CLOUD_SUFFIXES, PointCloud, read_cloud, write_cloud
from unrender.errors import CaptureError, ShapeError

KINDS = sorted(CLOUD_SUFFIXES)
ROUNDED = (".las", ".laz")
MADE_ANEW = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def random_cloud(generator: torch.Generator, count: int = 50, offset: float = 0.0) -> PointCloud:
    positions = torch.randn(count, 3, dtype=torch.float64, generator=generator) * 1e2 + offset
    colors = torch.randint(0, 256, (count, 3), generator=generator).float() / 255
    return PointCloud(positions, colors, torch.randn(count, 3, generator=generator))


def fitting(cloud: PointCloud, kind: str) -> PointCloud:
    """Without what the kind does not hold."""
    return PointCloud(cloud.positions, cloud.colors) if kind == ".pts" else cloud


@st.composite
def clouds(draw: st.DrawFn, farthest: float) -> PointCloud:
    """Clouds of up to six points with or without colours (of 8 bits) and unit normals."""
    count = draw(st.integers(1, 6))
    coordinates = st.floats(-farthest, farthest, allow_nan=False)
    positions = torch.from_numpy(draw(arrays(np.float64, (count, 3), elements=coordinates)))
    colors = normals = None
    if draw(st.booleans()):
        colors = torch.from_numpy(draw(arrays(np.uint8, (count, 3)))).float() / 255
    if draw(st.booleans()):
        directions = draw(arrays(np.float32, (count, 3), elements=st.floats(-1, 1, width=32)))
        normals = torch.nn.functional.normalize(torch.from_numpy(directions), dim=1)
    return PointCloud(positions, colors, normals)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ROUNDED])
@given(written=clouds(1e15))
@MADE_ANEW
def test_what_is_written_is_read(tmp_path: Path, kind: str, written: PointCloud):
    written = fitting(written, kind)
    assert write_cloud(tmp_path / f"a{kind}", written) == 0
    read = read_cloud(tmp_path / f"a{kind}")
    assert torch.equal(read.positions, written.positions)
    torch.testing.assert_close(read.colors, written.colors, rtol=0, atol=1e-7)
    torch.testing.assert_close(read.normals, written.normals, rtol=0, atol=1e-7)


@pytest.mark.parametrize("kind", ROUNDED)
@given(written=clouds(1e7))
@MADE_ANEW
def test_what_is_written_in_steps_is_read_rounded_by_as_much_as_was_said(
    tmp_path: Path, kind: str, written: PointCloud
):
    rounding = write_cloud(tmp_path / f"a{kind}", written)
    read = read_cloud(tmp_path / f"a{kind}")
    side = float((written.positions.amax(0) - written.positions.amin(0)).max())
    float_error = 4e-16 * float(written.positions.abs().max())
    assert rounding <= max(5e-9 * side, 1e-20) * (1 + 1e-9)
    assert float((read.positions - written.positions).abs().max()) <= rounding * (1 + 1e-6) + 2 * float_error
    torch.testing.assert_close(read.normals, written.normals, rtol=0, atol=0)
    if written.colors is None or not written.colors.any():
        assert read.colors is None
    else:
        torch.testing.assert_close(read.colors, written.colors, rtol=0, atol=0.51 / 255 if dark(written) else 1e-5)


def dark(cloud: PointCloud) -> bool:
    return cloud.colors is not None and float(cloud.colors.max()) < 256 / 65535


@pytest.mark.parametrize("kind", KINDS)
def test_survey_coordinates_keep_their_micrometres(tmp_path: Path, generator: torch.Generator, kind: str):
    written = fitting(random_cloud(generator, offset=5e6), kind)
    write_cloud(tmp_path / f"a{kind}", written)
    read = read_cloud(tmp_path / f"a{kind}")
    assert float((read.positions - written.positions).abs().max()) < 1e-6
    assert read.positions.dtype == torch.float64


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bright", [1 / 255, 2 / 255, 1.0])
def test_dark_colours_are_not_taken_for_another_scale(tmp_path: Path, kind: str, bright: float):
    colors = torch.tensor([[0, bright, 0], [bright, bright, 0]])
    write_cloud(tmp_path / f"a{kind}", PointCloud(torch.arange(6).reshape(2, 3).double(), colors))
    torch.testing.assert_close(read_cloud(tmp_path / f"a{kind}").colors, colors, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [".ply", ".xyz", ".csv"])
def test_points_that_are_nowhere_stay_for_their_reader(tmp_path: Path, kind: str):
    positions = torch.tensor([[1, 2, 3], [torch.nan, 0, 0], [0, torch.inf, -torch.inf]]).double()
    write_cloud(tmp_path / f"a{kind}", PointCloud(positions))
    read = read_cloud(tmp_path / f"a{kind}")
    torch.testing.assert_close(read.positions, positions, equal_nan=True, rtol=0, atol=0)
    assert len(read.finite()) == 1


@pytest.mark.parametrize("kind", [".las", ".laz", ".e57"])
@pytest.mark.parametrize("positions", [torch.empty(0, 3), torch.full((2, 3), torch.nan)])
def test_what_a_kind_cannot_hold_is_refused_and_nothing_written(tmp_path: Path, kind: str, positions: torch.Tensor):
    with pytest.raises(CaptureError, match=r"finite\(\)"):
        write_cloud(tmp_path / f"a{kind}", PointCloud(positions.double()))
    assert not list(tmp_path.iterdir())


def test_pts_holds_no_normals(tmp_path: Path):
    with pytest.raises(CaptureError, match="PTS holds no normals"):
        write_cloud(tmp_path / "a.pts", PointCloud(torch.zeros(1, 3).double(), None, torch.ones(1, 3)))


@pytest.mark.parametrize("kind", [".ply", ".las", ".laz", ".e57"])
def test_the_content_tells_the_kind_and_not_the_name(tmp_path: Path, generator: torch.Generator, kind: str):
    written = random_cloud(generator)
    write_cloud(tmp_path / f"a{kind}", written)
    for name in ("scan.XYZ", "scan.las", "scan.ply", "scan"):
        (tmp_path / f"a{kind}").rename(tmp_path / name)
        assert len(read_cloud(tmp_path / name)) == len(written)
        (tmp_path / name).rename(tmp_path / f"a{kind}")


@pytest.mark.parametrize("name", ["a.obj", "a", "a.ply.gz"])
def test_other_kinds_are_refused_with_those_that_are_read(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"v 1 2 3\n")
    with pytest.raises(CaptureError, match=r"no known kind of point cloud.*\.laz"):
        read_cloud(tmp_path / name)
    with pytest.raises(CaptureError, match=r"no known kind of point cloud.*\.laz"):
        write_cloud(tmp_path / name, PointCloud(torch.zeros(1, 3).double()))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_said(tmp_path: Path, kind: str):
    with pytest.raises(CaptureError, match="no such file"):
        read_cloud(tmp_path / f"a{kind}")
    (tmp_path / f"a{kind}").mkdir()
    with pytest.raises(CaptureError, match="a folder, not a file"):
        read_cloud(tmp_path / f"a{kind}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", [b"", b"\0" * 3000, bytes(range(256)) * 20, b"hello\n", b"\xff\xfe1\0 \x002\0"])
def test_rubbish_with_the_right_ending_is_refused(tmp_path: Path, kind: str, content: bytes):
    (tmp_path / f"a{kind}").write_bytes(content)
    with pytest.raises(CaptureError, match="cannot be read as"):
        read_cloud(tmp_path / f"a{kind}")


@pytest.mark.parametrize("kind", KINDS)
def test_more_points_than_memory_are_refused(
    tmp_path: Path, generator: torch.Generator, kind: str, monkeypatch: pytest.MonkeyPatch
):
    class Memory:
        available = 30 * damage.POINT_BYTES

    write_cloud(tmp_path / f"a{kind}", fitting(random_cloud(generator), kind))
    monkeypatch.setattr(damage.psutil, "virtual_memory", Memory)
    with pytest.raises(CaptureError, match="50 points are more than the memory holds, expected at most 30"):
        read_cloud(tmp_path / f"a{kind}")


def test_points_that_are_nowhere_are_dropped(generator: torch.Generator):
    whole = random_cloud(generator, 4)
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
