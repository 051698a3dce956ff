"""Whether the rasteriser's approximated derivatives point the right way, and bring displaced cameras home.

    python benchmarks/pose_recovery.py --target other

In the synthetic room with its known colours as descriptors. Target: the view from the true pose, of the same points, or
of another scan of the room. The loss is the squared difference in every layer, averaged over its pixels.

- descent: share of random pose changes, 0.5 to 4 px in the median, whose way back the gradient points to;
- recovery: cameras turned by 1 degree about and moved by 1 % of the room's diagonal along random axes; plain Adam on 6
  numbers; mean distance of the points in the image from where they belong, before and after.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time

import torch
from torch.nn.functional import normalize

from unrender.cameras.camera import Cameras
from unrender.datasets.synthetic.light import LitRoom, bake
from unrender.datasets.synthetic.room import build_room
from unrender.datasets.synthetic.scanner import DIAGONAL, scan
from unrender.datasets.synthetic.viewpoints import walk
from unrender.initialize.densify import neighbourhood_radius
from unrender.render.rasterize.points import rasterize
from unrender.render.settings import PointRasterSettings
from unrender.scenes.points import PointScene

SIZE = (128, 96)
LAYERS = 4
RATES = (4e-3, 2e-4)
VARIANTS = [
    PointRasterSettings(layers=LAYERS, ghosts=0.0 if spatial == "rendered" else 0.25, spatial=spatial, moves=moves)
    for spatial in ("ghosts", "both", "rendered")
    for moves in ("alone", "replace", "together")
]


def painted_room(lit: LitRoom, points: int, seed: int) -> PointScene:
    """A scan of the room without noise whose descriptors are the radiance it saw."""
    cloud, chance = scan(lit, points, 0.0, 1.0, seed), torch.Generator().manual_seed(seed)
    origin = cloud.positions.mean(0)
    if cloud.colors is None or cloud.normals is None:
        raise TypeError("a scan has colours and normals")
    return PointScene(
        origin=origin,
        position=(cloud.positions - origin).float(),
        normal=cloud.normals.float(),
        radius=neighbourhood_radius(cloud.positions),
        threshold=torch.rand(len(cloud), generator=chance),
        descriptors=cloud.colors.float() ** (1 / 0.45),
        environment=torch.full((3, 8, 16), 0.5),
    )


def features(scene: PointScene, camera: Cameras, settings: PointRasterSettings, seed: int = 0) -> tuple:
    """The feature pyramid of one view."""
    return rasterize(scene, camera, settings, torch.Generator().manual_seed(seed)).features or ()


def loss(seen: tuple, target: tuple) -> torch.Tensor:
    """Mean squared difference, summed over the layers."""
    return sum(((a - b) ** 2).mean() for a, b in zip(seen, target, strict=True))  # pyright: ignore[reportReturnType]


def distance(scene: PointScene, true: Cameras, other: Cameras, average: str = "mean") -> float:
    """Mean or median distance in pixels between where two cameras see the points of the first one's image."""
    here, there = (camera.project(0, scene.position.double(), scene.origin) for camera in (true, other))
    height, width = true.size
    u, v = here.pixels.unbind(1)
    inside = here.inside & (u >= 0) & (v >= 0) & (u < width) & (v < height)
    return float(getattr((here.pixels - there.pixels)[inside].norm(dim=1), average)())


def descent(scene: PointScene, seen: PointScene, cameras: Cameras, settings: PointRasterSettings, trials: int) -> float:
    """Share of ``trials`` in which the negative gradient has a part along the way back."""
    chance, right = torch.Generator().manual_seed(1), 0
    for trial in range(trials):
        true = cameras.select([int(torch.randint(len(cameras), (), generator=chance))])
        change = 1e-3 * torch.randn(1, 6, generator=chance, dtype=torch.float64)
        wanted = 0.5 + 3.5 * float(torch.rand((), generator=chance))
        change *= wanted / distance(scene, true, true.moved(change), "median")
        increment = torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
        image = features(scene, true.moved(change).moved(increment), settings, trial)
        (gradient,) = torch.autograd.grad(loss(image, target(seen, true)), increment)
        right += bool((gradient * change).sum() > 0)
    return right / trials


def target(scene: PointScene, true: Cameras) -> tuple:
    """What the true camera sees."""
    return features(scene, true, PointRasterSettings(layers=LAYERS))


def recover(
    scene: PointScene, seen: PointScene, true: Cameras, settings: PointRasterSettings, steps: int, seed: int
) -> tuple[float, float]:
    """Distance in pixels before and after ``steps`` of Adam from a displaced camera."""
    chance = torch.Generator().manual_seed(seed)
    along, about = normalize(torch.randn(2, 3, generator=chance, dtype=torch.float64), dim=1)
    start = true.moved(torch.cat([0.01 * DIAGONAL * along, math.radians(1) * about])[None])
    wanted, increment = target(seen, true), torch.zeros(1, 6, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([increment], betas=(0.9, 0.9))
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATES[0] * (RATES[1] / RATES[0]) ** (step / steps)
        optimizer.zero_grad()
        loss(features(scene, start.moved(increment), settings, step), wanted).backward()
        optimizer.step()
    return distance(scene, true, start), distance(scene, true, start.moved(increment.detach()))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=40_000)
    parser.add_argument("--target", choices=("same", "other"), default="other")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--steps", type=int, default=80)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lit, cameras = bake(build_room(), 0.3), walk(arguments.views, *SIZE)
    scene = painted_room(lit, arguments.points, 0)
    seen = scene if arguments.target == "same" else painted_room(lit, arguments.points, 1)
    print(f"target: {arguments.target} points\n\n| points | moves | descent | recovery: median, worst [px] | seconds |")
    print("|---|---|---|---|---|")
    before = []
    for settings in VARIANTS:
        began = time.perf_counter()
        share = descent(scene, seen, cameras, settings, arguments.trials)
        ends = [
            recover(scene, seen, cameras.select([view]), settings, arguments.steps, view)
            for view in range(arguments.views)
        ]
        before = [start for start, _ in ends]
        median, worst = (f"{average([after for _, after in ends]):.2f}" for average in (statistics.median, max))
        seconds = time.perf_counter() - began
        print(
            f"| {settings.spatial} | {settings.moves} | {share:.1%} | {median}, {worst} | {seconds:.0f} |", flush=True
        )
    print(f"\nbefore: {statistics.median(before):.2f}, {max(before):.2f} px")


if __name__ == "__main__":
    main()
