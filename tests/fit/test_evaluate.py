"""Held-out scores: what each policy may know, the floor, and the file that holds them."""

import math
from dataclasses import replace

import pytest
import torch

from unrender.datasets.read_capture import read_capture
from unrender.errors import CaptureError
from unrender.fit.evaluate import (
    Evaluation,
    ViewScores,
    evaluate,
    exif_cameras,
    fit_exposure,
    picture_stems,
    plain_points,
)
from unrender.messages import Evaluated, Saved, Scores


@pytest.fixture(scope="module")
def capture(tiny_capture):
    return read_capture(tiny_capture)


@pytest.fixture(scope="module")
def floor(capture):
    return plain_points(capture)


def result_of(messages):
    """All that a generator says, and its value."""
    said = []

    def listen():
        said.append((yield from messages))

    return [*listen()], said[0]


def test_every_held_out_view_is_scored_under_both_policies(capture, floor, tmp_path):
    said, evaluation = result_of(evaluate(floor, capture, tmp_path))
    assert [view.name for view in evaluation.views] == ["photo_0.jpg", "photo_8.jpg"]
    assert {(m.name, m.policy) for m in said if isinstance(m, Evaluated)} == {
        (view.name, policy) for view in evaluation.views for policy in ("exif", "fitted")
    }
    assert {m.path for m in said if isinstance(m, Saved)} == {tmp_path / "photo_0.png", tmp_path / "photo_8.png"}


def test_pictures_show_photo_ours_and_flip(capture, floor, tmp_path):
    from PIL import Image

    list(evaluate(floor, capture, tmp_path))
    with Image.open(tmp_path / "photo_8.png") as picture:
        assert picture.width == 3 * 64
        pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).view(
            picture.height, picture.width, 3
        )
    photo = (capture.image(8) * 255).round().byte().permute(1, 2, 0)
    ours = (floor.image(exif_cameras(floor.cameras, [8]))[0] * 255).round().byte().permute(1, 2, 0)
    assert torch.equal(pixels[-48:, :64], photo)
    assert torch.equal(pixels[-48:, 64:128], ours)


def test_nothing_is_learned_from_a_held_out_photo_under_exif(capture, floor):
    sensor = floor.cameras.sensor
    moved = replace(sensor, exposure=sensor.exposure + 3, white_point=sensor.white_point + 1)
    cameras = exif_cameras(replace(floor.cameras, sensor=moved), [8])
    assert cameras.sensor.exposure.tolist() == capture.exif_ev[[8]].tolist()
    assert not cameras.sensor.white_point.any()


def test_fitted_exposure_is_found(floor):
    """A photo made 1.7 stops darker and with a warm tint than the start says is explained exactly."""
    start = exif_cameras(floor.cameras, [4])
    with torch.no_grad():
        radiance = 0.3 * floor.radiance(start)
    truth = replace(start.sensor, exposure=start.sensor.exposure + 1.7, white_point=torch.tensor([[-0.2, 0.15]]))
    photo = replace(start, sensor=truth).record(radiance)[0]
    found = fit_exposure(start, radiance, photo).sensor
    assert torch.allclose(found.exposure, truth.exposure, atol=0.01)
    assert torch.allclose(found.white_point, truth.white_point, atol=0.01)
    assert torch.equal(start.sensor.exposure, floor.cameras.sensor.exposure_start[[4]])


def test_fitted_policy_sees_only_the_left_half(capture, floor):
    """Ruining the right half of the photo must not change the exposure: only the score of the right half."""
    start = exif_cameras(floor.cameras, [8])
    with torch.no_grad():
        radiance = floor.radiance(start)
    from unrender.fit import evaluate as module

    photo = capture.image(8)
    ruined = photo.clone()
    ruined[..., 32:] = 0
    seen = []
    original = module.fit_exposure

    def spy(camera, radiance, photo):
        seen.append(original(camera, radiance, photo))
        return seen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "fit_exposure", spy)
        good, bad = (module._score_fitted(start, radiance, image) for image in (photo, ruined))
    assert torch.equal(seen[0].sensor.exposure, seen[1].sensor.exposure)
    assert good.psnr > bad.psnr + 3


def test_scoring_twice_gives_the_same_bits(capture, floor):
    assert result_of(evaluate(floor, capture))[1] == result_of(evaluate(floor, capture))[1]


def test_the_floor_draws_the_nearest_point_in_its_colour(capture, floor):
    """On the wall every drawn pixel of an average exposure shows the colour of one of its points."""
    cameras = exif_cameras(floor.cameras, [4])
    sensor = cameras.sensor
    cameras = replace(cameras, sensor=replace(sensor, exposure=torch.full((1,), sensor.exposure_mean)))
    image = floor.image(cameras)[0].flatten(1).T
    distance = torch.cdist(image, capture.points.colors).amin(1)
    empty = torch.cdist(image, image.mode(0).values[None])[:, 0] < 1e-4
    assert distance[~empty].max() < 2 / 255
    assert 0.05 < float(empty.float().mean()) < 0.95


def test_the_file_holds_exactly_what_is_promised():
    scores = [ViewScores(name, Scores(p, 0.5, 0.1), Scores(p + 1, 0.6, 0.2)) for name, p in (("a", 20.0), ("b", 30.0))]
    table = Evaluation(tuple(scores), 64, 48).table(seconds=12.0)
    assert list(table) == ["test", "images", "fitted_exposure", "definition", "seconds", "width", "height"]
    assert table["test"] == {"psnr": 25.0, "ssim": 0.5, "flip": 0.1}
    assert table["fitted_exposure"] == {"psnr": 26.0, "ssim": 0.6, "flip": 0.2}
    assert table["images"][1] == {"name": "b", "psnr": 30.0, "ssim": 0.5, "flip": 0.1}
    assert {"psnr", "ssim", "flip", "test", "fitted_exposure", "seconds"} <= set(table["definition"])
    assert (table["seconds"], table["width"], table["height"]) == (12.0, 64, 48)
    assert math.isfinite(table["test"]["psnr"])


def test_no_held_out_view_is_an_error_and_not_a_nan(capture, floor):
    with pytest.raises(CaptureError, match="no view is held out"):
        list(evaluate(floor, replace(capture, test=())))


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["a.jpg", "b/c.png", "d.e.jpg"], ["a", "b_c", "d.e"]),
        (["a.jpg", "a.png", "b.jpg"], ["a.jpg", "a.png", "b"]),
        (["A.jpg", "a.png"], ["A.jpg", "a.png"]),
        (["a/b.jpg", "a_b.jpg"], ["a_b.jpg", "a_b.jpg_2"]),
        (["a.jpg", "a.jpg.png", "a.png"], ["a.jpg", "a.jpg_2", "a.png"]),
    ],
)
def test_no_two_photos_share_a_picture(names, stems):
    assert picture_stems(names) == stems
