"""Whether refinement brings cameras home: the paper's ablation, each family alone and together, and real photos.

    python benchmarks/refinement.py ablation          # poses disturbed, all else as fitted; variants of the derivative
    python benchmarks/refinement.py recover           # focal length, distortion, centre, exposure, poses, all at once
    python benchmarks/refinement.py joint             # appearance and poses from disturbed poses on, nothing known
    python benchmarks/refinement.py joint --lens fisheye    # the same through a fisheye of 190 degrees, or a panorama
    python benchmarks/refinement.py plush PLUSH       # real photos, training poses disturbed

The first two start from a room that was fitted with the true cameras, as the paper's did: then 30 poses are disturbed,
by 1 degree and 0.0015 of the room's diagonal (15 mm in a scene of ten metres), standard deviations per axis. Error of a
camera: mean distance in its image between where the points of the scan are and where it sees them. Tables go to stdout.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from unrender.cameras.camera import Cameras
from unrender.datasets.capture import Capture
from unrender.datasets.read_capture import read_capture
from unrender.datasets.synthetic.capture import RoomSettings, make_room_capture
from unrender.datasets.synthetic.scanner import DIAGONAL
from unrender.fit.checkpoint import model_from_tensors, model_metadata, model_tensors, points_of
from unrender.fit.evaluate import evaluate
from unrender.fit.fit import Fit, measured, start_model
from unrender.fit.refine.gauge import nearest_similarity
from unrender.fit.refine.pictures import reprojection_picture
from unrender.fit.refine.settings import RefineSettings, named_families
from unrender.fit.settings import CropSettings, FitSettings
from unrender.images.io import write_png
from unrender.initialize.points import PointSettings
from unrender.messages import Evaluated, Scores, Stepped
from unrender.render.model import Model

ROOM = RoomSettings(views=35, width=192, height=144, keep_views=False)
TEST_EVERY = 7  # leaves 30 that train
VARIANTS = {
    "ghosts, four cases, together (ours)": {"spatial": "ghosts", "moves": "together"},
    "the same, all layers from the start": {"spatial": "ghosts", "moves": "together", "coarse": 0.0},
    "ghosts, four cases as printed": {"spatial": "ghosts", "moves": "alone"},
    "ghosts, always replace": {"spatial": "ghosts", "moves": "replace"},
    "no ghosts, together": {"spatial": "rendered", "moves": "together"},
}
COARSE = 0.25
"""Share of the refinement during which the fine layers' derivatives fade in, where a variant does not say."""
ALIGNED = 0.5


def photographed_room(folder: Path, lens: str = "phone") -> Capture:
    """The room, photographed where it is not yet."""
    room = folder / ("room" if lens == "phone" else lens)
    if not (room / "truth.safetensors").exists():
        for _ in make_room_capture(room, replace(ROOM, lens=lens)):
            pass
    return read_capture(room, test_every=TEST_EVERY)


def fitted_room(folder: Path, steps: int) -> tuple[Capture, Path]:
    """The room, and a file of the model that was fitted to it with the true cameras."""
    capture, model = photographed_room(folder), folder / "fitted.pt"
    if not model.exists():
        settings = measured(FitSettings(steps=steps), capture)
        fit = Fit(start_model(capture, settings)[0], capture, settings)
        for _ in fit.run():
            pass
        torch.save((model_tensors(fit.model), model_metadata(fit.model), settings.network.precision), model)
    return capture, model


def load(model: Path, settings: FitSettings) -> tuple[Model, FitSettings]:
    """A copy of the fitted model, and the settings with the precision that it was fitted with."""
    tensors, metadata, precision = torch.load(model)
    settings = replace(settings, network=replace(settings.network, precision=precision))
    return model_from_tensors({name: t.clone() for name, t in tensors.items()}, metadata, settings), settings


def distances(true: Cameras, other: Cameras, capture: Capture) -> list[float]:
    """Error of each training camera [pixels]."""
    points = capture.points.positions[::20].double()
    found = []
    for view in capture.train:
        here, there = true.project(view, points), other.project(view, points)
        extent = points.new_tensor(list(reversed(true.size_of(view))))
        seen = here.inside & there.inside & (here.pixels >= 0).all(dim=1) & (here.pixels < extent).all(dim=1)
        found.append(float((here.pixels - there.pixels)[seen].norm(dim=1).mean()))
    return found


