"""What an inspection finds: nothing on a sound capture, and the mistake, by its name, on a broken one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageFilter

from unrender.cameras.lens import Lens, make_lens
from unrender.datasets.clouds import read_cloud
from unrender.datasets.diagnosis import inspect_capture
from unrender.datasets.evidence.agreement import Witnesses, places_in
from unrender.datasets.findings import KINDS, Diagnosis, Inspected
from unrender.datasets.formats import read_reconstruction
from unrender.datasets.reconstruction import Observations, Reconstruction
from unrender.datasets.synthetic import RoomSettings, make_room_capture
from unrender.datasets.write_capture import Placing, write_capture
from unrender.errors import CaptureError, SettingsError
from unrender.geometry.rotations import exp_so3, quat_wxyz_from_rotation, rotation_from_quat_wxyz
from unrender.geometry.transforms import inverse, rigid

GL = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
TURN = torch.tensor([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.float64)
Break = Callable[[Reconstruction], Reconstruction]


def inspected(folder: Path, **how) -> Diagnosis:
    """What is found, and that the way there is told from 0 to 1."""
    told: list[float] = []

    def telling():
        diagnosis = yield from inspect_capture(folder, **how)
        found.append(diagnosis)

    found: list[Diagnosis] = []
    told.extend(message.fraction for message in telling() if isinstance(message, Inspected))
    assert told == sorted(told)
    assert all(finding.kind in KINDS for finding in found[0].findings)
    return found[0]


def kinds(diagnosis: Diagnosis, level: str = "alarm") -> list[str]:
    return [finding.kind for finding in diagnosis.findings if finding.level == level]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve photos of the synthetic room. Not to be written to."""
    folder = tmp_path_factory.mktemp("room")
    settings = RoomSettings(views=12, width=192, height=144, points=20_000, texel=0.4, keep_views=False, seed=3)
    list(make_room_capture(folder, settings))
    return folder


@pytest.fixture(scope="module")
def sound(room: Path) -> Reconstruction:
    """Its reconstruction with 6,000 of the scanned points."""
    cloud = replace(read_cloud(room / "fused.ply").select(torch.arange(6000)), normals=None)
    return replace(read_reconstruction(room), points=cloud, ids=None, point_errors=None, dense=None)


def tracked(found: Reconstruction) -> Reconstruction:
    """With an observation of each point in every photo that shows it, half a pixel off."""
    chance, rows = torch.Generator().manual_seed(0), []
    witnesses = Witnesses({}, torch.ones(len(found), 2, dtype=torch.float64), found.points.positions)
    for view in range(len(found)):
        seen = places_in(witnesses, found, view)
        noise = 0.4 * torch.randn(len(seen.point), 2, generator=chance, dtype=torch.float64)
        rows.append((torch.full_like(seen.point, view), seen.pixel + noise, seen.point))
    return replace(found, observations=Observations(*map(torch.cat, zip(*rows, strict=True))))


def written(found: Reconstruction, folder: Path, photos: Placing = "link") -> Path:
    write_capture(folder, found, "colmap", photos=photos)
    return folder


def posed(change: Callable[[torch.Tensor], torch.Tensor]) -> Break:
    return lambda found: replace(found, camera_from_world=change(found.camera_from_world))


def numbered(change: Callable[[Lens, str, float], float]) -> Break:
    def lens(of: Lens) -> Lens:
        pairs = zip(of.parameter_names, of.params.tolist(), strict=True)
        return make_lens(of.model, of.width, of.height, [change(of, name, value) for name, value in pairs])

    return lambda found: replace(found, lenses=tuple(map(lens, found.lenses)))


def with_names(change: Callable[[list[str]], list[str]]) -> Break:
    return lambda found: replace(found, names=tuple(change(list(found.names))))


def reordered(poses: torch.Tensor) -> torch.Tensor:
    quaternion = quat_wxyz_from_rotation(poses[:, :3, :3]).roll(-1, dims=1)
    return rigid(rotation_from_quat_wxyz(quaternion), poses[:, :3, 3])


def exchanged(names: list[str]) -> list[str]:
    return [names[0], names[4], *names[2:4], names[1], *names[5:]]


