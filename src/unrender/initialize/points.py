"""From a capture to the first point scene: everything the photos and the cloud say before any fitting.

Clean the cloud, find radii and normals, add points where they are thin, and start descriptors and environment from the
radiance that the training photos show. Held-out views are never looked at. The world keeps its frame and scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from unrender.cameras.sensor import BLACK, WHITE
from unrender.datasets.capture import Capture
from unrender.datasets.clouds import FARTHEST, PointCloud
from unrender.errors import CaptureError, SettingsError
from unrender.geometry.neighbours import morton_order
from unrender.initialize.cleaning import distinct_points, sociable_points
from unrender.initialize.colors import cloud_radiance, seen_radiance
from unrender.initialize.densify import densify, neighbourhood_radius
from unrender.initialize.environment import environment_size, seen_environment
from unrender.initialize.fusion import fuse
from unrender.initialize.normals import given_normals, oriented_normals, thin_directions
from unrender.initialize.stereo import bare_share, depth_maps
from unrender.initialize.surfels import Surfels
from unrender.scenes.points import PointScene

__all__ = ["PointSettings", "points_from_capture", "refuse_too_few"]


@dataclass(frozen=True)
class PointSettings:
    """How the first scene is made.

    ``count``: sparser clouds are densified to this many points, denser ones keep all of theirs; ``factor``: densify to
    this many times the points there are (stereo included) instead; ``channels``: D >= 3.
    ``logarithmic``: store descriptors as logarithms; None: where the radiance range exceeds 1:400, as the paper does,
    or the exposures lie more than 5 stops apart.
    ``environment_height``: half the map's width; None: about 4 pixels to the texel.
    ``stereo``: add up to ``count`` points from depth maps of the photos, see ``stereo.py``; None: where the cloud
    leaves more than ``BARE`` of what the photos show without a point.
    ``closeness``: points nearer than this part of the median spacing are one point; ``loneliness``: points whose
    neighbours are this many times farther than usual (as an angle from the nearest camera) are dropped.
    ``neighbours``, ``thickness``, ``agreement``: of normal estimation, see ``normals.py``.
    ``reach``: new points lie within this many radii of their parent.
    """

    count: int = 200_000
    factor: float | None = None
    channels: int = 4
    logarithmic: bool | None = None
    environment_height: int | None = None
    stereo: bool | None = None
    closeness: float = 0.01
    loneliness: float = 30.0
    neighbours: int = 16
    thickness: float = 0.4
    agreement: float = 0.6
    reach: float = 1.0

    def __post_init__(self) -> None:
        if self.channels < 3:
            raise SettingsError("too few descriptor channels", expected="channels >= 3", got=self.channels)
        if self.factor is not None and self.factor < 1:
            raise SettingsError("factor", expected="1 or more", got=self.factor)
        height = self.environment_height
        if height is not None and (height < 1 or height & (height - 1)):
            raise SettingsError("environment_height", expected="a power of two", got=height)
        if self.count < 1:
            raise SettingsError("no points asked for", expected="count >= 1", got=self.count)


FEWEST_POINTS = 5
MANY_POINTS = 10_000
LARGEST_LINEAR_RANGE = 400.0
LARGEST_LINEAR_SPREAD = 5.0
MOST_LOOKED_AT = 32
"""Photos, evenly spaced, in which what is clipped is counted."""
SILENT = 0.95
"""Share of a photo's values that are clipped from which on it says nothing."""
BARE = 0.2


@torch.no_grad()
def points_from_capture(
    capture: Capture, settings: PointSettings | None = None, generator: torch.Generator | None = None
) -> tuple[PointScene, tuple[str, ...]]:
    """The scene that a fit starts from, and the lines about it that a user should read.

    ``generator`` places new points and draws thresholds (seed 0 when None); the same one gives the same bits. Raises
    CaptureError when there are fewer than 5 usable points or no training view.
    """
    settings = settings or PointSettings()
    generator = generator or torch.Generator().manual_seed(0)
    views = capture.train
    if not views:
        raise CaptureError("every view is held out", where=capture.root, do="hold out fewer views")
    cloud, notes = clean_surfels(capture, settings)
    dense, stereo_note = with_stereo(cloud, capture, settings, generator)
    facing, normal_note = with_normals(dense, capture, settings)
    wanted = settings.count if settings.factor is None else round(settings.factor * len(facing))
    surfels = densify(facing, wanted, settings.reach, generator)
    surfels = surfels.select(morton_order(surfels.position))
    scene, painting_notes = painted(surfels, capture, views, settings, generator)
    return scene, (*notes, stereo_note, normal_note, f"{len(surfels)} points in all", *painting_notes)


