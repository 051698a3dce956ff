"""Photos of more than 8 bits, of linear light and of phones: every bit arrives, and no damaged file does harm."""

from __future__ import annotations

import io
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import torch
from PIL import Image

from unrender.errors import CaptureError
from unrender.images import heif
from unrender.images.exif import exif_bytes, read_ev100
from unrender.images.io import check_picture, inspect_picture, read_mask, read_photo, write_exr
from unrender.images.resize import area_average

imagecodecs = pytest.importorskip("imagecodecs")
tifffile = pytest.importorskip("tifffile")
SAMPLES = Path(__file__).parent / "samples"
"""Ramps in red and green, 64 x 48, 4:4:4, written by pillow-heif 1.8.1 with 8 bits (and EXIF) and with 10."""
H, W = 24, 40


def noise(channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (H, W, channels), dtype=np.uint16).squeeze()


def coloured(pixels: np.ndarray) -> np.ndarray:
    """What must be read of pixels with one to four channels."""
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return pixels[..., :3] if pixels.shape[2] > 2 else np.repeat(pixels[..., :1], 3, axis=2)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_keeps_every_bit(tmp_path: Path, channels: int):
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(noise(channels)))
    assert np.array_equal(read_photo(path).numpy(), coloured(noise(channels)))
    assert inspect_picture(path)[:4] == (H, W, True, False)
    assert read_mask(path).dtype == torch.uint8


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "how", [{}, {"compression": "lzw", "predictor": True}, {"tile": (16, 16)}, {"rowsperstrip": 7}]
)
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_tiff_keeps_every_bit(tmp_path: Path, channels: int, how: dict, order: str):
    path, kind = tmp_path / "a.tif", "minisblack" if channels == 1 else "rgb"
    tifffile.imwrite(path, noise(channels), photometric=kind, byteorder=order, **how)
    assert np.array_equal(read_photo(path).numpy(), coloured(noise(channels)))
    assert inspect_picture(path)[:4] == (H, W, True, False)


