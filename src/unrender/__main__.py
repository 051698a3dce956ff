"""``python -m unrender`` and ``unrender``: the command line, from its first import on."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line; returns the exit status. Ctrl-C while it is still being loaded is no traceback either."""
    try:
        from unrender.cli.main import main as run
    except KeyboardInterrupt:
        sys.stderr.write("unrender: interrupted\n")
        return 130
    return run()


if __name__ == "__main__":
    sys.exit(main())
