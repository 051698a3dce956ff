"""LLFF's poses_bounds.npy, from its description: axes, order of photos, reduced photos, damage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from posed_room import before, pixels_of, posed, refuses_any_damage

from unrender.cameras.lens import make_lens
from unrender.datasets.formats import find_format, read_reconstruction
from unrender.datasets.llff import is_llff
from unrender.datasets.reconstruction import Reconstruction
from unrender.errors import CaptureError

SIZE = (320, 240)
FOCAL = 300.25


def room(seed: int = 4) -> Reconstruction:
    """What the file is made from: one camera with its centre in the middle."""
    return posed([make_lens("SIMPLE_PINHOLE", *SIZE, [FOCAL, SIZE[0] / 2, SIZE[1] / 2])], seed)


def rows_of(found: Reconstruction) -> np.ndarray:
    """README of Fyusion/LLFF: [R | t | h w f], camera to world, R's columns down, right, backwards; then bounds."""
    rows = []
    for pose in found.camera_from_world.numpy():
        right, down, forwards = pose[:3, :3]  # rows of camera_from_world are the camera's axes in the world
        center = -pose[:3, :3].T @ pose[:3, 3]
        matrix = np.stack([down, right, -forwards, center, [SIZE[1], SIZE[0], FOCAL]], axis=1)
        rows.append([*matrix.ravel(), 0.5, 9.0])
    return np.array(rows)


def made(folder: Path, rows: np.ndarray, sizes: Sequence[tuple[int, int]] = (SIZE,), images: str = "images") -> Path:
    """A folder with that file and a photo for each row."""
    np.save(folder / "poses_bounds.npy", rows)
    (folder / images).mkdir(exist_ok=True)
    for place in range(len(rows)):
        Image.new("L", sizes[place % len(sizes)]).save(folder / images / f"IMG_{place}.JPG", format="JPEG")
    return folder


def test_reads_what_the_readme_describes(tmp_path):
    expected = room()
    found = read_reconstruction(made(tmp_path, rows_of(expected)))
    assert find_format(tmp_path) == find_format(tmp_path / "poses_bounds.npy") == ("llff", ())
    assert found.names == tuple(f"IMG_{place}.JPG" for place in range(5))
    assert found.image_folder == tmp_path / "images"
    assert [(lens.model, lens.params.tolist()) for lens in found.lenses] == [("SIMPLE_PINHOLE", [FOCAL, 160, 120])]
    torch.testing.assert_close(found.camera_from_world, expected.camera_from_world, rtol=0, atol=1e-12)
    assert found.notes == ()


def test_sees_as_llff_projects(tmp_path):
    """The same from the numbers of the file alone: right, down and depth along its axes."""
    rows = rows_of(room())
    found = read_reconstruction(made(tmp_path, rows))
    for view, row in enumerate(rows):
        matrix, world = row[:15].reshape(3, 5), before(room(), view).numpy()
        down, right, back = ((world - matrix[:, 3]) @ matrix[:, column] for column in range(3))
        height, width, focal = matrix[:, 4]
        theirs = np.stack([width / 2 - focal * right / back, height / 2 - focal * down / back], axis=1)
        assert np.abs(theirs - pixels_of(found, view, torch.from_numpy(world)).numpy()).max() < 1e-6


def test_reduced_photos_have_reduced_intrinsics(tmp_path):
    made(tmp_path, rows_of(room()), [(80, 60)], "images_4")
    made(tmp_path, rows_of(room()), [(40, 30)], "images_8")
    found = read_reconstruction(tmp_path)
    assert found.image_folder == tmp_path / "images_4"
    assert found.lenses[0].params.tolist() == [FOCAL / 4, 40, 30]
    assert found.notes == (
        f"5 photos in {tmp_path / 'images_4'} are of another size than the poses say: intrinsics scaled",
    )
    smallest = read_reconstruction(tmp_path, images=tmp_path / "images_8")
    assert smallest.lenses[0].params.tolist() == [FOCAL / 8, 20, 15]
    for view in range(5):
        world = before(found, view)
        torch.testing.assert_close(
            pixels_of(smallest, view, world), pixels_of(found, view, world) / 2, rtol=0, atol=1e-9
        )