FAULTS: dict[str, tuple[str, Break]] = {
    "OpenGL axes": ("opengl_axes", posed(lambda poses: GL @ poses)),
    "photos on their side": ("camera_axes", posed(lambda poses: TURN @ poses)),
    "inverse": ("inverse_poses", posed(inverse)),
    "inverse in OpenGL": ("inverse_poses", posed(lambda poses: inverse(GL @ poses))),
    "quaternion order": ("quaternion_order", posed(reordered)),
    "transposed": ("rotation_transposed", posed(lambda p: rigid(p[:, :3, :3].transpose(1, 2), p[:, :3, 3]))),
    "centres": ("translation_is_centre", posed(lambda p: rigid(p[:, :3, :3], inverse(p)[:, :3, 3]))),
    "world axes": ("world_axes", posed(lambda poses: poses @ GL)),
    "half the size": ("intrinsics_scale", numbered(lambda _, n, v: v / 2 if n[0] in "fc" else v)),
    "focal too long": ("focal_length", numbered(lambda _, n, v: v * 1.2 if n[0] == "f" else v)),
    "focal too short": ("focal_length", numbered(lambda _, n, v: v * 0.8 if n[0] == "f" else v)),
    "distortion sign": ("distortion_sign", numbered(lambda _, n, v: -v if n[0] in "kp" else v)),
    "exchanged": ("photos_exchanged", with_names(exchanged)),
}


def test_a_sound_room_raises_no_alarm(room):
    diagnosis = inspected(room)
    assert diagnosis.findings == ()
    assert diagnosis.facts is not None
    assert diagnosis.facts.agreement > 0.4
    assert diagnosis.facts.photos == diagnosis.facts.looked_at == len(diagnosis.photos) == 12
    assert all(photo.agreement > 0.2 and photo.points > 100 for photo in diagnosis.photos)


