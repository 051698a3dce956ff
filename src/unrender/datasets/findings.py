"""What an inspection of a capture has to say: facts, photo by photo and in all, and findings with their evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from unrender.messages import Message

__all__ = ["KINDS", "CaptureFacts", "Diagnosis", "Finding", "Inspected", "Level", "PhotoFacts"]

Level = Literal["alarm", "hint"]
"""An alarm: a fit would be refused or come out wrong. A hint: worth knowing; a fit works."""

KINDS = {
    "refused": "the capture cannot be read; a fit would be refused with the same words",
    "photos_missing": "photos of the reconstruction are not there, or not of their camera's size",
    "opengl_axes": "camera axes are OpenGL's (x right, y up, z backward)",
    "camera_axes": "camera axes point another way",
    "inverse_poses": "world-from-camera stands where camera-from-world is meant, or the reverse",
    "quaternion_order": "the numbers of quaternions stand in another order",
    "rotation_transposed": "rotations are transposed",
    "translation_is_centre": "camera centres stand where translations are meant",
    "centre_is_translation": "translations stand where camera centres are meant",
    "world_axes": "points and cameras have different world axes",
    "intrinsics_scale": "intrinsics belong to photos of another size",
    "focal_length": "the focal length is off",
    "principal_point_mirrored": "the principal point is mirrored",
    "principal_point": "the principal point is in the middle, and the lens says otherwise",
    "distortion_sign": "the distortion has the wrong sign",
    "distortion_needless": "the lens distorts and the photos do not",
    "distortion_missing": "the photos are distorted and the lens is not",
    "photos_shifted": "every photo has the pose of its neighbour",
    "photos_exchanged": "photos have each other's pose",
    "photo_misplaced": "a photo does not show what its pose sees",
    "unknown": "photos, poses and points do not fit together, and no mistake that is known explains it",
    "points_outside": "points lie outside every photo",
    "photo_without_points": "a photo sees none of the points",
    "cannot_tell": "too little to compare: whether photos and poses fit together was not found out",
    "photos_unused": "pictures in the folder that no pose uses",
    "exif_missing": "photos do not say how they were exposed",
    "exposure_spread": "photos are stops apart",
    "blurred": "photos are blurred",
    "badly_exposed": "photos are largely clipped",
}
"""Every kind of finding and what it means."""


@dataclass(frozen=True)
class Finding:
    """Something that a user should know.

    ``kind``: one of ``KINDS``; ``title``: in words; ``evidence``: what was measured, a line each; ``do``: what to do
    about it; ``photos``: the names that it is about, empty where it is about all.
    """

    kind: str
    level: Level
    title: str
    evidence: tuple[str, ...] = ()
    do: str = ""
    photos: tuple[str, ...] = ()


@dataclass(frozen=True)
class PhotoFacts:
    """One photo. What was not measured is NaN.

    ``ev``: EV100 [stops]; ``points`` in it, as far as other points do not hide them; ``covered``: share of its area
    that has points; ``agreement``: correlation of its details with those that other photos show of the same points;
    ``residual``: median distance of points from where they were observed [pixels]; ``sharpness``: against what is usual
    here [stops of contrast]; ``brightness``: mean, white = 1; ``white``, ``black``: shares that are clipped.
    """

    name: str
    path: Path
    camera: int
    width: int
    height: int
    ev: float
    points: float
    covered: float
    agreement: float
    residual: float
    sharpness: float
    brightness: float
    white: float
    black: float


@dataclass(frozen=True)
class CaptureFacts:
    """The capture in numbers.

    ``lenses``: one line each; ``sizes``: (width, height, how many photos); ``ev``: least and greatest [stops], None
    where no photo says; ``looked_at``: photos that were opened; ``agreement``: of all photos, NaN where there was
    nothing to compare, on ``pairs`` details; ``residual``: median over ``observations`` [pixels], NaN without;
    ``outside``: share of the points that no photo sees; ``behind``: share of points behind the average camera;
    ``spacing``: between points in a photo [pixels].
    """

    photos: int
    cameras: int
    lenses: tuple[str, ...]
    sizes: tuple[tuple[int, int, int], ...]
    points: int
    observations: int
    ev: tuple[float, float] | None
    ev_missing: int
    unused: tuple[str, ...]
    looked_at: int
    agreement: float
    pairs: int
    residual: float
    outside: float
    behind: float
    spacing: float
    covered: float


@dataclass(frozen=True)
class Diagnosis:
    """What was found in the capture at ``root``; ``facts`` None where it could not be read at all;
    ``thumbnails``: small photos by name, uint8 [3, H, W], of those that were opened.
    """

    root: Path
    facts: CaptureFacts | None
    photos: tuple[PhotoFacts, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()
    thumbnails: Mapping[str, torch.Tensor] = field(default_factory=dict, compare=False, repr=False)

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The findings that would spoil a fit."""
        return tuple(finding for finding in self.findings if finding.level == "alarm")

    @property
    def hints(self) -> tuple[Finding, ...]:
        """The others."""
        return tuple(finding for finding in self.findings if finding.level == "hint")


@dataclass(frozen=True)
class Inspected(Message):
    """A part of an inspection is done: ``what`` is looked at, ``fraction`` of all."""

    what: str
    fraction: float
