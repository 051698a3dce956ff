"""Metashape: a file as the program writes it, there and back, projected as the manual says, damaged."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from posed_room import assert_same_views, before, pixels_of, place_photos, posed, refuses_any_damage

from unrender.cameras.lens import LENSES, Lens, make_lens
from unrender.datasets.formats import find_format, read_reconstruction, write_reconstruction
from unrender.datasets.metashape import is_metashape
from unrender.errors import CaptureError

IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"
CALIBRATION = """<calibration type="frame" class="initial"><f>1</f></calibration>
<calibration type="frame" class="adjusted"><resolution width="640" height="480"/><f>500</f><cx>3.5</cx><cy>-2</cy>
<b1>1.5</b1><k1>-0.03</k1><k2>0.004</k2><p1>0.0007</p1><p2>-0.0003</p2></calibration>"""
CAMERAS = f"""<camera id="7" sensor_id="4" component_id="0" label="a"><transform>{IDENTITY}</transform>
<orientation>1</orientation></camera>
<group id="0" label="Group 1" type="folder">
<camera id="8" sensor_id="4" component_id="0" label="b.png" enabled="true">
<transform>0 0 1 2 1 0 0 3 0 1 0 4 0 0 0 1</transform></camera></group>"""
TRANSFORM = """<transform><rotation locked="true">0 -1 0 1 0 0 0 0 1</rotation>
<translation locked="true">10 20 30</translation><scale locked="true">2.5</scale></transform>"""
HAS_RATIONAL = pytest.mark.skipif("FULL_OPENCV" not in LENSES, reason="no lens with k3 yet")
HAS_FISHEYES = pytest.mark.skipif("THIN_PRISM_FISHEYE" not in LENSES, reason="no fisheyes yet")
HAS_PANORAMA = pytest.mark.skipif("EQUIRECTANGULAR" not in LENSES, reason="no panorama yet")


def document(
    folder: Path,
    *,
    calibration: str = CALIBRATION,
    cameras: str = CAMERAS,
    transform: str = TRANSFORM,
    kind: str = "frame",
    before_root: str = "",
) -> Path:
    """A file laid out as Metashape 2 exports it: sensors, components, cameras in groups and out of them."""
    (folder / "cameras.xml").write_text(
        f"""<?xml version="1.0" encoding="UTF-8"?>{before_root}
<document version="2.0.0">
  <chunk label="Chunk 1" enabled="true">
    <sensors next_id="5">
      <sensor id="4" label="M3M (12.29mm)" type="{kind}"><resolution width="640" height="480"/>
        <property name="pixel_width" value="0.00335"/>{calibration}</sensor>
    </sensors>
    <components next_id="1" active_id="0"><component id="0" label="Component 1">{transform}</component></components>
    <cameras next_id="9" next_group_id="1">{cameras}</cameras>
    <reference>LOCAL_CS["Local Coordinates (m)"]</reference>
  </chunk>
