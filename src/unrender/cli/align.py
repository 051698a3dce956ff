"""``unrender align``: photos to a scanned cloud that stays where it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from unrender.cli.console import print_json, print_result
from unrender.cli.fit import FitVerb
from unrender.cli.progress import ProgressView
from unrender.cli.session import Session, flag, option
from unrender.cli.sitting import Sitting

if TYPE_CHECKING:
    from unrender.fit.run import Run

__all__ = ["AlignVerb"]

PICTURE, CAMERAS = "reprojection.png", "cameras"


@dataclass(frozen=True)
class AlignVerb:
    """Refine poses, lens and photometry so that photos fit a scanned cloud, which stays as it is.

    Leaves the cameras as a COLMAP model in RUN/cameras, and RUN/reprojection.png: photos carried over the scan into
    one view, before and after. Every photo is refined, none is held out; how each was judged: RUN/refinement.json
    and RUN/report.html.
    """

    capture: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CAPTURE")]
    """Folder (or file) of photos with poses in the frame of the scan, roughly."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="RUN")]
    """Folder for the run."""
    points: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The scan: .ply .las .laz .e57 .xyz .txt .csv .asc .pts."""
    width: Annotated[int | None, option("W")] = None
    """Working width of the photos in pixels. Default: as they are."""
    steps: Annotated[int | None, option("N")] = None
    """Stop after this many steps (default 5000)."""
    minutes: Annotated[float | None, option("M")] = None
    """Stop after this many minutes of fitting instead."""
    resume: Annotated[bool, flag] = False
    """Go on with the run in RUN; begin it if there is none."""
    refine: Annotated[str, option("WHAT")] = "poses,lens,photometry"
    """What moves; see `unrender fit`."""
    images: Annotated[Path | None, option("DIR")] = None
    """Folder of the photos. Default: images/ in CAPTURE."""
    masks: Annotated[Path | None, option("DIR")] = None
    """Folder of masks, white = use. Default: as the format says."""
    format: Annotated[str | None, option("NAME")] = None
    """What CAPTURE is, when it is not recognised; see docs/formats.md."""
    config: Annotated[Path | None, option("FILE.toml")] = None
    """TOML file with any of the settings that a run writes to its settings.toml."""
    session: Session = field(default_factory=Session)

    def run(self) -> int:
        """Do it; the exit status."""
        self.session.apply()
        sitting = Sitting(self.capture, self.output, self.session, "align")
        with sitting, ProgressView(self.session.quiet) as view:
            run = self._fit().open_run()
            sitting.fit(run, view)
            target = self._write_picture(run)
            self._write_cameras(run)
            page = sitting.report(run, view)
        outcome = run.load_refinement()
        if self.session.json:
            files = {"cameras": self.output / CAMERAS, "picture": self.output / PICTURE}
            print_json({"run": self.output, "refinement": outcome, "report": page} | files)
        else:
            from unrender.reports.camera_moves import moves_line

            print_result(f"{moves_line(outcome)}; cameras: {self.output / CAMERAS}")
            print_result(f"before and after, carried into {target}: {self.output / PICTURE}")
            if page is not None:
                print_result(f"report in {page}")
        return 0

    def _fit(self) -> FitVerb:
        """The fit that this is: of all photos, with the scan as it is."""
        return FitVerb(
            self.capture,
            self.output,
            width=self.width,
            steps=self.steps,
            minutes=self.minutes,
            resume=self.resume,
            refine=self.refine,
            points=self.points,
            images=self.images,
            masks=self.masks,
            format=self.format,
            test_every=0,
            config=self.config,
            only_given_points=True,
            session=self.session,
        )

    def _write_picture(self, run: Run) -> str:
        """The reprojection before and after, beside the photo; the name of the view that it is carried into."""
        from unrender.fit.refine.pictures import reprojection_picture
        from unrender.images.io import write_png

        picture, target = reprojection_picture(run.capture, run.load_model())
        write_png(self.output / PICTURE, picture)
        return target

    def _write_cameras(self, run: Run) -> None:
        """The refined cameras in place of those of an earlier sitting."""
        import shutil

        from unrender.datasets.write_capture import write_capture
        from unrender.fit.exported import export_run

        exported = export_run(run, run.load_model(), "colmap")
        shutil.rmtree(self.output / CAMERAS, ignore_errors=True)
        write_capture(self.output / CAMERAS, exported.reconstruction, "colmap", lossy=True)
