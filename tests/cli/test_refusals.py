"""Bad input: one clear line on stderr, exit status 2, no traceback, nothing touched. A case is a row."""

from __future__ import annotations

import json
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from unrender.datasets.clouds import PointCloud, write_ply
from unrender.fit.checkpoint import write_checkpoint
from unrender.fit.run import Run
from unrender.fit.settings_file import read_table

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

    def made(self, name: str) -> Path:
        """An empty folder."""
        (self.folder / name).mkdir()
        return self.folder / name

    def fit(self, *more: object, capture: Path | None = None) -> Arguments:
        """The command that would fit."""
        return ["fit", capture or self.capture, "-o", self.folder / "run", *more]

    def spoilt(self, name: str | Path, change: Callable[[bytes], bytes]) -> Arguments:
        """The command that would fit, with the bytes of one file of the capture changed."""
        spoil(self.capture / name, change)
        return self.fit()

    def copied_run(self) -> Path:
        """A copy of the good run that a case may spoil."""
        return shutil.copytree(self.run, self.folder / "copy")

    def spoilt_run(self, name: str, change: Callable[[bytes], bytes], verb: str = "eval") -> Arguments:
        """A command on a copy of the good run with the bytes of one of its files changed."""
        run = self.copied_run()
        spoil(run / name, change)
        return {
            "eval": ["eval", run],
            "render": ["render", run, "-o", self.folder / "out"],
            "fit": ["fit", self.good, "-o", run, "--resume", "--quiet"],
        }[verb]


