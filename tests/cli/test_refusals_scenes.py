"""Bad scenes of ADOP, OpenSfM and OpenMVS: one clear line on stderr, exit status 2, nothing begun. A case is a row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from unrender.datasets.formats import read_reconstruction
from unrender.datasets.write_capture import write_capture


def swap(old: str, new: str) -> Callable[[bytes], bytes]:
    return lambda content: content.replace(old.encode(), new.encode(), 1)


def change_shots(content: bytes) -> bytes:
    """A way out of the folder."""
    model = json.loads(content)
    model[0]["shots"]["../up.jpg"] = model[0]["shots"].pop("photo_0.jpg")
    return json.dumps(model).encode()


# format, file, what is done to a good one's bytes, what is said
SCENES: dict[str, tuple[str, str, Callable[[bytes], bytes], str]] = {
    "a pose too few": (
        "adop",
        "poses.txt",
        lambda c: c[: c.rindex(b"\n", 0, -1) + 1],
        "poses.txt: 8 lines, expected 9",
    ),
    "a skew": ("adop", "camera0.ini", swap("24.0 0.0", "24.0 0.5"), "camera0.ini: K has a skew, which no lens of ours"),
    "a camera too many": ("adop", "camera_indices.txt", swap("0", "7"), "line 1, expected a camera from 0 to 0, got 7"),
    "spherical": ("adop", "dataset.ini", swap("_int = 0", "_int = 2"), "camera0.ini: cameras of type spherical"),
    "no projection": (
        "opensfm",
        "reconstruction.json",
        swap("perspective", "pinhole"),
        "a projection_type unknown here",
    ),
    "deep JSON": ("opensfm", "reconstruction.json", lambda _: b"[" * 99_999, "cannot be read as JSON"),
    "a name that leads out": ("opensfm", "reconstruction.json", change_shots, "'../up.jpg' leads out of its folder"),
    "a file cut short": ("openmvs", "scene.mvs", lambda c: c[:-9], "scene.mvs: this file is cut short or damaged"),
    "an archive": (
        "openmvs",
        "scene.mvs",
        lambda c: b"MVS\0" + c[4:],
        "a project archive, which only OpenMVS",
    ),
    "a newer version": ("openmvs", "scene.mvs", lambda c: c[:4] + b"\x09" + c[5:], "expected 1 to 7, got 9"),
}


@pytest.mark.parametrize(("kind", "name", "change", "message"), SCENES.values(), ids=SCENES)
def test_refusal(unrender, tiny_capture: Path, tmp_path: Path, kind, name, change, message):
    scene = tmp_path / "scene"
    write_capture(scene, read_reconstruction(tiny_capture), kind)
    before = (scene / name).read_bytes()
    (scene / name).write_bytes(change(before))
    assert (scene / name).read_bytes() != before
    said = unrender("fit", scene, "-o", tmp_path / "run")
    assert said.status == 2
    assert said.out == ""
    assert said.err.startswith("unrender: error: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert [child.name for child in tmp_path.iterdir()] == ["scene"]
