"""``unrender response``: a camera's response and the radiance of one view, from photos of different exposure."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from unrender import __version__
from unrender.cli.console import print_json, print_result
from unrender.cli.progress import ProgressView
from unrender.cli.session import Session
from unrender.errors import CaptureError

if TYPE_CHECKING:
    import torch
    from rich.table import Table

    from unrender.initialize.stack import Stack, StackFit

__all__ = ["PhotoRow", "ResponseVerb"]

FILES = {name: f"response.{name}" for name in ("csv", "json", "png")} | {
    "radiance": "radiance.exr",
    "clipped": "clipped.png",
    "preview": "preview.png",
}
_COMMENTS = (
    "Linear radiance of one view, merged from photos of different exposure, Rec. 709 primaries. 1 is what the camera "
    "records as just white at the photos' mean exposure, unrender.ev_mean (EV100 where EXIF says). What is too bright "
    "in every photo has the least radiance for which that is so; clipped.png beside this file shows where."
)
_REC_709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
_TOO_BRIGHT, _TOO_DARK = 255, 128


@dataclass(frozen=True)
class PhotoRow:
    """One photo: EV by EXIF and as fitted [stops]; shares of pixels too bright in a channel and too dark in all."""

    photo: str
    ev_exif: float | None
    ev: float
    too_bright: float
    too_dark: float


@dataclass(frozen=True)
class ResponseVerb:
    """Find a camera's response and the radiance of a view from two or more photos of it at different exposure.

    The camera stands still (a tripod) and only the exposure changes. Writes into DIR the response (CSV, JSON and a
    plot), radiance as EXR, where every photo is clipped (PNG: white too bright, grey too dark), and a preview.
    """

    photos: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PHOTO ...")]
    """Photos of one view, of one size, from one camera."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR")]
    """Folder to write into."""
    ev: Literal["refined", "exif"] = "refined"
    """Exposures: those of EXIF, refined so that photos agree (mean and spread stay), or EXIF's as they are."""
    family: Literal["knots", "gamma", "emor", "ppisp"] = "knots"
    """Family of curves: free knots, or the nearest power, EMoR curve or toe and shoulder (docs/sensor.md)."""
    session: Session = field(default_factory=Session)

    def run(self) -> int:
        """Do it; the exit status."""
        self.session.apply(("cpu",))
        from unrender.initialize.stack import fit_stack, merge

        with ProgressView(self.session.quiet) as view:
            stack = read_stack(self.photos)
            self._warn_of_missing(stack, view)
            fit = fit_stack(stack, self.ev == "refined", self.family)
            for line in _shift_lines(self.photos, stack, fit):
                view.say(line)
            radiance, clipped = merge(stack, fit)
            rows = _rows(self.photos, stack, fit)
            self._write(fit, rows, radiance, clipped)
        if self.session.json:
            print_json(self._summary(fit, rows, clipped))
        else:
            print_result(_table(rows), f"response, radiance and preview in {self.output}")
        return 0

    def _warn_of_missing(self, stack: Stack, view: ProgressView) -> None:
        missing = int(stack.exif_ev.isnan().sum())
        if missing == len(self.photos):
            view.say("no photo says its exposure: ratios are fitted up to a power law, which x^0.45 as a start settles")
        elif missing:
            view.say(f"exposure missing in {missing} photos: estimated from the others")

    def _summary(self, fit: StackFit, rows: Sequence[PhotoRow], clipped: torch.Tensor) -> dict[str, Any]:
        return {
            "photos": [asdict(row) for row in rows],
            "ev_mean": fit.cameras.sensor.exposure_mean,
            "estimated": [row.photo for row, is_new in zip(rows, fit.estimated.tolist(), strict=True) if is_new],
            "too_bright_everywhere": float((clipped > 0).float().mean()),
            "too_dark_everywhere": float((clipped < 0).float().mean()),
            "files": {name: self.output / file for name, file in FILES.items()},
        }

    def _write(self, fit: StackFit, rows: Sequence[PhotoRow], radiance: torch.Tensor, clipped: torch.Tensor) -> None:
        import torch

        from unrender.fit.log import json_text
        from unrender.images.io import write_exr, write_png
        from unrender.render.tonemap import tonemap

        self.output.mkdir(parents=True, exist_ok=True)
        exposure, curves = curve_of(fit)
        with (self.output / FILES["csv"]).open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file)
            lines.writerow(["exposure", "red", "green", "blue"])
            lines.writerows([f"{x:.6g}", *(f"{y:.6f}" for y in ys)] for x, ys in zip(exposure, curves.T, strict=True))
        said = self._summary(fit, rows, clipped) | {"exposure": exposure.tolist()}
        said |= dict(zip(("red", "green", "blue"), curves.tolist(), strict=True))
        (self.output / FILES["json"]).write_text(json_text(said, indent=1) + "\n", encoding="utf-8")
        _plot(exposure, curves).save(self.output / FILES["png"])
        write_exr(self.output / FILES["radiance"], radiance, _header(fit, rows))
        marks = torch.where(clipped > 0, _TOO_BRIGHT, torch.where(clipped < 0, _TOO_DARK, 0)).to(torch.uint8)
        write_png(self.output / FILES["clipped"], marks)
        middle = float(radiance.mean(dim=2).median().clamp(min=1e-12).log2())
        shown = tonemap(radiance.permute(2, 0, 1), "filmic", middle - MIDDLE_GREY)
        write_png(self.output / FILES["preview"], shown.permute(1, 2, 0))


