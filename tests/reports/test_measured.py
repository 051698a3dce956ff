"""Which views are measured, shown large, and what is said of them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from unrender.datasets.read_capture import read_capture
from unrender.messages import Reported, Scores
from unrender.reports.measured import MeasuredView, choose_views, enlarge, measure, noteworthy
from unrender.reports.pictures import embedded


def drained(stage):
    """What a generator yields, and its value."""
    value = []

    def kept():
        value.append((yield from stage))

    return list(kept()), value[0]


def view(number, psnr, held_out=False):
    scores = None if psnr is None else Scores(psnr, 0.5, 0.2)
    thumb = embedded(torch.zeros(3, 2, 2))
    return MeasuredView(number, f"{number}.jpg", held_out, scores, 0.0, 0.0, thumb, torch.zeros(3, 2, 2).byte())


@pytest.fixture(scope="module")
def capture(tiny_capture):
    return replace(read_capture(tiny_capture), test=(0, 4, 8))


def test_all_are_measured_where_there_are_few(capture):
    assert sorted(choose_views(capture, 100)) == list(range(9))


@pytest.mark.parametrize("most", range(10))
def test_no_more_than_asked_for_none_twice_and_of_both_parts(capture, most):
    chosen = choose_views(capture, most)
    assert len(chosen) == len(set(chosen)) == most
    held_out = [each for each in chosen if each in capture.test]
    assert len(held_out) >= min(3, most // 2)


def test_every_beginning_is_spread_over_the_capture(capture):
    chosen = choose_views(replace(capture, test=()), 9)
    assert set(chosen[:3]) == {0, 4, 8} or max(np.diff(sorted([*chosen[:3], 0, 8]))) <= 5


def test_the_worst_the_median_and_the_best_are_shown():
    views = [view(number, float(number)) for number in range(20)]
    shown = noteworthy(views)
    assert [each.view for kind, each in shown if kind == "worst"] == [0, 1, 2, 3]
    assert [each.view for kind, each in shown if kind == "median"] == [9, 10]
    assert [each.view for kind, each in shown if kind == "best"] == [18, 19]
    assert len({each.view for _, each in noteworthy(views[:9])}) == 8
    assert [kind for kind, _ in noteworthy(views[:8])] == [""] * 8


def test_a_view_without_scores_is_the_worst():
    shown = noteworthy([*(view(number, 20.0 + number) for number in range(20)), view(20, None)])
    assert shown[0][1].view == 20


def test_measured_are_held_out_and_training_photos_as_evaluation_scores_them(finished):
    model = finished.load_model()
    said, views = drained(measure(model, finished.capture, [8, 0, 1]))
    assert [each.view for each in views] == [0, 1, 8]
    assert [type(each) for each in said] == [Reported] * 3
    scored = {entry["name"]: entry["psnr"] for entry in finished.load_scores()["images"]}
    for each in views:
        assert each.held_out == (each.name in scored)
        if each.held_out:
            assert each.scores is not None
            assert each.scores.psnr == pytest.approx(scored[each.name], rel=1e-6)


def test_where_time_is_up_two_are_there(finished):
    _, views = drained(measure(finished.load_model(), finished.capture, range(9), seconds=0.0))
    assert len(views) == 2


def test_a_render_that_is_not_finite_has_no_scores_and_is_black(finished):
    model = finished.load_model()
    model = replace(model, scene=replace(model.scene, environment=torch.full_like(model.scene.environment, math.nan)))
    _, (found,) = drained(measure(model, finished.capture, [1]))
    assert found.scores is None
    assert found.psnr == -math.inf
    assert enlarge("", found, finished.capture, 32).rendering.width == 32


def test_masked_pixels_are_not_white_and_a_mask_that_leaves_nothing_leaves_the_view_out(finished, tmp_path):
    paths = [tmp_path / "half.png", tmp_path / "none.png"]
    half = np.zeros((48, 64), np.uint8)
    half[:, :32] = 255
    for path, pixels in zip(paths, (half, np.zeros_like(half)), strict=True):
        Image.fromarray(pixels).save(path)
    masked = replace(finished.capture, mask_paths=(*paths, *finished.capture.mask_paths[2:]))
    _, views = drained(measure(finished.load_model(), masked, [0, 1]))
    assert [each.view for each in views] == [0]
    assert 0 <= views[0].clipped <= 1
