"""What a fit will hold in memory, said before it begins, and a refusal of what cannot fit that names the way out.

A fit that the system kills after an hour says nothing. So the need is foretold from what is known once a capture is
read: photos V, pixels P of a photo and C of a step's crops, points N of D channels, and the network's layers. Sizes of
tensors are counted; what cannot be counted (libraries, the working sets of sorting and convolving, freed blocks that
the allocator keeps) has a measured coefficient, each below with what it stands for. ``benchmarks/memory.py`` measured
them on Linux with glibc and compares prediction and measurement; see ``benchmarks/results/memory.md``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from unrender.datasets.capture import Capture
from unrender.errors import RunError
from unrender.fit.settings import FitSettings
from unrender.initialize.environment import environment_size
from unrender.initialize.stereo import CELLS, DEPTHS, MOST_VIEWS
from unrender.render.shade.settings import DecoderSettings, UNetSettings

__all__ = ["PHASES", "MemoryNeed", "available_memory", "memory_note", "predict_memory", "refuse_if_too_large"]

PHASES = ("starting", "fitting", "saving", "scoring")
"""What a run does one after the other: start the scene, step, write checkpoints, score whole photos."""

_MiB = 2**20
_FLOAT = 4

# Resident after importing everything and reading a capture; then what the first network and optimiser load.
PROGRAM, OPTIMISER = 336 * _MiB, 100 * _MiB
# Starting, bytes per point: found neighbours (17 distances and indices, and what their copies without the point itself
# do not find free); coordinates of neighbourhoods in float64 (three copies), of so many points at once; all else.
NEIGHBOURS, NEIGHBOURHOODS, CHUNK, SURFEL = 330, 1400, 1 << 14, 100
# Starting: copies of a view's cost volume (float32, K depths x cells) while five neighbours are sorted; numbers per
# cell of a finished depth map; bytes per pixel while one photo becomes radiance and one view's rays are cast.
VOLUMES, MAP, PHOTO = 60, 20, 340
# While one photo is decoded and averaged down, bytes per pixel of its file: of 8 bits (JPEG 14), of more (PNG 20, EXR
# 36), and what a mask adds (8 to 10).
PLAIN, DEEP, MASKED = 16, 40, 10
# Fitting: bytes per number that the network keeps for its gradient, what rasteriser, sensor and loss add per crop
# pixel, and projecting one point.
KEPT, CROP_PIXEL, PROJECTED = 4.3, 1250, 90
# VGG-19: numbers per crop pixel in its compared layers (image, its gradient and photo), and its weights up to relu5_1.
VGG_PIXEL, VGG_WEIGHTS = 3 * 290, 13_000_000
# Part of a step's working set that the allocator still holds while a checkpoint is written.
STALE = 0.75
# Scoring, bytes per pixel: photo, ours and feature pyramid; SSIM in float64, the least working set there is; freed
# blocks of the rasteriser that are not used again.
HELD, JUDGED, LEFT_OVER = 110, 430, 250


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes by purpose.

    ``program``: interpreter and libraries; ``learning``: what optimiser and network load on first use;
    ``photos``: decoded pictures that are kept; ``model``: points, environment and weights; ``moments``: of the
    optimiser; ``decoding``: one photo at the size of its file; ``starting``, ``stepping``, ``saving``, ``scoring``:
    what each phase holds on top while it works.
    """

    program: int
    learning: int
    photos: int
    model: int
    moments: int
    decoding: int
    starting: int
    stepping: int
    saving: int
    scoring: int

    @property
    def phases(self) -> dict[str, int]:
        """Bytes resident at most in each of ``PHASES``."""
        held = self.program + self.photos + self.model
        learned = held + self.learning + self.moments
        return {
            "starting": held + max(self.starting, self.decoding),
            "fitting": learned + max(self.stepping, self.decoding),
            "saving": learned + round(STALE * self.stepping) + self.saving,
            "scoring": held + self.learning + max(self.scoring, self.decoding),
        }

    @property
    def peak(self) -> int:
        """Bytes of the largest phase."""
        return max(self.phases.values())

    def of(self, phases: Sequence[str]) -> tuple[int, str]:
        """Bytes and name of the largest of some ``phases``."""
        return max((self.phases[phase], phase) for phase in phases)

    def text(self, phases: Sequence[str] = PHASES) -> str:
        """One line for the user: the largest of ``phases`` and all of them."""
        parts = ", ".join(f"{phase} {_gib(self.phases[phase])}" for phase in phases)
        return f"needs about {_gib(self.of(phases)[0])} GiB" + (f" ({parts})" if len(phases) > 1 else "")


