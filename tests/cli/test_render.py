"""Rendering: pictures, films and radiance; what is finished is kept, what is not the same is refused."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace

import OpenEXR
import pytest
import torch

from unrender import __version__
from unrender.cli.signals import Interrupted
from unrender.fit.run import Run
from unrender.images import io
from unrender.images.io import read_exr, read_exr_metadata, read_photo

FLIGHT = ("--path", "orbit", "--frames", 5, "--width", 32, "--threads", 1)
FAKE = """#!/bin/sh
case "$*" in *-encoders*) echo " V....D mpeg4  MPEG-4 part 2"; exit 0;; esac
for last; do :; done
cat > "$last"
"""


@pytest.fixture
def fake_ffmpeg(tmp_path, monkeypatch):
    """An ffmpeg on PATH whose film is its pictures, one after the other."""
    if os.name != "posix":
        pytest.skip("the script needs a POSIX shell")
    return make_ffmpeg(tmp_path / "bin", FAKE, monkeypatch)


def make_ffmpeg(folder, script, monkeypatch):
    folder.mkdir(exist_ok=True)
    program = folder / "ffmpeg"
    program.write_text(script)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return program


@pytest.fixture
def no_ffmpeg(tmp_path, monkeypatch):
    """Neither an ffmpeg on PATH nor the extra."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)


@pytest.fixture
def stopped_at(monkeypatch):
    """Call to make the user press Ctrl-C while the n-th picture is half written; afterwards all is as it was."""
    whole = io.write_png

    def arrange(count):
        written = []

        def write(path, image):
            if len(written) == count:
                monkeypatch.setattr(io, "write_png", whole)
                path.write_bytes(b"half")
                raise Interrupted(signal.SIGINT)
            whole(path, image)
            written.append(path)

        monkeypatch.setattr(io, "write_png", write)

    return arrange


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("tonemap", ["sensor", "linear", "gamma", "reinhard", "filmic", "agx", "fusion"])
def test_render_held_out_views(unrender, fitted, tmp_path, tonemap):
    said = unrender("render", fitted[0], "-o", tmp_path, "--tonemap", tonemap)
    assert said.out == f"2 pictures ({tonemap}) in {tmp_path}\n"
    assert read_photo(tmp_path / "photo_8.png").shape == (48, 64, 3)


@pytest.mark.parametrize("path", ["orbit", "interpolate"])
def test_render_a_flight(unrender, fitted, tmp_path, path):
    options = ("--path", path, "--frames", 3, "--width", 32, "--up", 0, -1, 0)
    assert unrender("render", fitted[0], "-o", tmp_path / "new" / "folder", *options).status == 0
    written = sorted((tmp_path / "new" / "folder").iterdir())
    assert [file.name for file in written] == ["flight.png.json", *(f"frame_{index:04d}.png" for index in range(3))]
    assert read_photo(written[1]).shape == (24, 32, 3)


def test_exr_is_the_models_radiance(unrender, fitted, tmp_path):
    assert unrender("render", fitted[0], "-o", tmp_path, "--exr").status == 0
    model = Run.open(fitted[0]).load_model()
    with torch.no_grad():
        radiance = model.radiance(model.cameras.select([8]))[0].permute(1, 2, 0)
    assert torch.equal(read_exr(tmp_path / "photo_8.exr"), radiance)


def test_a_higher_ev_is_darker(unrender, fitted, tmp_path):
    means = []
    for ev in (-1, 0, 1):
        assert unrender("render", fitted[0], "-o", tmp_path, "--path", "train", "--ev", ev).status == 0
        means.append(float(read_photo(tmp_path / "photo_3.png").float().mean()))
    assert means[0] > means[1] > means[2]


def test_render_train_looks_like_the_fitted_photo(unrender, fitted, tmp_path):
    unrender("render", fitted[0], "-o", tmp_path, "--path", "train")
    model = Run.open(fitted[0]).load_model()
    image = (model.image(model.cameras.select([3]))[0] * 255).round().byte().permute(1, 2, 0)
    assert torch.equal(read_photo(tmp_path / "photo_3.png"), image)


