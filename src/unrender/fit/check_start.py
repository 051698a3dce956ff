"""What would keep a fit from starting, found in seconds and before anything is made.

A start that is refused after its folder was made would leave a run, and that run would refuse the corrected command.
"""

from __future__ import annotations

import torch

from unrender.datasets.capture import Capture
from unrender.errors import CaptureError
from unrender.fit.optimizers import check_rates
from unrender.fit.refine.sensitivity import measure_units
from unrender.fit.refine.structure import STRUCTURAL
from unrender.fit.settings import FitSettings
from unrender.initialize.points import refuse_too_few
from unrender.losses import load_judges
from unrender.render.model import Model
from unrender.render.shade.network import NetworkShader
from unrender.scenes.points import PointScene

__all__ = ["check_start"]

_FEWEST = 3
"""Photos that points can be refined with: two agree on any depth along their lines of sight."""


def check_start(capture: Capture, settings: FitSettings) -> None:
    """Raises SettingsError for rates that name nothing, CaptureError for too few points, UnrenderError for bad weights
    of the VGG loss.
    """
    names = [parameter.name for parameter in _smallest(capture, settings).parameters()]
    check_rates([*names, *STRUCTURAL], settings.rates)
    refuse_too_few(capture, settings.points)
    if settings.refine.structure:
        _refuse_unconnected(capture, settings)
    load_judges(settings.loss)


def _refuse_unconnected(capture: Capture, settings: FitSettings) -> None:
    """Raises CaptureError where photos and points have so little to do with each other that nothing can be refined."""
    unseen = set(measure_units(capture.cameras, capture.points.finite().positions).unseen)
    seeing = [view for view in capture.train if view not in unseen]
    if not seeing:
        sizes = [_extent(places) for places in (capture.cameras.centers, capture.points.finite().positions)]
        raise CaptureError(
            "no photo sees the points, so that nothing can be refined",
            where=capture.root,
            got=f"cameras {sizes[0]:.3g} apart, points {sizes[1]:.3g}",
            do="give points in the frame and the units of the cameras",
        )
    if "points" in settings.refine.what and len(seeing) < _FEWEST:
        raise CaptureError(
            "too few photos to refine points",
            where=capture.root,
            expected=f"{_FEWEST} or more that see points",
            got=len(seeing),
            do="leave points out of --refine",
        )


def _extent(places: torch.Tensor) -> float:
    """The diagonal of their box."""
    return float((places.amax(dim=0) - places.amin(dim=0)).norm())


def _smallest(capture: Capture, settings: FitSettings) -> Model:
    """A model of one point, whose parameters have the names of those that will be fitted."""
    channels = settings.points.channels
    scene = PointScene(
        origin=torch.zeros(3, dtype=torch.float64),
        position=torch.zeros(1, 3),
        normal=torch.zeros(1, 3),
        radius=torch.zeros(1),
        threshold=torch.zeros(1),
        descriptors=torch.zeros(1, channels),
        environment=torch.zeros(channels, 1, 2),
    )
    return Model(scene, NetworkShader(settings.network, seed=settings.seed), capture.cameras, settings.raster)
