"""Where words go: the result to stdout, all else to stderr, whatever listens there.

A terminal may lack a letter of a file's name, the reader of a pipe may leave, a terminal may be closed under a running
fit. None of these is a reason to end work that takes hours.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TextIO

from rich.console import Console

from unrender.fit.log import json_text

__all__ = ["error_console", "is_live", "print_json", "print_result", "tolerate_any_text"]

_PLAIN = ("NO_COLOR", "CI")


def is_live(stream: TextIO) -> bool:
    """Whether a moving bar can be shown: a terminal, and nobody asked for plain text (NO_COLOR, CI, TERM=dumb)."""
    asked_plain = any(os.environ.get(name) for name in _PLAIN) or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not asked_plain


def error_console(quiet: bool = False) -> Console:
    """A console on stderr: in colour on a live terminal, plain elsewhere, and never the cause of an error."""
    live = is_live(sys.stderr)
    # Rich keeps what it could not write and tries it again with the next line, so that what fails must not fail.
    file: TextIO = _Deaf(sys.stderr)  # type: ignore[assignment]  # all of a stream that rich uses
    return Console(file=file, quiet=quiet, highlight=False, emoji=False, force_terminal=live, no_color=not live)


def print_result(*results: object) -> None:
    """Print to stdout, which carries results and nothing else: text as it is, tables by rich.

    Silent when the reader of a pipe has left (``| head``). Raises OSError, naming standard output, when the system
    refuses for any other reason: a result that is not on a full disk must not count as delivered.
    """
    console = _Results(highlight=False, emoji=False)
    try:
        for result in results:
            if isinstance(result, str):
                sys.stdout.write(f"{result}\n")
            else:
                console.print(result, markup=False)  # names of files may hold [brackets]
        sys.stdout.flush()
    except OSError as error:
        _drop_stdout()
        if not isinstance(error, BrokenPipeError):
            raise OSError(error.errno, error.strerror, "standard output") from None


def print_json(table: Mapping[str, Any]) -> None:
    """Print one strict JSON object on one line: paths as text, what is not finite as null. Raises as the above."""
    print_result(json_text(table))


def tolerate_any_text() -> None:
    """Letters that stdout cannot encode are written as escapes from now on, as Python does on stderr."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


class _Results(Console):
    """Hands a closed pipe to its caller; rich itself would exit with status 1."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


class _Deaf:
    """A stream that writes what can be written and forgets the rest."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """All of it, or as much as anybody listens to."""
        with suppress(OSError, ValueError, RuntimeError):  # hung up, closed, or inside a write that a signal cut
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Likewise."""
        with suppress(OSError, ValueError, RuntimeError):
            self._stream.flush()

    def isatty(self) -> bool:
        """As the stream itself."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """As the stream itself."""
        return self._stream.fileno()


def _drop_stdout() -> None:
    """What Python still holds for stdout goes nowhere, instead of failing once more at its exit."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
