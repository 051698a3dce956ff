"""Photos as other programs and systems leave them: turned, see-through, masked, named otherwise, of several sizes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
import torch
from PIL import Image

from unrender.cameras.lens import Lens, make_lens
from unrender.datasets import read_capture as module
from unrender.datasets.capture import Capture
from unrender.datasets.formats import read_reconstruction
from unrender.datasets.masks import check_masks
from unrender.datasets.photos import check_photos, find_photos
from unrender.datasets.pictures import Alpha, read_picture, shrunk
from unrender.datasets.read_capture import read_capture
from unrender.errors import CaptureError, SettingsError
from unrender.images.orientation import upright

WIDTH, HEIGHT = 48, 30
ORIENTATION = 0x112


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def turned_png(path: Path, orientation: int, pixels: np.ndarray | None = None) -> np.ndarray:
    """A photo whose pixels lie so that ``orientation`` makes them 48 x 30, or as given."""
    if pixels is None:
        pixels = noise(*((WIDTH, HEIGHT) if orientation >= 5 else (HEIGHT, WIDTH)), 3)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    Image.fromarray(pixels).save(path, exif=exif, format="PNG")
    return pixels


@pytest.fixture
def lens() -> Lens:
    return make_lens("PINHOLE", WIDTH, HEIGHT, [40, 40, 24, 15])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_stored_pixels_win_where_they_fit_and_else_the_turned_ones(tmp_path: Path, lens: Lens, orientation: int):
    photo = {"a.png": tmp_path / "a.png"}
    turned_png(photo["a.png"], orientation)
    turned, notes = check_photos(photo, [lens])
    assert turned == (orientation if orientation >= 5 else 1,)
    assert notes == (("1 photos are turned upright as their EXIF says: a.png",) if orientation >= 5 else ())


@pytest.mark.parametrize("orientation", [6, 8])
def test_stored_pixels_that_alone_fit_are_kept(tmp_path: Path, lens: Lens, orientation: int):
    turned_png(tmp_path / "a.png", orientation, noise(HEIGHT, WIDTH, 3))
    assert check_photos({"a.png": tmp_path / "a.png"}, [lens])[0] == (1,)


def test_a_square_photo_is_as_stored(tmp_path: Path):
    square = make_lens("PINHOLE", 20, 20, [40, 40, 10, 10])
    turned_png(tmp_path / "a.png", 6, noise(20, 20, 3))
    assert check_photos({"a.png": tmp_path / "a.png"}, [square])[0] == (1,)


def test_a_turned_photo_is_read_upright_and_so_is_its_mask(small: Path, tmp_path: Path):
    pixels = turned_png(small / "images" / "a.jpg", 6)
    (tmp_path / "masks").mkdir()
    mask = np.where(noise(WIDTH, HEIGHT, seed=1) > 99, 255, 0).astype(np.uint8)
    up = upright(torch.from_numpy(mask), 6)
    for as_drawn in (mask, up.numpy()):
        Image.fromarray(as_drawn).save(tmp_path / "masks" / "a.jpg.png")
        capture = read_capture(small, masks=tmp_path / "masks")
        used = capture.mask(0)
        assert used is not None
        assert torch.equal(used[0] * 255, up.float())
        expected = upright(torch.from_numpy(pixels), 6).permute(2, 0, 1).float() / 255
        torch.testing.assert_close(capture.image(0), torch.where(used > 0, expected, 0.0))
    assert any("1 photos are turned upright as their EXIF says: a.jpg" in note for note in capture.notes)
    assert any("5 photos have no mask" in note for note in capture.notes)


def with_format(monkeypatch: pytest.MonkeyPatch, **says: object) -> None:
    """Let the reconstruction say more than COLMAP's does."""
    monkeypatch.setattr(module, "read_reconstruction", lambda *a, **k: replace(read_reconstruction(*a, **k), **says))


