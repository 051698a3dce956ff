"""What the messages of a run tell: how its fit went, over all sittings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from unrender.messages import Finished, Message, Note, Skipped, Started, Stepped

__all__ = ["Binned", "History", "binned", "history"]


@dataclass(frozen=True)
class History:
    """S steps that led to a state, in their order.

    ``steps`` [S] int64, ``losses`` [S], ``psnrs`` [S] of the training crops [dB], ``elapsed`` [S] seconds of fitting,
    all float64; ``started``: what the last sitting began with, None where no log says; ``finished``: how it ended,
    None where it was killed; ``sittings``: how many there were; ``skipped`` steps were left out; ``notes``: lines that
    a user should have read, each once.
    """

    steps: np.ndarray
    losses: np.ndarray
    psnrs: np.ndarray
    elapsed: np.ndarray
    started: Started | None
    finished: Finished | None
    sittings: int
    skipped: int
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.steps)

    def gain(self, share: float = 0.25) -> float:
        """By how many dB the training crops got better over the last ``share`` of the steps.

        The mean of the last tenth less that of the tenth before the last ``share``; NaN with less than 100 steps.
        """
        count, tenth = len(self), len(self) // 10
        if count < 100:
            return float("nan")
        before = int(count * (1 - share))
        return float(np.nanmean(self.psnrs[-tenth:]) - np.nanmean(self.psnrs[before - tenth : before]))


class Binned(NamedTuple):
    """A long series in B bins: where each lies, its mean, and between what nine in ten of its values are."""

    place: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def history(messages: Iterable[Message], step: int | None = None) -> History:
    """The history that led to the state after ``step`` steps (None: to the newest).

    A sitting that began before steps that stand in the log made these anew: theirs count, those of before are lost.
    """
    rows: list[tuple[float, float, float, float]] = []
    started, finished, sittings, skipped = None, None, 0, 0
    notes: dict[str, None] = {}
    for message in messages:
        if isinstance(message, Started):
            started, finished, sittings = message, None, sittings + 1
            rows = _before(rows, message.step)
        elif isinstance(message, Stepped):
            rows.append((message.step, message.loss, message.psnr, message.elapsed))
        elif isinstance(message, Skipped):
            skipped = message.count
        elif isinstance(message, Finished):
            finished = message
        elif isinstance(message, Note):
            notes[message.text] = None
    table = np.array(rows if step is None else _before(rows, step), dtype=np.float64).reshape(-1, 4)
    return History(
        steps=table[:, 0].astype(np.int64),
        losses=table[:, 1],
        psnrs=table[:, 2],
        elapsed=table[:, 3],
        started=started,
        finished=finished,
        sittings=sittings,
        skipped=skipped,
        notes=tuple(notes),
    )


def binned(place: np.ndarray, values: np.ndarray, count: int = 120) -> Binned:
    """``values`` [S] at ``place`` [S], which rises, in at most ``count`` bins of equally many."""
    bins = [each for each in np.array_split(np.arange(len(place)), min(count, max(len(place), 1))) if len(each)]
    rows = [(place[each].mean(), values[each].mean(), *np.percentile(values[each], (5, 95))) for each in bins]
    return Binned(*np.array(rows, dtype=np.float64).reshape(-1, 4).T)


def _before(rows: list[tuple[float, float, float, float]], step: int) -> list[tuple[float, float, float, float]]:
    """Those of steps before ``step``."""
    if not rows or rows[-1][0] < step:
        return rows
    return [row for row in rows if row[0] < step]
