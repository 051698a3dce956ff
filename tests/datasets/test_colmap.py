"""COLMAP folders: round trips, layouts, a real reconstruction, and everything that may be wrong with one."""

from __future__ import annotations

import dataclasses
import os
import random
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import make_lens
from unrender.datasets.clouds import PointCloud, write_ply
from unrender.datasets.colmap import write_colmap
from unrender.datasets.read_capture import read_capture
from unrender.datasets.reconstruction import Reconstruction
from unrender.errors import CaptureError
from unrender.images.exif import exif_bytes

pycolmap = pytest.importorskip("pycolmap")
CLOUD = PointCloud(torch.rand(30, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(8)))


def as_text(folder: Path) -> Path:
    """The small capture with a text model instead; returns the model's folder."""
    model = pycolmap.Reconstruction(folder / "sparse" / "0")
    shutil.rmtree(folder / "sparse")
    (folder / "sparse").mkdir()
    model.write_text(folder / "sparse")
    return folder / "sparse"


@pytest.mark.parametrize("binary", [False, True])
def test_what_is_written_is_read(
    small: Path, names: tuple[str, ...], cameras: Cameras, cloud: PointCloud, binary: bool
):
    shutil.rmtree(small / "sparse")
    write_colmap(small / "sparse", Reconstruction.of(names, cameras, cloud), binary=binary)
    capture = read_capture(small)
    assert capture.names == tuple(sorted(names))
    for view, name in enumerate(capture.names):
        original = names.index(name)
        pose, expected_pose = (c.camera_from_world[i] for c, i in ((capture.cameras, view), (cameras, original)))
        torch.testing.assert_close(pose, expected_pose, rtol=0, atol=1e-12)
        lens, expected = capture.cameras.lens(view), cameras.lens(original)
        assert (lens.model, lens.width, lens.height) == (expected.model, 48, 30)
        torch.testing.assert_close(lens.params, expected.params, rtol=1e-14, atol=0)
    torch.testing.assert_close(capture.points.positions, cloud.positions, rtol=1e-14, atol=0)
    torch.testing.assert_close(capture.points.colors, cloud.colors)


@pytest.mark.parametrize("model", ["sparse/0", "sparse", "dense/sparse", "."])
def test_layouts(small: Path, model: str):
    parts = small.parent / "parts"
    (small / "sparse" / "0").rename(parts)
    (small / "sparse").rmdir()
    shutil.copytree(parts, small / model, dirs_exist_ok=True)
    if model == "dense/sparse":
        (small / "images").rename(small / "dense" / "images")
    assert len(read_capture(small)) == 6


def test_the_model_folder_itself_will_do(small: Path):
    assert len(read_capture(small / "sparse" / "0")) == 6


def test_other_models_are_mentioned(small: Path):
    assert not any("separate models" in note for note in read_capture(small).notes)
    shutil.copytree(small / "sparse" / "0", small / "sparse" / "1")
    assert any("separate models 1" in note for note in read_capture(small).notes)


def test_files_of_the_time_before_rigs_are_read(small: Path):
    poses = read_capture(small).cameras.camera_from_world
    for part in ("rigs", "frames"):
        (small / "sparse" / "0" / f"{part}.bin").unlink()
    torch.testing.assert_close(read_capture(small).cameras.camera_from_world, poses, rtol=0, atol=1e-12)


def test_photos_may_lie_elsewhere(small: Path, tmp_path: Path):
    (small / "images").rename(tmp_path / "photos")
    assert read_capture(small, images=tmp_path / "photos").image_paths[0] == tmp_path / "photos" / "a.jpg"


def test_exposure_is_read_and_missing_stays_missing(small: Path):
    capture = read_capture(small)
    assert capture.exif_ev[:5].tolist() == pytest.approx([4.0] * 5)
    assert capture.exif_ev[5].isnan()
    assert "exposure missing in 1 photos: z.png" in capture.notes


