"""ADOP and TRIPS scenes: what colmap2adop writes, there and back again, and everything that is refused.

``positions_in_adop`` projects as the program does, from its own description (darglein/ADOP 3c233ec, saiga's
Distortion.h and OCam.h), and reads the files by itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictured import NAMES, assert_same_cameras, before, reconstruction_with, refuses_all_damage
from PIL import Image

from unrender.datasets.adop import adop_losses, is_adop, read_adop, write_adop
from unrender.datasets.clouds import write_ply
from unrender.datasets.formats import find_format, read_reconstruction, write_reconstruction
from unrender.datasets.reconstruction import Reconstruction
from unrender.errors import CaptureError

BROWN = ("PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV")


def values(path: Path, name: str) -> list[float]:
    """The numbers of one line of an ini file."""
    line = next(line for line in path.read_text().splitlines() if line.startswith(f"{name} ="))
    return [float(word) for word in line.split("=", 1)[1].split()]


def positions_in_adop(folder: Path, view: int, world: np.ndarray) -> np.ndarray:
    """Where the program images points of the world [N, 3]: its pixel coordinates [N, 2], point by point."""
    qx, qy, qz, qw, *center = map(float, (folder / "poses.txt").read_text().splitlines()[view].split())
    camera = folder / f"camera{(folder / 'camera_indices.txt').read_text().split()[view]}.ini"
    ocam = bool(values(camera, "poly_cam2world"))
    places = []
    for point in world:
        x, y, z = turned_back((qw, qx, qy, qz), point - np.array(center))
        places.append(ocam_pixel(camera, x, y, z) if ocam else pinhole_pixel(camera, x / z, y / z))
    return np.array(places)


def turned_back(q: tuple[float, ...], v: np.ndarray) -> np.ndarray:
    """The inverse of the Hamilton rotation v -> q v q*."""
    w, axis = q[0], -np.array(q[1:])
    return v + 2 * np.cross(axis, np.cross(axis, v) + w * v)


def pinhole_pixel(camera: Path, x: float, y: float) -> tuple[float, float]:
    fx, fy, cx, cy, skew = values(camera, "K")
    k1, k2, k3, k4, k5, k6, p1, p2 = values(camera, "distortion")
    r2 = x * x + y * y
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    u = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return fx * u + skew * v + cx, fy * v + cy


def ocam_pixel(camera: Path, x: float, y: float, z: float) -> tuple[float, float]:
    """Rows first, z backwards, and half a pixel, because ADOP's first pixel has its centre at 0."""
    c, d, e, cx, cy = values(camera, "op")
    row, column, backwards = y, x, -z
    norm = math.hypot(row, column)
    theta = math.atan(backwards / norm)
    rho = sum(a * theta**order for order, a in enumerate(values(camera, "poly_world2cam")))
    row, column = row / norm * rho, column / norm * rho
    return e * row + column + cy + 0.5, c * row + d * column + cx + 0.5


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A good scene of five photos."""
    write_reconstruction(tmp_path / "scene", reconstruction_with("RADIAL", "OPENCV"), "adop")
    return tmp_path / "scene"


@given(models=st.lists(st.sampled_from(BROWN), min_size=1, max_size=3), seed=st.integers(0, 999))
@settings(max_examples=25)
def test_there_and_back(models: list[str], seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("adop")
    there = reconstruction_with(*models, seed=seed)
    write_adop(folder, there)
    back = read_adop(folder).check(folder)
    assert_same_cameras(back, there)
    assert [lens.model for lens in back.lenses] == models
    for lens, other in zip(back.lenses, there.lenses, strict=True):
        torch.testing.assert_close(lens.params, other.params, rtol=0, atol=0)
    torch.testing.assert_close(back.points.positions, there.points.positions, rtol=0, atol=0)
    torch.testing.assert_close(back.points.colors, there.points.colors, rtol=0, atol=0)
    assert back.points.normals is None
    assert back.exif_ev is None
    assert back.masks is None


@pytest.mark.parametrize("model", [*BROWN, "SIMPLE_PINHOLE", "OCAM"])
def test_pixels_are_where_adop_has_them(model: str, tmp_path: Path) -> None:
    there = reconstruction_with(model, seed=4)
    write_adop(tmp_path, there)
    for view in (0, 3):
        world, pixels = before(there, view)
        np.testing.assert_allclose(positions_in_adop(tmp_path, view, world.numpy()), pixels, atol=1e-6)


def test_the_way_back_of_ocam_leads_back(tmp_path: Path) -> None:
    """poly_cam2world, evaluated as saiga's OCam does: z over the radius is the tangent of the angle above the lens."""
    write_adop(tmp_path, reconstruction_with("OCAM"))
    inwards = np.polynomial.Polynomial(values(tmp_path / "camera0.ini", "poly_world2cam"))
    outwards = np.polynomial.Polynomial(values(tmp_path / "camera0.ini", "poly_cam2world"))
    radii = inwards(np.linspace(-1.5, 0, 30))
    np.testing.assert_allclose(inwards(np.arctan(outwards(radii) / radii)), radii, atol=0.1)


