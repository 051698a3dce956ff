"""When a fit is written to the disk."""

from __future__ import annotations

import time
from pathlib import Path

from unrender.fit.checkpoint import UnsavedError, write_checkpoint
from unrender.fit.fit import Fit
from unrender.fit.settings import FitSettings
from unrender.messages import Note, Saved

__all__ = ["Saver"]


class Saver:
    """Brings a fit to the disk, now and then and at its end, but no state twice."""

    def __init__(self, path: Path, fit: Fit, settings: FitSettings) -> None:
        self._path, self._fit, self._settings = path, fit, settings
        self._tried, self._step, self._told = time.monotonic(), -1, ""

    def save(self) -> Saved:
        """Save where the fit stands. Raises RunError when the disk refuses."""
        fit = self._fit
        if self._step != fit.step:
            write_checkpoint(self._path, fit.model, fit.state(), self._settings, fit.step, fit.skipped)
            self._step, self._told = fit.step, ""
        return Saved(self._path, "checkpoint")

    def save_when_due(self) -> Note | None:
        """Save every ``checkpoint_every`` seconds.

        A full disk is no reason to lose the hours that are not on it yet: the fit goes on, and a Note says so once.
        """
        if time.monotonic() - self._tried < self._settings.checkpoint_every:
            return None
        told = self._told
        try:
            self.save()
        except UnsavedError as error:
            self._told = str(error)
        self._tried = time.monotonic()
        return Note(f"{self._told}; going on, and trying again") if self._told not in ("", told) else None
