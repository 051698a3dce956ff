"""``unrender render``: views of a fitted run at any exposure, as pictures, as a film or as linear radiance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import tyro

from unrender import __version__
from unrender.cli.console import print_json, print_result
from unrender.cli.frames import FrameFolder
from unrender.cli.progress import ProgressView
from unrender.cli.render_views import FLIGHTS, Eyes, Policy, Views
from unrender.cli.render_views import Path as ViewPath
from unrender.cli.session import Session, option
from unrender.cli.signals import Interrupted
from unrender.errors import SettingsError

if TYPE_CHECKING:
    import torch

    from unrender.cameras.camera import Cameras
    from unrender.fit.checkpoint import Checkpoint
    from unrender.images.video import FFmpeg

__all__ = ["RenderVerb", "develop"]

Thing = TypeVar("Thing")
Operator = Literal["sensor", "linear", "gamma", "reinhard", "filmic", "agx", "fusion"]
_FILM, _OTHER_FILMS = ".mp4", (".avi", ".gif", ".m4v", ".mkv", ".mov", ".webm", ".webp")
_FPS = 30.0
_FRAMES, _SWEPT, _STOPS = 60, 7, (-3.0, 3.0)
_MOST_STOPS = 100.0
"""What is farther from the mean is black or white whatever it shows."""


@dataclass(frozen=True)
class RenderVerb:
    """Render a run: its held-out or training views, a flight through it, or one view at many exposures.

    Stopped or killed, it goes on with the same command and --resume.
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """Folder that `unrender fit` wrote."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR|FILM.mp4")]
    """Folder for the pictures (those of an earlier render of its kind are replaced), or a film, which needs ffmpeg."""
    path: ViewPath = "test"
    """Held-out, training or all photos; around the scene; smoothly through the training photos; one at many EVs."""
    frames: Annotated[int | None, option("N")] = None
    """Number of pictures of a flight (default 60) or a sweep (default 7, in a film 60)."""
    view: Annotated[str | None, option("NAME")] = None
    """The photo that a sweep shows. Default: the first held-out one."""
    stops: Annotated[tuple[float, float] | None, option("LOW HIGH")] = None
    """EVs of a sweep, from the view's own; higher is darker (default -3 3)."""
    fps: Annotated[float | None, option("F")] = None
    """Pictures per second of a film (default 30)."""
    resume: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Keep the pictures that are there and render those that are missing; begin if there are none."""
    tonemap: Operator = "sensor"
    """sensor: as the run's camera would record it; the others are for screens."""
    exposure: Annotated[Policy | None, option("POLICY")] = None
    """exif, fitted, neighbours, predicted or mean. Default: train as fitted, else exif, else what foretells best."""
    ev: Annotated[float | None, option("E")] = None
    """Stops above the run's mean exposure, for all views; higher is darker. Default: 0 with another than sensor."""
    up: Annotated[tuple[float, float, float] | None, option("X Y Z")] = None
    """World direction that is up in an orbit (other paths keep the cameras' own). Default: from the cameras."""
    width: Annotated[int | None, option("W")] = None
    """Width in pixels. Default: the run's."""
    exr: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Write linear radiance as float32 EXR instead of PNG; its values do not depend on --ev and --tonemap."""
    session: Session = field(default_factory=Session)

    def run(self) -> int:
        """Do it; the exit status."""
        self.session.apply()
        self._check_numbers()
        ffmpeg = self._ffmpeg()
        from unrender.fit.run import Run

        run = Run.open(self.run_folder)
        checkpoint = run.load_checkpoint()
        model = checkpoint.load_model()
        cameras = self._views.cameras(run, model)
        model = model.to(self.session.device)
        if ffmpeg is not None:
            _check_film_size(cameras)
        pictures = self._pictures(checkpoint, self._views.names(run))
        with pictures.held(), ProgressView(self.session.quiet) as view:
            missing = pictures.begin(self.resume)
            if checkpoint.note is not None:
                view.say(checkpoint.note)
            try:
                if missing:
                    cameras = self._views.exposed(run, model, cameras, view)
                eyes = Eyes(model)
                for index in _advancing(view, "rendering", missing):
                    self._render(eyes, cameras.select([index]), checkpoint, pictures, index)
                if ffmpeg is not None:
                    self._encode(ffmpeg, pictures, view)
            except Interrupted as stop:
                says = "stopped; what is rendered is kept, and the same command with --resume goes on"
                raise Interrupted(stop.number, says) from None
        self._print(pictures, missing)
        return 0

    def _check_numbers(self) -> None:
        """Refuse numbers that no picture can have, and what says nothing or says it twice."""
        if self.ev is not None and not abs(self.ev) <= _MOST_STOPS:
            raise SettingsError("exposure", where="--ev", expected=f"stops, within {_MOST_STOPS} of 0", got=self.ev)
        if self.up is not None and not (math.isfinite(sum(self.up)) and any(self.up)):
            raise SettingsError("direction", where="--up", expected="three finite numbers, not all 0", got=self.up)
        if self.frames is not None and self.frames < 1:
            raise SettingsError("number of pictures", where="--frames", expected="1 or more", got=self.frames)
        self._check_exposure()
        self._check_sweep()

    def _check_exposure(self) -> None:
        if self.exposure is not None and self.ev is not None:
            raise SettingsError("exposed twice", where="--ev", do="leave out --ev or --exposure")
        if self.exposure in ("exif", "fitted") and self.path in FLIGHTS:
            raise SettingsError("a flight passes no photo", where="--exposure", do="take neighbours, predicted or mean")
        if self.exposure == "fitted" and self.path == "test":
            raise SettingsError("nothing is fitted to held-out photos", where="--exposure", do="take another")

    def _check_sweep(self) -> None:
        if self.path != "sweep":
            for name, value in (("--view", self.view), ("--stops", self.stops)):
                if value is not None:
                    raise SettingsError("only a sweep has this", where=name, do="add --path sweep, or leave it out")
        elif self.exr:
            raise SettingsError("radiance is the same at any exposure", where="--exr", do="leave it or the sweep out")
        elif not all(abs(end) <= _MOST_STOPS for end in self._views.stops):
            raise SettingsError("exposures", where="--stops", expected=f"within {_MOST_STOPS} of 0", got=self.stops)

    @property
    def _views(self) -> Views:
        """What is to be seen."""
        usual = _SWEPT if self.path == "sweep" and not self._is_film else _FRAMES
        return Views(
            path=self.path,
            frames=usual if self.frames is None else self.frames,
            name=self.view,
            stops=_STOPS if self.stops is None else self.stops,
            up=self.up,
            width=self.width,
            exposure=self.exposure,
            ev=self.ev,
            guess=self.path == "sweep" or (self.tonemap == "sensor" and not self.exr),
        )

    @property
    def _is_film(self) -> bool:
        return self.output.suffix.lower() == _FILM

    def _ffmpeg(self) -> FFmpeg | None:
        """What encodes the film, if one is asked for. Refuses what cannot be written before anything is rendered."""
        from unrender.images.video import check_rate, find_ffmpeg

        if self.output.suffix.lower() in _OTHER_FILMS:
            raise SettingsError("films are written as .mp4", where=self.output, do=f"take {self.output.stem}.mp4")
        if not self._is_film:
            if self.fps is not None:
                raise SettingsError("only a film has pictures per second", where="--fps", do="take an output.mp4")
            if self.output.exists() and not self.output.is_dir():
                raise SettingsError("this is a file, and pictures need a folder", where=self.output)
            return None
        if self.exr:
            raise SettingsError("a film holds no radiance", where="--exr", do="leave it out, or name a folder")
        if self.output.is_dir():
            raise SettingsError("this is a folder, and a film is a file", where=self.output)
        check_rate(_FPS if self.fps is None else self.fps)
        return find_ffmpeg()

    def _pictures(self, checkpoint: Checkpoint, names: Sequence[str]) -> FrameFolder:
        """The pictures and what they are; a film's lie beside it until it is whole."""
        kind = "exr" if self.exr else "png"
        facts = {
            "step": checkpoint.step,
            "checkpoint": checkpoint.digest,
            **{name: getattr(self, name) for name in ("path", "width", "tonemap", "exposure", "ev", "up")},
            **({"view": self.view, "stops": self._views.stops} if self.path == "sweep" else {}),
            "frames": len(names),
            "format": kind,
            "unrender": __version__,
        }
        folder = self.output.with_name(f"{self.output.name}.frames") if self._is_film else self.output
        series = "flight" if self.path in FLIGHTS else self.path
        return FrameFolder(folder, f"{series}.{kind}", facts, [f"{name}.{kind}" for name in names])

    def _render(self, eyes: Eyes, camera: Cameras, checkpoint: Checkpoint, pictures: FrameFolder, index: int) -> None:
        """One picture of the series, from radiance to file."""
        from unrender.cli.exr_header import exr_header
        from unrender.fit.evaluate import refuse_broken
        from unrender.images.io import write_exr, write_png

        radiance = eyes.radiance(camera)
        name = Path(pictures.names[index]).stem
        refuse_broken(radiance, name)
        with pictures.writing(index) as part:
            if self.exr:
                write_exr(part, radiance[0].permute(1, 2, 0), exr_header(camera, name, checkpoint))
            else:
                write_png(part, develop(camera, radiance, self.tonemap, self._ev(camera)).permute(1, 2, 0))

    def _ev(self, camera: Cameras) -> float:
        """Where an operator sees 1, in stops above radiance 1: 0 unless exposures were asked for."""
        asked = self.path == "sweep" or self.exposure is not None
        return float(camera.sensor.exposure[0]) - camera.sensor.exposure_mean if asked else self.ev or 0.0

    def _encode(self, ffmpeg: FFmpeg, pictures: FrameFolder, view: ProgressView) -> None:
        """The pictures become the film, which then is all that is left."""
        import torch

        paths = _advancing(view, "encoding", pictures.paths)
        ffmpeg.encode(self.output, paths, _FPS if self.fps is None else self.fps, torch.get_num_threads())
        pictures.remove()

    def _print(self, pictures: FrameFolder, missing: Sequence[int]) -> None:
        """The result on stdout: what was written, and how many pictures were there already."""
        kept = len(pictures.names) - len(missing)
        written = [self.output] if self._is_film else [pictures.paths[index] for index in missing]
        if self.session.json:
            video = str(self.output) if self._is_film else None
            table = {"run": str(self.run_folder), "written": list(map(str, written)), "kept": kept, "video": video}
            print_json(table)
            return
        kind = "EXR files of linear radiance" if self.exr else f"pictures ({self.tonemap})"
        before = f", {kept} of them kept from before" if kept else ""
        print_result(f"{len(pictures.names)} {kind} in {self.output}{before}")


def _advancing(view: ProgressView, task: str, things: Sequence[Thing]) -> Iterator[Thing]:
    """The things one by one; the next is asked for when one is done, and that is shown."""
    for done, thing in enumerate(things, start=1):
        yield thing
        view.advance(task, done / len(things), f"{done} of {len(things)}")


def _check_film_size(cameras: Cameras) -> None:
    """Refuse views that one film cannot show."""
    sizes = {tuple(size) for size in cameras.sizes.tolist()}
    if len(sizes) > 1:
        raise SettingsError("a film needs views of one size", got=sorted(sizes), do="take a flight as --path")
    if min(cameras.size) < 2:
        raise SettingsError("a film is 2 pixels high and wide at least", where="--width", got=cameras.size)


def develop(camera: Cameras, radiance: torch.Tensor, operator: Operator, ev: float) -> torch.Tensor:
    """Linear radiance [1, 3, H, W] of one view as a picture [3, H, W] in 0..1."""
    import torch

    from unrender.render.tonemap import tonemap

    with torch.no_grad():
        recorded = operator == "sensor"
        return (camera.shown(camera.record(radiance)) if recorded else tonemap(radiance, operator, ev))[0]
