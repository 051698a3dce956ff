"""The similarity that photos leave open is found, whatever the cameras look like."""

from __future__ import annotations

import pytest
import torch

from unrender.fit.refine.gauge import Similarity, nearest_similarity
from unrender.geometry.rotations import exp_so3
from unrender.geometry.transforms import inverse, rigid


def poses_of(centers: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    rotations = exp_so3(torch.randn(len(centers), 3, generator=generator, dtype=torch.float64))
    return rigid(rotations, -(rotations @ centers[:, :, None])[:, :, 0])


CENTERS = {
    "spread": torch.randn(6, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64),
    "in a row": torch.arange(4.0, dtype=torch.float64)[:, None] * torch.tensor([[1.0, 2, 3]], dtype=torch.float64),
    "in one place": torch.ones(3, 3, dtype=torch.float64),
}


@pytest.mark.parametrize("name", CENTERS)
def test_a_moved_world_comes_back(name: str) -> None:
    given = poses_of(CENTERS[name])
    turn = exp_so3(torch.tensor([0.01, -0.02, 0.03], dtype=torch.float64))
    drift = Similarity(1.02, turn, torch.tensor([0.1, 0.2, -0.3], dtype=torch.float64))
    moved = drift.of_poses(given)
    points = torch.randn(9, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    for pose, other in zip(given, moved, strict=True):  # what is seen is the same, all lengths by the scale
        there = drift.of_points(points) @ other[:3, :3].T + other[:3, 3]
        torch.testing.assert_close(there, 1.02 * (points @ pose[:3, :3].T + pose[:3, 3]))
    back = nearest_similarity(moved, given, torch.full((len(given),), 5.0, dtype=torch.float64))
    assert back.scale == pytest.approx(1.0 if name == "in one place" else 1 / 1.02, abs=1e-9)
    torch.testing.assert_close(back.rotation, turn.T, rtol=0, atol=1e-6)
    torch.testing.assert_close(inverse(back.of_poses(moved))[:, :3, 3], CENTERS[name], rtol=0, atol=1e-9)


def test_cameras_that_did_not_move_stay() -> None:
    given = poses_of(CENTERS["spread"])
    back = nearest_similarity(given, given, torch.ones(6, dtype=torch.float64))
    assert back.scale == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(back.of_poses(given), given, rtol=0, atol=1e-12)
