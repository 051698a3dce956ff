"""A capture of the room in a folder, as if it had been photographed and reconstructed, and the truth beside it.

FOLDER/images/room_000.jpg ...     photos with EXIF
FOLDER/sparse/0/*.txt              COLMAP model: lens, poses, some points
FOLDER/fused.ply                   the scan: points with normals and colours
FOLDER/truth.safetensors           what the photos were really made with
FOLDER/truth/room_000.safetensors  radiance, depth and normals of each view, when they are kept
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import make_lens
from unrender.cameras.sensor import Sensor
from unrender.datasets.clouds import PointCloud, write_ply
from unrender.datasets.colmap import write_colmap
from unrender.datasets.reconstruction import Reconstruction
from unrender.datasets.synthetic.light import LitRoom, bake
from unrender.datasets.synthetic.photography import RESPONSES, exif_of, expose, metered, photograph, thirds
from unrender.datasets.synthetic.raycast import geometry_of, radiance_of
from unrender.datasets.synthetic.room import build_room
from unrender.datasets.synthetic.scanner import DIAGONAL, scan
from unrender.datasets.synthetic.viewpoints import ROOM_LENSES, walk
from unrender.datasets.synthetic.workers import side_by_side
from unrender.errors import CaptureError, SettingsError
from unrender.geometry.transforms import exp_se3
from unrender.messages import Message, Note, Saved

__all__ = ["Photographed", "RoomSettings", "Truth", "load_truth", "make_room_capture"]

PREVIEW = 48
"""Width of the small picture that the camera meters [pixels]."""
QUALITY = 97


@dataclass(frozen=True)
class RoomSettings:
    """What to photograph and how well; the same settings give the same files on one machine.

    ``views`` photos of ``width`` x ``height`` pixels through ``lens``, a name of ``ROOM_LENSES``. ``ev_spread``: stops
    between the brightest and the darkest exposure, None: as the meter says; ``light_stops``: stops by which light falls
    off from the window to the wall across, besides what distance does (``LitRoom.falloff``);
    ``white_balance_spread``: stops; ``vignette``: 1 is a phone's; ``response``: a name of ``RESPONSES``. ``points`` in
    the scan and their ``noise``, a share of the room's diagonal, as are ``disturb_position`` of the cameras and
    ``disturb_points``; ``disturb_rotation`` in degrees;
    ``disturb_focal``, a share of the focal length. All are standard deviations. ``texel``: size of a cell of baked
    light [scene units]. ``keep_views``: also write radiance, depth and normals of each view.
    """

    views: int = 32
    width: int = 384
    height: int = 288
    ev_spread: float | None = 2.5
    light_stops: float = 0.0
    white_balance_spread: float = 0.08
    vignette: float = 1.0
    response: str = "filmic"
    points: int = 60_000
    noise: float = 0.0004
    disturb_position: float = 0.0
    disturb_rotation: float = 0.0
    disturb_focal: float = 0.0
    disturb_points: float = 0.0
    texel: float = 0.07
    keep_views: bool = True
    seed: int = 0
    lens: str = "phone"

    def __post_init__(self) -> None:
        least = {"views": 2, "width": 16, "height": 16, "points": 100, "texel": 0.02}
        for name, value in asdict(self).items():
            if isinstance(value, (int, float)) and not (math.isfinite(value) and value >= least.get(name, 0)):
                raise SettingsError(f"{name} of the room", expected=f"at least {least.get(name, 0)}", got=value)
        if self.response not in RESPONSES:
            raise SettingsError("response of the room", expected=" or ".join(sorted(RESPONSES)), got=self.response)
        if self.lens not in ROOM_LENSES:
            raise SettingsError("lens of the room", expected=" or ".join(sorted(ROOM_LENSES)), got=self.lens)
        if self.lens == "panorama" and self.disturb_focal > 0:
            raise SettingsError("disturb_focal of the room", expected="0: a panorama has none", got=self.disturb_focal)


@dataclass(frozen=True)
class Truth:
    """What the photos were really made with.

    ``cameras``: true poses and lens, and a sensor with the true EV, white points, vignette and response;
    ``exif_ev`` [V] float64: EV100 as written, in thirds of a stop; ``radiance_scale``: the sensor records
    ``radiance_scale`` times the room's radiance.
    """

    settings: RoomSettings
    names: tuple[str, ...]
    cameras: Cameras
    exif_ev: torch.Tensor
    radiance_scale: float


@dataclass(frozen=True)
class Photographed(Message):
    """One view was photographed: the ``done``-th of ``total``."""

    name: str
    done: int
    total: int


def make_room_capture(folder: Path | str, settings: RoomSettings | None = None) -> Iterator[Message]:
    """Writes a capture into ``folder`` while it is iterated, and says how far it is."""
    settings, folder = settings or RoomSettings(), Path(folder)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    yield Note("lighting the room")
    lit = replace(bake(build_room(settings.seed), settings.texel), falloff=settings.light_stops)
    truth = plan(lit, settings)
    for view in side_by_side(lambda view: take(lit, truth, view, folder), range(settings.views)):
        yield Photographed(truth.names[view], view + 1, settings.views)
    cloud = disturbed_cloud(
        scan(lit, settings.points, settings.noise, 2 * truth.radiance_scale, settings.seed), settings
    )
    write_ply(folder / "fused.ply", cloud)
    few = cloud.select(torch.arange(0, len(cloud), 10))
    given = Reconstruction.of(truth.names, disturbed_cameras(truth.cameras, settings), few)
    write_colmap(folder / "sparse" / "0", given)
    save_truth(folder / "truth.safetensors", truth)
    yield Saved(folder, "capture of the room")


def plan(lit: LitRoom, settings: RoomSettings) -> Truth:
    """Where to stand and how to expose."""
    cameras = walk(settings.views, settings.width, settings.height, settings.seed, settings.lens)
    scale = min(1.0, PREVIEW / settings.width)
    size = torch.tensor([max(1, round(settings.height * scale)), max(1, round(settings.width * scale))])
    preview = cameras.resize(
        torch.full((settings.views, 2), scale, dtype=torch.float64), size.expand(settings.views, 2)
    )
    sensor, radiance_scale = expose(
        list(side_by_side(lambda view: metered(radiance_of(lit, preview, view)), range(settings.views))),
        ev_spread=settings.ev_spread,
        white_balance_spread=settings.white_balance_spread,
        vignette=settings.vignette,
        response=settings.response,
        seed=settings.seed,
    )
    names = tuple(f"room_{view:03d}.jpg" for view in range(settings.views))
    return Truth(settings, names, replace(cameras, sensor=sensor), thirds(sensor.exposure.double()), radiance_scale)


def take(lit: LitRoom, truth: Truth, view: int, folder: Path) -> int:
    """Takes and writes one photo, and what is kept of its truth; hands back ``view``."""
    radiance = radiance_of(lit, truth.cameras, view) * truth.radiance_scale
    photo = Image.fromarray(photograph(truth.cameras, view, radiance).numpy())
    exif = exif_of(float(truth.exif_ev[view]))
    photo.save(folder / "images" / truth.names[view], quality=QUALITY, subsampling=0, exif=exif)
    if truth.settings.keep_views:
        geometry = geometry_of(lit, truth.cameras, view)
        tensors = {
            "radiance": radiance,
            "depth": geometry.depth,
            "distance": geometry.distance,
            "normal": geometry.normal,
        }
        (folder / "truth").mkdir(exist_ok=True)
        save_file(tensors, folder / "truth" / f"{Path(truth.names[view]).stem}.safetensors")
    return view


def disturbed_cameras(cameras: Cameras, settings: RoomSettings) -> Cameras:
    """Cameras as an imperfect reconstruction would have them."""
    chance = torch.Generator().manual_seed(settings.seed + 1)
    steps = torch.randn(len(cameras), 6, generator=chance, dtype=torch.float64)
    sizes = [settings.disturb_position * DIAGONAL] * 3 + [math.radians(settings.disturb_rotation)] * 3
    stretch = 1 + settings.disturb_focal * torch.randn(len(cameras.lenses), generator=chance, dtype=torch.float64)
    lenses = tuple(
        make_lens(lens.model, lens.width, lens.height, torch.cat([lens.params[:2] * factor, lens.params[2:]]))
        for lens, factor in zip(cameras.lenses, stretch, strict=True)
    )
    moved = exp_se3(steps * torch.tensor(sizes, dtype=torch.float64)) @ cameras.camera_from_world
    return replace(cameras, camera_from_world=moved, lenses=lenses)


def disturbed_cloud(cloud: PointCloud, settings: RoomSettings) -> PointCloud:
    """The cloud with every point moved by ``disturb_points``."""
    chance = torch.Generator().manual_seed(settings.seed + 2)
    shift = torch.randn(len(cloud), 3, generator=chance, dtype=torch.float64) * (settings.disturb_points * DIAGONAL)
    return replace(cloud, positions=cloud.positions + shift)


def save_truth(path: Path, truth: Truth) -> None:
    """Writes all numbers of a truth; the sensor's leaves as they are, so that it comes back bit for bit."""
    lens, sensor = truth.cameras.lenses[0], truth.cameras.sensor
    tensors = {
        "camera_from_world": truth.cameras.camera_from_world,
        "lens": lens.params,
        "exif_ev": truth.exif_ev,
        "exposure": sensor.exposure,
        "white_point": sensor.white_point,
        "vignette": sensor.vignette,
        "vignette_center": sensor.vignette_center,
        "response_raw": sensor.response_raw,
    }
    about = {
        "settings": asdict(truth.settings),
        "names": truth.names,
        "lens_model": lens.model,
        "exposure_mean": sensor.exposure_mean,
        "radiance_scale": truth.radiance_scale,
    }
    partial = path.with_suffix(".partial")
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        partial,
        {"truth": json.dumps(about, sort_keys=True)},
    )
    partial.replace(path)


def load_truth(folder: Path | str) -> Truth:
    """The truth of a capture that ``make_room_capture`` wrote. Raises CaptureError when there is none."""
    path = Path(folder) / "truth.safetensors"
    if not path.is_file():
        raise CaptureError("no truth", where=path, expected="a capture of the synthetic room")
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
        about = json.loads(file.metadata()["truth"])
    settings = RoomSettings(**about["settings"])
    cameras = walk(settings.views, settings.width, settings.height, settings.seed, settings.lens)
    leaves = ("exposure", "white_point", "vignette", "vignette_center", "response_raw")
    sensor = replace(
        Sensor.start(tensors["exposure"]),
        exposure_mean=about["exposure_mean"],
        **{name: tensors[name] for name in leaves},
    )
    lens = make_lens(about["lens_model"], settings.width, settings.height, tensors["lens"])
    cameras = replace(cameras, camera_from_world=tensors["camera_from_world"], lenses=(lens,), sensor=sensor)
    return Truth(settings, tuple(about["names"]), cameras, tensors["exif_ev"], about["radiance_scale"])
