"""OpenSfM's cameras as lenses of ours and back.

The longer side of a photo is 1, its middle (0, 0), x right, y down. With m the longer side [pixels], a point (x, y) is
at the pixel (m x + w / 2, m y + h / 2), the first pixel's centre at 0.5 (its own pixels have it at 0). Coefficients
belong to the plane at focal length 1 and need no conversion. Fisheye lenses count powers of the angle from the axis;
tangential and thin-prism terms of fisheye62 and fisheye624 are added where the angle has not been distorted yet, as in
COLMAP's THIN_PRISM_FISHEYE and unlike in its RAD_TAN_THIN_PRISM_FISHEYE. Source: the pages and the camera code of
mapillary/OpenSfM 238744c (its pages give other powers for fisheye62 than its code; the code counts).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from unrender.cameras.lens import Lens, make_lens
from unrender.datasets.brown_family import BROWN_LENSES, Rational, rational_of, simplest_lens
from unrender.errors import CaptureError

__all__ = ["OPENSFM_LENSES", "camera_of", "glimpse", "lens_of"]

_FISHEYE = ("OPENCV_FISHEYE", "RADIAL_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "FISHEYE", "SIMPLE_FISHEYE")
_PRISM, _RAD_TAN, _PANORAMA = "THIN_PRISM_FISHEYE", "RAD_TAN_THIN_PRISM_FISHEYE", "EQUIRECTANGULAR"
OPENSFM_LENSES = (*BROWN_LENSES[1:], *_FISHEYE, _PRISM)
"""The lenses that a reconstruction can hold, with whatever numbers."""
_LARGEST = 1 << 24
"""Pixels along a side that a photo may have."""
_ABSURD = 1e30
"""What no number of a camera reaches."""


class _Camera:
    """One camera of the file: its numbers by name, checked as they are asked for."""

    def __init__(self, entry: Mapping[str, Any], where: str) -> None:
        self._entry, self.where = entry, where
        self.width, self.height = (self._side(name) for name in ("width", "height"))
        self.longer = max(self.width, self.height)

    def _side(self, name: str) -> int:
        side = self._entry.get(name)
        if type(side) is not int or not 0 < side <= _LARGEST:
            raise CaptureError(f"{name} of a camera", where=self.where, expected="pixels", got=glimpse(side))
        return side

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number; ``default`` where it is absent, unless that is None."""
        value = self._entry.get(name, default)
        if type(value) not in (int, float) or not abs(value) < _ABSURD:
            raise CaptureError(f"{name} of a camera", where=self.where, expected="a number", got=glimpse(value))
        return float(value)

    def numbers(self, *names: str) -> tuple[float, ...]:
        """Several of them, 0 where absent."""
        return tuple(self.number(name, 0.0) for name in names)

    def middle(self) -> tuple[float, float, float, float]:
        """fx, fy, cx, cy [pixels] of a camera with one focal length and its centre in the middle."""
        focal = self.number("focal") * self.longer
        return focal, focal, self.width / 2, self.height / 2

    def affine(self) -> tuple[float, float, float, float]:
        """fx, fy, cx, cy [pixels] of a camera with two focal lengths and a centre."""
        x, y = self.numbers("c_x", "c_y")
        fx, fy = self.number("focal_x") * self.longer, self.number("focal_y") * self.longer
        return fx, fy, x * self.longer + self.width / 2, y * self.longer + self.height / 2


def lens_of(entry: Mapping[str, Any], where: str) -> Lens:
    """The lens of a camera of the file; ``where`` names it.

    Raises CaptureError when a number is missing or none, or the projection is one that no lens of ours is.
    """
    kind = entry.get("projection_type", "perspective")
    if not isinstance(kind, str) or kind not in _READERS:
        expected = ", ".join(_READERS)
        raise CaptureError("a projection_type unknown here", where=where, expected=expected, got=glimpse(kind))
    camera = _Camera(entry, where)
    try:
        return _READERS[kind](camera)
    except CaptureError as error:
        raise CaptureError(str(error), where=None if str(error).startswith(where) else where) from None


def _perspective(camera: _Camera) -> Lens:
    return _brown_lens(camera, camera.middle(), camera.numbers("k1", "k2"))


def _brown(camera: _Camera) -> Lens:
    return _brown_lens(camera, camera.affine(), camera.numbers("k1", "k2", "k3"), camera.numbers("p1", "p2"))


def _radial(camera: _Camera) -> Lens:
    return _brown_lens(camera, camera.affine(), camera.numbers("k1", "k2"))