def test_masks_that_the_format_names_are_checked_and_used(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "mask.png"
    with_format(monkeypatch, masks=(path, None, None, None, None, None))
    with pytest.raises(CaptureError, match=r"mask\.png: no such file"):
        read_capture(small)
    Image.new("L", (24, 15), 255).save(path)
    with pytest.raises(CaptureError, match=r"mask\.png: mask and photo differ in size"):
        read_capture(small)
    Image.new("L", (WIDTH, HEIGHT), 255).save(path)
    capture = read_capture(small)
    assert capture.masked == (True, False, False, False, False, False)
    assert any("5 photos have no mask: b.jpg" in note for note in capture.notes)


def see_through(small: Path) -> np.ndarray:
    pixels = noise(HEIGHT, WIDTH, 4)
    pixels[:10, :, 3], pixels[10:20, :, 3] = 0, 255
    Image.fromarray(pixels).save(small / "images" / "z.png")
    return pixels


def test_transparency_means_what_one_says(small: Path, monkeypatch: pytest.MonkeyPatch):
    pixels = see_through(small)
    colour, alpha = pixels[..., :3] / 255, pixels[..., 3:] / 255
    ignored = read_capture(small)
    assert any(
        "1 photos have an alpha channel; their transparency is ignored (--alpha mask, white or black): z.png" in note
        for note in ignored.notes
    )
    meanings: dict[Alpha, np.ndarray] = {
        "ignore": colour,
        "white": colour * alpha + 1 - alpha,
        "black": colour * alpha,
        "mask": np.where(alpha > 0, colour, 0),
    }
    for word, expected in meanings.items():
        capture = read_capture(small, alpha=word)
        got = capture.image(5).permute(1, 2, 0).numpy()
        assert np.abs(got - expected).max() < 0.51 / 255, word
        assert capture.masked == (False,) * 5 + (word == "mask",)
    used = read_capture(small, alpha="mask").mask(5)
    assert used is not None
    assert np.array_equal((used[0] * 255).numpy(), pixels[..., 3])
    with_format(monkeypatch, alpha="white")
    assert torch.equal(read_capture(small).image(5), read_capture(small, alpha="white").image(5))
    assert torch.equal(read_capture(small, alpha="ignore").image(5), ignored.image(5))
    with pytest.raises(SettingsError, match="alpha, expected ignore or mask or white or black, got grey"):
        read_capture(small, alpha="grey")  # pyright: ignore[reportArgumentType]


def test_what_mask_and_alpha_leave_is_what_both_leave(tmp_path: Path):
    pixels, mask = noise(HEIGHT, WIDTH, 4), noise(HEIGHT, WIDTH, seed=2)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "m.png")
    picture = read_picture(tmp_path / "a.png", tmp_path / "m.png", 1, "mask", (HEIGHT, WIDTH))
    assert np.array_equal(picture[..., 3].numpy(), np.minimum(pixels[..., 3], mask))


def test_a_mask_of_zeros_and_ones_is_one(tmp_path: Path):
    mask = (noise(HEIGHT, WIDTH) > 99).astype(np.uint8)
    Image.fromarray(noise(HEIGHT, WIDTH, 3)).save(tmp_path / "a.png")
    Image.fromarray(mask).save(tmp_path / "m.png")
    picture = read_picture(tmp_path / "a.png", tmp_path / "m.png", 1, "ignore", (HEIGHT, WIDTH))
    assert np.array_equal(picture[..., 3].numpy(), 255 * mask)


def test_a_smaller_pixel_is_the_mean_of_what_may_be_used():
    picture = torch.from_numpy(noise(12, 20, 4))
    picture[..., 3] *= picture[..., 3] > 140
    small = shrunk(picture, 3, 5).float()
    for row in range(3):
        for column in range(5):
            block = picture[4 * row : 4 * row + 4, 4 * column : 4 * column + 4].reshape(-1, 4).float()
            used = block[block[:, 3] > 0]
            expected = torch.cat([used[:, :3].mean(0), block[:, 3].mean(0, keepdim=True)])
            assert (small[row, column] - expected).abs().max() <= 0.501
    assert not shrunk(picture * torch.tensor([1, 1, 1, 0], dtype=torch.uint8), 3, 5).any()


