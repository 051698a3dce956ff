"""From what was measured to findings: when it is an alarm, in which words, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from unrender.datasets.evidence.coverage import Coverage
from unrender.datasets.evidence.exchanged import Misplaced
from unrender.datasets.evidence.naming import Verdict
from unrender.datasets.evidence.quality import Quality
from unrender.datasets.findings import Finding
from unrender.datasets.names import some_of
from unrender.errors import CaptureError

__all__ = [
    "bad_photos",
    "exposures_missing",
    "misplaced",
    "missing_photos",
    "outside",
    "refused",
    "unused_photos",
    "what_is_wrong",
]

_CHANCE = 0.12
"""Agreement below which photos have nothing to do with each other: of chance it is 0, of sound captures 0.4 to 0.7."""
_PAIRS, _TEXTURE = 300, 0.12
"""What must be compared before a lack of agreement says anything."""
_LARGE = 5e-3
"""Residual, as part of the photo's longer edge, that no reconstruction leaves in its tracks."""
_BEHIND, _OUTSIDE, _NEARLY_ALL = 0.9, 0.5, 0.95
_CHECK = (
    "look at one photo and its pose: does its camera stand and look where it was taken? If the poses come from another"
    " program, convert them with `unrender convert` from that program's own files"
)


def refused(error: CaptureError) -> Finding:
    """A capture that a fit would refuse."""
    return Finding("refused", "alarm", "a fit would refuse this capture", (str(error),), "mend what the line says")


def missing_photos(names: Sequence[str], error: CaptureError) -> Finding:
    """Photos that could not be used, while others could."""
    evidence = (str(error), f"the other photos were looked at without {some_of(list(names))}")
    do = "put them back in the size that their camera has, or take them out of the reconstruction"
    title = f"{len(names)} {'photo is' if len(names) == 1 else 'photos are'} missing, damaged or of another size"
    return Finding("photos_missing", "alarm", title, evidence, do, tuple(names))


def what_is_wrong(verdict: Verdict, coverage: Coverage, edge: int) -> Iterator[Finding]:
    """What reprojection says of poses, lenses and points: a named mistake, an unknown one, nothing, or no answer.

    ``edge``: the longer edge of the largest photo [pixels].
    """
    reading, photos, tracks = verdict.reading, verdict.given.photos, verdict.given.tracks
    evidence = tuple(_measured(verdict, coverage))
    if reading is not None:
        yield Finding(reading.kind, "alarm", reading.title, evidence, reading.do)
        return
    compared = photos is not None and photos.pairs >= _PAIRS and photos.texture >= _TEXTURE
    apart = compared and photos is not None and photos.value < _CHANCE
    if apart or (tracks is not None and tracks.median > _LARGE * edge) or coverage.outside > _NEARLY_ALL:
        title = "photos, poses and points do not fit together, and no mistake that is known explains it"
        yield Finding("unknown", "alarm", title, evidence, _CHECK)
    elif not compared and tracks is None:
        why = (
            "the photos are too smooth"
            if photos is not None and photos.pairs >= _PAIRS
            else "too few points are shared"
        )
        do = "nothing needs to be wrong; more points (--points FILE) would let it be checked"
        yield Finding(
            "cannot_tell", "hint", f"whether photos and poses fit together cannot be told: {why}", evidence, do
        )


def _measured(verdict: Verdict, coverage: Coverage) -> Iterator[str]:
    given, read = verdict.given, verdict.read
    if given.tracks is not None:
        after = "" if read is None or read.tracks is None else f", {read.tracks.median:.1f} read that way"
        yield (
            f"{given.tracks.count} observed points land {given.tracks.median:.1f} pixels (median) from where they were"
            f" observed{after}"
        )
    if given.photos is not None:
        after = "" if read is None or read.photos is None else f", to {read.photos.value:.2f} read that way"
        yield (
            f"photos agree to {given.photos.value:.2f} on what is at the points{after} (0: chance, sound captures: 0.4"
            f" to 0.7; {given.photos.pairs} comparisons)"
        )
    behind = float(coverage.behind.nanmean())
    if behind > _OUTSIDE:
        yield f"{100 * behind:.0f} % of the points lie behind the average camera"
    if coverage.outside > _OUTSIDE / 2:
        yield f"{100 * coverage.outside:.0f} % of the points are in no photo"


