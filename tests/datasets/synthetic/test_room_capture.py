"""The capture on disk: read back by the ordinary reader, with every truth, twice the same."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from unrender.datasets.read_capture import read_capture
from unrender.datasets.synthetic import Photographed, RoomSettings, load_truth, make_room_capture
from unrender.datasets.synthetic.scanner import DIAGONAL
from unrender.datasets.synthetic.viewpoints import walk
from unrender.errors import CaptureError, SettingsError
from unrender.images.io import read_photo
from unrender.messages import Saved

SMALL = RoomSettings(
    views=3,
    width=64,
    height=48,
    points=600,
    texel=0.5,
    disturb_position=0.002,
    disturb_rotation=0.5,
    disturb_focal=0.01,
)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("room")
    said = list(make_room_capture(path, SMALL))
    assert [message.done for message in said if isinstance(message, Photographed)] == [1, 2, 3]
    assert said[-1] == Saved(path, "capture of the room")
    return path


def test_same_settings_same_bits(folder: Path, tmp_path: Path):
    list(make_room_capture(tmp_path, SMALL))
    assert digests(folder) == digests(tmp_path)


def test_the_ordinary_reader_reads_it(folder: Path):
    capture, truth = read_capture(folder), load_truth(folder)
    assert capture.names == truth.names
    assert torch.allclose(capture.exif_ev, truth.exif_ev, atol=1e-6)
    assert len(capture.points) == 600
    assert capture.points.normals is not None
    assert read_photo(capture.image_paths[0]).shape == (48, 64, 3)


def test_disturbance_is_in_the_model_and_not_in_the_truth(folder: Path):
    given, true = read_capture(folder).cameras, load_truth(folder).cameras
    assert torch.equal(true.camera_from_world, walk(3, 64, 48).camera_from_world)
    moved = (given.centers - true.centers).norm(dim=-1)
    assert 1e-4 * DIAGONAL < moved.max() < 0.03 * DIAGONAL
    ratio = given.lenses[0].params[:2] / true.lenses[0].params[:2]
    assert 0 < (ratio - 1).abs().max() < 0.05


def test_photos_are_the_recorded_truth(folder: Path):
    truth = load_truth(folder)
    for view, name in enumerate(truth.names):
        kept = load_file(folder / "truth" / f"{Path(name).stem}.safetensors")
        assert set(kept) == {"radiance", "depth", "distance", "normal"}
        recorded = truth.cameras.select([view]).record(kept["radiance"][None])[0]
        photo = read_photo(folder / "images" / name).permute(2, 0, 1).float() / 255
        # JPEG at quality 97 costs a little.
        assert (recorded - photo).abs().mean() < 0.012


def test_missing_truth_and_bad_settings_are_refused(tmp_path: Path):
    with pytest.raises(CaptureError, match="no truth"):
        load_truth(tmp_path)
    with pytest.raises(SettingsError, match="views"):
        RoomSettings(views=1)
    with pytest.raises(SettingsError, match="lens of the room, expected fisheye or panorama or phone, got trout"):
        RoomSettings(lens="trout")
    with pytest.raises(SettingsError, match="disturb_focal"):
        RoomSettings(lens="panorama", disturb_focal=0.01)
    with pytest.raises(SettingsError, match="noise"):
        RoomSettings(noise=-1.0)
    with pytest.raises(SettingsError, match="ev_spread"):
        RoomSettings(ev_spread=float("nan"))
    with pytest.raises(SettingsError, match="sepia"):
        RoomSettings(response="sepia")


def test_cameras_stay_clear_of_walls_and_overlap():
    cameras = walk(24, 64, 48)
    centers = cameras.centers
    assert len(cameras) == 24
    assert centers[:, :2].min() > 0.5
    assert centers[:, 0].max() < 4.5
    assert centers[:, 1].max() < 3.5
    forward = cameras.camera_from_world[:, 2, :3]
    likeness = forward @ forward.T
    assert (likeness - 2 * torch.eye(24, dtype=torch.float64)).amax(1).min() > 0.8
