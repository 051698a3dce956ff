"""Checkpoints: everything a fit has learned so far, in one file that is either whole or not there.

The file is safetensors. Tensors carry the dotted names of ``Parameter`` (``scene.points.descriptors``), the optimiser's
moments ``optimizer.<moment>.<name>``; what is never fitted lies beside them (``scene.points.position``,
``cameras.camera_from_world``, ``cameras.lens.0``), so that a model can be made from the file alone. One metadata entry
of sorted JSON says the rest, a checksum of everything included. Nothing in it depends on the clock: equal fits give
equal bytes.

A newer state replaces the file only once it stands whole on the disk; the one before it is kept beside it as
``checkpoint.previous.safetensors``, for the day when the disk loses the newest.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import make_lens
from unrender.cameras.sensor import Sensor
from unrender.errors import RunError
from unrender.fit.settings import FitSettings
from unrender.fit.settings_file import settings_from_table, settings_to_table
from unrender.parameters import Parameter
from unrender.render.model import Model
from unrender.render.shade.network import NetworkShader
from unrender.scenes.points import PointScene

__all__ = [
    "CHECKPOINT_VERSION",
    "Checkpoint",
    "UnsavedError",
    "load_values",
    "model_from_tensors",
    "model_metadata",
    "model_tensors",
    "newest_checkpoint",
    "points_of",
    "previous_of",
    "read_checkpoint",
    "write_checkpoint",
]

CHECKPOINT_VERSION = 4
_ENTRY = "unrender"
_POINT_FIELDS = ("position", "normal", "radius", "threshold", "descriptors")
_CAMERA_FIELDS = ("camera_from_world", "camera_index", "pixel_scale", "pixel_offset", "sizes")
_SENSOR_FACTS = ("exposure_mean", "response_family")
_SENSOR_FIELDS = tuple(field.name for field in fields(Sensor) if field.name not in _SENSOR_FACTS)


@dataclass(frozen=True)
class Checkpoint:
    """A fit after ``step`` steps: ``tensors`` by dotted name, ``settings`` it was made with, ``model`` metadata.

    ``skipped``: how many of them were left out because something was not finite; ``digest``: checksum of everything,
    the same for the same state; ``note``: a line that a user should read, when this is not the newest that was saved.
    """

    tensors: dict[str, torch.Tensor]
    settings: FitSettings
    model: dict[str, object]
    step: int
    skipped: int
    digest: str
    note: str | None = None

    def load_model(self) -> Model:
        """The model as it was; nothing is initialised anew."""
        return model_from_tensors(self.tensors, self.model, self.settings)


def model_tensors(model: Model) -> dict[str, torch.Tensor]:
    """Every tensor of a point model under its dotted name, on the CPU; fitted ones under their parameter's name."""
    scene, cameras = points_of(model), model.cameras
    tensors = {f"scene.points.{name}": getattr(scene, name) for name in _POINT_FIELDS}
    if scene.source is not None:
        tensors["scene.points.source"] = scene.source
    tensors |= {"scene.origin": scene.origin, "scene.environment": scene.environment}
    tensors |= {f"cameras.{name}": getattr(cameras, name) for name in _CAMERA_FIELDS}
    tensors |= {f"cameras.lens.{index}": lens.params for index, lens in enumerate(cameras.lenses)}
    tensors |= {f"cameras.sensor.{name}": getattr(cameras.sensor, name).clone() for name in _SENSOR_FIELDS}
    tensors |= {parameter.name: parameter.raw for parameter in model.parameters()}
    return {name: _for_file(tensor) for name, tensor in tensors.items()}


def _for_file(tensor: torch.Tensor) -> torch.Tensor:
    """The same values as files hold them: on the CPU, whatever device they are fitted on."""
    return tensor.detach().cpu().contiguous()


