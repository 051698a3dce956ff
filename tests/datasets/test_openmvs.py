"""OpenMVS scenes: files laid out field by field from the published header (libs/MVS/Interface.h of cdcseacave/openMVS
ce03889), there and back again, and everything that is refused.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictured import assert_same_cameras, observed, reconstruction_with, refuses_all_damage
from PIL import Image

from unrender.datasets.formats import find_format, read_reconstruction, write_reconstruction
from unrender.datasets.openmvs import is_openmvs, openmvs_losses, read_openmvs, write_openmvs
from unrender.errors import CaptureError

NO_ID = 0xFFFFFFFF
K = [500.0, 0.0, 319.25, 0.0, 510.0, 240.5, 0.0, 0.0, 1.0]
TURN = [0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]
TILT = [1.0, 0.0, 0.0, 0.0, 0.8, -0.6, 0.0, 0.6, 0.8]


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def listed(*entries: bytes) -> bytes:
    return struct.pack("<Q", len(entries)) + b"".join(entries)


def doubles(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}d", *numbers)


@dataclass
class File:
    """A scene of one platform with one camera at two poses; three images, the last without a pose."""

    version: int = 7
    k: list[float] = field(default_factory=lambda: list(K))
    size: tuple[int, int] = (640, 480)
    names: tuple[str, str, str] = ("images/a.jpg", "images/b.jpg", "images/lost.jpg")
    numbers: tuple[int, int, int] = (7, 9, 11)
    camera: int = 0
    pose: int = 1
    colors: int = 2
    transform: tuple[float, ...] = tuple(np.eye(4).ravel())

    def platform(self) -> bytes:
        """Mounted turned, off the middle of the platform; at (1, 2, 3) and, tilted, at (4, 5, 6)."""
        band = text("RGB") if self.version > 3 else b""
        size = struct.pack("<II", *self.size) if self.version > 0 else b""
        camera = text("camera") + band + size + doubles(*self.k, *TURN, 0.5, 0.25, -0.125)
        poses = [doubles(*np.eye(3).ravel(), 1, 2, 3), doubles(*TILT, 4, 5, 6)]
        return text("platform") + listed(camera) + listed(*poses)

    def image(self, name: str, pose: int, number: int) -> bytes:
        mask = text("") if self.version > 4 else b""
        numbers = struct.pack("<III", 0, self.camera, pose)
        more = struct.pack("<I", number) if self.version > 2 else b""
        scores = listed(struct.pack("<IIffff", 1, 10, 1, 1, 1, 1))
        depths = struct.pack("<fff", 1, 2, 3) + scores if self.version > 6 else b""
        return text(name) + mask + numbers + more + depths

    def packed(self) -> bytes:
        views = listed(struct.pack("<If", 0, 0.5), struct.pack("<If", 1, 0))
        points = [struct.pack("<fff", *place) + views for place in ((1, 2, 30), (-4, 5.5, 60))]
        normals = [struct.pack("<fff", 0, 0, -1), struct.pack("<fff", 0, 1, 0)]
        poses = (0, self.pose, NO_ID)
        images = [self.image(*row) for row in zip(self.names, poses, self.numbers, strict=True)]
        parts = [b"MVSI", struct.pack("<II", self.version, 0), listed(self.platform()), listed(*images)]
        parts += [listed(*points), listed(*normals), listed(*[bytes((255, 128, 0))] * self.colors)]
        lines = [listed(struct.pack("<6f", *range(6)) + views), listed(), listed()]
        parts += [*lines, *([doubles(*self.transform)] if self.version > 1 else [])]
        return b"".join([*parts, *([doubles(*[0.0] * 15)] if self.version > 5 else [])])


def written(folder: Path, file: File) -> Path:
    (folder / "scene.mvs").write_bytes(file.packed())
    return folder


def pixel_in_openmvs(pose: int, place: np.ndarray) -> np.ndarray:
    """Platform, then camera, each R (X - C), then K; pixels have the first one's centre at 0, ours at 0.5."""
    platform, center = ((np.eye(3), [1, 2, 3]), (np.array(TILT).reshape(3, 3), [4, 5, 6]))[pose]
    on_platform = platform @ (place - np.array(center))
    x, y, z = np.array(TURN).reshape(3, 3) @ (on_platform - np.array([0.5, 0.25, -0.125]))
    return np.array([K[0] * x / z + K[2] + 0.5, K[4] * y / z + K[5] + 0.5])


