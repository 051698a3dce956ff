"""``python -m unrender`` and ``unrender``: the command line, from its first import on."""

from __future__ import annotations

import signal
import sys

from unrender.cli.signals import leave

__all__ = ["main"]


def main() -> int:
    """Run the command line; returns the exit status. Ctrl-C while it is still being loaded ends it in one line, too."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not where it is ignored, as by nohup
        signal.signal(signal.SIGINT, leave)
    try:
        from unrender.cli.main import main as run

        return run()
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    sys.exit(main())
