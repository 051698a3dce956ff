"""Model: scene, shader and cameras together, the thing that is fitted, saved and looked at."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import torch

from unrender.cameras.camera import Cameras
from unrender.parameters import Parameter
from unrender.render.frame import Frame
from unrender.render.render import render
from unrender.render.settings import PointRasterSettings
from unrender.scenes.scene import Scene

__all__ = ["Model", "Shader"]


class Shader(Protocol):
    """Turns what the renderer gathered per pixel into linear radiance."""

    def __call__(self, frame: Frame) -> torch.Tensor:
        """Linear radiance [B, 3, H, W], float32, > 0."""
        ...

    def parameters(self) -> tuple[Parameter, ...]:
        """What can be fitted, under ``shader.*``."""
        ...

    def to(self, device: torch.device | str) -> Shader:
        """The same on ``device``; it may be moved in place."""
        ...


@dataclass(frozen=True)
class Model:
    """(scene, shader, cameras) and how the scene is rasterised (without ghosts, unless a fit asks for them)."""

    scene: Scene
    shader: Shader
    cameras: Cameras
    raster: PointRasterSettings = field(default_factory=PointRasterSettings)

    def to(self, device: torch.device | str) -> Model:
        """The same model on ``device``; its shader may be moved in place."""
        return replace(
            self, scene=self.scene.to(device), shader=self.shader.to(device), cameras=self.cameras.to(device)
        )

    def parameters(self) -> tuple[Parameter, ...]:
        """Everything that can be fitted, in a fixed order."""
        return (*self.scene.parameters(), *self.shader.parameters(), *self.cameras.parameters())

    def radiance(self, cameras: Cameras, generator: torch.Generator | None = None, ghosts: float = 0.0) -> torch.Tensor:
        """Linear radiance [B, 3, H, W] that arrives at ``cameras`` (any views, not only the model's own)."""
        return self.shader(render(self.scene, cameras, replace(self.raster, ghosts=ghosts), generator=generator))

    def image(self, cameras: Cameras) -> torch.Tensor:
        """What ``cameras`` would have recorded, [B, 3, H, W] in 0..1, without gradients."""
        with torch.no_grad():
            return cameras.record(self.radiance(cameras))
