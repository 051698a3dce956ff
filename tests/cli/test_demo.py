"""The demo in small: the whole path, its table and the pictures it leaves."""

import json
import os
import signal
from dataclasses import replace

import pytest
from PIL import Image

from unrender.cli import demo
from unrender.fit.run import Run
from unrender.fit.settings_file import read_settings
from unrender.messages import Stepped

OWN_SETTINGS = demo.fit_settings


@pytest.fixture(scope="module")
def small_demo(small):
    """Options of a demo of 6 views with a coarsely lit room."""
    room = demo.room_settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "room_settings", lambda *given: replace(room(*given), texel=0.2, points=2000))
        patch.setattr(
            demo, "fit_settings", lambda _, steps, seed: replace(read_settings(small), steps=steps, seed=seed)
        )
        yield ("--views", 6, "--width", 48, "--threads", 1, "--steps", 1)


@pytest.fixture(scope="module")
def made(unrender, small_demo, tmp_path_factory):
    """A small demo, and what it said."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    said = unrender("demo", "-o", folder, *small_demo, "--seed", 3)
    assert said.status == 0, said.err
    return folder, said


def test_its_own_settings_measure_and_fit(tiny_capture, tmp_path):
    """The settings of ``make demo``, which the small demo above replaces, on the tiny capture."""
    settings = OWN_SETTINGS(2.0, 2, 0)
    settings = replace(settings, points=replace(settings.points, count=500), crop=replace(settings.crop, size=32))
    run = Run.create(tmp_path / "run", tiny_capture, settings)
    assert run.settings.network.precision in ("float32", "bfloat16")
    assert sum(isinstance(message, Stepped) for message in run.fit()) == 2


def test_it_prints_the_table_and_where_to_look(made):
    folder, said = made
    for words in ("before", "after", "PSNR [dB], EXIF exposure", "exposure error, mean [stops]", "response error"):
        assert words in said.out
    *_, last = said.out.splitlines()
    assert last.endswith(f"unrender render {folder}/run --path orbit --tonemap filmic -o {folder}/orbit")
    assert all(str(folder / name) in last for name in ("contact.png", "photometry.png", "flight.webp"))
    assert "photographing 100 %" in said.err


def test_it_leaves_pictures_and_an_ordinary_run(made):
    folder, _ = made
    sizes = {}
    for name in ("contact.png", "photometry.png", "flight.webp"):
        with Image.open(folder / name) as picture:
            sizes[name] = (picture.width, getattr(picture, "n_frames", 1))
    assert sizes == {"contact.png": (3 * 48, 1), "photometry.png": (1120, 1), "flight.webp": (48, 24)}
    assert len(list((folder / "flight").glob("*.png"))) == 24
    assert len(json.loads((folder / "run" / "eval.json").read_text())["images"]) == 1
    assert Run.open(folder / "run").settings.seed == 3


def test_the_result_as_json(tmp_path, small_demo, unrender):
    said = unrender("demo", "-o", tmp_path / "demo", *small_demo, "--json", "--quiet")
    assert said.status == 0
    assert said.err == ""
    result = json.loads(said.out)
    assert result["run"] == str(tmp_path / "demo" / "run")
    assert result["step"] == 1
    assert not result["interrupted"]
    scores = json.loads((tmp_path / "demo" / "run" / "eval.json").read_text())
    assert result["ours"]["exif"] == result["test"] == scores["test"]
    assert set(result["floor"]["fitted"]) == {"psnr", "ssim", "flip"}
    assert {"before", "after"} == set(result["errors"]["response error, largest"])


def test_stopped_while_photographing(tmp_path, small_demo, unrender, monkeypatch):
    monkeypatch.setattr(demo, "_photograph", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    said = unrender("demo", "-o", tmp_path / "demo", *small_demo)
    assert said.status == 143
    assert said.err == "unrender: stopped before there was anything to save; the same command begins again\n"


def test_what_exists_is_left_alone(tmp_path):
    (tmp_path / "demo").mkdir()
    assert demo._free_folder(tmp_path / "demo") == tmp_path / "demo"
    (tmp_path / "demo" / "mine").touch()
    (tmp_path / "demo-2").touch()
    assert demo._free_folder(tmp_path / "demo") == tmp_path / "demo-3"
    assert demo._free_folder(tmp_path / "new" / "demo") == tmp_path / "new" / "demo"
