"""``unrender fit``: from a COLMAP folder to a fitted run with held-out scores."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from unrender.cli.console import print_json, print_result
from unrender.cli.eval import print_scores
from unrender.cli.progress import ProgressView, follow
from unrender.cli.session import Session, flag, option
from unrender.cli.sitting import Sitting
from unrender.errors import RunError, SettingsError

if TYPE_CHECKING:
    from unrender.fit.run import Run
    from unrender.fit.settings import FitSettings
    from unrender.fit.source import CaptureSource

__all__ = ["FitVerb"]


@dataclass(frozen=True)
class FitVerb:
    """Fit a scene to photos with poses and score it on held-out photos.

    Ctrl-C saves and stops, and so does SIGTERM; the same command with --resume goes on. A second Ctrl-C kills.
    """

    capture: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CAPTURE")]
    """Folder (or file) of photos with poses, such as COLMAP's: images/ and sparse/0. Others: docs/formats.md."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="RUN")]
    """Folder for the run."""
    width: Annotated[int | None, option("W")] = None
    """Working width of the photos in pixels. Default: as they are; on a laptop take 400 to 800."""
    steps: Annotated[int | None, option("N")] = None
    """Stop after this many steps (default 5000)."""
    minutes: Annotated[float | None, option("M")] = None
    """Stop after this many minutes of fitting instead; starting the scene and scoring come on top."""
    resume: Annotated[bool, flag] = False
    """Go on with the run in RUN; begin it if there is none."""
    refine: Annotated[str | None, option("WHAT")] = None
    """What is refined beside appearance, with commas: poses, lens, points, exposure, white_point, vignette, response;
    photometry (the last four, default), all, none."""
    response: Annotated[Literal["knots", "gamma", "emor", "ppisp"] | None, option("FAMILY")] = None
    """Family of the cameras' response curves: knots (default), gamma, emor or ppisp; see docs/sensor.md."""
    color: Annotated[Literal["white_point", "homography"] | None, option("MODEL")] = None
    """Colour of each photo: a white_point (default), or a homography of chromaticities, for mixed light."""
    vignette_per_channel: Annotated[bool, flag] = False
    """A vignette for each channel, where one per camera is usual."""
    on_nonfinite: Annotated[Literal["stop", "skip"] | None, option("HOW")] = None
    """stop or skip: at a step whose loss or gradient is not finite, end the fit (default), or leave the step out."""
    points: Annotated[Path | None, option("FILE")] = None
    """Dense point cloud to start from: .ply .las .laz .e57 .xyz .txt .csv .asc .pts. Default: fused.ply where COLMAP
    leaves it, else the sparse points."""
    images: Annotated[Path | None, option("DIR")] = None
    """Folder of the photos. Default: images/ in CAPTURE."""
    masks: Annotated[Path | None, option("DIR")] = None
    """Folder of masks, white = use, named as the photos or with .png after that. Default: as the format says."""
    alpha: Annotated[Literal["ignore", "mask", "white", "black"] | None, option("HOW")] = None
    """Transparency of the photos: ignore, mask (do not look there), or lay over white or black. Default: as the format
    says, else ignore."""
    format: Annotated[str | None, option("NAME")] = None
    """What CAPTURE is, when it is not recognised or looks like several things; see docs/formats.md."""
    test_every: Annotated[int | None, option("K")] = None
    """Hold out every K-th photo in sorted order (0: none). Default: as the format says, else every 8th."""
    test_names: Annotated[Path | None, option("FILE")] = None
    """Hold out the photos named in this file, one a line, instead."""
    only_given_points: Annotated[bool, flag] = False
    """Add no points to those of the cloud, neither by stereo nor between them."""
    no_report: Annotated[bool, flag] = False
    """Leave no report.html in RUN; `unrender report RUN` makes it later."""
    config: Annotated[Path | None, option("FILE.toml")] = None
    """TOML file with any of the settings that a run writes to its settings.toml."""
    session: Session = field(default_factory=Session)

    def run(self) -> int:
        """Do it; the exit status."""
        self.session.apply()
        sitting = Sitting(self.capture, self.output, self.session, reports=not self.no_report)
        with sitting, ProgressView(self.session.quiet) as view:
            run = self.open_run()
            sitting.fit(run, view)
            evaluation = follow(run.evaluate(), view) if run.capture.test else None
            page = sitting.report(run, view)
        if self.session.json:
            print_json(sitting.table(run))
        elif evaluation is None:
            print_result(f"fitted {self.output}; no photo was held out, so there is nothing to score")
        else:
            print_scores(run, evaluation)
        if page is not None and not self.session.json:
            print_result(f"report in {page}")
        return 0

    def open_run(self) -> Run:
        """The run that is meant, made where there is none to go on with."""
        from unrender.fit.run import Run
        from unrender.fit.settings import FitSettings

        if not (self.resume and Run.exists(self.output)):
            return Run.create(self.output, self._source(), self._settings(FitSettings()), self.session.device)
        run = Run.open(self.output, self.session.device)
        self._refuse_other_source(run)
        run.change(self._settings(run.settings))
        return run

    def _source(self) -> CaptureSource:
        from unrender.fit.source import CaptureSource

        if self.test_every is not None and self.test_names is not None:
            raise SettingsError("--test-every and --test-names exclude each other", do="leave one of them out")
        return CaptureSource(
            folder=self.capture,
            images=self.images,
            masks=self.masks,
            points=self.points,
            test_every=self.test_every,
            test_names=self.test_names,
            format=self.format,
            alpha=self.alpha,
        )

    def _settings(self, base: FitSettings) -> FitSettings:
        """What the command line says over what the file says over ``base``."""
        from unrender.fit.refine.settings import named_families
        from unrender.fit.settings_file import read_settings

        settings = base if self.config is None else read_settings(self.config, base)
        said = {"width": self.width, "seed": self.session.seed, "on_nonfinite": self.on_nonfinite}
        given = {name: value for name, value in said.items() if value is not None}
        if self.only_given_points:
            given["points"] = replace(settings.points, count=1, factor=None, stereo=False)
        models = {
            "response": self.response,
            "color": self.color,
            "vignette_per_channel": self.vignette_per_channel or None,
        }
        models = {name: value for name, value in models.items() if value is not None}
        if models:
            given["sensor"] = replace(settings.sensor, **models)
        if self.refine is not None:
            given["refine"] = replace(settings.refine, what=named_families(self.refine))
        if self.steps is not None or self.minutes is not None:
            given |= {"steps": self.steps, "minutes": self.minutes}
        return replace(settings, **given)

    def _refuse_other_source(self, run: Run) -> None:
        """A run goes on with the capture that it began with."""
        ours = self._source().absolute()
        for name in ("folder", "images", "masks", "points", "format", "alpha"):
            given, known = getattr(ours, name), getattr(run.source, name)
            if given is not None and given != known:
                raise RunError(f"the run began with another {name}", where=self.output, expected=known, got=given)
        if self.test_every is None and self.test_names is None:
            return
        asked = replace(run.source, test_every=ours.test_every, test_names=ours.test_names)
        if set(asked.read().test_names) != set(run.views("test")):
            option = "--test-every" if self.test_names is None else "--test-names"
            held_out = ", ".join(run.views("test")) or "none"
            raise RunError(f"the run held out other photos than {option} says", where=self.output, expected=held_out)
