"""How far refinement moved each camera and lens, for people and other programs."""

from __future__ import annotations

import math

import torch

from unrender.cameras.camera import Cameras
from unrender.datasets.capture import Capture
from unrender.fit.refine.structure import Structure
from unrender.geometry.rotations import log_so3
from unrender.messages import CameraMove, LensMove, Refined

__all__ = ["refined_message"]

_SAMPLE = 2048
"""Points of the cloud whose way across the image is measured."""


def refined_message(cameras: Cameras, capture: Capture, structure: Structure, decibels: torch.Tensor) -> Refined:
    """What was refined of ``capture`` and how it was judged: ``decibels`` [V, 2], see ``Judgement``."""
    cameras = cameras.to("cpu")
    given = structure.given
    lenses = tuple(
        LensMove(lens.model, lens.parameter_names, tuple(began.params.tolist()), tuple(lens.params.tolist()))
        for began, lens in zip(given.lenses, cameras.lenses, strict=True)
    )
    return Refined(
        families=structure.settings.structure,
        dropped=tuple(name for name in structure.settings.structure if name in structure.dropped),
        cameras=_camera_moves(cameras, capture, structure, decibels),
        lenses=lenses if "lens" in structure.settings.what else (),
    )


def _camera_moves(
    cameras: Cameras, capture: Capture, structure: Structure, decibels: torch.Tensor
) -> tuple[CameraMove, ...]:
    """One row for each view, in their order; decibels where it was judged by them."""
    given = structure.given
    far = (cameras.centers - given.centers).norm(dim=1)
    turn = cameras.camera_from_world[:, :3, :3] @ given.camera_from_world[:, :3, :3].mT
    degrees = log_so3(turn).norm(dim=1).rad2deg()
    sample = capture.points.positions[:: max(1, len(capture.points) // _SAMPLE)].double()
    before, after = ([value if math.isfinite(value) else None for value in column] for column in decibels.T.tolist())
    return tuple(
        CameraMove(
            name=name,
            moved=float(far[view]),
            degrees=float(degrees[view]),
            pixels=_pixels(cameras, given, view, sample),
            before=before[view],
            after=after[view],
            fate=_fate(structure, capture, view),
        )
        for view, name in enumerate(capture.names)
    )


def _pixels(cameras: Cameras, given: Cameras, view: int, points: torch.Tensor) -> float:
    """Root mean square distance between where both see the points that are in the input's image; NaN for none."""
    here, there = (each.project(view, points) for each in (given, cameras))
    extent = points.new_tensor(list(reversed(given.size_of(view))))
    seen = here.inside & there.inside & (here.pixels >= 0).all(dim=1) & (here.pixels < extent).all(dim=1)
    if not bool(seen.any()):
        return math.nan
    return float((here.pixels - there.pixels)[seen].square().sum(dim=1).mean().sqrt())


def _fate(structure: Structure, capture: Capture, view: int) -> str:
    if "poses" not in structure.settings.what:
        return "fixed"
    if view in capture.test:
        return "held out"
    if view in structure.unseen:
        return "sees too few points"
    if view in structure.loose:
        return "points leave it open"
    back = "poses" in structure.dropped or bool(structure.frozen[view])
    return "taken back" if back else "refined"
