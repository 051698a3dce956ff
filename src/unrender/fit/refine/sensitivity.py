"""How far the image moves when a structural number changes: what makes step sizes independent of the scene's scale.

Everything here is in working pixels, and one *unit* of a number is the change of it that moves what a view sees by one
pixel (root mean square over its points). An optimiser that steps in units steps in pixels, whatever the unit of the
world, the lens or the size of the photos.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import Equirectangular, Lens, make_lens
from unrender.geometry.rotations import skew

__all__ = ["Units", "measure_units", "point_units"]

_SAMPLE = 4096
"""Points of the cloud that are looked at in each view."""
_LEAST_SEEN = 8
_FOCAL = ("f", "fx", "fy")
_OPEN = 1e-6
"""Of the motion that moves points most: what moves them less is not seen."""
_STEP = 1e-6
"""Of a lens parameter, relative to its size or 1."""


@dataclass(frozen=True)
class Units:
    """``poses`` [V, 6] float64: (translation [scene units], rotation [rad]) per pixel, 0 where a view sees no points;
    ``lenses``: per camera [P] float64, parameter per pixel, 0 where that moves nothing or is not to be moved;
    ``unseen``: views of fewer than 8 points; ``loose``: views whose points (on a line, at one place) leave some motion
    of the camera open; ``focal_alone``: share of what the focal length moves that no motion of the camera can imitate,
    the median over views, NaN where no lens has one: near 0 where photos see little depth.
    """

    poses: torch.Tensor
    lenses: tuple[torch.Tensor, ...]
    unseen: tuple[int, ...]
    loose: tuple[int, ...]
    focal_alone: float


def measure_units(cameras: Cameras, positions: torch.Tensor) -> Units:
    """The units of the poses and lenses of ``cameras`` for what they see of ``positions`` [N, 3] float64, world."""
    sample = positions[:: max(1, len(positions) // _SAMPLE)].double()
    poses = torch.zeros(len(cameras), 6, dtype=torch.float64)
    lenses = [torch.zeros_like(lens.params) for lens in cameras.lenses]
    count = [0] * len(lenses)
    unseen, loose, alone = [], [], []
    for view in range(len(cameras)):
        points, camera = _seen_points(cameras, view, sample), int(cameras.camera_index[view])
        if len(points) < _LEAST_SEEN:
            unseen.append(view)
            continue
        by_pose, by_lens = _ways(cameras, view, points)
        poses[view] = by_pose.square().sum(dim=1).mean(dim=0)
        lenses[camera] += by_lens.square().sum(dim=(1, 2))
        count[camera] += len(points)
        if _leaves_open(by_pose):
            loose.append(view)
        if focal := [k for k, name in enumerate(cameras.lens(view).parameter_names) if name in _FOCAL]:
            alone.append(_unlike_motion(by_lens[focal].sum(dim=0), by_pose))
    units = [_inverse(total / max(1, seen)) for total, seen in zip(lenses, count, strict=True)]
    # A panorama's numbers are its size: any other would leave a gap behind the camera.
    held = [isinstance(lens, Equirectangular) for lens in cameras.lenses]
    free = tuple(unit * 0 if fixed else unit for unit, fixed in zip(units, held, strict=True))
    return Units(_inverse(poses), free, tuple(unseen), tuple(loose), statistics.median(alone) if alone else math.nan)


def _ways(cameras: Cameras, view: int, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How pixels of ``points`` [N, 3], in the camera's axes, move with its pose [N, 2, 6] and its lens [P, N, 2]."""
    lens, scale = cameras.lens(view), cameras.pixel_scale[view]
    along = scale[:, None] * lens.jacobian(points)  # [N, 2, 3]
    if isinstance(lens, Equirectangular):  # a pixel there is as wide as one at the equator
        along[:, 0] *= lens.narrowing(lens.project(points)[0][:, 1])[:, None]
    by_pose = torch.cat([along, -along @ skew(points)], dim=2)  # by exp(xi): x + t + w cross x
    return by_pose, scale * _by_parameters(lens, points)


def point_units(cameras: Cameras, views: tuple[int, ...], positions: torch.Tensor) -> torch.Tensor:
    """Scene units per pixel across the line of sight of the nearest of ``views``, for ``positions`` [N, 3]: [N]."""
    eyes = cameras.centers[list(views)].to(positions)
    axis = torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64)
    focal = torch.stack([cameras.lens(v).magnification(axis)[0] * cameras.pixel_scale[v].max() for v in views])
    units = []
    for part in positions.split(1 << 14):
        distance, nearest = torch.cdist(part, eyes).min(dim=1)
        units.append(distance / focal.to(part)[nearest])
    return torch.cat(units) if units else positions.new_zeros(0)


def _seen_points(cameras: Cameras, view: int, positions: torch.Tensor) -> torch.Tensor:
    """Those in the image of a view, in its camera's axes [K, 3]."""
    rotation, translation = cameras.pose(view)
    points = positions @ rotation.T + translation
    pixels, valid = cameras.lens(view).project(points)
    pixels = pixels * cameras.pixel_scale[view] + cameras.pixel_offset[view]
    height, width = cameras.size_of(view)
    inside = valid & (pixels >= 0).all(dim=1) & (pixels < pixels.new_tensor([width, height])).all(dim=1)
    return points[inside]


def _leaves_open(moved: torch.Tensor) -> bool:
    """Whether some motion of the six hardly moves any point; ``moved`` [N, 2, 6]: pixels by each of them."""
    rows = moved.reshape(-1, 6)
    lengths = rows.norm(dim=0)
    if not bool((lengths > 0).all()):
        return True
    sizes = torch.linalg.svdvals(rows / lengths)
    return bool(sizes[-1] < _OPEN * sizes[0])


def _unlike_motion(change: torch.Tensor, moved: torch.Tensor) -> float:
    """Share of a ``change`` of the image [N, 2] that is no combination of the camera's six motions [N, 2, 6]."""
    rows, wanted = moved.reshape(-1, 6), change.reshape(-1, 1)
    rows = rows / rows.norm(dim=0).clamp(min=1e-12)
    left = wanted - rows @ torch.linalg.lstsq(rows, wanted).solution
    return float(left.norm() / wanted.norm().clamp(min=1e-12))


def _by_parameters(lens: Lens, points: torch.Tensor) -> torch.Tensor:
    """d pixel / d parameter [P, N, 2], by central differences in float64: only a scale is wanted."""
    rows = []
    for place, value in enumerate(lens.params.tolist()):
        step = torch.zeros_like(lens.params)
        step[place] = _STEP * max(1.0, abs(value))
        there, here = (
            make_lens(lens.model, lens.width, lens.height, lens.params + way * step).project(points)[0]
            for way in (1, -1)
        )
        rows.append((there - here) / (2 * step[place]))
    return torch.stack(rows)


def _inverse(squares: torch.Tensor) -> torch.Tensor:
    """1 / root, 0 where that is no number: what moves nothing is not moved."""
    roots = squares.sqrt()
    return torch.where(roots > 1e-9, 1 / roots.clamp(min=1e-9), 0.0)
