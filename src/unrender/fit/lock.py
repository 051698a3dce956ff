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

_LOCK, _HOLDER = ".lock", ".lock.holder"
LOCK_FILES = (_LOCK, _HOLDER)
"""Names that a lock leaves in its folder; they mean nothing while no process holds it."""


class RunLock:
    """The right to write into a run folder, as a context.

    Entering raises RunError at once when another process (or another ``RunLock`` of this one) has it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = FileLock(folder / _LOCK, timeout=0)

    def __enter__(self) -> RunLock:
        try:
            self._lock.acquire()
        except Timeout:
            raise RunError(
                f"another process is fitting into this run{self._holder()}",
                where=self._folder,
                do="wait for it, stop it with Ctrl-C, or choose another folder",
            ) from None
        except OSError as error:
            raise RunError(f"cannot lock the run folder ({error.strerror})", where=self._folder) from None
        with suppress(OSError):  # whom to name in the refusal of others; the lock holds without it
            (self._folder / _HOLDER).write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def _holder(self) -> str:
        with suppress(OSError, UnicodeDecodeError):
            return f" ({(self._folder / _HOLDER).read_text(encoding='utf-8')[:200]})"
        return ""
