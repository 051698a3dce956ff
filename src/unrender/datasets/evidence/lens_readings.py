"""What the intrinsics of a reconstruction may mean instead: lenses of other photos, and numbers of the wrong sign."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from unrender.cameras.lens import Lens, make_lens
from unrender.datasets.evidence.readings import Change, Reading
from unrender.datasets.reconstruction import Reconstruction
from unrender.errors import CaptureError

__all__ = ["FOCALS", "focal_reading", "lens_readings", "readable"]

_SIZES = (2.0, 0.5, 4.0, 0.25, 3.0, 1 / 3, 1.5, 2 / 3, 8.0, 0.125)
FOCALS = tuple(1.05**step for step in range(-16, 17) if step)
"""Factors of the focal length that are tried, 0.46 to 2.2."""
_FOCAL, _CENTRE = ("f", "fx", "fy"), ("cx", "cy")
_DISTORTION = (
    "k",
    "k0",
    "k1",
    "k2",
    "k3",
    "k4",
    "k5",
    "k6",
    "omega",
    "p0",
    "p1",
    "p2",
    "p3",
    "s0",
    "s1",
    "s2",
    "s3",
    "sx1",
    "sy1",
)
_OFF_CENTRE = 0.003
"""A principal point less than this share of the photo's edge from its middle is as good as mirrored already."""
_BENT = (-0.3, -0.2, -0.1, -0.05, 0.05, 0.1)
Numbers = Callable[[Lens, dict[str, float]], dict[str, float]]


def lens_readings(found: Reconstruction) -> Iterator[Reading]:
    """Other readings of these lenses, the likely ones first; none that would change nothing."""
    if not any(set(_FOCAL) & set(lens.parameter_names) for lens in found.lenses):
        return
    for size in _SIZES:
        photos = f"{size:.3g} times" if size >= 1 else f"{1 / size:.3g} times less than"
        yield Reading(
            kind="intrinsics_scale",
            title=f"intrinsics belong to photos of another size: these are {photos} as wide as the numbers say",
            do=f"multiply focal lengths and principal points by {size:.3g}",
            change=_with(lambda _, numbers, size=size: _scaled(numbers, size, (*_FOCAL, *_CENTRE))),
        )
    yield from _mirrored(found)
    yield from _distorted(found)
    yield from (focal_reading(factor) for factor in FOCALS)


def focal_reading(factor: float) -> Reading:
    """The focal length ``factor`` times as long."""
    off = abs(1 / factor - 1)
    return Reading(
        kind="focal_length",
        title=f"the focal length is about {100 * off:.0f} % too {'short' if factor > 1 else 'long'}",
        do=f"multiply it by {factor:.3g}, or reconstruct with the focal length free",
        change=_with(lambda _, numbers: _scaled(numbers, factor, _FOCAL)),
        amount=factor,
    )


def _mirrored(found: Reconstruction) -> Iterator[Reading]:
    for axes in (("cx",), ("cy",), ("cx", "cy")):
        if not all(_off_centre(found.lenses, axis) for axis in axes):
            continue
        edges = " and ".join({"cx": "left and right", "cy": "top and bottom"}[axis] for axis in axes)
        yield Reading(
            kind="principal_point_mirrored",
            title=f"the principal point is mirrored ({edges} exchanged)",
            do="measure it from the left and upper edge: "
            + ", ".join(f"{axis} = {'width' if axis == 'cx' else 'height'} - {axis}" for axis in axes),
            change=_with(lambda lens, numbers, axes=axes: _reflected(lens, numbers, axes)),
        )
    if any(_off_centre(found.lenses, axis) for axis in ("cx", "cy")):
        yield Reading(
            kind="principal_point",
            title="the principal point is not where the lens says but in the middle of the photo",
            do="set it to half the width and height, or reconstruct with it free",
            change=_with(_centred),
        )


def _distorted(found: Reconstruction) -> Iterator[Reading]:
    if any(_is_bent(lens) for lens in found.lenses):
        yield Reading(
            kind="distortion_sign",
            title="the distortion has the wrong sign",
            do="negate its coefficients (those of distorting are meant, not of undistorting, or the reverse)",
            change=_with(lambda _, numbers: _scaled(numbers, -1.0, _DISTORTION)),
        )
        yield Reading(
            kind="distortion_needless",
            title="the photos are undistorted already, and the lens still distorts",
            do="set the distortion to zero, or give the photos as they were taken (--images)",
            change=_with(lambda _, numbers: _scaled(numbers, 0.0, _DISTORTION)),
        )
    if all(lens.model in ("PINHOLE", "SIMPLE_PINHOLE") for lens in found.lenses):
        for k in _BENT:
            yield Reading(
                kind="distortion_missing",
                title=f"the photos are distorted and the lens is not (k1 is about {k:g})",
                do="give undistorted photos (--images), or a lens with distortion such as OPENCV",
                change=lambda found, k=k: replace(found, lenses=tuple(_bent(lens, k) for lens in found.lenses)),
            )


def _with(numbers: Numbers) -> Change:
    """Changes the numbers of all lenses. Raises CaptureError when no lens has them."""

    def change(found: Reconstruction) -> Reconstruction:
        return replace(found, lenses=tuple(_relensed(lens, numbers) for lens in found.lenses))

    return change


def _relensed(lens: Lens, numbers: Numbers) -> Lens:
    named = dict(zip(lens.parameter_names, lens.params.tolist(), strict=True))
    return make_lens(lens.model, lens.width, lens.height, list(numbers(lens, named).values()))


def _scaled(numbers: dict[str, float], factor: float, which: Sequence[str]) -> dict[str, float]:
    return {name: value * (factor if name in which else 1) for name, value in numbers.items()}


def _reflected(lens: Lens, numbers: dict[str, float], axes: Sequence[str]) -> dict[str, float]:
    edges = {"cx": lens.width, "cy": lens.height}
    return {name: edges[name] - value if name in axes else value for name, value in numbers.items()}


def _centred(lens: Lens, numbers: dict[str, float]) -> dict[str, float]:
    return numbers | {"cx": lens.width / 2, "cy": lens.height / 2} if "cx" in numbers else numbers


def _off_centre(lenses: Sequence[Lens], axis: str) -> bool:
    for lens in lenses:
        edge = lens.width if axis == "cx" else lens.height
        named = dict(zip(lens.parameter_names, lens.params.tolist(), strict=True))
        if axis in named and abs(named[axis] - edge / 2) > _OFF_CENTRE * edge:
            return True
    return False


def _is_bent(lens: Lens) -> bool:
    pairs = zip(lens.parameter_names, lens.params.tolist(), strict=True)
    return any(name in _DISTORTION and value != 0 for name, value in pairs)


def _bent(lens: Lens, k: float) -> Lens:
    named = dict(zip(lens.parameter_names, lens.params.tolist(), strict=True))
    focal = named.get("f", 0.0)
    numbers = [named.get("fx", focal), named.get("fy", focal), named["cx"], named["cy"], k, 0.0, 0.0, 0.0]
    return make_lens("OPENCV", lens.width, lens.height, torch.tensor(numbers, dtype=torch.float64))


def readable(reading: Reading, found: Reconstruction) -> Reconstruction | None:
    """The reconstruction under a reading, None where that is no reconstruction at all."""
    try:
        return reading.change(found)
    except CaptureError:
        return None