def clean_surfels(capture: Capture, settings: PointSettings) -> tuple[Surfels, tuple[str, ...]]:
    """The trustworthy points of the capture with their radii, and what was left out."""
    cloud = capture.points.finite()
    distinct = _distinct(capture, cloud, settings)
    centers = capture.cameras.centers[list(capture.train)]
    kept = distinct[sociable_points(cloud.positions[distinct], centers, settings.loneliness)]
    notes = (
        f"{len(capture.points) - len(distinct)} duplicate and {len(distinct) - len(kept)} lonely points "
        f"of {len(capture.points)} left out",
    )
    usable = torch.nonzero((capture.points.positions.abs() <= FARTHEST).all(dim=1))[:, 0]  # those that finite() kept
    return surfels_of(cloud.select(kept), usable[kept]), notes


def refuse_too_few(capture: Capture, settings: PointSettings) -> None:
    """Raises CaptureError as ``points_from_capture`` does for too few points, at once: large clouds have enough."""
    if len(capture.points) <= MANY_POINTS:
        _distinct(capture, capture.points.finite(), settings)


def _distinct(capture: Capture, cloud: PointCloud, settings: PointSettings) -> torch.Tensor:
    """Indices of the points of which no two are one."""
    distinct = distinct_points(cloud.positions, settings.closeness)
    if len(distinct) < FEWEST_POINTS:
        raise CaptureError(
            "too few points to start from",
            where=capture.root,
            expected=f"at least {FEWEST_POINTS} distinct points",
            got=len(distinct),
            do="reconstruct again, or give a cloud with --points",
        )
    return distinct


def surfels_of(cloud: PointCloud, source: torch.Tensor) -> Surfels:
    """The points of a cloud relative to an origin in the middle of the scene; grey where the cloud has no colours.

    ``source`` [N]: which points of the capture's cloud they are.
    """
    origin = cloud.positions.median(dim=0).values
    position = cloud.positions - origin
    return Surfels(
        origin=origin,
        position=position.float(),
        normal=torch.zeros(len(cloud), 3) if cloud.normals is None else given_normals(cloud.normals),
        radius=neighbourhood_radius(position),
        color=torch.full((len(cloud), 3), 0.5) if cloud.colors is None else cloud.colors.float(),
        source=source.int(),
    )


def with_normals(surfels: Surfels, capture: Capture, settings: PointSettings) -> tuple[Surfels, str]:
    """Normals as given, and estimated and oriented where they are missing."""
    missing = (surfels.normal == 0).all(dim=1, keepdim=True)
    if not bool(missing.any()):
        return surfels, "normals taken from the cloud"
    thin = replace(surfels, normal=thin_directions(surfels.position, settings.neighbours, settings.thickness))
    estimated = oriented_normals(thin, capture.cameras, capture.train, settings.agreement)
    normal = torch.where(missing, estimated, surfels.normal)
    given, known = 1 - float(missing.float().mean()), float((normal != 0).any(dim=1).float().mean())
    note = f"normals: {given:.0%} given, {known - given:.0%} estimated, the rest unknown and never culled"
    return replace(surfels, normal=normal), note


def with_stereo(
    surfels: Surfels, capture: Capture, settings: PointSettings, generator: torch.Generator
) -> tuple[Surfels, str]:
    """``surfels`` and, where wanted, those that depth maps of the training photos add; and what was done, in words."""
    bare = bare_share(surfels, capture, capture.train)
    wanted = bare > BARE if settings.stereo is None else settings.stereo
    said = f"the {len(surfels)} points leave {bare:.0%} of the photos bare"
    if not wanted:
        return surfels, f"{said}, no stereo"
    found = fuse(depth_maps(surfels, capture, capture.train), capture.cameras, surfels.origin)
    if len(found) > settings.count:
        found = found.select(torch.randperm(len(found), generator=generator)[: settings.count].sort().values)
    both = surfels.joined(found)
    return replace(both, radius=neighbourhood_radius(both.position)), f"{said}, stereo adds {len(found)}"


