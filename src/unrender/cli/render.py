"""``unrender render``: new views of a fitted run, as pictures or as linear radiance."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from unrender.cli.progress import ProgressView, print_result
from unrender.cli.session import Session, option
from unrender.errors import SettingsError

if TYPE_CHECKING:
    import torch

    from unrender.cameras.camera import Cameras
    from unrender.fit.run import Run
    from unrender.render.model import Model

__all__ = ["RenderVerb", "develop"]

Operator = Literal["sensor", "linear", "gamma", "reinhard", "filmic"]


@dataclass(frozen=True)
class RenderVerb:
    """Render a run: its held-out or training views, a flight around it, or one through its cameras."""

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """Folder that `unrender fit` wrote."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR")]
    """Folder for the pictures; files of the same name are replaced."""
    path: Literal["test", "train", "orbit", "interpolate"] = "test"
    """Which views: held-out photos, training photos, around the scene, or smoothly through the training photos."""
    frames: Annotated[int, tyro.conf.arg(metavar="N")] = 60
    """Number of pictures of a flight."""
    tonemap: Operator = "sensor"
    """sensor: as the run's camera would record it; the others are for screens."""
    ev: Annotated[float | None, option("E")] = None
    """Stops above the run's mean exposure; higher is darker. Default: each photo's own with the sensor, else 0."""
    up: Annotated[tuple[float, float, float] | None, option("X Y Z")] = None
    """World direction that is up in an orbit (other paths keep the cameras' own). Default: from the cameras."""
    width: Annotated[int | None, option("W")] = None
    """Width in pixels. Default: the run's."""
    exr: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Write linear radiance as float32 EXR instead of PNG; --ev and --tonemap then have no effect."""
    session: Session = field(default_factory=Session)

    def run(self) -> int:
        """Do it; the exit status."""
        self.session.apply()
        from unrender.fit.run import Run

        run = Run.open(self.run_folder)
        model = run.load_model()
        names, cameras = self._cameras(run, model)
        self.output.mkdir(parents=True, exist_ok=True)
        written = []
        with ProgressView(self.session.quiet) as view:
            for index, name in enumerate(names):
                written.append(self._write(model, cameras.select([index]), name))
                view.advance("rendering", (index + 1) / len(names), written[-1].name)
        print_result(json.dumps([str(path) for path in written]) if self.session.json else self._summary(written))
        return 0

    def _cameras(self, run: Run, model: Model) -> tuple[list[str], Cameras]:
        """File stems and the cameras to look through, at the wanted size and exposure."""
        from unrender.fit.evaluate import exif_cameras, picture_stem

        if self.path in ("test", "train"):
            views = run.views(self.path)
            if not views:
                raise SettingsError(f"the run has no {self.path} view", where=self.run_folder, do="take another --path")
            of_view = model.cameras.select if self.path == "train" else lambda index: exif_cameras(model.cameras, index)
            names, cameras = [picture_stem(name) for name in views], of_view(list(views.values()))
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

    def _write(self, model: Model, camera: Cameras, name: str) -> Path:
        import torch

        from unrender.images.io import write_exr, write_png

        with torch.no_grad():
            radiance = model.radiance(camera)
        path = self.output / f"{name}.{'exr' if self.exr else 'png'}"
        if self.exr:
            write_exr(path, radiance[0].permute(1, 2, 0))
        else:
            write_png(path, develop(camera, radiance, self.tonemap, self.ev or 0.0).permute(1, 2, 0))
        return path

    def _summary(self, written: list[Path]) -> str:
        kind = "EXR files of linear radiance" if self.exr else f"pictures ({self.tonemap})"
        return f"{len(written)} {kind} in {self.output}"


def develop(camera: Cameras, radiance: torch.Tensor, operator: Operator, ev: float) -> torch.Tensor:
    """Linear radiance [1, 3, H, W] of one view as a picture [3, H, W] in 0..1."""
    import torch

    from unrender.render.tonemap import tonemap

    with torch.no_grad():
        return (camera.record(radiance) if operator == "sensor" else tonemap(radiance, operator, ev))[0]