def test_ocam_beside_pinhole_is_for_trips(tmp_path: Path) -> None:
    mixed = reconstruction_with("OCAM", "RADIAL")
    with pytest.raises(CaptureError, match="cannot hold 1 OCAM cameras beside others"):
        write_reconstruction(tmp_path / "a", mixed, "adop")
    write_reconstruction(tmp_path / "a", mixed, "adop", lossy=True)
    spoil(tmp_path / "a" / "dataset.ini", "camera_type_int = 0\n", "")  # as TRIPS writes it
    assert_same_cameras(read_adop(tmp_path / "a"), mixed)
    assert adop_losses(reconstruction_with("OCAM")) == ()
    write_reconstruction(tmp_path / "b", reconstruction_with("OCAM"), "adop")
    assert "camera_type_int = 1" in (tmp_path / "b" / "dataset.ini").read_text()


def test_what_colmap2adop_writes(small: Path, tmp_path: Path) -> None:
    """The same cameras as the COLMAP model that it was made from; written here in the style of that program."""
    model = read_reconstruction(small, "colmap")
    folder = tmp_path / "scenes" / "small"
    (folder / "images").mkdir(parents=True)
    settings_ = ["[SceneDatasetParams]", "file_model = ", "image_dir = scenes/small/images/", "mask_dir = not set"]
    settings_ += ["camera_files = camera0.ini camera1.ini", "file_point_cloud = point_cloud.ply", "camera_type_int = 0"]
    settings_ += ["znear = 0.1", "zfar = 1000", "scene_exposure_value = 2.5", "up_vector = 0 -1 0"]
    (folder / "dataset.ini").write_text("\ufeff" + "\r\n".join(settings_) + "\r\n", encoding="utf-8")
    for number, lens in enumerate(model.lenses):
        (folder / f"camera{number}.ini").write_text(colmap2adop_camera(lens.model, lens.params.tolist()))
    world_from_camera = torch.linalg.inv(model.camera_from_world).numpy()
    lines = [" ".join(f"{value:.15e}" for value in quaternion_and_center(pose)) for pose in world_from_camera]
    (folder / "poses.txt").write_text("\n".join(lines) + "\n")
    (folder / "images.txt").write_text("\n".join(model.names) + "\n", encoding="utf-8")
    (folder / "camera_indices.txt").write_text("\n".join(map(str, model.camera_index.tolist())) + "\n")
    (folder / "masks.txt").write_text("\n" * len(model))
    (folder / "exposure.txt").write_text("4.0e+00\n" * 5 + "0.000000000000000e+00\n")
    (folder / "white_balance.txt").write_text("1 1 1\n" * 5 + "1.1 1 0.9\n")
    write_ply(folder / "point_cloud.ply", model.points)
    assert find_format(folder) == ("adop", ())
    back = read_reconstruction(folder)
    assert back.image_folder == folder / "images"
    assert back.masks is None
    for view in range(len(model)):
        world, pixels = before_small(model, view)
        lens = back.lens_of_view[view]
        there = world @ back.camera_from_world[view, :3, :3].T + back.camera_from_world[view, :3, 3]
        torch.testing.assert_close(lens.project(there)[0], pixels, rtol=0, atol=1e-6)
    assert back.exif_ev is not None
    assert back.exif_ev[:5].tolist() == [4.0] * 5
    assert math.isnan(back.exif_ev[5])
    assert [note.split()[0] for note in back.notes] == ["1", "white"]


