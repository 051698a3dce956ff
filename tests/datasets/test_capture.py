"""A capture hands out photos at working size, forgets them under its budget, and never changes."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image

from unrender.datasets.capture import Capture, PictureStore, hold_out
from unrender.datasets.read_capture import read_capture
from unrender.errors import CaptureError, SettingsError
from unrender.fit.memory import _picture_bytes
from unrender.images.io import read_photo, write_exr
from unrender.images.resize import area_average

NAMES = [f"{number:02}.jpg" for number in range(20)]


@pytest.fixture
def capture(small: Path) -> Capture:
    return read_capture(small)


def test_a_photo_comes_as_it_was_recorded(capture: Capture):
    for view in range(len(capture)):
        expected = read_photo(capture.image_paths[view]).permute(2, 0, 1).float() / 255
        assert torch.equal(capture.image(view), expected)


def test_smaller_photos_are_area_averages(plush: Path):
    capture = read_capture(plush).at_width(500)
    photo = area_average(read_photo(capture.image_paths[5]), 375, 500).permute(2, 0, 1)
    assert capture.image(5).shape == (3, 375, 500)
    assert (capture.image(5) * 255 - photo).abs().max() <= 0.5 + 1e-4


def test_resizing_keeps_where_points_are_seen(capture: Capture):
    small = capture.at_width(31)
    assert small.cameras.size == (19, 31)
    scale = torch.tensor([31 / 48, 19 / 30], dtype=torch.float64)
    for view in range(len(capture)):
        before, after = (c.cameras.project(view, c.points.positions) for c in (capture, small))
        torch.testing.assert_close(after.pixels, before.pixels * scale)
        assert small.cameras.lens(view) is capture.cameras.lens(view)


def test_resizing_twice_is_resizing_once(capture: Capture):
    once, twice = capture.at_width(20), capture.at_width(31).at_width(20)
    assert torch.equal(once.cameras.sizes, twice.cameras.sizes)
    torch.testing.assert_close(once.cameras.pixel_scale, twice.cameras.pixel_scale, rtol=1e-14, atol=0)
    back = capture.at_width(20).at_width(48)
    assert torch.equal(back.cameras.sizes, capture.cameras.sizes)


@pytest.mark.parametrize("width", [0, -3, 49])
def test_nothing_is_enlarged(capture: Capture, width: int):
    with pytest.raises(SettingsError, match=f"width, expected 1 to 48 pixels.*got {width}"):
        capture.at_width(width)


def test_what_is_handed_out_can_be_changed_without_harm(capture: Capture):
    capture.image(0).zero_()
    assert capture.image(0).max() > 0


def test_a_capture_is_frozen_and_equal_to_itself_whatever_it_has_decoded(capture: Capture):
    other = dataclasses.replace(capture)
    capture.image(0)
    assert other == capture
    assert "store" not in repr(capture)
    with pytest.raises(dataclasses.FrozenInstanceError):
        capture.test = ()  # pyright: ignore[reportAttributeAccessIssue]


def test_photos_are_decoded_once_while_the_budget_lasts(capture: Capture, monkeypatch: pytest.MonkeyPatch):
    decoded: list[Path] = []

    def count(path: Path) -> torch.Tensor:
        decoded.append(path)
        return read_photo(path)

    monkeypatch.setattr("unrender.datasets.pictures.read_photo", count)
    roomy = dataclasses.replace(capture)
    tight = dataclasses.replace(capture, budget=2 * 48 * 30 * 3)
    for _ in range(2):
        for view in (0, 1, 2):
            roomy.image(view)
    assert len(decoded) == 3
    decoded.clear()
    for view in (0, 1, 0, 2, 0, 1):
        tight.image(view)
        assert tight.store.used <= tight.budget
    assert decoded == [capture.image_paths[view] for view in (0, 1, 2, 1)]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs the resident size from /proc")
def test_what_is_resident_grows_no_further_than_the_budget(tmp_path: Path):
    """In a process of its own: as many photos as fill the budget three times."""
    Image.effect_noise((320, 240), 50).convert("RGB").save(tmp_path / "a.jpg")
    script = """
import sys, torch
from unrender.datasets.capture import PictureStore
from unrender.fit.memory import _picture_bytes
from unrender.images.io import read_photo, write_exr

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

store, budget = PictureStore(20 * 2**20), 20 * 2**20
for key in range(300):
    picture = store.get(("image", key), lambda: (read_photo(sys.argv[1]).float() + 0).round().to(torch.uint8))
    (picture.permute(2, 0, 1).float() / 255).sum()
    assert store.used <= budget
    if key == 0:
        before = resident()
print((resident() - before) / budget)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "a.jpg"], check=True, capture_output=True, text=True
    )
    assert 0.9 < float(done.stdout) < 1.5


def test_a_picture_larger_than_the_budget_is_not_kept():
    store = PictureStore(10)
    for _ in range(2):
        assert store.get(("image", 0), lambda: torch.ones(11, dtype=torch.uint8)).sum() == 11
    assert store.used == 0


def test_threads_may_share_a_store():
    store, wrong = PictureStore(50), []

    def ask(seed: int) -> None:
        order = torch.randint(0, 20, (300,), generator=torch.Generator().manual_seed(seed)).tolist()
        for key in order:
            picture = store.get(("image", key), lambda key=key: torch.full((10,), key, dtype=torch.uint8))
            if picture.tolist() != [key] * 10:
                wrong.append(key)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert store.used == 50


