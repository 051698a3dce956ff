"""transforms.json, NeRF-synthetic scenes and LLFF poses: one clear line and status 2; and out and back by command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from unrender.datasets.formats import read_reconstruction

EYE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
LENS = {"fl_x": 30, "w": 40, "h": 28}


def text(*frames: object, **shared: object) -> str:
    """A file of these frames."""
    return json.dumps({**shared, "frames": frames})


def frame(path: str) -> dict[str, object]:
    """At the origin."""
    return {"file_path": path, "transform_matrix": EYE}


# files of the folder, what is said
FILES: dict[str, tuple[dict[str, str], str]] = {
    "frames cut short": ({"transforms.json": '{"frames": ['}, "transforms.json: cannot be read as JSON"),
    "deep JSON": ({"transforms.json": '{"frames": ' + "[" * 99_999}, "transforms.json: cannot be read as JSON"),
    "no frames": ({"transforms.json": text()}, "no frames in this file, expected a list under frames"),
    "a frame without a pose": ({"transforms.json": text({"file_path": "a"}, **LENS)}, "expected 3 or 4 rows, got None"),
    "a photo elsewhere": ({"transforms.json": text(frame("../../a.jpg"), **LENS)}, "is not in this capture"),
    "a lens of no one": (
        {"transforms.json": text(frame("a.jpg"), **LENS, k4=1)},
        "('a.jpg'): a perspective camera has no k4",
    ),
    "a scene without photos": (
        {"transforms_train.json": text(frame("./train/r_0"), camera_angle_x=1)},
        "are not there",
    ),
    "poses of no photos": ({"poses_bounds.npy": ""}, "poses_bounds.npy: cannot be read as NumPy's .npy"),
}


@pytest.mark.parametrize(("files", "message"), FILES.values(), ids=FILES)
def test_refusal(unrender, tmp_path, files, message):
    folder = tmp_path / "capture"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    said = unrender("convert", folder, "-o", tmp_path / "out", "--to", "colmap")
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("unrender: error: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert [child.name for child in tmp_path.iterdir()] == ["capture"]


def test_out_and_back(unrender, tiny_capture, tmp_path):
    there, back = tmp_path / "there", tmp_path / "back"
    assert unrender("convert", tiny_capture, "-o", there, "--to", "transforms").status == 0
    assert unrender("convert", there, "-o", back, "--to", "colmap").status == 0
    expected, found = read_reconstruction(Path(tiny_capture)), read_reconstruction(back)
    assert found.names == expected.names
    assert found.numbers.images.tolist() == expected.numbers.images.tolist()
    torch.testing.assert_close(found.camera_from_world, expected.camera_from_world, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.points.positions, expected.points.positions, rtol=0, atol=0)


def test_poses_without_points_go_to_colmap(unrender, tiny_capture, tmp_path):
    capture = read_reconstruction(Path(tiny_capture))
    (lens,) = capture.lenses
    rows = []
    for pose in capture.camera_from_world.numpy():
        right, down, forwards = pose[:3, :3]
        center = -pose[:3, :3].T @ pose[:3, 3]
        matrix = np.stack([down, right, -forwards, center, [lens.height, lens.width, 50.0]], axis=1)
        rows.append([*matrix.ravel(), 1, 2])
    (tmp_path / "llff").mkdir()
    np.save(tmp_path / "llff" / "poses_bounds.npy", np.array(rows))
    (tmp_path / "llff" / "images").symlink_to(capture.image_folder)
    assert unrender("convert", tmp_path / "llff", "-o", tmp_path / "out", "--to", "colmap").status == 0
    found = read_reconstruction(tmp_path / "out")
    torch.testing.assert_close(found.camera_from_world, capture.camera_from_world, rtol=0, atol=1e-9)
    assert len(found.points) == 0
