"""Pictures of what refinement did."""

from __future__ import annotations

from dataclasses import replace

import torch

from unrender.datasets.capture import Capture
from unrender.fit.checkpoint import points_of
from unrender.fit.refine.reprojection import choose_sources, reproject
from unrender.images.panels import labelled_row
from unrender.render.model import Model

__all__ = ["reprojection_picture"]

SOURCES = 6


def reprojection_picture(capture: Capture, model: Model, target: int | None = None) -> tuple[torch.Tensor, str]:
    """The photo of a view, and its neighbours carried into it with the input's cameras and with the refined ones.

    uint8 [H', 3 W, 3], and the name of the view: ``target``, or the training view that moved most in the image.
    """
    refined, scene = model.cameras.to("cpu"), points_of(model).to("cpu")
    given = replace(capture.cameras, sensor=refined.sensor)  # only where cameras are differs
    if target is None:
        turns = (refined.camera_from_world - given.camera_from_world)[:, :3, :3].flatten(1).norm(dim=1)
        target = max(capture.train, key=lambda view: float(turns[view]))
    sources = choose_sources(given, target, capture.train, SOURCES)
    panels = [capture.image(target)]
    panels += [reproject(scene, cameras, capture, target, sources) for cameras in (given, refined)]
    return labelled_row(panels, ("photo", "before", "after")), capture.names[target]
