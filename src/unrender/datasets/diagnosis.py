"""What is wrong with a capture, before anything is fitted to it.

Everything that a fit would refuse is a finding here, in the same words. What can be read is asked further: points are
projected into the photos, and photos, tracks and points must bear each other out (``evidence/``). Where they do not,
the mistakes that are commonly made are undone one after the other, and the one that explains it is named.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from unrender.datasets.capture import Capture
from unrender.datasets.evidence.agreement import Witnesses
from unrender.datasets.evidence.coverage import Coverage, look_at_points
from unrender.datasets.evidence.exchanged import misplaced_photos
from unrender.datasets.evidence.looks import Look, look_at_photo
from unrender.datasets.evidence.naming import Verdict, judge
from unrender.datasets.evidence.quality import Quality, photo_quality
from unrender.datasets.evidence.statements import (
    bad_photos,
    exposures_missing,
    misplaced,
    missing_photos,
    outside,
    refused,
    spacing_of,
    unused_photos,
    what_is_wrong,
)
from unrender.datasets.findings import CaptureFacts, Diagnosis, Finding, Inspected, PhotoFacts
from unrender.datasets.formats import FORMATS, find_format, read_reconstruction
from unrender.datasets.listed_photos import PHOTO_SUFFIXES
from unrender.datasets.names import PictureFolder
from unrender.datasets.photos import check_photos
from unrender.datasets.pictures import Alpha
from unrender.datasets.read_capture import capture_of
from unrender.datasets.reconstruction import Reconstruction
from unrender.datasets.synthetic.workers import side_by_side
from unrender.errors import CaptureError
from unrender.messages import Message

__all__ = ["MOST_PHOTOS", "WIDTH", "inspect_capture"]

MOST_PHOTOS = 150
"""Photos that are opened; of more, so many evenly spread over their names."""
WIDTH = 640
"""Pixels that photos are wide when they are looked at, or as wide as the narrowest is."""
_POINTS = 4000
_BUDGET = 64 * 2**20
"""Bytes of decoded photos that are kept: each is looked at once."""
_PHOTOS_DONE, _READINGS_DONE = 0.6, 0.95


@dataclass(frozen=True)
class _Source:
    """Where a capture lies, as ``inspect_capture`` is told."""

    root: Path
    masks: Path | str | None
    points: Path | str | None
    alpha: Alpha | None


def inspect_capture(
    path: Path | str,
    *,
    format: str | None = None,
    images: Path | str | None = None,
    masks: Path | str | None = None,
    points: Path | str | None = None,
    alpha: Alpha | None = None,
    most_photos: int = MOST_PHOTOS,
) -> Generator[Message, None, Diagnosis]:
    """Look at the capture at ``path``; its parts are given as to ``read_capture``. The value of the generator is what
    was found; meanwhile it says how far it is.

    Of more than ``most_photos`` photos so many are opened. Raises SettingsError for a format that is none, CaptureError
    when there is nothing at a path that is given; whatever is wrong with the capture is a finding.
    """
    source = _Source(Path(path), masks, points, alpha)
    find_format(source.root, format or next(iter(FORMATS)))  # refuses a path or name that is none
    for place in filter(None, (images, masks, points)):
        if not Path(place).exists():
            raise CaptureError("no such file or folder", where=place, expected="what the options name")
    yield Inspected("reading", 0.0)
    try:
        folder = None if images is None else Path(images)
        found = read_reconstruction(source.root, format, images=folder, observations=True)
    except CaptureError as error:
        return Diagnosis(source.root, None, (), (refused(error),))
    found, capture, findings = _opened(found, source)
    if capture is None:
        facts = _facts(found, None, {}, None, None, ())
        return Diagnosis(source.root, facts, (), findings, found.notes)
    return (yield from _inspected(found, capture, findings, most_photos))


def _opened(found: Reconstruction, source: _Source) -> tuple[Reconstruction, Capture | None, tuple[Finding, ...]]:
    """The capture, or as much of it as has usable photos, and what kept it from being read whole."""
    try:
        return found, _captured(found, source), ()
    except CaptureError as error:
        usable = _usable(found)
        if len(usable) in (0, len(found)):
            return found, None, (refused(error),)
        lost = sorted(set(found.names) - {found.names[view] for view in usable})
        part = found.select(usable)
        try:
            return part, _captured(part, source), (missing_photos(lost, error),)
        except CaptureError as second:
            return part, None, (missing_photos(lost, error), refused(second))


def _captured(found: Reconstruction, source: _Source) -> Capture:
    return capture_of(
        found, source.root, masks=source.masks, points=source.points, test_every=0, alpha=source.alpha, budget=_BUDGET
    )


def _usable(found: Reconstruction) -> list[int]:
    """Views whose photo is there, whole and of its camera's size."""
    folder, usable = PictureFolder(found.image_folder), []
    for view, (name, lens) in enumerate(zip(found.names, found.lens_of_view, strict=True)):
        path = folder.find(name)
        try:
            if path is not None:
                check_photos({name: path}, [lens])
                usable.append(view)
        except CaptureError:
            pass
    return usable


