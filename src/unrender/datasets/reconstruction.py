"""Reconstruction: where photos were taken, through which lenses, and which points they saw, as a file says it.

Every reader makes one and every writer takes one, so that any format becomes any other. No photo is opened here:
``read_capture.py`` does that, and makes the Capture that a fit needs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import Lens
from unrender.datasets.clouds import FARTHEST, PointCloud
from unrender.datasets.names import leads_out
from unrender.errors import CaptureError, ShapeError

__all__ = ["Ids", "Observations", "Reconstruction", "no_points"]

_SHORTEST, _LONGEST = 1e-3, 1e6
"""Focal lengths in widths of the photo that a camera may have; a wide fisheye has 0.2, a telescope 100."""
_RIGID = 1e-6
"""How far the product of a rotation with its transpose may be from the identity."""


@dataclass(frozen=True)
class Observations:
    """O places in photos that the program looked at, view by view.

    ``view`` [O] int64, ascending; ``pixel`` [O, 2] float64, photo pixels, the first one's centre at 0.5;
    ``point`` [O] int64, index of the point that was seen there, -1 where it is none.
    Raises ShapeError when the lengths disagree.
    """

    view: torch.Tensor
    pixel: torch.Tensor
    point: torch.Tensor

    def __post_init__(self) -> None:
        shapes = [tuple(rows.shape) for rows in (self.view, self.pixel, self.point)]
        if shapes != [(len(self),), (len(self), 2), (len(self),)]:
            raise ShapeError("observations", expected="[O], [O, 2] and [O]", got=shapes)

    def __len__(self) -> int:
        return self.view.shape[0]

    def select(self, views: torch.Tensor, count: int) -> Observations:
        """The observations of ``views`` [B] of ``count`` there are, renumbered in that order."""
        place = torch.full((count,), -1, dtype=torch.int64)
        place[views] = torch.arange(len(views))
        order = torch.argsort(place[self.view], stable=True)
        order = order[place[self.view[order]] >= 0]
        return Observations(place[self.view[order]], self.pixel[order], self.point[order])


@dataclass(frozen=True)
class Ids:
    """The numbers that a program gave to images [V], cameras [C] and points [N], int64 each."""

    images: torch.Tensor
    cameras: torch.Tensor
    points: torch.Tensor

    @staticmethod
    def counted(images: int, cameras: int, points: int) -> Ids:
        """1, 2, 3 ... of each."""
        return Ids(*(torch.arange(1, count + 1) for count in (images, cameras, points)))


def no_points() -> PointCloud:
    """The cloud of a format that has none."""
    return PointCloud(torch.zeros(0, 3, dtype=torch.float64))


@dataclass(frozen=True)
class Reconstruction:
    """V photos of C cameras and N points, in the input's own frame and scale.

    ``names`` [V], as a rule with ``/`` between folders (``names.py``): the photo of a view is ``image_folder / name``,
    and need not be there;
    ``camera_from_world`` [V, 4, 4] float64, rigid; ``camera_index`` [V] int64; ``lenses`` C of them;
    ``points``: the sparse cloud; ``point_errors`` [N] float64, mean reprojection error [pixels], or None;
    ``observations``: only when a reader was asked for them; ``ids``: None where the format has no numbers;
    ``masks`` [V], None where a photo has none; ``dense``: file of a denser cloud that belongs to it;
    ``exif_ev`` [V] float64, stops, NaN where unknown: exposures that the format itself gives;
    ``held_out``: names that the format sets apart for testing, None where it says nothing;
    ``alpha``: what their transparency means when the user does not say, one of ``pictures.Alpha``, None to ignore it;
    ``notes``: lines that a user should read.
    """

    names: tuple[str, ...]
    image_folder: Path
    camera_from_world: torch.Tensor
    camera_index: torch.Tensor
    lenses: tuple[Lens, ...]
    points: PointCloud
    point_errors: torch.Tensor | None = None
    observations: Observations | None = None
    ids: Ids | None = None
    masks: tuple[Path | None, ...] | None = None
    dense: Path | None = None
    exif_ev: torch.Tensor | None = None
    held_out: tuple[str, ...] | None = None
    alpha: str | None = None
    notes: tuple[str, ...] = ()

    @staticmethod
    def of(
        names: Sequence[str], cameras: Cameras, points: PointCloud, image_folder: Path = Path("images")
    ) -> Reconstruction:
        """Names, poses and lenses of views and a cloud; pixel affine and sensor are no part of a reconstruction."""
        poses = cameras.camera_from_world.detach().cpu()
        index = cameras.camera_index.cpu()
        lenses = tuple(lens.to("cpu") for lens in cameras.lenses)
        return Reconstruction(tuple(names), image_folder, poses, index, lenses, points)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def lens_of_view(self) -> list[Lens]:
        """The lens of each view [V]."""
        return [self.lenses[camera] for camera in self.camera_index.tolist()]

    @property
    def numbers(self) -> Ids:
        """The ids, counted where the format has none."""
        return self.ids or Ids.counted(len(self), len(self.lenses), len(self.points))

    def select(self, views: Sequence[int]) -> Reconstruction:
        """The given views in that order; cameras that no view uses any more are left out, points stay."""
        chosen = torch.as_tensor(views, dtype=torch.int64)
        used, index = torch.unique(self.camera_index[chosen], return_inverse=True)
        at, numbers, seen = chosen.tolist(), self.ids, self.observations
        return replace(
            self,
            names=tuple(self.names[view] for view in at),
            camera_from_world=self.camera_from_world[chosen],
            camera_index=index,
            lenses=tuple(self.lenses[camera] for camera in used.tolist()),
            observations=None if seen is None else seen.select(chosen, len(self)),
            ids=None if numbers is None else Ids(numbers.images[chosen], numbers.cameras[used], numbers.points),
            masks=None if self.masks is None else tuple(self.masks[view] for view in at),
            exif_ev=None if self.exif_ev is None else self.exif_ev[chosen],
        )

    def sorted_by_name(self) -> Reconstruction:
        """The same in the order of the names, which is the order of a Capture."""
        order = sorted(range(len(self)), key=self.names.__getitem__)
        return self if order == list(range(len(self))) else self.select(order)

    def check(self, where: Path) -> Reconstruction:
        """Itself. Raises CaptureError, one line, when something in it can be no photo, camera, pose or point.

        Readers only have to see to counts and types; what makes no sense in any format is found here.
        """
        self._check_names(where)
        _check_poses(self, where)
        for number, lens in zip(self.numbers.cameras.tolist(), self.lenses, strict=True):
            _check_lens(lens, f"{where}: camera {number}")
        nowhere = torch.nonzero(~(self.points.positions.abs() <= FARTHEST).all(dim=1))
        if len(nowhere):
            number = int(self.numbers.points[nowhere[0, 0]])
            raise _damaged(f"the position of point {number} is not finite or beyond {FARTHEST:g}", where)
        return self

    def _check_names(self, where: Path) -> None:
        if not self.names:
            raise _damaged("no photo with a pose in this reconstruction", where)
        name, count = Counter(self.names).most_common(1)[0]
        if count > 1:
            raise CaptureError(f"{count} images are named {name!r}", where=where, do="take all but one out of it")
        for name in self.names:
            if leads_out(name) or not name:
                raise CaptureError(
                    f"the image name {name!r} leads out of its folder", where=where, do="rename it in the model"
                )


def _check_poses(reconstruction: Reconstruction, where: Path) -> None:
    poses = reconstruction.camera_from_world
    rotation = poses[:, :3, :3]
    crooked = (rotation @ rotation.transpose(1, 2) - torch.eye(3, dtype=torch.float64)).abs().amax(dim=(1, 2))
    near = (poses.abs() <= FARTHEST).flatten(1).all(dim=1)
    good = near & (crooked < _RIGID) & (torch.linalg.det(rotation.nan_to_num()) > 0)
    for view in torch.nonzero(~good).ravel().tolist():
        raise CaptureError(
            f"the pose of {reconstruction.names[view]} is not a rigid motion",
            where=where,
            expected=f"a rotation and a translation of at most {FARTHEST:g}",
            got=poses[view, :3].tolist(),
            do="register it again, or take it out of the model",
        )


def _check_lens(lens: Lens, where: Any) -> None:
    """Raises CaptureError for numbers that no camera has, with which everything computed would be 0 or infinite."""
    focals = [float(lens.params[at]) for at, name in enumerate(lens.parameter_names) if name.startswith("f")]
    edge = max(lens.width, lens.height)
    if min(focals, default=edge) < _SHORTEST * edge or float(lens.params.abs().max()) > _LONGEST * edge:
        raise CaptureError(
            f"parameters of no camera ({lens.model})",
            where=where,
            expected=f"focal lengths of at least {_SHORTEST * edge:g} pixels, nothing beyond {_LONGEST * edge:g}",
            got=lens.params.tolist(),
        )


def _damaged(what: str, where: Path) -> CaptureError:
    return CaptureError(what, where=where, do="reconstruct again, or write it again with the program that made it")
