"""A capture of landscape, portrait and another camera's photos goes through fit, scores, export and render."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from unrender.cameras.camera import Cameras, pixel_centers
from unrender.cameras.lens import make_lens
from unrender.cameras.sensor import Sensor
from unrender.datasets.clouds import PointCloud
from unrender.datasets.colmap import write_colmap
from unrender.datasets.read_capture import read_capture
from unrender.datasets.reconstruction import Reconstruction
from unrender.geometry.transforms import look_at
from unrender.images.exif import exif_bytes

LENSES = (
    make_lens("PINHOLE", 64, 48, [50.0, 50.0, 32.0, 24.0]),
    make_lens("SIMPLE_RADIAL", 48, 64, [50.0, 24.0, 32.0, 0.02]),
    make_lens("OPENCV", 90, 60, [72.0, 70.0, 44.0, 31.0, 0.01, 0.0, 0.001, 0.0]),
)
CAMERA_OF_VIEW = (1, 0, 2, 0, 1, 2, 1, 0, 2)


def paint(places: torch.Tensor) -> torch.Tensor:
    """Radiance [N, 3] of the wall z = 0 at ``places`` [N, 2]."""
    x, y = places.float().unbind(-1)
    return 0.25 * torch.exp(0.8 * torch.stack([torch.sin(3 * x), torch.cos(2 * y), torch.sin(5 * (x + y))], -1))


def wall_cameras() -> Cameras:
    along = torch.linspace(-0.8, 0.8, 9, dtype=torch.float64)
    eyes = torch.stack([along, 0.2 * torch.cos(5 * along), torch.full_like(along, -2.0)], dim=1)
    index = torch.tensor(CAMERA_OF_VIEW)
    return Cameras(
        camera_from_world=look_at(eyes, (0.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
        camera_index=index,
        lenses=LENSES,
        pixel_scale=torch.ones(9, 2, dtype=torch.float64),
        pixel_offset=torch.zeros(9, 2, dtype=torch.float64),
        sizes=torch.tensor([[lens.height, lens.width] for lens in LENSES])[index],
        sensor=Sensor.start(5.0 + 0.5 * (torch.arange(9) % 3), 3),
    )


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine photos of a painted wall by three cameras. One portrait photo is stored on its side, as phones do."""
    folder, cameras = tmp_path_factory.mktemp("mixed"), wall_cameras()
    (folder / "images").mkdir()
    for view, eye in enumerate(cameras.centers):
        height, width = cameras.size_of(view)
        rays = cameras.rays(view, pixel_centers(height, width).reshape(-1, 2)).double()
        places = (eye - rays * (eye[2] / rays[:, 2:]))[:, :2]
        photo = cameras.select([view]).record(paint(places).T.reshape(1, 3, height, width))[0]
        picture = Image.fromarray((photo * 255).round().byte().permute(1, 2, 0).contiguous().numpy())
        exif = Image.Exif()
        exif.load(exif_bytes(1.0, 2.0 ** -float(cameras.sensor.exposure[view]), 100))
        if view == 4:
            picture, exif[0x112] = picture.transpose(Image.Transpose.ROTATE_90), 6
        picture.save(folder / "images" / f"photo {view}.jpg", quality=95, exif=exif)
    places = torch.rand(1500, 2, generator=torch.Generator().manual_seed(0)).double() * 4 - 2
    cloud = PointCloud(torch.nn.functional.pad(places, (0, 1)), paint(places).clamp(0, 1) ** 0.45)
    names = [f"photo {view}.jpg" for view in range(9)]
    write_colmap(folder / "sparse" / "0", Reconstruction.of(names, cameras, cloud))
    return folder


def test_all_are_made_equally_wide(mixed: Path) -> None:
    capture = read_capture(mixed)
    small = capture.at_width(40)
    heights = {0: 30, 1: 53, 2: 27}
    for view, camera in enumerate(CAMERA_OF_VIEW):
        assert small.cameras.size_of(view) == (heights[camera], 40)
        assert small.image(view).shape == (3, heights[camera], 40)
    points, origin = capture.points.positions.float(), torch.zeros(3).double()
    for view, camera in enumerate(CAMERA_OF_VIEW):
        whole, part = (c.cameras.project(view, points, origin).pixels for c in (capture, small))
        scale = torch.tensor([40 / LENSES[camera].width, heights[camera] / LENSES[camera].height])
        torch.testing.assert_close(part, whole * scale, atol=2e-3, rtol=1e-4)


def test_the_photo_on_its_side_shows_the_wall(mixed: Path) -> None:
    """Upright as its neighbours: under its camera its pixels are those of the wall."""
    capture = read_capture(mixed)
    assert capture.turned == (1, 1, 1, 1, 6, 1, 1, 1, 1)
    cameras = capture.cameras
    rays, eye = cameras.rays(4, pixel_centers(64, 48).reshape(-1, 2)).double(), cameras.centers[4]
    places = (eye - rays * (eye[2] / rays[:, 2:]))[:, :2]
    sensor = replace(cameras.sensor, exposure=wall_cameras().sensor.exposure, exposure_mean=5.5)
    expected = replace(cameras, sensor=sensor).select([4]).record(paint(places).T.reshape(1, 3, 64, 48))[0]
    assert float((capture.image(4) - expected).abs().mean()) < 0.02


@pytest.mark.parametrize("width", [None, 40])
def test_fit_eval_render_and_export(
    mixed: Path, tmp_path: Path, width: int | None, unrender: Callable[..., Any], small: Path
) -> None:
    run, more = tmp_path / "run", [] if width is None else ["--width", width]
    said = unrender("fit", mixed, "-o", run, "--config", small, "--steps", 12, "--quiet", *more)
    assert said.status == 0, said.err
    names = [entry["name"] for entry in json.loads((run / "eval.json").read_text())["images"]]
    assert names == ["photo 0.jpg", "photo 8.jpg"]
    assert unrender("render", run, "-o", tmp_path / "all", "--path", "all", "--quiet").status == 0
    expected = {f"photo {view}": read_capture(mixed).at_width(width or 48).cameras.size_of(view) for view in range(9)}
    if width is None:
        expected = {f"photo {view}": wall_cameras().size_of(view) for view in range(9)}
    for stem, (height, wide) in expected.items():
        with Image.open(tmp_path / "all" / f"{stem}.png") as picture:
            assert picture.size == (wide, height), stem
    assert unrender("export", run, "-o", tmp_path / "out", "--to", "colmap", "--quiet").status == 0
    again = read_capture(tmp_path / "out")
    assert again.names == read_capture(mixed).names
    assert [lens.model for lens in again.cameras.lenses] == [lens.model for lens in LENSES]