def _inspected(
    found: Reconstruction, capture: Capture, findings: tuple[Finding, ...], most_photos: int
) -> Generator[Message, None, Diagnosis]:
    """What photos, tracks and points say."""
    views = _spread(len(found), most_photos)
    small = capture.at_width(min(WIDTH, int(capture.cameras.sizes[:, 1].min())))
    looks, broken = yield from _looked_at(small, views)
    coverage = look_at_points(found, capture.points.positions, _spread(len(found), 4 * most_photos))
    witnesses = _witnesses(found, small, looks)
    yield Inspected("readings of the poses", _PHOTOS_DONE)
    verdict = judge(found, witnesses)
    yield Inspected("photos one by one", _READINGS_DONE)
    quality, unused = photo_quality(looks), _unused(capture)
    edge = max(max(lens.width, lens.height) for lens in found.lenses)
    wrong = [*findings, *broken, *what_is_wrong(verdict, coverage, edge)]
    photos = verdict.given.photos
    if photos is not None and not any(finding.level == "alarm" for finding in wrong[len(findings) :]):
        exchanged = misplaced_photos(witnesses, found, photos.by_view, photos.counts)
        wrong += misplaced(exchanged, found.names, photos.by_view)
    wrong += outside(coverage, found.names, named=verdict.reading is not None)
    wrong += bad_photos(quality, found.names)
    wrong += exposures_missing(_without_exposure(capture), len(found))
    wrong += unused_photos(unused, len(found))
    facts = _facts(found, capture, looks, coverage, verdict, unused)
    rows = tuple(_photo(found, capture, looks, coverage, verdict, quality, view) for view in range(len(found)))
    yield Inspected("done", 1.0)
    ranked = sorted(wrong, key=lambda finding: finding.level != "alarm")
    small_photos = {found.names[view]: look.thumbnail for view, look in looks.items()}
    return Diagnosis(capture.root, facts, rows, tuple(ranked), capture.notes, small_photos)


def _looked_at(
    capture: Capture, views: Sequence[int]
) -> Generator[Message, None, tuple[dict[int, Look], list[Finding]]]:
    """The photos, and a finding where some cannot be decoded."""
    looks: dict[int, Look] = {}
    errors: dict[int, CaptureError] = {}

    def look(view: int) -> Look | CaptureError:
        try:
            return look_at_photo(capture, view)
        except CaptureError as error:
            return error

    for place, (view, seen) in enumerate(zip(views, side_by_side(look, views), strict=True), start=1):
        if isinstance(seen, CaptureError):
            errors[view] = seen
        else:
            looks[view] = seen
        yield Inspected(capture.names[view], _PHOTOS_DONE * place / len(views))
    lost = [capture.names[view] for view in errors]
    return looks, [missing_photos(lost, next(iter(errors.values())))] if errors else []


def _witnesses(found: Reconstruction, capture: Capture, looks: dict[int, Look]) -> Witnesses:
    """The points that photos are asked about: those of the tracks where the fit would start from these, too."""
    points, seen = capture.points.positions, found.observations
    tracked = seen is not None and points is found.points.positions and bool((seen.point >= 0).any())
    if tracked and seen is not None:
        counts = torch.bincount(seen.point[seen.point >= 0], minlength=len(points))
        candidates = torch.nonzero(counts >= 2)[:, 0]
    else:
        candidates = torch.arange(len(points))
    chosen = candidates[torch.randperm(len(candidates), generator=torch.Generator().manual_seed(0))[:_POINTS]]
    observed = None
    if tracked and seen is not None:
        place = torch.full((len(points) + 1,), -1, dtype=torch.int64)
        place[chosen] = torch.arange(len(chosen))
        rows = place[seen.point]  # -1, no point, is the last row
        observed = torch.zeros(len(found), len(chosen), dtype=torch.bool)
        observed[seen.view[rows >= 0], rows[rows >= 0]] = True
    return Witnesses(looks, capture.cameras.pixel_scale, points[chosen], observed)


