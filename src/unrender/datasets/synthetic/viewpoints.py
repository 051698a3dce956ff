"""Where the photographer stands: a walk around the room, then closer looks, all through one lens."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import Lens, make_lens
from unrender.cameras.sensor import Sensor
from unrender.geometry.transforms import look_at

__all__ = ["ROOM_LENSES", "fisheye_lens", "panorama_lens", "phone_lens", "walk"]

Aim = Callable[[float, torch.Tensor], torch.Tensor]

MIDDLE = (2.42, 1.9)
CLOSE_UPS = (
    ((2.05, 0.98, 1.08), (2.44, 2.02, 0.60)),
    ((3.28, 1.30, 1.25), (4.85, 1.25, 0.95)),
    ((1.80, 2.25, 1.15), (0.70, 3.05, 0.55)),
    ((2.55, 1.15, 1.30), (2.15, 0.20, 0.95)),
)
"""Eye and target of what is seen from near: the table, the books, the armchair, the sideboard."""


def phone_lens(width: int, height: int) -> Lens:
    """A lens as phones have: 74 degrees across the long side, barrel distortion, the axis a little off the centre."""
    focal = 0.665 * max(width, height)
    params = (focal, focal * 1.001, width * 0.503, height * 0.496, -0.085, 0.021, 4e-4, -3e-4)
    return make_lens("OPENCV", width, height, params)


def fisheye_lens(width: int, height: int) -> Lens:
    """A fisheye that sees 190 degrees across the long side, 5 to the rear at either end."""
    edge, k1, k2 = math.radians(95), -0.015, 0.002
    focal = max(width, height) / 2 / (edge * (1 + k1 * edge**2 + k2 * edge**4))
    params = (focal, focal * 0.999, width * 0.497, height * 0.503, k1, k2, 0.0, 0.0)
    return make_lens("OPENCV_FISHEYE", width, height, params)


def panorama_lens(width: int, height: int) -> Lens:
    """All directions: photos are twice as wide as high, or pixels are not square."""
    return make_lens("EQUIRECTANGULAR", width, height, (width, height))


ROOM_LENSES: dict[str, Callable[[int, int], Lens]] = {
    "phone": phone_lens,
    "fisheye": fisheye_lens,
    "panorama": panorama_lens,
}
"""Lenses by name, from width and height of the photos."""


def walk(views: int, width: int, height: int, seed: int = 0, lens: str = "phone") -> Cameras:
    """Cameras of ``views`` photos: a round that looks across the room, one that looks along the walls, and close-ups.

    ``lens``: a name of ``ROOM_LENSES``.

    The sensor is the plain one that a fit starts from; ``photography`` gives it exposures and a response.
    """
    chance = torch.Generator().manual_seed(seed)
    near = min(len(CLOSE_UPS), views // 6)
    across = (views - near + 1) // 2
    along = views - near - across
    poses = [stand(math.tau * (i + 0.25) / across, 1.52, across_the_room, chance) for i in range(across)]
    poses += [stand(math.tau * (i + 0.75) / along, 1.28, along_the_walls, chance) for i in range(along)]
    poses += [look_at(eye, target, (0.0, 0.0, 1.0)) for eye, target in CLOSE_UPS[:near]]
    return Cameras(
        camera_from_world=torch.stack(poses),
        camera_index=torch.zeros(views, dtype=torch.int64),
        lenses=(ROOM_LENSES[lens](width, height),),
        pixel_scale=torch.ones(views, 2, dtype=torch.float64),
        pixel_offset=torch.zeros(views, 2, dtype=torch.float64),
        sizes=torch.tensor([height, width]).expand(views, 2).clone(),
        sensor=Sensor.start(torch.zeros(views)),
    )


def stand(turn: float, height: float, aim: Aim, chance: torch.Generator) -> torch.Tensor:
    """One pose on the oval path, with the unsteadiness of a hand."""
    sway = (torch.rand(3, generator=chance, dtype=torch.float64) - 0.5) * 0.16
    eye = (
        torch.tensor(
            [MIDDLE[0] + 1.30 * math.cos(turn), MIDDLE[1] + 0.98 * math.sin(turn), height], dtype=torch.float64
        )
        + sway
    )
    roll = (torch.rand((), generator=chance, dtype=torch.float64) - 0.5) * 0.06
    up = torch.stack([roll, -roll, torch.ones_like(roll)])
    return look_at(eye, aim(turn, eye), up)


def across_the_room(turn: float, _eye: torch.Tensor) -> torch.Tensor:
    """A point beyond the middle, a little lower than the eye."""
    return torch.tensor([MIDDLE[0] - 0.7 * math.cos(turn), MIDDLE[1] - 0.5 * math.sin(turn), 1.05], dtype=torch.float64)


def along_the_walls(turn: float, eye: torch.Tensor) -> torch.Tensor:
    """A point ahead and to the outside of the path."""
    ahead = turn + 1.35
    return eye + torch.tensor([2.0 * math.cos(ahead), 2.0 * math.sin(ahead), -0.30], dtype=torch.float64)
