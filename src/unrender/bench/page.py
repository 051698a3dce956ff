"""The table of a benchmark as JSON, as lines for a terminal, and as a page of Markdown."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import torch

from unrender.bench.backends import BACKENDS
from unrender.bench.metrics import Row, metric_table
from unrender.bench.points import PointsBench, Table
from unrender.fit.machine import machine_table

__all__ = ["json_table", "markdown_page", "text_lines"]

_HEADS = (
    "points",
    "layers",
    "discard",
    "direction",
    "backend",
    "median",
    "spread",
    "cpu",
    "floor",
    "times floor",
    "Mpoints/s",
    "GB/s",
    "peak MiB",
    "drawn",
)


def json_table(bench: PointsBench, table: Table) -> dict[str, Any]:
    """``machine`` and ``rows``; also what was left out, and what the columns mean."""
    machine = machine_table() | {
        "device": _device(bench.device),
        "threads": bench.threads,
        "copy_bytes_per_s": table.copy_speeds,
        "peers": table.peers,
        "commit": _commit(),
        "date": date.today().isoformat(),
    }
    return {
        "machine": machine,
        "rows": [asdict(row) for row in table.rows],
        "left_out": [asdict(absence) for absence in table.left_out],
        "metrics": metric_table(),
    }


def text_lines(table: Table) -> list[str]:
    """Columns of equal width. Times in milliseconds."""
    lines = [_HEADS, *(_cells(row) for row in table.rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS))]
    made = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    return [*made, *(absence.text for absence in table.left_out)]


def markdown_page(bench: PointsBench, table: Table, command: str) -> str:
    """The page: how it was measured, a table, and what was left out."""
    lines = ["# Points, forward and backward", "", f"    {command}", "", *_story(bench, table), ""]
    lines += [_markdown_row(_HEADS), "|" + "---|" * len(_HEADS)]
    lines += [_markdown_row(_cells(row)) for row in table.rows]
    if table.left_out:
        lines += ["", *(f"- {absence.text}" for absence in table.left_out)]
    return "\n".join(lines) + "\n"


def _story(bench: PointsBench, table: Table) -> list[str]:
    machine = machine_table()
    speeds = " and ".join(sorted({f"{speed / 1e9:.1f}" for speed in table.copy_speeds}))
    peers = "".join(f", {name} of PyTorch3D {version}" for name, version in table.peers.items())
    means = "; ".join(f"`{name}`: {backend.says}" for name, backend in BACKENDS.items())
    half = "half" if bench.half else "single"
    return [
        "A sphere of points, of which a third faces the camera, 1920 x 1080; times in milliseconds;",
        f"4 channels in {half} precision; {bench.threads} thread(s). {means}.",
        f"Copying moves {speeds} GB/s here, read and written together.",
        "[What the columns mean](../../docs/benchmarks.md).",
        "",
        f"{_device(bench.device)} ({machine['machine']['cores']} cores, {machine['machine']['vector_units']}), Python"
        f" {machine['versions']['python']}, PyTorch {machine['versions']['torch']}{peers}; commit {_commit()},"
        f" {date.today().isoformat()}.",
    ]


def _cells(row: Row) -> tuple[str, ...]:
    return (
        f"{row.points:,}",
        str(row.layers),
        "yes" if row.discard else "no",
        row.direction,
        row.backend,
        _short(row.median_ms),
        _short(row.spread_ms),
        _short(row.cpu_ms),
        _short(row.floor_ms),
        f"{row.median_ms / row.floor_ms:.1f}",
        f"{row.points_per_s / 1e6:.1f}",
        f"{row.bytes_per_s / 1e9:.2f}",
        f"{row.peak_bytes / 2**20:.0f}",
        f"{row.drawn:,}",
    )


def _short(milliseconds: float) -> str:
    return f"{milliseconds:.2f}" if milliseconds < 10 else f"{milliseconds:.1f}"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _device(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else str(machine_table()["machine"]["processor"])


def _commit() -> str:
    """Of the clone that this runs from, where it is one; it says so when the sources differ from it."""
    folder = Path(__file__).resolve().parent
    head = _git(folder, "rev-parse", "--short", "HEAD")
    return "unknown" if not head else head + (" with changes" if _git(folder, "status", "--porcelain", "..") else "")


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
