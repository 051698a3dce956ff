"""The memory that a fit says it needs: laws of the prediction, refusals that help, limits of the system."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from unrender.cameras.lens import make_lens
from unrender.datasets.capture import Capture
from unrender.datasets.read_capture import read_capture
from unrender.errors import RunError
from unrender.fit.fit import Fit, start_model
from unrender.fit.memory import (
    PHASES,
    _cgroup_room,
    available_memory,
    memory_note,
    predict_memory,
    refuse_if_too_large,
)
from unrender.fit.refine.settings import RefineSettings
from unrender.fit.settings import CropSettings, FitSettings
from unrender.initialize.points import PointSettings
from unrender.losses import LossSettings
from unrender.render.shade.network import NetworkShader
from unrender.render.shade.settings import DecoderSettings, UNetSettings
from unrender.scenes.points import PointScene

GiB = 2**30


@pytest.fixture(scope="module")
def capture(tiny_capture: Path) -> Capture:
    return read_capture(tiny_capture)


@pytest.fixture(scope="module")
def large(capture: Capture) -> Capture:
    """The same views as if photographed with 4000 x 3000 pixels (no photo is opened here)."""
    lens = make_lens("PINHOLE", 4000, 3000, [3100.0, 3100.0, 2000.0, 1500.0])
    sizes = capture.cameras.sizes.new_tensor([3000, 4000]).expand(len(capture), 2)
    return replace(capture, cameras=replace(capture.cameras, lenses=(lens,), sizes=sizes))


def settings(**changes: object) -> FitSettings:
    return replace(FitSettings(), **changes)


@pytest.mark.parametrize("width", [200, 800, 3200])
def test_a_wider_photo_needs_more_in_every_phase(large: Capture, width: int):
    narrow, wide = (predict_memory(large.at_width(w), settings()).phases for w in (width, width + width // 4))
    # The map of the stereo sweep shrinks by whole octaves, so that starting alone may fall by less than its volumes.
    assert all(wide[phase] >= narrow[phase] for phase in ("scoring", "fitting", "saving"))
    assert wide["scoring"] > narrow["scoring"]


@pytest.mark.parametrize(
    ("more", "phase"),
    [
        ({"points": PointSettings(count=400_000)}, "starting"),
        ({"points": PointSettings(count=400_000)}, "fitting"),
        ({"points": PointSettings(count=400_000)}, "saving"),
        ({"points": PointSettings(count=400_000)}, "scoring"),
        ({"crop": CropSettings(size=300)}, "fitting"),
        ({"crop": CropSettings(batch=2)}, "fitting"),
        ({"network": UNetSettings()}, "fitting"),
        ({"network": DecoderSettings(width=48)}, "fitting"),
        ({"network": DecoderSettings(width=48)}, "scoring"),
        ({"loss": LossSettings(vgg=1.0, vgg_weights=__file__)}, "fitting"),
        ({"points": PointSettings(environment_height=4096)}, "fitting"),
        ({"refine": RefineSettings(what=("points",))}, "fitting"),
        ({"refine": RefineSettings(what=("points",))}, "saving"),
    ],
)
def test_what_is_larger_needs_more(large: Capture, more: dict, phase: str):
    assert predict_memory(large, settings(**more)).phases[phase] > predict_memory(large, settings()).phases[phase]


def test_photos_are_kept_up_to_the_budget(large: Capture):
    kept = predict_memory(large, settings(photo_memory=10_000)).photos
    assert kept == 9 * 4000 * 3000 * 3
    assert predict_memory(large, settings(photo_memory=50)).photos == 50 * 2**20


def test_a_large_file_is_decoded_whole_however_small_it_is_worked_with(large: Capture):
    """And deeper pixels and masks take more."""
    tiny = large.at_width(100)
    need = predict_memory(tiny, settings(points=PointSettings(stereo=False)))
    assert need.decoding == 4000 * 3000 * 16
    assert need.phases["scoring"] - predict_memory(tiny, settings()).program > need.decoding > need.scoring
    deep, masked = (
        replace(tiny, deep=(4,)),
        replace(tiny, deep=(4,), alpha=("ignore",) * 4 + ("mask",) + ("ignore",) * 4),
    )
    assert predict_memory(deep, settings()).decoding == 4000 * 3000 * 40
    assert predict_memory(masked, settings()).decoding == 4000 * 3000 * 50


def test_without_stereo_there_are_no_cost_volumes(large: Capture):
    points = PointSettings(stereo=False)
    assert predict_memory(large, settings(points=points)).starting < predict_memory(large, settings()).starting


def test_crops_no_larger_than_the_photos_count(capture: Capture):
    assert predict_memory(capture, settings(crop=CropSettings(size=4096))) == predict_memory(
        capture, settings(crop=CropSettings(size=64))
    )


@pytest.mark.parametrize("network", [DecoderSettings(levels=2, width=8), UNetSettings(widths=(6, 12))])
def test_counted_tensors_are_those_of_the_fit(capture: Capture, network: DecoderSettings | UNetSettings):
    """Model and moments are not estimated but counted: at most what stereo might have added is too much."""
    chosen = settings(
        network=replace(network, precision="float32"), points=PointSettings(count=2000, stereo=False), steps=1
    )
    fit = Fit(start_model(capture, chosen)[0], capture, chosen)
    for _ in fit.run():
        pass
    moments = sum(tensor.nbytes for name, tensor in fit.state().items() if name.startswith("optimizer.exp"))
    weights = sum(p.raw.nbytes for p in NetworkShader(network).parameters())
    scene = fit.model.scene
    assert isinstance(scene, PointScene)
    held = (scene.position, scene.normal, scene.radius, scene.threshold, scene.descriptors, scene.environment)
    need = predict_memory(capture, chosen)
    assert need.model == pytest.approx(sum(tensor.nbytes for tensor in held) + weights, rel=0.03)
    assert need.moments == pytest.approx(moments, rel=0.03)


def test_peak_and_text_tell_of_the_largest_phase(large: Capture):
    need = predict_memory(large, settings())
    assert need.peak == max(need.phases.values()) == need.of(PHASES)[0]
    assert need.text().startswith(f"needs about {need.peak / GiB:.1f} GiB (starting ")
    assert need.text(["scoring"]) == f"needs about {need.phases['scoring'] / GiB:.1f} GiB"


def suggested(line: str, large: Capture, chosen: FitSettings) -> tuple[Capture, FitSettings]:
    """The case that a refusal advises, read from its words."""
    advice = line.split("; ", 1)[1]
    found = {name: int(value) for name, value in re.findall(r"([a-z_.]+)(?: = | )(\d+)(?= and| would)", advice)}
    assert found, line
    for name, value in found.items():
        if name == "width":
            large = large.at_width(value)
        elif "." in name:
            table, key = name.split(".")
            chosen = replace(chosen, **{table: replace(getattr(chosen, table), **{key: value})})
        else:
            chosen = replace(chosen, **{name: value})
    return large, chosen


@pytest.mark.parametrize(
    ("chosen", "phases", "available", "named"),
    [
        (settings(), ["scoring"], 4 * GiB, "--width"),
        (settings(crop=CropSettings(size=2048, batch=8)), ["fitting"], 6 * GiB, "crop."),
        (settings(points=PointSettings(count=50_000_000)), ["starting", "fitting"], 12 * GiB, "points.count"),
        (settings(photo_memory=300), ["fitting"], 0.8 * GiB, "photo_memory"),
        (settings(points=PointSettings(count=5_000_000)), PHASES, 2 * GiB, "--width"),
    ],
)
def test_a_refusal_names_settings_that_fit(
    large: Capture, chosen: FitSettings, phases: list[str], available: float, named: str
):
    with pytest.raises(RunError) as refused:
        refuse_if_too_large(large, chosen, int(available), phases)
    line = str(refused.value)
    assert "\n" not in line
    assert named in line
    assert predict_memory(*suggested(line, large, chosen)).of(phases)[0] <= available


def test_where_nothing_helps_it_says_so(large: Capture):
    with pytest.raises(RunError, match="no setting mends that"):
        refuse_if_too_large(large, settings(), 100 * 2**20)


def test_what_fits_is_not_refused(capture: Capture):
    need = predict_memory(capture, settings())
    refuse_if_too_large(capture, settings(), need.peak)
    with pytest.raises(RunError):
        refuse_if_too_large(capture, settings(), need.peak - 1)


def test_the_note_says_what_is_needed_and_free(capture: Capture):
    assert re.fullmatch(
        r"needs about [\d.]+ GiB \(.*scoring [\d.]+\); [\d.]+ GiB are free", memory_note(capture, settings(), 2**34)
    )


def test_available_is_between_what_we_hold_and_what_the_machine_has():
    held, whole = psutil.Process().memory_info().rss, psutil.virtual_memory().total
    assert held <= available_memory() <= whole + held


def make_group(folder: Path, limit: str, used: int, cache: int, names: tuple[str, str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {cache}\n")


def test_control_groups_of_version_2_and_their_parents_count(tmp_path: Path):
    names = ("memory.max", "memory.current", "inactive_file")
    make_group(tmp_path / "a" / "b", "max", 50, 0, names)
    make_group(tmp_path / "a", "1000", 400, 30, names)
    (tmp_path / "cgroup").write_text("0::/a/b\n")
    assert list(_cgroup_room(tmp_path / "cgroup", tmp_path)) == [630]


def test_control_groups_of_version_1_count(tmp_path: Path):
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    make_group(tmp_path / "memory" / "c", "1000", 400, 0, names)
    make_group(tmp_path / "memory", "5000", 900, 100, names)
    (tmp_path / "cgroup").write_text("3:cpu:/c\n2:memory:/c\n")
    assert list(_cgroup_room(tmp_path / "cgroup", tmp_path)) == [600, 4200]


def test_without_control_groups_there_is_no_limit(tmp_path: Path):
    assert list(_cgroup_room(tmp_path / "absent", tmp_path)) == []
