"""What every lens can do. Names and parameter orders are COLMAP's."""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

import torch

__all__ = ["Lens"]


@runtime_checkable
class Lens(Protocol):
    """Camera space (x right, y down, z forward) to photo pixels (first pixel centre at 0.5) and back.

    ``width``, ``height``: the photo the parameters belong to [pixels]; ``params`` [P] float64.
    ``depth_is_distance``: what orders points along a line of sight: the distance from the centre for families that may
    see more than a half-space, z for all others. All functions compute in the dtype of their argument. Pixels are
    never NaN, nor are Jacobians of points that the lens sees.
    """

    model: ClassVar[str]
    parameter_names: ClassVar[tuple[str, ...]]
    depth_is_distance: ClassVar[bool]

    @property
    def width(self) -> int:
        """Photo width [pixels]."""
        ...

    @property
    def height(self) -> int:
        """Photo height [pixels]."""
        ...

    @property
    def params(self) -> torch.Tensor:
        """Parameters [P] float64 in the order of ``parameter_names``."""
        ...

    def to(self, device: torch.device | str) -> Lens:
        """The same lens with its parameters on ``device``."""
        ...

    def project(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Points [N, 3] -> photo pixels [N, 2] and whether the lens sees them (its valid region), [N] bool."""
        ...

    def unproject(self, pixels: torch.Tensor) -> torch.Tensor:
        """Photo pixels [N, 2] -> camera-space directions [N, 3]: with z = 1, or unit where depth is distance."""
        ...

    def jacobian(self, points: torch.Tensor) -> torch.Tensor:
        """Derivative of pixels by point, [N, 2, 3], analytic."""
        ...

    def magnification(self, points: torch.Tensor) -> torch.Tensor:
        """Largest singular value of the Jacobian, [N]: pixels per unit of length across the line of sight."""
        ...
