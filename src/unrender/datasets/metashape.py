"""Agisoft Metashape's cameras.xml (File > Export > Export Cameras), and what we write in its place.

A camera's transform is world-from-camera in the frame of its component (before 1.5: of the chunk), camera axes as
ours. The component's transform is that frame in the world: rotation, translation and scale. Poses here are in the
world: the unit is the chunk's, metres where it was scaled, and the frame is the one that points are exported in. For a
chunk with geographic coordinates that is geocentric (EPSG:4978). Tie points are not in the file. Sensors: see
``metashape_lenses.py``. Source: Agisoft Metashape User Manual; its scripts (agisoft-llc/metashape-scripts).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element
from xml.sax.saxutils import quoteattr

import torch

from unrender.cameras.lens import Lens
from unrender.datasets.beside_cameras import POINTS, check_names, cloud_beside
from unrender.datasets.clouds import write_ply
from unrender.datasets.listed_photos import complete_labels, find_listed
from unrender.datasets.metashape_lenses import METASHAPE_LENSES, calibration_of, holds_sensor, lens_of
from unrender.datasets.reconstruction import Ids, Reconstruction
from unrender.datasets.xml_tree import number, numbers, parse_xml, whole
from unrender.errors import CaptureError
from unrender.geometry.transforms import rigid

__all__ = ["METASHAPE_LENSES", "holds_sensor", "is_metashape", "read_metashape", "write_metashape"]

_NAME = "cameras.xml"
_HEAD, _MOST = 1 << 12, 20
"""Bytes in which a file must show what it is, and how many XML files of a folder are looked at."""
_BEGINNING = re.compile(rb"<document\b[^>]*>\s*<chunk\b")
_DO = "export the cameras again with Metashape"
_FAR = 1e5
"""Coordinates beyond which a frame is geocentric."""


def is_metashape(path: Path) -> bool:
    """Whether this is an XML file of cameras or a folder with one."""
    return _find(path) is not None


def read_metashape(path: Path, *, images: Path | None = None, observations: bool = False) -> Reconstruction:  # noqa: ARG001
    """The cameras in a file, or in ``cameras.xml`` or another XML file of a folder.

    Photos are in ``images`` or the folder of the file; a label without suffix is the photo of that name. Cameras
    without transform (those that were not aligned, and the further ones of a rig or of a multispectral camera) and
    disabled ones are left out and counted. Points: ``points.ply`` beside the file; another lone PLY file is the dense
    cloud. There are never ``observations``. Raises CaptureError, one line, when something is missing or damaged.
    """
    file = _find(path)
    if file is None:
        raise CaptureError("no cameras here", where=path, expected="cameras.xml with a document and a chunk", do=_DO)
    chunk, notes = _chunk(file)
    cameras, left_out = _cameras(chunk, file)
    listed = find_listed([camera.label for camera in cameras], file, path if path.is_dir() else file.parent, images)
    lenses, index, ids, off = _lenses(chunk, cameras, file)
    frames = {camera.component for camera in cameras}
    points, dense = cloud_beside(file.parent)
    return Reconstruction(
        names=complete_labels(listed.names, listed.folder, file),
        image_folder=listed.folder,
        camera_from_world=torch.stack([camera.pose() for camera in cameras]),
        camera_index=index,
        lenses=lenses,
        points=points,
        ids=Ids(torch.tensor([camera.number for camera in cameras]), ids, Ids.counted(0, 0, len(points)).points),
        dense=dense,
        notes=(*notes, *left_out, *listed.notes, *off, *_frame_notes(frames)),
    )


def write_metashape(folder: Path, reconstruction: Reconstruction) -> None:
    """Write cameras.xml with the ids of the reconstruction, its frame as the world, and points as points.ply.

    Labels are the names of photos. Raises CaptureError for a lens that Metashape has no sensor for.
    """
    check_names(reconstruction, folder, "")
    with (folder / _NAME).open("w", encoding="utf-8", newline="\n") as out:
        out.write('<?xml version="1.0" encoding="UTF-8"?>\n<document version="2.0.0">\n')
        out.write('  <chunk label="Chunk 1" enabled="true">\n')
        out.writelines(f"    {line}\n" for line in _lines(reconstruction, folder))
        out.write("  </chunk>\n</document>\n")
    if len(reconstruction.points):
        write_ply(folder / POINTS, reconstruction.points)


@dataclass(frozen=True, eq=False)
class _Frame:
    """A component's place in the world: x_world = scale rotation x + translation."""

    rotation: torch.Tensor
    translation: torch.Tensor
    scale: float
    given: bool


