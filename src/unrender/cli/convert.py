"""``unrender convert``: photos with poses from one format to another, without a fit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from unrender.cli.console import print_json, print_result
from unrender.cli.progress import ProgressView
from unrender.cli.session import Session, flag, option

if TYPE_CHECKING:
    from unrender.datasets.reconstruction import Reconstruction

__all__ = ["ConvertVerb", "written_line"]


@dataclass(frozen=True)
class ConvertVerb:
    """Write photos with poses in another format: cameras, points and what each photo saw of them.

    World frame, scale, names and numbers stay those of the input.
    """

    capture: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CAPTURE")]
    """Folder (or file) of photos with poses in any format that `unrender fit` takes."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="DIR")]
    """New folder to write."""
    to: Annotated[str, tyro.conf.arg(metavar="FORMAT")]
    """What to write: colmap, transforms, adop, bundler, ...; docs/formats.md has the table."""
    format: Annotated[str | None, option("NAME")] = None
    """What CAPTURE is, when it is not recognised or looks like several things."""
    images: Annotated[Path | None, option("DIR")] = None
    """Folder of the photos. Default: where CAPTURE says."""
    masks: Annotated[Path | None, option("DIR")] = None
    """Folder of masks, white = use. Default: those that CAPTURE names."""
    photos: Literal["link", "copy", "none"] = "link"
    """Photos in DIR/images: links to where they are, copies, or none."""
    lossy: Annotated[bool, flag] = False
    """Leave out or approximate what FORMAT cannot hold, and say it, instead of refusing."""
    session: Session = field(default_factory=Session)

    def run(self) -> int:
        """Do it; the exit status."""
        self.session.apply()
        from unrender.datasets.formats import find_format, read_reconstruction, writable
        from unrender.datasets.masks import find_masks
        from unrender.datasets.write_capture import write_capture

        writable(self.to)
        with ProgressView(self.session.quiet) as view:
            kind, notes = find_format(self.capture, self.format)
            found = read_reconstruction(self.capture, kind, images=self.images, observations=True)
            if self.masks is not None:
                found = replace(found, masks=find_masks(found.names, self.masks))
            for note in (*notes, *found.notes):
                view.say(note)
            lost = write_capture(self.output, found, self.to, photos=self.photos, lossy=self.lossy)
            for note in lost:
                view.say(note)
        if self.session.json:
            said = {"capture": self.capture, "format": kind, "to": self.to, "output": self.output}
            counts = {"views": len(found), "cameras": len(found.lenses), "points": len(found.points)}
            print_json(said | counts | {"lost": lost})
        else:
            print_result(written_line(self.output, self.to, found))
        return 0


def written_line(output: Path, to: str, found: Reconstruction) -> str:
    """The result, for people."""
    cameras = "1 camera" if len(found.lenses) == 1 else f"{len(found.lenses)} cameras"
    return f"{output}: {to}, {len(found)} photos, {cameras}, {len(found.points)} points"
