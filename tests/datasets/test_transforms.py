"""transforms.json: against nerfstudio's own converter and rays, written and read back, projected, odd and damaged."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from frames_by_hand import EYE, LENS, frame, made
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from posed_room import assert_same_views, before, colors_of, pixels_of, place_photos, posed

from unrender.cameras.lens import make_lens
from unrender.datasets.clouds import write_ply
from unrender.datasets.colmap import write_colmap_folder
from unrender.datasets.formats import find_format, read_reconstruction, write_reconstruction
from unrender.datasets.read_capture import read_capture
from unrender.datasets.reconstruction import Ids, Reconstruction
from unrender.datasets.transforms import is_transforms
from unrender.errors import CaptureError

FIXTURE = Path(__file__).parents[1] / "data" / "transforms"
"""transforms.json and sparse_pc.ply: nerfstudio 1.1.5 (colmap_to_json) from ``posed(CONVERTED, 5)`` as a COLMAP model.
rays.json: where nerfstudio's data parser and cameras (orientation and centring off) look through pixels of that file,
and of what we write for ``posed(lenses, 5)`` of WRITTEN: origins and directions in the world.
"""
CONVERTED = (
    make_lens("SIMPLE_RADIAL", 321, 240, [300.25, 160.5, 119.25, -0.04]),
    make_lens("OPENCV", 240, 320, [250.5, 251, 118.75, 161.5, -0.03, 0.02, 0.001, -0.002]),
)
PRISM = [150.25, 151, 160.5, 119.25, -0.03, 0.02, -4e-3, 1e-3, 2e-4, -1e-4, 1e-3, -2e-3, 3e-4, 1e-4, -2e-4, 4e-4]
WRITTEN = {
    "plane": (
        make_lens("SIMPLE_PINHOLE", 321, 240, [300.25, 160.5, 119.25]),
        make_lens("FULL_OPENCV", 240, 320, [250.5, 251, 118.75, 161.5, -0.03, 0.02, 1e-3, -2e-3, -4e-3, 0, 0, 0]),
    ),
    "fisheye": (
        make_lens("OPENCV_FISHEYE", 321, 240, [150.25, 151, 160.5, 119.25, -0.03, 0.02, -0.004, 0.001]),
        make_lens("SIMPLE_RADIAL_FISHEYE", 240, 320, [140.5, 118.75, 161.5, -0.02]),
    ),
    "prism": (make_lens("RAD_TAN_THIN_PRISM_FISHEYE", 321, 240, PRISM),),
    "panorama": (make_lens("EQUIRECTANGULAR", 320, 160, [320, 160]),),
}
LENSES = (
    *CONVERTED,
    *(lens for lenses in WRITTEN.values() for lens in lenses),
    make_lens("PINHOLE", 321, 240, [300.25, 299, 160.5, 119.25]),
    make_lens("RADIAL", 321, 240, [300.25, 160.5, 119.25, -0.04, 0.01]),
    make_lens("SIMPLE_FISHEYE", 240, 320, [140.5, 118.75, 161.5]),
    make_lens("FISHEYE", 240, 320, [140.5, 141, 118.75, 161.5]),
    make_lens("RADIAL_FISHEYE", 240, 320, [140.5, 118.75, 161.5, -0.02, 0.001]),
)


def off_their_rays(found: Reconstruction, kind: str) -> float:
    """How many pixels from its middle, at most, we see what nerfstudio sees through a pixel."""
    place = {name: view for view, name in enumerate(found.names)}
    worst = 0.0
    for row in json.loads((FIXTURE / "rays.json").read_text(encoding="utf-8"))[kind]:
        origins, directions, pixels = (
            torch.tensor(row[key], dtype=torch.float64) for key in ("origins", "directions", "column_row")
        )
        seen = pixels_of(found, place[row["file_path"].removeprefix("images/")], origins + 2.5 * directions)
        worst = max(worst, float((seen - pixels - 0.5).abs().max()))
    return worst


def test_reads_what_nerfstudio_converted():
    found = read_reconstruction(FIXTURE)
    expected = posed(CONVERTED, 5)
    assert find_format(FIXTURE)[0] == "transforms"
    assert found.names == expected.names
    assert found.image_folder == FIXTURE / "images"
    assert found.numbers.images.tolist() == [1, 2, 3, 4, 5]
    assert found.camera_index.tolist() == expected.camera_index.tolist()
    assert [lens.model for lens in found.lenses] == ["OPENCV", "OPENCV"]
    applied = torch.tensor(json.loads((FIXTURE / "transforms.json").read_text())["applied_transform"])
    moved = expected.points.positions @ applied[:, :3].double().T
    torch.testing.assert_close(found.points.positions, moved, rtol=0, atol=1e-6)  # six digits in the file
    assert torch.equal(colors_of(found), colors_of(expected))
    for view in range(len(found)):  # so cameras and points are in one frame
        seen = pixels_of(found, view, before(expected, view) @ applied[:, :3].double().T)
        torch.testing.assert_close(seen, pixels_of(expected, view, before(expected, view)), rtol=0, atol=1e-6)


def test_pixels_are_where_nerfstudio_looks():
    """Its rays have 32 bits. A centre at 0 instead of 0.5, or another axis, would be off by half a pixel and more."""
    assert off_their_rays(read_reconstruction(FIXTURE), "converted") < 1e-3


@pytest.mark.parametrize("kind", WRITTEN)
def test_nerfstudio_sees_what_we_wrote(tmp_path, kind):
    expected = posed(WRITTEN[kind], 5)
    assert write_reconstruction(tmp_path, expected, "transforms") == ()
    assert off_their_rays(expected, kind) < 1e-3
    assert off_their_rays(read_reconstruction(tmp_path), kind) < 1e-3


def as_nerfstudio_projects(folder: Path, place: int, world: np.ndarray) -> np.ndarray:
    """Pixels by the description of the format (see ``transforms_lens.py``), from the numbers of the file alone."""
    document = json.loads((folder / "transforms.json").read_text(encoding="utf-8"))
    entry = {**document, **document["frames"][place]}
    at = (np.linalg.inv(np.array(entry["transform_matrix"])) @ np.c_[world, np.ones(len(world))].T)[:3]
    x, y, z = at[0], -at[1], -at[2]
    if document["camera_model"] == "EQUIRECTANGULAR":
        plane = np.arctan2(x, z) / np.pi, np.arctan2(y, np.hypot(x, z)) / np.pi
    elif document["camera_model"] == "FISHEYE624":
        plane = prism(entry["distortion_params"], x, y, z)
    else:
        plane = brown(entry, *((x / z, y / z) if document["camera_model"] == "OPENCV" else flattened(x, y, z)))
    return np.stack([entry["fl_x"] * plane[0] + entry["cx"], entry["fl_y"] * plane[1] + entry["cy"]], axis=1)


def flattened(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The angle from the axis, as a distance from the middle."""
    radius = np.hypot(x, y)
    angle = np.arctan2(radius, z)
    return angle * x / radius, angle * y / radius


