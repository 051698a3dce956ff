"""What comes back of a fit that was exported to every format; how long 10,000 photos take; coordinates of a survey.

    python benchmarks/formats.py export CAPTURE --folder build/formats   # a short fit, exported, read, compared
    python benchmarks/formats.py photos --count 10000                    # listed and checked, without decoding
    python benchmarks/formats.py survey                                  # a room 7,000 km from the origin

Tables go to stdout.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image

from unrender import read_capture, read_reconstruction
from unrender.cameras.lens import make_lens
from unrender.cli.main import main as unrender
from unrender.datasets.beside_cameras import lost_beside_cameras
from unrender.datasets.clouds import PointCloud
from unrender.datasets.colmap import write_colmap
from unrender.datasets.formats import FORMATS, with_lenses
from unrender.datasets.reconstruction import Reconstruction
from unrender.errors import CaptureError
from unrender.fit.exported import export_run
from unrender.fit.run import Run
from unrender.geometry.transforms import look_at

SURVEY = torch.tensor([4_500_123.25, 5_300_456.5, 311.125], dtype=torch.float64)
"""Where a survey may have its house, metres from the origin of its frame."""


def export(capture: Path, folder: Path, width: int, steps: int) -> None:
    """A fit, exported to every format that can be written, and read back with the reader of that format."""
    run = folder / "run"
    if not Run.exists(run):
        _succeed("fit", str(capture), "-o", str(run), "--width", str(width), "--steps", str(steps), "--quiet")
    print("| format | refused without --lossy for | centres | rotations [deg] | pixels | points | lost | read in [s] |")
    print("|---|---|---|---|---|---|---|---|")
    for name, kind in FORMATS.items():
        if kind.write is None:
            continue
        out = folder / name
        shutil.rmtree(out, ignore_errors=True)
        expected = export_run(Run.open(run), Run.open(run).load_model(), name).reconstruction
        refusal = _refusal(expected, name)
        _succeed("export", str(run), "-o", str(out), "--to", name, "--quiet", *(["--lossy"] if refusal else []))
        began = time.perf_counter()
        found = read_reconstruction(out, observations=True)
        took = time.perf_counter() - began
        print(f"| {name} | {refusal or '-'} | {_compared(found, expected)} | {took:.2f} |")
        read_capture(out, format=name)  # with its photos, as a fit would


def _refusal(expected: Reconstruction, name: str) -> str:
    """What ``name`` cannot hold, short."""
    kind = FORMATS[name]
    held, lost = with_lenses(expected, kind)
    return "; ".join((*lost, *kind.losses(held), *lost_beside_cameras(held, kind.holds)))


def _compared(found: Reconstruction, expected: Reconstruction) -> str:
    """Columns: the largest differences of centres [scene units], rotations, pixels of what each photo saw, points."""
    assert found.names == expected.names
    poses, theirs = found.camera_from_world, expected.camera_from_world
    centers = [-(each[:, :3, :3].mT @ each[:, :3, 3:])[..., 0] for each in (poses, theirs)]
    turn = poses[:, :3, :3] @ theirs[:, :3, :3].mT - torch.eye(3, dtype=torch.float64)
    angle = math.degrees(2 * math.asin(min(1.0, float(turn.flatten(1).norm(dim=1).max()) / math.sqrt(8))))
    worst = max(_pixels(found, expected, view) for view in range(len(expected)))
    count = min(len(found.points), len(expected.points))
    points = float((found.points.positions[:count] - expected.points.positions[:count]).abs().max()) if count else 0.0
    off = float((centers[0] - centers[1]).abs().max())
    return f"{off:.1e} | {angle:.1e} | {worst:.1e} | {points:.1e} | {len(expected.points) - count}"


def _pixels(found: Reconstruction, expected: Reconstruction, view: int) -> float:
    """How far apart the two put the points that both have inside the photo."""
    world, lenses = expected.points.positions, (found.lens_of_view[view], expected.lens_of_view[view])
    places, inside = [], torch.ones(len(world), dtype=torch.bool)
    for lens, each in zip(lenses, (found, expected), strict=True):
        pose = each.camera_from_world[view]
        pixels, valid = lens.project(world @ pose[:3, :3].T + pose[:3, 3])
        inside &= valid & (pixels >= 0).all(dim=1) & (pixels < pixels.new_tensor([lens.width, lens.height])).all(dim=1)
        places.append(pixels)
    return float((places[0] - places[1])[inside].abs().max()) if bool(inside.any()) else 0.0


def photos(count: int) -> None:
    """Captures of ``count`` photos: names and headers are read, nothing is decoded."""
    print("| photos | kind | masks | listed and checked in [s] |\n|---|---|---|---|")
    for suffix, masks in (("jpg", False), ("png", False), ("png", True)):
        with tempfile.TemporaryDirectory() as folder:
            root = _many(Path(folder), count, suffix, masks)
            began = time.perf_counter()
            capture = read_capture(root, masks=root / "masks" if masks else None)
            took = time.perf_counter() - began
            assert len(capture) == count
            assert capture.store.used == 0
            print(f"| {count:,} | {suffix.upper()}, 640 x 480 | {'yes' if masks else 'no'} | {took:.1f} |", flush=True)


def _many(root: Path, count: int, suffix: str, masks: bool) -> Path:
    """A binary COLMAP model of ``count`` photos, which are hard links to eight."""
    names = tuple(f"{number:05d}.{suffix}" for number in range(count))
    (root / "images").mkdir()
    (root / "masks").mkdir()
    for place, name in enumerate(names):
        for folder, mode, end in (("images", "RGB", ""), ("masks", "L", ".png"))[: 1 + masks]:
            first, own = root / folder / f"{names[place % 8]}{end}", root / folder / f"{name}{end}"
            if place < 8:
                Image.effect_noise((640, 480), 60).convert(mode).save(own)
            else:
                os.link(first, own)
    angles = torch.arange(count, dtype=torch.float64)
    eyes = torch.stack([angles.cos(), angles.sin(), angles / count], dim=1)
    poses = torch.stack([look_at(eye, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0])) for eye in eyes])
    lens = make_lens("PINHOLE", 640, 480, [500, 500, 320, 240])
    cloud = PointCloud(torch.randn(1000, 3, dtype=torch.float64) / 4)
    index = torch.zeros(count, dtype=torch.int64)
    write_colmap(root / "sparse/0", Reconstruction(names, root / "images", poses, index, (lens,), cloud), binary=True)
    return root


def survey(folder: Path, steps: int) -> None:
    """The synthetic room where it is and far from the origin: the same fit, and what comes out of it."""
    near, far = folder / "near", folder / "far"
    shutil.rmtree(folder, ignore_errors=True)
    _succeed("demo", "-o", str(folder / "demo"), "--steps", "1", "--quiet")
    found = read_reconstruction(folder / "demo" / "capture", observations=True)
    poses = found.camera_from_world.clone()
    poses[:, :3, 3] -= poses[:, :3, :3] @ SURVEY
    moved = replace(
        found, camera_from_world=poses, points=replace(found.points, positions=found.points.positions + SURVEY)
    )
    print("| room | held-out PSNR [dB] | points come back to | camera centres come back to |\n|---|---|---|---|")
    for place, given in ((near, found), (far, moved)):
        write_colmap(place / "sparse/0", given, binary=True)
        (place / "images").symlink_to(found.image_folder.resolve())
        _succeed("fit", str(place), "-o", str(place / "run"), "--steps", str(steps), "--quiet")
        _succeed("export", str(place / "run"), "-o", str(place / "out"), "--to", "colmap", "--quiet")
        again = read_reconstruction(place / "out")
        centers = [
            -(each.camera_from_world[:, :3, :3].mT @ each.camera_from_world[:, :3, 3:]) for each in (again, given)
        ]
        points = float((again.points.positions - given.points.positions).abs().max())
        psnr = Run.open(place / "run").load_scores()["test"]["psnr"]
        print(f"| {place.name} | {psnr:.3f} | {points:.1e} | {float((centers[0] - centers[1]).abs().max()):.1e} |")


def _succeed(*words: str) -> None:
    if status := unrender(list(words)):
        raise CaptureError(f"unrender {' '.join(words)} ended with {status}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["export", "photos", "survey"])
    parser.add_argument("capture", type=Path, nargs="?")
    parser.add_argument("--folder", type=Path, default=Path("build/formats"))
    parser.add_argument("--width", type=int, default=448)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--count", type=int, default=10_000)
    asked = parser.parse_args()
    if asked.what == "export":
        export(asked.capture, asked.folder, asked.width, asked.steps)
    elif asked.what == "photos":
        photos(asked.count)
    else:
        survey(asked.folder / "survey", asked.steps)
