"""A point scene: what each point is and wears, and the environment behind all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from unrender.parameters import Parameter

__all__ = ["PointScene"]


@dataclass(frozen=True)
class PointScene:
    """N oriented points with D feature channels each, in front of an environment map.

    ``origin`` [3] float64, world; ``position`` [N, 3] float32, world minus origin;
    ``normal`` [N, 3] float32, unit, towards the cameras that saw the point, or zero where unknown (never culled);
    ``radius`` [N] float32, scene units: half-extent of the point's own neighbourhood;
    ``threshold`` [N] float32 in [0, 1): the fixed random beta of stochastic discarding (Eq. 12);
    ``descriptors`` [N, D]: the neural texture, natural logarithms of it when ``logarithmic``;
    ``environment`` [D, He, We]: equirectangular, seen where no point is, logarithmic with the descriptors;
    ``source`` [N]: which point of the capture's cloud it began as, -1 for one that was added; None: unknown.
    """

    origin: Float64[Tensor, " 3"]
    position: Float[Tensor, "N 3"]
    normal: Float[Tensor, "N 3"]
    radius: Float[Tensor, " N"]
    threshold: Float[Tensor, " N"]
    descriptors: Float[Tensor, "N D"]
    environment: Float[Tensor, "D He We"]
    logarithmic: bool = False
    source: Int[Tensor, " N"] | None = None

    def __len__(self) -> int:
        return self.position.shape[0]

    @property
    def channels(self) -> int:
        """D."""
        return self.descriptors.shape[1]

    def to(self, device: torch.device | str) -> PointScene:
        """The same scene with all tensors on ``device``."""
        tensors = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **tensors)

    def parameters(self) -> tuple[Parameter, ...]:
        """Descriptors and environment; positions join with the kernels that have their derivative."""
        unit = "log radiance" if self.logarithmic else "radiance"
        return (
            Parameter("scene.points.descriptors", self.descriptors, unit),
            Parameter("scene.environment", self.environment, unit),
        )
