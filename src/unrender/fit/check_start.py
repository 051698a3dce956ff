"""What would keep a fit from starting, found in seconds and before anything is made.

A start that is refused after its folder was made would leave a run, and that run would refuse the corrected command.
"""

from __future__ import annotations

import torch

from unrender.datasets.capture import Capture
from unrender.fit.optimizers import check_rates
from unrender.fit.refine.structure import STRUCTURAL
from unrender.fit.settings import FitSettings
from unrender.initialize.points import refuse_too_few
from unrender.losses import load_judges
from unrender.render.model import Model
from unrender.render.shade.network import NetworkShader
from unrender.scenes.points import PointScene

__all__ = ["check_start"]


def check_start(capture: Capture, settings: FitSettings) -> None:
    """Raises SettingsError for rates that name nothing, CaptureError for too few points, UnrenderError for bad weights
    of the VGG loss.
    """
    names = [parameter.name for parameter in _smallest(capture, settings).parameters()]
    check_rates([*names, *STRUCTURAL], settings.rates)
    refuse_too_few(capture, settings.points)
    load_judges(settings.loss)


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