def brown(entry: dict[str, Any], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """k1 to k4 and p1, p2."""
    k1, k2, k3, k4, p1, p2 = (entry.get(key, 0) for key in ("k1", "k2", "k3", "k4", "p1", "p2"))
    s = x * x + y * y
    d = 1 + s * (k1 + s * (k2 + s * (k3 + s * k4)))
    return x * d + 2 * p1 * x * y + p2 * (s + 2 * x * x), y * d + 2 * p2 * x * y + p1 * (s + 2 * y * y)


def prism(params: Sequence[float], x: np.ndarray, y: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """k0 to k5 in the angle, then p0, p1 and s0 to s3."""
    across, up = flattened(x, y, z)
    square = across**2 + up**2
    growth = 1 + sum(k * square ** (power + 1) for power, k in enumerate(params[:6]))
    u, v, (p0, p1, s0, s1, s2, s3) = across * growth, up * growth, params[6:]
    r = u * u + v * v
    return (
        u + p0 * (2 * u * u + r) + 2 * p1 * u * v + s0 * r + s1 * r * r,
        v + p1 * (2 * v * v + r) + 2 * p0 * u * v + s2 * r + s3 * r * r,
    )


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 9999),
    lenses=st.sampled_from([*((lens,) for lens in LENSES), *WRITTEN.values(), CONVERTED, (LENSES[0], LENSES[0])]),
    away=st.sampled_from([0.0, 1e6]),
)
def test_what_goes_out_comes_back(tmp_path_factory, seed, lenses, away):
    folder = tmp_path_factory.mktemp("transforms")
    expected = replace(posed(lenses, seed, away=away), held_out=("b c.jpg", "z.png"))
    numbers = Ids(torch.tensor([7, 3, 9, 12, 1]), torch.arange(4, 4 + len(lenses)), torch.arange(1, 13))
    exposures = torch.tensor([1 / 3, math.nan, -7.1, 12, 0], dtype=torch.float64)
    expected = replace(expected, ids=numbers, exif_ev=exposures)
    assert write_reconstruction(folder, expected, "transforms") == ()
    found = read_reconstruction(folder)
    limit = 1e-6 if away == 0 else 1e-5  # of 16 digits, 1e6 leaves nine behind the point, and poles magnify
    assert_same_views(found, expected, poses=1e-9 if away == 0 else 4e-9, pixels=limit)
    assert found.camera_index.tolist() == expected.camera_index.tolist()
    for lens, other in zip(found.lenses, expected.lenses, strict=True):
        assert (lens.model, lens.params.tolist()) == (other.model, other.params.tolist())
    assert torch.equal(found.points.positions, expected.points.positions)
    assert torch.equal(colors_of(found), colors_of(expected))
    assert found.held_out == expected.held_out
    torch.testing.assert_close(found.exif_ev, exposures, rtol=0, atol=0, equal_nan=True)
    assert found.numbers.images.tolist() == numbers.images.tolist()
    for view in range(len(expected)):
        world = before(expected, view)
        theirs = as_nerfstudio_projects(folder, view, world.numpy())
        assert np.abs(theirs - pixels_of(expected, view, world).numpy()).max() < limit