def painted(
    surfels: Surfels, capture: Capture, views: Sequence[int], settings: PointSettings, generator: torch.Generator
) -> tuple[PointScene, tuple[str, ...]]:
    """The scene of ``surfels`` with the radiance of the photos on it and around it."""
    radiance, weight = seen_radiance(surfels, capture, views)
    unseen = weight == 0
    radiance[unseen] = cloud_radiance(surfels.color[unseen], capture.cameras.sensor)
    height = settings.environment_height
    size = environment_size(capture.cameras, views) if height is None else (height, 2 * height)
    around, _ = seen_environment(surfels, capture, views, size)
    dimmest, brightest = radiance_range(radiance)
    looked_at = views[:: -(-len(views) // MOST_LOOKED_AT)]
    clipped = clipped_shares(capture, looked_at)
    logarithmic, note = kept_as_logarithms(capture, views, brightest / dimmest, clipped, settings.logarithmic)
    scene = PointScene(
        origin=surfels.origin,
        position=surfels.position.contiguous(),
        normal=surfels.normal.contiguous(),
        radius=surfels.radius,
        threshold=torch.rand(len(surfels), generator=generator),
        descriptors=stored(widened(radiance, settings.channels), dimmest, logarithmic),
        environment=stored(widened(around.permute(1, 2, 0), settings.channels), dimmest, logarithmic)
        .permute(2, 0, 1)
        .contiguous(),
        logarithmic=logarithmic,
        source=surfels.source,
    )
    return scene, (
        f"{float((~unseen).float().mean()):.0%} of the points start from the training photos, the rest from the cloud",
        note,
        *silent_photos([capture.names[view] for view in looked_at], clipped),
    )


def kept_as_logarithms(
    capture: Capture, views: Sequence[int], ratio: float, clipped: torch.Tensor, wanted: bool | None
) -> tuple[bool, str]:
    """Whether descriptors are stored as logarithms, and why: ``ratio`` of the brightest to the dimmest radiance, stops
    between the darkest and the brightest exposure. What is ``clipped`` in the photos, see ``clipped_shares``, makes the
    ratio a lower bound: said.
    """
    exposure = capture.cameras.sensor.exposure[list(views)]
    spread = float(exposure.max() - exposure.min())
    wide = ratio > LARGEST_LINEAR_RANGE or spread > LARGEST_LINEAR_SPREAD
    logarithmic = wide if wanted is None else wanted
    dark, bright = clipped.mean(dim=0).tolist()
    kind, why = "logarithms" if logarithmic else "linear", "" if wanted is None else " as asked"
    return logarithmic, (
        f"radiance range 1:{ratio:.0f}, exposures {spread:.1f} stops apart, {bright:.1%} of the photos white and "
        f"{dark:.1%} black by clipping: descriptors stored as {kind}{why}"
    )


def clipped_shares(capture: Capture, views: Sequence[int]) -> torch.Tensor:
    """Shares of recorded values that are black and that are white in each of ``views``, [V, 2]."""
    shares = []
    for view in views:
        image, mask = capture.image(view), capture.mask(view)
        used = torch.ones_like(image, dtype=torch.bool) if mask is None else (mask > 0).expand_as(image)
        count = used.sum().clamp(min=1)
        shares.append(torch.stack([((image <= BLACK) & used).sum() / count, ((image >= WHITE) & used).sum() / count]))
    return torch.stack(shares)


def silent_photos(names: Sequence[str], clipped: torch.Tensor) -> tuple[str, ...]:
    """A line about the photos that are ``clipped`` [V, 2] so far that they tell no light apart, if there are any."""
    silent = [name for name, share in zip(names, clipped.sum(dim=1).tolist(), strict=True) if share > SILENT]
    if not silent:
        return ()
    named = ", ".join(silent[:3]) + (", ..." if len(silent) > 3 else "")
    return (
        f"{len(silent)} of {len(names)} photos looked at ({named}) are black or white almost everywhere and say next "
        "to nothing of the light: leave them out, or expose them again",
    )


def radiance_range(radiance: torch.Tensor) -> tuple[float, float]:
    """Dimmest and brightest luminance of radiances [N, 3] without 0.5 % at either end, at most 1e6 apart."""
    ordered = radiance.mean(dim=1).sort().values
    low, high = (float(ordered[round(quantile * (len(ordered) - 1))]) for quantile in (0.005, 0.995))
    high = max(high, torch.finfo(torch.float32).tiny * 1e6)
    return max(low, high * 1e-6), high


def widened(radiance: torch.Tensor, channels: int) -> torch.Tensor:
    """Radiance [..., 3] with its luminance in the further channels, [..., D].

    Grey of the right brightness is neutral in the sense that no channel is zero, on another scale than the rest, or
    noise.
    """
    grey = radiance.mean(dim=-1, keepdim=True).expand(*radiance.shape[:-1], channels - 3)
    return torch.cat([radiance, grey], dim=-1)


def stored(radiance: torch.Tensor, dimmest: float, logarithmic: bool) -> torch.Tensor:
    """Radiance as the scene keeps it; logarithms end at a quarter of the ``dimmest``: fitting can still lift them."""
    return radiance.clamp(min=dimmest / 4).log() if logarithmic else radiance
