"""What all tests share: checked shapes, one thread, seeded randomness, and the real capture where it lies."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

if TYPE_CHECKING:
    from unrender.cameras.camera import Cameras

install_import_hook("unrender", "shape_checks.check_stated")  # must precede the first import of ours

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """One thread and fixed examples: the tests are small, run side by side, and say the same on every machine."""
    torch.set_num_threads(1)
    settings.register_profile("house", deadline=None, derandomize=True)
    settings.load_profile("house")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data: $UNRENDER_DATA, or ``shared/data`` beside the repository. Skips where it is absent."""
    folder = Path(os.environ.get("UNRENDER_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set UNRENDER_DATA to the folder that holds it")
    return folder


@pytest.fixture(scope="session")
def plush(data: Path) -> Path:
    """97 phone photos with EXIF and a COLMAP text model (SIMPLE_RADIAL). Skips where it is absent."""
    folder = data / "plush"
    if not folder.is_dir():
        pytest.skip(f"no plush capture in {data}")
    return folder


@pytest.fixture
def generator() -> torch.Generator:
    """A source of random numbers that starts anew in every test."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def tiny_capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A COLMAP folder of 9 JPEGs, 64 x 48, of a painted wall, with EXIF half a stop apart. Not to be written to."""
    from PIL import Image

    from unrender.cameras.camera import pixel_centers
    from unrender.datasets.clouds import PointCloud
    from unrender.datasets.colmap import write_colmap
    from unrender.datasets.reconstruction import Reconstruction
    from unrender.images.exif import exif_bytes

    folder, cameras = tmp_path_factory.mktemp("tiny"), _cameras_before_a_wall(views=9)
    (folder / "images").mkdir()
    for view, eye in enumerate(cameras.centers):
        rays = cameras.rays(view, pixel_centers(48, 64).reshape(-1, 2)).double()
        places = (eye - rays * (eye[2] / rays[:, 2:]))[:, :2]
        photo = cameras.select([view]).record(_paint(places).T.reshape(1, 3, 48, 64))[0]
        pixels = (photo * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
        exif = exif_bytes(1.0, 2.0 ** -float(cameras.sensor.exposure[view]), 100)
        Image.fromarray(pixels).save(folder / "images" / f"photo_{view}.jpg", quality=95, exif=exif)
    places = torch.rand(1500, 2, generator=torch.Generator().manual_seed(0)).double() * 4 - 2
    cloud = PointCloud(torch.nn.functional.pad(places, (0, 1)), _paint(places).clamp(0, 1) ** 0.45)
    names = [f"photo_{view}.jpg" for view in range(9)]
    write_colmap(folder / "sparse" / "0", Reconstruction.of(names, cameras, cloud))
    return folder


def _paint(places: torch.Tensor) -> torch.Tensor:
    """Radiance [N, 3] of the wall z = 0 at ``places`` [N, 2]."""
    x, y = places.float().unbind(-1)
    return 0.25 * torch.exp(0.8 * torch.stack([torch.sin(3 * x), torch.cos(2 * y), torch.sin(5 * (x + y))], -1))


def _cameras_before_a_wall(views: int) -> Cameras:
    """Views in an arc before the wall, looking at its middle."""
    from unrender.cameras.camera import Cameras
    from unrender.cameras.lens import make_lens
    from unrender.cameras.sensor import Sensor
    from unrender.geometry.transforms import look_at

    along = torch.linspace(-0.8, 0.8, views, dtype=torch.float64)
    eyes = torch.stack([along, 0.2 * torch.cos(5 * along), torch.full_like(along, -2.0)], dim=1)
    return Cameras(
        camera_from_world=look_at(eyes, (0.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
        camera_index=torch.zeros(views, dtype=torch.int64),
        lenses=(make_lens("PINHOLE", 64, 48, [50.0, 50.0, 32.0, 24.0]),),
        pixel_scale=torch.ones(views, 2, dtype=torch.float64),
        pixel_offset=torch.zeros(views, 2, dtype=torch.float64),
        sizes=torch.tensor([[48, 64]]).expand(views, 2),
        sensor=Sensor.start(5.0 + 0.5 * (torch.arange(views) % 3)),
    )
