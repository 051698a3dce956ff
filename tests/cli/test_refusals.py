"""Bad input: one clear line on stderr, exit status 2, no traceback, nothing touched. A case is a row."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

Arguments = list[object]


class Place:
    """Where a case builds what is wrong: a copy of a good capture, a good run, a folder for anything."""

    def __init__(self, folder: Path, capture: Path, run: Path) -> None:
        self.folder, self.good, self.run = folder, capture, run

    @property
    def capture(self) -> Path:
        """A copy of the good capture that a case may spoil."""
        copy = self.folder / "capture"
        return copy if copy.exists() else shutil.copytree(self.good, copy)

    def written(self, name: str, text: str) -> Path:
        """A file of that text."""
        path = self.folder / name
        path.write_text(text)
        return path

    def fit(self, *more: object, capture: Path | None = None) -> Arguments:
        """The command that would fit."""
        return ["fit", capture or self.capture, "-o", self.folder / "run", *more]


def empty_folder(place: Place) -> Arguments:
    (place.folder / "empty").mkdir()
    return place.fit(capture=place.folder / "empty")


def no_points(place: Place) -> Arguments:
    (place.capture / "sparse" / "0" / "points3D.txt").write_text("")
    return place.fit()


def no_images(place: Place) -> Arguments:
    shutil.rmtree(place.capture / "images")
    return place.fit()


def unknown_camera(place: Place) -> Arguments:
    path = place.capture / "sparse" / "0" / "cameras.txt"
    path.write_text(path.read_text().replace("PINHOLE 64 48 50 50 32 24", "FOV 64 48 50 50 32 24 0.5"))
    return place.fit()


def foreign_folder(place: Place) -> Arguments:
    (place.folder / "run").mkdir()
    (place.folder / "run" / "thesis.tex").touch()
    return place.fit()


def run_below_a_file(place: Place) -> Arguments:
    return ["fit", place.capture, "-o", place.written("file", "") / "run"]


def cut_checkpoint(place: Place) -> Arguments:
    run = shutil.copytree(place.run, place.folder / "copy")
    data = (run / "checkpoint.safetensors").read_bytes()
    (run / "checkpoint.safetensors").write_bytes(data[: len(data) // 2])
    return ["eval", run]


def lost_checkpoint(place: Place) -> Arguments:
    run = shutil.copytree(place.run, place.folder / "copy")
    (run / "checkpoint.safetensors").unlink()
    return ["render", run, "-o", place.folder / "out"]


CASES: dict[str, tuple[Callable[[Place], Arguments], str]] = {
    "missing folder": (lambda p: p.fit(capture=p.folder / "nowhere"), "nowhere"),
    "empty folder": (empty_folder, "empty"),
    "no points": (no_points, "points"),
    "no images": (no_images, "images"),
    "unknown camera model": (unknown_camera, "FOV"),
    "photos wider than they are": (lambda p: p.fit("--width", 65), "width"),
    "point cloud absent": (lambda p: p.fit("--points", p.folder / "none.ply"), "none.ply"),
    "masks absent": (lambda p: p.fit("--masks", p.folder / "none"), "none"),
    "held-out name unknown": (lambda p: p.fit("--test-names", p.written("t", "photo_X.jpg")), "did you mean 'photo_"),
    "unknown setting": (lambda p: p.fit("--config", p.written("c.toml", "wdith = 3")), "did you mean 'width'"),
    "setting of a wrong type": (lambda p: p.fit("--config", p.written("c.toml", "seed = 'a'")), "seed"),
    "settings absent": (lambda p: p.fit("--config", p.folder / "none.toml"), "none.toml"),
    "steps and minutes": (lambda p: p.fit("--steps", 3, "--minutes", 1), "exclude each other"),
    "no steps": (lambda p: p.fit("--steps", 0), "steps must be positive"),
    "no threads": (lambda p: p.fit("--threads", 0), "--threads: number of threads, expected 1 or more, got 0"),
    "a device nothing runs on": (lambda p: p.fit("--device", "cuda"), "--device"),
    "a folder of somebody's": (foreign_folder, "thesis.tex"),
    "a run below a file": (run_below_a_file, "file"),
    "an existing run": (lambda p: ["fit", p.good, "-o", p.run], "--resume"),
    "another capture": (lambda p: ["fit", p.capture, "-o", p.run, "--resume"], "began with another folder"),
    "another seed": (lambda p: ["fit", p.good, "-o", p.run, "--resume", "--seed", 9], "began with other settings"),
    "another split": (lambda p: ["fit", p.good, "-o", p.run, "--resume", "--test-every", 3], "--test-every"),
    "no run to score": (lambda p: ["eval", p.folder], "there is no run here"),
    "no run to render": (lambda p: ["render", p.folder / "none", "-o", p.folder / "out"], "there is no run here"),
    "a checkpoint cut short": (cut_checkpoint, "damaged"),
    "a checkpoint lost": (lost_checkpoint, "there is no checkpoint"),
    "no frames": (lambda p: ["render", p.run, "-o", p.folder / "o", "--path", "orbit", "--frames", 0], "frame"),
    "no width": (lambda p: ["render", p.run, "-o", p.folder / "o", "--width", 0], "--width"),
    "pictures into a file": (lambda p: ["render", p.run, "-o", p.written("file", "")], "file"),
}


@pytest.mark.parametrize(("build", "message"), CASES.values(), ids=CASES)
def test_refusal(unrender, tiny_capture, fitted, tmp_path, build, message):
    arguments = build(Place(tmp_path, tiny_capture, fitted[0]))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    said = unrender(*arguments)
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("unrender: error: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "arguments", [("fly",), ("fit",), ("fit", "capture"), ("fit", "c", "-o", "r", "--steps", "x"), ("eval", "--wdith")]
)
def test_usage_errors_exit_with_2_and_say_it_on_stderr(unrender, arguments):
    said = unrender(*arguments)
    assert said.status == 2
    assert said.out == ""
    assert "Traceback" not in said.err


def test_threads_come_from_the_environment(unrender, fitted, tmp_path, monkeypatch):
    monkeypatch.setenv("UNRENDER_THREADS", "many")
    assert "UNRENDER_THREADS: number of threads" in unrender("render", fitted[0], "-o", tmp_path).err
    before = torch.get_num_threads()
    monkeypatch.setenv("UNRENDER_THREADS", "2")
    try:
        assert unrender("render", fitted[0], "-o", tmp_path).status == 0
        assert torch.get_num_threads() == 2
        assert unrender("render", fitted[0], "-o", tmp_path, "--threads", 1).status == 0
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_a_traceback_on_request(unrender, tmp_path, monkeypatch):
    from unrender.errors import RunError

    monkeypatch.setenv("UNRENDER_TRACEBACK", "1")
    with pytest.raises(RunError):
        unrender("eval", tmp_path)
