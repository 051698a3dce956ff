"""Masks, transparency and names that cannot be meant: one clear line, exit status 2. A case is a row."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image

Arguments = list[object]


class Place(NamedTuple):
    """A folder to work in, in it a capture that a case may spoil, the good one and a run of that."""

    folder: Path
    capture: Path
    good: Path
    run: Path

    def fit(self, *more: object) -> Arguments:
        """The command that would fit."""
        return ["fit", self.capture, "-o", self.folder / "run", *more]


def renamed(name: str) -> Callable[[Place], Arguments]:
    """The model gives a photo another name."""

    def build(place: Place) -> Arguments:
        model = place.capture / "sparse" / "0" / "images.txt"
        assert "photo_2.jpg" in model.read_text()
        model.write_text(model.read_text().replace("photo_2.jpg", name))
        return place.fit()

    return build


def masks(end: int | None = None, size: tuple[int, int] = (64, 48)) -> Callable[[Place], Arguments]:
    """One photo has a mask of that size, of which the bytes up to ``end`` are there."""

    def build(place: Place) -> Arguments:
        path = place.folder / "masks" / "photo_4.jpg.png"
        path.parent.mkdir()
        Image.effect_noise(size, 50).save(path)
        path.write_bytes(path.read_bytes()[:end])
        return place.fit("--masks", path.parent)

    return build


def nothing_left(place: Place) -> Arguments:
    """Every held-out photo is masked as a whole, which a run finds when it is to be scored."""
    (place.folder / "masks").mkdir()
    for view in range(9):
        Image.new("L", (64, 48), 0 if view in (0, 8) else 255).save(place.folder / "masks" / f"photo_{view}.png")
    run = shutil.copytree(place.run, place.folder / "copy")
    table = (run / "capture.toml").read_text()
    (run / "capture.toml").write_text(f'masks = "{place.folder / "masks"}"\n{table}')
    return ["eval", run]


def unknown_alpha(place: Place) -> Arguments:
    run = shutil.copytree(place.run, place.folder / "copy")
    (run / "capture.toml").write_text('alpha = "grey"\n' + (run / "capture.toml").read_text())
    return ["eval", run]


CASES: dict[str, tuple[Callable[[Place], Arguments], str]] = {
    "a mask cut short": (masks(end=-9), "photo_4.jpg.png: this picture is cut short"),
    "an empty mask": (masks(end=0), "photo_4.jpg.png: cannot be read as a picture (the file is empty)"),
    "a mask on its side": (masks(size=(48, 64)), "photo_4.jpg.png: mask and photo differ in size"),
    "nothing left to score": (nothing_left, "the masks leave nothing of any held-out photo; hold out others"),
    "an alpha of no kind": (lambda place: place.fit("--alpha", "grey"), "--alpha"),
    "an alpha of no kind in a run": (unknown_alpha, "alpha, expected ignore or mask or white or black, got grey"),
    "another alpha than the run's": (
        lambda place: ["fit", place.good, "-o", place.run, "--resume", "--alpha", "white"],
        "the run began with another alpha",
    ),
    "a name that leads out by backslashes": (renamed("..\\photo_2.jpg"), "leads out of its folder; rename it"),
    "a drive's name that leads out": (renamed("C:\\..\\..\\photo_2.jpg"), "leads out of its folder; rename it"),
    "two names for one photo": (renamed("C:\\photos\\photo_1.jpg"), "of the model are one photo here; put the other"),
    "a name in other letters": (renamed("PHOTO_2.jpg"), "1 of 9 photos absent (but photo_2.jpg is there)"),
    "a name too long": (renamed("n" * 300), "there is no such file, got 1 of 9 photos absent"),
}


@pytest.mark.parametrize(("build", "message"), CASES.values(), ids=CASES)
def test_refusal(unrender, tiny_capture, fitted, tmp_path, build, message):
    copy = shutil.copytree(tiny_capture, tmp_path / "capture")
    said = unrender(*build(Place(tmp_path, copy, tiny_capture, fitted[0])))
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("unrender: error: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert not (tmp_path / "run").exists()