def before_small(model: Reconstruction, view: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of the world before a view of the small capture, and their pixels."""
    lens = model.lens_of_view[view]
    places = lens.unproject(torch.tensor([[0.5, 0.5], [24, 15], [47.5, 29.5], [3, 28]], dtype=torch.float64))
    rotation, shift = model.camera_from_world[view, :3].split((3, 1), dim=1)
    return (places - shift.T) @ rotation, lens.project(places)[0]


def colmap2adop_camera(model: str, params: list[float]) -> str:
    """A camera file as the program writes it: COLMAP's K unshifted, comments above, 15 digits."""
    if model == "SIMPLE_RADIAL":
        f, cx, cy, k = params
        k_matrix, distortion = [f, f, cx, cy, 0], [k, 0, 0, 0, 0, 0, 0, 0]
    else:
        fx, fy, cx, cy, k1, k2, p1, p2 = params
        k_matrix, distortion = [fx, fy, cx, cy, 0], [k1, k2, 0, 0, 0, 0, p1, p2]
    lists = {"# fx fy cx cy s\nK": k_matrix, "# 8 paramter distortion model. see distortion.h\ndistortion": distortion}
    lines = [f"{name} = {' '.join(f'{value:.15e}' for value in row)}" for name, row in lists.items()]
    empty = "# c d e cx cy\nop = 1 0 0 0 0\n# \npoly_world2cam = \n# \npoly_cam2world = \nocam_cutoff = 1\n"
    return "[SceneCameraParams]\nw = 48\nh = 30\n" + "\n".join(lines) + "\n" + empty


def quaternion_and_center(pose: np.ndarray) -> list[float]:
    """x y z w by the eigenvector of Bar-Itzhack's matrix, and the translation."""
    r = pose[:3, :3]
    k = np.array(
        [
            [r[0, 0] - r[1, 1] - r[2, 2], r[1, 0] + r[0, 1], r[2, 0] + r[0, 2], r[2, 1] - r[1, 2]],
            [r[1, 0] + r[0, 1], r[1, 1] - r[0, 0] - r[2, 2], r[2, 1] + r[1, 2], r[0, 2] - r[2, 0]],
            [r[2, 0] + r[0, 2], r[2, 1] + r[1, 2], r[2, 2] - r[0, 0] - r[1, 1], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], r[0, 0] + r[1, 1] + r[2, 2]],
        ]
    )
    return [*np.linalg.eigh(k)[1][:, -1], *pose[:3, 3]]


def test_survey_coordinates_keep_their_digits(tmp_path: Path) -> None:
    there = reconstruction_with("OPENCV", far=4_567_890.125)
    write_adop(tmp_path, there)
    back = read_adop(tmp_path)
    centers = [-(p[:, :3, :3].mT @ p[:, :3, 3:])[..., 0] for p in (back.camera_from_world, there.camera_from_world)]
    torch.testing.assert_close(*centers, rtol=0, atol=1e-8)
    assert torch.equal(back.points.positions, there.points.positions)


def test_exposures_and_masks_come_back(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    Image.new("L", (640, 480), 255).save(tmp_path / "m" / "one.png")
    stops = torch.tensor([3.0, math.nan, 5.5, 6.5, 5.0], dtype=torch.float64)
    masks = (None, None, tmp_path / "m" / "one.png", None, None)
    write_adop(tmp_path, replace(reconstruction_with("RADIAL"), exif_ev=stops, masks=masks))
    back = read_adop(tmp_path)
    assert back.exif_ev is not None
    assert back.exif_ev.tolist() == [3.0, 5.0, 5.5, 6.5, 5.0]
    assert "scene_exposure_value = 5.0" in (tmp_path / "dataset.ini").read_text()
    copied = tmp_path / "masks" / f"{NAMES[2]}.png"
    assert back.masks == (None, None, copied, None, None)
    assert copied.read_bytes() == (tmp_path / "m" / "one.png").read_bytes()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0\n" * 5, None),
        ("-1\n0\n1\n0.5\n0\n", [-1, 0, 1, 0.5, 0]),  # relative stops: 0 is one of them
        ("10\n0\n11\n12\n13\n", [10, None, 11, 12, 13]),
    ],
)
def test_an_exposure_of_zero(text: str, expected: list[float | None] | None, scene: Path) -> None:
    (scene / "exposure.txt").write_text(text)
    found = read_adop(scene).exif_ev
    known = None if found is None else [None if math.isnan(value) else value for value in found.tolist()]
    assert known == expected


