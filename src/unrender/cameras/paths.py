"""Camera paths: flights through a capture for videos, staying where photos were taken.

A renderer that was fitted to photos is at its best near them. So ``interpolate`` passes through the given poses, and
``orbit`` keeps the distance, height and aim that the photographer had on the same side.

Letters: V views given, F frames made.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch.nn.functional import normalize

from unrender.cameras.camera import Cameras
from unrender.errors import SettingsError, ShapeError
from unrender.geometry.rotations import quat_wxyz_from_rotation, rotation_from_quat_wxyz
from unrender.geometry.transforms import look_at, rigid

__all__ = ["focus_point", "interpolate", "orbit", "up_direction"]

_LEVELLING = 1e-3
_FULL_CIRCLE_GAP = math.radians(100)
_NEIGHBOURHOOD = 8.0
_AIM_AT_FOCUS = 0.05


def up_direction(cameras: Cameras) -> torch.Tensor:
    """Unit up [3] float64, world, from the cameras' own axes. Raises ShapeError when they contradict each other.

    It is the mean of the cameras' up, -y, less what leans to where they look: photographers tilt their cameras but
    rarely roll them, so up is across the cameras' right axes wherever those span more than one direction.
    """
    right, upward = cameras.camera_from_world[:, 0, :3], -cameras.camera_from_world[:, 1, :3].mean(dim=0)
    if float(upward.norm()) < 1e-6:
        raise ShapeError("the cameras' up directions cancel", do="say which way is up")
    spread = right.T @ right / len(right)
    identity = torch.eye(3, dtype=right.dtype, device=right.device)
    return normalize(torch.linalg.solve(spread + _LEVELLING * identity, upward), dim=0)


def focus_point(cameras: Cameras) -> torch.Tensor:
    """The point [3] float64, world, that is nearest to all optical axes (least squares).

    Along directions that the axes leave open (all parallel), it is where the cameras are on average.
    """
    forward, centers = cameras.camera_from_world[:, 2, :3], cameras.centers
    across = torch.eye(3, dtype=forward.dtype, device=forward.device) - forward[:, :, None] * forward[:, None, :]
    middle = centers.mean(dim=0)
    total = across.sum(dim=0)
    pull = (across @ (centers - middle)[..., None]).sum(dim=0)
    return middle + (torch.linalg.pinv(total, rtol=1e-6, hermitian=True) @ pull)[:, 0]


def orbit(cameras: Cameras, count: int, up: torch.Tensor | None = None) -> Cameras:
    """A closed flight of ``count`` frames around the focus point.

    Where the photos surround it the flight is a full circle, otherwise it swings to and fro over the side that they
    cover. At each angle, radius, height and viewing direction are those of the photos taken near that angle. ``up``
    [3] is the world's up direction, found from the cameras when absent. Lens, size and white balance are the first
    view's, the exposure is the mean. Raises SettingsError when ``count`` is not positive.
    """
    _check(count)
    upward = up_direction(cameras) if up is None else normalize(torch.as_tensor(up, dtype=torch.float64), dim=0)
    upward = upward.to(cameras.camera_from_world)
    first, second = _plane_axes(cameras, upward)
    focus = focus_point(cameras)
    offsets = cameras.centers - focus
    angles = torch.atan2(offsets @ second, offsets @ first)
    height, radius = offsets @ upward, torch.hypot(offsets @ first, offsets @ second)

    at = _sweep(angles, count)
    nearness = torch.softmax(_NEIGHBOURHOOD * torch.cos(at[:, None] - angles), dim=1)
    outward = at.cos()[:, None] * first + at.sin()[:, None] * second
    eyes = focus + (nearness @ radius)[:, None] * outward + (nearness @ height)[:, None] * upward
    aim = nearness @ cameras.camera_from_world[:, 2, :3] + _AIM_AT_FOCUS * normalize(focus - eyes, dim=1)
    return _frames(cameras, look_at(eyes, eyes + aim, upward))


def interpolate(cameras: Cameras, count: int) -> Cameras:
    """A smooth flight of ``count`` frames through all given poses, from the first view on.

    Views are visited in the given order, or from each to its nearest unvisited one where that makes the flight shorter.
    Position and orientation follow cubic splines at even pace. Lens, size and white balance are the first view's, the
    exposure is the mean. Raises SettingsError when ``count`` is not positive.
    """
    _check(count)
    poses = cameras.camera_from_world.detach().cpu()
    keys = _pose_keys(poses[_tour(cameras)])
    steps = _distances(keys[:-1], keys[1:])
    moved = np.concatenate([[True], steps > 1e-9 * max(float(steps.sum()), 1e-300)])
    keys, along = keys[moved], np.concatenate([[0.0], steps.cumsum()])[moved]
    at = np.linspace(0.0, along[-1], count)
    path = CubicSpline(along, keys, bc_type="natural")(at) if len(keys) > 1 else keys.repeat(count, axis=0)
    values = torch.from_numpy(path)
    centers, rotation = values[:, :3], rotation_from_quat_wxyz(values[:, 3:])
    scale = _scale(poses)
    return _frames(cameras, rigid(rotation, -(rotation @ (centers * scale)[..., None])[..., 0]))


def _check(count: int) -> None:
    if count < 1:
        raise SettingsError("a path needs at least one frame", got=count)


def _plane_axes(cameras: Cameras, up: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two unit directions [3] across ``up`` and each other; the first view's right is the first, tilted level."""
    right = cameras.camera_from_world[0, 0, :3]
    level = right - (right @ up) * up
    if float(level.norm()) < 1e-6:
        level = torch.linalg.cross(up, cameras.camera_from_world[0, 2, :3])
    first = normalize(level, dim=0)
    return first, torch.linalg.cross(up, first)


