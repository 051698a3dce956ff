"""EXIF exposure: known values, files written by ourselves, and everything that must count as missing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from unrender.images.exif import ev100, exif_bytes, read_ev100

COMPLETE: dict[int, object] = {
    ExifTags.Base.FNumber: 2.0,
    ExifTags.Base.ExposureTime: 0.25,
    ExifTags.Base.ISOSpeedRatings: 100,
}


def photo_with(path: Path, tags: dict[int, object]) -> Path:
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif).update(tags)
    Image.new("RGB", (8, 8)).save(path, exif=exif)
    return path


@pytest.mark.parametrize(
    ("f_number", "seconds", "iso", "stops"),
    [
        (1, 1, 100, 0),
        (2, 1, 100, 2),
        (1, 0.125, 100, 3),
        (1, 1, 400, -2),
        (16, 1 / 128, 100, 15),
        (1.4, 1, 100, 0.9709),
    ],
)
def test_known_exposures(f_number: float, seconds: float, iso: float, stops: float):
    assert ev100(f_number, seconds, iso) == pytest.approx(stops, abs=1e-4)


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("which", range(3))
def test_absurd_figures_are_missing(bad: float, which: int):
    figures = [2.8, 0.01, 200.0]
    figures[which] = bad
    assert ev100(*figures) is None


@settings(max_examples=25, deadline=None)
@given(f_number=st.floats(0.9, 32), inverse_seconds=st.floats(0.05, 8000), iso=st.integers(50, 51200))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, f_number: float, inverse_seconds: float, iso: int
):
    path = tmp_path_factory.getbasetemp() / "photo.jpg"
    Image.new("RGB", (8, 8)).save(path, exif=exif_bytes(f_number, 1 / inverse_seconds, iso))
    assert read_ev100(path) == pytest.approx(ev100(f_number, 1 / inverse_seconds, iso), abs=0.01)


def test_the_exposure_bias_is_not_added(tmp_path: Path):
    biased = photo_with(tmp_path / "a.jpg", {**COMPLETE, ExifTags.Base.ExposureBiasValue: -2.0})
    assert read_ev100(biased) == pytest.approx(4)


def test_a_list_of_speeds_counts_by_its_first(tmp_path: Path):
    assert read_ev100(
        photo_with(tmp_path / "a.jpg", {**COMPLETE, ExifTags.Base.ISOSpeedRatings: (400, 0)})
    ) == pytest.approx(2)


@pytest.mark.parametrize("tag", list(COMPLETE))
def test_an_incomplete_record_is_missing(tmp_path: Path, tag: int):
    without = {key: value for key, value in COMPLETE.items() if key != tag}
    assert read_ev100(photo_with(tmp_path / "a.jpg", without)) is None


@pytest.mark.parametrize("iso", [0, 65535])
def test_a_speed_that_says_nothing_is_missing(tmp_path: Path, iso: int):
    assert read_ev100(photo_with(tmp_path / "a.jpg", {**COMPLETE, ExifTags.Base.ISOSpeedRatings: iso})) is None


TAG = ExifTags.Base
APEX: dict[int, object] = {TAG.ApertureValue: 2.0, TAG.ShutterSpeedValue: 2.0}


@pytest.mark.parametrize("absent", [(TAG.FNumber,), (TAG.ExposureTime,), (TAG.FNumber, TAG.ExposureTime)])
def test_apex_says_what_figures_do_not(tmp_path: Path, absent: tuple[int, ...]):
    tags = {tag: value for tag, value in (COMPLETE | APEX).items() if tag not in absent}
    assert read_ev100(photo_with(tmp_path / "a.jpg", tags)) == pytest.approx(4)


def test_a_lens_that_says_nothing_is_not_f_1(tmp_path: Path):
    silent = {**COMPLETE, TAG.FNumber: 0.0, TAG.ApertureValue: 0.0}
    assert read_ev100(photo_with(tmp_path / "a.jpg", silent)) is None


@pytest.mark.parametrize("tag", [TAG.RecommendedExposureIndex, TAG.StandardOutputSensitivity, TAG.ISOSpeed])
def test_a_speed_beyond_16_bits_is_elsewhere(tmp_path: Path, tag: int):
    fast = {**COMPLETE, TAG.ISOSpeedRatings: 65535, tag: 102400}
    assert read_ev100(photo_with(tmp_path / "a.jpg", fast)) == pytest.approx(4 - math.log2(1024))
    del fast[TAG.ISOSpeedRatings]
    assert read_ev100(photo_with(tmp_path / "a.jpg", fast)) == pytest.approx(4 - math.log2(1024))


@pytest.mark.parametrize(
    "absurd",
    [
        {TAG.ExposureTime: 7200.0},
        {TAG.ExposureTime: 0.0},
        {TAG.ExposureTime: -0.01},
        {TAG.ExposureTime: IFDRational(1, 0)},
        {TAG.ExposureTime: 1e-9},
        {TAG.FNumber: 0.01},
        {TAG.FNumber: 1e6},
        {TAG.FNumber: IFDRational(0, 0)},
        {TAG.ISOSpeedRatings: -100},
        {TAG.ISOSpeedRatings: 2**31},
        {TAG.ISOSpeedRatings: 65535, TAG.RecommendedExposureIndex: 0},
    ],
)
def test_what_no_camera_does_is_missing(tmp_path: Path, absurd: dict[int, object]):
    assert read_ev100(photo_with(tmp_path / "a.jpg", COMPLETE | absurd)) is None


@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "webp"])
def test_every_kind_says_the_same(tmp_path: Path, kind: str):
    path = tmp_path / f"a.{kind}"
    Image.new("RGB", (8, 8)).save(path, exif=exif_bytes(2.8, 1 / 30, 800))
    assert read_ev100(path) == pytest.approx(ev100(2.8, 1 / 30, 800), abs=1e-3)


def test_no_record_at_all_is_missing(tmp_path: Path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(b"no photo")
    assert read_ev100(tmp_path / "a.png") is None
    assert read_ev100(tmp_path / "b.jpg") is None
    assert read_ev100(tmp_path / "absent.jpg") is None


@pytest.mark.filterwarnings("error")
def test_a_damaged_record_is_missing(tmp_path: Path):
    path = photo_with(tmp_path / "a.jpg", COMPLETE)
    data = path.read_bytes()
    start = data.index(b"Exif\0\0") + 6
    for damage in (b"\xff" * 20, b"II*\0\xff\xff\xff\x7f" + b"\0" * 12):
        path.write_bytes(data[:start] + damage + data[start + 20 :])
        assert read_ev100(path) is None


def test_a_real_phone(plush: Path):
    values = [value for path in sorted((plush / "images").glob("*.jpg")) if (value := read_ev100(path)) is not None]
    assert len(values) == 97
    assert min(values) == pytest.approx(3.93, abs=0.005)
    assert max(values) == pytest.approx(6.02, abs=0.005)
