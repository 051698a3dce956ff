"""``unrender demo``: the whole path on a synthetic room, where the truth is known.

The room is photographed into an ordinary capture folder, read, fitted, scored and shown by the same lines as anybody's
photos. Only the closing table looks at the truth.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from rich.table import Table

from unrender.cli.console import print_json, print_result
from unrender.cli.demo_errors import PhotometricErrors, photometric_errors
from unrender.cli.demo_pictures import save_contact_sheet, save_flight, save_photometry
from unrender.cli.progress import ProgressView, follow
from unrender.cli.session import Session, option
from unrender.cli.sitting import Sitting
from unrender.errors import RunError

if TYPE_CHECKING:
    from unrender.cameras.sensor import Sensor
    from unrender.datasets.synthetic.capture import RoomSettings
    from unrender.fit.evaluate import Evaluation
    from unrender.fit.run import Run
    from unrender.fit.settings import FitSettings

__all__ = ["DemoVerb", "fit_settings", "room_settings"]

EXPLANATION = (
    "before: input points drawn plainly, exposures from EXIF, response x^0.45. Exposure error: over training photos,\n"
    "without their common offset. Response error: over 0..1, after the best scale of exposure per channel."
)
"""What the closing table compares."""


def room_settings(views: int, width: int, seed: int) -> RoomSettings:
    """The demo's room: what is photographed, in 4:3."""
    from unrender.datasets.synthetic.capture import RoomSettings

    return RoomSettings(views=views, width=width, height=round(width * 3 / 4), keep_views=False, seed=seed)


def fit_settings(minutes: float, steps: int | None, seed: int) -> FitSettings:
    """The demo's fit, tuned for a few minutes on two cores.

    The room's cloud is a clean scan, so the network may add to its colours: 1.6 dB more after 400 steps than without.
    """
    from unrender.fit.settings import FitSettings
    from unrender.render.shade.settings import DecoderSettings

    base = FitSettings()
    return FitSettings(
        minutes=minutes if steps is None else None,
        steps=steps,
        seed=seed,
        network=DecoderSettings(skip=True),
        rates={**base.rates, "scene.points.descriptors": 0.01, "cameras.response": 1e-3},
        radiometry=True,
        unlock=0.0,
    )


@dataclass(frozen=True)
class DemoVerb:
    """See it work: photograph a synthetic room, fit it, score it against the truth, leave pictures.

    Takes a few minutes on a laptop; needs nothing but this program.
    """

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR")] = Path("unrender-demo")
    """Folder for everything; where it exists a number is added."""
    views: Annotated[int, tyro.conf.arg(metavar="V")] = 32
    """Number of photos; every 8th is held out."""
    width: Annotated[int, tyro.conf.arg(metavar="W")] = 384
    """Width of the photos in pixels."""
    minutes: Annotated[float, tyro.conf.arg(metavar="M")] = 2.2
    """Time to fit."""
    steps: Annotated[int | None, option("N")] = None
    """Fit this many steps instead."""
    session: Session = field(default_factory=Session)

    def run(self) -> int:
        """Do it; the exit status."""
        self.session.apply()
        from unrender.datasets.synthetic.capture import load_truth
        from unrender.fit.evaluate import evaluate, plain_points
        from unrender.fit.run import Run

        folder = _free_folder(self.output)
        seed = self.session.seed or 0
        sitting = Sitting(folder / "capture", folder / "run", self.session)
        with sitting, ProgressView(self.session.quiet) as view:
            _photograph(folder / "capture", room_settings(self.views, self.width, seed), view)
            settings = fit_settings(self.minutes, self.steps, seed)
            run = Run.create(folder / "run", folder / "capture", settings, self.session.device)
            sitting.fit(run, view)
            ours = follow(run.evaluate(), view)
            floor = follow(evaluate(plain_points(run.capture), run.capture), view)
            sensor, truth = run.load_model().cameras.sensor, load_truth(folder / "capture").cameras.sensor
            errors = photometric_errors(sensor, truth, run.capture.train)
            page = sitting.report(run, view)
            view.say("painting")
            _paint(folder, run, truth)
        if self.session.json:
            print_json(sitting.table(run) | _summary(folder, floor, ours, errors))
        else:
            print_result(_table(floor, ours, errors), EXPLANATION, _where_to_look(folder, page))
        return 0


def _photograph(folder: Path, settings: RoomSettings, view: ProgressView) -> None:
    """Make the capture."""
    from unrender.datasets.synthetic.capture import Photographed, make_room_capture

    for message in make_room_capture(folder, settings):
        if isinstance(message, Photographed):
            view.advance("photographing", message.done / message.total, message.name)
        view.show(message)


def _paint(folder: Path, run: Run, truth: Sensor) -> None:
    """Leave pictures beside a scored run."""
    model = run.load_model()
    save_contact_sheet(run.pictures_folder, folder / "contact.png")
    save_photometry(folder / "photometry.png", model.cameras.sensor, truth, run.capture.train)
    save_flight(folder / "flight", model, run.capture.train)


def _where_to_look(folder: Path, page: Path | None) -> str:
    shown = (page, *(folder / name for name in ("contact.png", "flight.webp", "photometry.png")))
    pictures = ", ".join(str(path) for path in shown if path is not None)
    options = ["--path", "orbit", "--tonemap", "filmic", "-o", str(folder / "orbit")]
    return f"look at {pictures}; then try: {shlex.join(['unrender', 'render', str(folder / 'run'), *options])}"


def _free_folder(wanted: Path) -> Path:
    """``wanted``, or it with the first number that is not taken."""
    folder, number = wanted, 1
    while folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot make the folder ({error.strerror})", where=folder, do="choose another with -o"
        ) from None
    return folder


def _table(floor: Evaluation, ours: Evaluation, errors: PhotometricErrors) -> Table:
    table = Table(title=f"synthetic room, {len(ours.views)} held-out photos", title_justify="left")
    table.add_column("")
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    rows = [("EXIF exposure", floor.exif, ours.exif), ("fitted exposure", floor.fitted, ours.fitted)]
    for policy, before, after in rows:
        table.add_row(f"PSNR [dB], {policy}", f"{before.psnr:.2f}", f"{after.psnr:.2f}")
        table.add_row(f"SSIM, {policy}", f"{before.ssim:.3f}", f"{after.ssim:.3f}")
        table.add_row(f"FLIP, {policy}", f"{before.flip:.3f}", f"{after.flip:.3f}", end_section=True)
    for name, (before, after) in errors.rows():
        table.add_row(name, f"{before:.3f}", f"{after:.3f}")
    return table


def _summary(folder: Path, floor: Evaluation, ours: Evaluation, errors: PhotometricErrors) -> dict[str, object]:
    return {
        "folder": str(folder),
        "floor": {"exif": asdict(floor.exif), "fitted": asdict(floor.fitted)},
        "ours": {"exif": asdict(ours.exif), "fitted": asdict(ours.fitted)},
        "errors": {name: {"before": before, "after": after} for name, (before, after) in errors.rows()},
    }
