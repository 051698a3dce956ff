"""Bad input of ``unrender inspect``: one line, status 2, nothing written. A bad capture is no bad input."""

from __future__ import annotations

import pytest

REFUSED = {
    "nowhere": (lambda good, folder: [folder / "nowhere"], "no such file or folder, expected photos with poses"),
    "an unknown format": (lambda good, folder: [good, "--format", "colmpa"], "did you mean 'colmap'?"),
    "one photo": (lambda good, folder: [good, "--photos", 1], "--photos: photos to open, expected 2 or more, got 1"),
    "a file without --json": (lambda good, folder: [good, folder / "a.json"], "say --json"),
    "a page into a folder": (lambda good, folder: [good, "--html", folder], "not a file in a folder that is there"),
    "a page below nothing": (lambda good, folder: [good, "--html", folder / "no" / "a.html"], "not a file in a folder"),
    "json below nothing": (lambda good, folder: [good, "--json", folder / "no" / "a.json"], "not a file in a folder"),
    "a cloud that is not there": (lambda good, folder: [good, "--points", folder / "no.ply"], "no.ply"),
    "a gpu": (lambda good, folder: [good, "--device", "cuda"], "expected cpu"),
    "an unknown alpha": (lambda good, folder: [good, "--alpha", "grey"], "alpha"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_one_line_and_nothing_is_written(unrender, tiny_capture, tmp_path, case):
    build, message = REFUSED[case]
    said = unrender("inspect", *build(tiny_capture, tmp_path), "--quiet")
    assert said.status == 2
    assert said.out == ""
    assert message in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert not any(tmp_path.iterdir())
