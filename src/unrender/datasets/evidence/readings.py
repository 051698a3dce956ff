"""What the numbers of a reconstruction may mean instead: each common mistake with the change that would undo it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch

from unrender.datasets.reconstruction import Reconstruction
from unrender.geometry.rotations import quat_wxyz_from_rotation, rotation_from_quat_wxyz
from unrender.geometry.transforms import inverse, rigid

__all__ = ["OPENGL", "Reading", "frame_readings", "photo_readings", "pose_readings"]

Change = Callable[[Reconstruction], Reconstruction]
_Poses = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Reading:
    """A mistake that may have been made: its ``kind``, a ``title`` in words, what to ``do``, and the ``change`` of a
    reconstruction that would undo it. ``shift``: how many places further in the order of names each view's photo is;
    ``amount``: the factor, where the change is by one.
    """

    kind: str
    title: str
    do: str
    change: Change
    shift: int = 0
    amount: float = 1.0


def _kept(poses: torch.Tensor) -> torch.Tensor:
    return poses


def _rotated(poses: torch.Tensor, rotation: torch.Tensor, *, center: bool) -> torch.Tensor:
    """The poses with another rotation [V, 3, 3], and either their centres or their translations."""
    if not center:
        return rigid(rotation, poses[:, :3, 3])
    return rigid(rotation, -(rotation @ inverse(poses)[:, :3, 3:])[:, :, 0])


def _transposed(poses: torch.Tensor, *, center: bool) -> torch.Tensor:
    return _rotated(poses, poses[:, :3, :3].transpose(1, 2), center=center)


def _reordered(poses: torch.Tensor, places: int, *, center: bool) -> torch.Tensor:
    """The four numbers of the quaternion moved round by ``places``."""
    quaternion = quat_wxyz_from_rotation(poses[:, :3, :3]).roll(places, dims=1)
    return _rotated(poses, rotation_from_quat_wxyz(quaternion), center=center)


def _translation_was_center(poses: torch.Tensor) -> torch.Tensor:
    return rigid(poses[:, :3, :3], -(poses[:, :3, :3] @ poses[:, :3, 3:])[:, :, 0])


def _center_was_translation(poses: torch.Tensor) -> torch.Tensor:
    return rigid(poses[:, :3, :3], inverse(poses)[:, :3, 3])


_INVERSE = "poses are the wrong way round (world-from-camera where camera-from-world is meant, or the reverse)"
_ORDER = "quaternions have their numbers in another order (x y z w where w x y z is meant, or the reverse)"
_TRANSPOSED = "rotations are transposed (of world-from-camera where camera-from-world is meant, or the reverse)"
_BASES: tuple[tuple[str, str, str, _Poses], ...] = (
    ("", "", "", _kept),
    ("inverse_poses", _INVERSE, "invert every pose", inverse),
    *(
        (
            "quaternion_order",
            _ORDER,
            "put w where the format wants it",
            lambda poses, places=places, center=center: _reordered(poses, places, center=center),
        )
        for center in (False, True)
        for places in (1, -1)
    ),
    *(
        (
            "rotation_transposed",
            _TRANSPOSED,
            "transpose every rotation",
            lambda poses, center=center: _transposed(poses, center=center),
        )
        for center in (False, True)
    ),
    (
        "translation_is_centre",
        "translations are camera centres (C where t = -R C is meant)",
        "write t = -R C",
        _translation_was_center,
    ),
    (
        "centre_is_translation",
        "camera centres are translations (t where C = -R^T t is meant)",
        "write C = -R^T t",
        _center_was_translation,
    ),
)
_WAYS = (("right", "left"), ("down", "up"), ("forward", "backward"))
OPENGL = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))


def _turns() -> list[torch.Tensor]:
    """The 24 rotations [3, 3] that take axes to axes: the identity, OpenGL's, then the others."""
    turns = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            turn = torch.eye(3, dtype=torch.float64)[list(order)] * torch.tensor(signs, dtype=torch.float64)[:, None]
            if float(torch.linalg.det(turn)) > 0:
                turns.append(turn)
    return sorted(turns, key=lambda turn: (_is_turned(turn), not torch.equal(turn, OPENGL)))


def _is_turned(turn: torch.Tensor) -> bool:
    return not torch.equal(turn, torch.eye(3, dtype=torch.float64))


_TURNS = _turns()


def _axes(turn: torch.Tensor) -> str:
    """For the user: which way the camera axes of the file point, when ``turn`` takes them to ours."""
    ways = []
    for axis, letter in enumerate("xyz"):
        ours = int(turn[:, axis].abs().argmax())
        ways.append(f"{letter} {_WAYS[ours][float(turn[ours, axis]) < 0]}")
    return f"camera axes are {', '.join(ways)}" + (" (OpenGL's)" if torch.equal(turn, OPENGL) else "")


def pose_readings() -> Iterator[Reading]:
    """Poses in other conventions, the likely ones first: every way to write them with every choice of camera axes."""
    for turn in _TURNS:
        for kind, title, do, base in _BASES:
            if not (kind or _is_turned(turn)):
                continue
            axes, ours = (
                (_axes(turn), "turn camera axes to x right, y down, z forward") if _is_turned(turn) else ("", "")
            )
            yield Reading(
                kind=kind or ("opengl_axes" if torch.equal(turn, OPENGL) else "camera_axes"),
                title=" and ".join(filter(None, [title, axes])),
                do=" and ".join(filter(None, [do, ours])),
                change=_posed(lambda poses, turn=turn, base=base: _turned(turn) @ base(poses)),
            )


def frame_readings() -> Iterator[Reading]:
    """Cameras and points in different world frames, or poses whose world has OpenGL's axes after an inversion."""
    for turn in _TURNS[1:]:
        yield Reading(
            kind="world_axes",
            title=f"points and cameras have different world axes (the cameras' are {_world(turn)} of the points')",
            do="give points in the cameras' frame (--points), or turn the cameras",
            change=_posed(lambda poses, turn=turn: poses @ _turned(turn)),
        )
    sides = ((torch.eye(3, dtype=torch.float64), OPENGL), (OPENGL, OPENGL))
    for left, right in sides:
        yield Reading(
            kind="inverse_poses",
            title=f"{_INVERSE}, and camera axes are OpenGL's on one side",
            do="invert every pose, and turn the camera axes to x right, y down, z forward",
            change=_posed(lambda poses, left=left, right=right: _turned(left) @ inverse(poses) @ _turned(right)),
        )


def photo_readings() -> Iterator[Reading]:
    """Photos that belong to the pose of a neighbour."""
    for shift in (1, -1):
        yield Reading(
            kind="photos_shifted",
            title=f"every photo has the pose of the {'previous' if shift > 0 else 'next'} one in the order of names",
            do="number photos and poses alike",
            change=lambda found: found,
            shift=shift,
        )


def _world(turn: torch.Tensor) -> str:
    """The axes of one frame in terms of the other, such as ``x -z y``."""
    names = []
    for row in turn:
        axis = int(row.abs().argmax())
        names.append(("-" if float(row[axis]) < 0 else "") + "xyz"[axis])
    return " ".join(names)


def _posed(change: _Poses) -> Change:
    return lambda found: replace(found, camera_from_world=change(found.camera_from_world))


def _turned(rotation: torch.Tensor) -> torch.Tensor:
    return rigid(rotation, torch.zeros(3, dtype=torch.float64))
