"""``unrender render``: new views of a fitted run, as pictures, as a film or as linear radiance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import tyro

from unrender import __version__
from unrender.cli.console import print_json, print_result
from unrender.cli.frames import FrameFolder
from unrender.cli.progress import ProgressView
from unrender.cli.session import Session, option
from unrender.cli.signals import Interrupted
from unrender.errors import SettingsError

if TYPE_CHECKING:
    import torch

    from unrender.cameras.camera import Cameras
    from unrender.fit.checkpoint import Checkpoint
    from unrender.fit.run import Run
    from unrender.images.video import FFmpeg
    from unrender.render.model import Model

__all__ = ["RenderVerb", "develop"]

Thing = TypeVar("Thing")
Operator = Literal["sensor", "linear", "gamma", "reinhard", "filmic"]
_FILM, _OTHER_FILMS = ".mp4", (".avi", ".gif", ".m4v", ".mkv", ".mov", ".webm", ".webp")
_FPS = 30.0


@dataclass(frozen=True)
class RenderVerb:
    """Render a run: its held-out or training views, a flight around it, or one through its cameras.

    Stopped or killed, it goes on with the same command and --resume.
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """Folder that `unrender fit` wrote."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR|FILM.mp4")]
    """Folder for the pictures (those of an earlier render of its kind are replaced), or a film, which needs ffmpeg."""
    path: Literal["test", "train", "all", "orbit", "interpolate"] = "test"
    """Which views: held-out, training or all photos, around the scene, or smoothly through the training photos."""
    frames: Annotated[int, tyro.conf.arg(metavar="N")] = 60
    """Number of pictures of a flight."""
    fps: Annotated[float | None, option("F")] = None
    """Pictures per second of a film (default 30)."""
    resume: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Keep the pictures that are there and render those that are missing; begin if there are none."""
    tonemap: Operator = "sensor"
    """sensor: as the run's camera would record it; the others are for screens."""
    ev: Annotated[float | None, option("E")] = None
    """Stops above the run's mean exposure; higher is darker. Default: each photo's own with the sensor, else 0."""
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
        names, cameras = self._cameras(run, model)
        model = model.to(self.session.device)
        if ffmpeg is not None:
            _check_film_size(cameras)
        pictures = self._pictures(checkpoint, names)
        with pictures.held(), ProgressView(self.session.quiet) as view:
            missing = pictures.begin(self.resume)
            if checkpoint.note is not None:
                view.say(checkpoint.note)
            try:
                for index in _advancing(view, "rendering", missing):
                    self._render(model, cameras.select([index]), checkpoint, pictures, index)
                if ffmpeg is not None:
                    self._encode(ffmpeg, pictures, view)
            except Interrupted as stop:
                says = "stopped; what is rendered is kept, and the same command with --resume goes on"
                raise Interrupted(stop.number, says) from None
        self._print(pictures, missing)
        return 0

    def _check_numbers(self) -> None:
        """Refuse numbers that no picture can have."""
        if self.ev is not None and not math.isfinite(self.ev):
            raise SettingsError("exposure", where="--ev", expected="a finite number of stops", got=self.ev)
        if self.up is not None and not (math.isfinite(sum(self.up)) and any(self.up)):
            raise SettingsError("direction", where="--up", expected="three finite numbers, not all 0", got=self.up)

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
            **{name: getattr(self, name) for name in ("path", "width", "tonemap", "ev", "up")},
            "frames": len(names),
            "format": kind,
            "unrender": __version__,
        }
        folder = self.output.with_name(f"{self.output.name}.frames") if self._is_film else self.output
        series = self.path if self.path in ("test", "train", "all") else "flight"
        return FrameFolder(folder, f"{series}.{kind}", facts, [f"{name}.{kind}" for name in names])

    def _cameras(self, run: Run, model: Model) -> tuple[list[str], Cameras]:
        """File stems and the cameras to look through, at the wanted size and exposure."""
        from unrender.fit.evaluate import exif_cameras, picture_stems

        if self.path in ("test", "train", "all"):
            views = {name: view for view, name in enumerate(run.names)} if self.path == "all" else run.views(self.path)
            if not views:
                raise SettingsError(f"the run has no {self.path} view", where=self.run_folder, do="take another --path")
            of_view = model.cameras.select if self.path == "train" else lambda index: exif_cameras(model.cameras, index)
            stems = picture_stems(run.names)
            names, cameras = [stems[view] for view in views.values()], of_view(list(views.values()))
        else:
            cameras = self._flight(model.cameras.select(list(run.views("train").values())))
            names = [f"frame_{index:04d}" for index in range(len(cameras))]
        return names, self._exposed(self._resized(cameras))

    def _flight(self, cameras: Cameras) -> Cameras:
        import torch

        from unrender.cameras.paths import interpolate, orbit

        if self.path == "interpolate":
            return interpolate(cameras, self.frames)
        return orbit(cameras, self.frames, None if self.up is None else torch.tensor(self.up, dtype=torch.float64))

    def _resized(self, cameras: Cameras) -> Cameras:
        import torch

        if self.width is None:
            return cameras
        if self.width < 1:
            raise SettingsError("width of the pictures", where="--width", expected="1 pixel or more", got=self.width)
        heights = (cameras.sizes[:, 0] * self.width / cameras.sizes[:, 1]).round().long().clamp(min=1)
        sizes = torch.stack([heights, torch.full_like(heights, self.width)], dim=1)
        return cameras.resize((sizes / cameras.sizes).double().flip(1), sizes)

    def _exposed(self, cameras: Cameras) -> Cameras:
        """The cameras at the wanted EV, which counts from the run's mean exposure."""
        import torch

        if self.ev is None:
            return cameras
        exposure = torch.full_like(cameras.sensor.exposure, cameras.sensor.exposure_mean + self.ev)
        return replace(cameras, sensor=replace(cameras.sensor, exposure=exposure))

    def _render(self, model: Model, camera: Cameras, checkpoint: Checkpoint, pictures: FrameFolder, index: int) -> None:
        """One picture of the series, from radiance to file."""
        import torch

        from unrender.cli.exr_header import exr_header
        from unrender.fit.evaluate import refuse_broken
        from unrender.images.io import write_exr, write_png

        with torch.no_grad():
            radiance = model.radiance(camera.to(self.session.device)).cpu()
        name = Path(pictures.names[index]).stem
        refuse_broken(radiance, name)
        with pictures.writing(index) as part:
            if self.exr:
                write_exr(part, radiance[0].permute(1, 2, 0), exr_header(camera, name, checkpoint))
            else:
                write_png(part, develop(camera, radiance, self.tonemap, self.ev or 0.0).permute(1, 2, 0))

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
