"""What every verb can be told in the same words: device, threads, and how much to say."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from unrender.errors import SettingsError

__all__ = ["Session", "option"]


def option(metavar: str, *aliases: str) -> object:
    """How an option that may be left out looks in the help; its text says what happens then."""
    return tyro.conf.arg(metavar=metavar, aliases=aliases or None, help_behavior_hint="")


@dataclass(frozen=True)
class Session:
    """Options that mean the same in every verb."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where to compute; this release has renderers for the CPU only and refuses cuda."""
    threads: Annotated[int | None, option("N")] = None
    """Processor threads. Default: UNRENDER_THREADS, else one per core."""
    quiet: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Show no progress."""
    json: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Print the result as JSON."""

    def apply(self) -> None:
        """Set up torch as told. Raises SettingsError for a thread count below 1 or a device without a renderer."""
        import torch

        from unrender.render.render import RENDERERS

        threads = self._thread_count()
        if threads is not None:
            torch.set_num_threads(threads)
        devices = sorted({device for row in RENDERERS.values() for device in row.capabilities.devices})
        if self.device not in devices:
            raise SettingsError(
                f"no renderer of this release runs on {self.device}",
                where="--device",
                expected=" or ".join(devices),
                do="leave --device out",
            )

    def _thread_count(self) -> int | None:
        given = (
            ("--threads", self.threads) if self.threads is not None else ("UNRENDER_THREADS", _environment_threads())
        )
        where, threads = given
        if threads is not None and threads < 1:
            raise SettingsError("number of threads", where=where, expected="1 or more", got=threads)
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
