"""``unrender inspect``: what it says where, its exit status, and what it writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def turned(tiny_capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny capture without one of its photos."""
    folder = shutil.copytree(tiny_capture, tmp_path_factory.mktemp("broken") / "capture")
    (folder / "images" / "photo_4.jpg").unlink()
    return folder


def test_a_sound_capture_is_said_to_be_one_with_how_to_fit_it(unrender, tiny_capture):
    said = unrender("inspect", tiny_capture, "--threads", 1)
    assert said.status == 0
    assert "9 photos through 1 camera, 1,500 points" in said.out
    assert "PINHOLE 64 x 48, focal length 50 px, 65 degrees wide" in said.out
    assert "EV 5.0 to 6.0, 1.0 stops apart" in said.out
    assert f"unrender fit {tiny_capture} -o RUN --width 64" in said.out
    assert "s a step here and now (measured)" in said.out
    assert "ALARM" not in said.out
    assert "inspecting 100 %" in said.err


def test_an_alarm_is_shown_and_only_strict_makes_it_a_status(unrender, turned):
    said = unrender("inspect", turned, "--quiet", "--threads", 1)
    assert said.status == 0
    assert said.err == ""
    assert "ALARM  1 photo is missing, damaged or of another size  [photos_missing]" in said.out
    assert "photo_4.jpg: the model has this photo, but there is no such file" in said.out
    assert "unrender fit" not in said.out
    assert said.out.splitlines()[-1].startswith("1 alarm, ")
    assert unrender("inspect", turned, "--quiet", "--strict", "--threads", 1).status == 3


def test_strict_is_content_with_hints(unrender, tiny_capture):
    assert unrender("inspect", tiny_capture, "--quiet", "--strict", "--threads", 1).status == 0


def test_json_is_one_object_on_stdout_or_in_a_file(unrender, tiny_capture, tmp_path):
    said = unrender("inspect", tiny_capture, "--json", "--quiet", "--threads", 1)
    table = json.loads(said.out)
    assert said.out.count("\n") == 1
    assert table["capture"] == str(tiny_capture)
    assert table["alarms"] == 0
    assert table["facts"]["photos"] == len(table["photos"]) == 9
    assert table["photos"][3]["name"] == "photo_3.jpg"
    assert table["photos"][3]["residual"] is None  # no tracks
    assert table["fit"]["width"] == 64
    assert table["fit"]["seconds_per_step"] > 0
    said = unrender("inspect", tiny_capture, "--quiet", "--threads", 1, "--json", tmp_path / "found.json")
    assert "9 photos through 1 camera" in said.out
    written = json.loads((tmp_path / "found.json").read_text())
    assert {**written, "fit": None} == {**table, "fit": None}


def test_what_cannot_be_read_is_a_finding(unrender, tiny_capture, tmp_path):
    folder = shutil.copytree(tiny_capture, tmp_path / "capture")
    (folder / "sparse" / "0" / "images.txt").write_text("1 hello\n")
    said = unrender("inspect", folder, "--json", "--quiet", "--threads", 1)
    table = json.loads(said.out)
    assert said.status == 0
    assert [finding["kind"] for finding in table["findings"]] == ["refused"]
    assert "images.txt: line 1 is no image" in table["findings"][0]["evidence"][0]
    assert table["facts"] is None
    said = unrender("inspect", folder, "--threads", 1)
    assert "cannot be read" in said.out
    assert "[refused]" in said.out


def test_what_only_a_fit_refuses_is_a_finding(unrender, tiny_capture, tmp_path):
    folder = shutil.copytree(tiny_capture, tmp_path / "capture")
    (folder / "sparse" / "0" / "points3D.txt").write_text("1 0 0 0 9 9 9 1\n")
    table = json.loads(unrender("inspect", folder, "--json", "--quiet", "--threads", 1).out)
    refused = [finding for finding in table["findings"] if finding["kind"] == "refused"]
    assert "too few points to start from" in refused[0]["evidence"][0]
    assert table["alarms"] == 1
    assert table["fit"] is None


def test_photos_masks_and_points_elsewhere(unrender, tiny_capture, tmp_path):
    folder = shutil.copytree(tiny_capture, tmp_path / "capture")
    (folder / "images").rename(tmp_path / "elsewhere")
    table = json.loads(unrender("inspect", folder, "--json", "--quiet", "--images", tmp_path / "elsewhere").out)
    assert table["alarms"] == 0
    table = json.loads(unrender("inspect", folder, "--json", "--quiet").out)
    assert [finding["kind"] for finding in table["findings"]] == ["refused"]


def test_a_page_is_written_also_of_what_is_broken(unrender, turned, tmp_path):
    said = unrender("inspect", turned, "--html", tmp_path / "page.html", "--threads", 1)
    assert said.status == 0
    text = (tmp_path / "page.html").read_text()
    assert "1 photo is missing" in text
    assert f"wrote {tmp_path / 'page.html'}" in said.err


def test_some_of_many_photos(unrender, tiny_capture):
    said = unrender("inspect", tiny_capture, "--photos", 3, "--quiet", "--threads", 1)
    assert "opened     3 of 9 photos" in said.out
