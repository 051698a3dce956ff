"""Lenses, one file per family, all behind the same few functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from unrender.cameras.lens.brown import OpenCV, Radial, SimpleRadial
from unrender.cameras.lens.lens import Lens
from unrender.cameras.lens.pinhole import Perspective, Pinhole, SimplePinhole
from unrender.errors import CaptureError

__all__ = [
    "LENSES",
    "Lens",
    "OpenCV",
    "Perspective",
    "Pinhole",
    "Radial",
    "SimplePinhole",
    "SimpleRadial",
    "make_lens",
]

LENSES: dict[str, type[Perspective]] = {
    lens.model: lens for lens in (SimplePinhole, Pinhole, SimpleRadial, Radial, OpenCV)
}
"""COLMAP's model name -> lens."""


def make_lens(model: str, width: int, height: int, params: Sequence[float] | torch.Tensor) -> Perspective:
    """The lens of a COLMAP camera: its model name, photo size [pixels] and parameters in COLMAP's order.

    Raises CaptureError when the model is unknown, or the parameters are not finite, too few or too many.
    """
    if model not in LENSES:
        raise CaptureError(
            f"unknown camera model {model}",
            expected=f"one of {', '.join(LENSES)}",
            do="convert it with COLMAP (model_converter, image_undistorter) or reconstruct with one of these models",
        )
    return LENSES[model](width, height, torch.as_tensor(params, dtype=torch.float64))
