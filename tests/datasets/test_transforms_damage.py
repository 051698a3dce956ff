"""transforms.json that is wrong: one line that says what, whatever is in the file."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from frames_by_hand import EYE, LENS, frame, made
from posed_room import refuses_any_damage

from unrender.datasets.formats import read_reconstruction
from unrender.errors import CaptureError

FIXTURE = Path(__file__).parents[1] / "data" / "transforms"

REFUSED = {
    "no frames": ({"frames": []}, "no frames in this file"),
    "frames of another type": ({"frames": {"0": frame()}}, "no frames in this file, expected a list"),
    "a frame that is none": ({"frames": [frame(), 3]}, "frame 1: this frame, expected an object"),
    "no file_path": ({"frames": [{"transform_matrix": EYE}]}, "frame 0: this frame"),
    "an empty file_path": ({"frames": [frame("")]}, "file_path"),
    "half a letter": ({"frames": [frame("\ud800.jpg")]}, "file_path"),
    "a name with a zero": ({"frames": [frame("a\0.jpg")]}, "file_path"),
    "no pose": ({"frames": [{"file_path": "a.jpg"}]}, "transform_matrix, expected 3 or 4 rows, got None"),
    "a pose of two rows": ({"frames": [frame(transform_matrix=EYE[:2])]}, "transform_matrix, expected 3 or 4 rows"),
    "a pose of words": ({"frames": [frame(transform_matrix=[["1", 0, 0, 0], *EYE[1:]])]}, "4 finite numbers"),
    "a pose of null": ({"frames": [frame(transform_matrix=[[None] * 4, *EYE[1:]])]}, "4 finite numbers"),
    "a pose of true": ({"frames": [frame(transform_matrix=[[True, 0, 0, 0], *EYE[1:]])]}, "4 finite numbers"),
    "perspective": ({"frames": [frame(transform_matrix=[*EYE[:3], [0, 0, 1, 0]])]}, "the last row"),
    "a scaled pose": ({"frames": [frame(transform_matrix=[[2, 0, 0, 0], *EYE[1:]])]}, "not a rigid motion"),
    "a mirror": ({"frames": [frame(transform_matrix=[[-1, 0, 0, 0], *EYE[1:]])]}, "not a rigid motion"),
    "far away": ({"frames": [frame(transform_matrix=[[1, 0, 0, 1e29], *EYE[1:]])]}, "not a rigid motion"),
    "two frames of one photo": ({"frames": [frame(), frame()]}, "2 images are named 'a.jpg'"),
    "a focal length of 0": ({"fl_x": 0}, "fl_x, expected more than 0"),
    "a focal length as text": ({"fl_x": "30"}, "fl_x, expected a number, got '30'"),
    "a focal length of null": ({"frames": [frame(fl_x=None)]}, "fl_x, expected a number, got None"),
    "a huge focal length": ({"fl_x": 10**400}, "fl_x, expected a number"),
    "a negative angle": ({"frames": [frame(camera_angle_x=-1)]}, "camera_angle_x, expected an angle"),
    "a width of 0": ({"w": 0}, "w, expected pixels, a whole number"),
    "half a pixel": ({"h": 28.5}, "h, expected pixels, a whole number"),
    "an absurd size": ({"w": 1e12}, "w, expected pixels"),
    "a lens of no one": ({"camera_model": "VR180_L"}, "the camera_model VR180_L, expected one of OPENCV"),
    "a lens that is a number": ({"camera_model": 3}, "camera_model, expected a text, got 3"),
    "k4 in perspective": (
        {"camera_model": "OPENCV", "k4": 0.1},
        "the camera_model OPENCV has no k4 = 0.1, expected k1",
    ),
    "k4 without a name": ({"k4": 0.1}, "a perspective camera has no k4 = 0.1"),
    "k1 of a pinhole": ({"camera_model": "PINHOLE", "k1": 0.1}, "PINHOLE has no k1 = 0.1, expected no coefficients"),
    "p1 of a fisheye": ({"camera_model": "OPENCV_FISHEYE", "p1": 0.1}, "OPENCV_FISHEYE has no p1 = 0.1"),
    "one focal length": ({"camera_model": "RADIAL"}, "RADIAL has one focal length, expected fl_x = fl_y"),
    "a prism without numbers": ({"camera_model": "FISHEYE624"}, "distortion_params, expected 12 numbers"),
    "distortion of three": ({"distortion_params": [1, 2, 3]}, "distortion_params, expected 6 numbers"),
    "another panorama": ({"camera_model": "EQUIRECTANGULAR"}, "a panorama whose middle is not straight ahead"),
    "instant-ngp's f-theta": ({"ftheta_p0": 0.1}, "instant-ngp's ftheta_p0 is no lens of ours"),
    "points of no path": ({"ply_file_path": 3}, "ply_file_path, expected the path of a PLY file"),
    "an exposure of no number": ({"frames": [frame(ev100="8")]}, "ev100, expected a number, got '8'"),
    "a mask of no path": ({"frames": [frame(mask_path=3)]}, "mask_path, expected a text"),
    "a split of no list": ({"test_filenames": "a.jpg"}, "test_filenames, expected a list of paths"),
    "everything left out": ({"train_filenames": ["c.jpg"]}, "no frame is in train_filenames"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(tmp_path, case):
    entries, message = REFUSED[case]
    (tmp_path / "transforms.json").write_text(json.dumps({**LENS, "frames": [frame()], **entries}))
    with pytest.raises(CaptureError) as error:
        read_reconstruction(tmp_path, "transforms")
    assert message in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


def test_no_focal_length_and_no_photos(tmp_path):
    made(tmp_path, w=40, h=28)
    with pytest.raises(CaptureError, match="no focal length, expected fl_x, camera_angle_x or x_fov"):
        read_reconstruction(tmp_path)
    made(tmp_path, camera_angle_x=1)
    with pytest.raises(CaptureError, match="1 of 1 photos are not there, and only they say how large"):
        read_reconstruction(tmp_path)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"\xff\xfe{}", b"[" * 100_000, b'{"frames": [NaN]}', b'{"frames": 1e999}', b"3"]
)
def test_what_is_no_json(tmp_path, text):
    (tmp_path / "transforms.json").write_bytes(text)
    with pytest.raises(CaptureError, match=r"transforms\.json: (cannot be read as JSON|no frames)"):
        read_reconstruction(tmp_path, "transforms")


def test_any_damage_is_one_line(tmp_path):
    for file in ("transforms.json", "sparse_pc.ply"):
        shutil.copy(FIXTURE / file, tmp_path)
    refused = sum(
        refuses_any_damage(tmp_path / file, lambda: read_reconstruction(tmp_path, "transforms"), seed=3, tries=150)
        for file in ("transforms.json", "sparse_pc.ply")
    )
    assert refused > 50


ODD = (None, True, "x", "", "../x", "\ud800", "a\0b", -1, 0, 0.5, 1e300, 10**400, [], {}, [[]], [None], {"a": 1})
WHOLE = {
    **LENS,
    "camera_model": "OPENCV",
    "k1": 0.1,
    "p1": 0.01,
    "is_fisheye": False,
    "camera_angle_x": 1.0,
    "ply_file_path": "sparse_pc.ply",
    "applied_transform": EYE[:3],
    "applied_scale": 1.0,
    "train_filenames": ["images/a.jpg"],
    "test_filenames": ["images/b.jpg"],
    "frames": [
        frame(
            colmap_im_id=1,
            camera_id=1,
            mask_path="masks/a.png",
            ev100=8,
            fl_x=31,
            distortion_params=[0.1, 0, 0, 0, 0, 0],
        ),
        frame("images/b.jpg", colmap_im_id=2, w=44, k2=0.01),
    ],
}


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to all values within a JSON document."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in entries:
        yield (*path, key)
        yield from places_in(child, (*path, key))


def test_any_odd_value_anywhere_is_one_line(tmp_path):
    made(tmp_path, photos=["images/a.jpg", "images/b.jpg"])
    refused, tried = 0, 0
    for path in places_in(WHOLE):
        for odd in ODD:
            document = copy.deepcopy(WHOLE)
            within = document
            for key in path[:-1]:
                within = within[key]
            within[path[-1]] = odd
            (tmp_path / "transforms.json").write_text(json.dumps(document))
            tried += 1
            try:
                read_reconstruction(tmp_path, "transforms")
            except CaptureError as error:
                refused += "\n" not in str(error)
    assert tried / 3 < refused < tried