@dataclass(frozen=True, eq=False)
class _Camera:
    """A camera that has a pose: ``local`` [4, 4], component from camera."""

    number: int
    label: str
    sensor: str
    local: torch.Tensor
    component: _Frame

    def pose(self) -> torch.Tensor:
        """camera_from_world [4, 4] float64."""
        place = self.component
        rotation = (place.rotation @ self.local[:3, :3]).T
        center = place.scale * (place.rotation @ self.local[:3, 3]) + place.translation
        return rigid(rotation, -(rotation @ center))


def _find(path: Path) -> Path | None:
    try:
        if not path.is_dir():
            return path if path.is_file() and _begins(path) else None
        files = [path / _NAME, *sorted(path.glob("*.xml"))[:_MOST]]
        return next((file for file in files if file.is_file() and _begins(file)), None)
    except (OSError, ValueError):
        return None


def _begins(file: Path) -> bool:
    with file.open("rb") as opened:
        return _BEGINNING.search(opened.read(_HEAD)) is not None


def _chunk(file: Path) -> tuple[Element, tuple[str, ...]]:
    """The first chunk of a document, and a note when there are more."""
    chunks = parse_xml(file, _DO).findall("chunk")
    if not chunks:
        raise CaptureError("no chunk in this document", where=file, do=_DO)
    return chunks[0], (f"the first of {len(chunks)} chunks",) if len(chunks) > 1 else ()


def _cameras(chunk: Element, file: Path) -> tuple[list[_Camera], tuple[str, ...]]:
    """The cameras that are used, and how many are not."""
    frames, skipped = _frames(chunk, file), Counter[str]()
    found: list[_Camera] = []
    for element in chunk.iterfind("cameras//camera"):
        if element.get("enabled", "true").lower() in ("false", "0"):
            skipped["disabled"] += 1
        elif element.find("transform") is None:
            skipped["without a pose" if element.get("master_id") is None else "of rigs, whose poses are not given"] += 1
        else:
            found.append(_camera(element, frames, file))
    placed = [camera for camera in found if camera.component.given]
    kept = placed or [camera for camera in found if camera.component is _most(found)]
    if len(found) > len(kept):
        skipped["of other components, whose place is not known"] += len(found) - len(kept)
    if not kept:
        raise CaptureError("no camera with a pose", where=file, do="align the photos, then export the cameras")
    return kept, tuple(f"{count} cameras {what}: left out" for what, count in skipped.items())


def _most(cameras: list[_Camera]) -> _Frame | None:
    """The component that has most of the cameras."""
    counts = Counter(id(camera.component) for camera in cameras)
    return max((camera.component for camera in cameras), key=lambda one: counts[id(one)], default=None)


def _camera(element: Element, frames: dict[str | None, _Frame], file: Path) -> _Camera:
    label = element.get("label", "")
    where = f"{file}: camera {label or element.get('id')!r}"
    if not label:
        raise CaptureError("a camera without label", where=where, expected="the name of its photo", do=_DO)
    rows = numbers(element.findtext("transform"), 16, "the transform", where)
    local = torch.tensor(rows, dtype=torch.float64).reshape(4, 4)
    if local[3].tolist() != [0, 0, 0, 1]:
        raise CaptureError("the transform is no rigid motion", where=where, expected="0 0 0 1 last", got=rows[12:])
    component = frames.get(element.get("component_id"), frames[None])
    return _Camera(whole(element.get("id"), "the id", where), label, element.get("sensor_id", ""), local, component)


def _frames(chunk: Element, file: Path) -> dict[str | None, _Frame]:
    """The place of each component by its id, and of cameras without one."""
    frames: dict[str | None, _Frame] = {None: _frame(chunk.find("transform"), f"{file}: chunk")}
    for component in chunk.iterfind("components/component"):
        name = component.get("id", "")
        own = _frame(component.find("transform"), f"{file}: component {name}")
        frames[name] = own if own.given or not frames[None].given else frames[None]
    return frames