@pytest.mark.parametrize("tracks", [False, True], ids=["photos alone", "tracks"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_mistake_is_named(sound, tmp_path, fault, tracks):
    kind, apply = FAULTS[fault]
    found = apply(tracked(sound) if tracks else sound)
    diagnosis = inspected(written(found, tmp_path / "broken"))
    assert kinds(diagnosis) == [kind]
    assert diagnosis.alarms[0].do
    assert "that way" in " ".join(diagnosis.alarms[0].evidence) or kind == "photos_exchanged"


def test_three_photos_in_a_ring_are_each_told_where_they_belong(sound, tmp_path):
    names = list(sound.names)
    names[0], names[1], names[4] = names[1], names[4], names[0]
    diagnosis = inspected(written(replace(sound, names=tuple(names)), tmp_path / "broken"))
    assert kinds(diagnosis) == ["photo_misplaced"] * 3
    titles = {finding.title for finding in diagnosis.alarms}
    ring = [sound.names[view] for view in (0, 1, 4)]
    # View 0 stands under the second name, so that the pose now called so belongs to the photo of the first.
    assert titles == {f"the pose of {ring[(k + 1) % 3]} belongs to {ring[k]}" for k in range(3)}


def test_the_focal_length_is_said(sound, tmp_path):
    _, apply = FAULTS["focal too long"]
    diagnosis = inspected(written(apply(tracked(sound)), tmp_path / "broken"))
    assert "about 20 % too long" in diagnosis.alarms[0].title


def test_sound_tracks_raise_no_alarm(sound, tmp_path):
    diagnosis = inspected(written(tracked(sound), tmp_path / "sound"))
    assert diagnosis.findings == ()
    assert diagnosis.facts is not None
    assert 0.3 < diagnosis.facts.residual < 0.7
    assert all(photo.residual < 1 for photo in diagnosis.photos)


@pytest.mark.parametrize("tracks", [False, True], ids=["photos alone", "tracks"])
def test_a_mistake_that_nobody_knows_is_unknown_and_shown(sound, tmp_path, tracks):
    turns = exp_so3(0.15 * torch.randn(12, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    found = tracked(sound) if tracks else sound
    found = replace(
        found, camera_from_world=rigid(turns @ found.camera_from_world[:, :3, :3], found.camera_from_world[:, :3, 3])
    )
    diagnosis = inspected(written(found, tmp_path / "broken"))
    assert kinds(diagnosis) == ["unknown"]
    assert diagnosis.alarms[0].evidence


def test_a_mirrored_principal_point_is_named(sound, tmp_path):
    """The photos are cut, so that the principal point is not in the middle."""
    folder = written(sound, tmp_path / "cut", photos="copy")
    for path in (folder / "images").iterdir():
        photo = Image.open(path)
        photo.crop((24, 0, 192, 144)).save(path, quality=97)
    cut = replace(sound, lenses=tuple(narrower(lens, mirror=False) for lens in sound.lenses))
    mirrored = replace(sound, lenses=tuple(narrower(lens, mirror=True) for lens in sound.lenses))
    for found, expected in ((cut, []), (mirrored, ["principal_point_mirrored"])):
        shutil.rmtree(folder / "sparse")
        write_capture(tmp_path / f"model{len(expected)}", found, "colmap", photos="none")
        shutil.copytree(tmp_path / f"model{len(expected)}" / "sparse", folder / "sparse")
        assert kinds(inspected(folder)) == expected


def narrower(lens: Lens, *, mirror: bool) -> Lens:
    named = dict(zip(lens.parameter_names, lens.params.tolist(), strict=True))
    named["cx"] = 168 - (named["cx"] - 24) if mirror else named["cx"] - 24
    return make_lens(lens.model, 168, lens.height, list(named.values()))


def test_photos_that_are_missing_or_of_another_size_are_left_out_and_said(sound, tmp_path):
    folder = written(sound, tmp_path / "broken", photos="copy")
    (folder / "images" / sound.names[2]).unlink()
    Image.new("RGB", (96, 72)).save(folder / "images" / sound.names[5])
    diagnosis = inspected(folder)
    assert kinds(diagnosis) == ["photos_missing"]
    assert diagnosis.alarms[0].photos == (sound.names[2], sound.names[5])
    assert len(diagnosis.photos) == 10


def test_a_photo_that_cannot_be_decoded_is_an_alarm(sound, tmp_path):
    folder = written(sound, tmp_path / "broken", photos="copy")
    path = folder / "images" / sound.names[3]
    data = bytearray(path.read_bytes())
    data[700:-2] = bytes(len(data) - 702)
    path.write_bytes(data)
    diagnosis = inspected(folder)
    assert kinds(diagnosis) == ["photos_missing"]
    assert diagnosis.alarms[0].photos == (sound.names[3],)


def test_what_a_fit_refuses_is_a_finding_in_its_words(sound, tmp_path):
    folder = written(sound, tmp_path / "broken")
    model = folder / "sparse" / "0" / "images.bin"
    model.write_bytes(model.read_bytes()[:-30])
    diagnosis = inspected(folder)
    assert kinds(diagnosis) == ["refused"]
    assert "does not end where its counts say" in diagnosis.alarms[0].evidence[0]
    assert diagnosis.facts is None


def test_all_photos_absent(sound, tmp_path):
    folder = written(sound, tmp_path / "broken", photos="none")
    diagnosis = inspected(folder)
    assert kinds(diagnosis) == ["refused"]
    assert "no folder of photos" in diagnosis.alarms[0].evidence[0]
    assert diagnosis.facts is not None
    assert diagnosis.facts.photos == 12


def test_blurred_badly_exposed_and_unused_photos_and_missing_exif_are_hints(sound, tmp_path):
    folder = written(sound, tmp_path / "capture", photos="copy")
    blurred, white = (folder / "images" / sound.names[view] for view in (1, 6))
    photo = Image.open(blurred)
    photo.filter(ImageFilter.GaussianBlur(2.5)).save(blurred, quality=97, exif=photo.getexif())
    Image.blend(Image.open(white), Image.new("RGB", (192, 144), (255, 255, 255)), 0.99).save(white, quality=97)
    shutil.copy(white, folder / "images" / "other.jpg")
    diagnosis = inspected(folder)
    hints = {finding.kind: finding for finding in diagnosis.hints}
    assert kinds(diagnosis) == []
    assert set(hints) == {"blurred", "badly_exposed", "exif_missing", "photos_unused"}
    assert hints["blurred"].photos == (blurred.name,)
    assert hints["badly_exposed"].photos == hints["exif_missing"].photos == (white.name,)
    assert "other.jpg" in hints["photos_unused"].evidence[0]


def test_photos_that_show_nothing_cannot_tell(sound, tmp_path):
    folder = written(sound, tmp_path / "flat", photos="copy")
    for path in (folder / "images").iterdir():
        Image.new("RGB", (192, 144), (90, 100, 110)).save(path)
    assert kinds(inspected(folder)) == []
    assert "cannot_tell" in kinds(inspected(folder), "hint")


def test_of_many_photos_some_are_opened(room):
    diagnosis = inspected(room, most_photos=7)
    assert diagnosis.alarms == ()
    assert diagnosis.facts is not None
    assert diagnosis.facts.looked_at == len(diagnosis.thumbnails) == 7
    assert sum(photo.brightness == photo.brightness for photo in diagnosis.photos) == 7


def test_the_same_mistake_in_another_format(sound, tmp_path):
    """transforms.json has no tracks: the photos alone tell."""
    found = replace(sound, camera_from_world=GL @ sound.camera_from_world)
    write_capture(tmp_path / "json", found, "transforms")
    assert kinds(inspected(tmp_path / "json")) == ["opengl_axes"]


def test_nothing_at_all_and_no_format_are_refused(tmp_path):
    with pytest.raises(CaptureError, match="no such file or folder"):
        inspected(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="unknown format 'trout'"):
        inspected(tmp_path, format="trout")


def test_a_tiny_capture_raises_no_alarm(tiny_capture):
    assert inspected(tiny_capture).alarms == ()


def test_the_real_capture_raises_no_alarm(plush):
    diagnosis = inspected(plush, most_photos=24)
    assert diagnosis.findings == ()
    assert diagnosis.facts is not None
    assert diagnosis.facts.agreement > 0.4
