"""Which reading of a reconstruction its photos, points and tracks bear out: as it is, otherwise, or none that is known.

Tracks decide where there are any, since they are exact; the photos decide where there are none, and where the tracks
find nothing wrong. A reading is named only when all that is known bears it out better by far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from unrender.datasets.evidence.agreement import Agreement, Witnesses, agreement, sample
from unrender.datasets.evidence.lens_readings import focal_reading, lens_readings, readable
from unrender.datasets.evidence.looks import Look
from unrender.datasets.evidence.readings import Reading, frame_readings, photo_readings, pose_readings
from unrender.datasets.evidence.residuals import Residuals, chosen_observations, residuals
from unrender.datasets.reconstruction import Observations, Reconstruction
from unrender.datasets.synthetic.workers import side_by_side

__all__ = ["Evidence", "Verdict", "judge", "weigh"]

_SOUND = 0.35
"""Photos that agree as much as this leave no doubt about poses; lenses may still be a little off."""
_CLEAR, _TWICE, _FINER, _PART = 0.2, 2.0, 0.03, 1.06
"""What a named reading must reach, and how far beyond the given one: by factor for poses; for a lens, whose mistakes
may be small, by difference and by factor."""
_TRACKS_FINE = 1.5
"""Residual that no reading needs to better: pixels, or pixels per 1000 of the photo's longer edge if these are more."""
_TRACKS_PART = 0.65
"""A reading is named by tracks when it leaves at most this part of the residual."""
_CLOSE = 0.02
"""Of readings that agree within this the first one counts, which is the simplest."""
_FEW_VIEWS, _FEW_POINTS = 24, 1500
_FEW_TRACKS = 6000
_SPOILT = 1.1
"""Photos name no reading under which tracks are so much worse."""
_ENOUGH = 0.3
"""Comparisons that a reading must leave, as part of those as given."""
_FINALISTS = 4
_FOCAL_FINE = tuple(1.01**step for step in range(-4, 5))
_OFF = 0.015
"""A focal length that is less off than this is not worth an alarm."""

Score = Callable[[Reading, Reconstruction], float]


@dataclass(frozen=True)
class Evidence:
    """What bears a reconstruction out: agreement of the photos, residuals of the tracks; None where there are none."""

    photos: Agreement | None
    tracks: Residuals | None


@dataclass(frozen=True)
class Verdict:
    """The evidence for the reconstruction as given, and, where another ``reading`` is named, that for it."""

    given: Evidence
    reading: Reading | None = None
    read: Evidence | None = None


def weigh(found: Reconstruction, witnesses: Witnesses | None, seen: Observations | None, shift: int = 0) -> Evidence:
    """The evidence for ``found``, with the photo of each view ``shift`` places further."""
    return Evidence(
        photos=None if witnesses is None else _agreement(witnesses, found, shift),
        tracks=None if seen is None else residuals(found, seen),
    )


def judge(
    found: Reconstruction, witnesses: Witnesses | None, advance: Callable[[float], None] = lambda _: None
) -> Verdict:
    """Try the readings of ``found``. ``advance`` is told which part is done."""
    given = weigh(found, witnesses, chosen_observations(found))
    sound = given.tracks is not None and _tracks_are_fine(given.tracks, found)
    if given.tracks is not None and not sound:
        named = _by_tracks(found, given.tracks)
        if named is not None:
            return _verdict(found, witnesses, given, named)
    advance(0.3)
    if witnesses is not None and given.photos is not None:
        readings = _left_to_photos(found, witnesses, sound=sound, doubtful=given.photos.value < _SOUND)
        named = _by_photos(found, witnesses, given.photos, readings, advance)
        if named is not None:
            return _verdict(found, witnesses, given, named)
    return Verdict(given)


def _verdict(found: Reconstruction, witnesses: Witnesses | None, given: Evidence, reading: Reading) -> Verdict:
    read = readable(reading, found)
    if read is None:
        return Verdict(given)
    return Verdict(given, reading, weigh(read, witnesses, chosen_observations(found), reading.shift))


def _tracks_are_fine(tracks: Residuals, found: Reconstruction) -> bool:
    edge = max(max(lens.width, lens.height) for lens in found.lenses)
    return tracks.most <= max(_TRACKS_FINE, _TRACKS_FINE * 1e-3 * edge)


def _by_tracks(found: Reconstruction, given: Residuals) -> Reading | None:
    """The reading with the smallest residuals, if they are much smaller than those given."""
    seen = chosen_observations(found, _FEW_TRACKS)
    if seen is None:
        return None

    def score(_: Reading, read: Reconstruction) -> float:
        return -residuals(read, seen).most

    ranked = _ranked(found, [*lens_readings(found), *pose_readings(), *frame_readings()], score)
    if not ranked:
        return None
    least = -ranked[0][0]
    best = next(reading for value, reading in ranked if -value <= 1.1 * least)
    best = _finer(found, best, score)
    read = readable(best, found)
    if read is None or -score(best, read) > _TRACKS_PART * given.most:
        return None
    return best


