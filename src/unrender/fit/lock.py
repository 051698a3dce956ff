"""One process at a time fits into a run, and the system, not a file, remembers which.

The lock is the operating system's own on an open file: it ends with the process that holds it, however that process
ended, so that a killed run can be resumed at once and a live one cannot be trampled on.
"""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from unrender.errors import RunError

__all__ = ["LOCK_FILES", "RunLock"]

_LOCK = ".lock"
LOCK_FILES = (_LOCK, f"{_LOCK}.holder")
"""Names that a lock leaves in its folder; they mean nothing while no process holds it."""


class RunLock:
    """The right to do one kind of thing to a run folder, as a context; ``doing`` is what the refusal calls it.

    Entering raises RunError at once when another process (or another lock of this one) has the lock of this ``name``.
    """

    def __init__(self, folder: Path, name: str = _LOCK, doing: str = "fitting into this run") -> None:
        self._folder, self._doing = folder, doing
        self._holder_path = folder / f"{name}.holder"
        self._lock = FileLock(folder / name, timeout=0)

    def __enter__(self) -> RunLock:
        try:
            self._lock.acquire()
        except Timeout:
            raise RunError(
                f"another process is {self._doing}{self._holder()}", where=self._folder, do="wait for it, or stop it"
            ) from None
        except OSError as error:
            raise RunError(
                f"cannot lock the folder ({error.strerror})", where=self._folder, do="mend its rights or copy the run"
            ) from None
        with suppress(OSError):  # whom to name in the refusal of others; the lock holds without it
            self._holder_path.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def _holder(self) -> str:
        with suppress(OSError, UnicodeDecodeError):
            return f" ({self._holder_path.read_text(encoding='utf-8')[:200]})"
        return ""
