"""Turning pixels as EXIF says, against Pillow; reading orientation and transparency from files of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from unrender.images.exif import read_orientation
from unrender.images.io import check_picture, inspect_picture, read_photo, read_photo_with_alpha
from unrender.images.orientation import stored, upright, upright_size

ORIENTATION = 0x112


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def saved(path: Path, pixels: np.ndarray, orientation: object) -> Path:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(pixels).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_turned_as_by_pillow_and_back(tmp_path: Path, orientation: int):
    pixels = noise(5, 7, 3)
    with Image.open(saved(tmp_path / "a.png", pixels, orientation)) as picture:
        expected = np.array(ImageOps.exif_transpose(picture))
    found = upright(torch.from_numpy(pixels), orientation)
    assert np.array_equal(found.numpy(), expected)
    assert upright_size((5, 7), orientation) == expected.shape[:2]
    assert torch.equal(stored(found, orientation), torch.from_numpy(pixels))
    assert torch.equal(upright(torch.from_numpy(pixels[..., 0].copy()), orientation), found[..., 0])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_files_give_stored_pixels_whatever_their_orientation(tmp_path: Path, suffix: str, orientation: int):
    """Also TIFF, which Pillow would turn unasked."""
    path, pixels = tmp_path / f"a.{suffix}", noise(5, 7, 3)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(pixels).save(path, exif=exif, lossless=True)
    assert read_orientation(path) == orientation
    assert check_picture(path) == (5, 7)
    assert np.array_equal(read_photo(path).numpy(), pixels)


@pytest.mark.parametrize("absurd", [0, 9, 65535])
def test_an_absurd_orientation_is_none(tmp_path: Path, absurd: int):
    assert read_orientation(saved(tmp_path / "a.jpg", noise(5, 7, 3), absurd)) == 1
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    assert read_orientation(tmp_path / "b.jpg") == 1


def test_exif_of_a_png_is_found_wherever_it_is_and_without_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = saved(tmp_path / "a.png", noise(50, 70, 3), 6)
    content = path.read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    last = content.index(b"IEND") - 4
    path.write_bytes(content[:start] + content[end:last] + content[start:end] + content[last:])
    Image.fromarray(noise(50, 70, 3)).save(tmp_path / "none.png")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", lambda _: pytest.fail("decoded"))
    assert read_orientation(path) == 6
    assert read_orientation(tmp_path / "none.png") == 1


def test_transparency_is_seen_and_read(tmp_path: Path):
    pixels = noise(5, 7, 4)
    for suffix in ("png", "tif"):
        Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
        assert inspect_picture(tmp_path / f"a.{suffix}").alpha
        assert np.array_equal(read_photo_with_alpha(tmp_path / f"a.{suffix}").numpy(), pixels)
    Image.fromarray(pixels[..., :3].copy()).save(tmp_path / "b.png")
    Image.fromarray(pixels[..., 0].copy()).save(tmp_path / "c.png", transparency=int(pixels[0, 0, 0]))
    assert not inspect_picture(tmp_path / "b.png").alpha
    assert inspect_picture(tmp_path / "c.png").alpha
    assert (read_photo_with_alpha(tmp_path / "b.png")[..., 3] == 255).all()
    assert read_photo_with_alpha(tmp_path / "c.png")[0, 0, 3] == 0
