"""Files that are absent, damaged or too large, said in one line whatever a library raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from unrender.errors import CaptureError

__all__ = ["POINT_BYTES", "check_room", "damaged", "said_in_one_line"]

POINT_BYTES = 96
"""What reading takes for one point at most: 48 bytes of position, colour and normal, and as much again on the way."""


@contextmanager
def said_in_one_line(path: Path, kind: str, *errors: type[Exception]) -> Iterator[None]:
    """Around reading ``path``: a CaptureError for a file that is not there, for the system's errors and ``errors``."""
    if path.is_dir():
        raise CaptureError("a folder, not a file", where=path, expected=kind)
    if not path.is_file():
        raise CaptureError("no such file", where=path, expected=kind)
    try:
        yield
    except (OSError, MemoryError, *errors) as error:
        raise damaged(path, kind, str(error) or type(error).__name__) from None


def damaged(path: Path, kind: str, reason: str) -> CaptureError:
    """The error for a file that is not what its beginning or its name says."""
    return CaptureError(f"cannot be read as {kind} ({reason[:300]})", where=path, do="write or copy it again")


def check_room(path: Path, count: int) -> None:
    """Raises CaptureError when ``count`` points are more than the free memory holds, before any is taken.

    Compressed files can state any number of points within few bytes.
    """
    needed, free = count * POINT_BYTES, psutil.virtual_memory().available
    if needed > free:
        raise CaptureError(
            f"{count} points are more than the memory holds",
            where=path,
            expected=f"at most {free // POINT_BYTES}",
            do="thin the cloud out first",
        )
