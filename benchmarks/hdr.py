"""How wide a scene may be, how right exposures, response and radiance come back, and what each part of the sensor pays.

    python benchmarks/hdr.py truth --stops 4 8 12 --seeds 5          # the room, from a sunlit end into a cellar
    python benchmarks/hdr.py truth --stops 8 --seeds 5 --steps 0     # what the start alone finds, before any step
    python benchmarks/hdr.py starts --stops 4                        # ten fits whose start is disturbed
    python benchmarks/hdr.py ablation                                # parts of the sensor one by one, the room
    python benchmarks/hdr.py ablation PLUSH                          # the same, real photos
    python benchmarks/hdr.py exposure PLUSH                          # exposure from EXIF, fitted, ignored
    python benchmarks/hdr.py picture docs/images/wide_room.jpg       # a held-out view at several exposures

Every photo of the room is exposed by an automatic that meters it, stored in eight bits, and says its EV in thirds of a
stop.
Errors are what is left after what photos cannot tell: the mean EV, the mean tint, the scale at which a response is
read, the scale of radiance per channel. The contrast is not among them: EXIF says it. Tables go to stdout.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn.functional import avg_pool2d

from unrender.cameras.sensor import Sensor
from unrender.cli.demo_errors import aligned_response, exposure_errors
from unrender.datasets.capture import Capture
from unrender.datasets.read_capture import read_capture
from unrender.datasets.synthetic.capture import RoomSettings, Truth, load_truth, make_room_capture
from unrender.fit.evaluate import evaluate, exif_cameras, fit_exposure
from unrender.fit.fit import Fit, start_model
from unrender.fit.refine.settings import RefineSettings
from unrender.fit.settings import FitSettings
from unrender.images.panels import labelled_row
from unrender.initialize.points import PointSettings
from unrender.losses import LossSettings
from unrender.messages import Evaluated, Scores, Stepped
from unrender.render.model import Model
from unrender.render.shade.network import DecoderSettings

ROOM = RoomSettings(views=35, width=192, height=144, ev_spread=None)
LIGHT = {4: 0.0, 8: 6.0, 12: 10.5}
"""Falling off of light [stops] that makes an automatic's exposures about so many stops apart."""
TEST_EVERY = 7  # leaves 30 that train
WELL = 0.05, 0.95
"""Recorded values between which a photo exposed a pixel well."""
BLOCK = 8
LOGARITHMS = {"auto": None, "yes": True, "no": False}
SENSORS: dict[str, tuple[str, ...]] = {
    "none (all at the mean EV)": (),
    "exposure": ("exposure",),
    "+ white balance": ("exposure", "white_point"),
    "+ vignette": ("exposure", "white_point", "vignette"),
    "+ response": ("exposure", "white_point", "vignette", "response"),
    "+ start from points": ("exposure", "white_point", "vignette", "response"),
}


def room(folder: Path, stops: int, seed: int) -> tuple[Capture, Truth]:
    """The room with so wide a light, photographed where it is not yet."""
    place = folder / f"room_{stops}_{seed}"
    if not (place / "truth.safetensors").exists():
        for _ in make_room_capture(place, replace(ROOM, light_stops=LIGHT[stops], seed=seed)):
            pass
    return read_capture(place, test_every=TEST_EVERY), load_truth(place)


def true_radiance(capture: Capture, view: int) -> torch.Tensor:
    """[3, H, W]."""
    name = Path(capture.names[view]).stem
    return load_file(Path(capture.root) / "truth" / f"{name}.safetensors")["radiance"]


def errors(model: Model, capture: Capture, truth: Truth) -> dict[str, float]:
    """All errors of a model's sensor and radiance over the training views."""
    sensor, views = model.cameras.sensor, list(capture.train)
    ev = exposure_errors(sensor.exposure.detach(), truth.cameras.sensor.exposure, views).abs()
    exif = exposure_errors(capture.cameras.sensor.exposure, truth.cameras.sensor.exposure, views).abs()
    white = (sensor.white_point.detach() - truth.cameras.sensor.white_point)[views]
    _, wanted, curves = aligned_response(sensor, truth.cameras.sensor)
    read, drawn, blocks = radiance_errors(model, capture)
    return {
        "EXIF's EV [stops]": float(exif.median()),
        "EV [stops]": float(ev.median()),
        "worst EV": float(ev.max()),
        "response": float((curves - wanted).abs().max()),
        "white point [stops]": float((white - white.mean(0)).abs().median()),
        "vignette": float((fall_off(model.cameras.sensor, truth) - fall_off(truth.cameras.sensor, truth)).abs().max()),
        "radiance read [%]": 100 * read,
        "radiance drawn [%]": 100 * drawn,
        "drawn, 8 x 8 means [%]": 100 * blocks,
    }


