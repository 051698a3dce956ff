"""A camera's response from exposure brackets: ours against OpenCV's Debevec and Malik, and against EXIF.

    python benchmarks/response.py [--stack DIR] [--markdown benchmarks/results/response.md]

Needs opencv-python-headless, which is no dependency of unrender. DIR holds the photos of one view, with EXIF; without
it only the brackets of known truth are measured.
"""

from __future__ import annotations

import argparse
import io
import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2  # pyright: ignore[reportMissingImports]
import numpy as np
import torch
from PIL import Image

from unrender.cameras.sensor import response_knots
from unrender.datasets.synthetic.photography import filmic, gamma
from unrender.images.colour import srgb_from_linear
from unrender.images.exif import read_ev100
from unrender.images.io import read_photo
from unrender.initialize.stack import Stack, fit_stack, merge, predict

Curve = Callable[[torch.Tensor], torch.Tensor]
BRACKETS = {
    "5 photos, 2 stops apart": [-4.0, -2.0, 0.0, 2.0, 4.0],
    "7 photos, 13 stops, uneven": [-6.4, -4.4, -2.4, -0.5, 1.56, 4.56, 6.56],
}
TRUTHS: dict[str, Curve] = {"x^0.45": gamma, "filmic": filmic, "sRGB": srgb_from_linear, "linear": lambda x: x}
TINTS = (1.0, 0.6, 0.25), (0.4, 0.7, 1.0)
"""Warm and cold light, where one channel clips before the others."""
FRESH = 20
"""Random curves, of which none was looked at while the solver was made."""
LEVELS = np.arange(256) / 255
CLEAR = (10 / 255, 245 / 255)
"""Recorded values between which curves and predictions are compared."""


def random_curve(seed: int) -> Curve:
    """A power of 0.3 to 1, bent by a shoulder or a toe and by an S, rising throughout."""
    chance = torch.Generator().manual_seed(1000 + seed)
    power, bend, wave = (torch.rand(3, generator=chance) * torch.tensor([0.7, 0.8, 0.8])).tolist()

    def curve(x: torch.Tensor) -> torch.Tensor:
        s = x ** (0.3 + power)
        return s + (bend - 0.4) * s * (1 - s) + (wave - 0.4) * torch.sin(2 * math.pi * s) / (2 * math.pi)

    return curve


def bracket(
    curve: Curve,
    evs: Sequence[float],
    seed: int = 0,
    tint: Sequence[float] | None = None,
    size: tuple[int, int] = (120, 160),
) -> Stack:
    """Photos of smooth light over 12 stops, with half a level of noise; of any colours, or of one ``tint``."""
    chance = torch.Generator().manual_seed(seed)
    grid = torch.rand(1, 3, 8, 10, generator=chance)
    stops = torch.nn.functional.interpolate(grid, size, mode="bicubic")[0]
    radiance, photos = torch.exp2(-6 + 12 * stops), []
    if tint is not None:
        radiance = radiance.mean(dim=0, keepdim=True) * torch.tensor(tint)[:, None, None]
    for ev in evs:
        recorded = curve((radiance * 2.0**-ev).clamp(0, 1)) * 255
        noisy = recorded + 0.5 * torch.randn(recorded.shape, generator=chance)
        photos.append(noisy.round().clamp(0, 255).byte().permute(1, 2, 0).contiguous())
    return Stack(tuple(photos), torch.tensor(evs, dtype=torch.float64))


def theirs(stack: Stack) -> np.ndarray:
    """OpenCV's exposure at each of 256 levels, [256, 3], R G B."""
    images = [photo.numpy()[..., ::-1].copy() for photo in stack.photos]
    times = (2.0 ** -stack.exif_ev.numpy()).astype(np.float32)
    times = times / times.min()
    cv2.setRNGSeed(0)
    return cv2.createCalibrateDebevec(samples=200).process(images, times)[:, 0, ::-1].astype(np.float64)


def our_exposure(stack: Stack) -> np.ndarray:
    """Ours, [256, 3], with the EVs of EXIF as they are."""
    fit = fit_stack(stack, refine=False)
    sensor = fit.cameras.select([0]).sensor
    levels = torch.from_numpy(LEVELS).float().expand(1, 3, 1, -1)
    light = sensor.radiance(levels, torch.zeros(1, 2, 1, 256), torch.zeros(1, dtype=torch.int64))[0, :, 0].T
    return (light * 2.0 ** (sensor.exposure_mean - float(sensor.exposure[0]))).double().numpy()