def _simple_radial(camera: _Camera) -> Lens:
    return _brown_lens(camera, camera.affine(), camera.numbers("k1"))


def _fisheye(camera: _Camera) -> Lens:
    return _fisheye_lens(camera, camera.middle(), camera.numbers("k1", "k2"))


def _fisheye_opencv(camera: _Camera) -> Lens:
    return _fisheye_lens(camera, camera.affine(), camera.numbers("k1", "k2", "k3", "k4"))


def _fisheye624(camera: _Camera) -> Lens:
    """Also fisheye62, which has no thin-prism terms."""
    k1, k2, k3, k4, k5, k6 = radial = camera.numbers("k1", "k2", "k3", "k4", "k5", "k6")
    p1, p2, s0, s1, s2, s3 = rest = camera.numbers("p1", "p2", "s0", "s1", "s2", "s3")
    intrinsics, size = camera.affine(), (camera.width, camera.height)
    if not any(rest) and not (k5 or k6):
        return _fisheye_lens(camera, intrinsics, radial[:4])
    if not any(rest):
        return make_lens(_RAD_TAN, *size, [*intrinsics, *radial, *rest])
    if k5 or k6 or s1 or s3:
        raise CaptureError(
            "a fisheye624 camera that no lens of ours is",
            where=camera.where,
            expected="k5, k6, s1 and s3 of 0, or no tangential and thin-prism terms",
            got=[k5, k6, s1, s3],
        )
    return make_lens(_PRISM, *size, [*intrinsics, k1, k2, p1, p2, k3, k4, s0, s2])


def _dual(camera: _Camera) -> Lens:
    """Between perspective (1) and fisheye (0), which are all of it that we have."""
    transition = camera.number("transition", 0.5)
    if transition not in (0.0, 1.0):
        what = "a dual camera between perspective and fisheye, for which there is no lens here"
        raise CaptureError(what, where=camera.where, expected="transition 0 or 1", got=transition)
    return _perspective(camera) if transition else _fisheye(camera)


def _spherical(camera: _Camera) -> Lens:
    if camera.width != 2 * camera.height:
        got = f"{camera.width} x {camera.height}"
        raise CaptureError("a panorama", where=camera.where, expected="twice as wide as high", got=got)
    return make_lens(_PANORAMA, camera.width, camera.height, [camera.width, camera.height])


_READERS: dict[str, Callable[[_Camera], Lens]] = {
    "perspective": _perspective,
    "brown": _brown,
    "radial": _radial,
    "simple_radial": _simple_radial,
    "fisheye": _fisheye,
    "fisheye_opencv": _fisheye_opencv,
    "fisheye62": _fisheye624,
    "fisheye624": _fisheye624,
    "dual": _dual,
    **dict.fromkeys(("spherical", "equirectangular"), _spherical),
}


def _brown_lens(
    camera: _Camera, intrinsics: tuple[float, ...], radial: tuple[float, ...], tangential: tuple[float, ...] = (0, 0)
) -> Lens:
    fx, fy, cx, cy = intrinsics
    k1, k2, k3, k4, k5, k6 = (*radial, *(0.0,) * (6 - len(radial)))
    p1, p2 = tangential
    return simplest_lens(camera.width, camera.height, Rational(fx, fy, cx, cy, (k1, k2, k3, k4, k5, k6), (p1, p2)))


def _fisheye_lens(camera: _Camera, intrinsics: tuple[float, ...], radial: tuple[float, ...]) -> Lens:
    """The fisheye lens with the fewest parameters."""
    fx, fy, cx, cy = intrinsics
    k1, k2, k3, k4 = (*radial, *(0.0,) * (4 - len(radial)))
    size = (camera.width, camera.height)
    if k3 or k4 or (fx != fy and (k1 or k2)):
        return make_lens("OPENCV_FISHEYE", *size, [fx, fy, cx, cy, k1, k2, k3, k4])
    if k2:
        return make_lens("RADIAL_FISHEYE", *size, [fx, cx, cy, k1, k2])
    if k1:
        return make_lens("SIMPLE_RADIAL_FISHEYE", *size, [fx, cx, cy, k1])
    return make_lens("SIMPLE_FISHEYE", *size, [fx, cx, cy]) if fx == fy else make_lens("FISHEYE", *size, intrinsics)


def has_camera_for(lens: Lens) -> bool:
    """Whether ``camera_of`` has one that images as this lens does."""
    try:
        camera_of(lens)
    except CaptureError:
        return False
    return True