def fall_off(sensor: Sensor, truth: Truth) -> torch.Tensor:
    """Share of light that arrives over the photo [1, H, W], 1 in its middle."""
    place = truth.cameras.select([0])
    share = sensor._vignetting(place.sensor_coordinates(), place.camera_index)[0].detach()
    return share / share.max()


@torch.no_grad()
def radiance_errors(model: Model, capture: Capture) -> tuple[float, float, float]:
    """Median relative error of radiance where the photo exposed it well: as the fitted sensor reads it from the photos,
    as the model draws it, and that of means over blocks of 8 x 8 pixels, where detail that is blurred or moved does
    not count. One scale per channel, for all views together, is a gauge.
    """
    read, drawn, blocks = [], [], []
    for view in capture.train[::3]:
        cameras, photo, true = model.cameras.select([view]), capture.image(view), true_radiance(capture, view)
        well = ((photo > WELL[0]) & (photo < WELL[1])).all(dim=0)
        ours = model.radiance(cameras)[0]
        read.append(_log_ratio(cameras.radiance(photo[None])[0], true)[:, well])
        drawn.append(_log_ratio(ours, true)[:, well])
        inside = avg_pool2d(well[None].float(), BLOCK)[0] == 1
        blocks.append(_log_ratio(avg_pool2d(ours, BLOCK), avg_pool2d(true, BLOCK))[:, inside])
    return _off(read), _off(drawn), _off(blocks)


def _log_ratio(radiance: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    return (radiance.clamp(min=1e-12) / true.clamp(min=1e-12)).log()


def _off(ratios: list[torch.Tensor]) -> float:
    every = torch.cat(ratios, dim=1)
    return math.expm1(float((every - every.median(dim=1, keepdim=True).values).abs().median()))


def fitted(model: Model, capture: Capture, settings: FitSettings) -> tuple[Model, list[float]]:
    """The model after a fit, and the losses on the way."""
    fit = Fit(model, replace(capture, cameras=model.cameras), settings)
    losses = [message.loss for message in fit.run() if isinstance(message, Stepped)]
    return fit.model, losses


def settings_of(asked: argparse.Namespace, seed: int, **more: Any) -> FitSettings:
    """Settings of one fit."""
    loss = LossSettings(clipping=not asked.plain_loss)
    network = DecoderSettings(head=asked.head, precision=asked.precision)
    return FitSettings(
        steps=max(asked.steps, 1),
        seed=seed,
        loss=loss,
        network=network,
        points=PointSettings(logarithmic=LOGARITHMS[asked.logarithms]),
        radiometry=False if asked.plain_start else None,
        measured_rate=asked.measured_rate,
        **more,
    )


def truth_one(job: tuple[argparse.Namespace, int, int]) -> tuple[int, dict[str, float]]:
    """One room: errors at the start, and after the fit."""
    asked, stops, seed = job
    torch.set_num_threads(1)
    capture, truth = room(asked.folder, stops, seed)
    settings, began = settings_of(asked, seed), time.perf_counter()
    model, notes = start_model(capture, settings)
    if asked.steps:
        model, _ = fitted(model, capture, settings)
    ev = truth.cameras.sensor.exposure
    found = {"EVs apart": float(ev.max() - ev.min())} | errors(model, capture, truth)
    found |= {"seconds": time.perf_counter() - began} | (held_out(model, capture) if asked.steps else {})
    print(f"# {stops} stops, seed {seed}: {found}; {notes[-1]}", flush=True)
    return stops, found


def held_out(model: Model, capture: Capture) -> dict[str, float]:
    """PSNR, SSIM and FLIP of the held-out views, EV and white point of each fitted on its left half."""
    scores = [m.scores for m in evaluate(model, capture) if isinstance(m, Evaluated) and m.policy == "fitted"]
    return {name: statistics.mean(getattr(score, name) for score in scores) for name in ("psnr", "ssim", "flip")}


def truth(asked: argparse.Namespace) -> None:
    """Means over seeds, with the least and the most."""
    work = [(asked, stops, seed) for stops in asked.stops for seed in range(asked.first, asked.first + asked.seeds)]
    rows = side_by_side(truth_one, work, asked.jobs)
    header("stops", *rows[0][1])
    for stops in asked.stops:
        print(f"| {stops} | {' | '.join(spread([found for s, found in rows if s == stops]))} |")


def spread(rows: Sequence[dict[str, float]]) -> Iterator[str]:
    """Mean (least to most) of each column."""
    for name in rows[0]:
        numbers = [row[name] for row in rows]
        yield f"{statistics.mean(numbers):.3g} ({min(numbers):.3g} to {max(numbers):.3g})"


def side_by_side(work_on: Callable[[Any], Any], work: Sequence[Any], jobs: int) -> list[Any]:
    """The results in order."""
    if jobs == 1:
        return [work_on(job) for job in work]
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        return pool.map(work_on, work, chunksize=1)


def header(*columns: str) -> None:
    """The head of a table."""
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)


