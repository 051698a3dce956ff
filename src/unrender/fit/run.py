"""The run folder: everything about one fit, in one place that every verb takes.

    settings.toml                     every setting, reloadable
    capture.toml                      where the capture lies, how it was read, which views train and which are held out,
                                      and checksums of the pictures
    machine.toml                      versions, processor and threads that the run began with
    checkpoint.safetensors            the newest state; see ``checkpoint.py``
    checkpoint.previous.safetensors   the state before it, used when the newest is damaged
    log.jsonl                         every message of the fit, one JSON object a line; see ``log.py``
    refinement.json                   how far refinement moved each camera, and what of it was taken back
    eval.json, eval/                  scores of the held-out views and pictures of them
    report.html                       what the fit did, for people; made by ``unrender.reports``

A folder is a run as soon as it holds ``settings.toml``, which is written last. Nothing that exists is overwritten
but by the run it belongs to, and one process at a time fits into it (``lock.py``). A checkpoint found damaged is moved
to ``checkpoint.damaged.safetensors``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from functools import cached_property
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal

import tomli_w

from unrender.datasets.capture import Capture
from unrender.errors import RunError, SettingsError, UnrenderError
from unrender.fit.check_start import check_start
from unrender.fit.checkpoint import Checkpoint, newest_checkpoint, previous_of
from unrender.fit.evaluate import Evaluation, evaluate
from unrender.fit.fit import Fit, measured, start_model
from unrender.fit.lock import LOCK_FILES, RunLock
from unrender.fit.log import RunLog, elapsed_at, json_text
from unrender.fit.machine import differences, machine_table
from unrender.fit.memory import PHASES, available_memory, memory_note, refuse_if_too_large
from unrender.fit.saver import Saver
from unrender.fit.settings import DEFAULT_STEPS, MOVABLE, FitSettings
from unrender.fit.settings_file import read_settings, read_table, replace_text, write_settings
from unrender.fit.source import CaptureSource, Split, refuse_replaced, source_from_table, source_to_table
from unrender.messages import Finished, Message, Note, Refined, Saved, Stepped
from unrender.render.model import Model

__all__ = ["LOG", "MACHINE", "Run"]

SETTINGS, CAPTURE, MACHINE, CHECKPOINT = "settings.toml", "capture.toml", "machine.toml", "checkpoint.safetensors"
LOG, REFINEMENT, SCORES, PICTURES = "log.jsonl", "refinement.json", "eval.json", "eval"
_BEFORE = {CAPTURE, MACHINE, *(f".{name}.part" for name in (CAPTURE, MACHINE, SETTINGS)), *LOCK_FILES}
"""All that a folder may hold whose run never began."""


class Run:
    """A run folder. Make one with ``create``, open one with ``open``."""

    def __init__(self, folder: Path, source: CaptureSource, settings: FitSettings, device: str = "cpu") -> None:
        self.folder, self.source, self.settings, self.device = folder, source, settings, device
        self._knows_pictures = False  # whether they were seen since to be those that the run began with

    @classmethod
    def create(
        cls,
        folder: Path | str,
        source: CaptureSource | Path | str,
        settings: FitSettings | None = None,
        device: str = "cpu",
    ) -> Run:
        """A new run of a capture in ``folder``, which must be new, empty or left over from a run that never began.

        ``device``: where to fit and score, ``cpu`` or ``cuda``; files are the same, and a run may go on elsewhere.

        Raises RunError when the folder holds a run or anything else or the fit would not fit into memory, CaptureError
        or SettingsError when the capture or the settings cannot be used (the folder is then not made).
        """
        folder = Path(folder)
        _refuse_occupied(folder)
        source = source if isinstance(source, CaptureSource) else CaptureSource(Path(source))
        run = cls(folder, source.absolute(), settings or FitSettings(), device)
        capture = run.capture
        refuse_if_too_large(capture, run.settings, available_memory(), _phases(capture))
        check_start(capture, run.settings)
        with _made(folder), RunLock(folder):
            _refuse_occupied(folder)
            run._begin(capture)
        return run

    @classmethod
    def open(cls, folder: Path | str, device: str = "cpu") -> Run:
        """The run in ``folder``; ``device``: see ``create``.

        Raises RunError when there is none, SettingsError when its settings are damaged.
        """
        folder = Path(folder)
        if not cls.exists(folder):
            raise RunError("there is no run here", where=folder, do="make one with `unrender fit CAPTURE -o RUN`")
        path = folder / CAPTURE
        source, _ = source_from_table(read_table(path), path)
        return cls(folder, source, read_settings(folder / SETTINGS), device)

    @staticmethod
    def exists(folder: Path | str) -> bool:
        """Whether ``folder`` is a run."""
        return (Path(folder) / SETTINGS).is_file()

    @property
    def settings_path(self) -> Path:
        """Every setting."""
        return self.folder / SETTINGS

    @property
    def checkpoint_path(self) -> Path:
        """The newest state."""
        return self.folder / CHECKPOINT

    @property
    def scores_path(self) -> Path:
        """Scores of the held-out views, once evaluated."""
        return self.folder / SCORES

    @property
    def pictures_folder(self) -> Path:
        """Photo, ours and FLIP map of each held-out view, once evaluated."""
        return self.folder / PICTURES

    @cached_property
    def capture(self) -> Capture:
        """The capture at its working size. Raises RunError when its photos are not those that the run began with."""
        capture = replace(self.source.read(self.settings.width), budget=self.settings.photo_memory * 2**20)
        if self.exists(self.folder):
            self._check_split(capture)
        return capture

    @property
    def names(self) -> tuple[str, ...]:
        """The views of the run in the order of the model's cameras."""
        return self._split().names

    def views(self, part: Literal["train", "test"]) -> dict[str, int]:
        """Names of the views of one part of the split and their indices in the model's cameras."""
        split = self._split()
        index = {name: view for view, name in enumerate(split.names)}
        return {name: index[name] for name in (split.train if part == "train" else split.test)}

    def change(self, settings: FitSettings) -> None:
        """Go on with other ``settings``: only those in ``MOVABLE`` may differ (when the run ends, how it is kept).

        Raises RunError when any other differs (the run would no longer be what its settings say), when the new end is
        behind the run already, or when a process fits into the run.
        """
        if settings.network.precision == "auto":  # measured when the run began
            measured_then = self.settings.network.precision
            settings = replace(settings, network=replace(settings.network, precision=measured_then))
        if settings == self.settings:
            return
        _refuse_others(self.settings, settings, self.settings_path)
        if (settings.steps, settings.minutes) != (self.settings.steps, self.settings.minutes):
            self._refuse_earlier_end(settings)
        with RunLock(self.folder):  # not under a fit that goes on
            write_settings(self.settings_path, settings)
            self.settings = settings

    def load_checkpoint(self) -> Checkpoint:
        """The newest whole state, with a note when a newer one is damaged.

        Raises RunError when there is none, or when ``settings.toml`` was edited since: then it is not of those.
        """
        checkpoint = newest_checkpoint(self.checkpoint_path)
        _refuse_others(checkpoint.settings, self.settings, self.settings_path)
        return checkpoint

    def load_model(self) -> Model:
        """The model as the newest checkpoint holds it. Raises RunError like ``load_checkpoint``."""
        return self.load_checkpoint().load_model()

    def load_scores(self) -> dict[str, Any]:
        """What ``eval.json`` holds; see ``Evaluation.table``. Raises RunError when the run was never evaluated."""
        try:
            return json.loads(self.scores_path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"no scores ({error})", where=self.scores_path, do="run `unrender eval`") from None

    def load_refinement(self) -> dict[str, Any]:
        """What ``refinement.json`` holds, a ``Refined`` message. Raises RunError when nothing was refined."""
        try:
            return json.loads((self.folder / REFINEMENT).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"nothing was refined ({error})", where=self.folder, do="fit with --refine") from None

    def fit(self, stop: Callable[[], bool] | None = None) -> Generator[Message, None, None]:
        """Fit from where the run stands to its end, or until ``stop()`` is true; logs, saves and yields every message.

        A checkpoint is written every ``checkpoint_every`` seconds (where the disk refuses that is a Note, and tried
        again), before ``Finished``, and before an error or the caller ends the fit between two steps. Raises RunError
        when another process fits into this run, when a step is not finite, or when the end cannot be saved.
        """
        with RunLock(self.folder), RunLog(self.folder / LOG) as log, closing(self._fit(stop)) as messages:
            for message in messages:
                log.write(message)
                yield message
            if log.failure is not None:
                yield Note(f"{self.folder / LOG} is not complete: {log.failure.strerror}")

    def _fit(self, stop: Callable[[], bool] | None) -> Generator[Message, None, None]:
        yield Note(f"reading {self.source.folder}")
        yield self._note_on_memory()
        notes = self._notes_on_machine()
        fit, more = self._ready_fit()
        yield from map(Note, (*notes, *more))
        saver = Saver(self.checkpoint_path, fit, self.settings)
        try:
            for message in fit.run(stop):
                if isinstance(message, Refined):
                    replace_text(self.folder / REFINEMENT, json_text(asdict(message), indent=2) + "\n")
                if isinstance(message, Finished):
                    yield saver.save()
                yield message
                if isinstance(message, Stepped) and (note := saver.save_when_due()) is not None:
                    yield note
        except BaseException:
            if fit.whole:
                with suppress(RunError):  # the first error is the one to tell; the last good checkpoint stays
                    saver.save()
            raise

    def evaluate(self, *, policies: bool = False) -> Generator[Message, None, Evaluation]:
        """Score the held-out views; writes ``eval.json`` and a picture per view. Its value is the scores.

        ``policies``: under all exposure policies, not the two usual ones alone. Raises RunError when there is no
        checkpoint, too little memory, or another process that scores this run.
        """
        checkpoint = self.load_checkpoint()
        if checkpoint.note is not None:
            yield Note(checkpoint.note)
        refuse_if_too_large(self.capture, self.settings, available_memory(), ("scoring",))
        self.refuse_replaced(self.capture.test)
        with RunLock(self.folder, ".eval.lock", "scoring this run"):
            model = checkpoint.load_model().to(self.device)
            evaluation = yield from evaluate(model, self.capture, self.pictures_folder, policies=policies)
            table = evaluation.table(seconds=elapsed_at(self.folder / LOG, checkpoint.step))
            table["contrast_from"] = model.cameras.sensor.contrast_from
            replace_text(self.scores_path, json_text(table, indent=2) + "\n")
        yield Saved(self.scores_path, "scores")
        return evaluation

    def _ready_fit(self) -> tuple[Fit, tuple[str, ...]]:
        """A fit that stands where the run stands, and notes for the user."""
        if not self._knows_pictures:
            self.refuse_replaced(range(len(self.capture)))
        if not self._has_checkpoint:
            model, notes = self._start_model()
            return Fit(model.to(self.device), self.capture, self.settings), (*self.capture.notes, *notes)
        checkpoint = self.load_checkpoint()
        if checkpoint.note is not None:  # not to be written over: who knows what it still holds
            self.checkpoint_path.replace(_free_name(self.checkpoint_path))
        fit = Fit(checkpoint.load_model().to(self.device), self.capture, self.settings)
        elapsed = elapsed_at(self.folder / LOG, checkpoint.step)
        fit.restore(checkpoint.tensors, checkpoint.step, elapsed, checkpoint.skipped)
        return fit, (*filter(None, [checkpoint.note]), f"resumed after step {checkpoint.step}")

    def _start_model(self) -> tuple[Model, tuple[str, ...]]:
        """The first model. A start that is refused leaves no run: it would be in the way of the corrected command."""
        try:
            return start_model(self.capture, self.settings)
        except UnrenderError:
            with suppress(OSError):
                self.settings_path.unlink()
                (self.folder / LOG).unlink()
            raise

    def _refuse_earlier_end(self, settings: FitSettings) -> None:
        """States that lie behind are not kept, so that a run cannot end at one."""
        if not self._has_checkpoint:
            return
        step = self.load_checkpoint().step
        if settings.minutes is not None:
            done, wanted, unit = elapsed_at(self.folder / LOG, step) / 60, settings.minutes, "minutes"
        else:
            done, wanted, unit = step, settings.steps or DEFAULT_STEPS, "steps"
        if wanted < done:
            raise RunError(
                f"the run has {done:.10g} {unit} behind it already",
                where=self.folder,
                expected=f"--{unit} of no less",
                got=wanted,
                do="ask for more, or start a new run: earlier states are not kept",
            )

    @property
    def _has_checkpoint(self) -> bool:
        return self.checkpoint_path.exists() or previous_of(self.checkpoint_path).exists()

    def _note_on_memory(self) -> Note:
        """What will be needed and what is free. A run that has begun is not refused: its settings cannot change."""
        phases = _phases(self.capture, started=self._has_checkpoint)
        available = available_memory()
        if not self._has_checkpoint:
            refuse_if_too_large(self.capture, self.settings, available, phases)
        return Note(memory_note(self.capture, self.settings, available, phases))

    def _begin(self, capture: Capture) -> None:
        """Write all that makes a folder a run, ``settings.toml`` last."""
        self.settings = measured(self.settings, capture, self.device)
        replace_text(self.folder / CAPTURE, tomli_w.dumps(source_to_table(self.source, capture)))
        self._knows_pictures = True
        replace_text(self.folder / MACHINE, tomli_w.dumps(machine_table()))
        write_settings(self.folder / SETTINGS, self.settings)

    def _notes_on_machine(self) -> list[str]:
        """What may keep a resumed run from ending with the bits of one that was never stopped."""
        with suppress(SettingsError):  # a run is no worse for having lost this file
            changed = differences(read_table(self.folder / MACHINE), machine_table())
            return [f"the last bits may differ from a run that was never stopped ({line})" for line in changed]
        return []

    def refuse_replaced(self, views: Sequence[int]) -> None:
        """Raises RunError when a photo or mask of ``views`` is not the one that the run began with."""
        refuse_replaced(self.capture, views, read_table(self.folder / CAPTURE))

    def _split(self) -> Split:
        path = self.folder / CAPTURE
        return source_from_table(read_table(path), path)[1]

    def _check_split(self, capture: Capture) -> None:
        names = self._split().names
        if names != capture.names:
            raise RunError(
                "the capture's photos have changed since the run began",
                where=self.source.folder,
                expected=f"the {len(names)} named in {self.folder / CAPTURE}",
                got=len(capture),
                do="start a new run",
            )


