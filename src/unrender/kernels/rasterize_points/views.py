"""Cameras as rows of numbers, the form in which kernels read them.

The pixel affine of a view (resize, crop) is folded into the lens and the scene's origin into the pose, both in float64;
kernels round the result once.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from unrender.cameras.camera import Cameras
from unrender.kernels.rasterize_points.families import TERMS, pack_lens

__all__ = ["FIELDS", "fields_of", "pack_views"]

FIELDS = {
    "rotation": 9,
    "translation": 3,
    "eye": 3,
    "focal": 2,
    "center": 2,
    "scale": 2,
    "distortion": 4,
    "valid": 1,
    "family": 1,
    "widest": 1,
    "terms": TERMS,
}
"""What a row of R numbers holds, in order: see ``View`` in maths.h and ``Lens`` in lens.h."""


def fields_of(row: torch.Tensor) -> dict[str, torch.Tensor]:
    """The parts of a row by name, each [numbers]."""
    return dict(zip(FIELDS, row.split(list(FIELDS.values())), strict=True))


def pack_views(cameras: Cameras, origin: torch.Tensor) -> torch.Tensor:
    """One row per view, [V, R] float64 on the CPU, for points relative to ``origin`` [3] float64 (world).

    Differentiable in poses, lens parameters and the pixel affine, but for the eye, the scale and what is valid, which
    cull and discard. Raises CaptureError when the kernels lack a lens.
    """
    cameras, origin = _on_processor(cameras), origin.cpu()
    rows = [_row(cameras, view, origin) for view in range(len(cameras))]
    return torch.stack(rows) if rows else torch.zeros(0, sum(FIELDS.values()), dtype=torch.float64)


def _on_processor(cameras: Cameras) -> Cameras:
    """What rows are made of, fetched at once: they are many small numbers."""
    if cameras.camera_from_world.device.type == "cpu":
        return cameras
    names = ("camera_from_world", "camera_index", "pixel_scale", "pixel_offset")
    fetched = {name: getattr(cameras, name).cpu() for name in names}
    used = {int(index) for index in fetched["camera_index"]}
    lenses = tuple(lens.to("cpu") if number in used else lens for number, lens in enumerate(cameras.lenses))
    return replace(cameras, lenses=lenses, **fetched)


def _row(cameras: Cameras, view: int, origin: torch.Tensor) -> torch.Tensor:
    rotation, translation = cameras.pose(view, origin)
    scale, offset, lens = cameras.pixel_scale[view], cameras.pixel_offset[view], pack_lens(cameras.lens(view))
    parts = {
        "rotation": rotation.flatten(),
        "translation": translation,
        "eye": (-rotation.T @ translation).detach(),
        "focal": scale * lens.focal.to(scale),
        "center": scale * lens.center.to(scale) + offset,
        "scale": (scale.max() * lens.focal.to(scale)).detach(),  # lengths are measured with the larger scale
        "distortion": lens.distortion.to(scale),
        "valid": scale.new_tensor([lens.valid]),
        "family": scale.new_tensor([lens.family]),
        "widest": scale.new_tensor([lens.widest]),
        "terms": lens.terms.to(scale),
    }
    return torch.cat([parts[name] for name in FIELDS])
