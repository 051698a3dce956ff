import pytest
import torch

from unrender.geometry.rotations import exp_so3, skew
from unrender.geometry.transforms import exp_se3, inverse, look_at, rigid, transform


def random_transforms(count, seed=0):
    return exp_se3(torch.randn(count, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)))


def test_exp_is_the_matrix_exponential():
    increments = torch.randn(50, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    increments = torch.cat([increments, 1e-5 * increments, torch.zeros(1, 6, dtype=torch.float64)])
    generators = torch.zeros(len(increments), 4, 4, dtype=torch.float64)
    generators[:, :3, :3], generators[:, :3, 3] = skew(increments[:, 3:]), increments[:, :3]
    assert torch.allclose(exp_se3(increments), torch.linalg.matrix_exp(generators), atol=1e-12)


def test_exp_has_exact_derivatives_even_at_zero():
    for scale in (0.0, 1e-8, 0.7):
        increment = (scale * torch.tensor([0.3, -1, 2, 0.5, 1.5, -0.4], dtype=torch.float64)).requires_grad_()
        assert torch.autograd.gradcheck(exp_se3, increment)


def test_a_left_increment_moves_the_camera_in_its_own_frame():
    pose = random_transforms(1)[0]
    forward = torch.tensor([0, 0, -0.5, 0, 0, 0], dtype=torch.float64)
    moved = inverse(exp_se3(forward) @ pose)[:3, 3] - inverse(pose)[:3, 3]
    assert torch.allclose(moved, 0.5 * pose[2, :3], atol=1e-14)


def test_transforms_are_a_group():
    a, b, c = random_transforms(3)
    identity = torch.eye(4, dtype=torch.float64)
    assert torch.allclose(inverse(a) @ a, identity, atol=1e-14)
    assert torch.allclose(inverse(a @ b), inverse(b) @ inverse(a), atol=1e-14)
    assert torch.allclose((a @ b) @ c, a @ (b @ c), atol=1e-14)
    assert torch.allclose(inverse(a), torch.linalg.inv(a), atol=1e-14)


def test_transform_acts_like_the_matrix():
    poses = random_transforms(4)
    points = torch.randn(4, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    homogeneous = torch.cat([points, torch.ones(4, 7, 1, dtype=torch.float64)], dim=-1)
    expected = (poses @ homogeneous.transpose(1, 2)).transpose(1, 2)[..., :3]
    assert torch.allclose(transform(poses, points), expected, atol=1e-14)


def test_rigid_puts_the_parts_together():
    rotation = exp_so3(torch.tensor([[0.1, 0.2, 0.3]], dtype=torch.float64))
    pose = rigid(rotation, torch.tensor([[1.0, 2, 3]], dtype=torch.float64))
    assert pose.shape == (1, 4, 4)
    assert torch.equal(pose[0, :3, :3], rotation[0])
    assert pose[0, :, 3].tolist() == [1, 2, 3, 1]
    assert pose[0, 3, :3].tolist() == [0, 0, 0]


@pytest.mark.parametrize("up", [(0, 0, 1), (0, 0, 7), (1, 2, -3)])
def test_look_at_sees_the_target_ahead_and_up_upwards(up):
    eye, target = torch.tensor([3.0, -2, 1]).double(), torch.tensor([0.5, 4, 2]).double()
    pose = look_at(eye, target, up)
    assert pose.dtype == torch.float64
    assert torch.linalg.det(pose[:3, :3]).item() == pytest.approx(1)
    seen = transform(pose, torch.stack([eye, target, target + torch.tensor(up, dtype=torch.float64)]))
    assert torch.allclose(seen[0], torch.zeros(3, dtype=torch.float64), atol=1e-14)
    distance = float((target - eye).norm())
    assert torch.allclose(seen[1], torch.tensor([0, 0, distance], dtype=torch.float64), atol=1e-13)
    assert abs(seen[2, 0]) < 1e-13, "up must not lean sideways"
    assert seen[2, 1] < 0, "up is -y in camera axes"


def test_look_at_has_the_camera_axes_of_the_conventions():
    pose = look_at((0, 0, 0), (0, 0, 1), (0, -1, 0))
    assert torch.allclose(pose, torch.eye(4, dtype=torch.float64))


def test_look_at_along_up_is_still_a_rotation():
    pose = look_at(torch.zeros(2, 3), torch.tensor([[0.0, 0, 1], [0, 0, -2]]), (0, 0, 1))
    assert torch.allclose(torch.linalg.det(pose[:, :3, :3]), torch.ones(2, dtype=torch.float64))
    assert torch.allclose(pose[:, 2, :3], torch.tensor([[0, 0, 1], [0, 0, -1]], dtype=torch.float64))