@pytest.mark.parametrize("version", range(1, 8))
def test_every_version(version: int, tmp_path: Path) -> None:
    found = read_reconstruction(written(tmp_path, File(version)))
    assert find_format(tmp_path) == ("openmvs", ())
    assert (found.names, found.image_folder) == (("a.jpg", "b.jpg"), tmp_path / "images")
    assert [lens.model for lens in found.lenses] == ["PINHOLE"]
    assert found.numbers.images.tolist() == ([7, 9] if version > 2 else [1, 2])
    assert found.points.positions.tolist() == [[1, 2, 30], [-4, 5.5, 60]]
    assert found.points.colors is not None
    assert found.points.normals is not None
    assert (found.points.colors * 255).tolist() == [[0, 128, 255]] * 2
    assert found.points.normals.tolist() == [[0, 0, -1], [0, 1, 0]]
    for view, place in ((view, place) for view in (0, 1) for place in found.points.positions):
        pose = found.camera_from_world[view]
        pixel = found.lens_of_view[view].project((pose[:3, :3] @ place + pose[:3, 3])[None])[0][0]
        np.testing.assert_allclose(pixel, pixel_in_openmvs(view, place.numpy()), atol=1e-6)
    assert found.notes == ("1 photos without a pose left out",)


@pytest.mark.parametrize(
    ("cx", "cy"),
    [
        ((319.25 + 0.5) / 640 - 0.5, (240.5 + 0.5) / 640 - 0.5),  # as OpenMVS scales
        (319.25 / 640, 240.5 / 640),  # as others divide
    ],
)
def test_normalised_intrinsics_take_the_size_of_the_photo(cx: float, cy: float, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (640, 480)).save(tmp_path / "images" / f"{name}.jpg")
    k = [500 / 640, 0, cx, 0, 510 / 640, cy, 0, 0, 1]
    (lens,) = read_openmvs(written(tmp_path, File(k=k, size=(0, 0)))).lenses
    torch.testing.assert_close(lens.params, lens.params.new_tensor([500, 510, 319.75, 241.0]), rtol=0, atol=1e-9)
    (lens,) = read_openmvs(written(tmp_path, File(k=[0.8, 0, 0, 0, 0.8, 0, 0, 0, 1], size=(0, 0)))).lenses
    assert lens.params.tolist() == [512, 512, 320, 240]
    (tmp_path / "images" / "b.jpg").unlink()
    with pytest.raises(CaptureError, match=r"b\.jpg"):
        read_openmvs(written(tmp_path, File(k=k, size=(0, 0))))


