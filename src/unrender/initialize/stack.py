"""A stack: photos of one view at different exposures, from a tripod. What the camera's response is, and the radiance.

Every pixel is a point that all photos show; ``debevec.py`` finds the curve under which each explains all that was
recorded of it, with the exposures free or given. Pixels are then merged: each photo says what radiance its recorded
value means, and counts by how well it can know.

Gauges: the mean EV stays that of the start. Power law: R(x^p), radiance^(1/p) and all EV differences times p record the
same; the spread of the known EVs holds p, and where none is known, that of the EVs under the response x^0.45. The
vignette multiplies all photos alike and stays in the radiance.

Letters: V photos, H W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import make_lens
from unrender.cameras.sensor import Sensor
from unrender.errors import CaptureError
from unrender.initialize.debevec import Equations, response_values, solve
from unrender.initialize.exposures import BRIGHTEST, DIMMEST, GREEN, Exposed, place_exposures

__all__ = ["BLACK", "WHITE", "Stack", "StackFit", "clipped_shares", "fit_stack", "merge", "predict", "shifts"]

# Pixels that the response is found from.
PIXELS = 2000
# Stops that photos must lie apart at least: from equal ones no response follows.
LEAST_APART = 0.1
# Recorded values beyond which a pixel counts as clipped, at either end: half a step of 8 bits and a little.
BLACK, WHITE = 2.5 / 255, 252.5 / 255
# Values from which on a pixel is as full as one can be, which tells where the sensor saturates.
FULL = 254.5 / 255
# The same for JPEG and its like, where what was clipped comes back a few levels darker: taken at its word, it says that
# all light beyond white is nearly white.
LOSSY_WHITE, LOSSY_FULL = 250 / 255, 252.5 / 255
# Rows that are merged at a time; pixels by which a shift of a photo is looked for.
ROWS, REACH = 64, 6
# A shift is believed where less than this part of what differed still does.
CLEARLY = 0.7


@dataclass(frozen=True)
class Stack:
    """``photos`` V of [H, W, 3] uint8 or uint16 as ``read_photo`` gives them; ``exif_ev`` [V] float64 in stops, NaN
    where unknown; ``linear``: whether they hold linear light; ``lossy``: whether they were stored as JPEG or the like.
    """

    photos: tuple[torch.Tensor, ...]
    exif_ev: torch.Tensor
    linear: bool = False
    lossy: bool = False

    @property
    def white(self) -> float:
        """The recorded value from which on a pixel says only that there was more light."""
        return LOSSY_WHITE if self.lossy else WHITE

    def rows(self, view: int, start: int, stop: int) -> torch.Tensor:
        """Recorded values of some rows of one photo, [3, rows, W] float32 in 0..1."""
        photo = self.photos[view]
        return photo[start:stop].permute(2, 0, 1).float() / torch.iinfo(photo.dtype).max

    def without(self, view: int) -> Stack:
        """The same less one photo."""
        rest = [other for other in range(len(self.photos)) if other != view]
        return replace(self, photos=tuple(self.photos[other] for other in rest), exif_ev=self.exif_ev[rest])


@dataclass(frozen=True)
class StackFit:
    """``cameras``: V views of one camera, whose sensor has the response and the EVs found; ``start_ev`` [V]: the EVs
    that it began with, from EXIF, or estimated where ``estimated`` [V] bool.
    """

    cameras: Cameras
    start_ev: torch.Tensor
    estimated: torch.Tensor


def fit_stack(stack: Stack, refine: bool = True, family: str = "knots") -> StackFit:
    """Find the response, and the EVs unless they are all known and ``refine`` is False.

    ``family``: of responses, a name of ``cameras/response.py``; the nearest of it to the curve found is taken. Of known
    EVs the fitted ones keep mean and spread (the power law's gauge). Raises CaptureError when all photos are equally
    exposed or no pixel is recorded between black and white in two of them.
    """
    pixels = chosen_pixels(stack)
    start_ev, estimated = _starting_ev(stack, pixels)
    cameras = _tripod(stack, start_ev)
    free = refine or bool(estimated.any())
    values = pixels.double()
    weights = trust(values, stack.white) * (values > BLACK)
    full = LOSSY_FULL if stack.lossy else FULL
    curve, ev = solve(Equations(values, weights, full, start_ev, ~estimated, free))
    sensor = (
        cameras.sensor
        if stack.linear
        else cameras.sensor.with_response(response_values(curve)).with_models(response=family)
    )
    sensor = replace(sensor, exposure=(ev if free else start_ev).float())
    return StackFit(replace(cameras, sensor=sensor), start_ev, estimated)


def chosen_pixels(stack: Stack) -> torch.Tensor:
    """What all photos recorded at pixels in even places, evenly spread over brightness: [V, M, 3] in 0..1.

    Raises CaptureError when no pixel is between black and white in two photos.
    """
    height = len(stack.photos[0])
    values = torch.stack([stack.rows(view, 0, height).flatten(1).T for view in range(len(stack.photos))])
    inside = ((values > BLACK) & (values < stack.white)).sum(dim=0).amin(dim=1)
    usable = torch.nonzero(inside >= 2)[:, 0]
    if len(usable) == 0:
        raise CaptureError("no pixel is recorded between black and white in two photos", do="give photos nearer in EV")
    rough = _roughness(stack).flatten()[usable]
    calm = usable[rough <= rough.median()]
    order = values[:, calm].mean(dim=(0, 2)).sort(stable=True)
    wanted = torch.linspace(float(order.values[0]), float(order.values[-1]), PIXELS // 2)
    by_value = torch.searchsorted(order.values, wanted).clamp(max=len(calm) - 1)
    by_rank = torch.linspace(0, len(calm) - 1, PIXELS // 2).long()
    return values[:, calm[order.indices[torch.cat([by_value, by_rank]).unique()]]]


def _roughness(stack: Stack) -> torch.Tensor:
    """How much neighbours differ [H, W], the most over photos: edges do not tell what a response is."""
    height, most = len(stack.photos[0]), None
    for view in range(len(stack.photos)):
        grey = stack.rows(view, 0, height).mean(dim=0)
        padded = torch.nn.functional.pad(grey[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
        across, down = (padded[1:-1, 2:] - padded[1:-1, :-2]).abs(), (padded[2:, 1:-1] - padded[:-2, 1:-1]).abs()
        most = across + down if most is None else torch.maximum(most, across + down)
    assert most is not None
    return most


def _starting_ev(stack: Stack, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """EV [V] float64, and which of them are estimated. Raises CaptureError when the photos are equally exposed."""
    estimated = stack.exif_ev.isnan()
    ev = stack.exif_ev.clone()
    if bool(estimated.any()):
        known = {view: float(ev[view]) for view in range(len(ev)) if not bool(estimated[view])}
        placed = place_exposures(_exposed(stack, pixels), known)
        lost = [view for view in range(len(ev)) if view not in placed]
        if lost:
            raise CaptureError(
                f"photo {lost[0] + 1} shares no well exposed pixel with the others and has no EXIF",
                do="give photos nearer in EV",
            )
        ev = torch.tensor([placed[view] for view in range(len(ev))], dtype=torch.float64)
    apart = float(ev.max() - ev.min())
    if apart < LEAST_APART:
        raise CaptureError(
            "all photos are equally exposed: no response follows from them",
            expected=f"EVs at least {LEAST_APART} stops apart",
            got=f"{apart:.2f}",
            do="give an exposure bracket",
        )
    return ev, estimated


def _exposed(stack: Stack, pixels: torch.Tensor) -> dict[int, Exposed]:
    """What each photo's green says of the chosen pixels, under the response that a fit starts from."""
    cameras = _tripod(stack, torch.zeros(len(pixels), dtype=torch.float64))
    got = cameras.radiance(pixels.permute(0, 2, 1)[:, :, None])[:, GREEN, 0]
    low = DIMMEST if not stack.linear else DIMMEST**2
    photos = {}
    for view, values in enumerate(pixels[..., GREEN]):
        usable = torch.nonzero((values > low) & (values < BRIGHTEST))[:, 0]
        photos[view] = Exposed(usable, got[view, usable].log2().double())
    return photos


def _tripod(stack: Stack, ev: torch.Tensor) -> Cameras:
    """V views of one camera that does not move; one row of pixels, as the place on the sensor does not matter."""
    views = len(ev)
    cameras = Cameras(
        camera_from_world=torch.eye(4, dtype=torch.float64).repeat(views, 1, 1),
        camera_index=torch.zeros(views, dtype=torch.int64),
        lenses=(make_lens("SIMPLE_PINHOLE", 2, 2, [1.0, 1.0, 1.0]),),
        pixel_scale=torch.ones(views, 2, dtype=torch.float64),
        pixel_offset=torch.zeros(views, 2, dtype=torch.float64),
        sizes=torch.ones(views, 2, dtype=torch.int64),
        sensor=Sensor.start(ev),
    )
    return cameras.with_linear((0,) if stack.linear else ())


def trust(values: torch.Tensor, white: float = WHITE) -> torch.Tensor:
    """How much recorded values in 0..1 can say of radiance: their relative error falls with them, until they clip at
    ``white``.
    """
    ramp = ((1 - values) / (1 - BRIGHTEST)).clamp(0, 1)
    return ramp * values.square() * (values < white)


@torch.no_grad()
def merge(stack: Stack, fit: StackFit) -> tuple[torch.Tensor, torch.Tensor]:
    """Linear radiance [H, W, 3], and where no photo can tell, [H, W] int8: 1 too bright in all, -1 too dark in all.

    1 is what is just white at the mean EV. A recorded value z counts by z^2, as its relative error falls with z, and
    by how far it is from being clipped. Where a channel is too bright in all photos it has the least radiance for which
    that is so, where too dark the radiance that the brightest photo says, or 0.
    """
    height, width = stack.photos[0].shape[:2]
    radiance, clipped = torch.empty(height, width, 3), torch.empty(height, width, dtype=torch.int8)
    for start, stop in _blocks(height):
        values = torch.stack([stack.rows(view, start, stop) for view in range(len(stack.photos))])
        found, mark = _merged(values, fit, stack.white)
        radiance[start:stop], clipped[start:stop] = found.permute(1, 2, 0), mark
    return radiance, clipped


def _blocks(height: int) -> Iterator[tuple[int, int]]:
    yield from ((start, min(start + ROWS, height)) for start in range(0, height, ROWS))


def _merged(values: torch.Tensor, fit: StackFit, white: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The same for recorded values [V, 3, H, W]: radiance [3, H, W] and marks [H, W]."""
    said = radiance_of(values, fit)
    weight = trust(values, white)
    total = weight.sum(dim=0)
    darkest, brightest = int(fit.cameras.sensor.exposure.argmax()), int(fit.cameras.sensor.exposure.argmin())
    too_dark = values[brightest] <= BLACK
    too_bright = (total == 0) & ~too_dark
    fallback = torch.where(too_bright, said[darkest], said[brightest])
    merged = torch.where(total > 0, (said * weight).sum(dim=0) / total.clamp(min=1e-12), fallback)
    return merged, too_bright.any(dim=0).to(torch.int8) - too_dark.all(dim=0).to(torch.int8)


def radiance_of(values: torch.Tensor, fit: StackFit) -> torch.Tensor:
    """The radiance [V, 3, H, W] that each photo's recorded values [V, 3, H, W] mean."""
    cameras = fit.cameras
    coordinates = torch.zeros(len(values), 2, *values.shape[2:])
    return cameras.sensor.radiance(values, coordinates, cameras.camera_index)


def clipped_shares(stack: Stack) -> list[tuple[float, float]]:
    """Of each photo, the share of pixels that are too bright in a channel, and too dark in all."""
    shares = []
    for view in range(len(stack.photos)):
        values = stack.rows(view, 0, len(stack.photos[view]))
        bright, dark = (values >= stack.white).any(dim=0), (values <= BLACK).all(dim=0)
        shares.append((float(bright.float().mean()), float(dark.float().mean())))
    return shares


@torch.no_grad()
def predict(radiance: torch.Tensor, fit: StackFit, ev: float) -> torch.Tensor:
    """What the camera of ``fit`` records of ``radiance`` [H, W, 3] at ``ev``: [H, W, 3] in 0..1."""
    one = fit.cameras.select([0])
    sensor = replace(one.sensor, exposure=torch.full((1,), ev))
    coordinates = torch.zeros(1, 2, *radiance.shape[:2])
    return sensor.record(radiance.permute(2, 0, 1)[None], coordinates, one.camera_index)[0].permute(1, 2, 0)


@torch.no_grad()
def shifts(stack: Stack, ev: torch.Tensor) -> list[tuple[int, int]]:
    """By how many pixels (right, down) each photo lies beside the next brighter one, [V] in their order; 0 for that.

    Ward 2003: where each photo is brighter than its own median hardly depends on its exposure, so two such pictures
    are laid over each other in all ways up to ``REACH`` pixels. Photos of which too little is between black and white
    count as in place.
    """
    order = ev.argsort().tolist()
    found = [(0, 0)] * len(order)
    for brighter, darker in pairwise(order):
        found[darker] = _shift(_bitmap(stack, brighter), _bitmap(stack, darker))
    return found


def _bitmap(stack: Stack, view: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Where green is above its median, and where that is clear, [H, W] bool each."""
    green = stack.rows(view, 0, len(stack.photos[view]))[GREEN]
    middle = green.median()
    return green > middle, ((green - middle).abs() > 4 / 255) & (middle > BLACK) & (middle < WHITE)


def _shift(first: tuple[torch.Tensor, torch.Tensor], second: tuple[torch.Tensor, torch.Tensor]) -> tuple[int, int]:
    def differing(right: int, down: int) -> float:
        height, width = first[0].shape
        inner = slice(REACH, height - REACH), slice(REACH, width - REACH)
        moved = (
            slice(REACH + down, height - REACH + down),
            slice(REACH + right, width - REACH + right),
        )
        clear = first[1][inner] & second[1][moved]
        return float(((first[0][inner] ^ second[0][moved]) & clear).sum()) / max(1, int(clear.sum()))

    if min(first[0].shape) <= 4 * REACH or not bool((first[1] & second[1]).any()):
        return 0, 0
    steps = range(-REACH, REACH + 1)
    places = sorted(
        ((right, down) for right in steps for down in steps), key=lambda place: place[0] ** 2 + place[1] ** 2
    )
    best = min(places, key=lambda place: differing(*place))
    return best if differing(*best) < CLEARLY * differing(0, 0) else (0, 0)