def pose_noise(views: int, seed: int, degrees: float = 1.0, share: float = 0.0015) -> torch.Tensor:
    """Increments [V, 6]."""
    chance = torch.Generator().manual_seed(seed)
    noise = torch.randn(views, 6, generator=chance, dtype=torch.float64)
    return noise * torch.tensor([share * DIAGONAL] * 3 + [math.radians(degrees)] * 3)


def disturbed(model: Model, capture: Capture, what: str, seed: int) -> Model:
    """The model with wrong numbers in one family, or in all."""
    cameras, chance = model.cameras, torch.Generator().manual_seed(1000 + seed)
    sign = 1.0 if seed % 2 else -1.0
    if what in ("poses", "all"):
        noise = pose_noise(len(cameras), seed)
        noise[list(capture.test)] = 0
        cameras = cameras.moved(noise)
    lens = cameras.lenses[0]
    params, names = lens.params.clone(), lens.parameter_names
    for name, place in ((name, names.index(name)) for name in names):
        if what in ("focal", "all") and name.startswith("f"):
            params[place] *= 1 + 0.02 * sign
        if what in ("k1", "all") and name == "k1":
            params[place] += 0.02 * sign
        if what in ("centre", "all") and name in ("cx", "cy"):
            params[place] += 0.01 * sign * (lens.width if name == "cx" else lens.height)
    cameras = cameras.with_lenses([params])
    if what in ("exposure", "all"):
        wrong = 4 * torch.rand(len(cameras), generator=chance) - 2
        wrong -= wrong.mean()  # the mean is a gauge, held where it starts
        cameras = replace(cameras, sensor=replace(cameras.sensor, exposure=cameras.sensor.exposure + wrong))
    return replace(model, cameras=cameras)


def refined(model: Model, capture: Capture, settings: FitSettings) -> tuple[Model, list[float]]:
    """The model after a fit of its cameras alone, and the losses on the way."""
    fit = Fit(model, replace(capture, cameras=model.cameras), settings)
    if fit.refinement is not None:
        fit.refinement.judged = 2  # nothing is taken back: the derivative alone is looked at
    losses = [message.loss for message in fit.run() if isinstance(message, Stepped)]
    return fit.model, losses


def only(families: tuple[str, ...], steps: int, **variant: object) -> FitSettings:
    """Settings of a fit in which nothing but these families moves."""
    rates = {"cameras.poses": 1.0, "cameras.lens": 0.2, "cameras.exposure": 0.05}
    given = {"poses": 0.0, "lens": 0.0, "points": 0.0, "coarse": COARSE} | variant
    refine = RefineSettings(what=families, kept_back=0.0, judged=1.0, settled=1.0, **given)  # pyright: ignore[reportArgumentType]
    return FitSettings(steps=steps, rates=rates, unlock=0.0, refine=refine, crop=CropSettings(zoom=(1.0, 1.0)))


class Ablated(NamedTuple):
    """One variant and seed: errors after [px], mean error before, loss at the end, seconds."""

    variant: str
    errors: list[float]
    before: float
    loss: float
    seconds: float


def ablate(job: tuple[str, int, Path, int]) -> Ablated:
    """The training poses disturbed and refined."""
    name, seed, folder, steps = job
    torch.set_num_threads(1)
    capture, file = fitted_room(folder, 0)
    variant = VARIANTS[name]
    settings = only(("poses",), steps, **variant)
    settings = replace(settings, ghosts=0.0 if variant["spatial"] == "rendered" else 0.25)
    model, settings = load(file, settings)
    true, began = model.cameras, time.perf_counter()
    start = disturbed(model, capture, "poses", seed)
    before = statistics.mean(distances(true, start.cameras, capture))
    end, losses = refined(start, capture, settings)
    seconds = time.perf_counter() - began
    return Ablated(name, distances(true, end.cameras, capture), before, statistics.mean(losses[-60:]), seconds)


def ablation(folder: Path, steps: int, seeds: int, jobs: int) -> None:
    """The paper's table."""
    fitted_room(folder, 2000)
    work = [(name, seed, folder, steps) for name in VARIANTS for seed in range(seeds)]
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        rows = pool.map(ablate, work, chunksize=1)
    header("derivative", "aligned, each seed", "median error [px]", "worst [px]", "loss", "seconds a seed")
    for name in VARIANTS:
        mine = [row for row in rows if row.variant == name]
        aligned = ", ".join(f"{sum(e < ALIGNED for e in row.errors) / len(row.errors):.0%}" for row in mine)
        every = [error for row in mine for error in row.errors]
        loss, seconds = statistics.mean(row.loss for row in mine), statistics.mean(row.seconds for row in mine)
        numbers = f"{statistics.median(every):.3f} | {max(every):.2f} | {loss:.4f} | {seconds:.0f}"
        print(f"| {name} | {aligned} | {numbers} |")
    print(f"\nbefore: {statistics.mean(row.before for row in rows):.2f} px in the mean")


