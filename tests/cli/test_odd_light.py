"""Photos that hardly say how much light there was: fitted, scored and reported all the same, said, and never NaN."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unrender.cameras.sensor import Sensor
from unrender.datasets.colmap import write_colmap
from unrender.datasets.read_capture import read_capture
from unrender.datasets.reconstruction import Reconstruction
from unrender.fit.run import Run
from unrender.images.exif import exif_bytes

Change = Callable[[int, np.ndarray, bytes], tuple[np.ndarray, bytes]]


def repainted(capture: Path, folder: Path, change: Change) -> Path:
    """A copy of a capture whose photos ``change`` made of (number, pixels, EXIF)."""
    shutil.copytree(capture, folder)
    for number, file in enumerate(sorted((folder / "images").iterdir())):
        with Image.open(file) as photo:
            pixels, exif = change(number, np.array(photo), photo.info["exif"])
        Image.fromarray(pixels).save(file, quality=95, exif=exif)
    return folder


CLIPPED: dict[str, Change] = {
    "all white": lambda number, pixels, exif: (np.full_like(pixels, 255), exif),
    "all black": lambda number, pixels, exif: (np.zeros_like(pixels), exif),
    "half white, half black": lambda number, pixels, exif: (np.full_like(pixels, 255 * (number % 2)), exif),
}
UNKNOWN: dict[str, Change] = {
    "zeros": lambda number, pixels, exif: (pixels, exif_bytes(0.0, 0.0, 0)),
    "absurd": lambda number, pixels, exif: (pixels, exif_bytes(1.0, 1e6 if number % 2 else 1e-9, 100)),
}


@pytest.fixture
def fit(unrender, small, tmp_path) -> Callable[[Path], str]:
    """Fit a capture for six steps, check that all of the run is finite, and give what was said."""

    def call(capture: Path) -> str:
        run = tmp_path / "run"
        said = unrender("fit", capture, "-o", run, "--config", small, "--steps", 6, "--threads", 1)
        assert said.status == 0, said.err
        model = Run.open(run).load_model()
        for parameter in model.parameters():
            assert bool(parameter.raw.isfinite().all()), parameter.name
        assert (run / "report.html").stat().st_size > 10_000
        return said.err + said.out

    return call


@pytest.mark.parametrize("kind", CLIPPED)
def test_clipped_photos_are_fitted_and_named(fit, tiny_capture, tmp_path, kind):
    said = fit(repainted(tiny_capture, tmp_path / "photos", CLIPPED[kind]))
    assert "7 of 7 photos looked at (photo_1.jpg, photo_2.jpg, photo_3.jpg, ...) are black or white almost" in said
    scores = Run.open(tmp_path / "run").load_scores()
    assert all(math.isfinite(number) for number in (*scores["test"].values(), *scores["fitted_exposure"].values()))


def test_the_one_clipped_photo_is_named(fit, tiny_capture, tmp_path):
    white = repainted(
        tiny_capture, tmp_path / "photos", lambda number, pixels, exif: (pixels * 0 + 255 * (number == 3), exif)
    )
    kept = repainted(tiny_capture, tmp_path / "kept", lambda number, pixels, exif: (pixels, exif))
    shutil.copy(white / "images" / "photo_3.jpg", kept / "images" / "photo_3.jpg")
    assert "1 of 7 photos looked at (photo_3.jpg) are black or white almost everywhere" in fit(kept)


@pytest.mark.parametrize("kind", UNKNOWN)
def test_exposures_that_no_camera_has_are_estimated(fit, tiny_capture, tmp_path, kind):
    said = fit(repainted(tiny_capture, tmp_path / "photos", UNKNOWN[kind]))
    assert "exposure of 7 photos estimated from points" in said
    assert "EXIF says no exposure" in said


def subset(capture: Path, folder: Path, views: list[int], *, lens_each: bool = False) -> Path:
    """Some views of a capture, with one camera or one for each."""
    found = read_capture(capture, test_every=0)
    cameras = found.cameras.select(views)
    if lens_each:
        sensor = Sensor.start(cameras.sensor.exposure, len(views))
        index, lenses = torch.arange(len(views)), cameras.lenses * len(views)
        cameras = replace(cameras, camera_index=index, lenses=lenses, sensor=sensor)
    (folder / "images").mkdir(parents=True)
    for view in views:
        shutil.copy(found.image_paths[view], folder / "images")
    names = [found.names[view] for view in views]
    write_colmap(folder / "sparse" / "0", Reconstruction.of(names, cameras, found.points))
    return folder


def test_one_photo_is_fitted_and_none_held_out(fit, tiny_capture, tmp_path):
    said = fit(subset(tiny_capture, tmp_path / "photos", [4]))
    assert "numbers to 1 photo of 64 x 48 for 6 steps; 0 held out" in said
    assert "EXIF says one exposure: too little to tell" in said
    assert "nothing to score" in said


def test_one_photo_that_is_held_out_is_refused(unrender, tiny_capture, tmp_path):
    lone = subset(tiny_capture, tmp_path / "photos", [4])
    said = unrender("fit", lone, "-o", tmp_path / "run", "--test-every", 2)
    assert said.status == 2
    assert "every view is held out" in said.err


def test_a_camera_for_each_photo(fit, tiny_capture, tmp_path):
    fit(subset(tiny_capture, tmp_path / "photos", list(range(9)), lens_each=True))
    sensor = Run.open(tmp_path / "run").load_model().cameras.sensor
    assert len(sensor.vignette) == 9
    assert float((sensor.exposure - sensor.exposure_start)[sensor.anchor].abs().max()) < 0.5
