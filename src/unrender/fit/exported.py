"""What a fit made of a reconstruction, in the frame, scale, names and numbers of its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from unrender.cameras.lens import Lens
from unrender.datasets.clouds import PointCloud
from unrender.datasets.formats import read_reconstruction, writable
from unrender.datasets.masks import find_masks
from unrender.datasets.reconstruction import Reconstruction
from unrender.errors import RunError
from unrender.fit.checkpoint import points_of
from unrender.fit.run import Run
from unrender.initialize.colors import seen_radiance
from unrender.initialize.surfels import Surfels
from unrender.render.model import Model
from unrender.scenes.points import PointScene

__all__ = ["Exported", "export_run", "recorded_colors", "scene_cloud"]


@dataclass(frozen=True)
class Exported:
    """``reconstruction``: the input's with the run's cameras and points; ``added``: which points of the scene [M] are
    none of the input's (found by stereo, densified, or of a dense cloud).
    """

    reconstruction: Reconstruction
    added: torch.Tensor


def export_run(run: Run, model: Model, format: str) -> Exported:
    """The reconstruction that ``run`` began with, with poses, lenses, points and exposures as ``model`` has them.

    What was not refined is what it was to the last bit. Exposures are given where ``format`` holds them or the input
    has them itself (elsewhere they are in the photos' EXIF); masks and what transparency means are those of the run.
    Raises SettingsError for a format that cannot be written, RunError when the capture now holds other photos.
    """
    source, holds = run.source, writable(format).holds
    given = read_reconstruction(source.folder, source.format, images=source.images, observations=True)
    if given.names != run.names:
        raise RunError(
            "the capture does not have the photos any more that the run began with",
            where=source.folder,
            expected=f"{len(run.names)} photos",
            got=f"{len(given)}",
            do="put the capture back as it was",
        )
    cameras, scene = model.cameras.to("cpu"), points_of(model).to("cpu")
    exposures = cameras.sensor.exposure.detach().double()
    refined = replace(
        given,
        camera_from_world=cameras.camera_from_world.detach(),
        camera_index=cameras.camera_index,
        lenses=_unchanged_lenses(given.lenses, run.capture.cameras.lenses, cameras.lenses),
        exif_ev=exposures if "exposures" in holds or given.exif_ev is not None else None,
        masks=given.masks if source.masks is None else find_masks(given.names, source.masks),
        alpha=source.alpha or given.alpha,
    )
    if source.points is not None or given.dense is not None or scene.source is None:
        return Exported(refined, torch.arange(len(scene)))  # the scene began from another cloud
    return Exported(replace(refined, points=_moved(given.points, scene)), torch.nonzero(scene.source < 0)[:, 0])


def _unchanged_lenses(given: Sequence[Lens], began: Sequence[Lens], now: Sequence[Lens]) -> tuple[Lens, ...]:
    """The lenses as they are now; the input's own where nothing moved them, whatever they were rendered as."""
    return tuple(
        own if bool(torch.equal(start.params, lens.params)) else lens
        for own, start, lens in zip(given, began, now, strict=True)
    )


def _moved(cloud: PointCloud, scene: PointScene) -> PointCloud:
    """The input's points where the scene has them now; those that it does not have, or did not move, stay."""
    assert scene.source is not None
    kept = torch.nonzero(scene.source >= 0)[:, 0]
    index, position = scene.source[kept].long(), scene.position[kept].detach()
    began = (cloud.positions[index] - scene.origin).float()
    moved = (began != position).any(dim=1)
    positions = cloud.positions.clone()
    positions[index[moved]] += position[moved].double() - began[moved].double()
    return replace(cloud, positions=positions)


def scene_cloud(run: Run, model: Model, which: torch.Tensor | None = None) -> PointCloud:
    """The points ``which`` [M] of the scene (None: all) in the input's frame, coloured by ``recorded_colors``."""
    scene = points_of(model)
    positions = scene.origin + scene.position.detach().double()
    cloud = PointCloud(positions, recorded_colors(run, model), scene.normal)
    return cloud if which is None else cloud.select(which)


@torch.no_grad()
def recorded_colors(run: Run, model: Model) -> torch.Tensor:
    """The colour [N, 3] in 0..1 that the run's first camera records each point of the scene in at the mean exposure.

    What the training photos show there, made radiance by the fitted sensor; what none shows is grey.
    """
    scene, cameras = points_of(model), model.cameras
    grey, unknown = torch.full_like(scene.position, 0.5), torch.full((len(scene),), -1)
    surfels = Surfels(scene.origin, scene.position, scene.normal, scene.radius, grey, unknown)
    radiance, weight = seen_radiance(surfels, replace(run.capture, cameras=cameras), run.capture.train)
    first = cameras.sensor.select(torch.zeros(1, dtype=torch.int64))
    mean = replace(
        first, exposure=torch.tensor([cameras.sensor.exposure_mean]), white_point=torch.zeros_like(first.white_point)
    )
    in_the_middle = torch.zeros(1, 2, len(scene), 1)
    recorded = mean.record(radiance.T[None, :, :, None], in_the_middle, cameras.camera_index[:1])[0, :, :, 0].T
    return torch.where(weight[:, None] > 0, recorded, grey)
