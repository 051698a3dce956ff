"""How far cameras moved, in units that one can judge by."""

import math

import pytest
import torch

from unrender.datasets.read_capture import read_capture
from unrender.reports.camera_moves import CameraMove, camera_moves, moves_section


@pytest.fixture(scope="module")
def capture(tiny_capture):
    return read_capture(tiny_capture)


def moves(capture, after, undone=()):
    return camera_moves(capture.cameras, after, capture.names, capture.points.positions, undone)


def test_what_was_not_refined_moved_by_nothing_and_the_page_says_so(capture):
    found = moves(capture, capture.cameras)
    assert not any(move.moved for move in found)
    assert "Not refined" in moves_section(found).body


@pytest.mark.parametrize("degrees", [1e-4, 0.5, 90.0, 179.9])
def test_a_turn_has_its_angle(capture, degrees):
    increments = torch.zeros(9, 6, dtype=torch.float64)
    increments[2, 5] = math.radians(degrees)
    found = moves(capture, capture.cameras.moved(increments))
    assert found[2].degrees == pytest.approx(degrees, rel=1e-6)
    assert found[1].degrees == pytest.approx(0.0, abs=1e-9)


def test_a_shift_has_its_length_and_what_it_does_in_the_image(capture):
    """Along x by a tenth of the distance: as many pixels as a tenth of the focal length."""
    after = capture.cameras.moved(torch.tensor([[0.01, 0, 0, 0, 0, 0]] * 9, dtype=torch.float64))
    found = moves(capture, after)
    assert found[0].distance == pytest.approx(0.01, rel=1e-6)
    assert found[0].pixels > 0
    twice = moves(capture, capture.cameras.moved(torch.tensor([[0.02, 0, 0, 0, 0, 0]] * 9, dtype=torch.float64)))
    assert twice[0].pixels == pytest.approx(2 * found[0].pixels, rel=1e-2)


def test_a_lens_that_changed_counts_in_the_image_alone(capture):
    after = capture.cameras.with_lenses([lens.params * 1.01 for lens in capture.cameras.lenses])
    found = moves(capture, after)
    assert found[0].distance == found[0].degrees == 0
    assert found[0].pixels > 0
    assert found[0].moved


def test_moves_that_were_undone_are_marked(capture):
    found = moves(capture, capture.cameras, undone=[capture.names[3]])
    assert [move.kept for move in found].count(False) == 1
    body = moves_section(found).body
    assert body.count("rolled back") == 1
    assert "Not refined" not in body


def test_a_camera_that_sees_no_point_has_no_pixels():
    shown = moves_section([CameraMove("a", 1.0, 2.0, math.nan), CameraMove("b", 3.0, 4.0, 5.0)]).body
    assert "median; most 3 units" in shown
    assert 'data-value=""' in shown