def _facts(
    found: Reconstruction,
    capture: Capture | None,
    looks: dict[int, Look],
    coverage: Coverage | None,
    verdict: Verdict | None,
    unused: Sequence[Path],
) -> CaptureFacts:
    """The capture in numbers; what was not measured is NaN."""
    known = torch.zeros(0) if capture is None else capture.exif_ev[capture.exif_ev.isfinite()]
    photos, tracks = (None, None) if verdict is None else (verdict.given.photos, verdict.given.tracks)
    sizes = Counter((lens.width, lens.height) for lens in found.lens_of_view)
    return CaptureFacts(
        photos=len(found),
        cameras=len(found.lenses),
        lenses=tuple(_lens_line(found, camera) for camera in range(len(found.lenses))),
        sizes=tuple((*size, count) for size, count in sizes.most_common()),
        points=len(found.points) if capture is None else len(capture.points),
        observations=0 if found.observations is None else int((found.observations.point >= 0).sum()),
        ev=(float(known.min()), float(known.max())) if len(known) else None,
        ev_missing=len(found) - len(known),
        unused=tuple(path.name for path in unused),
        looked_at=len(looks),
        agreement=math.nan if photos is None or not photos.pairs else photos.value,
        pairs=0 if photos is None else photos.pairs,
        residual=math.nan if tracks is None else tracks.median,
        outside=math.nan if coverage is None else coverage.outside,
        behind=math.nan if coverage is None else float(coverage.behind.nanmean()),
        spacing=math.nan if coverage is None else spacing_of(coverage),
        covered=math.nan if coverage is None else float(coverage.covered.nanmedian()),
    )


def _lens_line(found: Reconstruction, camera: int) -> str:
    """Model, field of view and principal point of a camera, for the user."""
    lens, views = found.lenses[camera], int((found.camera_index == camera).sum())
    named = dict(zip(lens.parameter_names, lens.params.tolist(), strict=True))
    edges = torch.tensor([[0.0, lens.height / 2], [lens.width, lens.height / 2]], dtype=torch.float64)
    left, right = torch.nn.functional.normalize(lens.unproject(edges), dim=1)
    angle = math.degrees(math.acos(max(-1.0, min(1.0, float(left @ right)))))
    focal = named.get("f", named.get("fx"))
    said = "" if focal is None else f", focal length {focal:.5g} px"
    return f"{lens.model} {lens.width} x {lens.height}{said}, {angle:.0f} degrees wide, {views} photos"


def _photo(
    found: Reconstruction,
    capture: Capture,
    looks: dict[int, Look],
    coverage: Coverage,
    verdict: Verdict,
    quality: Quality,
    view: int,
) -> PhotoFacts:
    lens, look = found.lens_of_view[view], looks.get(view)
    photos, tracks = verdict.given.photos, verdict.given.tracks
    return PhotoFacts(
        name=found.names[view],
        path=capture.image_paths[view],
        camera=int(found.camera_index[view]),
        width=lens.width,
        height=lens.height,
        ev=float(capture.exif_ev[view]),
        points=float(coverage.inside[view]),
        covered=float(coverage.covered[view]),
        agreement=math.nan if photos is None else float(photos.by_view[view]),
        residual=math.nan if tracks is None else float(tracks.by_view[view]),
        sharpness=quality.sharpness.get(view, math.nan),
        brightness=math.nan if look is None else look.brightness,
        white=math.nan if look is None else look.white,
        black=math.nan if look is None else look.black,
    )


def _without_exposure(capture: Capture) -> list[str]:
    return [capture.names[view] for view in torch.nonzero(~capture.exif_ev.isfinite())[:, 0].tolist()]


def _unused(capture: Capture) -> tuple[Path, ...]:
    """Pictures beside the photos that no view uses."""
    used = set(capture.image_paths)
    folders = sorted({path.parent for path in used})
    beside = (path for folder in folders for path in sorted(folder.iterdir()))
    masks = set(capture.mask_paths)
    return tuple(
        path for path in beside if path.suffix.lower() in PHOTO_SUFFIXES and path not in used and path not in masks
    )


def _spread(count: int, most: int) -> list[int]:
    """At most so many of ``count`` indices, evenly spread."""
    return (
        sorted({round(place * (count - 1) / max(most - 1, 1)) for place in range(most)})
        if count > most
        else list(range(count))
    )
