"""Picture files of a capture: absent, damaged, scaled or turned is said at once, with the likely cause."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from unrender.cameras.lens import Lens, make_lens
from unrender.datasets.masks import check_masks, find_masks
from unrender.datasets.photos import check_photos, find_photos, read_exposures
from unrender.errors import CaptureError

WIDTH, HEIGHT = 48, 36


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, Path]:
    """Four photos, one of them in a folder."""
    paths = {name: tmp_path / name for name in ("a.jpg", "b.jpg", "c.png", "left/d.jpg")}
    for path in paths.values():
        path.parent.mkdir(exist_ok=True)
        Image.effect_noise((WIDTH, HEIGHT), 50).save(path)
    return paths


@pytest.fixture
def lenses(photos: dict[str, Path]) -> list[Lens]:
    return [make_lens("PINHOLE", WIDTH, HEIGHT, [40, 40, 24, 18])] * len(photos)


def test_whole_photos_are_found_and_pass(tmp_path: Path, photos: dict[str, Path], lenses: list[Lens]):
    assert find_photos(photos, tmp_path) == photos
    check_photos(photos, lenses)


def test_an_absent_photo_is_named_with_the_count(tmp_path: Path, photos: dict[str, Path]):
    for name in ("b.jpg", "left/d.jpg"):
        photos[name].unlink()
    with pytest.raises(CaptureError, match=r"b\.jpg: .*no such file, got 2 of 4 photos absent; .*image_deleter"):
        find_photos(photos, tmp_path)


def test_an_absent_photo_with_a_namesake_is_told_so(tmp_path: Path, photos: dict[str, Path]):
    photos["a.jpg"].rename(tmp_path / "A.HEIC")
    with pytest.raises(CaptureError, match=r"1 of 4 photos absent \(but A\.HEIC is there\)"):
        find_photos(photos, tmp_path)


def test_a_folder_is_no_photo(tmp_path: Path, photos: dict[str, Path]):
    photos["a.jpg"].unlink()
    photos["a.jpg"].mkdir()
    with pytest.raises(CaptureError, match=r"a\.jpg: .*no such file"):
        find_photos(photos, tmp_path)


def test_no_photo_at_all(tmp_path: Path, photos: dict[str, Path]):
    with pytest.raises(CaptureError, match=r"none of the model's 4 photos is here.*--images"):
        find_photos(photos, tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/a.jpg", "left/../../a.jpg", "..\\a.jpg"])
def test_names_stay_in_the_folder(tmp_path: Path, name: str):
    with pytest.raises(CaptureError, match="leads out of its folder"):
        find_photos([name], tmp_path)


@pytest.mark.parametrize(("keep", "says"), [(0, "the file is empty"), (10, "cannot be read"), (-9, "cut short")])
@pytest.mark.parametrize("name", ["a.jpg", "c.png"])
def test_a_damaged_photo_is_refused(photos: dict[str, Path], lenses: list[Lens], name: str, keep: int, says: str):
    photos[name].write_bytes(photos[name].read_bytes()[:keep])
    with pytest.raises(CaptureError, match=f"{name}: .*{says}") as refusal:
        check_photos(photos, lenses)
    assert "; " in str(refusal.value)


@pytest.mark.parametrize(
    ("width", "height", "says"),
    [
        (24, 18, "the photos are 1/2 of the size the cameras were made for: put the originals there"),
        (96, 72, "the photos are 2 of the size"),
        (36, 27, "the photos are 3/4 of the size"),
        (32, 24, "the photos are 2/3 of the size"),
        (10, 7, "the photos are 1/5 of the size"),  # 9.6 x 7.2, rounded
        (36, 48, "turned by 90 degrees and no EXIF orientation says which way"),
        (47, 36, "; give the photos that COLMAP saw"),
        (48, 30, "; give the photos that COLMAP saw"),
    ],
)
def test_the_likely_cause_of_another_size_is_named(
    photos: dict[str, Path], lenses: list[Lens], width: int, height: int, says: str
):
    for name in ("b.jpg", "c.png"):
        Image.new("RGB", (width, height)).save(photos[name])
    expected = rf"b\.jpg: .*expected 48 x 36 .*got {width} x {height} \(2 of 4 photos differ\).*{says}"
    with pytest.raises(CaptureError, match=expected):
        check_photos(photos, lenses)


def test_masks_by_either_name_and_what_lacks_one(tmp_path: Path, photos: dict[str, Path], lenses: list[Lens]):
    folder = tmp_path / "masks"
    folder.mkdir()
    for name in ("a.jpg.png", "b.png"):
        Image.new("L", (WIDTH, HEIGHT)).save(folder / name)
    paths = find_masks(list(photos), folder)
    assert paths == (folder / "a.jpg.png", folder / "b.png", None, None)
    assert check_masks(list(photos), paths, lenses) == ("2 photos have no mask: c.png, left/d.jpg",)


def test_masks_that_cannot_be_used_are_refused(tmp_path: Path, photos: dict[str, Path], lenses: list[Lens]):
    with pytest.raises(CaptureError, match="no masks here"):
        find_masks(list(photos), tmp_path / "none")
    shutil.copytree(tmp_path, tmp_path / "masks")
    mask, names = tmp_path / "masks" / "a.jpg", list(photos)
    Image.new("L", (24, 18)).save(mask)
    with pytest.raises(CaptureError, match=r"a\.jpg: mask and photo differ in size, .*got 24 x 18"):
        check_masks(names, find_masks(names, mask.parent), lenses)
    mask.write_bytes(photos["a.jpg"].read_bytes()[:-9])
    with pytest.raises(CaptureError, match=r"a\.jpg: .*cut short"):
        check_masks(names, find_masks(names, mask.parent), lenses)
    mask.unlink()
    with pytest.raises(CaptureError, match=r"a\.jpg: no such file"):
        check_masks(names, (mask, None, None, None), lenses)


def test_photos_without_exif_are_counted(photos: dict[str, Path]):
    exposures, notes = read_exposures(photos)
    assert exposures.isnan().all()
    assert notes == ("exposure missing in 4 photos: a.jpg, b.jpg, c.png, ...",)
