"""The cameras of an ADOP scene, one ini file each: a rational distortion, or the polynomial of Scaramuzza (OCam).

ADOP writes the eight coefficients as k1 ... k6 p1 p2, which is not OpenCV's order. colmap2adop hands COLMAP's K over
as it is, so here too the first pixel's centre is at 0.5 in the numbers of such a camera. An OCam calibration comes from
its toolbox, which puts that centre at 0; ADOP projects with poly_world2cam, and we read nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from unrender.cameras.lens import Lens, make_lens
from unrender.datasets.adop_ini import Ini, read_ini
from unrender.datasets.brown_family import BROWN_LENSES, Rational, rational_of, simplest_lens
from unrender.errors import CaptureError

__all__ = ["ADOP_LENSES", "is_ocam", "read_camera", "write_camera"]

ADOP_LENSES = BROWN_LENSES
"""The lenses that a scene can hold, beside OCAM."""
_SECTION = "SceneCameraParams"
_SKEW = 1e-6
"""Skew [pixels per focal length] that moves nothing by more than a millionth of a pixel."""
_TYPES = ("pinhole with distortion", "OCam", "spherical", "orthographic")
_POWERS = (0, 2, 3, 4, 5, 6, 7, 8)
"""Of the radius, in the way back, poly_cam2world; the toolbox too leaves the first out, and stops at the fourth."""


def read_camera(path: Path, kind: int | None) -> Lens:
    """The lens of a camera file. ``kind``: camera_type_int of the scene, None where each camera says (TRIPS).

    Raises CaptureError when a number is missing or wrong, or the camera is one that we have no lens for.
    """
    if kind not in (None, 0, 1):
        name = _TYPES[kind] if 0 <= kind < len(_TYPES) else str(kind)
        raise CaptureError(f"cameras of type {name}", where=path, expected=" or ".join(_TYPES[:2]))
    ini = read_ini(path, _SECTION)
    width, height = ini.integer("w"), ini.integer("h")
    if min(width, height) <= 0 or max(width, height) > 1 << 24:
        raise CaptureError("photo size", where=path, expected="positive w and h", got=f"{width} x {height}")
    series = ini.floats("poly_world2cam")
    try:
        return _ocam(ini, width, height, series) if kind == 1 or series else _rational(ini, width, height)
    except CaptureError as error:
        where = None if str(error).startswith(str(path)) else path
        raise CaptureError(str(error), where=where) from None


def is_ocam(lens: Lens) -> bool:
    """Whether a lens goes out as OCam."""
    return lens.model == "OCAM"


def write_camera(path: Path, lens: Lens) -> None:
    """Write the camera file of one of ``ADOP_LENSES`` or of OCAM."""
    lines = [f"[{_SECTION}]", f"w = {lens.width}", f"h = {lens.height}"]
    lines += _ocam_lines(lens) if is_ocam(lens) else _rational_lines(lens)
    path.write_text("\n".join([*lines, "ocam_cutoff = 1", ""]), encoding="utf-8")


def _rational(ini: Ini, width: int, height: int) -> Lens:
    fx, fy, cx, cy, skew = ini.floats("K", 5)
    if abs(skew) > _SKEW:
        raise CaptureError("K has a skew, which no lens of ours has", where=ini.path, expected="0", got=skew)
    k1, k2, k3, k4, k5, k6, p1, p2 = ini.floats("distortion", 8) if ini.has("distortion") else [0.0] * 8
    return simplest_lens(width, height, Rational(fx, fy, cx, cy, (k1, k2, k3, k4, k5, k6), (p1, p2)))


def _ocam(ini: Ini, width: int, height: int, series: list[float]) -> Lens:
    c, d, e, cx, cy = ini.floats("op", 5)
    if not 2 <= len(series) <= 64:
        raise ini.wrong("poly_world2cam", "2 to 64 coefficients")
    return make_lens("OCAM", width, height, [c, d, e, cx + 0.5, cy + 0.5, *series])


def _rational_lines(lens: Lens) -> list[str]:
    numbers = rational_of(lens)
    intrinsics = (numbers.fx, numbers.fy, numbers.cx, numbers.cy, 0.0)
    return [
        "# fx fy cx cy s",
        f"K = {_joined(intrinsics)}",
        "# k1 k2 k3 k4 k5 k6 p1 p2",
        f"distortion = {_joined((*numbers.radial, *numbers.tangential))}",
        "# c d e cx cy",
        "op = 1.0 0.0 0.0 0.0 0.0",
        "poly_world2cam =",
        "poly_cam2world =",
    ]


def _ocam_lines(lens: Lens) -> list[str]:
    """K stands for the middle of the photo, for what draws OCam photos through a pinhole."""
    c, d, e, cx, cy, *series = lens.params.tolist()
    focal = float(max(lens.width, lens.height))
    return [
        "# fx fy cx cy s",
        f"K = {_joined((focal, focal, cy, cx, 0.0))}",
        f"distortion = {_joined([0.0] * 8)}",
        "# c d e cx cy",
        f"op = {_joined((c, d, e, cx - 0.5, cy - 0.5))}",
        f"poly_world2cam = {_joined(series)}",
        f"poly_cam2world = {_joined(_way_back(series, math.hypot(lens.width, lens.height) / 2))}",
    ]


def _way_back(series: list[float], reach: float) -> list[float]:
    """Coefficients of z = f0 + f2 r^2 + f3 r^3 ..., the direction that lands at radius r [pixels] up to ``reach``.

    The angle above the plane of the lens has tangent z / r. ADOP does not project with it; TRIPS tells by its
    presence that a camera is OCam.
    """
    angles = np.linspace(-math.pi / 2 + 1e-4, math.pi / 3, 512)
    radii = np.polynomial.polynomial.polyval(angles, series)
    seen = (radii > 0.02 * reach) & (radii <= reach)  # a polynomial that misses 0 on the axis has no z there
    if np.count_nonzero(seen) < len(_POWERS):
        return [-1.0]
    table = np.stack([(radii[seen] / reach) ** power for power in _POWERS], axis=1)
    factors = np.linalg.lstsq(table, radii[seen] * np.tan(angles[seen]), rcond=None)[0]
    series_back = np.zeros(_POWERS[-1] + 1)
    series_back[list(_POWERS)] = factors / reach ** np.array(_POWERS, dtype=np.float64)
    return series_back.tolist()


def _joined(numbers: Iterable[float]) -> str:
    return " ".join(repr(float(number)) for number in numbers)
