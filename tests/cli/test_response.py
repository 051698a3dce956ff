"""``unrender response``: files, table, JSON, and one line for what cannot be used."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unrender.datasets.synthetic.photography import exif_of, filmic
from unrender.images.io import read_exr, read_exr_metadata, read_photo, write_exr

EVS = (4.0, 6.0, 8.0, 10.0)


@pytest.fixture(scope="module")
def bracket(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four PNGs of smooth light, two stops apart, with EXIF."""
    folder = tmp_path_factory.mktemp("bracket")
    grid = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    radiance = torch.exp2(2 + 9 * torch.nn.functional.interpolate(grid, (48, 64), mode="bicubic")[0])
    return [save(folder / f"{ev:.0f}.png", filmic((radiance * 2.0**-ev).clamp(0, 1)), exif_of(ev)) for ev in EVS]


def save(path: Path, recorded: torch.Tensor, exif: bytes | None = None) -> Path:
    pixels = (recorded * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(pixels).save(path, exif=exif or b"")
    return path


def test_it_writes_curve_radiance_marks_and_preview(bracket: list[Path], tmp_path: Path, unrender: Callable) -> None:
    said = unrender("response", *bracket, "-o", tmp_path / "out")
    assert said.status == 0, said.err
    assert "4.png" in said.out
    assert "EV (EXIF)" in said.out
    rows = list(csv.DictReader((tmp_path / "out" / "response.csv").open()))
    x, green = (np.array([float(row[name]) for row in rows]) for name in ("exposure", "green"))
    assert np.abs(green - filmic(torch.from_numpy(x)).numpy()).max() < 0.03
    radiance = read_exr(tmp_path / "out" / "radiance.exr")
    assert radiance.shape == (48, 64, 3)
    header = read_exr_metadata(tmp_path / "out" / "radiance.exr")
    assert header["unrender.ev_mean"] == pytest.approx(7, abs=0.01)
    assert [row["photo"] for row in json.loads(header["unrender.photos"])] == [path.name for path in bracket]
    for name in ("clipped.png", "preview.png", "response.png"):
        assert read_photo(tmp_path / "out" / name).shape[2] == 3


def test_json_is_the_result_for_programs(bracket: list[Path], tmp_path: Path, unrender: Callable) -> None:
    said = unrender("response", *bracket, "-o", tmp_path / "out", "--ev", "exif", "--json", "--quiet")
    assert said.status == 0
    assert said.err == ""
    table = json.loads(said.out)
    assert [row["ev"] for row in table["photos"]] == pytest.approx(EVS, abs=0.01)
    assert table["estimated"] == []
    again = unrender("response", *bracket, "-o", tmp_path / "again", "--ev", "exif", "--json", "--quiet")
    assert again.status == 0
    for name in ("response.csv", "radiance.exr", "preview.png"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_without_exif_the_power_law_is_said(bracket: list[Path], tmp_path: Path, unrender: Callable) -> None:
    bare = [tmp_path / path.name for path in bracket]
    for path, copy in zip(bracket, bare, strict=True):
        Image.open(path).save(copy, exif=b"")
    said = unrender("response", *bare, "-o", tmp_path / "out")
    assert said.status == 0, said.err
    assert "no photo says its exposure: ratios are fitted up to a power law" in said.err
    said = unrender("response", bracket[0], *bare[1:], "-o", tmp_path / "out")
    assert "exposure missing in 3 photos: estimated from the others" in said.err


def small(path: Path) -> Path:
    return save(path, torch.full((3, 8, 8), 0.5))


def flat(folder: Path, value: float) -> list[Path]:
    return [save(folder / f"flat{ev}.png", torch.full((3, 48, 64), value), exif_of(ev)) for ev in (4.0, 8.0)]


def light(path: Path) -> Path:
    write_exr(path, torch.full((48, 64, 3), 0.5))
    return path


REFUSED: dict[str, tuple[Callable[[list[Path], Path], list[Path]], str]] = {
    "one photo": (lambda photos, _: photos[:1], "expected 2 or more, got 1"),
    "another size": (lambda photos, to: [*photos, small(to / "s.png")], "s.png: photos of one view have one size"),
    "all white": (lambda _, to: flat(to, 1.0), "no pixel is recorded between black and white in two photos"),
    "all black": (lambda _, to: flat(to, 0.0), "no pixel is recorded between black and white in two photos"),
    "the same photo twice": (lambda photos, _: [photos[1]] * 2, "all photos are equally exposed"),
    "an absent photo": (lambda photos, to: [*photos, to / "none.png"], "none.png: no such file"),
    "light among photos": (lambda photos, to: [*photos, light(to / "l.exr")], "l.exr: one camera took linear and"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_one_line_and_write_nothing(
    case: str, bracket: list[Path], tmp_path: Path, unrender: Callable
) -> None:
    build, line = REFUSED[case]
    said = unrender("response", *build(bracket, tmp_path), "-o", tmp_path / "out")
    assert said.status == 2
    assert said.err.count("\n") == 1
    assert line in said.err
    assert not (tmp_path / "out").exists()