def test_points_where_the_cloud_is_elsewhere(scene: Path) -> None:
    cloud = (scene / "point_cloud.ply").rename(scene / "point_cloud_initial_preprocess.ply")
    assert len(read_adop(scene).points) == 20
    cloud.unlink()
    (scene / "point_cloud.bin").write_bytes(b"saiga")
    found = read_adop(scene)
    assert len(found.points) == 0
    assert "only point_cloud.bin, which is ADOP's own" in found.notes[0]
    assert "--points" in found.notes[0]


def test_a_scene_of_one_camera_needs_no_indices(tmp_path: Path) -> None:
    write_adop(tmp_path, reconstruction_with("RADIAL"))
    (tmp_path / "camera_indices.txt").unlink()
    assert read_adop(tmp_path).camera_index.tolist() == [0] * 5


def test_cameras_of_no_photo_are_left_out(scene: Path) -> None:
    (scene / "camera_indices.txt").write_text("1\n" * 5)
    found = read_adop(scene)
    assert ([lens.model for lens in found.lenses], found.camera_index.tolist()) == (["OPENCV"], [0] * 5)


@pytest.mark.parametrize(
    ("written", "where"),
    [("../../etc", "etc"), ("/abs/photos/", "photos"), ("scenes/x/left\\right", "left/right"), ("", "images")],
)
def test_photos_are_looked_for_in_the_scene(written: str, where: str, scene: Path) -> None:
    (scene / "left" / "right").mkdir(parents=True)
    replace_line(scene / "dataset.ini", "image_dir", f"image_dir = {written}")
    assert read_adop(scene).image_folder == scene / where
    assert read_adop(scene, images=Path("x")).image_folder == Path("x")


def spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def replace_line(path: Path, name: str, line: str) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(line if old.startswith(name) else old for old in lines) + "\n", encoding="utf-8")


def line(file: str, name: str, text: str) -> Callable[[Path], object]:
    return lambda scene: replace_line(scene / file, name, text)


def wrote(file: str, text: str) -> Callable[[Path], object]:
    return lambda scene: (scene / file).write_bytes(text.encode("latin-1"))