def against(exposure: np.ndarray, curve: Curve | np.ndarray) -> tuple[float, float]:
    """Largest and mean difference of recorded values from ``curve``, over all channels, once the unit of exposure is
    taken out: the one that fits best in log exposure.
    """
    clear = np.clip(LEVELS, *CLEAR) == LEVELS
    errors = []
    for channel in range(3):
        own = np.maximum.accumulate(exposure[:, channel])
        if callable(curve):
            x = np.linspace(0, 1, 4097) ** 2
            z = curve(torch.from_numpy(x)).numpy()
        else:
            x, z = curve[:, channel], LEVELS
        wanted = np.interp(LEVELS, z, x)
        unit = np.median(np.log(wanted[clear]) - np.log(own[clear]))
        errors.append(np.abs(np.interp(own * math.exp(unit), x, z) - LEVELS)[clear])
    return float(np.max(errors)), float(np.mean(errors))


def plain_error(stack: Stack, curve: Curve) -> float:
    """Our largest error over the whole curve with its unit as found: 1 is where the sensor is full."""
    found = fit_stack(stack, refine=False).cameras.sensor.response[0]
    return float((found - curve(response_knots())).abs().max())


def our_prediction(stack: Stack, view: int) -> np.ndarray:
    """What photo ``view`` should hold by the others: [H, W, 3] in 0..1, NaN where they do not say."""
    rest = stack.without(view)
    fit = fit_stack(rest, refine=False)
    radiance, clipped = merge(rest, fit)
    recorded = predict(radiance, fit, float(stack.exif_ev[view]))
    return np.where((clipped != 0)[..., None].numpy(), np.nan, recorded.numpy())


def their_prediction(stack: Stack, view: int) -> np.ndarray:
    """The same by OpenCV: its curve, its merged radiance, its curve the other way round."""
    rest = stack.without(view)
    exposure = theirs(rest)
    times = (2.0 ** -rest.exif_ev.numpy()).astype(np.float32)
    scale = times.min()
    images = [photo.numpy()[..., ::-1].copy() for photo in rest.photos]
    table = exposure[:, None, ::-1].astype(np.float32).copy()
    radiance = cv2.createMergeDebevec().process(images, times / scale, table)[..., ::-1]
    light = radiance * (2.0 ** -float(stack.exif_ev[view]) / scale)
    rising = np.maximum.accumulate(exposure, axis=0)
    return np.stack([np.interp(light[..., c], rising[:, c], LEVELS) for c in range(3)], axis=-1)


def prediction_errors(stack: Stack, predict_view: Callable[[Stack, int], np.ndarray], view: int) -> tuple[float, float]:
    """Median and mean error in levels of 8 bits where the photo is clear, and in no other photo unsaid."""
    photo = stack.photos[view].numpy() / 255
    ours = predict_view(stack, view)
    clear = (photo > CLEAR[0]) & (photo < CLEAR[1]) & np.isfinite(ours) & np.isfinite(our_prediction(stack, view))
    error = np.abs(ours - photo)[clear] * 255
    return float(np.median(error)), float(error.mean())


def truth_lines() -> list[str]:
    """A table of brackets whose response is known."""
    lines = [
        "| bracket | response | ours, max | ours, unit taken out: max, mean | OpenCV, the same |",
        "|" + "---|" * 5,
    ]
    for name, evs in BRACKETS.items():
        for kind, curve in TRUTHS.items():
            stack = bracket(curve, evs)
            mine, other = against(our_exposure(stack), curve), against(theirs(stack), curve)
            lines.append(
                f"| {name} | {kind} | {plain_error(stack, curve):.4f} | {mine[0]:.4f}, {mine[1]:.4f} "
                f"| {other[0]:.4f}, {other[1]:.4f} |"
            )
    return lines


def stored(stack: Stack, quality: int) -> Stack:
    """The same as JPEG, colours at half resolution."""
    photos = []
    for photo in stack.photos:
        file = io.BytesIO()
        Image.fromarray(photo.numpy()).save(file, "JPEG", quality=quality, subsampling=2)
        photos.append(torch.from_numpy(np.array(Image.open(file))))
    return replace(stack, photos=tuple(photos), lossy=True)


def jpeg_lines() -> list[str]:
    """A table of brackets stored as JPEG: the worst over warm and cold light."""
    lines = [
        "| JPEG quality | response | ours, max | ours, unit taken out: max, mean | OpenCV, the same |",
        "|" + "---|" * 5,
    ]
    evs = BRACKETS["5 photos, 2 stops apart"]
    for quality in (97, 90):
        for kind, curve in TRUTHS.items():
            rows = []
            for tint in TINTS:
                stack = stored(bracket(curve, evs, tint=tint, size=(320, 400)), quality)
                rows.append(
                    (plain_error(stack, curve), *against(our_exposure(stack), curve), *against(theirs(stack), curve))
                )
            plain, most, mean, their_most, their_mean = np.max(rows, axis=0)
            lines.append(
                f"| {quality} | {kind} | {plain:.4f} | {most:.4f}, {mean:.4f} | {their_most:.4f}, {their_mean:.4f} |"
            )
    return lines


