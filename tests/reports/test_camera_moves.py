"""What the page says of cameras that were refined, taken back or left alone."""

import re
from dataclasses import asdict

import pytest

from unrender.messages import CameraMove, LensMove, Refined
from unrender.reports.camera_moves import moves_section

CAMERAS = (
    CameraMove("a.jpg", 0.5, 0.25, 2.0, 20.0, 21.5, "refined"),
    CameraMove("b.jpg", 0.7, 0.5, 4.0, 20.0, 22.0, "refined"),
    CameraMove("c.jpg", 0.0, 0.0, 0.0, 20.0, 19.0, "taken back"),
    CameraMove("d.jpg", 0.0, 0.0, float("nan"), None, None, "held out"),
)
LENS = LensMove("SIMPLE_PINHOLE", ("f", "cx", "cy"), (500.0, 32.0, 24.0), (503.5, 32.0, 24.0))


def told(dropped=(), lenses=(), links=None):
    refined = asdict(Refined(("poses", "lens"), dropped, CAMERAS, lenses))
    for camera in refined["cameras"]:  # as JSON holds what is not finite
        camera["pixels"] = None if camera["name"] == "d.jpg" else camera["pixels"]
    return moves_section(refined, links=links).body


def test_what_was_not_refined_is_said_to_be_so():
    body = moves_section(None).body
    assert "Not refined" in body
    assert "--refine" in body


def test_what_is_still_being_refined_is_not_said_to_be_unrefined():
    body = moves_section(None, ("poses",)).body
    assert "Not refined" not in body
    assert "poses" in body


def test_medians_are_of_the_refined_alone():
    text = re.sub(r"<[^>]+>", " ", told())
    assert "2 cameras" in text
    assert "median; most 4.00 px" in text
    assert "median; most 0.7 units" in text


def test_what_was_taken_back_stands_out():
    body = told()
    assert body.count('<td class="warn">taken back</td>') == 1
    assert '<div class="fact warn"><dt>Taken back</dt><dd>1 cameras</dd>' in body
    assert "Given up" not in body
    assert "Given up" in told(dropped=("lens",))


def test_what_is_unknown_is_a_dash_that_sorts_to_the_end():
    row = re.search(r"<tr><td[^>]*>d\.jpg.*?</tr>", told())
    assert row is not None
    assert row[0].count('data-value="">\N{EN DASH}') == 3


@pytest.mark.parametrize("links", [None, {"a.jpg": "#view-0"}])
def test_a_photo_is_a_link_where_it_leads_somewhere(links):
    assert ('<a href="#view-0">a.jpg</a>' in told(links=links)) == (links is not None)


def test_lenses_are_told_parameter_by_parameter():
    body = told(lenses=(LENS,))
    assert "SIMPLE_PINHOLE" in body
    assert "503.5" in body
    assert '<td class="number" data-value="3.5">3.5</td>' in body
    assert "Lenses" not in told()