@pytest.mark.parametrize("place", ["dense/fused.ply", "fused.ply", "dense/0/fused.ply"])
def test_the_dense_cloud_is_found(small: Path, place: str):
    (small / place).parent.mkdir(parents=True, exist_ok=True)
    write_ply(small / place, PointCloud(torch.ones(7, 3, dtype=torch.float64), None, torch.ones(7, 3)))
    capture = read_capture(small)
    assert len(capture.points) == 7
    assert capture.points.normals is not None
    assert any(place in note for note in capture.notes)


def test_a_given_cloud_goes_first_and_its_holes_are_dropped(small: Path, tmp_path: Path):
    write_ply(small / "fused.ply", PointCloud(torch.ones(7, 3, dtype=torch.float64)))
    write_ply(tmp_path / "mine.ply", PointCloud(torch.tensor([[0.0, 1, 2], [float("nan"), 0, 0]]).double()))
    capture = read_capture(small, points=tmp_path / "mine.ply")
    assert capture.points.positions.tolist() == [[0, 1, 2]]
    assert any("1 points without a finite position dropped" in note for note in capture.notes)


def test_windows_line_ends_are_read(small: Path, names: tuple[str, ...]):
    folder = as_text(small)
    for path in folder.glob("*.txt"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_capture(small).names == tuple(sorted(names))


def test_a_real_capture(plush: Path):
    capture = read_capture(plush)
    assert (len(capture), len(capture.points)) == (97, 25_784)
    assert capture.cameras.size == (1008, 1344)
    assert capture.test == tuple(range(0, 97, 8))
    assert float(capture.exif_ev.min()) == pytest.approx(3.93, abs=0.005)
    assert float(capture.exif_ev.max()) == pytest.approx(6.02, abs=0.005)
    assert capture.notes == ("25784 points from the sparse model",)


def test_points_have_the_colour_of_the_photos_that_saw_them(plush: Path):
    """The whole chain on real data. Shifted by six pixels the difference more than doubles: see SOURCE.txt."""
    capture = read_capture(plush)
    assert capture.points.colors is not None
    seen_by = [line.split() for line in (plush / "visibility.txt").read_text().splitlines() if line[0] != "#"]
    differences, shifted = [], []
    for view in (0, 24, 40, 68, 80):
        seen = torch.tensor([int(point) - 1 for point, *views in seen_by if str(view + 1) in views])
        projection, image = capture.cameras.project(view, capture.points.positions[seen]), capture.image(view)
        assert bool(projection.inside.all())
        for found, offset in ((differences, 0), (shifted, 6)):
            u, v = (projection.pixels.floor().long() + offset).clamp(min=0).unbind(-1)
            at_points = image[:, v.clamp(max=1007), u.clamp(max=1343)].T
            found.append((at_points - capture.points.colors[seen]).abs().mean(dim=1) * 255)
    assert float(torch.cat(differences).median()) < 12
    assert float(torch.cat(shifted).median()) > 1.5 * float(torch.cat(differences).median())


def replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Damage a text model: the first of some words."""

    def damage(folder: Path) -> None:
        path = as_text(folder) / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return damage


def overwrite(name: str, at: int, value: bytes) -> Callable[[Path], None]:
    """Damage a binary model."""

    def damage(folder: Path) -> None:
        path = folder / "sparse" / "0" / name
        content = bytearray(path.read_bytes())
        content[at : at + len(value)] = value
        path.write_bytes(content)

    return damage


def cut(name: str, keep: float) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "sparse" / "0" / name
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])

    return damage


def pose_of(name: str, quaternion: str) -> Callable[[Path], None]:
    """Damage a text model: another quaternion for an image."""

    def damage(folder: Path) -> None:
        path = as_text(folder) / "images.txt"
        pattern = rf"^(\d+) (?:\S+ ){{4}}(.*{re.escape(name)})$"
        path.write_text(re.sub(pattern, rf"\1 {quaternion} \2", path.read_text(), flags=re.MULTILINE))

    return damage


def without_rigs(damage: Callable[[Path], None]) -> Callable[[Path], None]:
    def both(folder: Path) -> None:
        damage(folder)
        for part in ("rigs", "frames"):
            for path in (folder / "sparse").rglob(f"{part}.*"):
                path.unlink()

    return both


def no_observation_lines(folder: Path) -> None:
    path = as_text(folder) / "images.txt"
    path.write_text(path.read_text().replace("\n\n", "\n"))


def photo_of_size(width: int, height: int) -> Callable[[Path], None]:
    return lambda folder: Image.new("RGB", (width, height)).save(folder / "images" / "a.jpg")


HUGE, NAN = struct.pack("<Q", 2**60), struct.pack("<d", float("nan"))
DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "capture: no such file or folder"),
    "empty folder": (lambda folder: [shutil.rmtree(folder), folder.mkdir()], "this folder is empty.*reconstruct"),
    "no model": (lambda folder: shutil.rmtree(folder / "sparse"), "no poses here.*COLMAP sparse model.*reconstruct"),
    "no images": (lambda folder: shutil.rmtree(folder / "images"), "no folder of photos.*--images"),
    "no photo": (
        lambda folder: [shutil.rmtree(folder / "images"), (folder / "images").mkdir()],
        "none of the model's 6 photos",
    ),
    "no points": (
        lambda folder: (folder / "sparse" / "0" / "points3D.bin").write_bytes(bytes(8)),
        "no points.*--points",
    ),
    "half photo": (photo_of_size(24, 15), r"a\.jpg.*expected 48 x 30.*got 24 x 15 .*photos are 1/2 of the size"),
    "name leads out": (replace("images.txt", " a.jpg", " ../a.jpg"), r"'\.\./a\.jpg' leads out"),
    "absolute name": (replace("images.txt", " a.jpg", " /etc/a.jpg"), "leads out"),
    "unknown model, text": (replace("cameras.txt", "OPENCV", "MAGIC"), "unknown camera model MAGIC.*SIMPLE_RADIAL"),
    "unknown model, binary": (overwrite("cameras.bin", 12, struct.pack("<i", 999)), "model 999.*SIMPLE_RADIAL"),
    "nan intrinsics, text": (replace("cameras.txt", " 24 ", " nan "), "line 4 is no camera.*4 finite parameters"),
    "nan intrinsics, binary": (overwrite("cameras.bin", 32, NAN), "camera 1.*finite.*nan"),
    "nan pose, binary": (without_rigs(overwrite("images.bin", 12, NAN)), "pose of .* is not a rigid motion"),
    "nan pose, text": (replace("images.txt", "\n1 ", "\n1 nan "), "line 5 is no image"),
    "zero quaternion, text": (without_rigs(pose_of("a.jpg", "0 0 0 0")), "pose of a.jpg is not.*unit quaternion"),
    "zero quaternion, binary": (without_rigs(overwrite("images.bin", 12, bytes(32))), "pose of .* unit quaternion"),
    "zero quaternion of a frame": (overwrite("frames.bin", 16, bytes(32)), "pose of .* unit quaternion"),
    "nan pose of a frame, binary": (overwrite("frames.bin", 16, NAN), "pose of .* is not a rigid motion"),
    "nan pose of a frame, text": (replace("frames.txt", "\n1 1 ", "\n1 1 nan "), "frames.txt: line 4 is no frame"),
    "focal length below zero, text": (replace("cameras.txt", " 40.123", " -0.123"), "focal length must be pos"),
    "zero focal length, binary": (overwrite("cameras.bin", 32, bytes(8)), "camera 1.*focal length must be positive"),
    "infinite intrinsics": (overwrite("cameras.bin", 40, struct.pack("<d", float("inf"))), "camera 1.*finite.*inf"),
    "no width, text": (replace("cameras.txt", " 48 30 ", " 0 30 "), "line 4 is no camera.*width and height"),
    "negative width": (replace("cameras.txt", " 48 30 ", " -48 30 "), "line 4 is no camera"),
    "no width, binary": (overwrite("cameras.bin", 16, bytes(8)), "photo size and focal length must be positive"),
    "one name twice": (replace("images.txt", " 1 a.jpg", " 1 b.jpg"), "2 images are named 'b.jpg'"),
    "lost image": (replace("images.txt", "\n1 ", "\n99 "), "COLMAP cannot read this model"),
    "lost camera": (replace("images.txt", " 1 a.jpg", " 9 a.jpg"), "'a.jpg' was taken with camera 9"),
    "no cameras": (lambda folder: (as_text(folder) / "cameras.txt").write_text("# none\n"), "no cameras"),
    "not UTF-8": (lambda folder: (as_text(folder) / "images.txt").write_bytes(b"\xff\xfe\n"), "not UTF-8"),
    "no observation lines": (no_observation_lines, "images.txt: line 6 is no list of observations"),
    "nan point, text": (replace("points3D.txt", "\n1 ", "\n1 nan "), "line 4 is no point"),
    "nan point, binary": (overwrite("points3D.bin", 16, NAN), "position of point 1 is not finite.*reconstruct"),
    "a word in a point": (replace("points3D.txt", "\n2 ", "\n2 two "), "points3D.txt: line 5 is no point"),
    "a point cut short": (replace("points3D.txt", "\n2 ", "\n2 0.5 0.5 0.5\n3 "), "points3D.txt: line 5 is no point"),
    "half a track": (replace("points3D.txt", "\n2 ", "\n2 0 0 0 1 2 3 0 1\n99 "), "line 5 is no point"),
    "one point twice": (replace("points3D.txt", "\n2 ", "\n1 "), "line 5 has the id of another point"),
    "no points, text": (
        lambda folder: (as_text(folder) / "points3D.txt").write_text(""),
        "no points in this reconstr",
    ),
    "no points file": (lambda folder: (folder / "sparse/0/points3D.bin").unlink(), "no poses here that unrender knows"),
    "rigs lost": (lambda folder: (folder / "sparse/0/rigs.bin").unlink(), "COLMAP cannot read this model"),
    "huge name": (overwrite("images.bin", 72, b"x" * 10_000), r"images\.bin.*does not end"),
    "huge observations": (overwrite("images.bin", 78, HUGE), r"images\.bin.*does not end where its counts say"),
    "huge track": (overwrite("points3D.bin", 51, HUGE), r"points3D\.bin.*does not end where its counts say"),
    **{
        f"{kind} {part}": (damage, rf"{part}\.bin.*this model file")
        for part in ("cameras", "images", "points3D", "rigs", "frames")
        for kind, damage in {
            "cut": cut(f"{part}.bin", 0.6),
            "empty": cut(f"{part}.bin", 0),
            "huge": overwrite(f"{part}.bin", 0, HUGE),
        }.items()
    },
}


@pytest.mark.parametrize("what", list(DAMAGES))
def test_bad_input_is_refused_in_one_line(small: Path, what: str, capfd: pytest.CaptureFixture[str]):
    damage, says = DAMAGES[what]
    damage(small)
    with pytest.raises(CaptureError, match=says) as refusal:
        read_capture(small)
    assert "\n" not in str(refusal.value)
    assert str(small) in str(refusal.value)
    assert capfd.readouterr() == ("", "")


def test_a_cloud_that_is_nowhere_is_refused(small: Path):
    write_ply(small / "fused.ply", PointCloud(torch.full((5, 3), float("nan")).double()))
    with pytest.raises(CaptureError, match=r"fused\.ply: none of the 5 points has a finite position"):
        read_capture(small)


FOUR = [40.0, 41, 24, 15]
LENSES = {
    "FULL_OPENCV": [*FOUR, 0.1, 0.01, 0.001, 0.002, 0.01, 0.02, 0.03, 0.04],
    "OPENCV_FISHEYE": [*FOUR, 0.1, 0.01, 0.001, 0.0001],
    "RAD_TAN_THIN_PRISM_FISHEYE": [*FOUR, *[0.01] * 12],
    "FOV": [*FOUR, 0.9],
    "EUCM": [*FOUR, 0.6, 1.1],
    "SIMPLE_DIVISION": [40.0, 24, 15, -0.1],
    "EQUIRECTANGULAR": [48.0, 30],
}


@pytest.mark.parametrize("model", LENSES)
def test_every_lens_is_written_and_read(small: Path, names: tuple[str, ...], cameras: Cameras, model: str):
    lens = make_lens(model, 48, 30, LENSES[model])
    given = Reconstruction.of(names, dataclasses.replace(cameras, lenses=(lens, lens)), CLOUD)
    write_colmap(small / "sparse" / "0", given, binary=True)
    for found in read_capture(small).cameras.lenses:
        assert (found.model, found.params.tolist()) == (model, LENSES[model])


def test_a_lens_that_colmap_lacks_is_not_written(tmp_path: Path, names: tuple[str, ...], cameras: Cameras):
    lens = make_lens("OCAM", 48, 30, [1, 0, 0, 15, 24, 23.56, 15])
    with pytest.raises(CaptureError, match="COLMAP has no lens OCAM"):
        write_colmap(tmp_path, Reconstruction.of(names, dataclasses.replace(cameras, lenses=(lens, lens)), CLOUD))
    assert not list(tmp_path.iterdir())


def test_numbers_of_no_lens_are_refused(small: Path):
    path = as_text(small) / "cameras.txt"
    lines = [line for line in path.read_text().splitlines() if "SIMPLE_RADIAL" not in line]
    path.write_text("\n".join([*lines, "1 EUCM 48 30 40 40 24 15 1.5 1", ""]))
    with pytest.raises(CaptureError, match=r"camera 1: EUCM: alpha out of range, expected 0 to 1, got 1\.5"):
        read_capture(small)


def test_a_camera_that_no_image_uses_may_be_anything(small: Path):
    path = as_text(small) / "cameras.txt"
    path.write_text(path.read_text() + "7 FOV 48 30 0 0 0 0 0\n")
    assert len(read_capture(small).cameras.lenses) == 2


def test_the_budget_is_that_of_the_capture(small: Path):
    assert read_capture(small).store.budget == 2**30
    capture = read_capture(small, budget=2 * 48 * 30 * 3)
    for view in range(6):
        capture.image(view)
        assert 0 < capture.store.used <= 2 * 48 * 30 * 3
    assert capture.at_width(20).store.budget == capture.budget


def test_damage_anywhere_is_read_or_refused_but_never_crashes(small: Path):
    """Seeded: each file of either kind of model, and a photo, with bytes changed, put in, taken out or cut off."""
    generator, refused = random.Random(0), []
    for binary in (True, False):
        model = small / "sparse" / "0" if binary else as_text(small)
        for path in [*sorted(model.iterdir()), small / "images" / "a.jpg"]:
            whole = path.read_bytes()
            for _ in range(25):
                path.write_bytes(spoilt(whole, generator))
                try:
                    capture = read_capture(small)
                    capture.image(0)
                    assert capture.points.positions.isfinite().all()
                    assert capture.cameras.camera_from_world.isfinite().all()
                except CaptureError as refusal:
                    refused.append(str(refusal))
            path.write_bytes(whole)
    assert len(refused) > 150
    assert not any("\n" in line for line in refused)


def spoilt(content: bytes, generator: random.Random) -> bytes:
    """One accident."""
    at = generator.randrange(len(content))
    before, after = content[:at], content[at:]
    words = (b" nan ", b" -1 ", b" 0 ", b" 99999999999999999999 ", NAN, HUGE, bytes(8), b"\xff", b"\n")
    accidents = (before, before + after[40:], before + generator.choice(words) + after)
    return generator.choice((*accidents, before + generator.choice(words) + after[8:], generator.randbytes(50)))


def test_a_held_out_view_neither_anchors_nor_shifts_the_exposure(small: Path):
    def start_of_the_photo_without_exif(ev_of_test: float) -> float:
        path = small / "images" / "a.jpg"
        Image.new("RGB", (48, 30)).save(path, exif=exif_bytes(1, 2**-ev_of_test, 100))
        sensor = read_capture(small, test_names=["a.jpg"]).cameras.sensor
        return float(sensor.exposure[5])

    assert start_of_the_photo_without_exif(0) == pytest.approx(start_of_the_photo_without_exif(9))


def test_reading_leaves_our_signal_handlers_in_place(tiny_capture):
    """pycolmap installs its own in C, which would end a fit with a stack instead of a checkpoint."""
    program = (
        "import os, signal, sys; from pathlib import Path; from unrender.datasets.read_capture import read_capture\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "read_capture(Path(sys.argv[1])); os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-c", program, str(tiny_capture)]
    assert subprocess.run(command, env=environment, check=False).returncode == 7