def test_masks_and_the_split(tmp_path):
    expected = posed(CONVERTED, 1)
    place_photos(tmp_path, expected)
    mask = tmp_path / "elsewhere.png"
    Image.new("L", (321, 240), 128).save(mask)
    expected = replace(expected, masks=(None, None, mask, None, None), held_out=("z.png",))
    write_reconstruction(tmp_path, expected, "transforms")
    document = json.loads((tmp_path / "transforms.json").read_text(encoding="utf-8"))
    assert all("mask_path" in frame for frame in document["frames"])  # nerfstudio wants one with each or with none
    assert document["val_filenames"] == document["test_filenames"] == ["images/z.png"]
    assert "images/z.png" not in document["train_filenames"]
    capture = read_capture(tmp_path)
    assert capture.test == (4,)
    assert capture.mask_paths[2] == tmp_path / "masks" / "left/é 1.jpg.png"
    white = [Image.open(path).getextrema() for path in capture.mask_paths if path and path.parent.name == "masks"]
    assert white == [(255, 255)] * 4


def test_masks_that_are_not_there(tmp_path):
    frames = [frame(f"{name}.jpg", mask_path=f"masks/{name}.png") for name in "ab"]
    made(tmp_path, frames, **LENS)
    assert read_reconstruction(tmp_path).masks == (tmp_path / "masks/a.png", tmp_path / "masks/b.png")
    made(tmp_path, frames, photos=["a.jpg", "b.jpg", "masks/b.png"], **LENS)
    found = read_reconstruction(tmp_path)
    assert found.masks == (None, tmp_path / "masks/b.png")
    assert any("1 masks are not in this capture (--masks): masks/a.png" in note for note in found.notes)


def test_what_it_cannot_hold(tmp_path):
    expected = posed([CONVERTED[0], WRITTEN["fisheye"][0]], 1)
    with pytest.raises(CaptureError, match="one kind of lens in a file, got OPENCV and OPENCV_FISHEYE"):
        write_reconstruction(tmp_path, expected, "transforms")
    rational = make_lens("FULL_OPENCV", 321, 240, [300, 300, 160, 120, 0, 0, 0, 0, 0, 0.1, 0, 0])
    with pytest.raises(CaptureError, match="cannot hold FULL_OPENCV of camera 1"):
        write_reconstruction(tmp_path, posed([rational], 1), "transforms")


def lens_read(folder: Path) -> tuple[str, list[float]]:
    """Model and parameters of the one lens."""
    (lens,) = read_reconstruction(folder).lenses
    return lens.model, lens.params.tolist()


