"""Capture: what was measured. Photos, cameras, points, exposure and masks; immutable.

Photos stay in their files. The first time a view is asked for, its photo is decoded, averaged down to the working
size and kept with the bits it has, 8 or 16; when the budget is full, what was not used for longest makes room.
"""

from __future__ import annotations

import difflib
import mmap
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from unrender.cameras.camera import Cameras
from unrender.datasets.clouds import PointCloud
from unrender.datasets.pictures import Alpha, read_picture, shrunk
from unrender.errors import CaptureError, SettingsError
from unrender.images.orientation import STORED

__all__ = ["Capture", "PictureStore", "hold_out"]


class PictureStore:
    """Pictures (uint8, uint16) by key, as many as fit into ``budget`` bytes; the least recently used make room.

    Safe to share between threads: two that miss the same key at once both load it, and one result is kept.

    What is resident stays what is kept: each picture has pages of its own, and nothing that lasts is put on the heap,
    where it would lie in the room that decoding one photo frees and the next would find too small by that much.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.used = 0
        self._pages: OrderedDict[tuple[str, int], tuple[mmap.mmap, torch.dtype, tuple[int, ...]]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, int], load: Callable[[], torch.Tensor]) -> torch.Tensor:
        """The picture under ``key``, loaded by ``load`` when it is not there (any more). Not to be written to."""
        with self._lock:
            if key in self._pages:
                self._pages.move_to_end(key)
                pages, dtype, shape = self._pages[key]
                return torch.frombuffer(pages, dtype=dtype).view(shape)
        picture = load()
        with self._lock:
            self._keep(key, picture)
        return picture

    def _keep(self, key: tuple[str, int], picture: torch.Tensor) -> None:
        if key in self._pages or picture.nbytes > self.budget:
            return
        while self.used + picture.nbytes > self.budget:
            self.used -= len(self._pages.popitem(last=False)[1][0])
        pages = mmap.mmap(-1, picture.nbytes, access=mmap.ACCESS_COPY)
        torch.frombuffer(pages, dtype=picture.dtype).view(picture.shape).copy_(picture)
        self._pages[key] = pages, picture.dtype, tuple(picture.shape)
        self.used += len(pages)


@dataclass(frozen=True)
class Capture:
    """V photos in the order of their sorted names.

    ``names`` [V] as the reconstruction writes them; ``image_paths`` [V]; ``mask_paths`` [V], None where there is none
    (white = use); ``cameras``: poses, lenses and working size (``at_width``), sensor started from EXIF;
    ``points``: the cloud in the input's frame; ``exif_ev`` [V] float64, EV100 in stops, NaN where EXIF is missing;
    ``test``: indices of the held-out views, never trained on and never used to start anything;
    ``notes``: lines a user should read (what was chosen, what is missing); ``budget``: bytes of decoded pictures
    that are kept; ``turned`` [V]: the EXIF orientation in which each photo is read, 1 = as stored, and ``alpha`` [V]:
    what its transparency means, "ignore" where it has none; empty where that is so for all; ``deep``: indices of the
    views whose photos have more than 8 bits a channel.
    """

    root: Path
    names: tuple[str, ...]
    image_paths: tuple[Path, ...]
    mask_paths: tuple[Path | None, ...]
    cameras: Cameras
    points: PointCloud
    exif_ev: torch.Tensor
    test: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    budget: int = 2**30
    turned: tuple[int, ...] = ()
    alpha: tuple[Alpha, ...] = ()
    deep: tuple[int, ...] = ()
    store: PictureStore = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "store", PictureStore(self.budget))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def test_names(self) -> tuple[str, ...]:
        """Names of the held-out views."""
        return tuple(self.names[view] for view in self.test)

    @property
    def train(self) -> tuple[int, ...]:
        """Indices of the views that may be fitted to."""
        held_out = set(self.test)
        return tuple(view for view in range(len(self)) if view not in held_out)

    @property
    def masked(self) -> tuple[bool, ...]:
        """Whether something says which pixels of a view may be used, [V]: a mask, or the transparency of its photo."""
        see_through = self.alpha or ("ignore",) * len(self)
        pairs = zip(self.mask_paths, see_through, strict=True)
        return tuple(path is not None or alpha == "mask" for path, alpha in pairs)

    def image(self, view: int) -> torch.Tensor:
        """The photo of one view at working size, [3, H, W] float32 in 0..1 as recorded; a new tensor every time.

        Each pixel is the mean of those photo pixels that may be used, black where there is none, in steps of 1/255, or
        of 1/65535 where the file has more than 8 bits. Linear photos (EXR, RAW) stay linear, clipped
        at 1. Raises CaptureError when the file cannot be read or is not of the size that its camera has.
        """
        picture = self._picture(view)
        return picture[..., :3].permute(2, 0, 1).float() / torch.iinfo(picture.dtype).max

    def mask(self, view: int) -> torch.Tensor | None:
        """How much of each pixel may be used, [1, H, W] float32 in 0..1, or None where the view has no mask.

        Raises CaptureError as ``image``.
        """
        if not self.masked[view]:
            return None
        picture = self._picture(view)
        return picture[..., 3][None].float() / torch.iinfo(picture.dtype).max

    def at_width(self, width: int) -> Capture:
        """The same capture with pictures ``width`` pixels wide, heights rounded; lenses stay those of the photos.

        The scale is exact per axis: a height of 100.4 pixels that becomes 100 is a slightly different scale, not
        a crop. Raises SettingsError when that would enlarge a photo: nothing is invented.
        """
        photos = self._photo_sizes()
        narrowest = int(photos[:, 1].min())
        if not 1 <= width <= narrowest:
            raise SettingsError("width", expected=f"1 to {narrowest} pixels (the narrowest photo)", got=width)
        heights = (photos[:, 0].double() * width / photos[:, 1]).round().long().clamp(min=1)
        sizes = torch.stack([heights, torch.full_like(heights, width)], dim=1)
        scale = (sizes.double() / self.cameras.sizes.double()).flip(1)
        return replace(self, cameras=self.cameras.resize(scale, sizes))

    def _photo_sizes(self) -> torch.Tensor:
        """(height, width) of every photo, [V, 2] int64."""
        sizes = torch.tensor([[lens.height, lens.width] for lens in self.cameras.lenses], dtype=torch.int64)
        return sizes[self.cameras.camera_index]

    def _picture(self, view: int) -> torch.Tensor:
        """The photo at working size as ``read_picture`` gives it."""
        return self.store.get(("picture", view), lambda: self._load(view))

    def _load(self, view: int) -> torch.Tensor:
        lens, turn = self.cameras.lens(view), self.turned[view] if self.turned else STORED
        alpha = self.alpha[view] if self.alpha else "ignore"
        size = (lens.height, lens.width)
        picture = read_picture(self.image_paths[view], self.mask_paths[view], turn, alpha, size)
        return shrunk(picture, *self.cameras.sizes[view].tolist())


def hold_out(names: Sequence[str], every: int = 8, listed: Sequence[str] | Path | None = None) -> tuple[int, ...]:
    """Indices of the views to hold out for testing, ascending.

    Of ``names`` in sorted order every ``every``-th, starting with the first (0: none); or the ``listed`` names, which
    a file may hold, one a line. Raises CaptureError for a name that is not there, SettingsError when nothing would
    be left to fit to.
    """
    if listed is not None:
        test = tuple(sorted({_index(names, name) for name in _listed_names(listed)}))
    elif every < 0:
        raise SettingsError("held-out views", expected="every k-th with k >= 2, or 0 for none", got=every)
    else:
        ranked = sorted(range(len(names)), key=lambda view: names[view])
        test = tuple(sorted(ranked[::every])) if every else ()
    if len(test) == len(names):
        raise SettingsError("every view is held out", got=f"{len(test)} of {len(names)}", do="hold out fewer")
    return test


def _listed_names(listed: Sequence[str] | Path) -> Sequence[str]:
    if not isinstance(listed, Path):
        return listed
    try:
        lines = listed.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CaptureError(f"the list of held-out views cannot be read ({error})", where=listed) from None
    return [line.strip() for line in lines if line.strip()]


def _index(names: Sequence[str], name: str) -> int:
    if name in names:
        return names.index(name)
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0)
    raise CaptureError(f"no view named {name!r} to hold out", do=f"did you mean {nearest[0]!r}?" if nearest else None)
