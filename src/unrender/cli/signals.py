"""Being told to stop: Ctrl-C, SIGTERM (batch systems, shutdown) and SIGHUP (the terminal was closed) mean the same.

Where there is nothing to save, a signal ends the work at once by an exception that ``main`` turns into one line and the
usual exit status, 128 and the signal's number. During a fit it asks for a last step and a checkpoint instead.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

__all__ = ["Interrupted", "StopRequest", "leave", "signals_interrupt", "signals_request", "signals_wait"]

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_Handler = Callable[[int, FrameType | None], object]


class Interrupted(KeyboardInterrupt):
    """A signal ended the work; ``says`` what has become of it and how to go on."""

    def __init__(self, number: int, says: str = "interrupted") -> None:
        super().__init__(says)
        self.number, self.says = number, says

    @property
    def status(self) -> int:
        """The exit status by which shells and batch systems know: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + self.number


class StopRequest:
    """Whether a signal asked for an end; ``number``: which one. True once it did."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __bool__(self) -> bool:
        return self.number is not None


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Inside, a signal raises Interrupted."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        if _is_importing(frame):
            leave(number, frame)
        raise Interrupted(number)

    with _handled(interrupt):
        yield


def leave(number: int, _: FrameType | None) -> None:
    """A handler that ends the process at once, while modules are being loaded.

    An exception would not do: PyTorch swallows what is raised while it loads NumPy, and goes on with half of it.
    """
    os.write(2, b"unrender: interrupted\n")
    os._exit(128 + number)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


@contextmanager
def signals_request(request: StopRequest, say: Callable[[str], None]) -> Iterator[None]:
    """Inside, the first signal is noted in ``request`` and ``say`` told; after it Ctrl-C kills at once.

    Only Ctrl-C: batch systems and closing terminals send their signal to a process and again to its group.
    """

    def note(number: int, _: FrameType | None) -> None:
        if request.number is None:
            request.number = number
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            say("stopping after this step; Ctrl-C again to kill")

    with _handled(note):
        yield


@contextmanager
def signals_wait() -> Iterator[None]:
    """Inside, a signal waits; at the end it raises Interrupted. For what takes a moment and must not be cut."""
    came: list[int] = []
    with _handled(lambda number, _: came.append(number)):
        yield
    if came:
        raise Interrupted(came[0])


@contextmanager
def _handled(handler: _Handler) -> Iterator[None]:
    """``handler`` for each signal that the process listens to: ``nohup`` and background jobs ignore some."""
    before: dict[int, object] = {}
    try:
        for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = _install(number, handler)
        yield
    finally:
        for number, handler_before in before.items():
            _install(number, handler_before)


def _install(number: int, handler: object) -> object:
    """The handler that was there; where Python installs none (outside its main thread) that one stays."""
    before = signal.getsignal(number)
    with suppress(ValueError, TypeError):
        signal.signal(number, handler)  # type: ignore[arg-type]
    return before