def camera_of(lens: Lens) -> dict[str, Any]:
    """The camera of the file that images as a lens of ours does: any of ``OPENSFM_LENSES``, some with certain numbers.

    Raises CaptureError where its numbers have no place in the file: k4 to k6 of FULL_OPENCV, terms across the radius of
    RAD_TAN_THIN_PRISM_FISHEYE, a panorama that does not fill its photo.
    """
    size = {"width": lens.width, "height": lens.height}
    if lens.model == _PANORAMA:
        if lens.params.tolist() != [lens.width, lens.height] or lens.width != 2 * lens.height:
            raise _no_place(lens, "a panorama of the photo's size, twice as wide as high")
        return {"projection_type": "spherical", **size}
    if lens.model in BROWN_LENSES:  # FULL_OPENCV too
        kind, (fx, fy, cx, cy), terms = _brown_terms(lens)
    elif lens.model in (*_FISHEYE, _PRISM, _RAD_TAN):
        kind, (fx, fy, cx, cy), terms = _fisheye_terms(lens)
    else:
        raise _no_place(lens, f"one of {', '.join(OPENSFM_LENSES)}")
    longer = max(lens.width, lens.height)
    in_middle = fx == fy and (2 * cx, 2 * cy) == (lens.width, lens.height)
    short = {"brown": "perspective", "fisheye_opencv": "fisheye"}.get(kind)
    if in_middle and short and not any(value for name, value in terms.items() if name not in ("k1", "k2")):
        return {"projection_type": short, **size, "focal": fx / longer, "k1": terms["k1"], "k2": terms["k2"]}
    center = {"c_x": (cx - lens.width / 2) / longer, "c_y": (cy - lens.height / 2) / longer}
    return {"projection_type": kind, **size, "focal_x": fx / longer, "focal_y": fy / longer, **center, **terms}


def _brown_terms(lens: Lens) -> tuple[str, tuple[float, float, float, float], dict[str, float]]:
    numbers = rational_of(lens)
    if any(numbers.radial[3:]):
        raise _no_place(lens, "k4, k5 and k6 of 0")
    k1, k2, k3 = numbers.radial[:3]
    p1, p2 = numbers.tangential
    terms = {"k1": k1, "k2": k2, "p1": p1, "p2": p2, "k3": k3}
    return "brown", (numbers.fx, numbers.fy, numbers.cx, numbers.cy), terms


def _fisheye_terms(lens: Lens) -> tuple[str, tuple[float, float, float, float], dict[str, float]]:
    values = lens.params.tolist()
    if lens.model == _RAD_TAN:
        if any(values[10:]):
            raise _no_place(lens, "no tangential and thin-prism terms")
        terms = dict(zip(("k1", "k2", "k3", "k4", "k5", "k6"), values[4:10], strict=True))
        return "fisheye62", tuple(values[:4]), {**terms, "p1": 0.0, "p2": 0.0}
    if lens.model == _PRISM:
        k1, k2, p1, p2, k3, k4, s0, s2 = values[4:]
        radial = {"k1": k1, "k2": k2, "k3": k3, "k4": k4, "k5": 0.0, "k6": 0.0}
        return "fisheye624", tuple(values[:4]), {**radial, "p1": p1, "p2": p2, "s0": s0, "s1": 0.0, "s2": s2, "s3": 0.0}
    two_focal = lens.model in ("OPENCV_FISHEYE", "FISHEYE")
    intrinsics = values[:4] if two_focal else [values[0], *values[:3]]
    radial = [*values[4 if two_focal else 3 :], 0.0, 0.0, 0.0, 0.0][:4]
    return "fisheye_opencv", tuple(intrinsics), dict(zip(("k1", "k2", "k3", "k4"), radial, strict=True))


def _no_place(lens: Lens, expected: str) -> CaptureError:
    got, do = lens.params.tolist(), "choose another format, or undistort the photos first"
    return CaptureError(f"OpenSfM has no camera like this {lens.model}", expected=expected, got=got, do=do)


def glimpse(got: object) -> str:
    """What was found in a JSON file, short: of lists and objects, which may be deep, the size."""
    if isinstance(got, dict | list):
        flat = isinstance(got, list) and not any(isinstance(entry, dict | list) for entry in got)
        return repr(got)[:80] if flat else f"{type(got).__name__} of {len(got)}"
    return "nothing" if got is None else repr(got)[:80]
