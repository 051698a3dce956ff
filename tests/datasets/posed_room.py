"""Reconstructions at random, photos for them, and what every format must keep: for the tests of formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from unrender.cameras.lens import Lens
from unrender.datasets.clouds import PointCloud
from unrender.datasets.reconstruction import Observations, Reconstruction
from unrender.errors import CaptureError
from unrender.geometry.rotations import exp_so3
from unrender.geometry.transforms import rigid

NAMES = ("a.jpg", "b c.jpg", "left/é 1.jpg", "left/é 2.jpg", "z.png")


def posed(lenses: Sequence[Lens], seed: int, *, away: float = 0.0, points: int = 12) -> Reconstruction:
    """Five views through ``lenses`` in turn, around ``away`` in every coordinate, with points before each of them."""
    generator = torch.Generator().manual_seed(seed)
    views = len(NAMES)
    rotation = exp_so3(torch.randn(views, 3, dtype=torch.float64, generator=generator))
    center = torch.randn(views, 3, dtype=torch.float64, generator=generator) + away
    positions = torch.randn(points, 3, dtype=torch.float64, generator=generator) + away
    colors = torch.randint(0, 256, (points, 3), generator=generator).float() / 255
    return Reconstruction(
        names=NAMES,
        image_folder=Path("images"),
        camera_from_world=rigid(rotation, -(rotation @ center[:, :, None])[:, :, 0]),
        camera_index=torch.arange(views) % len(lenses),
        lenses=tuple(lenses),
        points=PointCloud(positions, colors),
    )


def seen(found: Reconstruction) -> Reconstruction:
    """With an observation of every point in every second view, and one of no point first in each view."""
    views = torch.arange(0, len(found), 2).repeat_interleave(len(found.points) + 1)
    points = torch.arange(-1, len(found.points)).repeat(len(range(0, len(found), 2)))
    generator = torch.Generator().manual_seed(3)
    pixels = 100 * torch.rand(len(views), 2, dtype=torch.float64, generator=generator)
    return replace(found, observations=Observations(views, pixels, points))


def place_photos(folder: Path, found: Reconstruction) -> None:
    """A black photo of the right size for every view."""
    for name, lens in zip(found.names, found.lens_of_view, strict=True):
        path = folder / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (lens.width, lens.height)).save(path)


def before(found: Reconstruction, view: int, count: int = 40) -> torch.Tensor:
    """World points [count, 3] that a view sees, all over its photo."""
    generator = torch.Generator().manual_seed(view)
    lens, pose = found.lens_of_view[view], found.camera_from_world[view]
    size = torch.tensor([lens.width, lens.height], dtype=torch.float64)
    pixels = size * torch.rand(count, 2, dtype=torch.float64, generator=generator)
    depth = 1 + 4 * torch.rand(count, 1, dtype=torch.float64, generator=generator)
    return (lens.unproject(pixels) * depth - pose[:3, 3]) @ pose[:3, :3]


def pixels_of(found: Reconstruction, view: int, world: torch.Tensor) -> torch.Tensor:
    """Where a view sees world points, [N, 2]."""
    pose = found.camera_from_world[view]
    pixels, there = found.lens_of_view[view].project(world @ pose[:3, :3].T + pose[:3, 3])
    assert bool(there.all())
    return pixels


def assert_same_views(found: Reconstruction, expected: Reconstruction, *, poses: float = 1e-9, pixels: float = 1e-6):
    """Names, poses and where points land are the same."""
    assert found.names == expected.names
    torch.testing.assert_close(found.camera_from_world, expected.camera_from_world, rtol=0, atol=poses)
    for view in range(len(expected)):
        world = before(expected, view)
        there, here = pixels_of(expected, view, world), pixels_of(found, view, world)
        torch.testing.assert_close(here, there, rtol=0, atol=pixels)


def refuses_any_damage(file: Path, read: Callable[[], object], *, seed: int, tries: int = 60) -> int:
    """Flip bytes of a good file, cut it, put others in: it reads, or CaptureError in one line. Returns how many."""
    generator = torch.Generator().manual_seed(seed)
    good, refused = file.read_bytes(), 0
    for _ in range(tries):
        kind, at, byte = (int(torch.randint(0, high, (), generator=generator)) for high in (4, len(good), 256))
        other = (b"nan", b"1e999", b"-1", b"99999999999", b"null", b"<", b"\xff", b"../")[byte % 8]
        file.write_bytes(
            (
                good[:at],
                good[:at] + bytes([byte]) + good[at + 1 :],
                good[:at] + other + good[at:],
                good[:at] + good[at + byte :],
            )[kind]
        )
        try:
            read()
        except CaptureError as error:
            refused += "\n" not in str(error)
    file.write_bytes(good)
    return refused


def looked_at(found: Reconstruction) -> Observations:
    """The observations, which must be there."""
    assert found.observations is not None
    return found.observations


def colors_of(found: Reconstruction) -> torch.Tensor:
    """The colours of the points, which must be there."""
    assert found.points.colors is not None
    return found.points.colors
