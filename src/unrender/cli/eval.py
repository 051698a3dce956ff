"""``unrender eval``: score a run's held-out views, again or for the first time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from rich.table import Table

from unrender.cli.console import print_json, print_result
from unrender.cli.progress import ProgressView, follow
from unrender.cli.session import Session

if TYPE_CHECKING:
    from unrender.fit.evaluate import Evaluation
    from unrender.fit.run import Run
    from unrender.messages import Scores

__all__ = ["EvalVerb", "policy_table", "print_scores", "score_table"]


@dataclass(frozen=True)
class EvalVerb:
    """Score the held-out photos of a run under two exposure policies, or under all.

    Prints the table; writes RUN/eval.json, and RUN/eval/ with photo, ours and FLIP map side by side.
    """

    run_folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(name="run", metavar="RUN")]
    """Folder that `unrender fit` wrote."""
    policies: Literal["usual", "all"] = "usual"
    """all: also at exposures foretold from the training photos, and with how far each is off in stops."""
    session: Session = field(default_factory=Session)

    def run(self) -> int:
        """Do it; the exit status."""
        self.session.apply()
        from unrender.fit.run import Run

        run = Run.open(self.run_folder, self.session.device)
        with ProgressView(self.session.quiet) as view:
            evaluation = follow(run.evaluate(policies=self.policies == "all"), view)
        if self.session.json:
            print_json({"run": run.folder} | run.load_scores())
        else:
            print_scores(run, evaluation, images=True)
            if evaluation.policies:
                print_result(policy_table(evaluation))
        return 0


def print_scores(run: Run, evaluation: Evaluation, *, images: bool = False) -> None:
    """The result of a fit or an evaluation on stdout, for people."""
    print_result(score_table(evaluation, images=images), f"pictures in {run.pictures_folder}")


def score_table(evaluation: Evaluation, *, images: bool = False) -> Table:
    """Means under both policies, and each photo's scores under ``exif`` when asked for."""
    title = f"{len(evaluation.views)} held-out photos, {evaluation.width} x {evaluation.height}"
    table = Table(title=title, title_justify="left")
    table.add_column("exposure" if not images else "photo or mean", overflow="fold")  # names whole, on any width
    for name in ("PSNR [dB]", "SSIM", "FLIP"):
        table.add_column(name, justify="right")
    for view in evaluation.views if images else ():
        table.add_row(view.name, *score_cells(view.exif))
    table.add_section()
    table.add_row("exif: as the photo's EXIF says", *score_cells(evaluation.exif))
    table.add_row("fitted: on the left half, scored on the right", *score_cells(evaluation.fitted))
    return table


_POLICIES = {
    "exif": "as the photo's EXIF says",
    "neighbours": "as training photos nearby",
    "predicted": "by the light that is rendered",
    "ignored": "the mean for all",
}


def policy_table(evaluation: Evaluation) -> Table:
    """Means under the policies that foretell exposures, and how far these are off."""
    table = Table(title="whole photos, exposures foretold", title_justify="left")
    table.add_column("exposure", overflow="fold")
    for name in ("PSNR [dB]", "SSIM", "FLIP", "EV off [stops]"):
        table.add_column(name, justify="right")
    for name, mean in evaluation.policies.items():
        table.add_row(f"{name}: {_POLICIES[name]}", *score_cells(mean.scores), f"{mean.ev_error:.2f}")
    return table


def score_cells(scores: Scores) -> tuple[str, str, str]:
    """PSNR, SSIM and FLIP as a table shows them."""
    return f"{scores.psnr:.2f}", f"{scores.ssim:.3f}", f"{scores.flip:.3f}"