def test_a_resumed_flight_has_the_bytes_of_one_that_was_never_stopped(unrender, fitted, tmp_path, stopped_at):
    assert unrender("render", fitted[0], "-o", tmp_path / "whole", *FLIGHT).status == 0
    stopped_at(2)
    said = unrender("render", fitted[0], "-o", tmp_path / "broken", *FLIGHT)
    assert said.status == 130
    assert "--resume goes on" in said.err
    assert sorted(content(tmp_path / "broken")) == ["flight.png.json", "frame_0000.png", "frame_0001.png"]

    before = (tmp_path / "broken" / "frame_0001.png").stat().st_mtime_ns
    (tmp_path / "broken" / "frame_0003.png").touch()  # what a power cut may leave
    said = unrender("render", fitted[0], "-o", tmp_path / "broken", *FLIGHT, "--resume")
    assert said.out == f"5 pictures (sensor) in {tmp_path / 'broken'}, 2 of them kept from before\n"
    assert (tmp_path / "broken" / "frame_0001.png").stat().st_mtime_ns == before
    assert content(tmp_path / "broken") == content(tmp_path / "whole")


def test_a_killed_render_goes_on(unrender, fitted, tmp_path):
    words = [str(word) for word in ("render", fitted[0], "-o", tmp_path / "broken", "--path", "orbit", "--frames", 200)]
    path = os.pathsep.join(path for path in sys.path if path)
    command = [sys.executable, "-m", "unrender", *words, "--threads", "1"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path})
    while child.poll() is None and not (tmp_path / "broken" / "frame_0002.png").exists():
        time.sleep(0.005)
    child.kill()
    _, said = child.communicate()
    assert child.returncode != 0, said
    pictures = sorted((tmp_path / "broken").glob("frame_*.png"))
    assert 3 <= len(pictures) < 200, said
    assert all(read_photo(picture).shape == (48, 64, 3) for picture in pictures)
    for picture in pictures[2:]:  # so that few are left to render
        picture.unlink()
    record = tmp_path / "broken" / "flight.png.json"
    table = json.loads(record.read_text())
    record.write_text(json.dumps(table | {"frames": 4, "files": table["files"][:4]}))
    said = unrender("render", *words[1:-1], 4, "--threads", 1, "--resume")
    assert "2 of them kept" in said.out, said.err
    assert not list((tmp_path / "broken").glob(".*"))


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (("--path", "interpolate"), "path"),
        (("--frames", 6), "frames"),
        (("--width", 30), "width"),
        (("--tonemap", "filmic"), "tonemap"),
        (("--ev", 1), "ev"),
        (("--exposure", "mean"), "exposure"),
        (("--up", 0, -1, 0), "up"),
    ],
)
def test_resume_refuses_the_pictures_of_another_render(unrender, fitted, flight, other, name):
    before = content(flight)
    said = unrender("render", fitted[0], "-o", flight, *FLIGHT, "--resume", *other)
    assert said.status == 2
    assert f"a render with another {name}, expected" in said.err
    assert said.err.count("\n") == 1
    assert content(flight) == before


@pytest.fixture(scope="session")
def flight(unrender, fitted, tmp_path_factory):
    """A finished flight. Not to be written to."""
    folder = tmp_path_factory.mktemp("flight")
    assert unrender("render", fitted[0], "-o", folder, *FLIGHT).status == 0
    return folder


def test_resume_refuses_the_pictures_of_another_checkpoint(unrender, fitted, flight, tmp_path):
    shutil.copytree(flight, tmp_path / "frames")
    run = shutil.copytree(fitted[0], tmp_path / "run")
    longer = Run.open(run)
    longer.change(replace(longer.settings, steps=7))
    assert list(longer.fit())
    said = unrender("render", run, "-o", tmp_path / "frames", *FLIGHT, "--resume")
    assert "a render with another step, expected 6, got 7" in said.err
    assert content(tmp_path / "frames") == content(flight)


def test_a_finished_flight_has_nothing_left_to_render(unrender, fitted, flight, monkeypatch):
    monkeypatch.setattr("unrender.images.io.write_png", None)
    said = unrender("render", fitted[0], "-o", flight, *FLIGHT, "--resume", "--json", "--quiet")
    assert json.loads(said.out) == {"run": str(fitted[0]), "written": [], "kept": 5, "video": None}
    assert said.err == ""


