"""Captures of 16-bit PNG and TIFF, of linear EXR and of RAW go through fit, scores and render, and depth arrives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from raw_files import write_dng

from unrender.cameras.sensor import response_knots
from unrender.datasets.read_capture import read_capture
from unrender.fit.fit import Fit, start_model
from unrender.fit.run import Run
from unrender.fit.settings import CropSettings, FitSettings
from unrender.images.io import read_exr, read_photo, write_exr
from unrender.initialize.points import PointSettings
from unrender.render.shade.settings import DecoderSettings

imagecodecs = pytest.importorskip("imagecodecs")
tifffile = pytest.importorskip("tifffile")


@pytest.fixture(scope="module")
def deep_capture(tiny_capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The nine photos with eight more bits, by turns as PNG and TIFF; their names and poses stay."""
    folder = shutil.copytree(tiny_capture, tmp_path_factory.mktemp("deep") / "capture")
    for view in range(9):
        path = folder / "images" / f"photo_{view}.jpg"
        noise = np.random.default_rng(view).integers(-128, 128, (48, 64, 3))
        pixels = (read_photo(path).numpy() * 257.0 + noise).clip(0, 65535).astype(np.uint16)
        if view % 2 == 0:
            path.write_bytes(imagecodecs.png_encode(pixels))
        else:
            tifffile.imwrite(path, pixels, photometric="rgb")
    return folder


@pytest.fixture(scope="module", params=["exr", "dng"])
def linear_capture(
    request: pytest.FixtureRequest, tiny_capture: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The light behind the nine photos, stored linear; names and poses stay."""
    if request.param == "dng":
        pytest.importorskip("rawpy", reason="RAW photos need the extra [raw]")
    folder = shutil.copytree(tiny_capture, tmp_path_factory.mktemp("linear") / "capture")
    for view in range(9):
        path = folder / "images" / f"photo_{view}.jpg"
        light = (read_photo(path).float() / 255) ** (1 / 0.45)
        if request.param == "dng":
            write_dng(path, light.numpy(), (1.0, 2.0 ** -(5 + 0.5 * (view % 3)), 100))
        else:
            write_exr(path, light)
    return folder


def test_deep_photos_show_what_those_of_8_bits_show_and_more(tiny_capture: Path, deep_capture: Path) -> None:
    coarse, fine = read_capture(tiny_capture), read_capture(deep_capture)
    assert fine.deep == tuple(range(9))
    for view in range(9):
        difference = (fine.image(view) - coarse.image(view)).abs()
        assert 0.3 / 255 < float(difference.max()) <= 0.51 / 255
    settings = FitSettings(
        crop=CropSettings(size=32),
        points=PointSettings(count=2000),
        network=DecoderSettings(levels=2, width=8, precision="float32"),
    )
    fit = Fit(start_model(fine, settings)[0], fine, settings)
    views, windows = fit.draw(torch.Generator().manual_seed(0))
    targets = fit.targets(views, windows)[0] * 255
    assert float((targets - targets.round()).abs().mean()) > 0.2


def test_fit_eval_and_render(deep_capture: Path, tmp_path: Path, unrender, small) -> None:
    run = tmp_path / "run"
    said = unrender("fit", deep_capture, "-o", run, "--config", small, "--steps", 6)
    assert said.status == 0, said.err
    scores = json.loads((run / "eval.json").read_text())
    assert [view["name"] for view in scores["images"]] == ["photo_0.jpg", "photo_8.jpg"]
    assert all(10 < view["psnr"] < 60 for view in scores["images"])
    assert unrender("render", run, "-o", tmp_path / "out", "--quiet").status == 0
    with Image.open(tmp_path / "out" / "photo_8.png") as picture:
        assert picture.size == (64, 48)


def test_linear_light_is_fitted_without_a_response(linear_capture: Path, tmp_path: Path, unrender, small) -> None:
    run, is_raw = tmp_path / "run", (linear_capture / "images" / "photo_0.jpg").read_bytes()[:2] == b"II"
    said = unrender("fit", linear_capture, "-o", run, "--config", small, "--steps", 6)
    assert said.status == 0, said.err
    assert "9 photos hold linear light: no response is fitted, 1 is clipped: photo_0.jpg" in said.err
    assert ("exposure missing" in said.err) != is_raw
    cameras = Run.open(run).load_model().cameras
    assert cameras.linear == (0,)
    torch.testing.assert_close(cameras.sensor.response[0, 0], response_knots(), rtol=0, atol=1e-6)
    assert unrender("fit", linear_capture, "-o", run, "--resume", "--steps", 9).status == 0
    cameras = Run.open(run).load_model().cameras
    torch.testing.assert_close(cameras.sensor.response[0, 1], response_knots(), rtol=0, atol=1e-6)
    assert unrender("render", run, "-o", tmp_path / "out", "--exr", "--quiet").status == 0
    assert bool((read_exr(tmp_path / "out" / "photo_8.exr") > 0).all())
