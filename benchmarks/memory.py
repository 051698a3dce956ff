"""How much memory a fit takes: as much as it says, the same at any step, and no more for 10,000 photos.

    python benchmarks/memory.py phases tiny=FOLDER room=FOLDER plush=FOLDER   # each phase in a process of its own
    python benchmarks/memory.py constancy CAPTURE --width 128 --steps 5000    # resident size, step by step
    python benchmarks/memory.py photos --count 10000 --budget 128             # every photo once, then at random

Tables go to stdout. Peaks are ``ru_maxrss`` of fresh processes with one thread, in MiB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from PIL import Image

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import make_lens
from unrender.cameras.sensor import Sensor
from unrender.datasets.capture import Capture
from unrender.datasets.clouds import PointCloud
from unrender.datasets.colmap import write_colmap
from unrender.datasets.read_capture import read_capture
from unrender.datasets.reconstruction import Reconstruction
from unrender.fit.checkpoint import read_checkpoint, write_checkpoint
from unrender.fit.evaluate import evaluate
from unrender.fit.fit import Fit, start_model
from unrender.fit.memory import predict_memory
from unrender.fit.run import Run
from unrender.fit.settings import FitSettings
from unrender.fit.settings_file import settings_from_table
from unrender.fit.source import CaptureSource
from unrender.geometry.transforms import look_at
from unrender.messages import Stepped
from unrender.render.model import Model

MiB = 2**20
STEPS, VIEWS = 12, 2
"""Steps and scored views that a phase is watched for; the peak is reached in the first few."""


class Row(NamedTuple):
    """A fit to measure: its capture's name, what differs from the default settings, and which phases are run.

    ``start``: the row whose started model is used where this one does not start its own.
    """

    name: str
    capture: str
    table: dict[str, Any]
    phases: tuple[str, ...] = ("starting", "fitting", "scoring")
    start: str = ""


DECODER, UNET = {"kind": "decoder", "precision": "float32"}, {"kind": "unet", "precision": "float32"}
BFLOAT16 = {"kind": "decoder", "precision": "bfloat16"}
FEW, MANY = {"count": 30_000}, {"count": 600_000}
REST = ("fitting", "scoring")
ROWS = (
    Row("tiny", "tiny", {"points": {"count": 2000}, "crop": {"size": 32}, "network": {"levels": 2, "width": 8}}),
    Row("room 256", "room", {"points": FEW, "network": DECODER}),
    Row("room 128, U-Net", "room", {"width": 128, "points": FEW, "network": UNET}),
    Row("plush 224", "plush", {"width": 224, "network": DECODER}),
    Row("plush 448", "plush", {"width": 448, "network": DECODER}),
    Row("plush 448, bfloat16", "plush", {"width": 448, "network": BFLOAT16}, REST, "plush 448"),
    Row("plush 448, 4 crops", "plush", {"width": 448, "network": DECODER, "crop": {"batch": 4}}, REST[:1], "plush 448"),
    Row(
        "plush 672, crop 504", "plush", {"width": 672, "network": DECODER, "crop": {"size": 504}}, REST[:1], "plush 448"
    ),
    Row("plush 448, U-Net", "plush", {"width": 448, "network": UNET}, REST, "plush 448"),
    Row("room 256, 8 crops", "room", {"points": FEW, "network": DECODER, "crop": {"batch": 8}}, REST[:1], "room 256"),
    Row(
        "room 256, U-Net, 3 crops",
        "room",
        {"points": FEW, "network": UNET, "crop": {"batch": 3}},
        REST[:1],
        "room 256",
    ),
    Row("plush 1008", "plush", {"width": 1008, "network": DECODER}, REST[1:], "plush 448"),
    Row("plush 1008, U-Net", "plush", {"width": 1008, "network": UNET}, REST[1:], "plush 448"),
    Row("plush 224, 600,000 points", "plush", {"width": 224, "points": MANY, "network": DECODER}),
)


def peak() -> int:
    """Largest resident size of this process so far [bytes]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def resident() -> int:
    """Resident size of this process [bytes]."""
    return psutil.Process().memory_info().rss