def misled(capture: Capture, kind: str, seed: int) -> Capture:
    """The capture with a wrong start: EVs unknown, or off by up to 3 stops each."""
    sensor, chance = capture.cameras.sensor, torch.Generator().manual_seed(seed)
    exposure = sensor.exposure.clone()
    if kind == "no EXIF":
        exposure[:] = sensor.exposure_mean
    elif kind == "EXIF off by up to 3 stops":
        exposure += 6 * torch.rand(len(exposure), generator=chance) - 3
    start = replace(sensor, exposure=exposure, exposure_start=exposure.clone())
    return replace(capture, cameras=replace(capture.cameras, sensor=start))


def shifted(model: Model, stops: float) -> Model:
    """The model with its first radiance too bright by so many stops, darker if negative."""
    cameras, sensor = model.cameras, model.cameras.sensor
    return replace(model, cameras=replace(cameras, sensor=replace(sensor, exposure_mean=sensor.exposure_mean + stops)))


STARTS = (
    "as EXIF says",
    *["no EXIF"] * 2,
    *["EXIF off by up to 3 stops"] * 4,
    *["4 stops bright"] * 2,
    *["4 stops dark"] * 2,
)


def start_one(job: tuple[argparse.Namespace, int]) -> tuple[str, int, float, float, float]:
    """One disturbed fit: its end loss, and how bright training photos and their renderings are in the mean."""
    asked, number = job
    torch.set_num_threads(1)
    capture, _ = room(asked.folder, asked.stops[0], 0)
    kind, settings = STARTS[number], settings_of(asked, number)
    capture = misled(capture, kind, number)
    model, _ = start_model(capture, settings)
    if kind.startswith("4 stops"):
        model = shifted(model, 4.0 if kind.endswith("bright") else -4.0)
    model, losses = fitted(model, capture, settings)
    ours, theirs = brightness(model, capture)
    worst = float((ours - theirs).abs().max())
    row = kind, number, statistics.mean(losses[-100:]), float((ours - theirs).mean()), worst
    print(f"# {row}", flush=True)
    return row