@given(models=st.lists(st.sampled_from(("PINHOLE",)), min_size=1, max_size=3), seed=st.integers(0, 999))
@settings(max_examples=15)
def test_there_and_back(models: list[str], seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("openmvs")
    there = observed(reconstruction_with(*models, seed=seed))
    write_openmvs(folder, there)
    back = read_openmvs(folder).check(folder)
    assert_same_cameras(back, there)
    assert back.image_folder == folder / "images"
    assert torch.equal(back.points.positions, there.points.positions.float().double())
    torch.testing.assert_close(back.points.colors, there.points.colors)
    assert back.numbers.images.tolist() == [1, 2, 3, 4, 5]


def test_the_images_that_saw_a_point_go_out(tmp_path: Path) -> None:
    write_openmvs(tmp_path, observed(reconstruction_with("PINHOLE")))
    seen = struct.pack("<Q", 3) + b"".join(struct.pack("<If", view, 0) for view in (0, 1, 4))
    assert (tmp_path / "scene.mvs").read_bytes().count(seen) == 20


def test_a_simple_pinhole_goes_out(tmp_path: Path) -> None:
    write_reconstruction(tmp_path, reconstruction_with("SIMPLE_PINHOLE"), "openmvs")
    assert_same_cameras(read_reconstruction(tmp_path), reconstruction_with("SIMPLE_PINHOLE").sorted_by_name())


def test_what_is_lost_is_named() -> None:
    assert openmvs_losses(reconstruction_with("PINHOLE")) == ()
    far = reconstruction_with("PINHOLE", far=4_567_890.125)
    (lost,) = openmvs_losses(far)
    assert "positions of points to better than 0.2" in lost


def test_photos_outside_are_looked_for_inside(tmp_path: Path) -> None:
    names = ("/data/x/images/a.jpg", "D:\\x\\b.jpg", "../c.jpg")
    found = read_openmvs(written(tmp_path, File(names=names)))
    assert (found.names, found.image_folder) == (("a.jpg", "b.jpg"), tmp_path)
    assert found.notes[0].startswith("2 photos are outside the scene's folder (/data/x/images/a.jpg)")
    assert read_openmvs(tmp_path, images=Path("p")).image_folder == Path("p")


def test_names_keep_folders_that_differ(tmp_path: Path) -> None:
    found = read_openmvs(written(tmp_path, File(names=("im/left/a.jpg", "im/right\\a.jpg", "x"))))
    assert (found.names, found.image_folder) == (("left/a.jpg", "right/a.jpg"), tmp_path / "im")


def test_which_file_of_a_folder(tmp_path: Path) -> None:
    for name in ("another.mvs", "scene.mvs"):
        (tmp_path / name).write_bytes(File().packed())
    (tmp_path / "scene_dense.mvs").write_bytes(b"MVS\0....")
    found = read_openmvs(tmp_path)
    assert "using scene.mvs; beside it lie another.mvs, scene_dense.mvs" in found.notes
    assert is_openmvs(tmp_path / "another.mvs")
    assert not is_openmvs(tmp_path / "none.mvs")
    assert not is_openmvs(Path("a\0b"))


def test_a_transform_is_told(tmp_path: Path) -> None:
    moved = (*np.eye(4).ravel()[:-1], 2.0)
    assert "transform" in read_openmvs(written(tmp_path, File(transform=moved))).notes[1]


REFUSED = [
    (File(version=8), "the version of this file, expected 1 to 7, got 8"),
    (File(version=0), "expected 1 to 7, got 0"),
    (File(camera=1), "image 'images/a.jpg', expected numbers of what is in the file, got platform 0, camera 1"),
    (File(pose=2), "image 'images/b.jpg'.*pose 2"),
    (File(colors=1), "colours of points, expected none or 2, one for each point, got 1"),
    (File(k=[500, 3, 320, 0, 500, 240, 0, 0, 1]), "K has a skew"),
    (File(k=[500, 0, 320, 0, 500, 240, 0, 0, 0]), "no matrix of a camera"),
    (File(k=[float("nan"), 0, 320, 0, 500, 240, 0, 0, 1]), "no matrix of a camera"),
    (File(k=[-500, 0, 320, 0, 500, 240, 0, 0, 1]), "focal length must be positive"),
    (File(size=(1 << 31, 480)), "no matrix of a camera"),
    (File(numbers=(7, 9, 11), names=("../", "b", "c")), "the image name"),
]


@pytest.mark.parametrize(("file", "said"), REFUSED)
def test_refused_in_one_line(file: File, said: str, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=said) as caught:
        read_reconstruction(written(tmp_path, file), "openmvs")
    assert "\n" not in str(caught.value)


def test_a_project_archive_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "scene.mvs").write_bytes(b"MVS\0" + bytes(64))
    assert find_format(tmp_path) == ("openmvs", ())
    with pytest.raises(CaptureError, match=r"a project archive, which only OpenMVS can read.*--archive-type -1"):
        read_reconstruction(tmp_path)


def test_a_count_beyond_the_file_asks_for_no_memory(tmp_path: Path) -> None:
    (tmp_path / "scene.mvs").write_bytes(b"MVSI" + struct.pack("<IIQ", 7, 0, 1 << 62))
    with pytest.raises(CaptureError, match="4611686018427387904 entries in 0 bytes"):
        read_reconstruction(tmp_path)


@pytest.mark.parametrize("version", [1, 5, 7])
def test_any_bytes_end_in_one_line(version: int, tmp_path: Path) -> None:
    written(tmp_path, File(version))
    pieces = (b"", b"\xff\xff\xff\xff", bytes(8), struct.pack("<d", float("inf")), b"../")
    refuses_all_damage(
        tmp_path / "scene.mvs", lambda: read_reconstruction(tmp_path, "openmvs"), rounds=500, pieces=pieces
    )
