"""What every verb can be told in the same words: device, threads, seed, and how much to say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from unrender.errors import SettingsError

__all__ = ["Session", "available_cores", "flag", "option"]

flag = tyro.conf.arg(help_behavior_hint="")
"""How a switch looks in the help."""


def option(metavar: str, *aliases: str) -> object:
    """How an option that may be left out looks in the help; its text says what happens then."""
    return tyro.conf.arg(metavar=metavar, aliases=aliases or None, help_behavior_hint="")


def available_cores() -> int:
    """Cores that this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class Session:
    """The same in every verb."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where to fit, render and score; cuda needs a GPU and the extra [cuda]."""
    threads: Annotated[int | None, option("N")] = None
    """Processor threads, at most one per core. Default: UNRENDER_THREADS, else OMP_NUM_THREADS, else one per core."""
    seed: Annotated[int | None, option("S")] = None
    """Seed of everything random (default 0). fit, demo and bench draw at random; eval and render draw nothing."""
    quiet: Annotated[bool, flag] = False
    """Show no progress; errors and how to go on are still said."""
    json: Annotated[bool, flag] = False
    """Print the result as one JSON object on stdout."""

    def apply(self, devices: Sequence[str] | None = None) -> None:
        """Set up torch as told, for a verb that can use ``devices``: those of the renderers when it does not say.

        Raises SettingsError for an impossible thread count or a device that cannot be used.
        """
        import torch

        from unrender.render.render import RENDERERS

        threads = self._thread_count()
        if threads is not None:  # else torch's own: what OMP_NUM_THREADS says, or one per core
            torch.set_num_threads(threads)
        if devices is None:
            devices = sorted({device for row in RENDERERS.values() for device in row.capabilities.devices})
        if self.device not in devices:
            raise SettingsError(
                f"no renderer of this release runs on {self.device}",
                where="--device",
                expected=" or ".join(devices),
                do="leave --device out",
            )
        if self.device == "cuda" and not torch.cuda.is_available():
            raise SettingsError("no CUDA device here", where="--device", do="leave --device out")

    def _thread_count(self) -> int | None:
        where, threads = "--threads", self.threads
        if threads is None:
            where, threads = "UNRENDER_THREADS", _environment_threads()
        if threads is None:
            where, threads = "OMP_NUM_THREADS", _torchs_threads()
        if threads is None:
            return None
        if threads < 1:
            raise SettingsError("number of threads", where=where, expected="1 or more", got=threads)
        cores = available_cores()
        if threads > cores:
            raise SettingsError(
                "more threads than cores",
                where=where,
                expected=f"at most {cores}",
                got=threads,
                do="they would wait for each other; leave it out to use every core",
            )
        return threads


def _environment_threads() -> int | None:
    text = os.environ.get("UNRENDER_THREADS")
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise SettingsError(
            "number of threads", where="UNRENDER_THREADS", expected="a whole number", got=text
        ) from None


def _torchs_threads() -> int | None:
    """What OMP_NUM_THREADS says, as torch reads it: the first of a list; what is no such number says nothing."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isascii() and first.isdecimal() and int(first) > 0 else None
