"""One sitting at a run: fit, and say what has become of it when a signal ends it early."""

from __future__ import annotations

import shlex
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from unrender.cli.console import print_json
from unrender.cli.progress import ProgressView
from unrender.cli.report import write_report
from unrender.cli.session import Session
from unrender.cli.signals import Interrupted, StopRequest, signals_request
from unrender.messages import Finished, Message, Skipped, Started, Stepped

if TYPE_CHECKING:
    from unrender.fit.run import Run

__all__ = ["Sitting"]


class Sitting:
    """Work on the run in ``folder``, as a context: a signal inside leaves it as Interrupted that says how to go on
    with ``verb``.

    ``step``: how many steps are behind the run, None as long as that has not been read; ``reports``: whether a report
    of the fit is left.
    """

    def __init__(
        self, capture: Path, folder: Path, session: Session, verb: str = "fit", *, reports: bool = True
    ) -> None:
        self._capture, self._folder, self._session, self._verb = capture, folder, session, verb
        self._reports, self._fitted, self._done = reports, False, False
        self._page: Path | None = None
        self.step: int | None = None

    def __enter__(self) -> Sitting:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Interrupted):
            if self._session.json:
                print_json({"run": self._folder, "interrupted": True, "step": self.step})
            raise Interrupted(error.number, self._how_to_go_on()) from None

    def fit(self, run: Run, view: ProgressView) -> None:
        """Fit a run to its end and show how it goes. A signal raises Interrupted, once a state is saved."""
        request = StopRequest()
        with closing(run.fit(stop=lambda: bool(request))) as messages, ExitStack() as gently:
            for message in messages:
                view.show(message)
                self._note(message)
                if isinstance(message, Started):  # from here on there is something to save
                    gently.enter_context(signals_request(request, view.say))
        if request.number is not None:
            self._report_quickly(run, view)
            raise Interrupted(request.number)

    def report(self, run: Run, view: ProgressView) -> Path | None:
        """Leave the report of a run that is fitted and scored; where it lies, None where there is none."""
        if self._reports:
            self._done = True
            self._page = write_report(run, view)
        return self._page

    def _report_quickly(self, run: Run, view: ProgressView) -> None:
        """The report of a fit that was stopped. Another signal goes on without it: what counts is saved."""
        if not self._reports:
            return
        view.say("writing the report; Ctrl-C again to leave without it")
        with suppress(Interrupted):
            write_report(run, view, quick=True)

    def table(self, run: Run) -> dict[str, Any]:
        """The result for programs: where, how far, and what ``eval.json`` holds where anything was scored."""
        scores = run.load_scores() if run.capture.test else {}
        return {"run": run.folder, "interrupted": False, "step": self.step, "report": self._page} | scores

    def _note(self, message: Message) -> None:
        if isinstance(message, Started):
            self.step = message.step
        elif isinstance(message, Stepped | Skipped):
            self.step = message.step + 1
        elif isinstance(message, Finished):
            self.step, self._fitted = message.step, not message.interrupted

    def _how_to_go_on(self) -> str:
        from unrender.fit.checkpoint import previous_of
        from unrender.fit.run import Run

        if not Run.exists(self._folder):
            return "stopped before there was anything to save; the same command begins again"
        if self._done:
            return (
                f"stopped; the fit is done, saved and scored, make its report with: {_command('report', self._folder)}"
            )
        if self._fitted:
            return f"stopped; the fit is done and saved, score it with: {_command('eval', self._folder)}"
        again = _command(self._verb, self._capture, "-o", self._folder, "--resume", *self._threads())
        checkpoint = Run.open(self._folder).checkpoint_path
        if checkpoint.exists() or previous_of(checkpoint).exists():
            return f"stopped and saved; go on with: {again}"
        return f"stopped before the first step, nothing is lost; go on with: {again}"

    def _threads(self) -> tuple[object, ...]:
        """Another number of threads would give other last bits."""
        return () if self._session.threads is None else ("--threads", self._session.threads)


def _command(*words: object) -> str:
    return shlex.join(["unrender", *map(str, words)])
