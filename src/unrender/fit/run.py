"""The run folder: everything about one fit, in one place that every verb takes.

    settings.toml            every setting, reloadable
    capture.toml             where the capture lies, how it was read, which views train and which are held out
    checkpoint.safetensors   the newest state; see ``checkpoint.py``
    log.jsonl                every message of the fit, one JSON object a line
    eval.json, eval/         scores of the held-out views and pictures of them

A folder is a run as soon as it holds ``settings.toml``, which is written last. Nothing that exists is overwritten
but by the run it belongs to.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TextIO

import tomli_w

from unrender.datasets.capture import Capture
from unrender.datasets.colmap import read_colmap
from unrender.errors import RunError
from unrender.fit.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from unrender.fit.evaluate import Evaluation, evaluate
from unrender.fit.fit import Fit, measured, start_model
from unrender.fit.settings import FitSettings
from unrender.fit.settings_file import read_settings, read_table, replace_text, write_settings
from unrender.messages import Finished, Message, Note, Saved, Stepped
from unrender.render.model import Model

__all__ = ["CaptureSource", "Run"]

SETTINGS, CAPTURE, CHECKPOINT = "settings.toml", "capture.toml", "checkpoint.safetensors"
LOG, SCORES, PICTURES = "log.jsonl", "eval.json", "eval"
_PLACES = ("images", "masks", "points")
_FILES = (SETTINGS, CAPTURE, CHECKPOINT, LOG, SCORES)
_OWN = {*_FILES, *(f".{name}.part" for name in _FILES), PICTURES}


@dataclass(frozen=True)
class CaptureSource:
    """A COLMAP capture on disk and how to read it; see ``read_colmap``.

    ``images``, ``masks``, ``points``: where these lie when not in their usual place; held out is every
    ``test_every``-th view, or those of ``test_names`` (names, or a file of them, one a line).
    """

    folder: Path
    images: Path | None = None
    masks: Path | None = None
    points: Path | None = None
    test_every: int = 8
    test_names: tuple[str, ...] | Path | None = None

    def read(self, width: int | None = None) -> Capture:
        """The capture, at a working ``width`` [pixels] when given. Raises CaptureError when it cannot be used."""
        capture = read_colmap(
            self.folder,
            images=self.images,
            masks=self.masks,
            points=self.points,
            test_every=self.test_every,
            test_names=self.test_names,
        )
        return capture if width is None else capture.at_width(width)

    def absolute(self) -> CaptureSource:
        """The same source, found from any working directory."""
        paths = {name: getattr(self, name) for name in ("folder", *_PLACES)}
        return replace(self, **{name: path and Path(path).resolve() for name, path in paths.items()})


class Run:
    """A run folder. Make one with ``create``, open one with ``open``."""

    def __init__(self, folder: Path, source: CaptureSource, settings: FitSettings) -> None:
        self.folder, self.source, self.settings = folder, source, settings

    @classmethod
    def create(cls, folder: Path | str, source: CaptureSource | Path | str, settings: FitSettings | None = None) -> Run:
        """A new run of a capture in ``folder``, which must be new, empty or left over from a run that never began.

        Raises RunError when the folder holds a run or anything else, CaptureError when the capture cannot be used
        (the folder is then not made).
        """
        folder = Path(folder)
        _refuse_occupied(folder)
        source = source if isinstance(source, CaptureSource) else CaptureSource(Path(source))
        run = cls(folder, source.absolute(), settings or FitSettings())
        run._write_capture_table(run.capture)
        run.settings = measured(run.settings)
        write_settings(folder / SETTINGS, run.settings)
        return run

    @classmethod
    def open(cls, folder: Path | str) -> Run:
        """The run in ``folder``. Raises RunError when there is none, SettingsError when its settings are damaged."""
        folder = Path(folder)
        if not cls.exists(folder):
            raise RunError("there is no run here", where=folder, do="make one with `unrender fit CAPTURE -o RUN`")
        table = read_table(folder / CAPTURE)
        return cls(folder, _source_from_table(table, folder / CAPTURE), read_settings(folder / SETTINGS))

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
        capture = self.source.read(self.settings.width)
        if self.exists(self.folder):
            self._check_split(capture)
        return capture

    def views(self, part: Literal["train", "test"]) -> dict[str, int]:
        """Names of the views of one part of the split and their indices in the model's cameras."""
        split = read_table(self.folder / CAPTURE)
        index = {name: view for view, name in enumerate(sorted(split["train"] + split["test"]))}
        return {name: index[name] for name in split[part]}

    def extend(self, *, steps: int | None = None, minutes: float | None = None) -> None:
        """Let the run end elsewhere: after ``steps`` steps or ``minutes`` minutes in all, whichever is given."""
        self.settings = replace(self.settings, steps=steps, minutes=minutes)
        write_settings(self.folder / SETTINGS, self.settings)

    def load_checkpoint(self) -> Checkpoint:
        """The newest state. Raises RunError when there is none or it is damaged."""
        return read_checkpoint(self.checkpoint_path)

    def load_model(self) -> Model:
        """The model as the newest checkpoint holds it. Raises RunError like ``load_checkpoint``."""
        return self.load_checkpoint().load_model()

    def load_scores(self) -> dict[str, Any]:
        """What ``eval.json`` holds; see ``Evaluation.table``. Raises RunError when the run was never evaluated."""
        try:
            return json.loads(self.scores_path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"no scores ({error})", where=self.scores_path, do="run `unrender eval`") from None

    def fit(self, stop: Callable[[], bool] | None = None) -> Iterator[Message]:
        """Fit from where the run stands to its end, or until ``stop()`` is true; logs, saves and yields every message.

        A checkpoint is written every ``checkpoint_every`` seconds and before ``Finished``.
        """
        with (self.folder / LOG).open("a", encoding="utf-8", buffering=1) as log:
            yield _logged(Note(f"reading {self.source.folder}"), log)
            fit, notes = self._ready_fit()
            for text in notes:
                yield _logged(Note(text), log)
            saved = time.monotonic()
            for message in fit.run(stop):
                if isinstance(message, Finished):
                    yield _logged(self._save(fit), log)
                yield _logged(message, log)
                if isinstance(message, Stepped) and time.monotonic() - saved >= self.settings.checkpoint_every:
                    self._save(fit)
                    saved = time.monotonic()

    def evaluate(self) -> Generator[Message, None, Evaluation]:
        """Score the held-out views; writes ``eval.json`` and a picture per view. Its value is the scores."""
        checkpoint = self.load_checkpoint()
        evaluation = yield from evaluate(checkpoint.load_model(), self.capture, self.pictures_folder)
        table = evaluation.table(seconds=self._elapsed(checkpoint.step))
        replace_text(self.scores_path, json.dumps(table, indent=2) + "\n")
        yield Saved(self.scores_path, "scores")
        return evaluation

    def _ready_fit(self) -> tuple[Fit, tuple[str, ...]]:
        """A fit that stands where the run stands, and notes for the user."""
        if not self.checkpoint_path.exists():
            model, notes = start_model(self.capture, self.settings)
            return Fit(model, self.capture, self.settings), (*self.capture.notes, *notes)
        checkpoint = self.load_checkpoint()
        fit = Fit(checkpoint.load_model(), self.capture, self.settings)
        fit.restore(checkpoint.tensors, checkpoint.step, self._elapsed(checkpoint.step))
        return fit, (f"resumed after step {checkpoint.step}",)

    def _save(self, fit: Fit) -> Saved:
        write_checkpoint(self.checkpoint_path, fit.model, fit.state(), self.settings, fit.step)
        return Saved(self.checkpoint_path, "checkpoint")

    def _elapsed(self, step: int) -> float:
        """Seconds of fitting behind ``step``. The log knows; a checkpoint holds nothing of the clock."""
        path = self.folder / LOG
        if not path.exists():
            return 0.0
        with path.open(encoding="utf-8") as log:
            stepped = [entry for entry in map(_parsed, log) if entry.get("type") == Stepped.__name__]
        return next((entry["elapsed"] for entry in reversed(stepped) if entry["step"] + 1 <= step), 0.0)

    def _write_capture_table(self, capture: Capture) -> None:
        places = {name: str(path) for name in ("folder", *_PLACES) if (path := getattr(self.source, name)) is not None}
        table = places | {
            "test_every": self.source.test_every,
            "train": [capture.names[view] for view in capture.train],
            "test": [capture.names[view] for view in capture.test],
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            replace_text(self.folder / CAPTURE, tomli_w.dumps(table))
        except OSError as error:
            raise RunError(f"cannot make the run folder ({error})", where=self.folder) from None

    def _check_split(self, capture: Capture) -> None:
        split = read_table(self.folder / CAPTURE)
        names = split["train"] + split["test"]
        if sorted(names) != list(capture.names):
            raise RunError(
                "the capture's photos have changed since the run began",
                where=self.source.folder,
                expected=f"the {len(names)} named in {self.folder / CAPTURE}",
                got=len(capture),
                do="start a new run",
            )


def _refuse_occupied(folder: Path) -> None:
    if Run.exists(folder):
        raise RunError(
            "there is a run here already", where=folder, do="add --resume to go on, or choose another folder"
        )
    if folder.exists() and not folder.is_dir():
        raise RunError("the run folder is a file", where=folder, do="choose another name")
    foreign = sorted(path.name for path in folder.iterdir() if path.name not in _OWN) if folder.exists() else []
    if foreign:
        raise RunError(f"the folder holds {foreign[0]!r}, which is no run's", where=folder, do="choose a new folder")


def _source_from_table(table: dict[str, Any], where: Path) -> CaptureSource:
    """The source of an existing run: what is held out is what was held out when it began, name by name."""
    try:
        places = {name: Path(table[name]) for name in _PLACES if name in table}
        return CaptureSource(
            Path(table["folder"]), **places, test_every=table["test_every"], test_names=tuple(table["test"])
        )
    except KeyError as missing:
        raise RunError(f"the run's capture lacks {missing}", where=where, do="start the run again") from None


def _logged(message: Message, log: TextIO) -> Message:
    entry = {"type": type(message).__name__} | {key: _plain(value) for key, value in vars(message).items()}
    log.write(json.dumps(entry) + "\n")
    return message


def _plain(value: Any) -> Any:
    """JSON has no paths and no infinity."""
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parsed(line: str) -> dict[str, Any]:
    """An entry of the log, empty when a crash cut the line short."""
    try:
        return json.loads(line)
    except ValueError:
        return {}