def fresh_lines() -> list[str]:
    """A table of brackets by random curves: median and worst over them."""
    lines = [
        f"| bracket, {FRESH} curves | ours, max | ours, unit taken out: max, mean | OpenCV, the same |",
        "|" + "---|" * 4,
    ]
    for name, evs in BRACKETS.items():
        rows = []
        for seed in range(FRESH):
            curve = random_curve(seed)
            stack = bracket(curve, evs, seed=1000 + seed)
            rows.append(
                (plain_error(stack, curve), *against(our_exposure(stack), curve), *against(theirs(stack), curve))
            )
        for kind, (plain, most, mean, their_most, their_mean) in (
            ("median", np.median(rows, axis=0)),
            ("worst", np.max(rows, axis=0)),
        ):
            lines.append(
                f"| {name}: {kind} | {plain:.4f} | {most:.4f}, {mean:.4f} | {their_most:.4f}, {their_mean:.4f} |"
            )
    return lines


def photo_lines(folder: Path) -> list[str]:
    """Tables of a real bracket."""
    paths = sorted(folder.glob("*.jpg"))
    ev = torch.tensor([read_ev100(path) or math.nan for path in paths], dtype=torch.float64)
    stack = Stack(tuple(read_photo(path) for path in paths), ev, lossy=True)
    most, mean = against(our_exposure(stack), theirs(stack))
    refined = fit_stack(stack).cameras.sensor.exposure.tolist()
    lines = [
        f"Our response and OpenCV's differ by at most {most:.3f}, on average {mean:.3f} of the recorded range.",
        "",
        "| photo | EV by EXIF | step | EV refined | step | ours: median, mean error | OpenCV: median, mean error |",
        "|" + "---|" * 7,
    ]
    for view, path in enumerate(paths):
        mine = prediction_errors(stack, our_prediction, view)
        other = prediction_errors(stack, their_prediction, view)
        steps = [f"{values[view] - values[view - 1]:.2f}" if view else "" for values in (ev.tolist(), refined)]
        lines.append(
            f"| {path.name} | {float(ev[view]):.2f} | {steps[0]} | {refined[view]:.2f} | {steps[1]} "
            f"| {mine[0]:.1f}, {mine[1]:.1f} | {other[0]:.1f}, {other[1]:.1f} |"
        )
    return lines


def main() -> None:
    """Measure and print, or write a page."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--stack", type=Path)
    arguments.add_argument("--markdown", type=Path)
    chosen = arguments.parse_args()
    real = [] if chosen.stack is None else ["", "## A real bracket", "", *REAL, "", *photo_lines(chosen.stack)]
    versions = f"OpenCV {cv2.__version__}, PyTorch {torch.__version__}, Python {platform.python_version()}"
    page = "\n".join(
        [
            *HEAD,
            "",
            *truth_lines(),
            "",
            *FRESH_HEAD,
            "",
            *fresh_lines(),
            "",
            *JPEG_HEAD,
            "",
            *jpeg_lines(),
            *real,
            "",
            versions,
            "",
        ]
    )
    print(page)
    if chosen.markdown is not None:
        chosen.markdown.write_text(page, encoding="utf-8")


HEAD = [
    "# The response of a camera from exposure brackets",
    "",
    "`python benchmarks/response.py --stack DIR --markdown benchmarks/results/response.md`. Differences are of",
    "recorded values in 0..1, between levels 10 and 245. *Unit taken out*: each curve's unit of exposure is, per",
    "channel, the one that fits the truth best, as OpenCV's says nothing. *Ours, max* is over the whole curve, 0 to 1,",
    "in the unit found. OpenCV: `createCalibrateDebevec(samples=200)`, EVs given to both.",
    "",
    "## Brackets of known truth",
    "",
    "120 x 160 pixels of smooth light over 12 stops, half a level of noise, 8 bits.",
]
FRESH_HEAD = [
    "## Curves that nobody looked at",
    "",
    "The weights of the solver were chosen on brackets like those above, with these very curves. The following are",
    "random: a power of 0.3 to 1 with a shoulder or a toe and an S (`random_curve`), light and noise of other seeds.",
]
JPEG_HEAD = [
    "## Stored as JPEG",
    "",
    "Five photos, 2 stops apart, 400 x 320, colours at half resolution, of warm and of cold light: the worse of both.",
    "What was clipped comes back a few levels darker there, so that less of what is near white is believed.",
]
REAL = [
    "Seven JPEGs of one view, 640 x 427, 2 s to 1/4000 s. Each photo is predicted from the six others (response",
    "fitted without it, EVs of EXIF); errors in levels of 8 bits, where it is between levels 10 and 245 and some other",
    "photo is not clipped.",
]


if __name__ == "__main__":
    main()
