"""What long work says while it runs: typed messages that the command line, logs and viewer consume.

The engine yields these and never prints, plots or serves.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "CameraMove",
    "Evaluated",
    "Finished",
    "LensMove",
    "Message",
    "Metered",
    "Note",
    "Refined",
    "Reported",
    "Saved",
    "Scores",
    "Skipped",
    "Started",
    "Stepped",
]


@dataclass(frozen=True)
class Message:
    """Base of everything that is said."""


@dataclass(frozen=True)
class Note(Message):
    """One line that a user should read (a choice that was made, a thing that was left out)."""

    text: str


@dataclass(frozen=True)
class Started(Message):
    """A fit begins: what will be fitted to what."""

    train_views: int
    test_views: int
    points: int
    parameters: int
    width: int
    height: int
    step: int
    steps: int | None
    seconds: float | None


@dataclass(frozen=True)
class Stepped(Message):
    """One optimiser step was made.

    ``psnr`` is of the training crop [dB]; ``fraction`` of the whole fit is done; ``remaining`` seconds are left
    by the present pace.
    """

    step: int
    loss: float
    psnr: float
    fraction: float
    elapsed: float
    remaining: float


@dataclass(frozen=True)
class Skipped(Message):
    """A step was left out because ``what`` (the loss, or a parameter's gradient) was not finite.

    ``views``: names of the photos it looked at; ``count`` steps of this fit were left out so far, over all sittings.
    """

    step: int
    what: str
    views: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class CameraMove:
    """How far refinement moved one view from where the input had it.

    ``moved``: its centre [scene units]; ``degrees``: its axes; ``pixels``: what it sees, root mean square, NaN where
    that is nothing; ``before``, ``after``: PSNR of its kept-back pixels with the input's pose and with the refined
    one, None where not judged; ``fate``: "refined", "taken back", "sees too few points", "points leave it open", "held
    out" or "fixed".
    """

    name: str
    moved: float
    degrees: float
    pixels: float
    before: float | None
    after: float | None
    fate: str


@dataclass(frozen=True)
class LensMove:
    """The parameters of one camera's lens as the input has them and as they were refined."""

    model: str
    names: tuple[str, ...]
    given: tuple[float, ...]
    refined: tuple[float, ...]


@dataclass(frozen=True)
class Refined(Message):
    """What refinement of structure came to: its ``families``, those that were ``dropped`` again, and how far cameras
    and (where refined) lenses moved.
    """

    families: tuple[str, ...]
    dropped: tuple[str, ...]
    cameras: tuple[CameraMove, ...]
    lenses: tuple[LensMove, ...]


@dataclass(frozen=True)
class Saved(Message):
    """A file that the user may want was written."""

    path: Path
    what: str


@dataclass(frozen=True)
class Scores:
    """Quality of one image or the mean of several: PSNR [dB], SSIM [1], FLIP [1, 0 is equal]."""

    psnr: float
    ssim: float
    flip: float


@dataclass(frozen=True)
class Evaluated(Message):
    """One held-out view was scored under a named exposure policy (``exif`` or ``fitted``)."""

    name: str
    policy: str
    scores: Scores
    done: int
    total: int


@dataclass(frozen=True)
class Metered(Message):
    """The light of one view was metered, to choose an exposure by."""

    done: int
    total: int


@dataclass(frozen=True)
class Reported(Message):
    """One view was rendered and measured for a report."""

    name: str
    done: int
    total: int


@dataclass(frozen=True)
class Finished(Message):
    """The work ended; ``interrupted`` when the user stopped it."""

    step: int
    elapsed: float
    interrupted: bool
