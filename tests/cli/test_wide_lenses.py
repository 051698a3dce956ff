"""Photos through a fisheye of 190 degrees and panoramas, from the capture to scores and new views."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from unrender.datasets.synthetic import light
from unrender.datasets.synthetic.capture import RoomSettings, make_room_capture

SIZES = {"fisheye": (64, 48), "panorama": (96, 48)}
MODELS = {"fisheye": "OPENCV_FISHEYE", "panorama": "EQUIRECTANGULAR"}


@pytest.fixture(scope="module")
def photographed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The room through a lens, as COLMAP leaves it."""

    def make(lens: str) -> Path:
        folder, (width, height) = tmp_path_factory.mktemp(lens) / "capture", SIZES[lens]
        with pytest.MonkeyPatch.context() as patch:
            for name, few in (("WINDOW_CELLS", (2, 1)), ("LAMP_SAMPLES", 1), ("BOUNCE_RAYS", 4)):
                patch.setattr(light, name, few)
            settings = RoomSettings(9, width, height, points=3000, texel=0.5, keep_views=False, lens=lens)
            list(make_room_capture(folder, settings))
        return folder

    return make


@pytest.mark.parametrize("lens", SIZES)
def test_a_fit_from_the_capture_to_new_views(photographed, unrender, small, tmp_path, lens):
    """The fisheye as COLMAP writes it, the panorama by way of transforms.json."""
    capture = photographed(lens)
    cloud = capture / "fused.ply"
    assert MODELS[lens] in (capture / "sparse" / "0" / "cameras.txt").read_text()
    if lens == "panorama":
        converted = unrender("convert", capture, "-o", tmp_path / "transforms", "--to", "transforms")
        assert converted.status == 0, converted.err
        capture = tmp_path / "transforms"
        assert json.loads((capture / "transforms.json").read_text())["camera_model"] == "EQUIRECTANGULAR"
    run = tmp_path / "run"
    fitted = unrender("fit", capture, "-o", run, "--steps", 4, "--config", small, "--points", cloud)
    assert fitted.status == 0, fitted.err
    assert json.loads((run / "eval.json").read_text())
    rendered = unrender("render", run, "-o", tmp_path / "views")
    assert rendered.status == 0, rendered.err
    pictures = sorted((tmp_path / "views").glob("*.png"))
    assert pictures
    with Image.open(pictures[0]) as picture:
        assert picture.size == SIZES[lens]
    exported = unrender("export", run, "-o", tmp_path / "out", "--to", "colmap")
    assert exported.status == 0, exported.err
