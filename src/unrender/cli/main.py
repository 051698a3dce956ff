"""``unrender VERB ...``: one file per verb, one line per error.

Exit status: 0 done, 2 something that the user can mend (one line on stderr, no traceback unless UNRENDER_TRACEBACK=1),
130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import tyro
from rich.console import Console

from unrender import __version__
from unrender.cli.demo import DemoVerb
from unrender.cli.eval import EvalVerb
from unrender.cli.fit import FitVerb
from unrender.cli.render import RenderVerb
from unrender.errors import UnrenderError

__all__ = ["main"]

_DESCRIPTION = (
    "From a COLMAP folder of photos to new views: fit a neural point scene, score it on held-out photos, render it. "
    "`unrender demo` shows all of it on a synthetic room; `unrender --version` says which release this is."
)

Verb = (
    Annotated[DemoVerb, tyro.conf.subcommand("demo")]
    | Annotated[FitVerb, tyro.conf.subcommand("fit")]
    | Annotated[EvalVerb, tyro.conf.subcommand("eval")]
    | Annotated[RenderVerb, tyro.conf.subcommand("render")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. Usage errors and --help leave through SystemExit (2 and 0)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if arguments == ["--version"]:
        sys.stdout.write(f"unrender {__version__}\n")
        return 0
    verb = tyro.cli(
        Verb,
        prog="unrender",
        description=_DESCRIPTION,
        args=arguments or ["--help"],
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
    )
    try:
        return verb.run()
    except KeyboardInterrupt:
        return _complain("interrupted", status=130)
    except (UnrenderError, OSError) as error:
        if os.environ.get("UNRENDER_TRACEBACK") == "1":
            raise
        return _complain(f"error: {_one_line(error)}", status=2)


def _one_line(error: Exception) -> str:
    """What the system says about a file has the same form as our own errors: where, then what."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def _complain(text: str, status: int) -> int:
    Console(stderr=True, highlight=False).print(f"unrender: {text}", markup=False, soft_wrap=True)
    return status