def test_a_shorter_flight_leaves_no_picture_of_the_longer_one(unrender, fitted, flight, tmp_path):
    folder = shutil.copytree(flight, tmp_path / "frames")
    (folder / "frame_0009.png").write_bytes(b"the user's own")
    assert unrender("render", fitted[0], "-o", folder, "--width", 32).status == 0  # another series: held-out views
    said = unrender("render", fitted[0], "-o", folder, *FLIGHT, "--frames", 2, "--json")
    assert json.loads(said.out)["written"] == [str(folder / f"frame_000{index}.png") for index in range(2)]
    others = ["flight.png.json", "frame_0009.png", "photo_0.png", "photo_8.png", "test.png.json"]
    assert sorted(content(folder)) == sorted([*others, "frame_0000.png", "frame_0001.png"])


def test_a_record_cannot_remove_files_elsewhere(unrender, fitted, tmp_path):
    (tmp_path / "frames").mkdir()
    (tmp_path / "precious").touch()
    files = ["../precious", str(tmp_path / "precious"), 3]
    (tmp_path / "frames" / "flight.png.json").write_text(json.dumps({"files": files}))
    assert unrender("render", fitted[0], "-o", tmp_path / "frames", *FLIGHT).status == 0
    assert (tmp_path / "precious").exists()


@pytest.mark.parametrize("series", ["flight", "test"])
def test_a_record_saves_no_file_that_it_does_not_name(unrender, fitted, flight, tmp_path, series):
    """Neither the record of a shorter flight nor that of another series."""
    folder = shutil.copytree(flight, tmp_path / "frames")
    (folder / "flight.png.json").rename(folder / f"{series}.png.json")
    (folder / "frame_0007.png").write_bytes(b"the user's own")
    before = content(folder)
    said = unrender("render", fitted[0], "-o", folder, *FLIGHT, "--frames", 8)
    assert (said.status, said.err.count("\n")) == (2, 1)
    assert "is of no earlier render" in said.err
    assert content(folder) == before


def test_one_render_at_a_time_into_a_folder(unrender, fitted, flight, tmp_path, monkeypatch):
    whole, second = io.write_png, []

    def write(path, image):
        if not second:
            second.append(None)
            second.append(unrender("render", fitted[0], "-o", tmp_path, *FLIGHT))
        whole(path, image)

    monkeypatch.setattr(io, "write_png", write)
    assert unrender("render", fitted[0], "-o", tmp_path, *FLIGHT).status == 0
    assert (second[1].status, second[1].err.count("\n")) == (2, 1)
    assert "another process is rendering into this folder" in second[1].err
    assert content(tmp_path) == content(flight)


def test_a_picture_is_on_the_disk_before_it_has_its_name(unrender, fitted, tmp_path, monkeypatch):
    there, sync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (there.append(set(content(tmp_path))), sync(file)))
    assert unrender("render", fitted[0], "-o", tmp_path, *FLIGHT).status == 0
    for index, names in enumerate(there[-5:]):
        assert f".frame_{index:04d}.png.part" in names
        assert f"frame_{index:04d}.png" not in names


def test_a_film_is_its_pictures_in_order_and_leaves_none(unrender, fitted, flight, fake_ffmpeg, tmp_path):
    film = tmp_path / "new" / "flight.mp4"
    said = unrender("render", fitted[0], "-o", film, *FLIGHT, "--fps", 12.5)
    assert said.out == f"5 pictures (sensor) in {film}\n"
    assert "encoding 100 %" in said.err
    assert film.read_bytes() == b"".join(path.read_bytes() for path in sorted(flight.glob("*.png")))
    assert sorted(content(film.parent)) == ["flight.mp4"]