def spoil(path: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the bytes of a file."""
    before = path.read_bytes()
    path.write_bytes(change(before))
    assert path.read_bytes() != before


def swap(old: str, new: str) -> Callable[[bytes], bytes]:
    """Other words in a text file."""
    return lambda content: content.replace(old.encode(), new.encode(), 1)


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def rubbish(_: bytes) -> bytes:
    return random.Random(0).randbytes(300)


def empty(_: bytes) -> bytes:
    return b""


def as_binary(place: Place) -> Path:
    """The copied capture with a binary model of the old kind, whose poses are in ``images.bin``; the model's folder."""
    import pycolmap

    folder = place.capture / "sparse" / "0"
    model = pycolmap.Reconstruction(folder)
    shutil.rmtree(folder)
    folder.mkdir()
    model.write_binary(folder)
    for part in ("rigs", "frames"):
        (folder / f"{part}.bin").unlink()
    return folder


def at(start: int, value: bytes) -> Callable[[bytes], bytes]:
    """Other bytes in a binary file."""
    return lambda content: content[:start] + value + content[start + len(value) :]


def in_binary(name: str, start: int, value: bytes) -> Callable[[Place], Arguments]:
    return lambda place: place.spoilt(as_binary(place) / name, at(start, value))


def photos_of_size(width: int, height: int) -> Callable[[Place], Arguments]:
    def build(place: Place) -> Arguments:
        for path in (place.capture / "images").iterdir():
            Image.new("RGB", (width, height)).save(path)
        return place.fit()

    return build


def photo_absent(place: Place) -> Arguments:
    for view in (2, 5):
        (place.capture / "images" / f"photo_{view}.jpg").unlink()
    return place.fit()


def folder_for_photo(place: Place) -> Arguments:
    (place.capture / "images" / "photo_3.jpg").unlink()
    (place.capture / "images" / "photo_3.jpg").mkdir()
    return place.fit()


def other_masks(place: Place) -> Arguments:
    masks = place.folder / "masks"
    masks.mkdir()
    Image.new("L", (32, 24)).save(masks / "photo_4.png")
    return place.fit("--masks", masks)


def one_point(place: Place) -> Arguments:
    path = place.capture / MODEL / "points3D.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:4]) + "\n")
    return place.fit()


def vgg_weights(content: bytes) -> Callable[[Place], Arguments]:
    def build(place: Place) -> Arguments:
        (place.folder / "vgg19.pth").write_bytes(content)
        settings = f'loss.vgg = 1\nloss.vgg_weights = "{place.folder / "vgg19.pth"}"'
        return place.fit("--config", place.written("c.toml", settings))

    return build


def cloud_nowhere(place: Place) -> Arguments:
    write_ply(place.folder / "c.ply", PointCloud(torch.full((5, 3), torch.nan).double()))
    return place.fit("--points", place.folder / "c.ply")


def capture_moved(verb: str) -> Callable[[Place], Arguments]:
    """The run speaks of a folder that is not there any more."""

    def build(place: Place) -> Arguments:
        run = place.copied_run()
        spoil(run / "capture.toml", swap(str(place.good), str(place.folder / "moved")))
        return ["eval", run] if verb == "eval" else ["fit", place.folder / "moved", "-o", run, "--resume", "--quiet"]

    return build


def capture_changed(place: Place) -> Arguments:
    """Between the fit and its evaluation a photo was scaled."""
    run = place.copied_run()
    spoil(run / "capture.toml", swap(str(place.good), str(place.capture)))
    Image.new("RGB", (32, 24)).save(place.capture / "images" / "photo_0.jpg")
    return ["eval", run]


def with_checkpoint(change: Callable[[Path], object], verb: str = "eval") -> Callable[[Place], Arguments]:
    """A run whose only checkpoint was changed."""

    def build(place: Place) -> Arguments:
        run = place.copied_run()
        (run / "checkpoint.previous.safetensors").unlink(missing_ok=True)
        change(run / "checkpoint.safetensors")
        return ["eval", run] if verb == "eval" else ["render", run, "-o", place.folder / "out"]

    return build


def rewritten(change: Callable[[dict[str, torch.Tensor], dict[str, object]], object]) -> Callable[[Path], None]:
    """Write a checkpoint with other tensors or another entry."""

    def rewrite(path: Path) -> None:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            entry = json.loads(file.metadata()["unrender"])
        change(tensors, entry)
        save_file(tensors, path, metadata={"unrender": json.dumps(entry)})

    return rewrite


def photo_replaced(verb: str, name: str) -> Callable[[Place], Arguments]:
    """Between two sittings a photo got another content of the same length, as by a wrong copy."""

    def build(place: Place) -> Arguments:
        run = place.copied_run()
        spoil(run / "capture.toml", swap(str(place.good), str(place.capture)))
        spoil(place.capture / "images" / name, lambda c: c[:-40] + bytes([c[-40] ^ 1]) + c[-39:])
        return {"fit": ["fit", place.capture, "-o", run, "--resume", "--quiet"], "eval": ["eval", run]}[verb]

    return build


def diverged(verb: str) -> Callable[[Place], Arguments]:
    """A run whose weights are finite, but not what they compute."""

    def build(place: Place) -> Arguments:
        run = Run.open(place.copied_run())
        model = run.load_model()
        for parameter in model.shader.parameters():
            parameter.raw.data.fill_(1e38)
        write_checkpoint(run.checkpoint_path, model, {}, run.settings, 6)
        return ["eval", run.folder] if verb == "eval" else ["render", run.folder, "-o", place.folder / "out"]

    return build


def settings_edited(verb: str) -> Callable[[Place], Arguments]:
    return lambda place: place.spoilt_run("settings.toml", swap("alpha = 0.01", "alpha = 0.02"), verb)


def empty_folder(place: Place) -> Arguments:
    (place.folder / "empty").mkdir()
    return place.fit(capture=place.folder / "empty")


def no_points(place: Place) -> Arguments:
    (place.capture / "sparse" / "0" / "points3D.txt").write_text("")
    return place.fit()


def no_images(place: Place) -> Arguments:
    shutil.rmtree(place.capture / "images")
    return place.fit()


def with_lens(place: Place, model: str) -> Arguments:
    path = place.capture / "sparse" / "0" / "cameras.txt"
    path.write_text(path.read_text().replace("PINHOLE 64 48 50 50 32 24", f"{model} 64 48 50 50 32 24 1.5"))
    return place.fit()


def foreign_folder(place: Place) -> Arguments:
    (place.folder / "run").mkdir()
    (place.folder / "run" / "thesis.tex").touch()
    return place.fit()


def run_below_a_file(place: Place) -> Arguments:
    return ["fit", place.capture, "-o", place.written("file", "") / "run"]


def run_without_settings(place: Place) -> Arguments:
    run = place.copied_run()
    (run / "settings.toml").unlink()
    return ["fit", place.good, "-o", run, "--resume"]


def names_for_every(place: Place) -> Arguments:
    """A run that held out one photo by name, resumed as if it held out the usual ones."""
    run = place.copied_run()
    table = read_table(run / "capture.toml")
    table |= {"train": sorted({*table["train"], *table["test"]} - {"photo_3.jpg"}), "test": ["photo_3.jpg"]}
    (run / "capture.toml").write_text(tomli_w.dumps(table))
    return ["fit", place.good, "-o", run, "--resume", "--test-every", 8]


NAN, HUGE, MODEL = struct.pack("<d", float("nan")), struct.pack("<d", 1e300), "sparse/0"

CAPTURES: dict[str, tuple[Callable[[Place], Arguments], str]] = {
    "photos absent": (photo_absent, "photo_2.jpg: the model has this photo, but there is no such file, got 2 of 9"),
    "a folder for a photo": (folder_for_photo, "photo_3.jpg: the model has this photo, but there is no such file"),
    "a photo cut short": (
        lambda p: p.spoilt("images/photo_4.jpg", lambda c: c[:-99]),
        "photo_4.jpg: this picture is cut short",
    ),
    "an empty photo": (lambda p: p.spoilt("images/photo_4.jpg", empty), "photo_4.jpg: cannot be read as a picture"),
    "a photo of rubbish": (lambda p: p.spoilt("images/photo_4.jpg", rubbish), "photo_4.jpg: cannot be read"),
    "photos of half the size": (photos_of_size(32, 24), "expected 64 x 48 as in the model, got 32 x 24 (9 of 9"),
    "the ratio is named": (photos_of_size(32, 24), "the photos are 1/2 of the size the cameras were made for"),
    "photos of three times the size": (photos_of_size(192, 144), "the photos are 3 of the size"),
    "photos turned": (photos_of_size(48, 64), "turned by 90 degrees and no EXIF orientation says which way"),
    "masks of another size": (other_masks, "photo_4.png: mask and photo differ in size"),
    "nan intrinsics, text": (lambda p: p.spoilt(f"{MODEL}/cameras.txt", swap(" 50 ", " nan ")), "line 4 is no camera"),
    "nan intrinsics, binary": (in_binary("cameras.bin", 32, NAN), "camera 1: PINHOLE: parameters fx, fy, cx, cy must"),
    "zero intrinsics, text": (lambda p: p.spoilt(f"{MODEL}/cameras.txt", swap(" 50 ", " 0 ")), "must be positive"),
    "zero intrinsics, binary": (in_binary("cameras.bin", 32, bytes(8)), "focal length must be positive"),
    "nan pose, text": (lambda p: p.spoilt(f"{MODEL}/images.txt", swap("\n1 ", "\n1 nan ")), "line 5 is no image"),
    "nan pose, binary": (in_binary("images.bin", 12, NAN), "is not a rigid motion, expected a unit quaternion"),
    "zero quaternion": (in_binary("images.bin", 12, bytes(32)), "got [0.0, 0.0, 0.0, 0.0] (w x y z)"),
    "a word for a point": (lambda p: p.spoilt(f"{MODEL}/points3D.txt", swap("\n2 ", "\n2 x ")), "line 5 is no point"),
    "nan point, text": (lambda p: p.spoilt(f"{MODEL}/points3D.txt", swap("\n2 ", "\n2 nan ")), "line 5 is no point"),
    "nan point, binary": (in_binary("points3D.bin", 16, NAN), "the position of point 1 is not finite"),
    "a point beyond numbers": (
        in_binary("points3D.bin", 16, HUGE),
        "point 1 is not finite or beyond",
    ),
    "a camera beyond numbers": (
        in_binary("images.bin", 44, HUGE),
        "a translation of at most 1e+15",
    ),
    "a focal length of nothing": (
        in_binary("cameras.bin", 32, struct.pack("<d", 1e-300)),
        "expected focal lengths of at least 0.064 pixels",
    ),
    "a principal point nowhere": (in_binary("cameras.bin", 48, HUGE), "nothing beyond 6.4e+07"),
    "one point only": (one_point, "too few points to start from, expected at least 5 distinct points, got 1"),
    "a cloud that is nowhere": (cloud_nowhere, "c.ply: none of the 5 points has a finite position"),
    "a cloud of rubbish": (lambda p: p.fit("--points", p.written("c.ply", "hello")), "c.ply: cannot be read as PLY"),
    "a model of rubbish": (lambda p: p.spoilt(f"{MODEL}/images.txt", rubbish), "images.txt"),
    "a binary model cut short": (lambda p: p.spoilt(as_binary(p) / "images.bin", half), "does not end where"),
}

SETTINGS: dict[str, tuple[Callable[[Place], Arguments], str]] = {
    f"settings {text!r}": (lambda p, text=text: p.fit("--config", p.written("c.toml", text)), message)
    for text, message in {
        "crop.size = 0": "crop.size, expected 16 pixels or more, got 0",
        "crop.size = 32.5": "crop.size has the wrong type, expected int, got 32.5",
        "crop = 3": "setting crop has the wrong type, expected a table",
        "crop.zoom = [1]": "crop.zoom has the wrong type, expected a list of 2",
        "crop.bach = 2": "unknown setting 'crop.bach'; did you mean 'crop.batch'?",
        "steps = true": "setting steps has the wrong type",
        "alpha = 'much'": "setting alpha has the wrong type, expected float, got 'much'",
        "on_nonfinite = 'hope'": "setting on_nonfinite, expected one of",
        "network.kind = 'magic'": "unknown network.kind 'magic'",
        "photo_memory = -1": "photo_memory, expected 0 or more, got -1",
        "checkpoint_every = nan": "checkpoint_every, expected finite numbers",
        "crop.size = ": "not TOML",
    }.items()
}

RUNS: dict[str, tuple[Callable[[Place], Arguments], str]] = {
    "the capture moved away": (capture_moved("eval"), "moved: no such file or folder"),
    "the capture moved away, resuming": (capture_moved("fit"), "moved: no such file or folder"),
    "a photo scaled since the fit": (capture_changed, "photo_0.jpg: photo and camera differ in size"),
    "settings edited": (settings_edited("fit"), "settings.toml: the run began with another alpha, expected 0.01, got"),
    "settings edited, eval": (settings_edited("eval"), "settings.toml: the run began with another alpha"),
    "settings edited, render": (settings_edited("render"), "settings.toml: the run began with another alpha"),
    "a photo replaced": (photo_replaced("fit", "photo_4.jpg"), "photo_4.jpg: this photo is not the one that the run"),
    "a photo replaced, eval": (photo_replaced("eval", "photo_0.jpg"), "photo_0.jpg: this photo is not the one"),
    "a diverged run": (diverged("eval"), "photo_0.jpg: the render is not finite; the fit has diverged"),
    "a diverged run, render": (diverged("render"), "photo_0: the render is not finite; the fit has diverged"),
    "settings cut short": (lambda p: p.spoilt_run("settings.toml", lambda c: c[:-3]), "settings.toml: not TOML"),
    "settings of rubbish": (lambda p: p.spoilt_run("settings.toml", rubbish, "render"), "cannot read the settings"),
    "capture table of rubbish": (lambda p: p.spoilt_run("capture.toml", rubbish), "capture.toml"),
    "capture table empty": (lambda p: p.spoilt_run("capture.toml", empty, "fit"), "capture.toml"),
    "capture table without a split": (lambda p: p.spoilt_run("capture.toml", swap("train", "tram"), "render"), "train"),
    "capture table of wrong types": (
        lambda p: p.spoilt_run("capture.toml", swap("test = [", "test = 3\nnot = ["), "render"),
        "capture.toml: the run's capture has no proper 'test'",
    ),
    "pictures where somebody's lie": (
        lambda p: ["render", p.run, "-o", p.written("photo_0.png", "mine").parent],
        "photo_0.png: this file is of no earlier render",
    ),
    "exposure of no number": (lambda p: ["render", p.run, "-o", p.folder / "o", "--ev", "nan"], "--ev"),
    "up of nowhere": (lambda p: ["render", p.run, "-o", p.folder / "o", "--path", "orbit", "--up", 0, 0, 0], "--up"),
    "a checkpoint cut short": (with_checkpoint(lambda c: spoil(c, half)), "damaged"),
    "a checkpoint of rubbish": (with_checkpoint(lambda c: spoil(c, rubbish), "render"), "damaged"),
    "an empty checkpoint": (with_checkpoint(lambda c: spoil(c, empty)), "damaged"),
    "a checkpoint with a flipped bit": (
        with_checkpoint(lambda c: spoil(c, lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])),
        "damaged",
    ),
    "a checkpoint of another version": (
        with_checkpoint(rewritten(lambda _, entry: entry.update(version=99))),
        "another version, expected",
    ),
    "somebody else's safetensors": (
        with_checkpoint(lambda c: save_file({"a": torch.zeros(3)}, c), "render"),
        "not a checkpoint of unrender",
    ),
    "settings lost": (run_without_settings, "is no run (it has no settings.toml)"),
    "a checkpoint lost": (with_checkpoint(lambda c: c.unlink(), "render"), "there is no checkpoint"),
    "pictures into a file": (lambda p: ["render", p.run, "-o", p.written("file", "")], "file"),
    "pictures below a file": (lambda p: ["render", p.run, "-o", p.written("file", "") / "out"], "file"),
    "a film into a folder": (lambda p: ["render", p.run, "-o", p.made("film.mp4")], "film.mp4: this is a folder"),
}

