"""``unrender report``: one page on what a fit did, which ``fit`` leaves too."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from unrender.cli.console import print_json, print_result
from unrender.cli.progress import ProgressView, follow
from unrender.cli.session import Session, option
from unrender.cli.signals import signals_wait
from unrender.errors import UnrenderError

if TYPE_CHECKING:
    from unrender.fit.run import Run

__all__ = ["ReportVerb", "write_report"]


@dataclass(frozen=True)
class ReportVerb:
    """Make the report of a run again: RUN/report.html, one file that opens anywhere, also offline.

    `unrender fit` makes it at its end; this one makes it of the newest state, also while a fit goes on.
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """Folder that `unrender fit` wrote."""
    photos: Annotated[int | None, option("N")] = None
    """Render and measure this many photos, 0 to 300. Default: as many as can be in three quarters of a minute."""
    session: Session = field(default_factory=Session)

    def run(self) -> int:
        """Do it; the exit status."""
        self.session.apply()
        from unrender.fit.run import Run
        from unrender.reports.fit_report import fit_report

        run = Run.open(self.run_folder, self.session.device)
        with ProgressView(self.session.quiet) as view:
            page = follow(fit_report(run, self.photos), view)
        if self.session.json:
            print_json({"run": run.folder, "report": page})
        else:
            print_result(f"report in {page}")
        return 0


def write_report(run: Run, view: ProgressView, *, quick: bool = False) -> Path | None:
    """The report at the end of a fit; None, and a line that says why, where it cannot be made.

    A fit is no worse for that. ``quick``: somebody waits for the end.
    """
    with signals_wait():
        from unrender.reports.fit_report import fit_report
    try:
        return follow(fit_report(run, quick=quick), view)
    except (UnrenderError, OSError) as error:
        view.say(f"no report: {error}")
        return None
