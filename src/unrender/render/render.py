"""The front door: one call renders any scene, and one table says who renders what and which derivatives exist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from unrender.cameras.camera import Cameras
from unrender.errors import SettingsError
from unrender.render.frame import Frame
from unrender.render.rasterize.points import rasterize
from unrender.render.settings import PointRasterSettings
from unrender.scenes.points import PointScene
from unrender.scenes.scene import Scene

__all__ = ["RENDERERS", "Capabilities", "Renderer", "render"]


@dataclass(frozen=True)
class Capabilities:
    """Which derivatives a renderer has, and on which devices it runs. Never claims more than the tests show.

    A derivative may be an approximation; ``docs/limits.md`` says which are, and what they leave out.
    """

    appearance: bool = False
    geometry: bool = False
    pose: bool = False
    lens: bool = False
    silhouette: bool = False
    devices: tuple[str, ...] = ("cpu",)


@dataclass(frozen=True)
class Renderer:
    """A row of the table."""

    call: Callable[..., Frame]
    capabilities: Capabilities


RENDERERS: dict[tuple[type, str], Renderer] = {
    (PointScene, "rasterize"): Renderer(
        rasterize,
        Capabilities(appearance=True, geometry=True, pose=True, lens=True, silhouette=True, devices=("cpu", "cuda")),
    ),
}


def render(
    scene: Scene,
    cameras: Cameras,
    settings: PointRasterSettings | None = None,
    *,
    method: str = "rasterize",
    generator: torch.Generator | None = None,
) -> Frame:
    """What every view of ``cameras`` gathers of ``scene``. Raises SettingsError for a pair that the table lacks."""
    row = RENDERERS.get((type(scene), method))
    if row is None:
        known = ", ".join(f"{kind.__name__} by {name}" for kind, name in RENDERERS)
        raise SettingsError(f"no renderer for {type(scene).__name__} by {method}", expected=f"one of: {known}")
    return row.call(scene, cameras, settings, generator)
