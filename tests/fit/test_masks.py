"""What a photo holds where it is masked changes nothing, to the bit: neither the start, nor the fit, nor the scores."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unrender.datasets.capture import Capture
from unrender.datasets.read_capture import read_capture
from unrender.errors import CaptureError
from unrender.fit.crops import Window, crop_masked
from unrender.fit.evaluate import Evaluation, evaluate, exif_cameras, fit_exposure, plain_points
from unrender.fit.fit import Fit, start_model
from unrender.fit.settings import FitSettings
from unrender.messages import Message
from unrender.render.model import Model

HEIGHT, WIDTH = 48, 64


@dataclass(frozen=True)
class Rubbish(Capture):
    """A capture whose pictures hold noise where they are masked, after ``Capture`` has made these black."""

    seed: int = 0

    def image(self, view: int) -> torch.Tensor:
        image, mask = super().image(view), self.mask(view)
        assert mask is not None
        noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(100 * self.seed + view))
        return torch.where(mask > 0, image, noise)


def masks() -> list[np.ndarray]:
    """A mask per view: a disc with a soft edge that moves from view to view, and a corner cut off."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    out = []
    for view in range(9):
        radius = np.hypot(rows - 20 - view, columns - 25 - 2 * view)
        disc = np.clip(255 * (26 - radius) / 5, 0, 255)
        out.append(np.where(rows + columns < 25, 0, disc).astype(np.uint8))
    return out


def masked_folder(good: Path, folder: Path, seed: int, alpha: bool = False) -> Path:
    """The tiny capture with masks, and noise of ``seed`` wherever these are 0; or with the masks as alpha channels."""
    shutil.copytree(good / "sparse", folder / "sparse")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    model = folder / "sparse" / "0" / "images.txt"
    model.write_text(model.read_text().replace(".jpg", ".png"))
    noise = np.random.default_rng(seed)
    for view, mask in enumerate(masks()):
        with Image.open(good / "images" / f"photo_{view}.jpg") as photo:
            pixels, exif = np.array(photo), photo.info["exif"]
        pixels[mask == 0] = noise.integers(0, 256, (int((mask == 0).sum()), 3))
        picture = Image.fromarray(np.dstack([pixels, mask]) if alpha else pixels)
        picture.save(folder / "images" / f"photo_{view}.png", exif=exif)
        Image.fromarray(mask).save(folder / "masks" / f"photo_{view}.png.png")
    return folder


def scores(model: Model, capture: Capture) -> Evaluation:
    found = []

    def listen() -> Iterator[Message]:
        found.append((yield from evaluate(model, capture)))

    list(listen())
    return found[0]


def outcome(capture: Capture, settings: FitSettings) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], object]:
    """All that a start and a fit come to, and the scores."""
    model, notes = start_model(capture, settings)
    fit = Fit(model, capture, settings)
    start = {name: tensor.clone() for name, tensor in fit.state().items()}
    list(fit.run())
    return start, fit.state(), (notes, scores(fit.model, capture))


def assert_same_bits(first: tuple, second: tuple) -> None:
    for expected, got in zip(first[:2], second[:2], strict=True):
        assert expected.keys() == got.keys()
        assert [name for name in expected if not torch.equal(expected[name], got[name])] == []
    assert first[2] == second[2]


@pytest.fixture(scope="module")
def settings(small: FitSettings) -> FitSettings:
    """With stereo and radiometry, and cameras that move at once, so that every way to learn from a photo is taken."""
    return replace(small, points=replace(small.points, stereo=True), radiometry=True, unlock=0.0)