def test_a_stopped_film_goes_on_and_is_the_same(unrender, fitted, fake_ffmpeg, tmp_path, stopped_at):
    film = tmp_path / "flight.mp4"
    film.write_bytes(b"an earlier film")
    stopped_at(3)
    assert unrender("render", fitted[0], "-o", film, *FLIGHT).status == 130
    assert film.read_bytes() == b"an earlier film"
    said = unrender("render", fitted[0], "-o", film, *FLIGHT, "--resume", "--json")
    assert json.loads(said.out) == {"run": str(fitted[0]), "written": [str(film)], "kept": 3, "video": str(film)}
    assert unrender("render", fitted[0], "-o", tmp_path / "whole.mp4", *FLIGHT).status == 0
    assert film.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert not (tmp_path / "flight.mp4.frames").exists()


def test_a_failing_ffmpeg_costs_no_picture(unrender, fitted, fake_ffmpeg, tmp_path, monkeypatch):
    script = FAKE.replace('cat > "$last"', 'echo half > "$last"; echo "first" >&2; echo "no room  " >&2; exit 1')
    make_ffmpeg(tmp_path / "bin", script, monkeypatch)
    film = tmp_path / "flight.mp4"
    said = unrender("render", fitted[0], "-o", film, *FLIGHT, "--quiet")
    assert said.status == 2
    assert said.err == f"unrender: error: {film}: ffmpeg failed (no room); the pictures are kept\n"
    assert not film.exists()
    make_ffmpeg(tmp_path / "bin", FAKE, monkeypatch)
    assert "5 of them kept" in unrender("render", fitted[0], "-o", film, *FLIGHT, "--resume").out
    assert film.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "flight.mp4"]


def test_an_exr_says_what_it_is(unrender, fitted, tmp_path):
    for name in ("a", "b"):
        assert unrender("render", fitted[0], "-o", tmp_path / name, "--exr", "--width", 32).status == 0
    assert content(tmp_path / "a") == content(tmp_path / "b")
    header = read_exr_metadata(tmp_path / "a" / "photo_8.exr")
    cameras, checkpoint = Run.open(fitted[0]).load_model().cameras, Run.open(fitted[0]).load_checkpoint()
    pose = torch.tensor(json.loads(header["unrender.camera_from_world"]), dtype=torch.float64)
    assert torch.equal(pose, cameras.camera_from_world[8])
    assert torch.equal(torch.from_numpy(header["worldToCamera"]), pose.T.float())
    assert header["chromaticities"] == pytest.approx((0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290))
    assert json.loads(header["unrender.lens"]) == {
        "model": "PINHOLE",
        "width": 64,
        "height": 48,
        "params": [50.0, 50.0, 32.0, 24.0],
    }
    assert json.loads(header["unrender.pixel_from_photo"]) == {"scale": [0.5, 0.5], "offset": [0.0, 0.0]}
    assert header["unrender.ev"] == pytest.approx(float(cameras.sensor.exposure_start[8]))
    assert header["unrender.ev_mean"] == pytest.approx(cameras.sensor.exposure_mean)
    assert header["unrender.step"] == 6
    assert header["unrender.checkpoint"] == checkpoint.digest
    assert header["unrender.version"] == __version__
    assert header["unrender.view"] == "photo_8"
    assert "Linear Rec. 709" in header["comments"]
    assert header["colorInteropID"] == "lin_rec709_scene"
    assert header["adoptedNeutral"] == pytest.approx((0.3127, 0.3290))
    assert header["unrender.stops"] == pytest.approx(header["unrender.ev"] - header["unrender.ev_mean"], abs=1e-5)
    with OpenEXR.File(str(tmp_path / "a" / "photo_8.exr")) as file:  # as another reader sees it
        assert {"chromaticities", "adoptedNeutral", "colorInteropID", "comments"} <= set(file.header())
        assert next(iter(file.channels().values())).pixels.dtype == "float32"