def predict_memory(capture: Capture, settings: FitSettings) -> MemoryNeed:
    """What a fit of ``capture`` (at its working size) with ``settings`` will need; an upper estimate, no measurement.

    The cloud is thought to lack what stereo may add, every point to lie in every view, precision to be float32.
    """
    points, photo = _points(capture, settings), int(capture.cameras.sizes.prod(dim=1).max())
    environment = _texels(capture, settings) * settings.points.channels
    weights = _weights(settings.network)
    fitted = points * settings.points.channels + environment + weights  # numbers that have a gradient and moments
    model = _FLOAT * (8 * points + fitted)
    moving = _FLOAT * points * _moving_numbers(settings)
    return MemoryNeed(
        program=PROGRAM,
        learning=OPTIMISER,
        photos=min(_picture_bytes(capture), settings.photo_memory * _MiB),
        model=model,
        moments=2 * _FLOAT * fitted + moving,
        decoding=_decoding(capture),
        starting=_starting(capture, settings, points, photo),
        stepping=_stepping(capture, settings, points) + _FLOAT * fitted,
        saving=2 * (model + 2 * _FLOAT * fitted + moving),  # the file is made in memory, once by tensor and once whole
        scoring=round(photo * _scored_pixel(settings.network)) + PROJECTED * points // 2,
    )


def _moving_numbers(settings: FitSettings) -> int:
    """What refining points holds of each: step, gradient, two moments each way; count, unit, and where it began."""
    ways = 1 if settings.refine.along == "normal" else 3
    return 4 * ways + 5 if "points" in settings.refine.what else 0


def available_memory() -> int:
    """Bytes that this process may hold in all: what it holds now and what is free under every limit that it is under.

    The machine's memory, cgroup limits (versions 1 and 2, as containers set them) and the limit of address space.
    """
    process = psutil.Process()
    free = [psutil.virtual_memory().available, *_cgroup_room(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))]
    if sys.platform == "linux":
        limit = process.rlimit(psutil.RLIMIT_AS)[0]
        if limit >= 0:  # -1: none
            free.append(limit - process.memory_info().vms)
    return process.memory_info().rss + max(0, min(free))


def memory_note(capture: Capture, settings: FitSettings, available: int, phases: Sequence[str] = PHASES) -> str:
    """What ``phases`` of a fit will need and what is free, ``available`` bytes, in one line."""
    return f"{predict_memory(capture, settings).text(phases)}; {_gib(available)} GiB are free"


def refuse_if_too_large(
    capture: Capture, settings: FitSettings, available: int, phases: Sequence[str] = PHASES
) -> None:
    """Raises RunError when one of ``phases`` needs more than ``available`` bytes, and names the settings to change.

    For each phase that is too large that is the one setting that has to give least, with the largest value that fits.
    """
    needed, phase = predict_memory(capture, settings).of(phases)
    if needed > available:
        raise RunError(
            f"{phase} would need about {_gib(needed)} GiB of memory",
            where=capture.root,
            expected=f"at most {_gib(available)} GiB, which are free",
            do=_advice(_Case(capture, settings), available, phases),
        )


class _Case(NamedTuple):
    """A fit that may be made smaller."""

    capture: Capture
    settings: FitSettings

    def need(self) -> MemoryNeed:
        return predict_memory(self.capture, self.settings)

    def at_width(self, width: int) -> _Case:
        return _Case(self.capture.at_width(width), replace(self.settings, width=width))

    def with_points(self, count: int) -> _Case:
        return self._replace(settings=replace(self.settings, points=replace(self.settings.points, count=count)))

    def with_photo_memory(self, mebibytes: int) -> _Case:
        return self._replace(settings=replace(self.settings, photo_memory=mebibytes))

    def with_crop_size(self, size: int) -> _Case:
        return self._replace(settings=replace(self.settings, crop=replace(self.settings.crop, size=size)))

    def with_crop_batch(self, batch: int) -> _Case:
        return self._replace(settings=replace(self.settings, crop=replace(self.settings.crop, batch=batch)))


class _Knob(NamedTuple):
    """A setting that costs memory: how to say it, its ``value``, the ``least`` that makes sense, the case with another
    value, and the ``price``: how much a cut hurts.
    """

    name: str
    value: int
    least: int
    turned: Callable[[int], _Case]
    price: float = 1.0