@pytest.mark.parametrize(
    ("shared", "own", "model", "params"),
    [
        (LENS, {}, "PINHOLE", [30, 31, 20, 14]),
        (LENS, {"fl_x": 33, "cy": 13}, "PINHOLE", [33, 31, 20, 13]),
        ({**LENS, "k1": 0.1}, {}, "OPENCV", [30, 31, 20, 14, 0.1, 0, 0, 0]),
        ({**LENS, "k1": 0.1, "fl_y": 30}, {}, "SIMPLE_RADIAL", [30, 20, 14, 0.1]),
        ({**LENS, "k1": 0.1, "k2": 0.2, "fl_y": 30}, {}, "RADIAL", [30, 20, 14, 0.1, 0.2]),
        ({**LENS, "camera_model": "OPENCV"}, {}, "OPENCV", [30, 31, 20, 14, 0, 0, 0, 0]),
        ({**LENS, "camera_model": "OPENCV", "k3": 0.1}, {}, "FULL_OPENCV", [30, 31, 20, 14, 0, 0, 0, 0, 0.1, 0, 0, 0]),
        ({**LENS, "k4": 0.1, "is_fisheye": True}, {}, "OPENCV_FISHEYE", [30, 31, 20, 14, 0, 0, 0, 0.1]),
        ({**LENS, "distortion_params": [1, 2, 0, 0, 5, 6]}, {}, "OPENCV", [30, 31, 20, 14, 1, 2, 5, 6]),
        ({"w": 40, "h": 28, "fl_x": 30}, {}, "PINHOLE", [30, 30, 20, 14]),
        ({"w": 40, "h": 28, "camera_angle_x": math.pi / 2}, {}, "PINHOLE", [20, 20, 20, 14]),
        (
            {"w": 40, "h": 28, "camera_angle_x": 1},
            {"fl_x": 9, "camera_angle_y": math.pi / 2},
            "PINHOLE",
            [9, 14, 20, 14],
        ),
        ({"w": 40, "h": 28, "x_fov": 90}, {}, "PINHOLE", [20, 20, 20, 14]),
        ({"w": 40, "h": 20, "camera_model": "EQUIRECTANGULAR"}, {}, "EQUIRECTANGULAR", [40, 20]),
    ],
)
def test_intrinsics(tmp_path, shared, own, model, params):
    found = lens_read(made(tmp_path, [frame(**own)], **shared))
    assert found[0] == model
    assert found[1] == pytest.approx(params, rel=1e-15)


def test_sizes_come_from_the_photos(tmp_path):
    made(tmp_path, [frame("./train/r_0")], photos=["train/r_0.png", "train/r_0_normal.png"], camera_angle_x=math.pi / 2)
    assert lens_read(tmp_path)[1] == pytest.approx([20, 20, 20, 14])
    assert read_reconstruction(tmp_path).names == ("r_0.png",)


def test_a_matrix_of_three_rows_and_of_few_digits(tmp_path):
    turn = [[0.8, -0.6, 0], [0.6, 0.8000004, 0], [0, 0, 1]]
    made(tmp_path, [frame(transform_matrix=[[*row, place] for place, row in enumerate(turn)])], **LENS)
    pose = read_reconstruction(tmp_path).camera_from_world[0]
    torch.testing.assert_close(pose[:3, :3] @ pose[:3, :3].T, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-15)
    expected = torch.tensor([[0.8, 0.6, 0], [0.6, -0.8, 0], [0, 0, -1]], dtype=torch.float64)
    torch.testing.assert_close(pose[:3, :3], expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(-pose[:3, :3].T @ pose[:3, 3], torch.tensor([0.0, 1, 2], dtype=torch.float64))


def test_photos_that_are_not_there_are_left_out(tmp_path):
    frames = [frame(f"images/{name}.jpg") for name in "abcde"]
    made(
        tmp_path,
        frames,
        photos=["images/b.jpg", "images/d.jpg"],
        **LENS,
        test_filenames=["images/a.jpg", "images/b.jpg"],
    )
    found = read_reconstruction(tmp_path)
    assert found.names == ("b.jpg", "d.jpg")
    assert found.held_out == ("b.jpg",)
    assert "3 of 5 photos are named but not there, left out: a.jpg, c.jpg, e.jpg" in found.notes
    shutil.rmtree(tmp_path / "images")  # cameras alone go from format to format
    assert len(read_reconstruction(tmp_path)) == 5


@pytest.mark.parametrize(
    ("splits", "names", "held_out"),
    [
        ({}, "abc", None),
        ({"train_filenames": ["a"], "val_filenames": ["b"], "test_filenames": ["c"]}, "ac", ("c.jpg",)),
        ({"train_filenames": ["a"], "val_filenames": ["b", "c"], "test_filenames": []}, "abc", ("b.jpg", "c.jpg")),
        ({"train_filenames": ["a", "b", "c"], "val_filenames": ["b"], "test_filenames": ["b"]}, "abc", ("b.jpg",)),
        ({"test_filenames": ["./c"]}, "abc", ("c.jpg",)),
    ],
)
def test_splits(tmp_path, splits, names, held_out):
    named: dict[str, Any] = {key: [f"{name}.jpg" for name in split] for key, split in splits.items()}
    made(tmp_path, [frame(f"{name}.jpg") for name in "abc"], **LENS, **named)
    found = read_reconstruction(tmp_path)
    assert found.names == tuple(f"{name}.jpg" for name in names)
    assert found.held_out == held_out
    assert any("1 photos in neither" in note for note in found.notes) == (len(names) < 3)


def test_clouds(tmp_path):
    made(tmp_path, **LENS, ply_file_path="dense/all.ply", applied_transform=EYE[:3])
    assert any(
        "the points 'dense/all.ply' are not in this capture" in note for note in read_reconstruction(tmp_path).notes
    )
    (tmp_path / "dense").mkdir()
    write_ply(tmp_path / "dense" / "all.ply", posed(CONVERTED, 1).points)
    found = read_reconstruction(tmp_path)
    assert (found.dense, len(found.points)) == (tmp_path / "dense" / "all.ply", 0)
    assert any("applied_transform" in note for note in found.notes)


def test_points_of_the_colmap_model_beside_it(tmp_path):
    document = json.loads((FIXTURE / "transforms.json").read_text())
    del document["ply_file_path"]
    write_colmap_folder(tmp_path / "colmap", posed(CONVERTED, 5))
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    expected, found = read_reconstruction(FIXTURE), read_reconstruction(tmp_path, "transforms")
    torch.testing.assert_close(found.points.positions, expected.points.positions, rtol=0, atol=1e-6)
    assert torch.equal(colors_of(found), colors_of(expected))
    turn = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1]])  # of files that do not say it
    applied = np.array([*document.pop("applied_transform"), [0, 0, 0, 1]])
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    found = read_reconstruction(tmp_path, "transforms")
    assert (len(found.points), any("others than those of transforms.json" in note for note in found.notes)) == (0, True)
    for entry in document["frames"]:
        entry["transform_matrix"] = (turn @ np.linalg.inv(applied) @ entry["transform_matrix"]).tolist()
    (tmp_path / "transforms.json").write_text(json.dumps(document))
    positions = read_reconstruction(tmp_path, "transforms").points.positions
    assert np.allclose(positions, posed(CONVERTED, 5).points.positions.numpy() @ turn[:3, :3].T, rtol=0, atol=1e-9)
    (tmp_path / "colmap" / "sparse" / "0" / "images.bin").write_bytes(b"")
    found = read_reconstruction(tmp_path, "transforms")
    assert any("no points from the COLMAP model beside it" in note for note in found.notes)