</document>"""
    )
    return folder


def test_reads_what_metashape_writes(tmp_path):
    found = read_reconstruction(document(tmp_path))
    assert find_format(tmp_path)[0] == "metashape"
    assert found.names == ("a", "b.png")
    assert found.image_folder == tmp_path / "images"
    assert found.lenses[0].model == "OPENCV"
    expected = [501.5, 500, 323.5, 238, -0.03, 0.004, -0.0003, 0.0007]  # p1 and p2 change places
    assert found.lenses[0].params.tolist() == expected
    assert found.numbers.images.tolist() == [7, 8]
    assert found.numbers.cameras.tolist() == [4]
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    assert torch.equal(found.camera_from_world[0, :3, :3], turn.T)
    centers = [-pose[:3, :3].T @ pose[:3, 3] for pose in found.camera_from_world]
    assert centers[0].tolist() == [10, 20, 30]
    assert centers[1].tolist() == [10 - 2.5 * 3, 20 + 2.5 * 2, 30 + 2.5 * 4]
    forward = found.camera_from_world[1, :3, :3].T @ torch.tensor([0.0, 0, 1], dtype=torch.float64)
    assert forward.tolist() == (turn @ torch.tensor([1.0, 0, 0], dtype=torch.float64)).tolist()


TERMS = ("f", "cx", "cy", "k1", "k2", "k3", "k4", "p1", "p2", "b1", "b2")


def as_the_manual_projects(file: Path, camera: int, world: np.ndarray) -> np.ndarray:
    """Metashape's manual, appendix "Camera models", from what is in the file: pixels, first pixel's centre 0.5."""
    chunk = ElementTree.parse(file).getroot()[0]
    entry = list(chunk.iterfind("cameras//camera"))[camera]
    transform = np.array((entry.findtext("transform") or "").split(), dtype=float).reshape(4, 4)
    sensor = next(one for one in chunk.iterfind("sensors/sensor") if one.get("id") == entry.get("sensor_id"))
    calibration = next(one for one in sensor.iterfind("calibration") if one.get("class") == "adjusted")
    size = sensor.find("resolution")
    assert size is not None
    term = {name: float(calibration.findtext(name) or 0) for name in TERMS}
    pixels = []
    for point in world:
        at = np.linalg.solve(transform, [*point, 1])
        x, y = at[0] / at[2], at[1] / at[2]
        if sensor.get("type") == "fisheye":
            tangent = math.hypot(at[0], at[1])
            angle = math.atan2(tangent, at[2])
            x, y = at[0] / tangent * angle, at[1] / tangent * angle
        r = math.hypot(x, y)
        grown = 1 + term["k1"] * r**2 + term["k2"] * r**4 + term["k3"] * r**6 + term["k4"] * r**8
        xx = x * grown + term["p1"] * (r**2 + 2 * x**2) + 2 * term["p2"] * x * y
        yy = y * grown + term["p2"] * (r**2 + 2 * y**2) + 2 * term["p1"] * x * y
        u = float(size.get("width", 0)) / 2 + term["cx"] + xx * term["f"] + xx * term["b1"] + yy * term["b2"]
        pixels.append([u, float(size.get("height", 0)) / 2 + term["cy"] + yy * term["f"]])
    return np.array(pixels)


def lens_like(model: str, k1: float, k2: float, p1: float) -> Lens:
    """A lens of a model with these coefficients where it has them."""
    numbers = {
        "f": 300,
        "fx": 301.5,
        "fy": 299,
        "cx": 163,
        "cy": 118.25,
        "k": k1,
        "k1": k1,
        "k2": k2,
        "p1": p1,
        "p2": 4e-4,
    }
    numbers |= {"k3": 1e-3 if model != "FULL_OPENCV" else 2e-3, "k4": 1e-4 if "FISHEYE" in model else 0.0}
    names = LENSES[model].parameter_names
    return make_lens(model, 320, 241, [numbers.get(name, 0.0) for name in names])


FRAMES = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV")
FISHEYES = (
    "SIMPLE_FISHEYE",
    "FISHEYE",
    "SIMPLE_RADIAL_FISHEYE",
    "RADIAL_FISHEYE",
    "OPENCV_FISHEYE",
    "THIN_PRISM_FISHEYE",
)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    model=st.sampled_from([model for model in (*FRAMES, *FISHEYES) if model in LENSES]),
    seed=st.integers(0, 9999),
    k1=st.floats(-0.02, 0.1),
    k2=st.floats(0, 0.02),
    p1=st.floats(-1e-3, 1e-3),
    away=st.sampled_from([0.0, 1e6]),
)
def test_what_goes_out_comes_back(tmp_path_factory, model, seed, k1, k2, p1, away):
    folder = tmp_path_factory.mktemp("metashape")
    expected = posed([lens_like(model, k1, k2, p1), lens_like("RADIAL", k1, k2, p1)], seed, away=away)
    assert write_reconstruction(folder, expected, "metashape") == ()
    found = read_reconstruction(folder)
    assert_same_views(found, expected, poses=1e-9 if not away else 2e-9, pixels=1e-6)
    assert torch.equal(found.points.positions, expected.points.positions)
    for view in range(len(expected)):
        world = before(expected, view)
        theirs = as_the_manual_projects(folder / "cameras.xml", view, world.numpy())
        assert np.abs(theirs - pixels_of(expected, view, world).numpy()).max() < 1e-6


@HAS_PANORAMA
def test_a_panorama_goes_out_and_comes_back(tmp_path):
    expected = posed([make_lens("EQUIRECTANGULAR", 320, 160, [320, 160])], 3)
    write_reconstruction(tmp_path, expected, "metashape")
    assert_same_views(read_reconstruction(tmp_path), expected)


@HAS_RATIONAL
def test_terms_that_no_lens_has_are_stated_or_refused(tmp_path):
    foreign = CALIBRATION.replace("<b1>1.5</b1>", "<b2>-0.3</b2><k3>0.01</k3><k4>-0.004</k4>")
    found = read_reconstruction(document(tmp_path, calibration=foreign, transform=""))
    assert "sensor 4: terms that FULL_OPENCV lacks make up to 0.1" in found.notes[0]
    stated = float(found.notes[0].rpartition("up to ")[2].removesuffix(" pixels"))
    worst = 0.0
    for view in range(2):
        world = before(found, view, 400)
        theirs = as_the_manual_projects(tmp_path / "cameras.xml", view, world.numpy())
        worst = max(worst, float(np.linalg.norm(theirs - pixels_of(found, view, world).numpy(), axis=1).max()))
    assert 0.5 * stated < worst < 1.05 * stated
    with pytest.raises(CaptureError, match="no lens has the terms skew of this calibration"):
        read_reconstruction(document(tmp_path, calibration=CALIBRATION.replace("<b1>1.5</b1>", "<b2>30</b2>")))


def test_labels_become_photos(tmp_path):
    document(tmp_path)
    (tmp_path / "images" / "day 1").mkdir(parents=True)
    for name in ("day 1/a.jpg", "b.png", "aa.jpg"):
        (tmp_path / "images" / name).write_bytes(b"")
    assert read_reconstruction(tmp_path).names == ("b.png", "day 1/a.jpg")
    (tmp_path / "images" / "a.tif").write_bytes(b"")
    assert read_reconstruction(tmp_path).names == ("a.tif", "b.png")
    (tmp_path / "images" / "a.jpg").write_bytes(b"")
    with pytest.raises(CaptureError, match="'a' fits 2 photos"):
        read_reconstruction(tmp_path)
    shutil.move(tmp_path / "images" / "day 1", tmp_path / "others")
    assert read_reconstruction(tmp_path, images=tmp_path / "others").names == ("a.jpg", "b.png")


def test_cameras_that_are_left_out(tmp_path):
    more = (
        '<camera id="9" sensor_id="4" label="c"/><camera id="10" sensor_id="4" label="d"/>'
        f'<camera id="11" sensor_id="4" label="e" enabled="false"><transform>{IDENTITY}</transform></camera>'
        '<camera id="12" sensor_id="4" master_id="7" label="f"/>'
    )
    found = read_reconstruction(document(tmp_path, cameras=CAMERAS + more))
    assert found.names == ("a", "b.png")
    assert found.notes == (
        "2 cameras without a pose: left out",
        "1 cameras disabled: left out",
        "1 cameras of rigs, whose poses are not given: left out",
    )


def test_frames(tmp_path):
    own = read_reconstruction(document(tmp_path, transform=""))
    assert own.notes == ("the chunk has no transform: its own frame and scale",)
    assert own.camera_from_world[0].tolist() == np.eye(4).tolist()
    far = TRANSFORM.replace("10 20 30", "4e6 20 30")
    assert "geocentric" in read_reconstruction(document(tmp_path, transform=far)).notes[0]
    lost = CAMERAS.replace('id="8" sensor_id="4" component_id="0"', 'id="8" sensor_id="4" component_id="1"')
    two = f'{TRANSFORM}</component><component id="1" label="Component 2">'
    found = read_reconstruction(document(tmp_path, cameras=lost, transform=two))
    assert found.names == ("a",)
    assert found.notes == ("1 cameras of other components, whose place is not known: left out",)


BOMB = '<!DOCTYPE document [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
BAD = {
    "a document type": ({"before_root": BOMB}, "a document type is not read"),
    "deep nesting": ({"cameras": "<group>" * 999 + "</group>" * 999}, "elements within elements"),
    "no XML": ({"cameras": "<camera"}, "this is no XML"),
    "no pose": ({"cameras": '<camera id="1" label="a"/>'}, "no camera with a pose"),
    "a transform cut short": (
        {"cameras": CAMERAS.replace(IDENTITY, "1 0 0")},
        "camera 'a': the transform is cut short",
    ),
    "a word": ({"cameras": CAMERAS.replace("1 0 0 0 0 1", "1 o 0 0 0 1", 1)}, "the transform is no number"),
    "infinite": ({"cameras": CAMERAS.replace(" 2 1 0", " inf 1 0")}, "the transform is no number"),
    "a scaled camera": (
        {"cameras": CAMERAS.replace(IDENTITY, IDENTITY.replace("1 0 0 0", "2 0 0 0", 1))},
        "not a rigid",
    ),
    "a projective transform": ({"cameras": CAMERAS.replace(IDENTITY, IDENTITY[:-1] + "2")}, "expected 0 0 0 1 last"),
    "no label": ({"cameras": CAMERAS.replace('label="a"', "")}, "a camera without label"),
    "an id that is none": ({"cameras": CAMERAS.replace('id="7"', 'id="-7"')}, "the id is none"),
    "a sensor that is not there": ({"cameras": CAMERAS.replace('sensor_id="4"', 'sensor_id="5"')}, "no sensor '5'"),
    "no scale": ({"transform": TRANSFORM.replace("2.5", "0")}, "a scale of no frame"),
    "no calibration": ({"calibration": ""}, "sensor 4: no calibration"),
    "no focal length": ({"calibration": CALIBRATION.replace("<f>500</f>", "<f>0</f>")}, "sensor 4: OPENCV"),
    "a huge number": ({"calibration": CALIBRATION.replace("<k2>0.004", "<k2>1e300")}, "numbers of no calibration"),
    "no width": ({"calibration": CALIBRATION.replace('width="640"', 'width="0"')}, "the width is none"),
    "an old calibration": ({"calibration": "<calibration><fx>1</fx></calibration>"}, "PhotoScan wrote it before 1.3"),
    "a cylinder": ({"calibration": CALIBRATION.replace('"frame"', '"cylindrical"')}, "type 'cylindrical' have no lens"),
    "half a panorama": ({"calibration": "", "kind": "spherical"}, "no whole panorama"),
    "a path out": ({"cameras": CAMERAS.replace('"b.png"', '"../b.png"')}, "../b.png is not in this capture"),
    "one name twice": ({"cameras": CAMERAS.replace('"b.png"', '"a"')}, "2 images are named 'a'"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_refusal(tmp_path, change, message):
    with pytest.raises(CaptureError) as said:
        read_reconstruction(document(tmp_path, **change), "metashape")
    assert message in str(said.value)


def test_recognises_cameras_only(tmp_path):
    (tmp_path / "other.xml").write_text("<document><page/></document>")
    assert not is_metashape(tmp_path)
    assert not is_metashape(tmp_path / "other.xml")
    assert not is_metashape(tmp_path / "none")
    assert is_metashape(document(tmp_path))
    (tmp_path / "cameras.xml").rename(tmp_path / "flight.xml")
    assert is_metashape(tmp_path)


def test_any_damage_is_one_line(tmp_path):
    expected = posed([lens_like("OPENCV", 0.01, 0.01, 1e-4)], 5, points=0)
    place_photos(tmp_path, expected)
    write_reconstruction(tmp_path, expected, "metashape")
    assert refuses_any_damage(tmp_path / "cameras.xml", lambda: read_reconstruction(tmp_path, "metashape"), seed=1) > 20
