"""Bundler: read against COLMAP's own export, written and read back, projected as the manual says, damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from posed_room import (
    assert_same_views,
    before,
    colors_of,
    looked_at,
    pixels_of,
    place_photos,
    posed,
    refuses_any_damage,
    seen,
)

from unrender.cameras.lens import Lens, make_lens
from unrender.datasets.bundler import bundler_losses, is_bundler
from unrender.datasets.formats import find_format, read_reconstruction, write_reconstruction
from unrender.errors import CaptureError

FIXTURE = Path(__file__).parents[1] / "data" / "bundler"
"""colmap.*: written by COLMAP 3.8, model_converter --output_type Bundler, from a model of three images made by hand."""


def radial(k1: float = -0.04, k2: float = 0.01) -> Lens:
    """A lens whose centre is in the middle of its photo."""
    return make_lens("RADIAL", 321, 240, [300.25, 160.5, 120, k1, k2])


def simple() -> Lens:
    """The same without distortion, upright."""
    return make_lens("RADIAL", 240, 320, [250, 120, 160, 0, 0])


@pytest.fixture
def colmaps(tmp_path: Path) -> Path:
    """A folder with the bundle that COLMAP wrote, and photos."""
    for file in FIXTURE.glob("colmap.*"):
        shutil.copy(file, tmp_path)
    for name, size in {"a/eins.jpg": (640, 480), "a/zwei.jpg": (640, 480), "b/drei.jpg": (480, 640)}.items():
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", size).save(tmp_path / "images" / name)
    return tmp_path


def test_reads_what_colmap_wrote(colmaps):
    found = read_reconstruction(colmaps, observations=True)
    assert find_format(colmaps)[0] == "bundler"
    assert found.names == ("a/eins.jpg", "a/zwei.jpg", "b/drei.jpg")
    assert found.image_folder == colmaps / "images"
    assert found.camera_index.tolist() == [0, 0, 1]
    assert found.lenses[0].params.tolist() == [500, 320, 240, -0.05, 0.01]
    assert (found.lenses[1].width, found.lenses[1].height) == (480, 640)
    assert len(found.points) == 12
    assert (255 * colors_of(found)[3]).tolist() == [60 + 20 * 5, 255 - 20 * 8, 8]
    looks = looked_at(found)
    assert len(looks) == 27
    for view in range(3):
        mine = looks.view == view
        world = found.points.positions[looks.point[mine]]
        off = pixels_of(found, view, world) - looks.pixel[mine]
        assert float(off.abs().max()) < 5e-4  # COLMAP writes six digits


def as_the_manual_projects(folder: Path, camera: int, world: np.ndarray) -> np.ndarray:
    """Bundler v0.4 User's Manual, section VI, from the file's own lines: pixels from the middle, y up."""
    lines = (folder / "bundle.out").read_text().splitlines()
    block = [[float(number) for number in line.split()] for line in lines[2 + 5 * camera : 7 + 5 * camera]]
    (focal, k1, k2), rotation, translation = block[0], np.array(block[1:4]), np.array(block[4])
    pixels = []
    for point in world:
        at = rotation @ point + translation
        plane = -at[:2] / at[2]
        square = float(plane @ plane)
        pixels.append(focal * (1 + k1 * square + k2 * square**2) * plane)
    return np.array(pixels)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 9999),
    k1=st.floats(-0.06, 0.1),
    k2=st.floats(0, 0.02),
    away=st.sampled_from([0.0, 1e6]),
)
def test_what_goes_out_comes_back(tmp_path_factory, seed, k1, k2, away):
    folder = tmp_path_factory.mktemp("bundle")
    expected = seen(posed([radial(k1, k2), simple()], seed, away=away))
    place_photos(folder, expected)
    assert write_reconstruction(folder, expected, "bundler") == ()
    found = read_reconstruction(folder, observations=True)
    assert_same_views(found, expected, poses=0)
    assert torch.equal(found.points.positions, expected.points.positions)
    assert torch.equal(colors_of(found), colors_of(expected))
    kept = looked_at(expected).point >= 0
    assert torch.equal(looked_at(found).view, looked_at(expected).view[kept])
    assert torch.equal(looked_at(found).point, looked_at(expected).point[kept])
    torch.testing.assert_close(looked_at(found).pixel, looked_at(expected).pixel[kept], rtol=0, atol=1e-9)
    for view in range(len(expected)):
        world, lens = before(expected, view), expected.lens_of_view[view]
        theirs = as_the_manual_projects(folder, view, world.numpy()) * [1, -1] + [lens.width / 2, lens.height / 2]
        assert np.abs(theirs - pixels_of(expected, view, world).numpy()).max() < 1e-6


def test_a_lens_of_another_model_that_is_radial(tmp_path):
    lens = make_lens("OPENCV", 320, 240, [300, 300, 160, 120, 0.01, 0, 0, 0])
    expected = posed([lens], 1)
    place_photos(tmp_path, expected)
    assert write_reconstruction(tmp_path, expected, "bundler") == ()
    assert_same_views(read_reconstruction(tmp_path), expected)


def test_says_what_is_lost(tmp_path):
    expected = posed([make_lens("RADIAL", 320, 240, [300, 163, 124, 0, 0])], 1)
    assert bundler_losses(expected) == ("the principal point of 1 cameras, up to 5 pixels off the middle",)
    with pytest.raises(CaptureError, match="up to 5 pixels off"):
        write_reconstruction(tmp_path, expected, "bundler")
    place_photos(tmp_path, expected)
    write_reconstruction(tmp_path, expected, "bundler", lossy=True)
    assert read_reconstruction(tmp_path).lenses[0].params.tolist() == [300, 160, 120, 0, 0]


BUNDLE = "# Bundle file v0.3\n2 1\n100 0 0\n1 0 0\n0 1 0\n0 0 1\n0 0 0\n0 0 0\n0 0 0\n0 0 0\n0 0 0\n0 0 0\n{points}"
POINT = "1 2 3\n255 0 51\n2 0 7 1.5 2.5 1 8 0 0\n"


def bundle(folder: Path, listed: str = "./a.jpg 0 532.5\nb.jpg\n", points: str = POINT, text: str = BUNDLE) -> Path:
    """A small bundle by hand with one camera that was reconstructed and one that was not."""
    (folder / "bundle.out").write_text(text.format(points=points))
    (folder / "list.txt").write_text(listed)
    (folder / "images").mkdir(exist_ok=True)
    Image.new("L", (20, 10)).save(folder / "images" / "a.jpg")
    return folder


def test_cameras_that_were_not_reconstructed(tmp_path):
    found = read_reconstruction(bundle(tmp_path), observations=True)
    assert found.names == ("a.jpg",)
    assert found.notes == ("1 photos that were not reconstructed are left out",)
    assert found.lenses[0].params.tolist() == [100, 10, 5, 0, 0]
    assert found.camera_from_world[0].tolist() == np.diag([1.0, -1, -1, 1]).tolist()
    assert looked_at(found).view.tolist() == [0]
    assert looked_at(found).pixel.tolist() == [[11.5, 2.5]]


@pytest.mark.parametrize("listed", ["a b.jpg 0 5.0\nc.jpg", "a b.jpg\nc.jpg", "images\\a b.jpg 0\nimages\\c.jpg"])
def test_names_with_spaces_and_backslashes(tmp_path, listed):
    bundle(tmp_path, listed)
    (tmp_path / "images" / "a.jpg").rename(tmp_path / "images" / "a b.jpg")
    found = read_reconstruction(tmp_path)
    assert found.names == ("a b.jpg",)
    assert found.image_folder == tmp_path / "images"


def test_paths_of_another_machine(tmp_path):
    bundle(tmp_path, "D:\\job\\in\\a.jpg\nD:\\job\\in\\b.jpg\n")
    found = read_reconstruction(tmp_path)
    assert found.names == ("a.jpg",)
    assert "paths in the list lead elsewhere" in found.notes[0]


def test_a_folder_that_all_share(tmp_path):
    bundle(tmp_path, "images/a.jpg\nimages/b.jpg\n")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle.out").rename(tmp_path / "bundle" / "bundle.out")
    for path in (tmp_path, tmp_path / "bundle" / "bundle.out"):
        found = read_reconstruction(path)
        assert (found.names, found.image_folder) == (("a.jpg",), tmp_path / "images")
    shutil.move(tmp_path / "images", tmp_path / "elsewhere")
    assert read_reconstruction(tmp_path, images=tmp_path / "elsewhere").image_folder == tmp_path / "elsewhere"


BAD = {
    "another version": ({"text": "# Bundle file v0.1\n0 0\n"}, "expected v0.3"),
    "no counts": ({"text": "# Bundle file v0.3\n"}, "no counts of cameras and points"),
    "a count that is none": ({"text": "# Bundle file v0.3\n1.5 0\n"}, "two whole numbers"),
    "counts beyond the file": ({"text": "# Bundle file v0.3\n1000000000 99999999999999\n"}, "cut short"),
    "a word": ({"points": "1 2 zwei\n0 0 0\n0\n"}, "line 13: b'zwei', expected a finite number"),
    "not a number": ({"points": "1 2 nan\n0 0 0\n0\n"}, "line 13: b'nan'"),
    "too few views": ({"points": "1 2 3\n0 0 0\n2 0 7 1.5 2.5\n"}, "the views of point 0 are cut short"),
    "a negative count of views": ({"points": "1 2 3\n0 0 0\n-1\n"}, "the views of point 0"),
    "more than it says": ({"points": POINT + POINT}, "more numbers than cameras and points have"),
    "a camera that is not there": ({"points": POINT.replace("1 8", "2 8")}, "seen by a camera that is not there"),
    "a list too short": ({"listed": "a.jpg\n"}, "expected 2 photos, got 1"),
    "a photo elsewhere": ({"listed": "../x/q.jpg\nb.jpg\n"}, "../x/q.jpg is not in this capture"),
    "a photo that is not there": ({"listed": "q.jpg\nb.jpg\n"}, "only they say how large they are"),
    "no rotation": ({"text": BUNDLE.replace("1 0 0\n0 1 0", "2 0 0\n0 1 0")}, "not a rigid motion"),
    "a focal length of nothing": ({"text": BUNDLE.replace("100 0 0", "-100 0 0")}, "camera 0: RADIAL"),
    "no camera": ({"text": BUNDLE.replace("100 0 0", "0 0 0")}, "no photo with a pose"),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_refusal(tmp_path, change, message):
    with pytest.raises(CaptureError) as said:
        read_reconstruction(bundle(tmp_path, **change), observations=True)
    assert message in str(said.value)


def test_no_list(tmp_path):
    (bundle(tmp_path) / "list.txt").unlink()
    with pytest.raises(CaptureError, match="no list of photos beside the bundle"):
        read_reconstruction(tmp_path)
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\n\n")
    with pytest.raises(CaptureError, match="not UTF-8"):
        read_reconstruction(tmp_path)


def test_recognises_bundles_only(tmp_path):
    (tmp_path / "run.out").write_text("hello")
    assert not is_bundler(tmp_path)
    assert not is_bundler(tmp_path / "run.out")
    assert not is_bundler(tmp_path / "none")
    assert is_bundler(bundle(tmp_path))


@pytest.mark.parametrize("name", ["colmap.bundle.out", "colmap.list.txt"])
def test_any_damage_is_one_line(colmaps, name):
    def read() -> object:
        return read_reconstruction(colmaps, "bundler", observations=True)

    assert refuses_any_damage(colmaps / name, read, seed=len(name)) > 20
