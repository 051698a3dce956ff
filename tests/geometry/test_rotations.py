import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unrender.geometry.rotations import (
    exp_so3,
    log_so3,
    quat_wxyz_from_rotation,
    rotation_from_quat_wxyz,
    skew,
)

IDENTITY = torch.eye(3, dtype=torch.float64)
component = st.floats(-10, 10, allow_nan=False)
vectors = st.tuples(component, component, component).map(lambda v: torch.tensor(v, dtype=torch.float64))


def random_rotations(count, seed=0):
    quaternions = torch.randn(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return rotation_from_quat_wxyz(quaternions)


def vectors_of_length(length, count=20, seed=0):
    axes = torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return length * axes / axes.norm(dim=1, keepdim=True)


@given(vectors, vectors)
def test_skew_is_the_cross_product(a, b):
    assert torch.allclose(skew(a) @ b, torch.linalg.cross(a, b), atol=1e-12)


@given(vectors)
@settings(deadline=None)
def test_exp_is_the_matrix_exponential_and_a_rotation(vector):
    rotation = exp_so3(vector)
    assert torch.allclose(rotation, torch.linalg.matrix_exp(skew(vector)), atol=1e-12)
    assert torch.allclose(rotation @ rotation.T, IDENTITY, atol=1e-13)
    assert torch.linalg.det(rotation).item() == pytest.approx(1)


@pytest.mark.parametrize(
    "length", [0.0, 1e-300, 1e-12, 1e-6, 1e-3 - 1e-9, 1e-3 + 1e-9, 0.999, 1.001, 3, math.pi - 1e-4]
)
def test_log_undoes_exp(length):
    vector = vectors_of_length(length)
    assert torch.allclose(log_so3(exp_so3(vector)), vector, rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("gap", [0.0, 1e-12, 1e-7])
def test_exp_undoes_log_up_to_half_a_turn(gap):
    rotation = exp_so3(vectors_of_length(math.pi - gap))
    vector = log_so3(rotation)
    assert torch.allclose(exp_so3(vector), rotation, atol=1e-12)
    assert torch.allclose(vector.norm(dim=1), torch.tensor(math.pi - gap, dtype=torch.float64), atol=1e-9)


def test_inverse_rotation_has_the_opposite_logarithm():
    rotation = random_rotations(50)
    assert torch.allclose(log_so3(rotation.transpose(1, 2)), -log_so3(rotation), atol=1e-12)


def test_derivatives_are_exact_at_and_near_no_rotation():
    for length in (0.0, 1e-9, 1e-4, 1.0, 2.5):
        vector = vectors_of_length(length, count=3).requires_grad_()
        assert torch.autograd.gradcheck(exp_so3, vector)
        assert torch.autograd.gradcheck(lambda v: log_so3(exp_so3(v)), vector)


def test_quaternions_compose_like_hamilton_s():
    i, j, k = torch.eye(4, dtype=torch.float64)[1:]
    assert torch.allclose(rotation_from_quat_wxyz(i) @ rotation_from_quat_wxyz(j), rotation_from_quat_wxyz(k))
    quarter_about_z = torch.tensor([math.cos(math.pi / 4), 0, 0, math.sin(math.pi / 4)], dtype=torch.float64)
    turned = rotation_from_quat_wxyz(quarter_about_z) @ torch.tensor([1.0, 0, 0], dtype=torch.float64)
    assert torch.allclose(turned, torch.tensor([0.0, 1, 0], dtype=torch.float64), atol=1e-15)


def test_quaternion_and_rotation_undo_each_other():
    quaternions = torch.randn(500, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    half_turns = torch.cat([torch.zeros(20, 1, dtype=torch.float64), vectors_of_length(1.0)], dim=1)
    unit = torch.nn.functional.normalize(torch.cat([quaternions, half_turns, torch.eye(4).double()]), dim=1)
    back = quat_wxyz_from_rotation(rotation_from_quat_wxyz(unit))
    assert torch.allclose((back * unit).sum(1).abs(), torch.ones(len(unit), dtype=torch.float64), atol=1e-14)
    assert bool((back[:, 0] >= 0).all())


def test_pycolmap_agrees():
    pycolmap = pytest.importorskip("pycolmap")
    for rotation in random_rotations(10):
        x, y, z, w = pycolmap.Rotation3d(rotation.numpy()).quat
        theirs = torch.tensor([w, x, y, z], dtype=torch.float64)
        assert abs(float(theirs @ quat_wxyz_from_rotation(rotation))) == pytest.approx(1, abs=1e-14)