def misplaced(found: Misplaced, names: Sequence[str], agreements: torch.Tensor) -> Iterator[Finding]:
    """Photos that have another's pose; ``agreements`` [V] of each with its own."""
    usual = float(agreements.nanmedian())
    for first, second in found.pairs:
        yield Finding(
            "photos_exchanged",
            "alarm",
            f"{names[first]} and {names[second]} are exchanged",
            (
                f"with their own pose they agree with the other photos to {_value(agreements, first)} and"
                f" {_value(agreements, second)} (usual here: {usual:.2f}), each fits the pose of the other",
            ),
            "exchange the two files, or their names in the reconstruction",
            (names[first], names[second]),
        )
    for view, photo in found.belongs:
        title = f"the pose of {names[view]} belongs to {names[photo]}"
        evidence = (
            f"{names[view]} agrees with the other photos to {_value(agreements, view)} (usual here: {usual:.2f})",
        )
        yield Finding("photo_misplaced", "alarm", title, evidence, "give each photo its own pose", (names[view],))
    if found.strange:
        strange = [names[view] for view in found.strange]
        values = ", ".join(_value(agreements, view) for view in found.strange[:3])
        what = f"{strange[0]} does not show" if len(strange) == 1 else f"{len(strange)} photos do not show"
        yield Finding(
            "photo_misplaced",
            "alarm",
            f"{what} what {'its pose sees' if len(strange) == 1 else 'their poses see'}",
            (f"{some_of(strange)}: agreement {values} with the other photos (usual here: {usual:.2f})",),
            "look whether these are the right files; else register them again, or take them out of the reconstruction",
            tuple(strange),
        )


def outside(coverage: Coverage, names: tuple[str, ...], *, named: bool) -> Iterator[Finding]:
    """Points and photos that have nothing to do with each other; ``named``: something that explains it was found."""
    if named:
        return
    if _OUTSIDE < coverage.outside <= _NEARLY_ALL:
        title = f"{100 * coverage.outside:.0f} % of the points are in no photo"
        do = "crop the cloud to what the photos show: the others cost memory and time"
        yield Finding("points_outside", "hint", title, (), do)
    empty = (coverage.inside == 0).tolist()
    blind = [name for name, flag in zip(names, empty, strict=True) if flag]
    if blind and len(blind) < int(coverage.inside.isfinite().sum()):
        title = f"{len(blind)} {'photo sees' if len(blind) == 1 else 'photos see'} none of the points: {some_of(blind)}"
        do = "register them again, take them out of the reconstruction, or give points where they look"
        yield Finding("photo_without_points", "alarm", title, (), do, tuple(blind))


def bad_photos(quality: Quality, names: Sequence[str]) -> Iterator[Finding]:
    """Blurred and badly exposed ones."""
    do = "take them out if the others show the same: a fit tries to explain them, too"
    if quality.blurred:
        blurred = [names[view] for view in quality.blurred]
        worst = min(quality.sharpness[view] for view in quality.blurred)
        evidence = (f"{some_of(blurred)}: up to {-worst:.1f} stops less sharp than is usual here",)
        yield Finding("blurred", "hint", f"{_photos(blurred)} blurred", evidence, do, tuple(blurred))
    if quality.badly_exposed:
        clipped = [names[view] for view in quality.badly_exposed]
        evidence = (f"{some_of(clipped)}: more than a quarter white, or most of it black",)
        yield Finding("badly_exposed", "hint", f"{_photos(clipped)} badly exposed", evidence, do, tuple(clipped))


def exposures_missing(names: list[str], total: int) -> Iterator[Finding]:
    """Photos without EXIF."""
    if names:
        how_many = "no photo says" if len(names) == total else f"{len(names)} of {total} photos do not say"
        evidence = () if len(names) == total else (some_of(names),)
        do = "a fit finds exposures by itself; originals with EXIF give it a better start"
        missing = () if len(names) == total else tuple(names)
        yield Finding("exif_missing", "hint", f"{how_many} how it was exposed (EXIF)", evidence, do, missing)


def unused_photos(unused: Sequence[Path], used: int) -> Iterator[Finding]:
    """Pictures beside those of the reconstruction."""
    if unused:
        title = f"{len(unused)} of {used + len(unused)} pictures in the folder have no pose"
        do = "they are not used; register them if they show what the others do not"
        yield Finding("photos_unused", "hint", title, (some_of([path.name for path in unused]),), do)


def _value(agreements: torch.Tensor, view: int) -> str:
    return f"{round(float(agreements[view]), 2) + 0.0:.2f}"  # no minus before a zero


def _photos(names: Sequence[str]) -> str:
    return f"{names[0]} is" if len(names) == 1 else f"{len(names)} photos are"


def spacing_of(coverage: Coverage) -> float:
    """Between points in a typical photo [pixels], NaN where none has any."""
    return float(coverage.spacing.nanmedian()) if bool(coverage.spacing.isfinite().any()) else math.nan
