"""The numbers of a lens and whether they make sense: what all families share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, TypeVar

import torch

from unrender.errors import CaptureError

__all__ = ["Calibrated", "number"]

Self = TypeVar("Self", bound="Calibrated")


def number(value: torch.Tensor | float) -> float:
    """A parameter as a plain number, apart from any gradient."""
    return float(value.detach()) if isinstance(value, torch.Tensor) else float(value)


@dataclass(frozen=True, eq=False)
class Calibrated(ABC):
    """Base of all lenses. See ``Lens`` for the protocol.

    ``width``, ``height`` of the photo [pixels]; ``params`` [P] float64, named by ``parameter_names``. Pixels are
    differentiable with respect to ``params``. ``ranges``: least and greatest value of parameters that have some; those
    whose names begin with f are focal lengths and positive. Raises CaptureError when a size or a parameter makes no
    sense.
    """

    width: int
    height: int
    params: torch.Tensor

    model: ClassVar[str] = ""
    parameter_names: ClassVar[tuple[str, ...]] = ()
    depth_is_distance: ClassVar[bool] = False
    ranges: ClassVar[dict[str, tuple[float, float]]] = {}

    def __post_init__(self) -> None:
        names = ", ".join(self.parameter_names)
        if self.params.shape != (len(self.parameter_names),):
            expected = f"{len(self.parameter_names)} ({names})"
            raise CaptureError(
                "wrong number of parameters", where=self.model, expected=expected, got=self.params.numel()
            )
        if not bool(torch.isfinite(self.params).all()):
            raise CaptureError(f"parameters {names} must be finite", where=self.model, got=self.params.tolist())
        focal = [number(value) for name, value in self._named.items() if name.startswith("f")]
        if min(self.width, self.height, *focal, math.inf) <= 0:
            got = f"{self.width} x {self.height}, {self.params.tolist()}"
            raise CaptureError("photo size and focal length must be positive", where=self.model, got=got)
        for name, (least, greatest) in self.ranges.items():
            value = number(self._named[name])
            if not least <= value <= greatest:
                raise CaptureError(
                    f"{name} out of range", where=self.model, expected=f"{least:g} to {greatest:g}", got=value
                )

    @cached_property
    def _named(self) -> dict[str, torch.Tensor]:
        return dict(zip(self.parameter_names, self.params.unbind(), strict=True))

    def to(self: Self, device: torch.device | str) -> Self:
        """The same lens with its parameters on ``device``."""
        return replace(self, params=self.params.to(device))

    @abstractmethod
    def project(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``Lens.project``."""

    @abstractmethod
    def unproject(self, pixels: torch.Tensor) -> torch.Tensor:
        """See ``Lens.unproject``."""

    @abstractmethod
    def jacobian(self, points: torch.Tensor) -> torch.Tensor:
        """See ``Lens.jacobian``."""

    @abstractmethod
    def magnification(self, points: torch.Tensor) -> torch.Tensor:
        """See ``Lens.magnification``."""


def largest_singular_value(across: tuple[torch.Tensor, ...], down: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Of matrices given by two rows of entries [N], [N]: the root of the larger eigenvalue of J J^T, in closed form."""
    uu = sum((a * a for a in across[1:]), across[0] * across[0])
    vv = sum((d * d for d in down[1:]), down[0] * down[0])
    uv = sum((a * d for a, d in zip(across[1:], down[1:], strict=True)), across[0] * down[0])
    return (0.5 * (uu + vv) + torch.hypot(0.5 * (uu - vv), uv)).sqrt()
