"""The sensors of Agisoft Metashape and our lenses.

Source: Agisoft Metashape User Manual, appendix "Camera models": axes x right, y down, z forward, the first pixel's
centre at (0.5, 0.5), cx and cy from the middle of the photo, and with x = X/Z, y = Y/Z (fisheye: times angle over
tangent), r their length,

    x' = x (1 + K1 r^2 + K2 r^4 + K3 r^6 + K4 r^8) + (P1 (r^2 + 2 x^2) + 2 P2 x y) (1 + P3 r^2 + P4 r^4)
    y' = y (1 + K1 r^2 + K2 r^4 + K3 r^6 + K4 r^8) + (P2 (r^2 + 2 y^2) + 2 P1 x y) (1 + P3 r^2 + P4 r^4)
    u = w/2 + cx + x' f + x' B1 + y' B2,  v = h/2 + cy + y' f

so P1 is OpenCV's p2 and P2 its p1, B1 makes focal lengths unequal and B2 is skew. A spherical camera is our
EQUIRECTANGULAR.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

from unrender.cameras.lens import Lens, make_lens
from unrender.datasets.brown_polynomial import Polynomial, holds_polynomial, nearest_lens_of, polynomial_of
from unrender.datasets.xml_tree import number, whole
from unrender.errors import CaptureError

__all__ = ["METASHAPE_LENSES", "calibration_of", "holds_sensor", "lens_of"]

METASHAPE_LENSES = (
    *("OPENCV", "RADIAL", "SIMPLE_RADIAL", "PINHOLE", "SIMPLE_PINHOLE"),
    *("OPENCV_FISHEYE", "RADIAL_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "FISHEYE", "SIMPLE_FISHEYE"),
)
"""The lenses that a sensor can hold whatever their numbers."""
_FISHEYES = (*METASHAPE_LENSES[5:], "THIN_PRISM_FISHEYE")
_TERMS = ("k1", "k2", "k3", "k4", "p1", "p2", "p3", "p4", "b1", "b2")
_DO = "export the cameras again with Metashape"


def lens_of(sensor: Element, where: object) -> tuple[Lens, float]:
    """The lens of a sensor and by how much it is off at most [pixels], as ``nearest_lens_of``.

    Adjusted calibrations count, else initial ones. Raises CaptureError, which begins with ``where``, for a type that we
    have no lens for, a calibration that is missing or numbers that make no sense.
    """
    calibrations = sorted(sensor.findall("calibration"), key=lambda one: one.get("class") != "adjusted")
    calibration = calibrations[0] if calibrations else None
    kind = sensor.get("type", "frame") if calibration is None else calibration.get("type", sensor.get("type", "frame"))
    width, height = _size(sensor, calibration, where)
    if kind == "spherical":
        return _panorama(width, height, calibration, where), 0.0
    if kind not in ("frame", "fisheye", "equidistant_fisheye"):
        expected = "frame, fisheye or spherical"
        raise CaptureError(f"cameras of type {kind!r} have no lens here", where=where, expected=expected)
    if calibration is None or calibration.find("f") is None:
        old = calibration is not None and calibration.find("fx") is not None
        what = "a calibration as PhotoScan wrote it before 1.3" if old else "no calibration"
        raise CaptureError(what, where=where, expected="focal length f in pixels", do=_DO)
    polynomial = _polynomial(width, height, calibration, where)
    if kind == "frame":
        return nearest_lens_of(width, height, polynomial, where)
    return _fisheye(width, height, polynomial, where), 0.0


def _size(sensor: Element, calibration: Element | None, where: object) -> tuple[int, int]:
    """Width and height that the calibration is for [pixels]."""
    places = [place.find("resolution") for place in (calibration, sensor) if place is not None]
    resolution = next((place for place in places if place is not None), None)
    if resolution is None:
        raise CaptureError("no resolution", where=where, expected="width and height in pixels", do=_DO)
    width, height = (whole(resolution.get(side), f"the {side}", where, least=1) for side in ("width", "height"))
    return width, height


def _term(calibration: Element, name: str, where: object) -> float:
    found = calibration.find(name)
    return 0.0 if found is None else number(found.text, name, where)


def _polynomial(width: int, height: int, calibration: Element, where: object) -> Polynomial:
    focal, cx, cy = (_term(calibration, name, where) for name in ("f", "cx", "cy"))
    k1, k2, k3, k4, p1, p2, p3, p4, b1, b2 = (_term(calibration, name, where) for name in _TERMS)
    center = (width / 2 + cx, height / 2 + cy)
    return Polynomial(focal + b1, focal, *center, (k1, k2, k3, k4), (p2, p1), (p3, p4), b2)


def _fisheye(width: int, height: int, polynomial: Polynomial, where: object) -> Lens:
    """All terms but those of higher tangential order and skew are those of OPENCV_FISHEYE and THIN_PRISM_FISHEYE."""
    foreign = [name for name in polynomial.foreign if name != "k4"]
    if foreign:
        raise CaptureError(f"no fisheye lens has the terms {', '.join(foreign)}", where=where, do="calibrate without")
    intrinsics = [polynomial.fx, polynomial.fy, polynomial.cx, polynomial.cy]
    (k1, k2, k3, k4), (p1, p2) = polynomial.radial, polynomial.tangential
    try:
        if p1 or p2:
            return make_lens("THIN_PRISM_FISHEYE", width, height, [*intrinsics, k1, k2, p1, p2, k3, k4, 0.0, 0.0])
        return make_lens("OPENCV_FISHEYE", width, height, [*intrinsics, k1, k2, k3, k4])
    except CaptureError as error:
        raise CaptureError(str(error), where=where) from None


def _panorama(width: int, height: int, calibration: Element | None, where: object) -> Lens:
    """The whole sphere: twice as wide as high, the middle straight ahead."""
    terms = [0.0] if calibration is None else [_term(calibration, name, where) for name in ("cx", "cy", *_TERMS)]
    if width != 2 * height or any(terms):
        expected = "a photo twice as wide as high, without cx, cy and distortion"
        raise CaptureError("a spherical camera that is no whole panorama", where=where, expected=expected)
    try:
        return make_lens("EQUIRECTANGULAR", width, height, [width, height])
    except CaptureError as error:
        raise CaptureError(str(error), where=where) from None


def holds_sensor(lens: Lens) -> bool:
    """Whether a sensor can hold just this lens."""
    named = dict(zip(lens.parameter_names, lens.params.tolist(), strict=True))
    if lens.model == "THIN_PRISM_FISHEYE":
        return not named["sx1"] and not named["sy1"]
    if lens.model == "EQUIRECTANGULAR":
        return named["w"] == lens.width == 2 * lens.height and named["h"] == lens.height
    return lens.model in METASHAPE_LENSES or holds_polynomial(lens)


def calibration_of(lens: Lens, where: object) -> tuple[str, dict[str, float]]:
    """The type of a sensor and the terms of its calibration that are not 0. Raises CaptureError where none fits."""
    if not holds_sensor(lens):
        raise CaptureError(f"Metashape has no sensor for the lens {lens.model}", where=where)
    if lens.model == "EQUIRECTANGULAR":
        return "spherical", {}
    kind, numbers = ("fisheye", _of_fisheye(lens)) if lens.model in _FISHEYES else ("frame", polynomial_of(lens, where))
    coefficients = (*numbers.radial, *numbers.tangential[::-1], *numbers.higher, numbers.fx - numbers.fy, numbers.skew)
    terms = dict(zip(_TERMS, coefficients, strict=True))
    terms |= {"cx": numbers.cx - lens.width / 2, "cy": numbers.cy - lens.height / 2}
    return kind, {"f": numbers.fy} | {name: value for name, value in sorted(terms.items()) if value}


def _of_fisheye(lens: Lens) -> Polynomial:
    named = dict(zip(lens.parameter_names, lens.params.tolist(), strict=True))
    k1, k2, k3, k4 = (named.get(name, 0.0) for name in ("k1", "k2", "k3", "k4"))
    fx, fy = (named["f"], named["f"]) if "f" in named else (named["fx"], named["fy"])
    tangential = (named.get("p1", 0.0), named.get("p2", 0.0))
    return Polynomial(fx, fy, named["cx"], named["cy"], (named.get("k", k1), k2, k3, k4), tangential)