def test_nothing_outside_of_the_capture_is_read(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    Image.new("L", (40, 28)).save(tmp_path / "a.jpg")
    write_ply(tmp_path / "sparse_pc.ply", posed(CONVERTED, 1).points)
    made(inner, [frame("../a.jpg")], **LENS)
    with pytest.raises(CaptureError, match=r"\.\./a.jpg is not in this capture.*--images"):
        read_reconstruction(inner)
    assert read_reconstruction(inner, images=tmp_path).names == ("a.jpg",)
    for path in ("../sparse_pc.ply", str(tmp_path / "sparse_pc.ply")):
        made(inner, [frame("a.jpg", mask_path="../a.jpg")], ply_file_path=path, **LENS)
        found = read_reconstruction(inner)
        assert (len(found.points), found.dense, found.masks) == (0, None, None)
        assert any("1 masks are not in this capture (--masks): ../a.jpg" in note for note in found.notes)
    made(inner, [frame(str(inner / "images" / "a.jpg"))], **LENS)
    assert read_reconstruction(inner).names == ("a.jpg",)


def test_windows_paths_and_the_file_itself(tmp_path):
    made(tmp_path, [frame(".\\images\\a.jpg")], photos=["images/a.jpg"], **LENS)
    (tmp_path / "transforms.json").rename(tmp_path / "other.json")
    found = read_reconstruction(tmp_path / "other.json")
    assert (found.names, found.image_folder) == (("a.jpg",), tmp_path / "images")
    assert not is_transforms(tmp_path)
    assert not is_transforms(tmp_path / "images" / "a.jpg")


def test_a_colmap_model_goes_first(tmp_path):
    write_colmap_folder(tmp_path, posed(CONVERTED, 1))
    made(tmp_path, **LENS)
    assert find_format(tmp_path) == ("colmap", ("read as colmap; it looks like transforms too (--format)",))
    assert len(read_reconstruction(tmp_path, "transforms")) == 1


def test_without_points_a_fit_asks_for_some(tmp_path):
    made(tmp_path, photos=["images/a.jpg"], **LENS)
    with pytest.raises(CaptureError, match="no points in this reconstruction; give a point cloud in its frame"):
        read_capture(tmp_path)
