"""A capture of 16-bit PNG, 16-bit TIFF and linear EXR goes through fit, scores and render, and its depth arrives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unrender.datasets.read_capture import read_capture
from unrender.fit.fit import Fit, start_model
from unrender.fit.settings import CropSettings, FitSettings
from unrender.images.colour import linear_from_srgb
from unrender.images.io import read_photo, write_exr
from unrender.initialize.points import PointSettings
from unrender.render.shade.settings import DecoderSettings

imagecodecs = pytest.importorskip("imagecodecs")
tifffile = pytest.importorskip("tifffile")


@pytest.fixture(scope="module")
def deep_capture(tiny_capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The nine photos with eight more bits, by turns as PNG, TIFF and EXR; their names and poses stay."""
    folder = shutil.copytree(tiny_capture, tmp_path_factory.mktemp("deep") / "capture")
    for view in range(9):
        path = folder / "images" / f"photo_{view}.jpg"
        noise = np.random.default_rng(view).integers(-128, 128, (48, 64, 3))
        pixels = (read_photo(path).numpy() * 257.0 + noise).clip(0, 65535).astype(np.uint16)
        if view % 3 == 0:
            path.write_bytes(imagecodecs.png_encode(pixels))
        elif view % 3 == 1:
            tifffile.imwrite(path, pixels, photometric="rgb")
        else:
            write_exr(path, linear_from_srgb(torch.from_numpy(pixels.astype(np.float32) / 65535)))
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
    assert "3 photos are linear: encoded with the sRGB curve, clipped at 1: photo_2.jpg" in said.err
    scores = json.loads((run / "eval.json").read_text())
    assert [view["name"] for view in scores["images"]] == ["photo_0.jpg", "photo_8.jpg"]
    assert all(10 < view["psnr"] < 60 for view in scores["images"])
    assert unrender("render", run, "-o", tmp_path / "out", "--quiet").status == 0
    with Image.open(tmp_path / "out" / "photo_8.png") as picture:
        assert picture.size == (64, 48)
