"""Perspective lenses: a point's position over its depth, perhaps distorted, times the focal length.

``Perspective`` holds what the whole family shares. With a = (x / z, y / z), d the distortion and F = diag(fx, fy),

    pixel = F d(a) + c,    d pixel / d point = (1 / z) A [I | -a]    with A = F d'(a).

A pinhole is the member whose distortion is the identity; ``brown.py`` adds those with one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, TypeAlias

import torch

from unrender.errors import CaptureError

__all__ = ["Perspective", "Pinhole", "SimplePinhole"]

Matrix2: TypeAlias = tuple[tuple[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, eq=False)
class Perspective:
    """Base of the lenses that see less than a half-space. See ``Lens`` for the protocol.

    ``width``, ``height`` of the photo [pixels]; ``params`` [P] float64, named by ``parameter_names``. Pixels are
    differentiable with respect to ``params``. Raises CaptureError when a size or a parameter makes no sense.
    """

    width: int
    height: int
    params: torch.Tensor

    model: ClassVar[str] = ""
    parameter_names: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        names = ", ".join(self.parameter_names)
        if self.params.shape != (len(self.parameter_names),):
            expected = f"{len(self.parameter_names)} ({names})"
            raise CaptureError(
                "wrong number of parameters", where=self.model, expected=expected, got=self.params.numel()
            )
        if not bool(torch.isfinite(self.params).all()):
            raise CaptureError(f"parameters {names} must be finite", where=self.model, got=self.params.tolist())
        if min(self.width, self.height, *(float(f.detach()) for f in self.intrinsics[:2])) <= 0:
            got = f"{self.width} x {self.height}, {self.params.tolist()}"
            raise CaptureError("photo size and focal length must be positive", where=self.model, got=got)

    @cached_property
    def _named(self) -> dict[str, torch.Tensor]:
        return dict(zip(self.parameter_names, self.params.unbind(), strict=True))

    @property
    def intrinsics(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """fx, fy, cx, cy [pixels], float64 scalars; the first pixel's centre is at (0.5, 0.5)."""
        named = self._named
        fx, fy = (named["f"], named["f"]) if "f" in named else (named["fx"], named["fy"])
        return fx, fy, named["cx"], named["cy"]

    @cached_property
    def valid_radius(self) -> float:
        """Largest |(x / z, y / z)| that the lens images one to one; infinite without distortion."""
        return math.inf

    def to(self, device: torch.device | str) -> Perspective:
        """The same lens with its parameters on ``device``."""
        return replace(self, params=self.params.to(device))

    def project(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Points [N, 3] -> photo pixels [N, 2], and [N] bool: z > 0 and within ``valid_radius``.

        Pixels of points that are not in front mean nothing.
        """
        fx, fy, cx, cy = self.intrinsics
        x, y, front = _over_depth(points)
        u, v = self.distort(x, y)
        inside = front if math.isinf(self.valid_radius) else front & (x * x + y * y <= self.valid_radius**2)
        return torch.stack([fx * u + cx, fy * v + cy], dim=-1), inside

    def unproject(self, pixels: torch.Tensor) -> torch.Tensor:
        """Photo pixels [N, 2] -> camera-space directions [N, 3] with z = 1.

        A pixel that no valid direction reaches gets the direction on the rim of the valid region nearest to it.
        """
        fx, fy, cx, cy = self.intrinsics
        u, v = pixels.unbind(-1)
        x, y = self.undistort((u - cx) / fx, (v - cy) / fy)
        return torch.stack([x, y, torch.ones_like(x)], dim=-1)

    def jacobian(self, points: torch.Tensor) -> torch.Tensor:
        """Derivative of pixels by point, [N, 2, 3], of points in front of the camera."""
        x, y, _ = _over_depth(points)
        rows = []
        for in_x, in_y in self._plane_jacobian(x, y):
            rows.append(
                torch.stack(torch.broadcast_tensors(in_x + 0 * x, in_y + 0 * x, -(in_x * x + in_y * y)), dim=-1)
            )
        return torch.stack(rows, dim=-2) / points[:, 2, None, None]

    def magnification(self, points: torch.Tensor) -> torch.Tensor:
        """Largest singular value of ``jacobian``, [N]: pixels per unit of length across the line of sight.

        Closed form: the larger eigenvalue of the 2 x 2 matrix J J^T = (A A^T + (A a)(A a)^T) / z^2.
        """
        x, y, _ = _over_depth(points)
        (a, b), (c, d) = self._plane_jacobian(x, y)
        along_u, along_v = a * x + b * y, c * x + d * y
        uu = a * a + b * b + along_u * along_u
        vv = c * c + d * d + along_v * along_v
        uv = a * c + b * d + along_u * along_v
        larger = 0.5 * (uu + vv) + torch.hypot(0.5 * (uu - vv), uv)
        return larger.sqrt() / points[:, 2].abs()

    def distort(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """d(a): where a = (x, y) lands on the plane at focal length 1."""
        return x, y

    def undistort(self, u: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The inverse of ``distort``."""
        return u, v

    def distortion_jacobian(self, x: torch.Tensor, y: torch.Tensor) -> Matrix2:
        """d'(a), row by row; entries [N], or [] where they are constant."""
        one, zero = x.new_ones(()), x.new_zeros(())
        return (one, zero), (zero, one)

    def _plane_jacobian(self, x: torch.Tensor, y: torch.Tensor) -> Matrix2:
        """A = F d'(a)."""
        fx, fy, _, _ = self.intrinsics
        (a, b), (c, d) = self.distortion_jacobian(x, y)
        return (fx * a, fx * b), (fy * c, fy * d)


def _over_depth(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Slopes x / z, y / z [N] and z > 0 [N]; a depth of exactly 0 counts as 1 so that nothing becomes NaN."""
    x, y, z = points.unbind(-1)
    inverse = torch.where(z == 0, 1, z).reciprocal()
    return x * inverse, y * inverse, z > 0


@dataclass(frozen=True, eq=False)
class SimplePinhole(Perspective):
    """One focal length, no distortion."""

    model: ClassVar[str] = "SIMPLE_PINHOLE"
    parameter_names: ClassVar[tuple[str, ...]] = ("f", "cx", "cy")


@dataclass(frozen=True, eq=False)
class Pinhole(Perspective):
    """Two focal lengths, no distortion."""

    model: ClassVar[str] = "PINHOLE"
    parameter_names: ClassVar[tuple[str, ...]] = ("fx", "fy", "cx", "cy")