REFUSED = [
    (line("camera0.ini", "K", "K = 500 500 320 240 0.5"), r"camera0.ini: K has a skew, .* expected 0, got 0.5"),
    (line("camera0.ini", "K", "K = 500 500 320 240"), "K in .SceneCameraParams., expected 5 finite numbers"),
    (line("camera0.ini", "K", "K = nan 500 320 240 0"), "expected 5 finite numbers"),
    (line("camera0.ini", "K", "K = -5 500 320 240 0"), "camera0.ini: .*focal length must be positive"),
    (line("camera0.ini", "distortion", "distortion = 1 2 3"), "expected 8 finite numbers"),
    (line("camera0.ini", "w", "w = 0"), "photo size, expected positive"),
    (line("camera0.ini", "w", "w = many"), "expected a whole number, got 'many'"),
    (line("camera0.ini", "[", "[Other]"), r"no section \[SceneCameraParams\]"),
    (line("camera0.ini", "[", "w = 4"), "this is no ini file"),
    (line("camera0.ini", "poly_world2cam", "poly_world2cam = 1"), "2 to 64 coefficients"),
    (line("dataset.ini", "camera_files", "camera_files = ../up.ini"), r"'../up.ini' leads out of the scene"),
    (line("dataset.ini", "camera_files", "camera_files = none.ini"), "none.ini: no such file"),
    (line("dataset.ini", "camera_type_int", "camera_type_int = 2"), "cameras of type spherical"),
    (line("dataset.ini", "camera_type_int", "camera_type_int = 77"), "cameras of type 77"),
    (line("dataset.ini", "camera_type_int", "camera_type_int = 1"), "poly_world2cam .*2 to 64 coefficients"),
    (wrote("dataset.ini", "[SceneDatasetParams]\nx = \xff\xfe"), "not UTF-8"),
    (wrote("poses.txt", "0 0 0 1 0 0 0\n" * 4), "poses.txt: 4 lines, expected 5, one for each line of images.txt"),
    (wrote("poses.txt", "0 0 0 1 0 0 0\n" * 4 + "0 0 0 2 0 0 0\n"), "line 5, expected a unit quaternion .* length 2"),
    (wrote("poses.txt", "0 0 0 0 0 0 0\n" * 5), "line 1, expected a unit quaternion .* length 0"),
    (wrote("poses.txt", "0 0 0 1 0 inf 0\n" * 5), "line 1, expected 7 finite numbers"),
    (wrote("poses.txt", "0 0 0 1 0 1e300 0\n" * 5), "is not a rigid motion"),
    (wrote("poses.txt", "0 0 0 1 0 0\n" * 5), "line 1, expected 7 finite numbers"),
    (wrote("camera_indices.txt", "0\n" * 6), "6 lines, expected 5"),
    (wrote("camera_indices.txt", "0\n0\n2\n0\n0\n"), "line 3, expected a camera from 0 to 1, got 2"),
    (wrote("camera_indices.txt", "0\n-1\n0\n0\n0\n"), "line 2, expected the number of a camera, got -1"),
    (wrote("camera_indices.txt", "0\n1e3\n0\n0\n0\n"), "line 2, expected the number of a camera"),
    (wrote("exposure.txt", "1\n2\n"), "exposure.txt: 2 lines, expected 5"),
    (wrote("exposure.txt", "1\n2\n3\nfour\n5\n"), "line 4, expected a finite number, got four"),
    (wrote("white_balance.txt", "1 1\n" * 5), "line 1, expected 3 finite numbers"),
    (wrote("masks.txt", "a.png\n"), "masks.txt: 1 lines, expected 5"),
    (wrote("masks.txt", "a.png\n\n\n../b.png\n\n"), "line 4, expected a name in the folder of masks"),
    (wrote("images.txt", "a\nb\n../c\nd\ne\n"), "'../c' leads out of its folder"),
    (wrote("images.txt", "a\nb\na\nd\ne\n"), "2 images are named 'a'"),
    (wrote("images.txt", "\n"), "5 lines, expected 0"),
    (lambda scene: (scene / "poses.txt").unlink(), "poses.txt: no such file"),
    (lambda scene: (scene / "camera0.ini").write_bytes(bytes(2 << 20)), "more than 1048576 bytes"),
]


@pytest.mark.parametrize(("change", "said"), REFUSED)
def test_refused_in_one_line(change: Callable[[Path], object], said: str, scene: Path) -> None:
    change(scene)
    with pytest.raises(CaptureError, match=said) as caught:
        read_reconstruction(scene, "adop")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["dataset.ini", "camera1.ini", "images.txt", "poses.txt", "camera_indices.txt"])
def test_any_bytes_end_in_one_line(name: str, scene: Path) -> None:
    pieces = (b"", b"\0", b"\n", b"nan ", b"-1", b"[DEFAULT]\n", b"%(w)s", b" = ", b"1e999 ", b"../")
    refuses_all_damage(scene / name, lambda: read_reconstruction(scene, "adop"), pieces=pieces)


def test_a_quaternion_of_nearly_unit_length_is_made_one(scene: Path) -> None:
    (scene / "poses.txt").write_text("0.0002 0 0 1.0002 1 2 3\n" * 5)
    found = read_reconstruction(scene)
    assert torch.linalg.det(found.camera_from_world[0]).item() == pytest.approx(1, abs=1e-12)


def test_names_with_line_breaks_cannot_go_out(tmp_path: Path) -> None:
    odd = replace(reconstruction_with("RADIAL"), names=("a\nb", *NAMES[1:]))
    with pytest.raises(CaptureError, match="a line break in a photo's name"):
        write_adop(tmp_path, odd)


def test_what_is_no_scene(tmp_path: Path) -> None:
    assert not is_adop(tmp_path)
    assert not is_adop(tmp_path / "absent")
    assert not is_adop(Path("a\0b"))