MIDDLE_GREY = -2.5
"""log2 of 0.18: where the preview shows the median."""


def read_stack(paths: Sequence[Path]) -> Stack:
    """The photos as one stack. Raises CaptureError unless they are two or more of one size and kind."""
    import torch

    from unrender.images.exif import read_ev100
    from unrender.images.header import is_lossy
    from unrender.images.io import inspect_picture, read_photo
    from unrender.initialize.stack import Stack

    if len(paths) < 2:
        raise CaptureError("a response needs photos of different exposure", expected="2 or more", got=len(paths))
    headers = [inspect_picture(path) for path in paths]
    first = headers[0]
    for path, header in zip(paths, headers, strict=True):
        if header[:2] != first[:2]:
            expected, got = (f"{width} x {height}" for height, width in (first[:2], header[:2]))
            raise CaptureError("photos of one view have one size", where=path, expected=expected, got=got)
        if header.linear != first.linear:
            raise CaptureError("one camera took linear and encoded photos", where=path, do="give one kind")
    told = [read_ev100(path) for path in paths]
    ev = torch.tensor([float("nan") if value is None else value for value in told], dtype=torch.float64)
    lossy = any(is_lossy(path) for path in paths)
    return Stack(tuple(read_photo(path) for path in paths), ev, first.linear, lossy)


def curve_of(fit: StackFit) -> tuple[torch.Tensor, torch.Tensor]:
    """The response: exposures [256] in 0..1, evenly spaced on x^0.45, and what each channel records, [3, 256]."""
    import torch

    from unrender.cameras.sensor import GAMMA

    exposure = torch.linspace(0, 1, 256, dtype=torch.float64) ** (1 / GAMMA)
    one = fit.cameras.select([0]).sensor
    mean = torch.full_like(one.exposure, one.exposure_mean)
    light = exposure.float().expand(1, 3, 1, -1) * torch.exp2(one.exposure - mean)
    recorded = one.record(light, torch.zeros(1, 2, 1, 256), fit.cameras.camera_index[:1])
    return exposure, recorded[0, :, 0].double()


def _rows(paths: Sequence[Path], stack: Stack, fit: StackFit) -> list[PhotoRow]:
    from unrender.initialize.stack import clipped_shares

    columns = zip(
        paths, stack.exif_ev.tolist(), fit.cameras.sensor.exposure.tolist(), clipped_shares(stack), strict=True
    )
    return [PhotoRow(path.name, None if said != said else said, ev, *shares) for path, said, ev, shares in columns]


def _shift_lines(paths: Sequence[Path], stack: Stack, fit: StackFit) -> list[str]:
    """For the user: which photos do not lie over the others."""
    from unrender.initialize.stack import shifts

    found = zip(paths, shifts(stack, fit.start_ev), strict=True)
    return [
        f"{path.name} lies {right:+d}, {down:+d} pixels (right, down) beside the next brighter photo: photos are not "
        "aligned; edges of the radiance are wrong"
        for path, (right, down) in found
        if (right, down) != (0, 0)
    ]


def _table(rows: Sequence[PhotoRow]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    for title in ("photo", "EV (EXIF)", "EV (fitted)", "too bright", "too dark"):
        table.add_column(title, justify="left" if title == "photo" else "right")
    for row in rows:
        exif = "-" if row.ev_exif is None else f"{row.ev_exif:.2f}"
        table.add_row(row.photo, exif, f"{row.ev:.2f}", f"{row.too_bright:.1%}", f"{row.too_dark:.1%}")
    return table


def _plot(exposure: torch.Tensor, curves: torch.Tensor) -> Any:
    from unrender.cameras.sensor import GAMMA
    from unrender.cli.plot import Plot

    plot = Plot("response: recorded value over exposure", x_range=(0.0, 1.0), y_range=(0.0, 1.0))
    x = exposure.tolist()
    plot.line(x, (exposure**GAMMA).tolist(), (190, 190, 190), f"x^{GAMMA}", width=1)
    for curve, color, name in zip(
        curves, ((214, 60, 60), (40, 150, 70), (50, 90, 210)), ("red", "green", "blue"), strict=True
    ):
        plot.line(x, curve.tolist(), color, name)
    return plot.picture()


def _header(fit: StackFit, rows: Sequence[PhotoRow]) -> dict[str, Any]:
    return {
        "chromaticities": _REC_709,
        "comments": _COMMENTS,
        "unrender.ev_mean": fit.cameras.sensor.exposure_mean,
        "unrender.photos": json.dumps([asdict(row) for row in rows]),
        "unrender.version": __version__,
    }