def _knobs(case: _Case, phase: str) -> Iterator[_Knob]:
    """The settings that ``phase`` depends on."""
    settings, crop = case.settings, case.settings.crop
    yield _Knob("--width ", int(case.capture.cameras.sizes[:, 1].min()), 64, case.at_width)
    if settings.points.factor is None:
        yield _Knob("points.count = ", settings.points.count, 1000, case.with_points)
    if settings.photo_memory * _MiB <= _picture_bytes(case.capture):
        # Photos that are not kept are decoded again: that costs time and no quality.
        yield _Knob("photo_memory = ", settings.photo_memory, 1, case.with_photo_memory, price=0.25)
    if phase in ("fitting", "saving"):
        yield _Knob("crop.size = ", crop.size, 64, case.with_crop_size)
        yield _Knob("crop.batch = ", crop.batch, 1, case.with_crop_batch)


def _advice(case: _Case, available: int, phases: Sequence[str]) -> str:
    """The settings with which all ``phases`` fit, one found after the other, the largest phase first."""
    said: dict[str, int] = {}
    while case.need().of(phases)[0] > available:
        turn = _best_turn(case, case.need().of(phases)[1], available)
        if turn is None:
            return "no setting mends that: free memory, or give fewer photos and points"
        knob, value = turn
        case = knob.turned(value)
        said[knob.name] = value
    values = " and ".join(f"{name}{value}" for name, value in said.items())
    return f"{values} would need {_gib(case.need().of(phases)[0])} GiB"


