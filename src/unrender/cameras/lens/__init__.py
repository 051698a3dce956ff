"""Lenses, one file per family, all behind the same few functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unrender.cameras.lens.brown import FullOpenCV, OpenCV, Radial, SimpleRadial
from unrender.cameras.lens.calibrated import Calibrated
from unrender.cameras.lens.division import Division, SimpleDivision
from unrender.cameras.lens.eucm import EnhancedUnified
from unrender.cameras.lens.fisheye import (
    Fisheye,
    OpenCVFisheye,
    RadialFisheye,
    RadTanThinPrismFisheye,
    SimpleFisheye,
    SimpleRadialFisheye,
    ThinPrismFisheye,
)
from unrender.cameras.lens.fov import FieldOfView
from unrender.cameras.lens.lens import Lens
from unrender.cameras.lens.ocam import OCam
from unrender.cameras.lens.panorama import Equirectangular
from unrender.cameras.lens.pinhole import Pinhole, SimplePinhole
from unrender.errors import CaptureError

__all__ = [
    "LENSES",
    "Calibrated",
    "Division",
    "EnhancedUnified",
    "Equirectangular",
    "FieldOfView",
    "Fisheye",
    "FullOpenCV",
    "Lens",
    "OCam",
    "OpenCV",
    "OpenCVFisheye",
    "Pinhole",
    "RadTanThinPrismFisheye",
    "Radial",
    "RadialFisheye",
    "SimpleDivision",
    "SimpleFisheye",
    "SimplePinhole",
    "SimpleRadial",
    "SimpleRadialFisheye",
    "ThinPrismFisheye",
    "make_lens",
]

_FAMILIES: tuple[type[Calibrated], ...] = (
    *(SimplePinhole, Pinhole, SimpleRadial, Radial, OpenCV, FullOpenCV),
    *(SimpleFisheye, Fisheye, SimpleRadialFisheye, RadialFisheye, OpenCVFisheye),
    *(ThinPrismFisheye, RadTanThinPrismFisheye),
    *(FieldOfView, SimpleDivision, Division, EnhancedUnified, OCam, Equirectangular),
)
LENSES: dict[str, type[Calibrated]] = {lens.model: lens for lens in _FAMILIES}
"""COLMAP's model name -> lens. OCAM is our own: COLMAP has none like it."""


def make_lens(model: str, width: int, height: int, params: Sequence[float] | torch.Tensor) -> Calibrated:
    """The lens of a COLMAP camera: its model name, photo size [pixels] and parameters in COLMAP's order.

    Raises CaptureError when the model is unknown, or the parameters are not finite, out of range, too few or too many.
    """
    if model not in LENSES:
        raise CaptureError(
            f"unknown camera model {model}",
            expected=f"one of {', '.join(LENSES)}",
            do="convert it with COLMAP (model_converter, image_undistorter) or reconstruct with one of these models",
        )
    return LENSES[model](width, height, torch.as_tensor(params, dtype=torch.float64))
