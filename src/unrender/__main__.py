"""``python -m unrender`` and ``unrender``: the command line, from its first import on."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

__all__ = ["main"]


def main() -> int:
    """Run the command line; returns the exit status. Ctrl-C while it is still being loaded ends it in one line, too."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not where it is ignored, as by nohup
        signal.signal(signal.SIGINT, _leave)
    try:
        from unrender.cli.main import main as run

        return run()
    finally:
        signal.signal(signal.SIGINT, before)


def _leave(number: int, _: FrameType | None) -> None:
    """Ends the process at once. An exception would not do: PyTorch swallows what is raised while it loads NumPy, and
    goes on with half of it. There is nothing to save yet.
    """
    os.write(2, b"unrender: interrupted\n")
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
