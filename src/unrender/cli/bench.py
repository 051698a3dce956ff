"""``unrender bench``: how fast this machine runs the hot operations, beside other implementations and the floor."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from unrender.cli.console import print_json, print_result
from unrender.cli.progress import ProgressView
from unrender.cli.session import Session, flag, option
from unrender.errors import RunError, SettingsError

if TYPE_CHECKING:
    from unrender.bench.points import PointsBench, Table

__all__ = ["BenchVerb"]

_MOST_POINTS = 2**31 - 1


@dataclass(frozen=True)
class BenchVerb:
    """Measure how fast points are drawn, and how fast their gradient is, beside other implementations and the floor.

    Prints the table; docs/benchmarks.md says what it means. The defaults take some minutes, best on a machine that does
    nothing else.
    """

    what: Annotated[Literal["points"], tyro.conf.Positional]
    """What to measure."""
    file: Annotated[Path | None, tyro.conf.Positional, option("FILE")] = None
    """After --json: write the JSON here and print the table. Default: print the JSON in its place."""
    points: Annotated[tuple[float, ...], tyro.conf.arg(metavar="N ...")] = (1e5, 1e6, 1e7)
    """Numbers of points."""
    layers: Annotated[tuple[int, ...], tyro.conf.arg(metavar="L ...")] = (1, 4)
    """Numbers of layers."""
    discard: Literal["both", "yes", "no"] = "both"
    """Stochastic discarding of points."""
    backends: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...", help_behavior_hint="")] = ()
    """Of native, reference, pytorch3d, pulsar. Default: all that are here."""
    half: Annotated[bool, flag] = False
    """Descriptors in half precision."""
    repeats: Annotated[int, tyro.conf.arg(metavar="R")] = 15
    """Calls that count; slow ones are repeated less often."""
    peer_seconds: Annotated[float, tyro.conf.arg(metavar="S")] = 60.0
    """Leave other people's implementations out where one call takes longer."""
    markdown: Annotated[Path | None, option("FILE")] = None
    """Write a page with the table here, too."""
    session: Session = field(default_factory=Session)

    def run(self) -> int:
        """Do it; the exit status."""
        self._check()
        self.session.apply(("cpu", "cuda"))
        from unrender.bench.page import json_table, markdown_page, text_lines
        from unrender.fit.log import json_text

        bench = self._bench()
        table = self._follow(bench)
        if self.file is not None:
            self.file.write_text(json_text(json_table(bench, table), indent=1) + "\n", encoding="utf-8")
        if self.markdown is not None:
            self.markdown.write_text(markdown_page(bench, table, shlex.join(["unrender", *sys.argv[1:]])), "utf-8")
        if self.session.json and self.file is None:
            print_json(json_table(bench, table))
        else:
            print_result(*text_lines(table))
        return 0

    def _check(self) -> None:
        """Raises SettingsError, RunError for what makes no sense, before anything is measured."""
        for number in self.points:
            if not 1 <= number <= _MOST_POINTS or number != int(number):
                expected = f"whole numbers from 1 to {_MOST_POINTS}"
                raise SettingsError("number of points", where="--points", expected=expected, got=number)
        if not self.points or not self.layers or not all(1 <= count <= 12 for count in self.layers):
            raise SettingsError("number of layers", where="--layers", expected="1 to 12", got=self.layers)
        if self.repeats < 2:
            raise SettingsError("number of calls", where="--repeats", expected="2 or more", got=self.repeats)
        if not self.peer_seconds > 0:
            raise SettingsError("time", where="--peer-seconds", expected="more than 0", got=self.peer_seconds)
        if self.file is not None and not self.session.json:
            raise SettingsError("a file without --json", got=self.file, do=f"say --json {self.file}")
        for path in filter(None, (self.file, self.markdown)):
            if path.is_dir() or not path.absolute().parent.is_dir():
                raise RunError("not a file in a folder that is there", where=path, do="choose another place")

    def _bench(self) -> PointsBench:
        import torch

        from unrender.bench.points import PointsBench

        return PointsBench(
            points=tuple(dict.fromkeys(int(number) for number in self.points)),
            layers=tuple(dict.fromkeys(self.layers)),
            discards={"both": (False, True), "yes": (True,), "no": (False,)}[self.discard],
            backends=tuple(dict.fromkeys(self.backends)) or None,
            threads=torch.get_num_threads(),
            device=self.session.device,
            half=self.half,
            repeats=self.repeats,
            peer_seconds=self.peer_seconds,
            seed=self.session.seed or 0,
        )

    def _follow(self, bench: PointsBench) -> Table:
        """Measure and show how far it is."""
        from unrender.bench.points import Measured, bench_points

        messages = bench_points(bench)
        with ProgressView(self.session.quiet) as view:
            while True:
                try:
                    message = next(messages)
                except StopIteration as end:
                    return end.value
                if isinstance(message, Measured):
                    row = message.row
                    what = f"{row.points:,} points, {row.layers} layers, {row.backend}, {row.direction}"
                    view.advance("measuring", message.done / message.total, f"{what}: {row.median_ms:.1f} ms")
                view.show(message)
