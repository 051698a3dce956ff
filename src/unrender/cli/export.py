"""``unrender export``: what a fit made of the cameras and points, for other programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from unrender.cli.console import print_json, print_result
from unrender.cli.convert import written_line
from unrender.cli.progress import ProgressView
from unrender.cli.render import RenderVerb
from unrender.cli.session import Session, flag
from unrender.errors import SettingsError

if TYPE_CHECKING:
    from unrender.fit.run import Run
    from unrender.render.model import Model

__all__ = ["ExportVerb"]

POINTS = "points.ply"


@dataclass(frozen=True)
class ExportVerb:
    """Write a run's cameras and points in the frame, scale, names and numbers of its input.

    Points that were added to the input's get a PLY of their own beside them.
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """Folder that `unrender fit` wrote."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR")]
    """New folder to write."""
    to: Annotated[str, tyro.conf.arg(metavar="FORMAT")]
    """ply: all points of the scene. exr: the linear radiance of every photo's view. Else a capture format to write:
    colmap, transforms, adop, bundler, ...; docs/formats.md has the table."""
    photos: Literal["link", "copy", "none"] | None = None
    """Photos in DIR/images: links to where they are (the default), copies, or none."""
    lossy: Annotated[bool, flag] = False
    """Leave out or approximate what FORMAT cannot hold, and say it, instead of refusing."""
    session: Session = field(default_factory=Session)

    def run(self) -> int:
        """Do it; the exit status."""
        self.session.apply()
        self._check_words()
        if self.to == "exr":
            return RenderVerb(self.run_folder, self.output, path="all", exr=True, session=self.session).run()
        from unrender.fit.run import Run

        run = Run.open(self.run_folder)
        with ProgressView(self.session.quiet) as view:
            model = run.load_model()
            table = self._write_points(run, model) if self.to == "ply" else self._write_capture(run, model, view)
        if self.session.json:
            said = {name: value for name, value in table.items() if name != "line"}
            print_json({"run": self.run_folder, "to": self.to, "output": self.output} | said)
        else:
            print_result(table["line"])
        return 0

    def _check_words(self) -> None:
        """Raises SettingsError for words that mean nothing, before anything is read."""
        from unrender.datasets.formats import writable

        if self.to not in ("ply", "exr"):
            writable(self.to)
            return
        unused = [f"--photos {self.photos}"] * (self.photos is not None) + ["--lossy"] * self.lossy
        if unused:
            raise SettingsError(f"{unused[0]} means nothing with --to {self.to}", do="leave it out")

    def _write_points(self, run: Run, model: Model) -> dict[str, Any]:
        """All points of the scene in one PLY."""
        from unrender.datasets.clouds import write_ply
        from unrender.datasets.write_capture import new_folder
        from unrender.fit.exported import scene_cloud

        cloud = scene_cloud(run, model)
        with new_folder(self.output) as part:
            write_ply(part / POINTS, cloud)
        return {"points": len(cloud), "line": f"{self.output / POINTS}: {len(cloud)} points"}

    def _write_capture(self, run: Run, model: Model, view: ProgressView) -> dict[str, Any]:
        """Cameras and the input's points as the format has them, the others beside them."""
        from unrender.datasets.beside_cameras import ADDED
        from unrender.datasets.write_capture import write_capture
        from unrender.fit.exported import export_run, scene_cloud

        exported = export_run(run, model, self.to)
        found, added = exported.reconstruction, exported.added
        cloud = scene_cloud(run, model, added) if len(added) else None
        lost = write_capture(self.output, found, self.to, photos=self.photos or "link", lossy=self.lossy, added=cloud)
        line = written_line(self.output, self.to, found)
        for note in lost:
            view.say(note)
        if len(added):
            line += f"; {len(added)} points that the fit added in {ADDED}"
        counts = {"views": len(found), "cameras": len(found.lenses), "points": len(found.points), "added": len(added)}
        return counts | {"lost": lost, "line": line}