def test_photos_reduced_to_a_size(tmp_path):
    for size in ((40, 30), (80, 60)):
        made(tmp_path, rows_of(room()), [size], "images_{}x{}".format(*size))
    assert read_reconstruction(tmp_path).image_folder == tmp_path / "images_80x60"


def test_a_reduced_size_that_was_rounded(tmp_path):
    found = read_reconstruction(made(tmp_path, rows_of(room()), [(46, 34)]))
    assert found.lenses[0].model == "PINHOLE"
    assert found.lenses[0].params.tolist() == pytest.approx([FOCAL * 46 / 320, FOCAL * 34 / 240, 23, 17])


def test_a_photo_of_another_shape(tmp_path):
    with pytest.raises(CaptureError, match=r"row 3 .IMG_3\.JPG.: photo and pose differ in shape, expected 320 x 240"):
        read_reconstruction(made(tmp_path, rows_of(room()), [SIZE, SIZE, SIZE, (240, 320), SIZE]))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((5, 16)), r"these are no poses, expected numbers \[V, 17\]"),
        (np.zeros(17), "these are no poses"),
        (np.zeros((5, 17), dtype="U3"), "these are no poses"),
        (np.zeros((5, 17), dtype=object), "cannot be read as NumPy"),
        (np.zeros((5, 17), dtype=complex), "these are no poses"),
        (np.zeros((5, 17)), "the size of a photo, expected height and width"),
        (np.full((5, 17), np.nan), "a pose that is not finite .row 0"),
        (np.full((5, 17), 1e300), "the size of a photo"),
        (np.zeros((4, 17)), "photos and poses differ in number.*expected 4 photos.*got 5"),
    ],
)
def test_refusals(tmp_path, rows, message):
    made(tmp_path, rows_of(room()))
    np.save(tmp_path / "poses_bounds.npy", rows)
    with pytest.raises(CaptureError, match=message):
        read_reconstruction(tmp_path)


@pytest.mark.parametrize("change", [lambda rows: 2 * rows, lambda rows: -rows], ids=["scaled", "mirrored"])
def test_poses_that_are_none(tmp_path, change):
    rows = rows_of(room())
    rows[:, [0, 1, 2, 5, 6, 7, 10, 11, 12]] = change(rows[:, [0, 1, 2, 5, 6, 7, 10, 11, 12]])
    with pytest.raises(CaptureError, match=r"the pose of IMG_0\.JPG is not a rigid motion"):
        read_reconstruction(made(tmp_path, rows))


def test_a_file_that_states_more_than_it_has(tmp_path):
    made(tmp_path, rows_of(room()))
    file = tmp_path / "poses_bounds.npy"
    file.write_bytes(file.read_bytes().replace(b"(5, 17), ", b"(5000000000000, 17), ", 1))
    with pytest.raises(CaptureError, match="cannot be read as NumPy"):
        read_reconstruction(tmp_path)
    np.savez(tmp_path / "poses.npz", np.zeros((5, 17)))
    (tmp_path / "poses.npz").rename(file)
    with pytest.raises(CaptureError, match=r"these are no poses.*got NpzFile"):
        read_reconstruction(tmp_path)


def test_where_it_is_not(tmp_path):
    assert not is_llff(tmp_path)
    with pytest.raises(CaptureError, match=r"no LLFF poses here, expected poses_bounds\.npy"):
        read_reconstruction(tmp_path, "llff")
    np.save(tmp_path / "poses_bounds.npy", rows_of(room()))
    with pytest.raises(CaptureError, match=r"no folder of photos.*--images"):
        read_reconstruction(tmp_path)


def test_any_damage_is_one_line(tmp_path):
    file = made(tmp_path, rows_of(room())) / "poses_bounds.npy"
    assert refuses_any_damage(file, lambda: read_reconstruction(tmp_path, "llff"), seed=5, tries=200) > 50
