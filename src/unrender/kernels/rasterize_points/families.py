"""Which family of ``lens.h`` a lens is, and its numbers in the order in which that reads them.

``unproject_plane`` reads them again, for the way back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from unrender.cameras.lens import (
    Calibrated,
    Division,
    EnhancedUnified,
    Equirectangular,
    FieldOfView,
    Fisheye,
    FullOpenCV,
    Lens,
    OCam,
    OpenCV,
    OpenCVFisheye,
    Pinhole,
    Radial,
    RadialFisheye,
    RadTanThinPrismFisheye,
    SimpleDivision,
    SimpleFisheye,
    SimplePinhole,
    SimpleRadial,
    SimpleRadialFisheye,
    ThinPrismFisheye,
    make_lens,
)
from unrender.cameras.lens.central import Central
from unrender.errors import CaptureError

__all__ = ["DRAWN", "FAMILIES", "TERMS", "PackedLens", "check_drawn", "pack_lens", "unproject_plane"]

FAMILIES = ("brown", "rational", "equidistant", "series", "fov", "ocam", "unified", "division", "panorama")
"""The values of ``Family`` in lens.h, in order."""

TERMS = 24
"""``kTerms``."""

_SERIES = TERMS - 3  # coefficients that an OCam polynomial may have
_PLANE = ("k2", "p1", "p2")
_BENDS = ("k0", "k1", "k2", "k3", "k4", "k5")

DRAWN: dict[type[Calibrated], str] = {
    **dict.fromkeys((SimplePinhole, Pinhole, SimpleRadial, Radial, OpenCV), "brown"),
    FullOpenCV: "rational",
    **dict.fromkeys((SimpleFisheye, Fisheye, SimpleRadialFisheye, RadialFisheye), "equidistant"),
    **dict.fromkeys((OpenCVFisheye, ThinPrismFisheye), "equidistant"),
    RadTanThinPrismFisheye: "series",
    FieldOfView: "fov",
    OCam: "ocam",
    EnhancedUnified: "unified",
    **dict.fromkeys((SimpleDivision, Division), "division"),
    Equirectangular: "panorama",
}
"""The lenses that are drawn, by type and not by base: a lens with further terms would be drawn without them."""


class PackedLens(NamedTuple):
    """``family``: place in ``FAMILIES``; ``focal``, ``center`` [2] of the photo; ``distortion`` [4]: k1 k2 p1 p2;
    ``valid``: largest squared distance from 0 in the chart; ``widest`` [rad] angle from the axis; ``terms`` [TERMS].
    Tensors are float64 and differentiable in the lens's parameters.
    """

    family: int
    focal: torch.Tensor
    center: torch.Tensor
    distortion: torch.Tensor
    valid: float
    widest: float
    terms: torch.Tensor


def check_drawn(lens: Lens) -> None:
    """Raises CaptureError when the kernels lack a lens, or room for its coefficients."""
    if type(lens) not in DRAWN:
        raise CaptureError(
            f"the point rasteriser has no lens {lens.model}",
            expected=f"one of {', '.join(drawn.model for drawn in DRAWN)}",
            do="undistort the photos (colmap image_undistorter), or take the nearest lens that it has (nearest_lens)",
        )
    if isinstance(lens, OCam) and lens.params.numel() - 5 > _SERIES:
        raise CaptureError(
            "the polynomial has too many coefficients for the point rasteriser",
            where=lens.model,
            expected=f"at most {_SERIES}",
            got=lens.params.numel() - 5,
            do="fit a shorter one",
        )


def pack_lens(lens: Lens) -> PackedLens:
    """The numbers of a lens. Raises CaptureError when the kernels lack it."""
    check_drawn(lens)
    assert isinstance(lens, Calibrated)
    family = DRAWN[type(lens)]
    named = dict(zip(lens.parameter_names, lens.params.unbind(), strict=True))
    focal, center = _intrinsics(lens)
    return PackedLens(
        family=FAMILIES.index(family),
        focal=_row(focal, 2, lens),
        center=_row(center, 2, lens),
        distortion=_row(_plane(family)(named), 4, lens),
        valid=lens.valid_radius**2 if isinstance(lens, Central) else math.inf,
        widest=lens.widest if isinstance(lens, OCam | RadTanThinPrismFisheye) else math.pi,
        terms=_row(_TERMS[family](named), TERMS, lens),
    )


Number = torch.Tensor | float


def _intrinsics(lens: Calibrated) -> tuple[tuple[Number, Number], tuple[Number, Number]]:
    """Focal lengths and centre; of a panorama, pixels per radian."""
    if isinstance(lens, Central):
        fx, fy, cx, cy = lens.intrinsics
        return (fx, fy), (cx, cy)
    width, height = lens.params.unbind()
    return (width / (2 * math.pi), height / math.pi), (width / 2, height / 2)


Named = dict[str, torch.Tensor]


def _plane(family: str) -> Callable[[Named], tuple[Number, ...]]:
    """k1, k2, p1 and p2; where these letters mean something else, only what they are here."""
    if family == "series":
        return lambda named: (0.0, 0.0, named["p1"], named["p0"])
    return _pick() if family == "division" else lambda named: _pick("k1" if "k1" in named else "k", *_PLANE)(named)


def _row(numbers: tuple[Number, ...], length: int, lens: Calibrated) -> torch.Tensor:
    """As many numbers, with zeros behind."""
    filled = (*numbers, *(0.0,) * (length - len(numbers)))
    return torch.stack([torch.as_tensor(number, dtype=torch.float64, device=lens.params.device) for number in filled])


def _pick(*names: str) -> Callable[[Named], tuple[Number, ...]]:
    return lambda named: tuple(named.get(name, 0.0) for name in names)


def _field_of_view(named: Named) -> tuple[torch.Tensor, ...]:
    omega = named["omega"].abs().clamp(min=1e-6)  # as the lens itself
    return omega, 2 * torch.tan(omega / 2)


def _polynomial(named: Named) -> tuple[torch.Tensor, ...]:
    return tuple(value for name, value in named.items() if name not in ("cx", "cy"))


_TERMS: dict[str, Callable[[Named], tuple[Number, ...]]] = {
    "brown": _pick(),
    "rational": _pick("k3", "k4", "k5", "k6"),
    "equidistant": _pick("k3", "k4", "sx1", "sy1"),
    "series": _pick("s0", "s2", "s1", "s3", *_BENDS),
    "fov": _field_of_view,
    "ocam": _polynomial,
    "unified": _pick("alpha", "beta"),
    "division": _pick("k"),
    "panorama": _pick(),
}


def unproject_plane(family: int, distortion: torch.Tensor, terms: torch.Tensor, plane: torch.Tensor) -> torch.Tensor:
    """Camera-space directions [K, 3] through places [K, 2] of the plane at focal length 1, from a row's numbers."""
    lens = _at_focal_length_1(FAMILIES[family], distortion.tolist(), terms.tolist())
    middle = lens.params / 2 if isinstance(lens, Equirectangular) else lens.params.new_zeros(2)
    return lens.unproject(plane + middle.to(plane))


def _at_focal_length_1(family: str, distortion: list[float], terms: list[float]) -> Calibrated:
    """The lens, with its centre at 0; a panorama of size 2 pi x pi."""
    (k1, k2, p1, p2), t = distortion, terms
    model, params = {
        "brown": ("OPENCV", (1, 1, 0, 0, k1, k2, p1, p2)),
        "rational": ("FULL_OPENCV", (1, 1, 0, 0, k1, k2, p1, p2, *t[:4])),
        "equidistant": ("THIN_PRISM_FISHEYE", (1, 1, 0, 0, k1, k2, p1, p2, *t[:4])),
        "series": ("RAD_TAN_THIN_PRISM_FISHEYE", (1, 1, 0, 0, *t[4:10], p2, p1, t[0], t[2], t[1], t[3])),
        "fov": ("FOV", (1, 1, 0, 0, t[0])),
        "ocam": ("OCAM", (*t[:3], 0, 0, *t[3:])),
        "unified": ("EUCM", (1, 1, 0, 0, *t[:2])),
        "division": ("DIVISION", (1, 1, 0, 0, t[0])),
        "panorama": ("EQUIRECTANGULAR", (2 * math.pi, math.pi)),
    }[family]
    return make_lens(model, 1, 1, params)