def test_masks_are_fractions_at_working_size(small: Path):
    masks = small / "masks"
    masks.mkdir()
    half = Image.new("L", (48, 30))
    half.paste(255, (0, 0, 24, 30))
    half.save(masks / "a.jpg.png")
    capture = read_capture(small, masks=masks).at_width(3)
    mask = capture.mask(0)
    assert mask is not None
    assert mask.shape == (1, 2, 3)
    torch.testing.assert_close(mask[0], torch.tensor([[1, 128 / 255, 0]]).expand(2, 3))
    assert capture.mask(1) is None
    assert any("5 photos have no mask" in note for note in capture.notes)


def test_a_mask_of_another_size_is_refused(small: Path):
    Image.new("L", (24, 15)).save(small / "a.png")
    with pytest.raises(CaptureError, match=r"a\.png: mask and photo differ.*expected 48 x 30 .*got 24 x 15"):
        read_capture(small, masks=small)


def test_a_photo_replaced_after_reading_is_refused(capture: Capture):
    Image.new("RGB", (24, 15)).save(capture.image_paths[0])
    with pytest.raises(CaptureError, match=r"a\.jpg.*expected 48 x 30, got 24 x 15"):
        capture.image(0)


def test_every_k_th_is_held_out_from_the_first():
    assert hold_out(NAMES, 8) == (0, 8, 16)
    assert hold_out(NAMES, 0) == ()
    assert hold_out(list(reversed(NAMES)), 8) == (3, 11, 19)


def test_listed_names_are_held_out(tmp_path: Path):
    (tmp_path / "test.txt").write_text("07.jpg\n\n 03.jpg \n")
    assert hold_out(NAMES, listed=["07.jpg", "03.jpg", "07.jpg"]) == (3, 7)
    assert hold_out(NAMES, listed=tmp_path / "test.txt") == (3, 7)


def test_held_out_views_do_not_train(capture: Capture):
    assert capture.test == (0,)
    assert capture.train == (1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("every", "listed", "says"),
    [
        (8, ["13.jpeg"], "no view named '13.jpeg'.*did you mean '13.jpg'"),
        (8, Path("absent.txt"), "absent.txt.*cannot be read"),
        (-1, None, "got -1"),
        (1, None, "every view is held out"),
        (8, NAMES, "every view is held out"),
    ],
)
def test_senseless_choices_are_refused(every: int, listed: list[str] | Path | None, says: str):
    with pytest.raises((CaptureError, SettingsError), match=says):
        hold_out(NAMES, every, listed)


def test_deep_photos_keep_their_depth_and_are_counted(small: Path):
    before = read_capture(small)
    ramp = torch.linspace(0, 1, 48 * 30).reshape(30, 48)
    width, height = before.cameras.lens(0).width, before.cameras.lens(0).height
    Image.fromarray((ramp * 65535).round().numpy().astype("uint16")).resize((width, height), 0).save(
        before.image_paths[0], "PNG"
    )
    for view in (2, 4, 5):
        write_exr(before.image_paths[view], torch.ones(height, width, 3) * 0.5)
    after = read_capture(small)
    assert after.deep == (0, 2, 4, 5)
    assert len(after.image(0).unique()) > 256
    assert after.store.used == 6 * height * width
    assert torch.equal(after.image(0), after.image(0))
    assert _picture_bytes(after) == _picture_bytes(before) + 4 * 3 * height * width


def test_light_is_not_encoded_and_its_camera_has_no_curve(small: Path):
    """Camera 1 took views 2, 4 and 5."""
    before = read_capture(small)
    light = torch.rand(30, 48, 3, generator=torch.Generator().manual_seed(0))
    for view in (2, 4, 5):
        write_exr(before.image_paths[view], light)
    after = read_capture(small)
    assert after.cameras.linear == (1,)
    assert [note for note in after.notes if "linear" in note] == [
        "3 photos hold linear light: no response is fitted, 1 is clipped: "
        + ", ".join(after.names[v] for v in (2, 4, 5))
    ]
    picture = after.image(4)
    torch.testing.assert_close(picture, light.permute(2, 0, 1), rtol=0, atol=1e-5)
    view = after.cameras.select([4])
    gain = 2.0 ** float(after.cameras.sensor.exposure[4] - after.cameras.sensor.exposure_mean)
    torch.testing.assert_close(view.radiance(picture[None])[0], picture * gain, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(after.cameras.select([0]).radiance(picture[None])[0], picture, atol=0.1)


def test_a_fit_moves_the_curve_of_encoded_photos_only(small: Path):
    cameras = read_capture(small).cameras.with_linear((1,))
    before = cameras.sensor.response.clone()
    parameter = next(p for p in cameras.parameters() if p.name == "cameras.response")
    with torch.no_grad():
        parameter.raw.add_(torch.randn(parameter.raw.shape, generator=torch.Generator().manual_seed(0)))
    assert parameter.hold is not None
    parameter.hold()
    torch.testing.assert_close(cameras.sensor.response[1], before[1], rtol=0, atol=1e-6)
    assert not torch.allclose(cameras.sensor.response[0], before[0], atol=0.01)


def test_linear_and_encoded_photos_of_one_camera_are_refused(small: Path):
    before = read_capture(small)
    write_exr(before.image_paths[2], torch.ones(30, 48, 3))
    with pytest.raises(CaptureError, match="one camera took linear and encoded photos, expected the kind of"):
        read_capture(small)
