"""Reconstructions at random, the same for every format, and what must not change when they go out and come back."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import torch

from unrender.cameras.lens import Lens, make_lens
from unrender.datasets.clouds import PointCloud
from unrender.datasets.reconstruction import Observations, Reconstruction
from unrender.errors import CaptureError
from unrender.geometry.rotations import exp_so3
from unrender.geometry.transforms import rigid, transform

NAMES = ("a.jpg", "b b.jpg", "left/é 1.jpg", "left/z.png", "q.jpg")


def lens_like(model: str, numbers: int = 0) -> Lens:
    """A lens of 640 x 480 of a model, with coefficients that differ with ``numbers``."""
    return make_lens(model, 640, 320 if model == "EQUIRECTANGULAR" else 480, _numbers(numbers)[model])


def _numbers(seed: int) -> dict[str, list[float]]:
    draw = random.Random(seed)
    focal, centre = [500 + draw.random(), 520 + draw.random()], [318 + draw.random(), 243 + draw.random()]
    small = [draw.uniform(-0.02, 0.02) for _ in range(12)]
    tangential = [draw.uniform(-1e-3, 1e-3) for _ in range(6)]
    return {
        "SIMPLE_PINHOLE": [focal[0], *centre],
        "PINHOLE": [*focal, *centre],
        "SIMPLE_RADIAL": [focal[0], *centre, small[0]],
        "RADIAL": [focal[0], *centre, *small[:2]],
        "OPENCV": [*focal, *centre, *small[:2], *tangential[:2]],
        "FULL_OPENCV": [*focal, *centre, *small[:2], *tangential[:2], *small[2:6]],
        "SIMPLE_FISHEYE": [focal[0], *centre],
        "FISHEYE": [*focal, *centre],
        "SIMPLE_RADIAL_FISHEYE": [focal[0], *centre, small[0]],
        "RADIAL_FISHEYE": [focal[0], *centre, *small[:2]],
        "OPENCV_FISHEYE": [*focal, *centre, *small[:4]],
        "THIN_PRISM_FISHEYE": [*focal, *centre, *small[:2], *tangential[:2], *small[2:4], *tangential[2:4]],
        "RAD_TAN_THIN_PRISM_FISHEYE": [*focal, *centre, *small[:6], *[0.0] * 6],
        "EQUIRECTANGULAR": [640.0, 320.0],
        "OCAM": [1 + small[0], tangential[0], tangential[1], 240.5, 321.25, 363.95, 205.0, -8.0, 12.0, 4.0],
    }


MODELS = tuple(_numbers(0))
"""The models that there are examples of."""


def reconstruction_with(*models: str, seed: int = 0, far: float = 0.0) -> Reconstruction:
    """Five photos through lenses of these models and twenty coloured points, ``far`` from the origin."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(5, 3, generator=generator, dtype=torch.float64) + far
    rotations = exp_so3(2 * torch.randn(5, 3, generator=generator, dtype=torch.float64))
    colors = torch.randint(0, 256, (20, 3), generator=generator).float() / 255
    return Reconstruction(
        names=NAMES,
        image_folder=Path("images"),
        camera_from_world=rigid(rotations, -(rotations @ centers[:, :, None])[:, :, 0]),
        camera_index=torch.arange(5) % len(models),
        lenses=tuple(lens_like(model, seed + place) for place, model in enumerate(models)),
        points=PointCloud(torch.randn(20, 3, generator=generator, dtype=torch.float64) + far, colors),
    )


def observed(found: Reconstruction) -> Reconstruction:
    """With every point seen by the first two photos and the last, at places of no meaning."""
    views = torch.tensor([0, 1, 4]).repeat_interleave(len(found.points))
    generator = torch.Generator().manual_seed(3)
    pixels = 300 * torch.rand(len(views), 2, generator=generator, dtype=torch.float64)
    points = torch.arange(len(found.points)).repeat(3)
    return Reconstruction(**{**vars(found), "observations": Observations(views, pixels, points)})


def before(found: Reconstruction, view: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of the world [N, 3] that a view sees all over its photo, and where its lens images them [N, 2]."""
    lens = found.lens_of_view[view]
    across, down = torch.arange(20, lens.width, 67), torch.arange(20, lens.height, 53)
    rays = lens.unproject(torch.cartesian_prod(across, down).double() + 0.25)
    places = rays * torch.linspace(1, 9, len(rays), dtype=torch.float64)[:, None]
    rotation, shift = found.camera_from_world[view, :3].split((3, 1), dim=1)
    pixels, inside = lens.project(places)
    assert int(inside.sum()) > 20
    return ((places - shift.T) @ rotation)[inside], pixels[inside]


def assert_same_cameras(back: Reconstruction, given: Reconstruction) -> None:
    """Names, sizes and poses are the same, and every view images the same points at the same pixels."""
    assert back.names == given.names
    torch.testing.assert_close(back.camera_from_world, given.camera_from_world, rtol=0, atol=1e-9)
    for view in range(len(given)):
        lens = back.lens_of_view[view]
        assert (lens.width, lens.height) == (given.lens_of_view[view].width, given.lens_of_view[view].height)
        world, pixels = before(given, view)
        torch.testing.assert_close(
            lens.project(transform(back.camera_from_world[view], world))[0], pixels, rtol=0, atol=1e-6
        )


def refuses_all_damage(
    file: Path, read: Callable[[], object], rounds: int = 150, pieces: tuple[bytes, ...] = (b"",)
) -> None:
    """Spoil a good file in many ways; whatever is in it, ``read`` reads it or raises CaptureError with one line."""
    said: list[str] = []
    good, draw = file.read_bytes(), random.Random(5)
    for turn in range(rounds):
        data = bytearray(good)
        for _ in range(draw.randrange(1, 4)):
            at = draw.randrange(len(data))
            if turn % 3 == 0:
                data[at] = draw.randrange(256)
            elif turn % 3 == 1:
                data = data[:at] or bytearray(b" ")
            else:
                data[at : at + draw.randrange(12)] = draw.choice(pieces)
        file.write_bytes(data or b" ")
        try:
            read()
        except CaptureError as error:
            said.append(str(error))
    file.write_bytes(good)
    assert said
    assert not [line for line in said if "\n" in line or len(line) > 2000]
