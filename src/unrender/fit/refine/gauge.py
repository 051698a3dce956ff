"""What photos cannot determine of a world: where it is, how it is turned and how large it is.

Where poses and points are refined together nothing holds these seven numbers, and they drift. One similarity moves
cameras and points together so that the cameras are as near to where the input had them as they can be.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unrender.geometry.transforms import inverse

__all__ = ["Similarity", "nearest_similarity"]

_APART = 1e-3
"""How far cameras stand apart, in depths of what they see, to be in more than one place."""


@dataclass(frozen=True)
class Similarity:
    """x -> scale * rotation x + translation; ``rotation`` [3, 3], ``translation`` [3] float64."""

    scale: float
    rotation: torch.Tensor
    translation: torch.Tensor

    def of_points(self, points: torch.Tensor) -> torch.Tensor:
        """Where points [N, 3] go."""
        return self.scale * points @ self.rotation.T.to(points) + self.translation.to(points)

    def of_poses(self, camera_from_world: torch.Tensor) -> torch.Tensor:
        """The poses [V, 4, 4] of the same cameras in the moved world, in which all lengths are ``scale`` times."""
        moved = camera_from_world.clone()
        moved[:, :3, :3] = camera_from_world[:, :3, :3] @ self.rotation.T
        moved[:, :3, 3] = self.scale * camera_from_world[:, :3, 3] - moved[:, :3, :3] @ self.translation
        return moved


def nearest_similarity(poses: torch.Tensor, given: torch.Tensor, depth: torch.Tensor) -> Similarity:
    """The similarity that brings cameras ``poses`` [V, 4, 4] nearest to ``given``.

    The rotation that turns their axes nearest to each other (least squares), then scale and translation of their
    centres. Cameras in a row leave nothing open so; cameras in one place, compared with the ``depth`` [V] at which they
    see something, leave the scale, which then stays 1.
    """
    left, _, right = torch.linalg.svd((given[:, :3, :3].mT @ poses[:, :3, :3]).sum(dim=0))
    handed = torch.tensor([1.0, 1.0, float(torch.linalg.det(left @ right).sign())], dtype=torch.float64)
    rotation = left @ (handed[:, None] * right)
    source, target = (inverse(each)[:, :3, 3] for each in (poses, given))
    middle, aim = source.mean(dim=0), target.mean(dim=0)
    turned, wanted = (source - middle) @ rotation.T, target - aim
    spread = float(turned.square().sum())
    one_place = spread <= (_APART * float(depth.mean())) ** 2 * len(poses)
    scale = 1.0 if one_place else max(float((turned * wanted).sum()) / spread, 0.0) or 1.0
    return Similarity(scale, rotation, aim - scale * rotation @ middle)
