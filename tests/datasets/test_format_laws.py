"""Laws that hold for every row of the table of formats: what is written can be read, and is what it was."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unrender.cameras.lens import LENSES, Lens, make_lens
from unrender.datasets.clouds import PointCloud
from unrender.datasets.formats import FORMATS, find_format, read_reconstruction
from unrender.datasets.reconstruction import Reconstruction
from unrender.datasets.write_capture import write_capture
from unrender.errors import CaptureError, SettingsError
from unrender.geometry.rotations import exp_so3
from unrender.geometry.transforms import rigid

WRITABLE = [name for name, kind in FORMATS.items() if kind.write is not None]
HELD = [(name, lens) for name in WRITABLE for lens in FORMATS[name].lenses]
WIDTH, HEIGHT = 60, 44
TYPICAL = {"omega": 0.9, "alpha": 0.6, "beta": 1.1, "w": WIDTH, "h": HEIGHT}
SPREAD = {"k": 0.02, "p": 1e-3, "s": 1e-3}


def some_lens(model: str, generator: torch.Generator, *, centered: bool) -> Lens:
    """A lens of that model as a camera may have it; its principal point in the middle when ``centered``."""
    params = []
    for name in LENSES[model].parameter_names:
        chance = float(torch.rand((), generator=generator, dtype=torch.float64)) - 0.5
        if name in TYPICAL:
            params.append(TYPICAL[name])
        elif name in ("cx", "cy"):
            params.append((WIDTH if name == "cx" else HEIGHT) / 2 + 4 * chance * (not centered))
        elif name.startswith("f"):
            params.append(50 + 10 * chance)
        else:
            params.append(2 * SPREAD[name[0]] * chance)
    return make_lens(model, WIDTH, HEIGHT, params)


def some_reconstruction(folder: Path, model: str, seed: int, *, centered: bool, far: float = 0.0) -> Reconstruction:
    """Five photos through two lenses of that model at random places, ``far`` from the origin, and twenty points."""
    generator = torch.Generator().manual_seed(seed)
    names = ("a.png", "b b.png", "left/ü.png", "left/z.png", "z.png")
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / name)
    centers = torch.randn(5, 3, generator=generator, dtype=torch.float64) + far
    rotations = exp_so3(torch.randn(5, 3, generator=generator, dtype=torch.float64))
    positions = torch.randn(20, 3, generator=generator, dtype=torch.float64) + far
    colors = torch.randint(0, 256, (20, 3), generator=generator) / 255
    return Reconstruction(
        names=names,
        image_folder=folder,
        camera_from_world=rigid(rotations, -(rotations @ centers[:, :, None])[:, :, 0]),
        camera_index=torch.tensor([0, 1, 0, 1, 1]),
        lenses=tuple(some_lens(model, generator, centered=centered) for _ in range(2)),
        points=PointCloud(positions, colors),
    )


def there_and_back(name: str, model: str, seed: int, far: float = 0.0) -> tuple[Reconstruction, Reconstruction]:
    """A reconstruction, and what reading makes of what was written of it."""
    with tempfile.TemporaryDirectory() as work:
        given = some_reconstruction(Path(work) / "photos", model, seed, centered=False, far=far)
        if FORMATS[name].losses(given):
            given = some_reconstruction(Path(work) / "photos", model, seed, centered=True, far=far)
        lost = write_capture(Path(work) / "out", given, name, photos="copy")
        assert lost == ()
        assert find_format(Path(work) / "out")[0] == name
        return given, read_reconstruction(Path(work) / "out")


def pixels(reconstruction: Reconstruction, view: int, rays: torch.Tensor) -> torch.Tensor:
    """Where directions of the world [N, 3] land in a view."""
    lens = reconstruction.lens_of_view[view]
    return lens.project(rays @ reconstruction.camera_from_world[view, :3, :3].T)[0]


@pytest.mark.parametrize(("name", "model"), HELD)
@settings(max_examples=5)
@given(seed=st.integers(0, 2**31))
def test_what_is_written_is_read_again(name: str, model: str, seed: int) -> None:
    given, back = there_and_back(name, model, seed)
    assert back.names == given.names
    torch.testing.assert_close(back.camera_from_world, given.camera_from_world, rtol=0, atol=1e-9)
    grid = torch.cartesian_prod(torch.arange(8, WIDTH - 8, 11), torch.arange(8, HEIGHT - 8, 7)).double()
    for view, lens in enumerate(given.lens_of_view):
        assert (back.lens_of_view[view].width, back.lens_of_view[view].height) == (WIDTH, HEIGHT)
        rays = lens.unproject(grid) @ given.camera_from_world[view, :3, :3]
        torch.testing.assert_close(pixels(back, view, rays), pixels(given, view, rays), rtol=0, atol=1e-6)
    points = back.points
    if len(points) == 0 and back.dense is not None:
        from unrender.datasets.clouds import read_cloud

        points = read_cloud(back.dense)
    torch.testing.assert_close(points.positions, given.points.positions, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", WRITABLE)
def test_survey_coordinates_keep_their_precision(name: str) -> None:
    given, back = there_and_back(name, FORMATS[name].lenses[0], seed=1, far=4_567_890.125)
    centers = [-(p[:, :3, :3].mT @ p[:, :3, 3:])[..., 0] for p in (back.camera_from_world, given.camera_from_world)]
    torch.testing.assert_close(*centers, rtol=0, atol=2e-8)  # float64 holds 1e-9 there, and R^T t adds some of them


@pytest.mark.parametrize("name", WRITABLE)
def test_a_lens_that_the_format_lacks_is_named(name: str, tmp_path: Path) -> None:
    lacking = [model for model in ("EUCM", "FOV") if model not in FORMATS[name].lenses]
    if not lacking:
        pytest.skip("it holds all lenses")
    given = some_reconstruction(tmp_path / "photos", lacking[0], seed=2, centered=True)
    with pytest.raises(CaptureError, match=f"cannot hold {lacking[0]} of camera 1 .*pixels off.*--lossy"):
        write_capture(tmp_path / "out", given, name)
    assert not (tmp_path / "out").exists()
    lost = write_capture(tmp_path / "out", given, name, lossy=True)
    assert any(lacking[0] in text and "pixels off" in text for text in lost)
    assert read_reconstruction(tmp_path / "out").names == given.names


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in WRITABLE])
def test_what_can_only_be_read_says_so(name: str, tmp_path: Path) -> None:
    given = some_reconstruction(tmp_path / "photos", "PINHOLE", seed=3, centered=True)
    with pytest.raises(SettingsError, match=r"can only be read.*colmap"):
        write_capture(tmp_path / "out", given, name)


@pytest.mark.parametrize("name", FORMATS)
def test_nothing_is_no_reconstruction(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.json").write_text("{}")
    for path in (tmp_path / "empty", tmp_path / "file.json", tmp_path / "absent"):
        assert not FORMATS[name].recognises(path)
        with pytest.raises(CaptureError):
            read_reconstruction(path, name)