def model_metadata(model: Model) -> dict[str, object]:
    """What a model is besides its tensors and its fit's settings; plain JSON values."""
    lenses = [{"model": lens.model, "width": lens.width, "height": lens.height} for lens in model.cameras.lenses]
    linear: dict[str, object] = {"linear": list(model.cameras.linear)} if model.cameras.linear else {}
    return linear | {
        "exposure_mean": model.cameras.sensor.exposure_mean,
        "lenses": lenses,
        "logarithmic": points_of(model).logarithmic,
        "response_family": model.cameras.sensor.response_family,
        "scene": "points",
    }


def model_from_tensors(
    tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, object], settings: FitSettings
) -> Model:
    """The model whose ``model_tensors`` and ``model_metadata`` these are, fitted with ``settings``.

    Raises RunError when a tensor is missing or has a shape that does not fit.
    """
    try:
        points = {name: tensors[f"scene.points.{name}"].clone() for name in _POINT_FIELDS}
        scene = PointScene(
            origin=tensors["scene.origin"],
            environment=tensors["scene.environment"].clone(),
            logarithmic=bool(metadata["logarithmic"]),
            source=tensors.get("scene.points.source"),
            **points,
        )
        cameras = _cameras_from_tensors(tensors, metadata)
    except KeyError as missing:
        raise RunError(f"the checkpoint lacks {missing}", do="start the run again") from None
    model = Model(scene, NetworkShader(settings.network, seed=settings.seed), cameras, settings.raster)
    load_values(model.parameters(), tensors)
    return model


def write_checkpoint(
    path: Path, model: Model, state: Mapping[str, torch.Tensor], settings: FitSettings, step: int, skipped: int = 0
) -> None:
    """Write ``model`` and the fit's ``state`` after ``step`` steps to ``path``: whole, or the files stay as they were.

    What was there becomes ``previous_of(path)``. Raises UnsavedError when the disk refuses, and RunError when something
    is not finite: such a state is not worth keeping, and the last good one is.
    """
    tensors = model_tensors(model) | {name: _for_file(tensor) for name, tensor in state.items()}
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise RunError(f"{name} is not finite", where=f"step {step}", do="go on from the last checkpoint")
    entry = {
        "version": CHECKPOINT_VERSION,
        "step": step,
        "skipped": skipped,
        "settings": settings_to_table(settings),
        "model": model_metadata(model),
    }
    entry["digest"] = _digest(tensors, entry)
    part = path.with_name(f".{path.name}.part")
    # Not save_file: it writes to a file of random name, of which every kill would leave one, and ignores the umask.
    data = save(tensors, metadata={_ENTRY: json.dumps(entry, sort_keys=True)})
    try:
        _write_through(part, data)
        if path.exists():
            path.replace(previous_of(path))  # killed right after this, only the previous one is there: it is found
        part.replace(path)
        _flush(path.parent)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise UnsavedError(
            f"cannot write the checkpoint ({error.strerror})", where=path, do="free disk space or mend rights"
        ) from None


def previous_of(path: Path) -> Path:
    """Where the checkpoint goes that ``path`` held before."""
    return path.with_suffix(f".previous{path.suffix}")