def test_an_exrs_words_and_numbers_agree_with_the_sensor(unrender, fitted, tmp_path):
    """What the comment says is just white, the camera records as just white, up to its white point and vignette."""
    unrender("render", fitted[0], "-o", tmp_path, "--exr")
    header = read_exr_metadata(tmp_path / "photo_8.exr")
    white = 2.0 ** (header["unrender.ev"] - header["unrender.ev_mean"])
    sensor = Run.open(fitted[0]).load_model().cameras.select([8]).sensor
    sensor.exposure.copy_(sensor.exposure_start)
    sensor.vignette.zero_()
    sensor.white_point.zero_()
    centre = torch.zeros(1, 2, 1, 2)
    green = sensor.record(torch.tensor([white, 0.98 * white]).expand(1, 3, 1, 2), centre, torch.zeros(1).long())[
        0, 1, 0
    ]
    assert float(green[0]) == pytest.approx(1.0, abs=1e-6)
    assert float(green[1]) < 1


def test_a_full_disk_is_one_line_and_the_pictures_stay(unrender, fitted, tmp_path, monkeypatch):
    whole = io.write_png

    def write(path, image):
        if "0002" in path.name:
            raise OSError(28, "No space left on device")
        whole(path, image)

    monkeypatch.setattr(io, "write_png", write)
    said = unrender("render", fitted[0], "-o", tmp_path, *FLIGHT, "--quiet")
    assert said.status == 2
    assert said.err.count("\n") == 1
    assert "frame_0002.png: cannot write the picture (No space left on device)" in said.err
    assert sorted(content(tmp_path)) == ["flight.png.json", "frame_0000.png", "frame_0001.png"]


def film(*more):
    return lambda folder: ("-o", folder / "flight.mp4", *FLIGHT, *more)


def file_at(folder, name):
    (folder / name).write_bytes(b"somebody's")
    return folder / name


def folder_at(folder, name):
    (folder / name).mkdir()
    return folder / name


REFUSED = {
    "a rate of nothing": (film("--fps", 0), "--fps: pictures per second"),
    "a rate backwards": (film("--fps", -24), "--fps: pictures per second"),
    "a rate that is no number": (film("--fps", "nan"), "--fps: pictures per second"),
    "a film of no frames": (film("--frames", 0), "frame"),
    "a film of radiance": (film("--exr"), "--exr: a film holds no radiance"),
    "a film of one row": (film("--width", 1), "2 pixels high and wide"),
    "a rate of pictures": (lambda f: ("-o", f / "out", "--fps", 24), "--fps: only a film"),
    "another kind of film": (lambda f: ("-o", f / "flight.mov"), "take flight.mp4"),
    "a film that is a folder": (lambda f: ("-o", folder_at(f, "x.mp4")), "this is a folder"),
    "a film below a file": (lambda f: ("-o", file_at(f, "file") / "x.mp4", *FLIGHT), "Not a directory"),
    "pictures into a file": (lambda f: ("-o", file_at(f, "file"), *FLIGHT), "pictures need a folder"),
    "pictures below a file": (lambda f: ("-o", file_at(f, "file") / "out", *FLIGHT), "Not a directory"),
    "somebody's record": (lambda f: ("-o", file_at(f, "test.png.json").parent), "no record of a render"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_refusal(unrender, fitted, fake_ffmpeg, tmp_path, options, message):
    place = folder_at(tmp_path, "place")
    options = options(place)
    before = {path: path.is_file() and path.read_bytes() for path in place.rglob("*")}
    said = unrender("render", fitted[0], *options)
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("unrender: error: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert {path: path.is_file() and path.read_bytes() for path in place.rglob("*")} == before


def test_no_ffmpeg_is_said_before_anything_is_rendered(unrender, no_ffmpeg, tmp_path):
    said = unrender("render", tmp_path / "no run either", "-o", tmp_path / "flight.mp4")
    assert said.status == 2
    assert said.err.count("\n") == 1
    for word in ("PATH", "unrender[video]", "need neither"):
        assert word in said.err
    assert not list(tmp_path.iterdir())


def test_a_render_that_fails_leaves_the_earlier_pictures(unrender, fitted, tmp_path, monkeypatch):
    assert unrender("render", fitted[0], "-o", tmp_path).status == 0
    before = content(tmp_path)

    def too_little(*_):
        raise MemoryError

    monkeypatch.setattr("unrender.render.model.Model.radiance", too_little)
    assert unrender("render", fitted[0], "-o", tmp_path, "--width", 48).status == 2
    assert content(tmp_path) == before