def test_tiff_of_planes_of_white_zero_and_of_many_pages(tmp_path: Path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.moveaxis(noise(3), 2, 0).copy(), photometric="rgb", planarconfig="separate")
    assert np.array_equal(read_photo(path).numpy(), noise(3))
    tifffile.imwrite(path, noise(1), photometric="miniswhite")
    assert np.array_equal(read_photo(path).numpy(), 65535 - coloured(noise(1)))
    tifffile.imwrite(path, np.stack([noise(3), noise(3) // 2]), photometric="rgb", bigtiff=True)
    assert np.array_equal(read_photo(path).numpy(), noise(3))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_comes_as_stored_which_is_what_colmap_sees(tmp_path: Path, orientation: int):
    path, pixels = tmp_path / "a.tif", (noise(3) >> 8).astype(np.uint8)
    for stored in (pixels, noise(3), pixels.astype(np.float32) / 255):
        tifffile.imwrite(path, stored, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
        assert check_picture(path) == (H, W)
        seen = read_photo(path).numpy()
        assert seen.shape == (H, W, 3)
        assert stored.dtype == np.float32 or np.array_equal(seen, stored)
    pycolmap = pytest.importorskip("pycolmap")
    tifffile.imwrite(path, pixels, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    assert np.array_equal(pycolmap.Bitmap.read(str(path), True).to_array(), read_photo(path).numpy())


@pytest.mark.parametrize("kind", ["exr", "float32.tif", "float16.tif"])
def test_light_stays_linear_and_is_clipped(tmp_path: Path, kind: str):
    light = torch.linspace(0, 1, H * W * 3).reshape(H, W, 3)
    light[0, 0] = torch.tensor([float("nan"), float("inf"), 7.0])
    path = tmp_path / f"a.{kind}"
    if kind == "exr":
        write_exr(path, light)
    else:
        tifffile.imwrite(path, light.numpy().astype(kind.split(".")[0]), photometric="rgb", compression="zlib")
    photo = read_photo(path)
    assert photo[0, 0].tolist() == [0, 65535, 65535]
    expected = (light.half().float() if "16" in kind else light) * 65535
    assert (photo.float() - expected)[1:].abs().max() <= 1
    assert inspect_picture(path)[:4] == (H, W, True, True)


def test_an_exr_without_colour_is_refused_before_it_is_decoded(tmp_path: Path):
    with OpenEXR.File({"type": OpenEXR.scanlineimage}, {"Z": np.zeros((4, 4), np.float32)}) as file:
        file.write(str(tmp_path / "a.exr"))
    for read in (check_picture, read_photo):
        with pytest.raises(CaptureError, match=r"no colour in this EXR, expected channels R G B or Y, got Z"):
            read(tmp_path / "a.exr")


def test_averaging_deep_photos_is_exact():
    deep = torch.from_numpy(noise(3))
    assert torch.equal(area_average(deep, 7, 13), area_average(deep.float(), 7, 13))
    assert torch.equal(area_average(deep, H, W), deep.float())


@pytest.mark.parametrize(("name", "deep", "off"), [("ramp_8", False, 0.02), ("ramp_10", True, 0.01)])
def test_heic(name: str, deep: bool, off: float):
    pytest.importorskip("pi_heif")
    path = SAMPLES / f"{name}.heic"
    assert inspect_picture(path) == (48, 64, deep, False, True, False, False)
    photo = read_photo(path)
    values = photo.float() / torch.iinfo(photo.dtype).max
    ramp = torch.linspace(0, 1, 48 * 64).reshape(48, 64)
    assert (values - torch.stack([ramp, ramp.flip(0), torch.full_like(ramp, 0.5)], dim=2)).abs().max() < off
    assert (len(photo.unique()) > 256) == deep
    assert read_ev100(path) == (None if deep else pytest.approx(4))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("name", ["ramp_8", "ramp_10"])
def test_heic_pixels_outlive_the_library_s_picture(name: str, mode: str):
    pytest.importorskip("pi_heif")
    pixels = heif.decode(SAMPLES / f"{name}.heic", mode)
    while isinstance(pixels.base, np.ndarray):
        pixels = pixels.base
    assert pixels.flags.owndata  # else they are gone with the picture, sometimes at once


@pytest.mark.parametrize(("module", "extra"), [("tifffile", "deep"), ("heif", "heic")])
def test_an_absent_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, extra: str):
    for name in ("tifffile", "pi_heif", "pillow_heif"):
        monkeypatch.setitem(sys.modules, name, None)
    path = SAMPLES / "ramp_8.heic"
    if module == "tifffile":
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, np.zeros((H, W, 3), np.float32), photometric="rgb")
    with pytest.raises(CaptureError, match=rf"needs .*pip install 'unrender\[{extra}\]'"):
        read_photo(path)


def test_cmyk_is_converted(tmp_path: Path):
    colours = (
        np.array([[[255, 0, 0], [0, 255, 0], [30, 30, 200], [255, 255, 255]]], np.uint8).repeat(16, 0).repeat(16, 1)
    )
    Image.fromarray(colours).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_photo(tmp_path / "a.jpg").numpy().astype(int) - colours)[:, 4::16].max() < 12


def test_up_to_500_megapixels_and_no_more(tmp_path: Path):
    limit = Image.MAX_IMAGE_PIXELS
    Image.new("1", (20_000, 10_000)).save(tmp_path / "a.png")
    assert check_picture(tmp_path / "a.png") == (10_000, 20_000)
    Image.new("1", (30_000, 20_000)).save(tmp_path / "b.png")
    for read in (check_picture, read_photo):
        with pytest.raises(CaptureError, match="30000 x 20000 pixels, more than 500 megapixels"):
            read(tmp_path / "b.png")
    assert limit == Image.MAX_IMAGE_PIXELS


def samples(folder: Path, kind: str) -> list[bytes]:
    """Good files of a kind."""
    if kind == "exr":
        files = []
        for number in range(10):
            header = {"type": OpenEXR.scanlineimage, "compression": OpenEXR.Compression(number)}
            with OpenEXR.File(header, {"RGB": noise(3).astype(np.float32)}) as file:
                file.write(str(folder / "good.exr"))
            files.append((folder / "good.exr").read_bytes())
        return files
    if kind == "png":
        return [imagecodecs.png_encode(noise(channels)) for channels in (1, 3, 4)]
    if kind == "tif":
        files = [io.BytesIO() for _ in range(3)]
        tifffile.imwrite(files[0], noise(3), photometric="rgb")
        tifffile.imwrite(files[1], noise(3), photometric="rgb", compression="zlib")
        tifffile.imwrite(files[2], noise(3).astype(np.float32), photometric="rgb", compression="lzw")
        return [file.getvalue() for file in files]
    files = [io.BytesIO() for _ in range(3)]
    for file, mode in zip(files, ("RGB", "CMYK", "L"), strict=True):
        Image.fromarray((noise(3) >> 8).astype(np.uint8)).convert(mode).save(file, "JPEG")
    return [file.getvalue() for file in files]


@pytest.mark.parametrize("kind", ["png", "tif", "exr", "jpg"])
def test_nothing_but_refusals_comes_of_damage(tmp_path: Path, kind: str):
    generator, path = np.random.default_rng(1), tmp_path / f"a.{kind}"
    good = samples(tmp_path, kind)
    for number in range(120):
        damaged = bytearray(good[number % len(good)])
        for at in generator.integers(0, min(len(damaged), 600), generator.integers(1, 6)):
            damaged[at] = generator.integers(256)
        path.write_bytes(damaged[: generator.integers(len(damaged))] if number % 3 == 0 else damaged)
        for read in (check_picture, read_photo, read_mask, read_ev100):
            with suppress(CaptureError):
                read(path)


@pytest.mark.parametrize("kind", ["exr", "heic", "tif", "png"])
def test_cut_files_are_found_without_decoding(tmp_path: Path, kind: str):
    good = (SAMPLES / "ramp_8.heic").read_bytes() if kind == "heic" else samples(tmp_path, kind)[-1]
    path = tmp_path / f"a.{kind}"
    for part in (0.2, 0.6, 0.95):
        path.write_bytes(good[: int(len(good) * part)])
        with pytest.raises(CaptureError, match=f"a.{kind}"):
            check_picture(path)


def test_the_exposure_of_a_png_is_read_without_decoding(tmp_path: Path):
    path = tmp_path / "a.png"
    Image.new("RGB", (8000, 6000)).save(path, exif=exif_bytes(2, 0.25, 100), compress_level=1)
    start = time.process_time()
    assert read_ev100(path) == pytest.approx(4)
    assert time.process_time() - start < 0.1
