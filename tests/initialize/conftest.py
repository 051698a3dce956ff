"""Captures whose photos are computed from a function of the ray: no files, and every truth known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import Lens, make_lens
from unrender.cameras.sensor import Sensor
from unrender.datasets.capture import Capture
from unrender.datasets.clouds import PointCloud
from unrender.initialize.densify import neighbourhood_radius
from unrender.initialize.surfels import Surfels

# Ray origins [K, 3] and unit directions [K, 3] -> radiance [K, 3].
Light = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
HEIGHT, WIDTH, FOCAL = 48, 64, 60.0


@dataclass(frozen=True)
class Imagined(Capture):
    """A capture without files: its photos record ``light``; looking at a view of ``forbidden`` is an error."""

    light: Light = lambda origins, directions: torch.ones_like(directions)
    forbidden: tuple[int, ...] = ()

    def image(self, view: int) -> torch.Tensor:
        assert view not in self.forbidden, f"held-out photo {view} was read"
        rays = self.cameras.directions(view).reshape(-1, 3)
        seen = self.light(self.cameras.centers[view].float().expand_as(rays), rays)
        height, width = self.cameras.sizes[view].tolist()
        return self.cameras.select([view]).record(seen.T.reshape(1, 3, height, width))[0]


def look_at(eye: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """camera_from_world [4, 4] float64 of a camera at ``eye`` that looks at ``target``."""
    forward = torch.nn.functional.normalize(target - eye, dim=0)
    aside = torch.tensor([0.1, 1.0, 0.2], dtype=torch.float64)
    right = torch.nn.functional.normalize(torch.linalg.cross(aside, forward), dim=0)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.stack([right, torch.linalg.cross(forward, right), forward])
    pose[:3, 3] = -pose[:3, :3] @ eye
    return pose


def make_capture(
    positions: torch.Tensor,
    eyes: Sequence[Sequence[float]],
    light: Light | None = None,
    exposure: Sequence[float] | None = None,
    test: tuple[int, ...] = (),
    scale: float = 1.0,
    lens: Lens | None = None,
    **cloud: torch.Tensor,
) -> Imagined:
    """Points ``positions`` [N, 3] seen from ``eyes`` [V, 3] towards the world's origin; all lengths times ``scale``."""
    lens = lens or make_lens("SIMPLE_PINHOLE", WIDTH, HEIGHT, [FOCAL, WIDTH / 2, HEIGHT / 2])
    places = torch.tensor(eyes, dtype=torch.float64)
    poses = torch.stack([look_at(eye, torch.zeros(3, dtype=torch.float64)) for eye in places])
    poses[:, :3, 3] *= scale
    views = len(places)
    ev = torch.zeros(views) if exposure is None else torch.tensor(exposure)
    cameras = Cameras(
        camera_from_world=poses,
        camera_index=torch.zeros(views, dtype=torch.int64),
        lenses=(lens,),
        pixel_scale=torch.ones(views, 2, dtype=torch.float64),
        pixel_offset=torch.zeros(views, 2, dtype=torch.float64),
        sizes=torch.tensor([[lens.height, lens.width]] * views),
        sensor=Sensor.start(ev),
    )
    return Imagined(
        root=Path("imagined"),
        names=tuple(f"{view:03d}" for view in range(views)),
        image_paths=(Path("nowhere"),) * views,
        mask_paths=(None,) * views,
        cameras=cameras,
        points=PointCloud(positions.double() * scale, **cloud),
        exif_ev=ev.double(),
        test=test,
        light=light or (lambda origins, directions: torch.full_like(directions, 0.3)),
        forbidden=test,
    )


@pytest.fixture
def ring() -> list[list[float]]:
    """Eight places around the z axis, three units in front of the plane z = 0 on its negative side."""
    turns = torch.arange(8) / 8 * 2 * torch.pi
    return torch.stack([turns.cos(), turns.sin(), torch.full((8,), -3.0)], dim=1).tolist()


@pytest.fixture
def plane(generator: torch.Generator) -> torch.Tensor:
    """1500 points on the square -1..1 of the plane z = 0."""
    points = torch.rand(1500, 3, generator=generator, dtype=torch.float64) * 2 - 1
    points[:, 2] = 0
    return points


@pytest.fixture
def capture_of() -> Callable[..., Imagined]:
    """``make_capture``."""
    return make_capture


@pytest.fixture
def surfels() -> Callable[[torch.Tensor], Surfels]:
    """Grey surfels without normals at given positions [N, 3], the world's origin as theirs."""

    def make(positions: torch.Tensor) -> Surfels:
        return Surfels(
            origin=torch.zeros(3, dtype=torch.float64),
            position=positions.float(),
            normal=torch.zeros(len(positions), 3),
            radius=neighbourhood_radius(positions),
            color=torch.full((len(positions), 3), 0.5),
            source=torch.arange(len(positions), dtype=torch.int32),
        )

    return make