VERBS: dict[str, tuple[Callable[[Place], Arguments], str]] = {
    "missing folder": (lambda p: p.fit(capture=p.folder / "nowhere"), "nowhere"),
    "empty folder": (empty_folder, "empty"),
    "no points": (no_points, "points"),
    "no images": (no_images, "images"),
    "unknown camera model": (lambda p: with_lens(p, "TROUT"), "unknown camera model TROUT"),
    "photos wider than they are": (lambda p: p.fit("--width", 65), "width"),
    "point cloud absent": (lambda p: p.fit("--points", p.folder / "none.ply"), "none.ply"),
    "masks absent": (lambda p: p.fit("--masks", p.folder / "none"), "none"),
    "held-out name unknown": (lambda p: p.fit("--test-names", p.written("t", "photo_X.jpg")), "did you mean 'photo_"),
    "unknown setting": (lambda p: p.fit("--config", p.written("c.toml", "wdith = 3")), "did you mean 'width'"),
    "setting of a wrong type": (lambda p: p.fit("--config", p.written("c.toml", "seed = 'a'")), "seed"),
    "settings absent": (lambda p: p.fit("--config", p.folder / "none.toml"), "none.toml"),
    "minutes of no number": (lambda p: p.fit("--minutes", "nan"), "minutes, expected finite numbers, got nan"),
    "a rate of no number": (
        lambda p: p.fit("--config", p.written("c.toml", "rates.cameras.exposure = nan")),
        "rates.cameras.exposure, expected finite numbers",
    ),
    "a rate of no parameter": (
        lambda p: p.fit("--config", p.written("c.toml", "rates.cameras.exposuer = 1.0")),
        "rate for an unknown parameter 'cameras.exposuer'",
    ),
    "weights of rubbish": (vgg_weights(rubbish(b"")), "vgg19.pth: cannot read VGG-19 weights"),
    "weights of another rubbish": (vgg_weights(b"hello"), "vgg19.pth: cannot read VGG-19 weights"),
    "a seed too large": (lambda p: p.fit("--seed", "99999999999999999999"), "seed, expected 0 to"),
    "two ways to hold out": (
        lambda p: p.fit("--test-every", 3, "--test-names", p.written("t", "photo_1.jpg")),
        "--test-every and --test-names exclude each other",
    ),
    "steps and minutes": (lambda p: p.fit("--steps", 3, "--minutes", 1), "exclude each other"),
    "no steps": (lambda p: p.fit("--steps", 0), "steps must be positive"),
    "no threads": (lambda p: p.fit("--threads", 0), "--threads: number of threads, expected 1 or more, got 0"),
    "more threads than cores": (lambda p: p.fit("--threads", 4096), "--threads"),
    "more threads than cores, eval": (lambda p: ["eval", p.run, "--threads", 4096], "--threads"),
    "more threads than cores, render": (lambda p: ["render", p.run, "-o", p.folder / "o", "--threads", 4096], "cores"),
    "a device nothing runs on": (lambda p: p.fit("--device", "cuda"), "--device"),
    "a run where nothing can be made": (lambda p: ["fit", p.good, "-o", "/proc/run"], "/proc/run"),
    "a folder of somebody's": (foreign_folder, "thesis.tex"),
    "a run below a file": (run_below_a_file, "file"),
    "an existing run": (lambda p: ["fit", p.good, "-o", p.run], "--resume"),
    "another capture": (lambda p: ["fit", p.capture, "-o", p.run, "--resume"], "began with another folder"),
    "another seed": (lambda p: ["fit", p.good, "-o", p.run, "--resume", "--seed", 9], "began with another seed"),
    "fewer steps than made": (
        lambda p: ["fit", p.good, "-o", p.run, "--resume", "--steps", 5],
        "the run has 6 steps behind it already, expected --steps of no less, got 5; ask for more",
    ),
    "fewer minutes than made": (
        lambda p: ["fit", p.good, "-o", p.run, "--resume", "--minutes", 1e-9],
        "minutes behind it already, expected --minutes of no less, got 1e-09",
    ),
    "the usual split for a named one": (names_for_every, "other photos than --test-every says, expected photo_3.jpg"),
    "another split": (lambda p: ["fit", p.good, "-o", p.run, "--resume", "--test-every", 3], "--test-every"),
    "no run to score": (lambda p: ["eval", p.folder], "there is no run here"),
    "no run to render": (lambda p: ["render", p.folder / "none", "-o", p.folder / "out"], "there is no run here"),
    "no frames": (lambda p: ["render", p.run, "-o", p.folder / "o", "--path", "orbit", "--frames", 0], "frame"),
    "no width": (lambda p: ["render", p.run, "-o", p.folder / "o", "--width", 0], "--width"),
}

CASES = VERBS | CAPTURES | SETTINGS | RUNS


def contents(folder: Path) -> dict[Path, bytes]:
    """Every file below a folder but the log of a run, which may grow."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "log.jsonl"}


@pytest.mark.parametrize(("build", "message"), CASES.values(), ids=CASES)
def test_refusal(unrender, tiny_capture, fitted, tmp_path, build, message):
    arguments = build(Place(tmp_path, tiny_capture, fitted[0]))
    before = contents(tmp_path)
    said = unrender(*arguments)
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("unrender: error: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert contents(tmp_path) == before


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
