"""RAW photos: files made by ourselves come back as the light that was put in, and nothing of them breaks anything."""

from __future__ import annotations

import random
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from raw_files import BLACK, WHITE, write_dng

from unrender.errors import CaptureError
from unrender.images.exif import ev100, read_ev100, read_orientation
from unrender.images.header import kind_of
from unrender.images.io import inspect_picture, read_mask, read_photo, read_photo_with_alpha

rawpy = pytest.importorskip("rawpy", reason="RAW photos need the extra [raw]")

H, W = 32, 48
LEFT, RIGHT = (0.25, 0.5, 0.125), (0.03, 0.02, 0.01)


def patches() -> np.ndarray:
    light = np.zeros((H, W, 3))
    light[:, : W // 2], light[:, W // 2 :] = LEFT, RIGHT
    light[:8, :8] = 1
    return light


@pytest.fixture
def dng(tmp_path: Path) -> Path:
    return write_dng(tmp_path / "a.dng", patches(), (2.8, 0.01, 400))


def test_light_comes_back_linear_and_white_is_where_the_sensor_is_full(dng: Path):
    photo = read_photo(dng)
    assert photo.dtype == torch.uint16
    assert photo.shape == (H, W, 3)
    light = photo.numpy() / 65535
    count = 1 / (WHITE - BLACK)
    assert np.abs(light[12:-4, 4 : W // 2 - 4] - LEFT).max() < count
    assert np.abs(light[4:-4, W // 2 + 4 : -4] - RIGHT).max() < count
    assert light[2:6, 2:6].min() > 0.9999


def test_white_does_not_depend_on_what_a_photo_shows(tmp_path: Path):
    dim = write_dng(tmp_path / "dim.dng", 0.8 * patches().clip(0, 0.5))
    assert np.abs(read_photo(dim).numpy()[12:-4, 4:20] / 65535 - 0.8 * np.array(LEFT)).max() < 1e-4


def test_size_and_depth_are_said_without_decoding(dng: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("unrender.images.raw.decode", None)
    header = inspect_picture(dng)
    assert header[:5] == (H, W, True, True, True)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_pixels_are_as_stored_and_the_orientation_is_said(tmp_path: Path, orientation: int):
    path = write_dng(tmp_path / "a.dng", patches(), orientation=orientation)
    assert read_orientation(path) == orientation
    assert read_photo(path).shape == (H, W, 3)
    assert inspect_picture(path)[:2] == (H, W)


def test_exposure_is_that_of_its_exif(dng: Path, tmp_path: Path):
    assert read_ev100(dng) == pytest.approx(ev100(2.8, 0.01, 400), abs=1e-5)
    assert read_ev100(write_dng(tmp_path / "b.dng", patches())) is None
    assert read_ev100(write_dng(tmp_path / "c.dng", patches(), (0, 0.01, 400))) is None


def test_alpha_and_masks_of_raw_files_are_what_they_are_of_others(dng: Path):
    assert bool((read_photo_with_alpha(dng)[..., 3] == 65535).all())
    assert read_mask(dng).shape == (H, W)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"II*\0\x10\0\0\0CR\2\0" + bytes(60), "RAW"),  # Canon CR2
        (b"\0\0\0\x18ftypcrx " + bytes(60), "RAW"),  # Canon CR3
        (b"FUJIFILMCCD-RAW " + bytes(60), "RAW"),
        (b"IIRO\x08\0\0\0" + bytes(60), "RAW"),  # Olympus
        (b"IIU\0\x18\0\0\0" + bytes(60), "RAW"),  # Panasonic
        (b"II*\0" + bytes(60), "TIFF"),
    ],
)
def test_makers_are_known_by_their_first_bytes_and_damage_is_one_line(tmp_path: Path, head: bytes, kind: str):
    path = tmp_path / "a"
    path.write_bytes(head)
    assert kind_of(path) == kind
    with pytest.raises(CaptureError, match="cannot be read as a picture"):
        inspect_picture(path)
    assert read_ev100(path) is None


def test_a_raw_table_below_another_makes_it_raw(dng: Path):
    """As in NEF and ARW, whose first table is of a preview."""
    data = bytearray(dng.read_bytes())
    below = len(data)
    data += data[8 : data.index(b"Nobody\0")]
    preview = (b"\x06\x01\x03\0\x01\0\0\0\x02\0\0\0", b"\x4a\x01\x04\0\x01\0\0\0" + below.to_bytes(4, "little"))
    first = len(data)
    data += b"\x02\0" + b"".join(preview) + bytes(4)
    data[4:8] = first.to_bytes(4, "little")
    dng.write_bytes(bytes(data))
    assert kind_of(dng) == "RAW"


def test_a_file_cut_short_is_refused_at_once(dng: Path):
    dng.write_bytes(dng.read_bytes()[:-50])
    with pytest.raises(CaptureError, match="cut short"):
        inspect_picture(dng)


def test_damage_is_one_line_or_harmless(dng: Path):
    good, chance = dng.read_bytes(), random.Random(0)
    for _ in range(60):
        data = bytearray(good)
        for _ in range(3):
            data[chance.randrange(400)] = chance.randrange(256)
        dng.write_bytes(data)
        read_ev100(dng)
        read_orientation(dng)
        with suppress(CaptureError):
            read_photo(dng)


def test_without_the_extra_it_is_named(dng: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "rawpy", None)
    for ask in (inspect_picture, read_photo, read_ev100):
        with pytest.raises(CaptureError, match=r"a RAW photo needs rawpy; pip install 'unrender\[raw\]'"):
            ask(dng)
