"""OpenSfM's reconstructions: its projections, there and back again, and everything that is refused.

``pixel_in_opensfm`` projects as the program does, from its description (doc/source/geometry.rst and the camera
functions of mapillary/OpenSfM 238744c), from the JSON alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictured import NAMES, assert_same_cameras, before, observed, reconstruction_with, refuses_all_damage
from PIL import Image

from unrender.cameras.lens import make_lens
from unrender.datasets.formats import find_format, read_reconstruction, write_reconstruction
from unrender.datasets.opensfm import has_camera_for, is_opensfm, read_opensfm, write_opensfm
from unrender.errors import CaptureError

MODELS = ("PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV")
FISHEYES = ("SIMPLE_FISHEYE", "FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "OPENCV_FISHEYE")
MORE = ("THIN_PRISM_FISHEYE", "RAD_TAN_THIN_PRISM_FISHEYE", "EQUIRECTANGULAR")
COEFFICIENTS = {"k1": 0.05, "k2": -0.02, "k3": 0.01, "k4": -0.004, "p1": 0.0011, "p2": -0.0007}
AFFINE = {"focal_x": 0.9, "focal_y": 0.95, "c_x": 0.013, "c_y": -0.021}
CAMERAS: list[tuple[str, dict[str, float]]] = [
    ("perspective", {"focal": 0.9, "k1": 0.05, "k2": -0.02}),
    ("perspective", {"focal": 0.9}),
    ("simple_radial", {**AFFINE, "k1": 0.05}),
    ("radial", {**AFFINE, "k1": 0.05, "k2": -0.02}),
    ("brown", {**AFFINE, **{name: COEFFICIENTS[name] for name in ("k1", "k2", "k3", "p1", "p2")}}),
    ("brown", {**AFFINE, "k1": 0.05, "p1": 0.001}),
    ("fisheye", {"focal": 0.6, "k1": 0.05, "k2": -0.02}),
    ("fisheye_opencv", {**AFFINE, **{name: COEFFICIENTS[name] for name in ("k1", "k2", "k3", "k4")}}),
    ("fisheye62", {**AFFINE, **COEFFICIENTS}),
    ("fisheye62", {**AFFINE, "k1": 0.05, "k2": -0.02, "k3": 0.01, "k4": -0.004, "k5": 0.002, "k6": -0.0005}),
    ("fisheye624", {**AFFINE, **COEFFICIENTS, "s0": 0.002, "s2": -0.001}),
    ("dual", {"focal": 0.9, "k1": 0.05, "k2": -0.02, "transition": 1.0}),
    ("dual", {"focal": 0.9, "k1": 0.05, "k2": -0.02, "transition": 0.0}),
    ("spherical", {}),
    ("equirectangular", {}),
]


def normalised_in_opensfm(camera: dict[str, Any], x: float, y: float, z: float) -> tuple[float, float]:
    """Where a point in camera space is imaged, the longer side of the photo being 1 and its middle (0, 0)."""
    kind = camera["projection_type"]
    if kind in ("spherical", "equirectangular"):
        return math.atan2(x, z) / (2 * math.pi), -math.atan2(-y, math.hypot(x, z)) / (2 * math.pi)
    fisheye = "fisheye" in kind or camera.get("transition") == 0
    r, theta = math.hypot(x, y), math.atan2(math.hypot(x, y), z)
    a, b = (theta * x / r, theta * y / r) if fisheye else (x / z, y / z)
    r2 = a * a + b * b
    radial = 1 + sum(camera.get(f"k{n}", 0) * r2**n for n in range(1, 7))
    p1, p2 = camera.get("p1", 0), camera.get("p2", 0)
    u = a * radial + 2 * p1 * a * b + p2 * (r2 + 2 * a * a) + camera.get("s0", 0) * r2 + camera.get("s1", 0) * r2**2
    v = b * radial + 2 * p2 * a * b + p1 * (r2 + 2 * b * b) + camera.get("s2", 0) * r2 + camera.get("s3", 0) * r2**2
    fx, fy = camera.get("focal", camera.get("focal_x")), camera.get("focal", camera.get("focal_y"))
    return fx * u + camera.get("c_x", 0), fy * v + camera.get("c_y", 0)


def pixel_in_opensfm(camera: dict[str, Any], shot: dict[str, Any], world: np.ndarray) -> tuple[float, float]:
    """The pixel of a point of the world: OpenSfM's, whose first one has its centre at 0, and half a pixel."""
    vector = np.array(shot["rotation"])
    angle = np.linalg.norm(vector)
    axis = vector / angle
    turned = world * math.cos(angle) + np.cross(axis, world) * math.sin(angle)
    turned = turned + axis * (axis @ world) * (1 - math.cos(angle))
    u, v = normalised_in_opensfm(camera, *(turned + np.array(shot["translation"])))
    longer = max(camera["width"], camera["height"])
    return longer * u + (camera["width"] - 1) / 2 + 0.5, longer * v + (camera["height"] - 1) / 2 + 0.5


