"""Inputs on which every implementation of the point rasteriser must agree: one list for tests and benchmarks.

A case is a cloud, views of it and rules. Clouds lie in the cube [-1, 1]^3; cameras stand around it, inside it, and so
close that points lie on all sides of the image plane.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import LENSES, make_lens
from unrender.cameras.sensor import Sensor
from unrender.geometry.rotations import exp_so3
from unrender.kernels.rasterize_points.op import Geometry, Rules

__all__ = ["CASES", "PARAMETERS", "WIDE", "Case", "make_cameras", "make_cloud"]

PARAMETERS: dict[str, tuple[float, ...]] = {
    "SIMPLE_PINHOLE": (0.9, 0.5, 0.4),
    "PINHOLE": (0.9, 0.7, 0.5, 0.4),
    "SIMPLE_RADIAL": (0.8, 0.5, 0.4, -0.2),
    "RADIAL": (0.8, 0.5, 0.4, 0.1, -0.15),
    "OPENCV": (0.8, 0.9, 0.5, 0.4, -0.25, 0.1, 0.01, -0.02),
    "FULL_OPENCV": (0.8, 0.9, 0.5, 0.4, 0.2, -0.1, 0.01, -0.02, 0.03, 0.4, 0.05, 0.02),
    "SIMPLE_FISHEYE": (0.3, 0.5, 0.4),
    "FISHEYE": (0.3, 0.25, 0.5, 0.4),
    "SIMPLE_RADIAL_FISHEYE": (0.3, 0.5, 0.4, -0.02),
    "RADIAL_FISHEYE": (0.3, 0.5, 0.4, 0.02, -0.01),
    "OPENCV_FISHEYE": (0.3, 0.28, 0.5, 0.4, 0.05, -0.02, 0.004, -0.0005),
    "THIN_PRISM_FISHEYE": (0.3, 0.28, 0.5, 0.4, 0.05, -0.01, 0.004, -0.003, 0.002, -0.0002, 0.005, -0.004),
    "RAD_TAN_THIN_PRISM_FISHEYE": (
        *(0.3, 0.28, 0.5, 0.4, 0.05, -0.01, 0.004, -0.0005, 0.0001, -0.00001),
        *(0.004, -0.003, 0.005, -0.001, -0.004, 0.0005),
    ),
    "FOV": (0.4, 0.35, 0.5, 0.4, 0.9),
    "OCAM": (1.02, 0.01, -0.02, 0.4, 0.5, 0.42, 0.29, -0.01, 0.02, 0.01, -0.005),
    "EUCM": (0.3, 0.32, 0.5, 0.4, 0.6, 1.1),
    "SIMPLE_DIVISION": (0.4, 0.5, 0.4, 0.1),
    "DIVISION": (0.3, 0.32, 0.5, 0.4, -0.3),
    "EQUIRECTANGULAR": (1.0, 0.7),
}
"""Parameters for a photo of width 1: all that are in pixels are multiplied by the width."""

WIDE = tuple(name for name in PARAMETERS if LENSES[name].depth_is_distance)
"""Those that may see more than a half-space."""
_PIXELS = ("f", "fx", "fy", "cx", "cy", "w", "h")


@dataclass(frozen=True)
class Case:
    """``lens``: of ``PARAMETERS``; ``eyes``: how far from the middle of the cloud the cameras stand, one each;
    ``zoom``: focal length relative to the lens's own; ``known``: share of points whose normal is known.
    The rest: see ``Rules``.
    """

    lens: str = "PINHOLE"
    points: int = 3000
    channels: int = 4
    size: tuple[int, int] = (67, 91)
    layers: int = 4
    alpha: float = 0.01
    gamma: float | None = 1.5
    ghosts: float = 0.0
    eyes: tuple[float, ...] = (3.0, 1.5)
    zoom: float = 1.0
    known: float = 0.8

    @property
    def rules(self) -> Rules:
        """What the op is told."""
        return Rules(*self.size, self.layers, self.alpha, self.gamma, self.ghosts)

    def make(self, seed: int = 0) -> tuple[Geometry, torch.Tensor, Cameras]:
        """Geometry, descriptors [N, D] and cameras."""
        generator = torch.Generator().manual_seed(seed)
        geometry = make_cloud(self.points, generator, self.known)
        descriptors = torch.randn(self.points, self.channels, generator=generator)
        return geometry, descriptors, make_cameras(self, generator)


CASES: dict[str, Case] = {
    **{lens.lower(): Case(lens) for lens in PARAMETERS},
    **{f"{lens.lower()}_inside": Case(lens, eyes=(0.0, 0.3, 0.9), gamma=None) for lens in PARAMETERS},
    **{f"{lens.lower()}_within": Case(lens, eyes=(0.0, 0.5), zoom=0.4, points=8000) for lens in WIDE},
    **{f"{lens.lower()}_close": Case(lens, points=8000, eyes=(0.1, 0.95), size=(40, 30), zoom=3.0) for lens in WIDE},
    "all_drawn": Case(gamma=None),
    "nearest_only": Case(alpha=0.0),
    "nearest_only_all_drawn": Case(alpha=0.0, gamma=None),
    "crowded": Case(points=60_000, alpha=0.03, gamma=None, size=(43, 61)),
    "crowded_steep": Case("OPENCV", points=40_000, alpha=0.003, gamma=None, layers=6, eyes=(1.05, 1.2)),
    "crowded_discarding": Case(points=60_000, alpha=0.03, size=(43, 61)),
    "wide_band": Case(alpha=0.5, gamma=None),
    "ghosts": Case("OPENCV", ghosts=0.25, eyes=(2.0, 2.0)),
    "few_drawn": Case(points=20_000, gamma=0.1),
    "zoomed_in": Case("OPENCV", points=20_000, zoom=30.0),
    "from_afar": Case("SIMPLE_RADIAL", eyes=(300.0,), zoom=100.0),
    "one_channel": Case(channels=1),
    "odd_channels": Case(channels=5),
    "many_channels": Case(channels=32, points=500),
    "large": Case("RADIAL", points=30_000, size=(301, 517), layers=6),
    **{
        f"{lens.lower()}_tiles": Case(lens, points=30_000, size=(200, 333), eyes=(0.0, 0.7), gamma=None)
        for lens in ("FULL_OPENCV", *WIDE)
    },
    "more_layers_than_pixels": Case(size=(5, 3), layers=12),
    "all_layers_there_are": Case(size=(150, 90), layers=12, gamma=None),
    "one_pixel": Case(size=(1, 1), layers=1),
    "one_row": Case(size=(1, 200), layers=3),
    "one_point": Case(points=1, eyes=(2.0,)),
    "a_block_and_a_bit": Case(points=257),
    "no_points": Case(points=0),
    "no_views": Case(eyes=()),
}


def make_cloud(number: int, generator: torch.Generator, known: float) -> Geometry:
    """Random points on wavy spheres, most with normals outwards."""
    direction = torch.nn.functional.normalize(torch.randn(number, 3, generator=generator), dim=1)
    depth = 0.2 + 0.8 * torch.randint(1, 4, (number, 1), generator=generator) / 3
    wave = 1 + 0.05 * torch.sin(9 * direction[:, :1])
    has_normal = torch.rand(number, 1, generator=generator) < known
    spread = 0.2 * torch.randn(number, 3, generator=generator)
    return Geometry(
        position=direction * depth * wave,
        normal=torch.where(has_normal, torch.nn.functional.normalize(direction + spread, dim=1), 0.0),
        radius=0.2 * torch.rand(number, generator=generator) / max(number, 1) ** 0.3,
        threshold=torch.rand(number, generator=generator),
    )


def make_cameras(case: Case, generator: torch.Generator) -> Cameras:
    """Cameras of one lens, turned at random, that look towards the middle or nearly so, through a crop."""
    views, (height, width) = len(case.eyes), case.size
    photo = 2 * max(height, width)
    numbers = zip(_names(case.lens), PARAMETERS[case.lens], strict=True)
    unit = dict.fromkeys(_PIXELS, photo) | dict.fromkeys(("cx", "cy"), photo / case.zoom)
    params = [number * case.zoom * unit[name] if name in unit else number for name, number in numbers]
    turn = exp_so3(torch.randn(views, 3, generator=generator, dtype=torch.float64))
    pose = torch.eye(4, dtype=torch.float64).repeat(views, 1, 1)
    pose[:, :3, :3] = turn
    pose[:, 2, 3] = torch.tensor(case.eyes, dtype=torch.float64)
    pose[:, :2, 3] = 0.1 * torch.randn(views, 2, generator=generator, dtype=torch.float64)
    scales = 0.5 + torch.rand(views, 2, generator=generator, dtype=torch.float64) * 0.05
    return Cameras(
        camera_from_world=pose,
        camera_index=torch.zeros(views, dtype=torch.int64),
        lenses=(make_lens(case.lens, photo, photo, params),),
        pixel_scale=scales,
        pixel_offset=-0.05 * photo * torch.rand(views, 2, generator=generator, dtype=torch.float64),
        sizes=torch.tensor(case.size).expand(views, 2),
        sensor=Sensor.start(torch.full((views,), math.nan), cameras=1),
    )


def _names(lens: str) -> tuple[str, ...]:
    """Of parameters; coefficients of an OCAM polynomial are in pixels, as focal lengths are."""
    fixed = LENSES[lens].parameter_names
    return fixed + ("f",) * (len(PARAMETERS[lens]) - len(fixed))
