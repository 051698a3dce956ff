"""Folders of rendered pictures that can be gone on with: which pictures are finished, and of what they are.

Every picture is written under another name and renamed, so that a file with a picture's name is whole. Beside the
pictures lies a record, ``<series>.<format>.json``: the checkpoint and all that was asked for. A render that is gone on
with must be asked for the same; a render that begins anew removes the pictures that the record names, so that
no picture of an earlier, longer flight is taken for one of this. Everything else in the folder is left alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from unrender.errors import RunError

__all__ = ["FrameFolder"]


@dataclass(frozen=True)
class FrameFolder:
    """The pictures ``names`` (file names, in order) of one render in ``folder``.

    ``series`` names the record's file: one folder may hold several series (held-out views and a flight, say).
    ``facts``: plain JSON values that say what the pictures are; renders with equal facts give equal pictures.
    """

    folder: Path
    series: str
    facts: Mapping[str, object]
    names: Sequence[str]

    @property
    def record_path(self) -> Path:
        """Where it is written what the pictures are."""
        return self.folder / f"{self.series}.json"

    @property
    def paths(self) -> list[Path]:
        """All pictures, rendered or not yet, in order."""
        return [self.folder / name for name in self.names]

    @cached_property
    def _record(self) -> dict[str, Any]:
        return json.loads(json.dumps({**self.facts, "files": list(self.names)}, allow_nan=False))

    @contextmanager
    def held(self) -> Iterator[None]:
        """The right to write this series, as a context that makes the folder and leaves no empty one.

        Raises RunError when another process has that right, OSError where the folder cannot be made.
        """
        from unrender.fit.lock import RunLock

        lock = f".{self.series}.lock"
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with RunLock(self.folder, lock, "rendering into this folder"):
                try:
                    yield
                finally:
                    for name in (lock, f"{lock}.holder"):
                        with suppress(OSError):  # some systems keep what is open; it means nothing to the next render
                            (self.folder / name).unlink()
        finally:
            with suppress(OSError):  # something is in it
                self.folder.rmdir()

    def begin(self, resume: bool) -> list[int]:
        """The indices of the pictures to render: those that are missing with ``resume``, else all.

        Call it, and what follows, in ``held``. Nothing is changed before a first picture is made. Raises RunError when
        the pictures that are there are not of this render, and ``resume`` is asked for, or when a file of their name is
        of no earlier render.
        """
        earlier = self._earlier_record()
        if resume and earlier is not None:
            self._refuse_another(earlier)
            return [index for index, path in enumerate(self.paths) if not _is_finished(path)]
        self._refuse_foreign(self._files_of(earlier or {}))
        return list(range(len(self.names)))

    @contextmanager
    def writing(self, index: int) -> Iterator[Path]:
        """Where to write a picture; leaving the context gives it its name. Raises RunError where the disk refuses."""
        path = self.folder / self.names[index]
        try:
            with _whole(path) as part:
                yield part
                self._replace_earlier(part)
        except OSError as error:
            raise RunError(
                f"cannot write the picture ({error.strerror or error})",
                where=path,
                do="free disk space or mend rights, then go on with --resume",
            ) from None

    def remove(self) -> None:
        """Remove the pictures and then the record, without which they would be somebody's."""
        _remove(self.folder, [*self.names, self.record_path.name])

    def _earlier_record(self) -> dict[str, Any] | None:
        """What the folder says its pictures are; None when it says nothing."""
        try:
            record = json.loads(self.record_path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("files"), list):
            raise RunError("this file is no record of a render", where=self.record_path, do="choose another folder")
        return record

    def _refuse_another(self, earlier: Mapping[str, Any]) -> None:
        for name, wanted in self._record.items():
            there = earlier.get(name)
            if there != wanted:
                told = {} if name == "files" else {"expected": _shown(there), "got": _shown(wanted)}
                raise RunError(
                    f"the pictures here are of a render with another {name}",
                    where=self.record_path,
                    **told,
                    do="ask for the same again, leave --resume out to replace them, or choose another output",
                )

    def _replace_earlier(self, made: Path) -> None:
        """Once a first picture is ``made``: those of another render go, and the record says what is here now."""
        earlier = self._earlier_record()
        if earlier == self._record:
            return
        for name in self._files_of(earlier or {}):
            (self.folder / name).unlink(missing_ok=True)
            if _part_of(self.folder / name) != made:
                _part_of(self.folder / name).unlink(missing_ok=True)
        with _whole(self.record_path) as part:
            part.write_text(json.dumps(self._record, indent=1, allow_nan=False) + "\n", encoding="utf-8")

    def _refuse_foreign(self, ours: Sequence[str]) -> None:
        """Somebody's photos may have the names that our pictures would get."""
        for path in self.paths:
            if path.name not in ours and os.path.lexists(path):
                raise RunError(
                    "this file is of no earlier render and would be lost", where=path, do="choose another folder"
                )

    def _files_of(self, record: Mapping[str, Any]) -> list[str]:
        """The names in a record that are names of files in this folder, whoever wrote the record."""
        return [name for name in record.get("files", ()) if isinstance(name, str) and Path(name).name == name]


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A name to write to. On leaving, the disk holds that file and it becomes ``path``; after an error it is gone."""
    part = _part_of(path)
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _is_finished(path: Path) -> bool:
    """Whether there is a picture. An empty file is what a power cut may leave of one."""
    return path.is_file() and path.stat().st_size > 0


def _remove(folder: Path, names: Sequence[str]) -> None:
    """Remove files, and what a kill left of them."""
    for name in names:
        (folder / name).unlink(missing_ok=True)
        _part_of(folder / name).unlink(missing_ok=True)


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
