"""Progress for people, on stderr: a live bar on a terminal, plain lines elsewhere. Stdout is for results."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from types import TracebackType
from typing import TypeVar

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from unrender.cli.console import error_console
from unrender.messages import Evaluated, Finished, Message, Metered, Note, Reported, Saved, Skipped, Started, Stepped

__all__ = ["ProgressView", "follow"]

Result = TypeVar("Result")
_LINE_EVERY = 10.0
_SMOOTHING = 0.03
_SKIPPED_LINES = 3


class ProgressView:
    """Shows messages as they come. Use it as a context: leaving it ends the live bar."""

    def __init__(self, quiet: bool = False) -> None:
        self._console = error_console(quiet)
        self._live = self._console.is_terminal and not quiet
        says = TextColumn("{task.fields[says]}", markup=False)  # names of files may hold [brackets]
        columns = (TextColumn("{task.description}"), BarColumn(None), says)
        self._bar = Progress(
            *columns,
            console=self._console,
            disable=not self._live,
            transient=True,
            expand=True,
            redirect_stdout=False,  # else what is printed under a bar, the result too, would go to stderr
            redirect_stderr=False,
        )
        self._tasks: dict[str, TaskID] = {}
        self._psnr, self._steps_seen = 0.0, 0
        self._skipped, self._skipped_seen = 0, 0
        self._line_due: dict[str, float] = {}

    def __enter__(self) -> ProgressView:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """One line above the bar."""
        self._console.print(text, markup=False, soft_wrap=True)

    def show(self, message: Message) -> None:
        """Whatever the message deserves."""
        if isinstance(message, Note):
            self.say(message.text)
        elif isinstance(message, Started):
            self.say(_started_line(message))
        elif isinstance(message, Stepped):
            self._show_step(message)
        elif isinstance(message, Skipped):
            self._show_skipped(message)
        elif isinstance(message, Finished) and self._skipped:
            self.say(f"{_steps(self._skipped)} left out; log.jsonl names them")
        elif isinstance(message, Evaluated) and message.policy == "exif":
            self.advance("scoring", message.done / message.total, f"{message.name}  {message.scores.psnr:.2f} dB")
        elif isinstance(message, Reported):
            self.advance("reporting", message.done / message.total, message.name)
        elif isinstance(message, Metered):
            self.advance("metering", message.done / message.total, f"{message.done} of {message.total}")
        elif isinstance(message, Saved) and message.what == "checkpoint":
            self.say(f"saved {message.path}")

    def advance(self, task: str, fraction: float, says: str) -> None:
        """Move the bar of a task; without a terminal a line now and then, and at the end."""
        if self._live:
            if task not in self._tasks:
                self._tasks[task] = self._bar.add_task(task, total=1.0, says="")
            self._bar.update(self._tasks[task], completed=fraction, says=says)
        elif fraction >= 1 or time.monotonic() >= self._line_due.get(task, 0.0):
            self.say(f"{task} {100 * fraction:3.0f} %  {says}")
            self._line_due[task] = time.monotonic() + _LINE_EVERY

    def _show_step(self, message: Stepped) -> None:
        self._steps_seen += 1
        self._psnr += (message.psnr - self._psnr) * max(1 / self._steps_seen, _SMOOTHING)
        says = (
            f"step {message.step + 1}  loss {message.loss:.4f}  {self._psnr:.2f} dB  {_clock(message.remaining)} left"
        )
        if self._skipped:
            says += f"  {self._skipped} left out"
        self.advance("fitting", message.fraction, says)

    def _show_skipped(self, message: Skipped) -> None:
        """The first few by name, all by number."""
        self._skipped, self._skipped_seen = message.count, self._skipped_seen + 1
        if self._skipped_seen <= _SKIPPED_LINES:
            more = "; more are only counted" if self._skipped_seen == _SKIPPED_LINES else ""
            self.say(
                f"step {message.step + 1} left out: {message.what} is not finite, {', '.join(message.views)}{more}"
            )


def follow(messages: Generator[Message, None, Result], view: ProgressView) -> Result:
    """Show all messages of a generator; its value."""
    while True:
        try:
            message = next(messages)
        except StopIteration as end:
            return end.value
        view.show(message)


def _started_line(message: Started) -> str:
    until = f"{message.steps} steps" if message.seconds is None else f"{message.seconds / 60:g} minutes"
    return (
        f"fitting {message.points:,} points and {message.parameters:,} numbers to {message.train_views} "
        f"{'photo' if message.train_views == 1 else 'photos'} of "
        f"{message.width} x {message.height} for {until}; {message.test_views} held out"
    )


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


def _clock(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    return (
        f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"
        if whole >= 3600
        else f"{whole // 60}:{whole % 60:02d}"
    )