def _sweep(angles: torch.Tensor, count: int) -> torch.Tensor:
    """Angles [F] of a closed flight: the full circle, or to and fro over all but the largest gap in ``angles`` [V]."""
    ordered = angles.sort().values
    gaps = torch.cat([ordered.diff(), (ordered[:1] + 2 * math.pi - ordered[-1:])])
    phase = torch.arange(count, dtype=angles.dtype, device=angles.device) * (2 * math.pi / count)
    if float(gaps.max()) < _FULL_CIRCLE_GAP:
        return angles[0] + phase
    after = int(gaps.argmax())
    covered = 2 * math.pi - gaps[after]
    start = ordered[(after + 1) % len(ordered)]
    return start + covered * (0.5 - 0.5 * phase.cos())


def _scale(poses: torch.Tensor) -> float:
    """Half the extent of the camera centres: the length that weighs as much as a turn by one radian."""
    centers = -(poses[:, :3, :3].transpose(1, 2) @ poses[:, :3, 3:])[..., 0]
    return float((centers - centers.mean(dim=0)).norm(dim=1).max()) or 1.0


def _pose_keys(poses: torch.Tensor) -> np.ndarray:
    """Camera centres in units of ``_scale`` and quaternions of neighbouring signs, [V, 7]."""
    centers = -(poses[:, :3, :3].transpose(1, 2) @ poses[:, :3, 3:])[..., 0] / _scale(poses)
    quaternions = quat_wxyz_from_rotation(poses[:, :3, :3])
    flips = (quaternions[1:] * quaternions[:-1]).sum(dim=1) < 0
    signs = torch.where(torch.cat([flips.new_zeros(1), flips]), -1.0, 1.0).cumprod(dim=0)
    return torch.cat([centers, quaternions * signs[:, None]], dim=1).numpy()


def _distances(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """How far keys lie apart [...]: distance of the centres plus angle between the orientations."""
    overlap = np.abs((start[..., 3:] * end[..., 3:]).sum(-1)).clip(0, 1)
    return np.linalg.norm(start[..., :3] - end[..., :3], axis=-1) + 2 * np.arccos(overlap)


def _tour(cameras: Cameras) -> list[int]:
    """An order of the views that starts at the first: as given, or greedily by nearness if that is shorter."""
    keys = _pose_keys(cameras.camera_from_world.detach().cpu())
    between = _distances(keys[:, None], keys[None])
    given = list(range(len(keys)))
    greedy, left = [0], set(given[1:])
    while left:
        greedy.append(min(sorted(left), key=lambda view: between[greedy[-1], view]))
        left.remove(greedy[-1])
    return min(given, greedy, key=lambda order: float(between[order[:-1], order[1:]].sum()))


def _frames(cameras: Cameras, poses: torch.Tensor) -> Cameras:
    """``poses`` [F, 4, 4] through the first view's camera at the mean exposure."""
    chosen = cameras.select([0] * len(poses))
    exposure = cameras.sensor.exposure.detach().mean().expand(len(poses)).clone()
    anchor = torch.zeros_like(chosen.sensor.anchor)
    sensor = replace(chosen.sensor, exposure=exposure, exposure_start=exposure.clone(), anchor=anchor)
    return replace(chosen, camera_from_world=poses.to(cameras.camera_from_world), sensor=sensor)
