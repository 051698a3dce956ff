"""Deep photos (16 bits, linear light) that are turned, see-through and masked: what holds for 8 bits holds for them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
import torch
from PIL import Image

from unrender.datasets.capture import Capture
from unrender.datasets.pictures import Alpha, read_picture, shrunk
from unrender.datasets.read_capture import read_capture
from unrender.fit.memory import predict_memory
from unrender.fit.settings import FitSettings
from unrender.images.io import inspect_picture, read_photo, read_photo_with_alpha
from unrender.images.orientation import is_sideways, upright

imagecodecs = pytest.importorskip("imagecodecs")
tifffile = pytest.importorskip("tifffile")
WIDTH, HEIGHT = 48, 30
KINDS = ("16.png", "16.tif", "float.tif", "light.exr")
"""The last two hold linear light, the very last one multiplied by opacity, as EXR does."""


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 65536, shape, dtype=np.uint16)


def see_through(height: int = HEIGHT, width: int = WIDTH, seed: int = 0) -> np.ndarray:
    """Noise in three colours, a third each without, with full, and with some opacity."""
    pixels = noise(height, width, 4, seed=seed)
    pixels[: height // 3, :, 3], pixels[height // 3 : 2 * height // 3, :, 3] = 0, 65535
    return pixels


def written(folder: Path, kind: str, pixels: np.ndarray) -> Path:
    """A photo file of uint16 [H, W, 4]; as light where the kind holds that."""
    path, light = folder / f"a.{kind}", pixels.astype(np.float32) / 65535
    if kind == "16.png":
        path.write_bytes(imagecodecs.png_encode(pixels))
    elif kind == "light.exr":
        channels = {name: (light[..., at] * light[..., 3]).copy() for at, name in enumerate("RGB")}
        with OpenEXR.File({"type": OpenEXR.scanlineimage}, channels | {"A": light[..., 3].copy()}) as file:
            file.write(str(path))
    else:
        tifffile.imwrite(path, pixels if kind == "16.tif" else light, photometric="rgb", extrasamples=[2])
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("meaning", ["mask", "white", "black"])
def test_transparency_at_full_depth(tmp_path: Path, kind: str, meaning: Alpha):
    pixels = see_through()
    path, seen = written(tmp_path, kind, pixels), pixels[..., 3] > 0
    assert inspect_picture(path).alpha
    picture = read_picture(path, None, 1, meaning, (HEIGHT, WIDTH))
    assert picture.dtype == torch.uint16
    got, colour, share = picture.numpy() / 65535, pixels[..., :3] / 65535, pixels[..., 3:] / 65535
    if meaning == "mask":
        assert np.abs(got[..., :3] - colour)[seen].max() < 1e-3 if kind == "light.exr" else 2 / 65535
        assert np.abs(got[..., 3:] - share).max() < 1 / 65535
    else:
        expected = colour * share + (1 - share) * (meaning == "white")
        assert got.shape == (HEIGHT, WIDTH, 3)
        assert np.abs(got - expected)[seen].max() < (1e-3 if kind == "light.exr" else 2 / 65535)
        assert (got[~seen] == (meaning == "white")).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", [3, 6, 7, 8])
def test_turned_and_masked_at_full_depth(tmp_path: Path, kind: str, orientation: int):
    """The mask has 8 bits and lies as the photo is stored, or upright where its size cannot tell. Its greys keep their
    meaning at 16 bits.
    """
    stored = (WIDTH, HEIGHT) if orientation >= 5 else (HEIGHT, WIDTH)
    path, mask = written(tmp_path, kind, see_through(*stored)), (noise(*stored, seed=1) >> 8).astype(np.uint8)
    Image.fromarray(mask).save(tmp_path / "m.png")
    picture = read_picture(path, tmp_path / "m.png", orientation, "ignore", (HEIGHT, WIDTH))
    assert torch.equal(picture[..., :3], upright(read_photo(path), orientation))
    used = upright(torch.from_numpy(mask), orientation if is_sideways(orientation) else 1)
    assert torch.equal(picture[..., 3].int(), 257 * used.int())
    both = read_picture(path, tmp_path / "m.png", orientation, "mask", (HEIGHT, WIDTH))
    alpha = upright(read_photo_with_alpha(path), orientation)[..., 3].int()
    assert torch.equal(both[..., 3].int(), torch.minimum(alpha, picture[..., 3].int()))


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_under_a_mask_changes_no_bit_of_a_smaller_photo(tmp_path: Path, kind: str):
    mask = np.where(noise(HEIGHT, WIDTH, seed=2) > 20_000, 255, 0).astype(np.uint8)
    Image.fromarray(mask).save(tmp_path / "m.png")
    smaller, whole = [], []
    for seed in (3, 4):
        pixels = noise(HEIGHT, WIDTH, 4, seed=5)
        pixels[..., 3] = 65535
        pixels[mask == 0] = see_through(seed=seed)[mask == 0]
        path = written(tmp_path, kind, pixels)
        picture = read_picture(path, tmp_path / "m.png", 1, "ignore", (HEIGHT, WIDTH))
        smaller.append(shrunk(picture, 11, 17))
        whole.append(shrunk(read_photo(path), 11, 17))
        used = mask > 0
        block = picture.numpy()[:3, :3][used[:3, :3]].astype(np.float64)
        assert len(block) not in (0, 9)
        exact = shrunk(picture, HEIGHT // 3, WIDTH // 3)[0, 0]
        assert np.abs(exact.numpy().astype(np.float64)[:3] - block[:, :3].mean(axis=0)).max() <= 0.51
    assert torch.equal(*smaller)
    assert not torch.equal(*whole)


def test_opacity_that_colours_were_multiplied_by_is_taken_out(tmp_path: Path):
    """An associated alpha in TIFF, at 8 and 16 bits and in floats."""
    colour, alpha = noise(HEIGHT, WIDTH, 3) / 65535, (40_000 + noise(HEIGHT, WIDTH, 1) // 4) / 65535
    for most, kind in ((255, np.uint8), (65535, np.uint16), (1.0, np.float32)):
        multiplied = np.concatenate([colour * alpha, alpha], axis=2) * most
        multiplied = multiplied.astype(kind) if most == 1 else multiplied.round().astype(kind)
        tifffile.imwrite(tmp_path / "a.tif", multiplied, photometric="rgb", extrasamples=[1])
        got = read_photo_with_alpha(tmp_path / "a.tif")
        error = np.abs(got.numpy()[..., :3] / torch.iinfo(got.dtype).max - colour).max()
        assert error < (3 / 255 if most == 255 else 1e-3)


@pytest.fixture
def deep(small: Path) -> Capture:
    """Six views: one is a TIFF, one a see-through PNG, of 16 bits, one has a mask, one a grey mask on its side."""
    images, masks = small / "images", small / "masks"
    masks.mkdir()
    shutil.move(written(small, "16.tif", see_through()), images / "a.jpg")  # kinds are known by their bytes
    (images / "z.png").write_bytes(imagecodecs.png_encode(see_through(seed=1)))
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "blue")]
    frames[0].save(images / "b.jpg", format="GIF", save_all=True, append_images=frames[1:])
    for name in ("a.jpg.png", "c d.jpg.png"):
        Image.effect_noise((WIDTH, HEIGHT), 90).save(masks / name)
    return read_capture(small, masks=masks, alpha="mask", test_every=0)


def test_depth_reaches_what_is_fitted_to_and_a_line_says_what_was_done(deep: Capture):
    assert [deep.names[view] for view in deep.deep] == ["a.jpg", "z.png"]
    assert [deep.names[view] for view, masked in enumerate(deep.masked) if masked] == ["a.jpg", "c d.jpg", "z.png"]
    for view in range(len(deep)):
        steps = deep.image(view) * 65535
        torch.testing.assert_close(steps, steps.round(), atol=0.01, rtol=0)
        of_8_bits = bool(((deep.image(view) * 255 - (deep.image(view) * 255).round()).abs() < 1e-3).all())
        assert of_8_bits == (view not in deep.deep)
    said = " | ".join(deep.notes)
    assert "1 files hold several pictures, the first is used: b.jpg" in said
    assert "2 photos have an alpha channel; what is transparent is not used (--alpha): a.jpg, z.png" in said


@pytest.mark.parametrize("width", [WIDTH, 31])
def test_what_is_kept_is_what_was_foretold(deep: Capture, width: int):
    """In bytes, for every mixture of 8 and 16 bits, with and without a mask."""
    capture = deep.at_width(width)
    for view in range(len(capture)):
        capture.image(view)
        capture.mask(view)
    assert capture.store.used == predict_memory(capture, FitSettings()).photos
    height = capture.cameras.sizes[0, 0]
    assert capture.store.used == width * height * (2 * (3 + 1) + (3 + 1) + 2 * (3 + 1) + 3 * 3)


def test_the_first_of_several_pictures_is_read(tmp_path: Path):
    frames = [Image.fromarray((noise(HEIGHT, WIDTH, 3, seed=seed) >> 8).astype(np.uint8)) for seed in range(3)]
    for kind in ("webp", "png", "tif"):
        path = tmp_path / f"a.{kind}"
        frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
        assert inspect_picture(path).several
        assert np.array_equal(read_photo(path).numpy(), np.array(frames[0]))
    tifffile.imwrite(path, np.array(frames[0]), photometric="rgb")
    tifffile.imwrite(path, np.array(frames[0])[::2, ::2], photometric="rgb", subfiletype=1, append=True)
    assert not inspect_picture(path).several  # a smaller copy of the same
    frames[0].save(tmp_path / "a.mpo", save_all=True, append_images=frames[1:])
    assert not inspect_picture(tmp_path / "a.mpo").several  # a phone's: gain maps, depth
