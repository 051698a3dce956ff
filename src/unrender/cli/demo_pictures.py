"""Pictures that the demo leaves: a contact sheet, a flight, and how well exposure and response were found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from unrender.cli.demo_errors import aligned_response, exposure_errors
from unrender.cli.plot import Plot

if TYPE_CHECKING:
    from unrender.cameras.sensor import Sensor
    from unrender.render.model import Model

__all__ = ["save_contact_sheet", "save_flight", "save_photometry"]

ROWS = 4
"""Held-out views on the contact sheet, evenly chosen."""
FRAMES = 24
"""Pictures of the flight."""
FRAME_MILLISECONDS = 125
_CHANNELS = {"red": (205, 60, 50), "green": (50, 150, 70), "blue": (55, 95, 200)}
_TRUTH, _BEFORE = (20, 20, 20), (165, 165, 165)


def save_contact_sheet(pictures: Path, path: Path) -> None:
    """Stack some of the side-by-side pictures in a folder."""
    found = sorted(pictures.glob("*.png"))
    rows = [Image.open(found[index * len(found) // min(ROWS, len(found))]) for index in range(min(ROWS, len(found)))]
    sheet = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)))
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    sheet.save(path)


def save_flight(folder: Path, model: Model, views: Sequence[int]) -> None:
    """A smooth flight through the given views at one exposure: PNG frames, and all of them in ``folder``.webp."""
    import torch

    from unrender.cameras.paths import interpolate
    from unrender.images.io import write_png

    folder.mkdir(parents=True, exist_ok=True)
    cameras, frames = interpolate(model.cameras.select(list(views)), FRAMES), []
    for index in range(len(cameras)):
        path = folder / f"frame_{index:04d}.png"
        with torch.no_grad():
            write_png(path, model.image(cameras.select([index]))[0].permute(1, 2, 0))
        frames.append(Image.open(path))
    moving = folder.with_suffix(".webp")
    frames[0].save(moving, save_all=True, append_images=frames[1:], duration=FRAME_MILLISECONDS, loop=0, quality=85)


def save_photometry(path: Path, fitted: Sensor, truth: Sensor, views: Sequence[int]) -> None:
    """Two plots side by side: the response curves, and the exposure error of every training view."""
    plots = (_response_plot(fitted, truth), _exposure_plot(fitted, truth, views))
    pictures = [plot.picture() for plot in plots]
    sheet = Image.new("RGB", (sum(picture.width for picture in pictures), pictures[0].height), "white")
    left = 0
    for picture in pictures:
        sheet.paste(picture, (left, 0))
        left += picture.width
    sheet.save(path)


def _response_plot(fitted: Sensor, truth: Sensor) -> Plot:
    from unrender.cameras.sensor import Sensor

    plot = Plot("response: recorded value over exposure", x_range=(0.0, 1.0), y_range=(0.0, 1.0))
    x, wanted, curves = aligned_response(fitted, truth)
    _, _, start = aligned_response(Sensor.start(fitted.exposure_start), truth)
    plot.line(x.tolist(), start[1].tolist(), _BEFORE, "x^0.45, before")
    plot.line(x.tolist(), wanted[1].tolist(), _TRUTH, "truth", width=3)
    for (name, color), curve in zip(_CHANNELS.items(), curves, strict=True):
        plot.line(x.tolist(), curve.tolist(), color, f"{name}, after")
    return plot


def _exposure_plot(fitted: Sensor, truth: Sensor, views: Sequence[int]) -> Plot:
    before = exposure_errors(fitted.exposure_start, truth.exposure, views)
    after = exposure_errors(fitted.exposure.detach(), truth.exposure, views)
    reach = 1.15 * max(0.1, float(before.abs().max()), float(after.abs().max()))
    plot = Plot("exposure error [stops] per training photo", (0.0, float(len(views) + 1)), (-reach, reach))
    plot.line([0.0, float(len(views) + 1)], [0.0, 0.0], _TRUTH, "truth", width=1)
    places = [float(index + 1) for index in range(len(views))]
    plot.dots(places, before.tolist(), _BEFORE, "EXIF, before")
    plot.dots(places, after.tolist(), _CHANNELS["blue"], "after")
    return plot