def compare_phases(captures: dict[str, str], only: str) -> None:
    """A row per fit and phase: foretold, measured, and their ratio."""
    print("| fit | phase | foretold [MiB] | measured [MiB] | foretold / measured |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as work:
        for row in ROWS:
            if row.capture not in captures or only not in row.name:
                continue
            for phase in row.phases:
                model = Path(work) / f"{row.start or row.name}.safetensors"
                found = in_own_process(phase, captures[row.capture], json.dumps(row.table), str(model))
                foretold, measured = found["foretold"] / MiB, found["peak"] / MiB
                ratio = foretold / measured
                print(f"| {row.name} | {phase} | {foretold:.0f} | {measured:.0f} | {ratio:.2f} |", flush=True)


def in_own_process(*arguments: str) -> dict[str, int]:
    """What ``measure_phase`` finds in a fresh process with one thread."""
    command = [sys.executable, __file__, "phase", *arguments]
    done = subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def measure_phase(phase: str, folder: str, table: str, model_file: Path) -> dict[str, int]:
    """Foretold and measured peak [bytes] of one phase; ``model_file``: where the started model is kept."""
    settings = settings_from_table(json.loads(table))
    capture = read_capture(folder)
    capture = capture if settings.width is None else capture.at_width(settings.width)
    foretold = predict_memory(capture, settings).phases
    if phase == "starting":
        model = start_model(capture, settings)[0]
        found = peak()
        write_checkpoint(model_file, model, {}, settings, 0)
        return {"foretold": foretold[phase], "peak": found}
    model = started(model_file, capture, settings)
    for view in range(len(capture)):
        capture.image(view)  # all photos are kept sooner or later
    if phase == "fitting":
        fit_and_save(model, capture, settings, model_file.with_suffix(".fitted"))
        return {"foretold": max(foretold["fitting"], foretold["saving"]), "peak": peak()}
    with tempfile.TemporaryDirectory() as pictures:
        for _ in evaluate(model, replace(capture, test=capture.test[:VIEWS]), Path(pictures)):
            pass
    return {"foretold": foretold[phase], "peak": peak()}


def started(file: Path, capture: Capture, settings: FitSettings) -> Model:
    """The started points of ``file`` with the cameras of ``capture`` and the network of ``settings``."""
    from unrender.render.shade.network import NetworkShader

    scene = read_checkpoint(file).load_model().scene
    return Model(scene, NetworkShader(settings.network), capture.cameras, settings.raster)


def fit_and_save(model: Model, capture: Capture, settings: FitSettings, file: Path) -> None:
    """A few steps and a checkpoint."""
    fit = Fit(model, capture, replace(settings, steps=STEPS, unlock=0.0))
    for _ in fit.run():
        pass
    write_checkpoint(file, model, fit.state(), settings, STEPS)


def watch_constancy(folder: Path, settings: FitSettings) -> None:
    """Fits, with log and checkpoints, and prints the resident size every tenth of the way."""
    steps = settings.steps or 0
    sizes: dict[int, int] = {}
    with tempfile.TemporaryDirectory() as work:
        run = Run.create(Path(work) / "run", CaptureSource(folder), settings)
        began = time.perf_counter()
        for message in run.fit():
            if isinstance(message, Stepped) and (message.step + 1) % (steps // 20) == 0:
                sizes[message.step + 1] = resident()
                print(f"step {message.step + 1}: {sizes[message.step + 1] / MiB:.1f} MiB", file=sys.stderr, flush=True)
    early, late = sizes[steps // 10], sizes[steps]
    later = [size for step, size in sizes.items() if step >= steps // 10]
    print("| step | resident [MiB] |\n|---|---|")
    print(*(f"| {step} | {size / MiB:.1f} |" for step, size in sizes.items()), sep="\n")
    print(f"\nstep {steps // 10} to {steps}: {100 * (late / early - 1):+.2f} %, ", end="")
    print(f"between {min(later) / MiB:.1f} and {max(later) / MiB:.1f} MiB, {time.perf_counter() - began:.0f} s")


def touch_photos(count: int, budget: int) -> None:
    """Reads a capture of many photos and looks at each once, then at random; prints seconds and resident sizes."""
    with tempfile.TemporaryDirectory() as work:
        make_photos(Path(work), count)
        before, began = resident(), time.perf_counter()
        capture = read_capture(work, budget=budget * MiB)
        read, read_seconds = resident(), time.perf_counter() - began
        began = time.perf_counter()
        for view in range(count):
            capture.image(view)
        once, once_seconds = resident(), time.perf_counter() - began
        for view in torch.randint(count, (count // 2,), generator=torch.Generator().manual_seed(0)).tolist():
            capture.image(view)
    print("| photos | bytes decoded | budget | reading | reading grows | every photo once | grows | then at random |")
    print("|---|---|---|---|---|---|---|---|")
    decoded = 3 * int(capture.cameras.sizes.prod(dim=1).sum())
    print(
        f"| {count} | {decoded / MiB:.0f} MiB | {budget} MiB | {read_seconds:.1f} s | {(read - before) / MiB:.0f} MiB "
        f"| {once_seconds:.0f} s | {(once - read) / MiB:.0f} MiB | {(resident() - read) / MiB:.0f} MiB |"
    )


def make_photos(folder: Path, count: int, height: int = 240, width: int = 320) -> None:
    """A COLMAP folder of ``count`` photos, hard links to eight different files."""
    generator = torch.Generator().manual_seed(0)
    (folder / "images").mkdir()
    names = [f"photo_{view:05d}.jpg" for view in range(count)]
    for view, name in enumerate(names):
        if view < 8:
            noise = torch.rand(1, 3, height // 8, width // 8, generator=generator)
            photo = torch.nn.functional.interpolate(noise, size=(height, width), mode="bilinear")[0]
            Image.fromarray((photo.permute(1, 2, 0) * 255).byte().numpy()).save(folder / "images" / name)
        else:
            os.link(folder / "images" / names[view % 8], folder / "images" / name)
    angle = torch.arange(count) * (2 * torch.pi / count)
    eyes = torch.stack([angle.cos(), torch.zeros(count), angle.sin()], dim=1).double() * 3
    cameras = Cameras(
        camera_from_world=look_at(eyes, (0.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
        camera_index=torch.zeros(count, dtype=torch.int64),
        lenses=(make_lens("PINHOLE", width, height, [300.0, 300.0, width / 2, height / 2]),),
        pixel_scale=torch.ones(count, 2, dtype=torch.float64),
        pixel_offset=torch.zeros(count, 2, dtype=torch.float64),
        sizes=torch.tensor([[height, width]]).expand(count, 2),
        sensor=Sensor.start(torch.full((count,), 8.0)),
    )
    places = torch.rand(1000, 3, generator=generator).double() - 0.5
    cloud = PointCloud(places, torch.rand(1000, 3, generator=generator))
    write_colmap(folder / "sparse" / "0", Reconstruction.of(names, cameras, cloud))


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    phases = verbs.add_parser("phases")
    phases.add_argument("captures", nargs="+", metavar="NAME=FOLDER")
    phases.add_argument("--only", default="", help="rows whose name has this in it")
    phase = verbs.add_parser("phase")
    phase.add_argument("words", nargs=4)
    constancy = verbs.add_parser("constancy")
    constancy.add_argument("capture", type=Path)
    constancy.add_argument("--width", type=int)
    constancy.add_argument("--steps", type=int, default=5000)
    constancy.add_argument("--crop", type=int, default=96)
    constancy.add_argument("--points", type=int, default=20_000)
    photos = verbs.add_parser("photos")
    photos.add_argument("--count", type=int, default=10_000)
    photos.add_argument("--budget", type=int, default=128, help="decoded photos that are kept [MiB]")
    return parser.parse_args()


def main() -> None:
    """One of the three questions, or one phase for the first of them."""
    said = arguments()
    torch.set_num_threads(1)
    if said.verb == "phases":
        compare_phases(dict(each.split("=", 1) for each in said.captures), said.only)
    elif said.verb == "phase":
        phase, folder, table, model = said.words
        print(json.dumps(measure_phase(phase, folder, table, Path(model))))
    elif said.verb == "constancy":
        table = {
            "steps": said.steps,
            "crop": {"size": said.crop},
            "points": {"count": said.points},
            "network": DECODER,
            "checkpoint_every": 20.0,
        }
        settings = replace(settings_from_table(table), width=said.width)
        watch_constancy(said.capture, settings)
    else:
        touch_photos(said.count, said.budget)


if __name__ == "__main__":
    main()