def model_of(camera: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """A file of two shots of a camera and two points."""
    shots = {
        "01.jpg": {"rotation": [0.3, -1.1, 2.0], "translation": [0.5, -2, 3.25], "camera": "v2 any", "merge_cc": 0},
        "02.jpg": {"rotation": [1.0, 0.2, 0.1], "translation": [1, 2, 3], "camera": "v2 any", "gps_dop": 5.0},
    }
    points = {
        "773": {"color": [36.0, 25.0, 255.0], "coordinates": [14.8, 16.6, 37.4]},
        "12": {"color": [0, 1, 2], "coordinates": [1, 2, 3]},
    }
    return [{"cameras": {"v2 any": camera}, "shots": shots, "points": points, **more}]


def written(folder: Path, model: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "reconstruction.json").write_text(json.dumps(model, ensure_ascii=False), encoding="utf-8")
    return folder


@pytest.mark.parametrize(("kind", "numbers"), CAMERAS)
@pytest.mark.parametrize("upright", [False, True])
def test_pixels_are_where_opensfm_has_them(kind: str, numbers: dict[str, float], upright: bool, tmp_path: Path) -> None:
    height = 320 if kind in ("spherical", "equirectangular") else 480
    size = {"width": 480, "height": 640} if upright and height == 480 else {"width": 640, "height": height}
    camera = {"projection_type": kind, **size, **numbers}
    found = read_reconstruction(written(tmp_path, model_of(camera)))
    shots = model_of(camera)[0]["shots"]
    for view, name in enumerate(found.names):
        world, pixels = before(found, view)
        theirs = [pixel_in_opensfm(camera, shots[name], place) for place in world.numpy()]
        np.testing.assert_allclose(np.array(theirs), pixels, atol=1e-6)


@given(models=st.lists(st.sampled_from((*MODELS, *FISHEYES, *MORE)), min_size=1, max_size=3), seed=st.integers(0, 999))
@settings(max_examples=30)
def test_there_and_back(models: list[str], seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("opensfm")
    there = observed(reconstruction_with(*models, seed=seed))
    write_opensfm(folder, there)
    back = read_opensfm(folder, observations=True).check(folder)
    assert_same_cameras(back, there)
    assert [lens.model for lens in back.lenses] == models
    for lens, other in zip(back.lenses, there.lenses, strict=True):
        torch.testing.assert_close(lens.params, other.params, rtol=0, atol=1e-9)
    assert torch.equal(back.points.positions, there.points.positions)
    torch.testing.assert_close(back.points.colors, there.points.colors)
    seen, known = back.observations, there.observations
    assert seen is not None
    assert known is not None
    assert torch.equal(seen.view, known.view)
    assert torch.equal(seen.point, known.point)
    torch.testing.assert_close(seen.pixel, known.pixel, rtol=0, atol=1e-9)
    assert read_opensfm(folder).observations is None


def test_a_brown_camera_with_k3_goes_out_again(tmp_path: Path) -> None:
    """OpenDroneMap's usual camera: FULL_OPENCV here, and held because k4 to k6 are 0."""
    camera = {"projection_type": "brown", "width": 640, "height": 480, **dict(CAMERAS[4][1])}
    found = read_reconstruction(written(tmp_path / "a", model_of(camera)))
    assert found.lenses[0].model == "FULL_OPENCV"
    assert write_reconstruction(tmp_path / "b", found, "opensfm") == ()
    again = json.loads((tmp_path / "b" / "reconstruction.json").read_text())[0]["cameras"]["camera0"]
    assert again == pytest.approx(camera, abs=1e-15)
    assert_same_cameras(read_reconstruction(tmp_path / "b"), found)


@pytest.mark.parametrize(
    ("model", "height", "params"),
    [
        ("FULL_OPENCV", 480, [500, 500, 320, 240, 0.1, 0, 0, 0, 0, 0.01, 0, 0]),
        ("OCAM", 480, [1, 0, 0, 240, 320, 340, 210]),
        ("EQUIRECTANGULAR", 480, [640, 480]),
        ("EQUIRECTANGULAR", 320, [1280, 640]),
        ("RAD_TAN_THIN_PRISM_FISHEYE", 480, [500, 500, 320, 240, *[0.01] * 12]),
    ],
)
def test_lenses_that_opensfm_has_not(model: str, height: int, params: list[float], tmp_path: Path) -> None:
    lens = make_lens(model, 640, height, params)
    assert not has_camera_for(lens)
    with pytest.raises(CaptureError, match=f"cannot hold .*{model}"):
        write_reconstruction(tmp_path, replace(reconstruction_with("RADIAL"), lenses=(lens,)), "opensfm")


def test_a_camera_in_the_middle_goes_out_as_perspective(tmp_path: Path) -> None:
    lens = make_lens("RADIAL", 640, 480, [576, 320, 240, 0.05, -0.02])
    write_opensfm(tmp_path, replace(reconstruction_with("RADIAL"), lenses=(lens,)))
    camera = json.loads((tmp_path / "reconstruction.json").read_text())[0]["cameras"]["camera0"]
    size = {"width": 640, "height": 480}
    assert camera == {"projection_type": "perspective", **size, "focal": 0.9, "k1": 0.05, "k2": -0.02}


def test_an_opendronemap_project(tmp_path: Path) -> None:
    perspective = {"projection_type": "perspective", "width": 640, "height": 480, "focal": 0.9}
    lone = {**model_of(perspective)[0], "shots": {"x.jpg": model_of(perspective)[0]["shots"]["01.jpg"]}}
    rigs = {"rig_cameras": {"left": {}, "right": {}}}
    best = model_of(perspective, reference_lla={"latitude": 52.5, "longitude": 13.4, "altitude": 0}, **rigs)
    project = written(tmp_path / "project" / "opensfm", [lone, *best, lone]).parent
    (project / "images").mkdir()
    (project / "opensfm" / "masks").mkdir()
    Image.new("L", (640, 480)).save(project / "opensfm" / "masks" / "02.jpg.png")
    (project / "opensfm" / "undistorted" / "depthmaps").mkdir(parents=True)
    dense = project / "opensfm" / "undistorted" / "depthmaps" / "merged.ply"
    dense.write_bytes(b"ply")
    assert find_format(project) == ("opensfm", ())
    for path in (project, project / "opensfm", project / "opensfm" / "reconstruction.json"):
        found = read_reconstruction(path)
        assert found.image_folder == project / "images"
        assert found.names == ("01.jpg", "02.jpg")
        assert found.masks == (None, project / "opensfm" / "masks" / "02.jpg.png")
        assert found.dense == dense
        assert found.numbers.points.tolist() == [773, 12]
        assert [note.split()[0] for note in found.notes] == ["2", "coordinates", "2"]
        assert found.notes[0] == "2 smaller reconstructions with 2 photos left out"


@pytest.mark.parametrize("version", [0, 1, 2])
def test_tracks_of_every_version(version: int, tmp_path: Path) -> None:
    camera = {"projection_type": "perspective", "width": 640, "height": 480, "focal": 0.9}
    tails = {0: "1\t2\t3", 1: "0.01\t1\t2\t3", 2: "0.01\t1\t2\t3\t-1\t-1"}
    rows = [
        ("02.jpg", "12", -0.5, -0.375),
        ("other.jpg", "12", 0, 0),
        ("01.jpg", "5", 0, 0),
        ("01.jpg", "773", 0.25, 0),
    ]
    lines = [f"OPENSFM_TRACKS_VERSION_v{version}"] if version else []
    lines += [f"{name}\t{track}\t7\t{x}\t{y}\t{tails[version]}" for name, track, x, y in rows]
    written(tmp_path, model_of(camera))
    (tmp_path / "tracks.csv").write_text("\n".join(lines) + "\n")
    seen = read_reconstruction(tmp_path, observations=True).observations
    assert seen is not None
    assert seen.view.tolist() == [0, 0, 1]
    assert seen.point.tolist() == [-1, 0, 1]
    assert seen.pixel.tolist() == [[320, 240], [480, 240], [0, 0]]


def test_masks_go_out_beside(tmp_path: Path) -> None:
    Image.new("L", (640, 480), 9).save(tmp_path / "m.png")
    masks = (None, tmp_path / "m.png", None, None, None)
    write_reconstruction(tmp_path / "out", replace(reconstruction_with("RADIAL"), masks=masks), "opensfm")
    there = tmp_path / "out" / "masks" / f"{NAMES[1]}.png"
    assert read_reconstruction(tmp_path / "out").masks == (None, there, None, None, None)
    without = replace(reconstruction_with("RADIAL"), masks=(None, tmp_path / "none.png", None, None, None))
    with pytest.raises(CaptureError, match="no such mask"):
        write_opensfm(tmp_path / "out", without)


PERSPECTIVE = {"projection_type": "perspective", "width": 640, "height": 480, "focal": 0.9}


def camera_with(**numbers: object) -> list[dict[str, Any]]:
    return model_of({**PERSPECTIVE, **numbers})


def changed(change: Callable[[dict[str, Any]], object]) -> list[dict[str, Any]]:
    model = json.loads(json.dumps(camera_with()))
    change(model[0])
    return model


REFUSED = [
    ([], "expected a list of reconstructions, got"),
    ({"shots": {}}, "expected a list of reconstructions"),
    ([1], "reconstruction 0, expected cameras, shots and points, got 1"),
    ([{"shots": {}}], "no photo with a pose"),
    (camera_with(projection_type="nonsense"), "camera 'v2 any': a projection_type unknown here, .* got 'nonsense'"),
    (camera_with(projection_type=None), "a projection_type unknown here, .*got nothing"),
    (camera_with(focal="0.9"), "focal of a camera, expected a number, got '0.9'"),
    (camera_with(focal=None), "focal of a camera, expected a number, got nothing"),
    (camera_with(focal=-1.0), "camera 'v2 any': .*focal length must be positive"),
    (camera_with(focal=10**400), "focal of a camera, expected a number"),
    (camera_with(k1=True), "k1 of a camera, expected a number, got True"),
    (camera_with(width=0), "width of a camera, expected pixels, got 0"),
    (camera_with(width=640.0), "width of a camera, expected pixels"),
    (camera_with(height=1 << 40), "height of a camera, expected pixels"),
    (camera_with(projection_type="dual"), "dual camera .* expected transition 0 or 1, got 0.5"),
    (camera_with(projection_type="spherical"), "panorama, expected twice as wide as high, got 640 x 480"),
    (
        camera_with(projection_type="fisheye62", focal_x=1, focal_y=1, p1=0.1, k5=0.2),
        "a fisheye624 camera that no lens of ours is",
    ),
    (changed(lambda model: model.pop("cameras")), "cameras, expected cameras by name, got nothing"),
    (changed(lambda model: model["shots"]["01.jpg"].update(camera="no")), "the camera of shot '01.jpg'"),
    (changed(lambda model: model["shots"]["01.jpg"].update(camera=[])), "the camera of shot '01.jpg'"),
    (changed(lambda model: model["shots"].update({"01.jpg": 3})), "shot '01.jpg', expected rotation"),
    (changed(lambda model: model["shots"]["02.jpg"].pop("rotation")), "rotation of entry 1, expected three finite"),
    (changed(lambda model: model["shots"]["02.jpg"].update(rotation=[1, 2])), "rotation of entry 1, .*got .1, 2."),
    (changed(lambda model: model["shots"]["02.jpg"].update(rotation=[1e9, 2, 3])), "expected an angle-axis vector"),
    (changed(lambda model: model["shots"]["01.jpg"].update(translation=["1", 2, 3])), "translation of entry 0"),
    (changed(lambda model: model["shots"]["01.jpg"].update(translation=[1, 2, [3]])), "translation of entry 0"),
    (changed(lambda model: model["shots"]["01.jpg"].update(translation=[1, 2, 10**400])), "translation of entry 0"),
    (changed(lambda model: model["points"]["12"].update(coordinates=None)), "coordinates of entry 1"),
    (changed(lambda model: model["points"]["12"].update(color=[1, 2, True])), "color of entry 1"),
    (changed(lambda model: model.update(points=[1])), "points, expected points by name"),
    (
        changed(lambda model: model["shots"].update({"../x.jpg": model["shots"].pop("01.jpg")})),
        "'../x.jpg' leads out of its folder",
    ),
]


@pytest.mark.parametrize(("model", "said"), REFUSED)
def test_refused_in_one_line(model: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=said) as caught:
        read_reconstruction(written(tmp_path, model), "opensfm")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[" * 200_000, "[NaN]", '[{"shots": {"a": ' + "9" * 5000 + "}}]", "[\ud800", "", "[1e999, Infinity]"]
)
def test_text_that_is_no_json(text: str, tmp_path: Path) -> None:
    (tmp_path / "reconstruction.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(CaptureError):
        read_reconstruction(tmp_path, "opensfm")


def test_any_bytes_end_in_one_line(tmp_path: Path) -> None:
    camera = {"projection_type": "brown", "width": 640, "height": 480, **dict(CAMERAS[4][1])}
    written(tmp_path, model_of(camera))
    pieces = (b"", b"null", b"{}", b"[]", b"1e999", b'"', b"-", b"true", b"\xff", b"[[[[")
    refuses_all_damage(
        tmp_path / "reconstruction.json", lambda: read_reconstruction(tmp_path, "opensfm"), rounds=600, pieces=pieces
    )


def test_any_bytes_of_tracks_end_in_one_line(tmp_path: Path) -> None:
    write_opensfm(tmp_path, observed(reconstruction_with("RADIAL")))
    pieces = (b"", b"\t", b"\n", b"nan", b"1e999", b"\0")
    refuses_all_damage(
        tmp_path / "tracks.csv", lambda: read_reconstruction(tmp_path, "opensfm", observations=True), pieces=pieces
    )


def test_what_is_recognised(tmp_path: Path) -> None:
    other = written(tmp_path, camera_with()) / "other.json"
    assert is_opensfm(tmp_path)
    other.write_text((tmp_path / "reconstruction.json").read_text())
    assert is_opensfm(other)
    other.write_text('{"frames": []}')
    assert not is_opensfm(other)
    assert not is_opensfm(tmp_path / "none")
    assert not is_opensfm(Path("a\0b"))