def header(*columns: str) -> None:
    """The head of a table."""
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)


def recover_one(job: tuple[str, int, Path, int]) -> tuple[str, dict[str, float], dict[str, float]]:
    """One family disturbed and refined: errors before and after."""
    what, seed, folder, steps = job
    torch.set_num_threads(1)
    capture, file = fitted_room(folder, 0)
    known = {"poses": ("poses",), "exposure": ("exposure",), "all": ("poses", "lens", "exposure")}
    model, settings = load(file, only(known.get(what, ("lens",)), steps))
    start = disturbed(model, capture, what, seed)
    before = _errors(model, start, capture)
    end, _ = refined(start, capture, settings)
    true, _ = load(file, settings)
    return what, before, _errors(true, end, capture)


def _errors(true: Model, other: Model, capture: Capture) -> dict[str, float]:
    """Of focal length [%], k1, centre [% of the width], EV [stops, median], image [px, median]."""
    theirs, ours = (_lens_numbers(model) for model in (true, other))
    focal = next(name for name in ours if name.startswith("f"))
    ev = (other.cameras.sensor.exposure - true.cameras.sensor.exposure)[list(capture.train)]
    return {
        "focal [%]": 100 * abs(ours[focal] / theirs[focal] - 1),
        "k1": abs(ours.get("k1", 0.0) - theirs.get("k1", 0.0)),
        "centre [% of width]": 100 * abs(ours["cx"] - theirs["cx"]) / true.cameras.lenses[0].width,
        "EV [stops]": float((ev - ev.median()).abs().median()),
        "image [px]": statistics.median(distances(true.cameras, other.cameras, capture)),
    }


def _lens_numbers(model: Model) -> dict[str, float]:
    lens = model.cameras.lenses[0]
    return dict(zip(lens.parameter_names, lens.params.tolist(), strict=True))


def recover(folder: Path, steps: int, seeds: int, jobs: int) -> None:
    """What is left of each disturbance."""
    fitted_room(folder, 2000)
    kinds = ("focal", "k1", "centre", "exposure", "poses", "all")
    work = [(kind, seed, folder, steps) for kind in kinds for seed in range(seeds)]
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        rows = pool.map(recover_one, work, chunksize=1)
    header("disturbed", *rows[0][1])
    for kind in kinds:
        mine = [(before, after) for what, before, after in rows if what == kind]
        cells = []
        for name in rows[0][1]:
            before, after = (statistics.mean(row[place][name] for row in mine) for place in (0, 1))
            cells.append(f"{before:.3f} -> {after:.3f}")
        print(f"| {kind} | {' | '.join(cells)} |")


def joint(folder: Path, steps: int, seeds: int, jobs: int, lens: str = "phone") -> None:
    """Everything at once, against the scan: appearance is learnt while poses are refined, as `unrender align` does."""
    photographed_room(folder, lens)
    kinds = ("photometry", "photometry,poses")
    work = [(what, seed, folder, steps, lens) for what in kinds for seed in range(seeds)]
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        rows = pool.map(join_one, work, chunksize=1)
    header("refined", "median error [px]", "after one similarity", "worst [px]")
    for kind in kinds:
        mine = [(errors, again) for what, errors, again in rows if what == kind]
        median, similar = (statistics.mean(statistics.median(row[place]) for row in mine) for place in (0, 1))
        print(f"| {kind} | {median:.2f} | {similar:.2f} | {max(max(errors) for errors, _ in mine):.2f} |")


