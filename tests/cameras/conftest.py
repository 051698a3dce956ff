import pytest
import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import make_lens
from unrender.cameras.sensor import Sensor
from unrender.geometry.transforms import look_at


def build_cameras(eyes, target=(0.0, 0.0, 0.0), up=(0.0, 0.0, 1.0)):
    """Views from ``eyes`` [V, 3] towards ``target``, through a distorted and a plain camera of equal photo size."""
    views = len(eyes)
    return Cameras(
        camera_from_world=look_at(eyes, target, up),
        camera_index=torch.arange(views) % 2,
        lenses=(
            make_lens("OPENCV", 64, 48, [60, 61, 31.0, 24.5, -0.1, 0.02, 0.001, -0.002]),
            make_lens("SIMPLE_PINHOLE", 64, 48, [55, 32, 24]),
        ),
        pixel_scale=torch.ones(views, 2, dtype=torch.float64),
        pixel_offset=torch.zeros(views, 2, dtype=torch.float64),
        sizes=torch.tensor([[48, 64]]).repeat(views, 1),
        sensor=Sensor.start(torch.arange(views, dtype=torch.float32), cameras=2),
    )


@pytest.fixture
def cameras():
    return build_cameras(torch.tensor([[3.0, 0, 1], [0, 3.5, 1], [-3, 0.2, 1.5], [0, -3, 0.5]]))