def _frame(transform: Element | None, where: str) -> _Frame:
    """The place that a transform says; the origin where there is none. Parts of it that are missing do nothing."""
    text = {} if transform is None else {part.tag: part.text for part in transform}
    rotation = torch.eye(3, dtype=torch.float64)
    if text.get("rotation"):
        rotation = torch.tensor(numbers(text["rotation"], 9, "the rotation", where), dtype=torch.float64).reshape(3, 3)
    translation = numbers(text["translation"], 3, "the translation", where) if text.get("translation") else [0.0] * 3
    scale = number(text["scale"], "the scale", where) if text.get("scale") else 1.0
    if scale <= 0:
        raise CaptureError("a scale of no frame", where=where, expected="more than 0", got=scale, do=_DO)
    return _Frame(rotation, torch.tensor(translation, dtype=torch.float64), scale, bool(text))


def _frame_notes(frames: set[_Frame]) -> tuple[str, ...]:
    if not all(frame.given for frame in frames):
        return ("the chunk has no transform: its own frame and scale",)
    if any(float(frame.translation.abs().max()) > _FAR for frame in frames):
        return ("coordinates are far from the origin, as a rule geocentric: export points with EPSG::4978 then",)
    return ()


def _lenses(
    chunk: Element, cameras: list[_Camera], file: Path
) -> tuple[tuple[Lens, ...], torch.Tensor, torch.Tensor, list[str]]:
    """Lenses of the sensors that are used, which each camera has, their ids, and notes on those that are not exact."""
    sensors = {sensor.get("id", ""): sensor for sensor in chunk.iterfind("sensors/sensor")}
    used = list(dict.fromkeys(camera.sensor for camera in cameras))
    lenses, notes = [], []
    for name in used:
        if name not in sensors:
            raise CaptureError(f"no sensor {name!r}, which cameras have", where=file, expected=sorted(sensors), do=_DO)
        lens, off = lens_of(sensors[name], f"{file}: sensor {name}")
        lenses.append(lens)
        if off:
            notes.append(f"sensor {name}: terms that {lens.model} lacks make up to {off:.2g} pixels")
    index = torch.tensor([used.index(camera.sensor) for camera in cameras])
    ids = torch.tensor([whole(name, "the id of a sensor", file) for name in used])
    return tuple(lenses), index, ids, notes


def _lines(reconstruction: Reconstruction, folder: Path) -> Iterator[str]:
    """What is in the chunk."""
    ids = reconstruction.numbers
    yield f'<sensors next_id="{int(ids.cameras.max()) + 1}">'
    for number_, lens in zip(ids.cameras.tolist(), reconstruction.lenses, strict=True):
        yield from (f"  {line}" for line in _sensor_lines(number_, lens, folder))
    yield "</sensors>"
    yield from ('<components next_id="1" active_id="0">', '  <component id="0" label="Component 1">', "    <transform>")
    yield "      <rotation>1 0 0 0 1 0 0 0 1</rotation>"
    yield from ("      <translation>0 0 0</translation>", "      <scale>1</scale>", "    </transform>")
    yield from ("  </component>", "</components>")
    yield f'<cameras next_id="{int(ids.images.max()) + 1}" next_group_id="0">'
    sensors = ids.cameras[reconstruction.camera_index].tolist()
    poses = _inverse(reconstruction.camera_from_world)
    for name, number_, sensor, pose in zip(reconstruction.names, ids.images.tolist(), sensors, poses, strict=True):
        label = quoteattr(name)
        yield f'  <camera id="{number_}" sensor_id="{sensor}" component_id="0" label={label} enabled="true">'
        yield f"    <transform>{' '.join(map(repr, pose.ravel().tolist()))}</transform>"
        yield "  </camera>"
    yield "</cameras>"


def _inverse(poses: torch.Tensor) -> torch.Tensor:
    rotation = poses[:, :3, :3].transpose(1, 2)
    return rigid(rotation, -(rotation @ poses[:, :3, 3:])[:, :, 0])


def _sensor_lines(number_: int, lens: Lens, folder: Path) -> Iterator[str]:
    kind, terms = calibration_of(lens, folder)
    resolution = f'<resolution width="{lens.width}" height="{lens.height}"/>'
    yield f'<sensor id="{number_}" label="camera {number_}" type="{kind}">'
    yield from (f"  {resolution}", f'  <calibration type="{kind}" class="adjusted">', f"    {resolution}")
    yield from (f"    <{name}>{value!r}</{name}>" for name, value in terms.items())
    yield from ("  </calibration>", "</sensor>")
