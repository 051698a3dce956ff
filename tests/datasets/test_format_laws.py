"""What holds for every row of the table of formats: what goes out comes back, and what does not is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictured import MODELS, reconstruction_with
from PIL import Image
from posed_room import assert_same_views, colors_of, pixels_of, place_photos

from unrender.cameras.lens import Lens, make_lens
from unrender.datasets.beside_cameras import Beside
from unrender.datasets.formats import FORMATS, read_reconstruction, write_reconstruction
from unrender.datasets.reconstruction import Reconstruction

WRITTEN = [name for name, kind in FORMATS.items() if kind.write is not None]
CASES = [(name, model) for name in WRITTEN for model in FORMATS[name].lenses if model in MODELS]
FLOAT32 = ("openmvs",)
"""Formats that hold the positions of points in 32 bits."""
BESIDE: dict[Beside, str] = {
    "normals": "the normals of 20 points",
    "masks": "1 masks",
    "exposures": "the exposures of 5 photos",
    "split": "that 2 photos are held out",
    "alpha": "what transparency means (fit with --alpha white)",
}


def centred(lens: Lens) -> Lens:
    """The lens with its principal point in the middle of the photo."""
    params = lens.params.clone()
    for name, middle in (("cx", lens.width / 2), ("cy", lens.height / 2)):
        params[lens.parameter_names.index(name)] = middle
    return make_lens(lens.model, lens.width, lens.height, params.tolist())


def example(name: str, model: str, seed: int, far: float = 0.0) -> Reconstruction:
    """Two cameras of one model that the format holds without loss, in the order that a reader gives."""
    found = reconstruction_with(model, model, seed=seed, far=far)
    if name == "bundler":
        found = replace(found, lenses=tuple(map(centred, found.lenses)))
    return found.sorted_by_name()


def full(folder: Path) -> Reconstruction:
    """With everything that can be beside cameras and points; the mask lies in ``folder``."""
    found = example("bundler", "SIMPLE_PINHOLE", 0)
    mask = folder / "mask.png"
    Image.new("L", (640, 480), 255).save(mask)
    normals = torch.nn.functional.normalize(torch.randn(20, 3, generator=torch.Generator().manual_seed(1)), dim=1)
    return replace(
        found,
        points=replace(found.points, normals=normals),
        masks=(None, mask, None, None, None),
        exif_ev=torch.tensor([1.0, 2.5, -3.25, 4.0, 5.0], dtype=torch.float64),
        held_out=found.names[1:3],
        alpha="white",
    )


def back(name: str, given: Reconstruction, folder: Path, lossy: bool = False) -> Reconstruction:
    """What is read of what is written, with photos in their place."""
    lost = write_reconstruction(folder, given, name, lossy=lossy)
    assert lossy or lost == ()
    place_photos(folder, given)
    return read_reconstruction(folder, observations=True)


@pytest.mark.parametrize(("name", "model"), CASES, ids=lambda case: case)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1 << 20))
def test_what_a_format_can_hold_comes_back(
    name: str, model: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Names, poses to 1e-9, pixels to 1e-6, sizes, points and colours; recognised without being named."""
    given = example(name, model, seed)
    found = back(name, given, tmp_path_factory.mktemp("law"))
    assert_same_views(found, given)
    for ours, theirs in zip(found.lens_of_view, given.lens_of_view, strict=True):
        assert (ours.width, ours.height) == (theirs.width, theirs.height)
    off = 1e-6 if name in FLOAT32 else 1e-9
    torch.testing.assert_close(found.points.positions, given.points.positions, rtol=0, atol=off)
    torch.testing.assert_close(colors_of(found), colors_of(given), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_a_format_has_no_room_for_is_said_and_the_rest_comes_back(name: str, tmp_path: Path) -> None:
    given, held = full(tmp_path), FORMATS[name].holds
    lost = write_reconstruction(tmp_path / "out", given, name, lossy=True)
    assert lost == tuple(text for kind, text in BESIDE.items() if kind not in held)
    place_photos(tmp_path / "out", given)
    found = read_reconstruction(tmp_path / "out")
    assert (found.points.normals is not None) == ("normals" in held)
    if found.points.normals is not None and given.points.normals is not None:
        torch.testing.assert_close(found.points.normals, given.points.normals, rtol=0, atol=1e-6)
    assert (found.exif_ev is not None) == ("exposures" in held)
    if found.exif_ev is not None and given.exif_ev is not None:
        torch.testing.assert_close(found.exif_ev, given.exif_ev, rtol=0, atol=1e-6)
    assert found.held_out == (given.held_out if "split" in held else None)
    assert found.alpha == ("white" if "alpha" in held else None)
    if "masks" in held and name != "colmap":  # whose masks are named by the user (--masks)
        assert found.masks is not None
        assert found.masks[1] is not None
        assert found.masks[1].is_file()


@pytest.mark.parametrize("name", WRITTEN)
def test_survey_coordinates_keep_their_digits_or_it_is_said(name: str, tmp_path: Path) -> None:
    """5,000 km from the origin: points to a micrometre, and all lands where it did to 1e-5 pixels."""
    given = example(name, "SIMPLE_PINHOLE", 3, far=5e6)
    if name in FLOAT32:
        (lost,) = FORMATS[name].losses(given)
        assert "positions of points to better than 0.2" in lost
    found = back(name, given, tmp_path, lossy=name in FLOAT32)
    assert_same_views(found, given, poses=1e-6, pixels=1e-5)
    torch.testing.assert_close(
        found.points.positions, given.points.positions, rtol=0, atol=0.3 if name in FLOAT32 else 1e-6
    )


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("other", WRITTEN)
def test_through_two_formats_a_point_lands_where_it_did(name: str, other: str, tmp_path: Path) -> None:
    """From any format to any other: the pixel of a point is equal to 1e-6."""
    given = example("bundler", "SIMPLE_PINHOLE", 4)
    there = back(name, given, tmp_path / "there")
    again = back(other, replace(there, exif_ev=None), tmp_path / "again")
    world = given.points.positions
    for view in range(len(given)):
        pose = given.camera_from_world[view]
        seen = world[(world @ pose[:3, :3].T + pose[:3, 3])[:, 2] > 0.1]
        torch.testing.assert_close(pixels_of(again, view, seen), pixels_of(given, view, seen), rtol=0, atol=1e-6)
