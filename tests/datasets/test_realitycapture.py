"""RealityCapture: a camera that the program exported both ways, rows there and back, Epic's formulas, damage."""

from __future__ import annotations

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from posed_room import assert_same_views, before, pixels_of, place_photos, posed, refuses_any_damage
from reality_tables import ANGLES, HAS_RATIONAL, HEADER, LAST, ROTATION, table

from unrender.cameras.lens import LENSES, Lens, make_lens
from unrender.datasets.formats import find_format, read_reconstruction, write_reconstruction
from unrender.datasets.realitycapture import is_realitycapture
from unrender.datasets.reconstruction import Reconstruction
from unrender.errors import CaptureError


def test_a_camera_that_was_exported_both_ways(tmp_path):
    found = read_reconstruction(table(tmp_path, f"a.jpg,1,2,3,{ANGLES},18,0.01,-0.02,-0.05,0.01,0,0,0.0003,-0.0002\n"))
    assert find_format(tmp_path)[0] == "realitycapture"
    rotation = np.array(ROTATION.format(LAST).split(), dtype=float).reshape(3, 3)
    assert np.abs(found.camera_from_world[0, :3, :3].numpy() - rotation).max() < 1e-8
    center = -found.camera_from_world[0, :3, :3].T @ found.camera_from_world[0, :3, 3]
    torch.testing.assert_close(center, torch.tensor([1.0, 2, 3], dtype=torch.float64), rtol=0, atol=1e-12)
    assert found.lenses[0].model == "OPENCV"
    torch.testing.assert_close(
        found.lenses[0].params,
        torch.tensor([320, 320, 320 + 6.4, 240 - 12.8, -0.05, 0.01, -0.0002, 0.0003], dtype=torch.float64),
    )


@pytest.mark.parametrize(
    ("angles", "right", "down", "forward"),
    [
        ("0,0,0", [1, 0, 0], [0, -1, 0], [0, 0, -1]),  # level flight north: looks down, the upper side north
        ("90,0,0", [0, -1, 0], [-1, 0, 0], [0, 0, -1]),  # east: the upper side east, so right is south
        ("0,90,0", [1, 0, 0], [0, 0, -1], [0, 1, 0]),  # nose up: looks north
        ("0,0,90", [0, 0, -1], [0, -1, 0], [-1, 0, 0]),  # right wing down: the belly looks west
    ],
)
def test_angles_are_those_of_an_aircraft(tmp_path, angles, right, down, forward):
    found = read_reconstruction(table(tmp_path, f"a.jpg,0,0,0,{angles},18,0,0,0,0,0,0,0,0\n"))
    assert found.camera_from_world[0, :3, :3].numpy().round(12).tolist() == [right, down, forward]


def as_epic_projects(row: dict[str, str], size: tuple[int, int], world: np.ndarray) -> np.ndarray:
    """Epic's "Camera Geometry in RealityScan", equations 27 to 34, 47 and 48 (with the tangential terms as its text
    says: OpenCV's, the two swapped), and the angles of 5.1 with the camera mount of figure 12a.
    """
    of = {name: float(value) for name, value in row.items() if name != "#name"}
    yaw, pitch, roll = (math.radians(of[name]) for name in ("heading", "pitch", "roll"))
    about_x = np.array([[1, 0, 0], [0, math.cos(roll), -math.sin(roll)], [0, math.sin(roll), math.cos(roll)]])
    about_y = np.array([[math.cos(pitch), 0, math.sin(pitch)], [0, 1, 0], [-math.sin(pitch), 0, math.cos(pitch)]])
    about_z = np.array([[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1]])
    enu_from_ned = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])
    body_from_camera = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])  # x to the right wing, y (down) to the tail
    world_from_camera = enu_from_ned @ about_z @ about_y @ about_x @ body_from_camera
    pixels = []
    for point in world - [of["x"], of["y"], of["alt"]]:
        at = world_from_camera.T @ point
        x, y = at[:2] / at[2]
        r = math.hypot(x, y)
        grown = 1 + of["k1"] * r**2 + of["k2"] * r**4 + of["k3"] * r**6 + of["k4"] * r**8
        xd = x * grown + of["t2"] * 2 * x * y + of["t1"] * (r**2 + 2 * x**2)
        yd = y * grown + of["t1"] * 2 * x * y + of["t2"] * (r**2 + 2 * y**2)
        norm = np.array([of["f"] / 36 * xd + of["px"], of["f"] / 36 * yd + of["py"]])
        pixels.append(norm * max(size) + np.array(size) / 2)
    return np.array(pixels)