@pytest.fixture(scope="module")
def folder(tiny_capture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return masked_folder(tiny_capture, tmp_path_factory.mktemp("masked"), seed=1)


@pytest.fixture(scope="module")
def capture(folder: Path) -> Capture:
    return read_capture(folder, masks=folder / "masks")


@pytest.fixture(scope="module")
def expected(capture: Capture, settings: FitSettings) -> tuple:
    return outcome(capture, settings)


def test_noise_in_the_files_changes_nothing(
    tiny_capture: Path, tmp_path: Path, settings: FitSettings, folder: Path
) -> None:
    """At a working size whose pixels lie across the edges of the masks."""
    other = masked_folder(tiny_capture, tmp_path / "other", seed=2)
    first, second = (read_capture(each, masks=each / "masks").at_width(50) for each in (folder, other))
    photos = [(each / "images" / "photo_3.png").read_bytes() for each in (folder, other)]
    assert photos[0] != photos[1]
    assert_same_bits(outcome(first, settings), outcome(second, settings))


def test_noise_in_the_pictures_changes_nothing(capture: Capture, settings: FitSettings, expected: tuple) -> None:
    """The same one step later, where masked pixels are black already: nothing learns from that black either."""
    given = {name: getattr(capture, name) for name in Capture.__dataclass_fields__ if name != "store"}
    noisy = Rubbish(**given, seed=3)
    assert not torch.equal(noisy.image(3), capture.image(3))
    assert_same_bits(outcome(noisy, settings), expected)


def test_a_mask_changes_much(capture: Capture, folder: Path, settings: FitSettings, expected: tuple) -> None:
    """Without masks the noise is learned: the laws above do not hold by accident."""
    without, descriptors = outcome(read_capture(folder), settings), "scene.points.descriptors"
    assert not torch.equal(without[0][descriptors], expected[0][descriptors])
    assert not torch.equal(without[0]["cameras.response"], expected[0]["cameras.response"])
    assert without[2] != expected[2]


def test_alpha_is_a_mask(tiny_capture: Path, tmp_path: Path, settings: FitSettings, expected: tuple) -> None:
    see_through = masked_folder(tiny_capture, tmp_path / "alpha", seed=4, alpha=True)
    capture = read_capture(see_through, alpha="mask")
    assert any("9 photos have an alpha channel; what is transparent is not used" in note for note in capture.notes)
    assert_same_bits(outcome(capture, settings), expected)


def test_crops_mix_only_what_may_be_used() -> None:
    """Grey wherever it may be looked at, noise elsewhere: grey in every crop, at every zoom."""
    generator = torch.Generator().manual_seed(0)
    mask = (torch.rand(1, 40, 50, generator=generator) > 0.5).float() * torch.rand(1, 40, 50, generator=generator)
    image = torch.where(mask > 0, torch.full((3, 1, 1), 0.25), torch.rand(3, 40, 50, generator=generator))
    for size in ((30, 30), (16, 16), (20, 25), (45, 37)):
        colour, used = crop_masked(image, mask, Window(5, 3, 30, 30, size))
        assert colour.shape == (3, *size)
        seen = used.expand_as(colour) > 0
        torch.testing.assert_close(colour[seen], torch.full_like(colour[seen], 0.25))
        assert not colour[~seen].any()


def test_a_view_of_which_nothing_is_left_has_no_score(capture: Capture, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "masks", tmp_path / "masks")
    edge = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    edge[:5] = 255  # where no window of SSIM has its middle
    Image.fromarray(edge).save(tmp_path / "masks" / "photo_0.png.png")
    left = read_capture(folder, masks=tmp_path / "masks")
    found = scores(plain_points(left), left)
    assert [view.name for view in found.views] == ["photo_8.png"]
    assert found.table(0)["masked"] == ["photo_0.png"]
    nothing = replace(left, test=(0,))
    with pytest.raises(CaptureError, match="the masks leave nothing of any held-out photo"):
        next(evaluate(plain_points(nothing), nothing))


def test_an_exposure_is_fitted_to_what_may_be_used(capture: Capture) -> None:
    """The photo is the render 1.2 stops darker, but noise where it is masked."""
    model, mask = plain_points(capture), capture.mask(4)
    start = exif_cameras(model.cameras, [4])
    with torch.no_grad():
        radiance = 0.3 * model.radiance(start)
    truth = start.sensor.exposure + 1.2
    photo = replace(start, sensor=replace(start.sensor, exposure=truth)).record(radiance)[0]
    assert mask is not None
    noise = torch.rand(photo.shape, generator=torch.Generator().manual_seed(0))
    found = fit_exposure(start, radiance, torch.where(mask > 0, photo, noise), mask).sensor.exposure
    torch.testing.assert_close(found, truth, atol=0.01, rtol=0)
    assert fit_exposure(start, radiance, photo, torch.zeros_like(mask)) is start
