"""Cameras as rows of numbers, the form in which kernels read them.

The pixel affine of a view (resize, crop) is folded into the lens and the scene's origin into the pose, both in float64;
kernels round the result once.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import Lens
from unrender.cameras.lens.brown import Brown, OpenCV, Radial, SimpleRadial
from unrender.cameras.lens.central import Perspective
from unrender.cameras.lens.pinhole import Pinhole, SimplePinhole
from unrender.errors import CaptureError

__all__ = ["DRAWN", "FIELDS", "pack_views"]

FIELDS = {
    "rotation": 9,
    "translation": 3,
    "eye": 3,
    "focal": 2,
    "center": 2,
    "scale": 2,
    "distortion": 4,
    "valid": 1,
}
"""What a row holds, in order: see ``View`` in maths.h and ``Lens`` in lens.h."""

DRAWN = (SimplePinhole, Pinhole, SimpleRadial, Radial, OpenCV)
"""The lenses that ``lens.h`` has: all others are refused, their relatives too."""


def pack_views(cameras: Cameras, origin: torch.Tensor) -> torch.Tensor:
    """One row per view, [V, 26] float64 on the CPU, for points relative to ``origin`` [3] float64 (world).

    Differentiable in poses, lens parameters and the pixel affine, but for the eye, the scale and the valid slope, which
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
    scale, offset = cameras.pixel_scale[view], cameras.pixel_offset[view]
    focal, center, distortion, valid = _lens(cameras.lens(view))
    parts = {
        "rotation": rotation.flatten(),
        "translation": translation,
        "eye": (-rotation.T @ translation).detach(),
        "focal": scale * focal.to(scale),
        "center": scale * center.to(scale) + offset,
        "scale": (scale.max() * focal.to(scale)).detach(),  # lengths are measured with the larger scale
        "distortion": distortion.to(scale),
        "valid": torch.tensor([valid], dtype=torch.float64, device=scale.device),
    }
    return torch.cat([parts[name] for name in FIELDS])


def _check_lens(lens: Lens) -> None:
    """By type, not by family: a lens with further terms would be drawn without them."""
    if type(lens) not in DRAWN:
        raise CaptureError(
            f"the point rasteriser has no lens {lens.model}",
            expected=f"one of {', '.join(drawn.model for drawn in DRAWN)}",
            do="undistort the photos (colmap image_undistorter), or take the nearest lens that it has (nearest_lens)",
        )


def _lens(lens: Lens) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]:
    """Focal lengths and centre [2] of the photo, k1 k2 p1 p2 [4], and the largest squared slope in the image."""
    _check_lens(lens)
    assert isinstance(lens, Perspective)
    distortion = lens.coefficients if isinstance(lens, Brown) else (0.0, 0.0, 0.0, 0.0)
    numbers = (torch.as_tensor(number, dtype=torch.float64) for number in (*lens.intrinsics, *distortion))
    packed = torch.stack([number.to(lens.params.device) for number in numbers])
    return packed[:2], packed[2:4], packed[4:], lens.valid_radius**2