def _left_to_photos(found: Reconstruction, witnesses: Witnesses, *, sound: bool, doubtful: bool) -> list[Reading]:
    """The readings between which photos can decide: ``sound`` tracks leave no doubt about poses and lenses, but photos
    may be others, and a dense cloud may lie elsewhere.
    """
    if not doubtful:
        return [] if sound else [*lens_readings(found)]
    if not sound:
        return [*lens_readings(found), *pose_readings(), *frame_readings(), *photo_readings()]
    return [*(frame_readings() if witnesses.observed is None else ()), *photo_readings()]


def _by_photos(
    found: Reconstruction,
    witnesses: Witnesses,
    given: Agreement,
    readings: Sequence[Reading],
    advance: Callable[[float], None],
) -> Reading | None:
    """The reading under which photos agree best, if they do so clearly and much better than as given."""
    few = witnesses.fewer(_spread(witnesses.views, _FEW_VIEWS), _FEW_POINTS)

    least = _ENOUGH * _agreement(few, found, 0).pairs, _ENOUGH * given.pairs

    def score(reading: Reading, read: Reconstruction) -> float:
        return _worth(_agreement(few, read, reading.shift, witnesses.looks), least[0])

    ranked = _ranked(found, readings, score, lambda done: advance(0.3 + 0.6 * done))[:_FINALISTS]
    finalists = [_finer(found, reading, score) for _, reading in ranked]

    def whole(reading: Reading, read: Reconstruction) -> float:
        return _worth(_agreement(witnesses, read, reading.shift), least[1])

    final = _ranked(found, finalists, whole)
    if not final:
        return None
    order = {id(reading): place for place, reading in enumerate(readings)}
    close = [(order.get(id(reading), 0), value, reading) for value, reading in final if value > final[0][0] - _CLOSE]
    _, value, best = min(close, key=lambda entry: entry[:2])
    if not _is_clear(value, given) or _is_slight(best):
        return None
    return None if _spoils_tracks(found, best) else best


def _spoils_tracks(found: Reconstruction, reading: Reading) -> bool:
    """Whether tracks, where there are any, speak against a reading."""
    seen, read = chosen_observations(found, _FEW_TRACKS), readable(reading, found)
    if seen is None or read is None:
        return False
    return residuals(read, seen).most > _SPOILT * residuals(found, seen).most


def _worth(found: Agreement, least: float) -> float:
    """The agreement; nothing where hardly anything is compared: two photos from nearly one place agree on what is
    beside the points as well.
    """
    return found.bound if found.pairs >= least else -1.0


def _is_clear(value: float, given: Agreement) -> bool:
    if value < _CLEAR:
        return False
    if given.value < _CLEAR:
        return value > _TWICE * given.value
    return value > given.value + _FINER and value > _PART * given.value


def _is_slight(reading: Reading) -> bool:
    return reading.kind == "focal_length" and abs(reading.amount - 1) < _OFF


def _finer(found: Reconstruction, reading: Reading, score: Score) -> Reading:
    """A focal length to within a hundredth; any other reading as it is."""
    if reading.kind != "focal_length":
        return reading
    return _ranked(found, [focal_reading(reading.amount * factor) for factor in _FOCAL_FINE], score)[0][1]


def _ranked(
    found: Reconstruction, readings: Iterable[Reading], score: Score, advance: Callable[[float], None] = lambda _: None
) -> list[tuple[float, Reading]]:
    """Readings with their scores, the best first; of equal ones the first."""
    readings = list(readings)

    def scored(reading: Reading) -> float | None:
        read = readable(reading, found)
        return None if read is None else score(reading, read)

    pairs = []
    for place, (reading, value) in enumerate(zip(readings, side_by_side(scored, readings), strict=True), start=1):
        advance(place / len(readings))
        if value is not None:
            pairs.append((value, reading))
    return sorted(pairs, key=lambda pair: -pair[0])


def _spread(views: Sequence[int], count: int) -> list[int]:
    """At most ``count`` of the views, evenly spread."""
    if len(views) <= count:
        return list(views)
    return [views[int(place)] for place in torch.linspace(0, len(views) - 1, count).round().tolist()]


def _agreement(
    witnesses: Witnesses, found: Reconstruction, shift: int, looks: Mapping[int, Look] | None = None
) -> Agreement:
    """Of the witnesses' views, each with the photo ``shift`` places further, which may be one of more ``looks``."""
    views, photo_of = witnesses.views, None
    if shift:
        photo_of = {view: view + shift for view in views}
        witnesses = replace(witnesses, looks=witnesses.looks if looks is None else looks)
    return agreement(sample(witnesses, found, views, photo_of), len(found), len(witnesses.points))
