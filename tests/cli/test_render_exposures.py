"""Views at any exposure: sweeps, what exposes a view that nobody photographed, and what is refused."""

import json
import shutil

import pytest
import torch

from unrender.fit.run import Run
from unrender.images.io import read_exr_metadata, read_photo

FLIGHT = ("--path", "interpolate", "--frames", 4, "--width", 32)


def picture(path):
    return read_photo(path).float()


@pytest.fixture(scope="module")
def without_exif(unrender, tiny_capture, small, tmp_path_factory):
    """A run of the same photos stripped of EXIF. Not to be written to."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("without exif")
    shutil.copytree(tiny_capture, folder / "capture")
    for path in (folder / "capture" / "images").iterdir():
        with Image.open(path) as image:
            pixels = image.copy()
        pixels.info.clear()
        pixels.save(path, quality=95)
    options = ("--config", small, "--steps", 6, "--threads", 1, "--no-report")
    assert unrender("fit", folder / "capture", "-o", folder / "run", *options).status == 0
    return folder / "run"


def test_a_sweep_is_one_view_at_evenly_spaced_exposures(unrender, fitted, tmp_path):
    said = unrender("render", fitted[0], "-o", tmp_path, "--path", "sweep", "--frames", 5, "--stops", -2, 2)
    assert said.out == f"5 pictures (sensor) in {tmp_path}\n"
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    assert names == [
        "photo_0_0000_ev-2.00.png",
        "photo_0_0001_ev-1.00.png",
        "photo_0_0002_ev+0.00.png",
        "photo_0_0003_ev+1.00.png",
        "photo_0_0004_ev+2.00.png",
    ]
    means = [float(picture(tmp_path / name).mean()) for name in names]
    assert means == sorted(means, reverse=True)
    assert unrender("render", fitted[0], "-o", tmp_path / "held out").status == 0
    middle, own = picture(tmp_path / names[2]), picture(tmp_path / "held out" / "photo_0.png")
    assert torch.equal(middle, own), "EV +0 is the exposure that the view has by itself"


def test_a_swept_training_photo_is_as_it_was_fitted_in_the_middle(unrender, fitted, tmp_path):
    options = ("--path", "sweep", "--view", "photo_3.jpg", "--frames", 3, "--stops", -1, 1)
    assert unrender("render", fitted[0], "-o", tmp_path, *options).status == 0
    model = Run.open(fitted[0]).load_model()
    image = (model.image(model.cameras.select([3]))[0] * 255).round().byte().permute(1, 2, 0)
    assert torch.equal(read_photo(tmp_path / "photo_3_0001_ev+0.00.png"), image)


def test_a_sweep_renders_its_view_once(unrender, fitted, tmp_path, monkeypatch):
    from unrender.render.model import Model

    seen, whole = [], Model.radiance
    monkeypatch.setattr(Model, "radiance", lambda self, cameras: seen.append(len(cameras)) or whole(self, cameras))
    for operator in ("sensor", "filmic"):
        seen.clear()
        options = ("--path", "sweep", "--view", "photo_0", "--tonemap", operator)
        assert unrender("render", fitted[0], "-o", tmp_path / operator, *options).status == 0
        assert seen == [1]
        shown = [float(picture(path).mean()) for path in sorted((tmp_path / operator).glob("*.png"))]
        assert len(shown) == 7
        assert shown == sorted(shown, reverse=True)


def test_a_stopped_sweep_goes_on(unrender, fitted, tmp_path):
    options = ("--path", "sweep", "--frames", 4)
    assert unrender("render", fitted[0], "-o", tmp_path, *options).status == 0
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.png")}
    (tmp_path / sorted(before)[2]).unlink()
    said = unrender("render", fitted[0], "-o", tmp_path, *options, "--resume")
    assert "3 of them kept" in said.out
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.png")} == before
    other = unrender("render", fitted[0], "-o", tmp_path, *options, "--stops", -1, 1, "--resume")
    assert (other.status, "another stops" in other.err) == (2, True)


@pytest.mark.parametrize("policy", ["mean", "neighbours", "predicted"])
@pytest.mark.parametrize("path", ["test", "orbit"])
def test_a_view_is_exposed_as_asked_and_that_is_said(unrender, fitted, tmp_path, policy, path):
    options = ("--path", path, "--exposure", policy, "--width", 32, *(("--frames", 2) if path == "orbit" else ()))
    said = unrender("render", fitted[0], "-o", tmp_path, *options)
    assert said.status == 0
    assert f"exposure: {policy} (training photos left out are off by, in stops: mean " in said.err


def test_photos_with_exif_are_exposed_by_it_and_nothing_is_metered(unrender, fitted, tmp_path):
    assert "exposure:" not in unrender("render", fitted[0], "-o", tmp_path / "usual").err
    assert unrender("render", fitted[0], "-o", tmp_path / "exif", "--exposure", "exif").status == 0
    for name in ("photo_0.png", "photo_8.png"):
        assert (tmp_path / "usual" / name).read_bytes() == (tmp_path / "exif" / name).read_bytes()


def test_held_out_photos_without_exif_get_what_foretells_best(unrender, without_exif, tmp_path):
    said = unrender("render", without_exif, "-o", tmp_path / "usual")
    assert "exposure: " in said.err
    chosen = said.err.split("exposure: ")[1].split()[0]
    assert unrender("render", without_exif, "-o", tmp_path / "asked", "--exposure", chosen).status == 0
    assert (tmp_path / "usual" / "photo_0.png").read_bytes() == (tmp_path / "asked" / "photo_0.png").read_bytes()


@pytest.mark.parametrize("more", [("--tonemap", "filmic"), ("--exr",), ("--ev", 1)])
def test_nothing_is_metered_where_it_would_not_show(unrender, fitted, tmp_path, more):
    said = unrender("render", fitted[0], "-o", tmp_path, *FLIGHT, *more)
    assert (said.status, "metering" in said.err) == (0, False)


def test_an_exr_says_the_exposure_that_was_asked_for(unrender, fitted, tmp_path):
    said = unrender("render", fitted[0], "-o", tmp_path, *FLIGHT, "--exr", "--exposure", "predicted")
    assert said.status == 0
    headers = [read_exr_metadata(path) for path in sorted(tmp_path.glob("*.exr"))]
    assert len({round(header["unrender.stops"], 4) for header in headers}) > 1


def test_eval_under_all_policies(unrender, fitted, tmp_path):
    run = shutil.copytree(fitted[0], tmp_path / "run")
    usual = json.loads((run / "eval.json").read_text())
    said = unrender("eval", run, "--policies", "all")
    assert said.status == 0
    table = json.loads((run / "eval.json").read_text())
    for name in ("exif", "neighbours", "predicted", "ignored"):
        assert set(table["policies"][name]) == {"psnr", "ssim", "flip", "ev_error"}
        assert table["policies"][name]["ev_error"] >= 0
        assert name in said.out
    assert table["policies"]["taken"] in ("mean", "neighbours", "predicted")
    assert {key: table["policies"]["exif"][key] for key in ("psnr", "ssim", "flip")} == table["test"]
    assert {key: value for key, value in table.items() if key not in ("policies", "definition")} == {
        key: value for key, value in usual.items() if key != "definition"
    }
    assert "EV off" not in unrender("eval", run).out


REFUSED = {
    "an unknown view": (("--path", "sweep", "--view", "photo_44"), "--view: no photo of this name in the run"),
    "a view without a sweep": (("--view", "photo_0"), "--view: only a sweep has this"),
    "stops without a sweep": (("--stops", -1, 1), "--stops: only a sweep has this"),
    "stops of no number": (("--path", "sweep", "--stops", "nan", 1), "--stops: exposures"),
    "stops without end": (("--path", "sweep", "--stops", -3, "inf"), "--stops: exposures"),
    "a sweep of radiance": (("--path", "sweep", "--exr"), "--exr: radiance is the same at any exposure"),
    "a sweep of nothing": (("--path", "sweep", "--frames", 0), "--frames: number of pictures"),
    "a flight by EXIF": (("--path", "orbit", "--exposure", "exif"), "--exposure: a flight passes no photo"),
    "a fit to what was held out": (("--exposure", "fitted"), "--exposure: nothing is fitted to held-out photos"),
    "exposed twice": (("--exposure", "mean", "--ev", 1), "--ev: exposed twice"),
    "an EV out of this world": (("--ev", 2000), "--ev: exposure"),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_refusal(unrender, fitted, tmp_path, options, message):
    said = unrender("render", fitted[0], "-o", tmp_path / "out", *options)
    assert (said.status, said.out, said.err.count("\n")) == (2, "", 1)
    assert message in said.err
    assert not (tmp_path / "out").exists()
