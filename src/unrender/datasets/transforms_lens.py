"""Intrinsics of transforms.json and our lenses, both ways.

nerfstudio knows four lenses, by ``camera_model`` of the whole file; what a file of its own says per frame is a name of
COLMAP's. cx and cy have the first pixel's centre at 0.5: its rays start from i + 0.5, its converter takes COLMAP's.

    perspective    d(s) = 1 + k1 s + k2 s^2 + k3 s^3 + k4 s^4, s = x^2 + y^2; p1, p2 as in OpenCV. So k3 is that of our
                   FULL_OPENCV; k4 is in no lens of ours (in FULL_OPENCV it divides), and is refused
    fisheye        the same in the angle, which is OPENCV_FISHEYE
    FISHEYE624     distortion_params k0 ... k5 p0 p1 s0 ... s3, our RAD_TAN_THIN_PRISM_FISHEYE
    EQUIRECTANGULAR  fl_x and cx half the width of the sphere, fl_y its height, cy half of that

instant-ngp takes k1 k2 p1 p2, or k1 to k4 with is_fisheye, and focal lengths as camera_angle_x [rad] or x_fov [degrees]
too. Sources: nerfstudio 1.1.5 (cameras/cameras.py, cameras/camera_utils.py, process_data/colmap_utils.py,
metashape_utils.py), instant-ngp abe236e (nerf_loader.cu).
"""

from __future__ import annotations

import math
from typing import Any

from unrender.cameras.lens import LENSES, Lens, make_lens
from unrender.datasets.brown_family import BROWN_LENSES, Rational, simplest_lens
from unrender.datasets.transforms_frames import Frame
from unrender.errors import CaptureError

__all__ = ["TRANSFORMS_LENSES", "holds_lens", "intrinsics_of", "lens_of", "nerfstudio_model"]