def newest_checkpoint(path: Path) -> Checkpoint:
    """The newest checkpoint that is whole: that in ``path``, or else the previous one, which then has a note.

    Raises RunError as ``read_checkpoint`` when neither can be used, or when that in ``path`` is whole but not ours.
    """
    try:
        return read_checkpoint(path)
    except _LostError as lost:
        if not previous_of(path).is_file():
            raise
        # Not there: the process was killed between two renames, or is between them now, and nothing is wrong.
        note = None if lost.missing else f"{path}: the checkpoint is damaged, using the one before it"
    return replace(read_checkpoint(previous_of(path)), note=note)


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in a file. Raises RunError when it is missing, damaged, not ours or from another version."""
    try:
        with safe_open(path, framework="pt") as file:
            entry = json.loads((file.metadata() or {}).get(_ENTRY, "null"))
            # copies: what get_tensor gives keeps the file mapped, and its space taken after a newer one replaced it
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (FileNotFoundError, NotADirectoryError):
        raise _LostError("there is no checkpoint", where=path, do="run `unrender fit` first", missing=True) from None
    except OSError as error:  # the file may be whole all the same
        raise RunError(f"cannot read the checkpoint ({error.strerror or error})", where=path) from None
    except (SafetensorError, ValueError) as error:
        raise _damaged(path, str(error)) from None
    if not isinstance(entry, dict):
        raise _LostError("not a checkpoint of unrender", where=path, expected=f"a metadata entry {_ENTRY!r}")
    if entry.get("version") != CHECKPOINT_VERSION:
        raise RunError(
            "the checkpoint has another version",
            where=path,
            expected=CHECKPOINT_VERSION,
            got=entry.get("version"),
            do="use the release of unrender that wrote it",
        )
    if entry.pop("digest", None) != (digest := _digest(tensors, entry)):
        raise _damaged(path, "its checksum is wrong")
    settings = settings_from_table(entry["settings"], where=path)
    return Checkpoint(tensors, settings, entry["model"], entry["step"], entry["skipped"], digest)


class UnsavedError(RunError):
    """The disk refused a checkpoint; what was there before is still there."""


class _LostError(RunError):
    """There is no whole checkpoint in this file; ``missing``: there is no file."""

    def __init__(self, what: str, *, missing: bool = False, **named: Any) -> None:
        super().__init__(what, **named)
        self.missing = missing


def _damaged(path: Path, reason: str) -> _LostError:
    return _LostError(f"the checkpoint is damaged ({reason})", where=path, do="move it away and fit again")


def _digest(tensors: Mapping[str, torch.Tensor], entry: Mapping[str, object]) -> str:
    """CRC-32 of the metadata and all values in the order of their names, in hex: finds damage, not fraud."""
    checksum = zlib.crc32(json.dumps(entry, sort_keys=True).encode())
    for name in sorted(tensors):
        values = tensors[name].detach().contiguous().reshape(-1).view(torch.uint8)
        checksum = zlib.crc32(values.numpy().data, zlib.crc32(name.encode(), checksum))
    return f"{checksum:08x}"


def points_of(model: Model) -> PointScene:
    """The scene of a point model. Raises RunError for any other."""
    if not isinstance(model.scene, PointScene):
        raise RunError(f"checkpoints hold point scenes, got {type(model.scene).__name__}")
    return model.scene


def _cameras_from_tensors(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, object]) -> Cameras:
    lenses = tuple(
        make_lens(lens["model"], lens["width"], lens["height"], tensors[f"cameras.lens.{index}"])
        for index, lens in enumerate(metadata["lenses"])  # type: ignore[arg-type]
    )
    sensor = Sensor(
        exposure_mean=float(metadata["exposure_mean"]),  # type: ignore[arg-type]
        response_family=str(metadata["response_family"]),
        **{name: tensors[f"cameras.sensor.{name}"].clone() for name in _SENSOR_FIELDS},
    )
    linear = tuple(metadata.get("linear", ()))  # type: ignore[arg-type]
    fields_of_views = {name: tensors[f"cameras.{name}"] for name in _CAMERA_FIELDS}
    return Cameras(lenses=lenses, sensor=sensor, linear=linear, **fields_of_views)


def load_values(parameters: Sequence[Parameter], tensors: Mapping[str, torch.Tensor]) -> None:
    """Copy raw values in by name, in place. Raises RunError when one is missing or of another shape."""
    for parameter in parameters:
        saved = tensors.get(parameter.name)
        if saved is None or saved.shape != parameter.raw.shape:
            got = "nothing" if saved is None else tuple(saved.shape)
            raise RunError(f"saved state of {parameter.name}", expected=tuple(parameter.raw.shape), got=got)
        with torch.no_grad():
            parameter.raw.copy_(saved)


def _write_through(path: Path, data: bytes) -> None:
    """Write a file such that the disk holds it, not only the system's memory."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    """Make the disk hold the renames in a folder. Windows has no such call, and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