def _best_turn(case: _Case, phase: str, available: int) -> tuple[_Knob, int] | None:
    """The knob with which ``phase`` fits that has to give least, and its value; where none is enough alone, half of the
    one that helps most; None where all are at their least.
    """
    knobs = [knob for knob in _knobs(case, phase) if knob.value > knob.least]
    enough = [(knob, value) for knob in knobs if (value := _largest(knob, phase, available)) is not None]
    if enough:
        return min(enough, key=lambda turn: turn[0].price * (1 - turn[1] / turn[0].value))
    halves = [(knob, max(knob.least, knob.value // 2)) for knob in knobs]
    return min(halves, key=lambda turn: turn[0].turned(turn[1]).need().phases[phase], default=None)


def _largest(knob: _Knob, phase: str, available: int) -> int | None:
    """The largest value below the present one with which ``phase`` fits, by bisection: needs rise with every knob."""

    def fits(value: int) -> bool:
        return knob.turned(value).need().phases[phase] <= available

    if not fits(knob.least):
        return None
    good, bad = knob.least, knob.value
    while bad - good > max(1, good // 50):  # two digits are enough
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def _points(capture: Capture, settings: FitSettings) -> int:
    """Points of the first scene at most: the cloud, what stereo may add, and what makes up the wanted count."""
    chosen = settings.points
    found = len(capture.points) + (0 if chosen.stereo is False else chosen.count)
    return max(found, chosen.count) if chosen.factor is None else round(chosen.factor * found)


def _texels(capture: Capture, settings: FitSettings) -> int:
    height = settings.points.environment_height
    return math.prod((height, 2 * height) if height else environment_size(capture.cameras, capture.train))


def _picture_bytes(capture: Capture) -> int:
    """All photos as they are kept: three bytes a pixel, one more where there is a mask, twice as many of deep ones."""
    pixels, deep = capture.cameras.sizes.prod(dim=1).tolist(), set(capture.deep)
    return sum(
        count * (3 + masked) * (1 + (view in deep))
        for view, (count, masked) in enumerate(zip(pixels, capture.masked, strict=True))
    )


def _decoding(capture: Capture) -> int:
    """The largest need of a photo at the size of its file, which is more than it needs later at a smaller width."""
    sizes = torch.tensor([lens.width * lens.height for lens in capture.cameras.lenses])
    deep = torch.zeros(len(capture), dtype=torch.bool)
    deep[list(capture.deep)] = True
    pixel = torch.where(deep, DEEP, PLAIN) + MASKED * torch.tensor(capture.masked)
    return int((sizes[capture.cameras.camera_index] * pixel).max())


def _starting(capture: Capture, settings: FitSettings, points: int, photo: int) -> int:
    """Depth maps and then normals: blocks of the one are hardly used again by the other, so that they add up."""
    near = NEIGHBOURS * points + NEIGHBOURHOODS * min(points, CHUNK)
    return near + SURFEL * points + PHOTO * photo + (0 if settings.points.stereo is False else _stereo(capture))


def _stereo(capture: Capture) -> int:
    """Cost volumes of one view, and what is kept of every view."""
    sizes = capture.cameras.sizes[list(capture.train)]
    height, width = sizes[int(sizes.prod(dim=1).argmax())].tolist()
    level = max(0, math.ceil(math.log2(max(height, width) / CELLS)))
    cells = math.ceil(height / 2**level) * math.ceil(width / 2**level)
    views = min(len(sizes), MOST_VIEWS)
    return VOLUMES * _FLOAT * DEPTHS * cells + views * (MAP * cells + _FLOAT * len(capture.points))


def _stepping(capture: Capture, settings: FitSettings, points: int) -> int:
    """One step: projecting the points of a view, and all that B crops keep until the gradient has passed."""
    smallest = capture.cameras.sizes.min(dim=0).values.tolist()
    pixels = settings.crop.batch * math.prod(min(settings.crop.size, edge) for edge in smallest)
    kept = KEPT * sum(conv.kept / 4**conv.level for conv in _convolutions(settings.network))
    vgg = KEPT * (VGG_PIXEL * pixels + VGG_WEIGHTS) if settings.loss.vgg > 0 else 0
    return round(pixels * (kept + CROP_PIXEL) + vgg) + PROJECTED * points


def _scored_pixel(network: DecoderSettings | UNetSettings) -> float:
    """Bytes per pixel of scoring a whole photo: the largest convolution (and the levels that wait), or the judges."""
    waiting = 0.0
    if isinstance(network, UNetSettings):
        waiting = sum(width / 4**level for level, width in enumerate(network.widths))
    largest = max(conv.kept / 4**conv.level for conv in _convolutions(network))
    return HELD + max(KEPT * (largest + waiting), JUDGED) + LEFT_OVER


class _Convolution(NamedTuple):
    """A gated convolution at a pyramid level: two of ``inputs`` to ``outputs`` channels."""

    level: int
    inputs: int
    outputs: int

    @property
    def kept(self) -> int:
        """Numbers per pixel of its level that the gradient needs: input, feature, gate, and each activated."""
        return self.inputs + 4 * self.outputs


def _convolutions(network: DecoderSettings | UNetSettings) -> list[_Convolution]:
    """The gated convolutions of ``shade/decoder.py`` or ``shade/unet.py``, and the last layer's input as if one."""
    channels = network.channels
    if isinstance(network, UNetSettings):
        steps = list(enumerate(pairwise(network.widths)))
        start = _Convolution(0, channels, network.widths[0])
        down = [_Convolution(level + 1, fine, coarse - channels) for level, (fine, coarse) in steps]
        up = [_Convolution(level, coarse, fine) for level, (fine, coarse) in steps]
        merge = [_Convolution(level, 2 * fine, fine) for level, (fine, _) in steps]
        return [start, *down, *up, *merge]
    top, carried = network.levels - 1, network.width + channels
    outputs = [network.width] * (top - 1) + [carried]
    steps = [_Convolution(top - 1 - step, carried + channels, outputs[step]) for step in range(top)]
    return [_Convolution(top, channels, network.width), *steps]


def _weights(network: DecoderSettings | UNetSettings) -> int:
    """Weights and biases of all convolutions; the last layer is too small to count."""
    return sum(2 * (9 * conv.inputs + 1) * conv.outputs for conv in _convolutions(network))


def _cgroup_room(membership: Path, root: Path) -> Iterator[int]:
    """Bytes left under every memory limit of our control groups and those above; file pages that can go count as left.

    ``membership``: /proc/self/cgroup, lines ``id:controllers:path``; ``root``: where the groups are mounted.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            names = _VERSION_2 if controllers == "" else _VERSION_1
            yield from _group_room(root / controllers, path, *names)


_VERSION_2 = ("memory.max", "memory.current", "inactive_file")
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _group_room(mount: Path, path: str, limit: str, usage: str, reclaimable: str) -> Iterator[int]:
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for depth in range(len(parts), -1, -1):
        folder = mount.joinpath(*parts[:depth])
        try:
            most, used = int((folder / limit).read_text()), int((folder / usage).read_text())
            pages = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):  # "max", or no limit at this height
            continue
        yield most - used + int(pages.get(reclaimable, 0))


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f}"