_PLANE = BROWN_LENSES[1:]
_ROUND = ("OPENCV_FISHEYE", "RADIAL_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "FISHEYE", "SIMPLE_FISHEYE")
_PRISM, _PANORAMA, _RATIONAL = "RAD_TAN_THIN_PRISM_FISHEYE", "EQUIRECTANGULAR", "FULL_OPENCV"
TRANSFORMS_LENSES = (*_PLANE, *_ROUND, _PRISM, _PANORAMA)
"""The lenses that a transforms.json holds, with whatever numbers."""
_READ = (*_PLANE, _RATIONAL, *_ROUND, "FISHEYE624", _PANORAMA)
_COEFFICIENTS = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
_SWITCHES = ("latlong", "equirectangular", "orthographic", "ftheta_p0")
"""Entries that make instant-ngp use a lens that is none of ours, or runs round the other way."""
_NAMED = {"fl_x": ("f", "fx"), "fl_y": ("f", "fy"), "cx": ("cx",), "cy": ("cy",), "k1": ("k1", "k")}
"""Entry -> the parameters of ours that it is; others have our names."""
_PINHOLE = ("fl_x", "fl_y", "cx", "cy")
_SAME = 1e-6
"""How much of its width a panorama may be off the middle of the sphere."""


def lens_of(frame: Frame, size: tuple[int, int]) -> Lens:
    """The lens of a frame whose photo has ``size`` (width, height).

    It is the one that ``camera_model`` names; without a name the simplest that has these numbers. Raises CaptureError
    for a lens that is none of ours, or entries that do not fit the name.
    """
    switch = next((key for key in _SWITCHES if frame.flag(key)), None)
    if switch is not None:
        raise _refused(frame, f"instant-ngp's {switch} is no lens of ours", expected=" ".join(_READ))
    model = frame.text("camera_model") or ("OPENCV_FISHEYE" if frame.flag("is_fisheye") else None)
    if model is not None and model not in _READ:
        raise _refused(frame, f"the camera_model {model}", expected=f"one of {' '.join(_READ)}")
    try:
        if model == _PANORAMA:
            return _panorama(frame, *size)
        if model == "FISHEYE624":
            params = [*_pinhole(frame, *size).values(), *frame.numbers("distortion_params", 12)]
            return make_lens(_PRISM, *size, params)
        numbers = {**_pinhole(frame, *size), **_coefficients(frame)}
        return _unnamed(frame, size, numbers) if model is None else _named(frame, model, size, numbers)
    except CaptureError as error:
        raise error if str(error).startswith(frame.where) else CaptureError(str(error), where=frame.where) from None


def nerfstudio_model(lens: Lens) -> str:
    """What nerfstudio calls the lens of a whole file."""
    if lens.model in _ROUND:
        return "OPENCV_FISHEYE"
    return {_PRISM: "FISHEYE624", _PANORAMA: _PANORAMA}.get(lens.model, "OPENCV")


def holds_lens(lens: Lens) -> bool:
    """Whether a lens of another model goes into a file all the same: FULL_OPENCV that divides by nothing."""
    return lens.model == _RATIONAL and not any(lens.params[9:].tolist())


def intrinsics_of(lens: Lens) -> dict[str, Any]:
    """The entries of a lens. Raises CaptureError for one that a file cannot hold."""
    if lens.model not in TRANSFORMS_LENSES and not holds_lens(lens):
        raise CaptureError(f"transforms.json cannot hold the lens {lens.model}")
    size: dict[str, Any] = {"w": lens.width, "h": lens.height}
    if lens.model in _ROUND:
        size["is_fisheye"] = True  # instant-ngp asks for it beside the coefficients
    if lens.model == _PANORAMA:
        width, height = lens.params.tolist()
        return {**size, "fl_x": width / 2, "fl_y": height, "cx": width / 2, "cy": height / 2}
    named = dict(zip(lens.parameter_names, lens.params.tolist(), strict=True))
    pinhole = {key: next(named[name] for name in _NAMED[key] if name in named) for key in _PINHOLE}
    if lens.model == _PRISM:
        return {**size, **pinhole, "distortion_params": lens.params[len(_PINHOLE) :].tolist()}
    wanted = ("k1", "k2", "k3", "k4") if lens.model in _ROUND else ("k1", "k2", "p1", "p2")
    zeros = dict.fromkeys(wanted, 0.0)
    if "k" in named:
        named["k1"] = named["k"]
    return {**size, **pinhole, **zeros, **{key: named[key] for key in _COEFFICIENTS if named.get(key)}}


def _pinhole(frame: Frame, width: int, height: int) -> dict[str, float]:
    """Focal lengths and centre [pixels]; what is said of one axis holds for both, a centre not said is the middle."""
    along, up = _focal(frame, "x", width), _focal(frame, "y", height)
    if along is None and up is None:
        raise _refused(frame, "no focal length", expected="fl_x, camera_angle_x or x_fov")
    focal_x, focal_y = along or up or 0.0, up or along or 0.0
    return {
        "fl_x": focal_x,
        "fl_y": focal_y,
        "cx": frame.number("cx", width / 2),
        "cy": frame.number("cy", height / 2),
    }


def _focal(frame: Frame, axis: str, pixels: int) -> float | None:
    """The focal length along an axis [pixels], None where nothing is said of it."""
    key = frame.of_first((f"fl_{axis}", f"camera_angle_{axis}", f"{axis}_fov"))
    if key is None:
        return None
    value = frame.number(key)
    if key.startswith("fl"):
        focal = value
    else:
        angle = value if key.startswith("camera") else math.radians(value)
        focal = pixels / 2 / math.tan(angle / 2) if 0 < angle < math.pi else 0.0
    if not 0 < focal < math.inf:
        raise _refused(frame, key, expected="more than 0" if focal == value else "an angle between 0 and 180 degrees")
    return focal


def _coefficients(frame: Frame) -> dict[str, float]:
    """k1 to k6, p1 and p2, 0 where nothing is said."""
    if frame.has("distortion_params"):  # nerfstudio's own order, instead of the names
        listed = frame.numbers("distortion_params", 6)
        named = dict(zip(("k1", "k2", "k3", "k4", "p1", "p2"), listed, strict=True))
        return {**dict.fromkeys(_COEFFICIENTS, 0.0), **named}
    return {key: frame.number(key, 0.0) for key in _COEFFICIENTS}


def _unnamed(frame: Frame, size: tuple[int, int], numbers: dict[str, float]) -> Lens:
    """The simplest lens of a perspective camera that has these numbers."""
    _refuse_others(frame, "a perspective camera", numbers, ("k1", "k2", "k3", "p1", "p2"))
    radial = (numbers["k1"], numbers["k2"], numbers["k3"], 0.0, 0.0, 0.0)
    pinhole = (numbers["fl_x"], numbers["fl_y"], numbers["cx"], numbers["cy"])
    return simplest_lens(*size, Rational(*pinhole, radial, (numbers["p1"], numbers["p2"])))


def _named(frame: Frame, model: str, size: tuple[int, int], numbers: dict[str, float]) -> Lens:
    """The lens of that name; OPENCV with a k3 is FULL_OPENCV, which has it in the same place."""
    kind = _RATIONAL if model == "OPENCV" and numbers["k3"] else model
    parameters = LENSES[kind].parameter_names
    mine = parameters if kind == model else ("k1", "k2", "k3", "p1", "p2")
    _refuse_others(frame, f"the camera_model {model}", numbers, ("k1", *mine) if "k" in mine else mine)
    if "f" in parameters and numbers["fl_x"] != numbers["fl_y"]:
        what = f"the camera_model {model} has one focal length"
        raise _refused(frame, what, expected="fl_x = fl_y, or OPENCV or OPENCV_FISHEYE")
    keys = {name: key for key, names in _NAMED.items() for name in names}
    return make_lens(kind, *size, [numbers[keys.get(name, name)] for name in parameters])


def _refuse_others(frame: Frame, what: str, numbers: dict[str, float], mine: tuple[str, ...]) -> None:
    """Raises CaptureError for a coefficient that the lens has not: to leave it out would be another camera."""
    others = [f"{key} = {numbers[key]:g}" for key in _COEFFICIENTS if numbers[key] and key not in mine]
    if others:
        expected = " ".join(key for key in _COEFFICIENTS if key in mine) or "no coefficients"
        raise _refused(frame, f"{what} has no {', '.join(others)}", expected=expected)


def _panorama(frame: Frame, width: int, height: int) -> Lens:
    """The whole sphere; where the file gives no focal lengths, over the whole photo."""
    around, down = 2 * frame.number("fl_x", width / 2), frame.number("fl_y", float(height))
    middle = frame.number("cx", around / 2), frame.number("cy", down / 2)
    if abs(middle[0] - around / 2) > _SAME * width or abs(middle[1] - down / 2) > _SAME * height:
        expected = "cx = fl_x and cy = fl_y / 2"
        raise _refused(frame, "a panorama whose middle is not straight ahead", expected=expected, got=middle)
    return make_lens(_PANORAMA, width, height, [around, down])


def _refused(frame: Frame, what: str, *, expected: str, got: object = None) -> CaptureError:
    return CaptureError(what, where=frame.where, expected=expected, got=got, do="mend the file, or its camera_model")
