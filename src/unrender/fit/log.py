"""The log of a run: every message of its fits, one JSON object a line.

A log is a witness, not a part of the work: when the disk is full it falls silent and the fit goes on. After a crash
its last line may be cut, and steps that were lost and made again stand in it twice.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from unrender.messages import Finished, Message, Note, Saved, Skipped, Started, Stepped

__all__ = ["RunLog", "elapsed_at", "json_text", "read_log"]

_LOGGED: dict[str, type[Message]] = {each.__name__: each for each in (Finished, Note, Saved, Skipped, Started, Stepped)}
"""What a fit says."""


class RunLog:
    """Appends messages to a file while it is entered. ``failure`` says why that ended, once it has."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self.failure: OSError | None = None

    def __enter__(self) -> RunLog:
        with self._silenced():
            cut = _is_cut(self._path)
            self._file = self._path.open("a", encoding="utf-8", buffering=1)
            if cut:
                self._file.write("\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._silenced():
            if self._file is not None:
                self._file.close()

    def write(self, message: Message) -> None:
        """Append one message as a line of its own."""
        with self._silenced():
            if self._file is not None and self.failure is None:
                self._file.write(json_text({"type": type(message).__name__} | asdict(message)) + "\n")

    @contextmanager
    def _silenced(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = self.failure or error


def elapsed_at(path: Path, step: int) -> float:
    """Seconds of fitting behind ``step`` steps, as a log remembers them; 0 when it does not.

    The log knows because a checkpoint holds nothing of the clock.
    """
    elapsed = 0.0
    with suppress(OSError), path.open(encoding="utf-8", errors="replace") as log:
        for entry in map(_parsed, log):
            made, seconds = entry.get("step"), entry.get("elapsed")
            if entry.get("type") == Stepped.__name__ and isinstance(made, int) and isinstance(seconds, float):
                elapsed = seconds if made < step else elapsed
    return elapsed


def read_log(path: Path) -> Iterator[Message]:
    """The messages in a log, over all sittings; none where it is missing. Lines that say nothing are passed over.

    Numbers that were not finite come back as NaN. Steps that were lost in a crash and made again come twice.
    """
    with suppress(OSError), path.open(encoding="utf-8", errors="replace") as log:
        yield from filter(None, map(_message, map(_parsed, log)))


def json_text(value: Any, indent: int | None = None) -> str:
    """Any tree of plain values as strict JSON: paths as text, what is not finite as null."""
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _message(entry: Mapping[str, Any]) -> Message | None:
    """The message that was written as an ``entry``, None when it is of no kind that we know."""
    kind = _LOGGED.get(str(entry.get("type")))
    if kind is None or any(field.name not in entry for field in fields(kind)):
        return None
    return kind(**{field.name: _typed(entry[field.name], str(field.type)) for field in fields(kind)})


def _typed(value: Any, kind: str) -> Any:
    """A JSON value as a message holds it."""
    if value is None and kind == "float":
        return math.nan
    if isinstance(value, list):
        return tuple(value)
    return Path(str(value)) if kind == "Path" else value


def _parsed(line: str) -> dict[str, Any]:
    """An entry of the log, empty when a crash cut the line short."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _is_cut(path: Path) -> bool:
    """Whether a file ends in the middle of a line."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