@pytest.mark.parametrize(
    ("named", "stored", "note"),
    [
        ("sub\\a.jpg", "sub/a.jpg", None),
        ("C:\\photos\\sub\\a.jpg", "sub/a.jpg", "of another computer"),
        ("D:/photos/sub/a.jpg", "sub/a.jpg", "of another computer"),
        ("\\\\server\\photos\\a.jpg", "a.jpg", "of another computer"),
        ("C:\\photos\\é.jpg", normalize("NFD", "é.jpg"), "of another computer"),
        (normalize("NFC", "ü/é ö.jpg"), normalize("NFD", "ü/é ö.jpg"), "composed otherwise"),
        (normalize("NFD", "ü/é ö.jpg"), normalize("NFC", "ü/é ö.jpg"), "composed otherwise"),
        ("sub\\" + normalize("NFD", "é.jpg"), "sub/" + normalize("NFC", "é.jpg"), "composed otherwise"),
        ("a\\b.jpg", "a\\b.jpg", None),
        ("写真 1/私の 犬.jpg", "写真 1/私の 犬.jpg", None),
    ],
)
def test_names_of_other_systems_are_found(tmp_path: Path, named: str, stored: str, note: str | None):
    (tmp_path / stored).parent.mkdir(exist_ok=True)
    (tmp_path / stored).touch()
    photos = find_photos([named], tmp_path)
    assert photos == {named: tmp_path / stored}
    notes = module.naming_notes(photos, tmp_path)
    assert len(notes) == (note is not None)
    assert note is None or note in notes[0]


def test_the_longest_end_of_a_path_counts(tmp_path: Path):
    for path in ("a.jpg", "left/a.jpg", "right/a.jpg"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    names = [f"C:\\photos\\{side}\\a.jpg" for side in ("left", "right")]
    assert [*find_photos(names, tmp_path).values()] == [tmp_path / "left" / "a.jpg", tmp_path / "right" / "a.jpg"]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["C:\\a\\x.jpg", "D:\\b\\x.jpg"], "are one photo here"),
        ([normalize("NFC", "é.jpg"), normalize("NFD", "é.jpg")], "are one photo here"),
        (["x.jpg", "X.jpg"], r"got 1 of 2 photos absent \(but x\.jpg is there\)"),
        (["x.jpg", "C:\\photos\\..\\x.jpg"], "leads out of its folder"),
        (["x.jpg", "\\photos\\x.jpg"], "leads out of its folder"),
        (["x.jpg", "n" * 300 + ".jpg"], "no such file"),
        (["x.jpg", "\ud800.jpg"], "no such file"),
    ],
)
def test_names_that_mean_nothing_or_the_same_are_refused(tmp_path: Path, names: list[str], says: str):
    for path in ("x.jpg", normalize("NFC", "é.jpg")):
        (tmp_path / path).touch()
    with pytest.raises(CaptureError, match=says):
        find_photos(names, tmp_path)


def test_a_capture_from_windows_is_read_with_its_masks(small: Path, tmp_path: Path):
    model = small / "sparse" / "0" / "images.bin"
    old, new = (f"{name}\0".encode() for name in ("left/é 1.jpg", "left\\é 1.jpg"))
    assert model.read_bytes().count(old) == 1
    model.write_bytes(model.read_bytes().replace(old, new))
    (tmp_path / "masks" / "left").mkdir(parents=True)
    Image.new("L", (WIDTH, HEIGHT), 255).save(tmp_path / "masks" / "left" / "é 1.jpg.png")
    capture: Capture = read_capture(small, masks=tmp_path / "masks")
    view = capture.names.index("left\\é 1.jpg")
    assert capture.image_paths[view] == small / "images" / "left" / "é 1.jpg"
    assert capture.masked[view]
    shutil.rmtree(tmp_path / "masks")
    with pytest.raises(CaptureError, match="no such file"):
        check_masks(capture.names, capture.mask_paths, [capture.cameras.lens(view) for view in range(6)])