def join_one(job: tuple[str, int, Path, int, str]) -> tuple[str, list[float], list[float]]:
    """One fit from disturbed poses: errors, and errors after the similarity that explains most of them.

    Leaves a picture of photos carried over the scan, before and after.
    """
    what, seed, folder, steps, lens = job
    torch.set_num_threads(1)
    capture = photographed_room(folder, lens)
    true = capture.cameras
    noise = pose_noise(len(capture), seed, degrees=0.5, share=0.002)
    noise[list(capture.test)] = 0
    wrong = replace(capture, cameras=true.moved(noise))
    refine, points = RefineSettings(what=named_families(what)), PointSettings(count=1, stereo=False)
    settings = measured(FitSettings(steps=steps, seed=seed, refine=refine, points=points), capture)
    fit = Fit(start_model(wrong, settings)[0], wrong, settings)
    for _ in fit.run():
        pass
    cameras, train = fit.model.cameras, list(capture.train)
    depth = torch.full((len(train),), DIAGONAL / 3, dtype=torch.float64)
    back = nearest_similarity(cameras.camera_from_world[train], true.camera_from_world[train], depth)
    poses = cameras.camera_from_world.clone()
    poses[train] = back.of_poses(poses[train])
    again = replace(cameras, camera_from_world=poses)
    write_png(folder / f"{lens}_{what.replace(',', '_')}_{seed}.png", reprojection_picture(wrong, fit.model)[0])
    return what, distances(true, cameras, capture), distances(true, again, capture)


def plush(path: Path, width: int, steps: int, device: str) -> None:
    """Held-out scores with true and disturbed training poses, refined or not; test poses are the input's."""
    capture = read_capture(path).at_width(width)
    size = float((capture.cameras.centers.amax(0) - capture.cameras.centers.amin(0)).norm())
    noise = pose_noise(len(capture), 0, degrees=0.5, share=0.0)
    noise[:, :3] = (
        0.005 * size * torch.randn(len(capture), 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    )
    noise[list(capture.test)] = 0
    wrong = replace(capture, cameras=capture.cameras.moved(noise))
    header("training poses", "refined", "PSNR [dB]", "SSIM", "FLIP", "pose error [px, median]")
    for name, given in (("as given", capture), ("disturbed", wrong)):
        for what in ("photometry", "photometry,poses", "photometry,poses,points"):
            settings = FitSettings(steps=steps, refine=RefineSettings(what=named_families(what)))
            settings = measured(settings, given, device)
            fit = Fit(start_model(given, settings)[0].to(device), given, settings)
            for _ in fit.run():
                pass
            model = _in_the_inputs_frame(fit.model.to("cpu"), given, capture)
            scores = _scores(model, capture)
            error = statistics.median(distances(capture.cameras, model.cameras, capture))
            row = f"{scores.psnr:.2f} | {scores.ssim:.3f} | {scores.flip:.3f} | {error:.2f}"
            print(f"| {name} | {what} | {row} |", flush=True)


def _in_the_inputs_frame(model: Model, given: Capture, capture: Capture) -> Model:
    """The model after the similarity that brings its training cameras nearest to the true ones; test poses stay."""
    cameras, scene, train = model.cameras, points_of(model), list(given.train)
    depth = scene.position.norm(dim=1).median().double().expand(len(train))
    back = nearest_similarity(cameras.camera_from_world[train], capture.cameras.camera_from_world[train], depth)
    poses = capture.cameras.camera_from_world.clone()
    poses[train] = back.of_poses(cameras.camera_from_world[train])
    world, turn = back.of_points(scene.position.double() + scene.origin), back.rotation.T.float()
    position, normal = (world - scene.origin).float(), scene.normal @ turn
    scene = replace(scene, position=position, normal=normal, radius=scene.radius * back.scale)
    return replace(model, cameras=replace(cameras, camera_from_world=poses), scene=scene)


def _scores(model: Model, capture: Capture) -> Scores:
    """Of the held-out photos, exposure from EXIF."""
    said = [message for message in evaluate(model, capture) if isinstance(message, Evaluated)]
    rows = [message.scores for message in said if message.policy == "exif"]
    return Scores(*(statistics.mean(getattr(row, name) for row in rows) for name in ("psnr", "ssim", "flip")))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["ablation", "recover", "joint", "plush"])
    parser.add_argument("capture", type=Path, nargs="?")
    parser.add_argument("--folder", type=Path, default=Path("build/refinement"))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--width", type=int, default=224)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--lens", default="phone")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.what == "plush":
        plush(asked.capture, asked.width, asked.steps, asked.device)
    else:
        more = {"lens": asked.lens} if asked.what == "joint" else {}
        table = {"ablation": ablation, "recover": recover, "joint": joint}[asked.what]
        table(asked.folder, asked.steps, asked.seeds, asked.jobs, **more)


if __name__ == "__main__":
    main()
