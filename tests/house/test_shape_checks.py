"""A stated shape is checked in tests, whoever calls."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError

from unrender.scenes.points import PointScene


def scene(points: int, normals: int) -> PointScene:
    """A scene of so many points and normals."""
    return PointScene(
        origin=torch.zeros(3, dtype=torch.float64),
        position=torch.zeros(points, 3),
        normal=torch.zeros(normals, 3),
        radius=torch.ones(points),
        threshold=torch.zeros(points),
        descriptors=torch.zeros(points, 4),
        environment=torch.zeros(4, 8, 16),
    )


def test_agreeing_shapes_pass():
    assert len(scene(points=5, normals=5)) == 5


def test_disagreeing_shapes_are_found():
    with pytest.raises(TypeCheckError, match="normal"):
        scene(points=5, normals=6)
