"""``unrender VERB ...``: one file per verb, one line per error.

Exit status:

- 0: done
- 1: a bug of ours, asked to be reported
- 2: something that the user can mend, said in one line on stderr
- 3: `inspect --strict` raised an alarm
- 129, 130, 143: stopped by SIGHUP, Ctrl-C, SIGTERM; what was saved and how to go on is said

No traceback unless UNRENDER_TRACEBACK=1.
"""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import traceback
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Annotated

import tyro

from unrender import __version__
from unrender.cli.align import AlignVerb
from unrender.cli.bench import BenchVerb
from unrender.cli.console import error_console, print_result, tolerate_any_text
from unrender.cli.convert import ConvertVerb
from unrender.cli.demo import DemoVerb
from unrender.cli.eval import EvalVerb
from unrender.cli.export import ExportVerb
from unrender.cli.fit import FitVerb
from unrender.cli.inspect import InspectVerb
from unrender.cli.render import RenderVerb
from unrender.cli.report import ReportVerb
from unrender.cli.response import ResponseVerb
from unrender.cli.signals import Interrupted, signals_interrupt
from unrender.cli.usage import usage_line
from unrender.errors import SettingsError, UnrenderError

__all__ = ["main"]

_DESCRIPTION = (
    "From photos with poses to new views: inspect them, fit a neural point scene, score it on held-out photos, "
    "render and export it. "
    "`unrender demo` shows all of it on a synthetic room; `unrender --version` says which release this is."
)

Verb = (
    Annotated[DemoVerb, tyro.conf.subcommand("demo")]
    | Annotated[InspectVerb, tyro.conf.subcommand("inspect")]
    | Annotated[FitVerb, tyro.conf.subcommand("fit")]
    | Annotated[AlignVerb, tyro.conf.subcommand("align")]
    | Annotated[EvalVerb, tyro.conf.subcommand("eval")]
    | Annotated[RenderVerb, tyro.conf.subcommand("render")]
    | Annotated[ReportVerb, tyro.conf.subcommand("report")]
    | Annotated[ExportVerb, tyro.conf.subcommand("export")]
    | Annotated[ConvertVerb, tyro.conf.subcommand("convert")]
    | Annotated[ResponseVerb, tyro.conf.subcommand("response")]
    | Annotated[BenchVerb, tyro.conf.subcommand("bench")]
)

_ADVICE = {
    errno.ENOSPC: "free some and try again",
    errno.EDQUOT: "free some and try again",
    errno.EACCES: "mend its rights or choose another place",
    errno.EROFS: "choose another place",
}
_MEMORY = "take a smaller --width, fewer points (points.count in --config) or fewer --threads"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. --help leaves through SystemExit (0)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with signals_interrupt():
            if arguments == ["--version"]:
                print_result(f"unrender {__version__}")
                return 0
            return _parsed(arguments).run()
    except KeyboardInterrupt as stop:
        interrupted = stop if isinstance(stop, Interrupted) else Interrupted(2)
        return _complain(interrupted.says, interrupted.status)
    except Exception as error:
        if os.environ.get("UNRENDER_TRACEBACK") == "1":
            raise
        return _complain(*_explained(error))


def _parsed(arguments: list[str]) -> Verb:
    """What the arguments say. Tyro draws help for the terminal at hand; only results may need escapes."""
    box = io.StringIO()
    try:
        with redirect_stderr(box):
            verb = tyro.cli(
                Verb,
                prog="unrender",
                description=_DESCRIPTION,
                args=arguments or ["--help"],
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
            )
    except SystemExit as end:
        if end.code:
            raise SettingsError(usage_line(box.getvalue())) from None
        print_result()  # brings the help out, also when its reader has left
        raise
    tolerate_any_text()
    return verb


def _explained(error: Exception) -> tuple[str, int]:
    """One line on an error, and the exit status."""
    if isinstance(error, MemoryError) or _is_torch_memory(error):
        return f"error: not enough memory{_asked_for(str(error))}; {_MEMORY}", 2
    if isinstance(error, UnrenderError):
        return f"error: {_one_line(str(error))}", 2
    if isinstance(error, OSError):
        return f"error: {_system_line(error)}", 2
    place = traceback.extract_tb(error.__traceback__)[-1]
    said = _one_line(f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}: {error}")
    return f"this is a bug in unrender ({said}); please report it with what UNRENDER_TRACEBACK=1 shows", 1


def _system_line(error: OSError) -> str:
    """What the system says about a file has the same form as our own errors: where, what, and what to do."""
    if error.strerror is None:
        return _one_line(str(error))
    line = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    advice = _ADVICE.get(error.errno or 0)
    return line if advice is None else f"{line}; {advice}"


def _is_torch_memory(error: Exception) -> bool:
    """Torch has a type of its own for a GPU's memory and only a text for the processor's."""
    return isinstance(error, RuntimeError) and ("DefaultCPUAllocator" in str(error) or "out of memory" in str(error))


def _asked_for(text: str) -> str:
    asked = re.search(r"allocate (\d+) bytes", text)
    return "" if asked is None else f" ({int(asked[1]) / 1e9:.1f} GB asked for at once)"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _complain(text: str, status: int) -> int:
    error_console().print(f"unrender: {text}", markup=False, soft_wrap=True)
    return status