def _refuse_others(began: FitSettings, wanted: FitSettings, where: Path) -> None:
    """Raises RunError when settings that a run may not change differ."""
    before, now = began.leaves(), wanted.leaves()
    for name in sorted(before.keys() | now.keys()):
        if name not in MOVABLE and before.get(name) != now.get(name):
            raise RunError(
                f"the run began with another {name}",
                where=where,
                expected=before.get(name),
                got=now.get(name),
                do="leave that setting out, or start a new run",
            )


def _phases(capture: Capture, started: bool = False) -> tuple[str, ...]:
    """What lies before a run."""
    done = {*(("starting",) if started else ()), *(() if capture.test else ("scoring",))}
    return tuple(phase for phase in PHASES if phase not in done)


def _free_name(path: Path) -> Path:
    """Where a damaged checkpoint is put aside: beside those that were before."""
    numbers = chain([""], (f"-{number}" for number in count(2)))
    names = (path.with_suffix(f".damaged{number}{path.suffix}") for number in numbers)
    return next(name for name in names if not name.exists())


def _refuse_occupied(folder: Path) -> None:
    if Run.exists(folder):
        raise RunError(
            "there is a run here already", where=folder, do="add --resume to go on, or choose another folder"
        )
    if folder.exists() and not folder.is_dir():
        raise RunError("the run folder is a file", where=folder, do="choose another name")
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in _BEFORE) if folder.exists() else []
    if foreign:
        raise RunError(
            f"the folder holds {foreign[0]!r} and is no run (it has no {SETTINGS})",
            where=folder,
            do="choose a new folder",
        )


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """The folder exists inside; what the system says against it is said as ours."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise RunError(
            f"cannot make the run folder ({error.strerror})", where=folder, do="choose another place"
        ) from None