def lens_like(model: str, size: tuple[int, int], k1: float, k2: float, p1: float) -> Lens:
    """A lens of a model with these coefficients where it has them."""
    numbers = {"f": 300, "fx": 300, "fy": 300, "cx": size[0] / 2 + 3, "cy": size[1] / 2 - 5.25}
    numbers |= {"k": k1, "k1": k1, "k2": k2, "k3": 0.002, "p1": p1, "p2": 4e-4}
    return make_lens(model, *size, [numbers.get(name, 0.0) for name in LENSES[model].parameter_names])


MODELS = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    model=st.sampled_from([model for model in MODELS if model in LENSES]),
    seed=st.integers(0, 9999),
    k1=st.floats(-0.03, 0.1),
    k2=st.floats(0, 0.02),
    p1=st.floats(-1e-3, 1e-3),
    away=st.sampled_from([0.0, 1e6]),
)
def test_what_goes_out_comes_back(tmp_path_factory, model, seed, k1, k2, p1, away):
    folder = tmp_path_factory.mktemp("reality")
    lenses = [lens_like(model, (320, 241), k1, k2, p1), lens_like("RADIAL", (200, 300), k1, k2, p1)]
    expected = posed(lenses, seed, away=away)
    place_photos(folder, expected)
    assert write_reconstruction(folder, expected, "realitycapture") == ()
    found = read_reconstruction(folder)
    assert_same_views(found, expected, poses=1e-9 if not away else 5e-9, pixels=1e-6)
    assert torch.equal(found.points.positions, expected.points.positions)
    with (folder / "cameras.csv").open(encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    for view, row in enumerate(rows):
        world, lens = before(expected, view), expected.lens_of_view[view]
        theirs = as_epic_projects(row, (lens.width, lens.height), world.numpy())
        assert np.abs(theirs - pixels_of(expected, view, world).numpy()).max() < 1e-6


@pytest.mark.parametrize("off", [0.0, 1e-15, 1e-9, 1e-4])
@pytest.mark.parametrize("looks", [1, -1])
def test_cameras_that_look_level_lose_nothing(tmp_path, off, looks):
    """Where pitch is 90 degrees heading and roll turn about the same axis."""
    expected = posed([lens_like("RADIAL", (320, 240), 0, 0, 0)], 1)
    turn, tilt = 0.7, math.pi / 2 + off
    level = torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
    tilted = torch.tensor(
        [[1, 0, 0], [0, math.sin(tilt), -math.cos(tilt)], [0, math.cos(tilt), math.sin(tilt)]], dtype=torch.float64
    )
    turned = torch.tensor(
        [[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]], dtype=torch.float64
    )
    poses = expected.camera_from_world.clone()
    poses[:, :3, :3] = torch.diag(torch.tensor([1.0, looks, looks], dtype=torch.float64)) @ tilted @ level @ turned
    expected = replace(expected, camera_from_world=poses)
    place_photos(tmp_path, expected)
    write_reconstruction(tmp_path, expected, "realitycapture")
    torch.testing.assert_close(read_reconstruction(tmp_path).camera_from_world, poses, rtol=0, atol=1e-14)


def test_columns_of_newer_versions(tmp_path):
    header = "#cameras 1\n#name,x,y,alt,yaw,pitch,roll,f_35mm,px_norm,py_norm,k1\n"
    table(tmp_path, "a, 1.jpg,0,0,0,0,0,0,18,0.01,0,0.02\n#note\n", header=header)
    (tmp_path / "images" / "a.jpg").rename(tmp_path / "images" / "a, 1.jpg")
    found = read_reconstruction(tmp_path)
    assert found.names == ("a, 1.jpg",)
    assert found.lenses[0].params.tolist() == [320, 326.4, 240, 0.02]
    assert "1 cameras have k1 alone" in found.notes[0]


@HAS_RATIONAL
def test_terms_that_no_lens_has(tmp_path):
    found = read_reconstruction(table(tmp_path, "a.jpg,0,0,0,0,0,0,30,0,0,-0.05,0.01,-0.002,0.02,0,0\n"))
    assert "1 cameras have terms that no lens has" in found.notes[0]
    with pytest.raises(CaptureError, match="line 2: no lens has the terms k4"):
        read_reconstruction(table(tmp_path, "a.jpg,0,0,0,0,0,0,14,0,0,0,0,0,0.5,0,0\n"))


ROW = "a.jpg,1,2,3,10,20,30,18,0.01,-0.02,-0.05,0.01,0,0,0,0\n"
BAD = {
    "other columns": ({"header": "#name,x,y,z\n"}, "no cameras of RealityCapture here"),
    "a column twice": ({"header": HEADER.replace("t2", "k1")}, "no such columns"),
    "no rows": ({"rows": "\n"}, "no cameras in this table"),
    "too few columns": ({"rows": "a.jpg,1,2\n"}, "line 2: too few columns, expected 16, got 3"),
    "a word": ({"rows": ROW + ROW.replace(",18,", ",wide,")}, "line 3: f is no number"),
    "nothing": ({"rows": ROW.replace(",18,", ",,")}, "f is no number"),
    "infinite": ({"rows": ROW.replace(",18,", ",inf,")}, "f is no number"),
    "no focal length": ({"rows": ROW.replace(",18,", ",0,")}, "line 2: RADIAL"),
    "a huge number": ({"rows": ROW.replace("-0.05", "1e300")}, "line 2: numbers of no calibration"),
    "far away": ({"rows": ROW.replace(",1,2,", ",1e200,2,")}, "not a rigid motion"),
    "a photo that is not there": ({"rows": ROW.replace("a.jpg", "q.jpg")}, "only they say how large they are"),
    "a path out": ({"rows": ROW.replace("a.jpg", "../../q.jpg")}, "../../q.jpg is not in this capture"),
    "one name twice": ({"rows": ROW + ROW}, "2 images are named 'a.jpg'"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_refusal(tmp_path, change, message):
    with pytest.raises(CaptureError) as said:
        read_reconstruction(table(tmp_path, **{"rows": ROW, **change}), "realitycapture")
    assert message in str(said.value)


def test_unequal_focal_lengths_are_refused(tmp_path):
    expected = posed([lens_like("RADIAL", (320, 240), 0, 0, 0)], 1)
    unequal = make_lens("PINHOLE", 320, 240, [300, 310, 160, 120])
    with pytest.raises(CaptureError, match="cannot hold"):
        write_reconstruction(tmp_path, replace(expected, lenses=(unequal,)), "realitycapture")


def test_recognises_tables_only(tmp_path):
    (tmp_path / "other.csv").write_text("name,age\n")
    assert not is_realitycapture(tmp_path)
    assert not is_realitycapture(tmp_path / "other.csv")
    assert not is_realitycapture(tmp_path / "none")
    assert is_realitycapture(table(tmp_path, ROW))


def test_a_file_that_is_no_table(tmp_path):
    (tmp_path / "other.csv").write_bytes(b"\xff")
    with pytest.raises(CaptureError, match="not UTF-8"):
        read_reconstruction(tmp_path / "other.csv", "realitycapture")
    (tmp_path / "other.csv").write_text("name,age\n")
    with pytest.raises(CaptureError, match="no such columns"):
        read_reconstruction(tmp_path / "other.csv", "realitycapture")


def test_any_damage_is_one_line(tmp_path):
    table(tmp_path, ROW + ROW.replace("a.jpg", "b.jpg"))

    def read() -> Reconstruction:
        return read_reconstruction(tmp_path, "realitycapture")

    assert refuses_any_damage(tmp_path / "cameras.csv", read, seed=2) > 15
