"""The protocol of what is out there. Scenes know nothing of rendering, files or fitting."""

from __future__ import annotations

from typing import Protocol

import torch

from unrender.parameters import Parameter

__all__ = ["Scene"]


class Scene(Protocol):
    """A frozen dataclass of tensors; world coordinates are ``origin`` (float64) plus float32 offsets."""

    @property
    def origin(self) -> torch.Tensor:
        """World position [3] float64 that the scene's float32 coordinates are relative to."""
        ...

    def __len__(self) -> int:
        """N, how many primitives there are."""
        ...

    def to(self, device: torch.device | str) -> Scene:
        """The same scene with all tensors on ``device``."""
        ...

    def parameters(self) -> tuple[Parameter, ...]:
        """What can be fitted, under ``scene.*``."""
        ...
