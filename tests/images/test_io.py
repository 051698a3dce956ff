"""Pictures from and to files: kinds of pixels, orientation, damage, and round trips."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unrender.errors import CaptureError, ShapeError
from unrender.images.io import check_picture, read_exr, read_exr_metadata, read_mask, read_photo, write_exr, write_png


@pytest.fixture
def photo(generator: torch.Generator) -> torch.Tensor:
    return torch.randint(0, 256, (6, 9, 3), dtype=torch.uint8, generator=generator)


def test_png_round_trip(tmp_path: Path, photo: torch.Tensor):
    write_png(tmp_path / "a.png", photo)
    assert torch.equal(read_photo(tmp_path / "a.png"), photo)
    assert check_picture(tmp_path / "a.png") == (6, 9)


def test_floats_are_clamped_and_rounded(tmp_path: Path):
    write_png(tmp_path / "a.png", torch.tensor([[-0.5, 0.0, 0.0019, 0.0020, 1.0, 7.0, float("nan")]]))
    assert read_mask(tmp_path / "a.png").tolist() == [[0, 0, 0, 1, 255, 255, 0]]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "1", "P", "CMYK"])
def test_every_kind_of_pixel_becomes_rgb(tmp_path: Path, mode: str):
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new("RGB", (9, 6), (255, 255, 255)).convert(mode).save(path)
    assert torch.equal(read_photo(path), torch.full((6, 9, 3), 255, dtype=torch.uint8))


def test_transparency_is_dropped_and_the_colour_below_kept(tmp_path: Path):
    Image.new("RGBA", (2, 2), (10, 20, 30, 0)).save(tmp_path / "a.png")
    assert read_photo(tmp_path / "a.png")[0, 0].tolist() == [10, 20, 30]


def test_a_16_bit_mask_counts_by_its_upper_byte(tmp_path: Path):
    Image.fromarray(np.array([[0, 255, 256, 65535]], dtype=np.uint16)).save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png")[0].tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_pixels_are_as_stored_which_is_what_colmap_sees(tmp_path: Path, orientation: int):
    pycolmap = pytest.importorskip("pycolmap")
    exif = Image.Exif()
    exif[0x112] = orientation
    stored = np.zeros((16, 32, 3), dtype=np.uint8)
    stored[:8, :16] = 255
    Image.fromarray(stored).save(tmp_path / "a.jpg", exif=exif)
    seen = torch.from_numpy(pycolmap.Bitmap.read(str(tmp_path / "a.jpg"), True).to_array().copy())
    ours = read_photo(tmp_path / "a.jpg")
    assert ours.shape == seen.shape
    assert int((ours.int() - seen.int()).abs().max()) <= 2
    assert check_picture(tmp_path / "a.jpg") == (16, 32)


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("damage", ["absent", "empty", "text", "cut", "folder"])
def test_what_is_no_picture_is_refused_in_one_line(tmp_path: Path, kind: str, damage: str):
    path = tmp_path / f"a.{kind}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "absent":
        path.write_bytes({"empty": b"", "text": b"hello", "cut": content[: len(content) // 2]}[damage])
    for read in (read_photo, check_picture):
        with pytest.raises(CaptureError, match=f"a.{kind}") as refusal:
            read(path)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("kind", ["jpg", "progressive.jpg", "png", "tif"])
def test_a_picture_cut_short_is_found_without_decoding(tmp_path: Path, kind: str):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    preview = io.BytesIO()
    noise.resize((16, 16)).save(preview, "JPEG")
    exif = Image.Exif()
    exif[0x927C] = preview.getvalue()  # a preview in the header has an end-of-image marker of its own
    path = tmp_path / f"a.{kind}"
    noise.save(path, exif=exif, progressive="progressive" in kind)
    content = path.read_bytes()
    assert check_picture(path) == (64, 64)
    for after in (b"\0" * 999, content, b"ftypmp4" * 99):
        path.write_bytes(content + (b"" if kind == "tif" else after))
        assert check_picture(path) == (64, 64)
    lost_to_be_noticed = 200 if kind == "tif" else 1  # a TIFF may end with its table
    for lost in (lost_to_be_noticed, len(content) // 4, len(content) // 2):
        path.write_bytes(content[:-lost])
        with pytest.raises(CaptureError, match=re.escape(path.name)):
            check_picture(path)
        path.write_bytes(content[:-lost] + b"\0" * lost * (kind != "tif"))
        with pytest.raises(CaptureError, match=re.escape(path.name)):
            check_picture(path)


def test_real_photos_are_whole(plush: Path):
    for path in sorted((plush / "images").iterdir()):
        height, width = check_picture(path)
        assert min(height, width) > 100


def test_exr_keeps_every_bit_and_its_metadata(tmp_path: Path, generator: torch.Generator):
    radiance = torch.randn(5, 7, 3, generator=generator).exp() * 1e4
    write_exr(tmp_path / "a.exr", radiance, {"name": "view 3", "ev": 1.5})
    assert torch.equal(read_exr(tmp_path / "a.exr"), radiance)
    assert {"name": "view 3", "ev": 1.5}.items() <= read_exr_metadata(tmp_path / "a.exr").items()


def test_exr_of_one_half_precision_channel(tmp_path: Path):
    openexr = pytest.importorskip("OpenEXR")
    grey = np.array([[0.5, 2.0], [4.0, 8.0]], dtype=np.float16)
    with openexr.File({"type": openexr.scanlineimage}, {"Y": grey}) as file:
        file.write(str(tmp_path / "a.exr"))
    assert torch.equal(read_exr(tmp_path / "a.exr"), torch.from_numpy(grey).float()[..., None].expand(2, 2, 3))


@pytest.mark.parametrize("content", [None, b"", b"hello", b"\x76\x2f\x31\x01" + b"\0" * 40])
def test_a_damaged_exr_is_refused(tmp_path: Path, content: bytes | None):
    if content is not None:
        (tmp_path / "a.exr").write_bytes(content)
    with pytest.raises(CaptureError, match=r"a\.exr"):
        read_exr(tmp_path / "a.exr")


def test_real_environment_map(data: Path):
    maps = sorted((data / "hdr" / "env").glob("*.exr"))
    if not maps:
        pytest.skip(f"no .exr in {data / 'hdr' / 'env'}")
    radiance = read_exr(maps[0])
    assert radiance.shape[2] == 3
    assert radiance.max() > 1


def test_pictures_of_the_wrong_shape_are_refused(tmp_path: Path):
    for shape in ((3, 4, 4), (4, 4, 4), (4,)):
        with pytest.raises(ShapeError):
            write_png(tmp_path / "a.png", torch.zeros(shape))
    with pytest.raises(ShapeError):
        write_exr(tmp_path / "a.exr", torch.zeros(4, 4))