@torch.no_grad()
def brightness(model: Model, capture: Capture) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean recorded value of the rendering and of the photo, each training view, [V] twice."""
    ours, theirs = [], []
    for view in capture.train:
        cameras = model.cameras.select([view])
        ours.append(cameras.record(model.radiance(cameras)).mean())
        theirs.append(capture.image(view).mean())
    return torch.stack(ours), torch.stack(theirs)


def starts(asked: argparse.Namespace) -> None:
    """The table."""
    rows = side_by_side(start_one, [(asked, number) for number in range(len(STARTS))], asked.jobs)
    header("start", "seed", "loss at the end", "of the good start's", "brightness off, mean", "worst photo")
    for kind, seed, loss, off, worst in rows:
        print(f"| {kind} | {seed} | {loss:.4f} | {loss / rows[0][2]:.2f} | {off:+.4f} | {worst:.4f} |")


def captured(asked: argparse.Namespace) -> Capture:
    """The photos named on the command line, or the room at the first of the stops."""
    if asked.capture is not None:
        return read_capture(asked.capture).at_width(asked.width)
    return room(asked.folder, asked.stops[0], 0)[0]


def without_exif(capture: Capture) -> Capture:
    """The capture as if all photos had been exposed alike, held-out ones too."""
    return misled(capture, "no EXIF", 0)


def ablate(job: tuple[argparse.Namespace, str, int]) -> tuple[str, dict[str, float]]:
    """One fit whose sensor has some of its parts, scored on held-out photos as EXIF says and with EV fitted."""
    asked, name, seed = job
    torch.set_num_threads(1)
    capture, parts = captured(asked), SENSORS[name.removeprefix("EXIF: ")]
    if "exposure" not in parts and not name.startswith("EXIF: "):
        capture = without_exif(capture)
    settings = settings_of(asked, seed, refine=RefineSettings(what=parts))
    settings = replace(settings, radiometry=name == "+ start from points")
    model, _ = start_model(capture, settings)
    model, _ = fitted(model, capture, settings)
    found: dict[str, float] = {}
    by_policy: dict[str, list[Scores]] = {"exif": [], "fitted": []}
    for message in evaluate(model, capture):
        if isinstance(message, Evaluated):
            by_policy[message.policy].append(message.scores)
    for policy, scores in by_policy.items():
        for metric in ("psnr", "ssim", "flip"):
            found[f"{metric}, {policy}"] = statistics.mean(getattr(score, metric) for score in scores)
    found |= exposure_left(model, capture)
    print(f"# {name}, seed {seed}: {found}", flush=True)
    return name, found


@torch.no_grad()
def exposure_left(model: Model, capture: Capture) -> dict[str, float]:
    """How far held-out photos are from the exposure they are drawn with (root mean square [stops], of what is best for
    each alone), and how far apart their EVs are by EXIF. A model that was fitted at one exposure for all and leaves
    less than EXIF's spread has learned from what a view shows how bright its photo was.
    """
    left = []
    for view in capture.test:
        cameras = exif_cameras(model.cameras, [view])
        best = fit_exposure(cameras, model.radiance(cameras), capture.image(view))
        left.append(float((best.sensor.exposure - cameras.sensor.exposure)[0]))
    told = capture.exif_ev[list(capture.test)]
    return {
        "EV left, rms": statistics.pstdev(left),
        "EXIF's EV, rms": float((told - told.mean()).square().mean().sqrt()),
    }


def ablation(asked: argparse.Namespace) -> None:
    """Parts of the sensor, one after the other, or those that are asked for."""
    _compare(asked, [name for name in SENSORS if not asked.rows or any(row in name for row in asked.rows)])


def exposure(asked: argparse.Namespace) -> None:
    """Exposures ignored, from EXIF and held there, from EXIF and fitted."""
    _compare(asked, ("none (all at the mean EV)", "EXIF: none (all at the mean EV)", "exposure"))


def _compare(asked: argparse.Namespace, names: Sequence[str]) -> None:
    seeds = range(asked.first, asked.first + asked.seeds)
    rows = side_by_side(ablate, [(asked, name, seed) for name in names for seed in seeds], asked.jobs)
    header("sensor", *rows[0][1])
    for name in names:
        label = "as EXIF says, held" if name.startswith("EXIF: ") else name
        print(f"| {label} | {' | '.join(spread([found for n, found in rows if n == name]))} |")


@torch.no_grad()
def picture(asked: argparse.Namespace) -> None:
    """A held-out view of the widest room after a fit, at several exposures, above the truth at the same."""
    capture, _ = room(asked.folder, asked.stops[0], 0)
    settings = settings_of(asked, 0)
    with torch.enable_grad():
        model, _ = fitted(start_model(capture, settings)[0], capture, settings)
    view = asked.view
    cameras, true = exif_cameras(model.cameras, [view]), true_radiance(capture, view)[None]
    ours, rows = model.radiance(cameras), []
    scale = (ours / true.clamp(min=1e-9)).flatten(2).median(dim=2).values[..., None, None]
    for radiance, word in ((ours, "ours"), (true * scale, "true")):
        panels = []
        for stops in asked.shown:
            shown = replace(cameras, sensor=replace(cameras.sensor, exposure=cameras.sensor.exposure - stops))
            panels.append(shown.record(radiance)[0])
        rows.append(labelled_row(panels, [f"{word}, {stops:+g} stops" for stops in asked.shown]))
    Image.fromarray(torch.cat(rows).numpy()).save(asked.capture, quality=90)


def main() -> None:
    """Reads the command line and prints one table."""
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tables = {"truth": truth, "starts": starts, "ablation": ablation, "exposure": exposure, "picture": picture}
    parser.add_argument("what", choices=list(tables))
    parser.add_argument("capture", type=Path, nargs="?", help="real photos; for `picture` the file that is written")
    parser.add_argument("--folder", type=Path, default=Path("build/hdr"))
    parser.add_argument("--stops", type=int, nargs="+", choices=list(LIGHT), default=[4])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--width", type=int, default=224)
    parser.add_argument("--head", choices=["auto", "linear", "log"], default="auto")
    parser.add_argument("--logarithms", choices=list(LOGARITHMS), default="auto", help="of descriptors")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--plain-loss", action="store_true", help="what is clipped is compared like all else")
    parser.add_argument("--measured-rate", type=float, default=FitSettings.measured_rate)
    parser.add_argument("--plain-start", action="store_true", help="no radiometry before the fit")
    parser.add_argument("--rows", nargs="+", help="of the ablation: parts of their names")
    parser.add_argument("--view", type=int, default=0)
    parser.add_argument("--shown", type=float, nargs="+", default=[-4, -2, 0, 2, 4])
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    tables[asked.what](asked)


if __name__ == "__main__":
    main()
