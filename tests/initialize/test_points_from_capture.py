"""The first scene as a whole: laws that hold from cloud and photos to points, descriptors and environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from unrender.datasets.capture import Capture
from unrender.datasets.read_capture import read_capture
from unrender.errors import CaptureError, SettingsError
from unrender.initialize.points import PointSettings, points_from_capture
from unrender.scenes.points import PointScene

Make = Callable[..., Capture]
SMALL = PointSettings(count=3000, stereo=False)


def start(capture: Capture, settings: PointSettings = SMALL, seed: int = 0) -> PointScene:
    return points_from_capture(capture, settings, torch.Generator().manual_seed(seed))[0]


def tensors(scene: PointScene) -> dict[str, torch.Tensor]:
    values = {field.name: getattr(scene, field.name) for field in fields(scene)}
    return {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}


def test_shapes_types_and_ranges(capture_of: Make, plane: torch.Tensor, ring: list[list[float]]) -> None:
    scene, notes = points_from_capture(capture_of(plane, ring), replace(SMALL, channels=6))
    assert len(scene) == 3000
    assert scene.descriptors.shape == (3000, 6)
    assert scene.environment.shape == (6, 64, 128)
    kinds = {name: value.dtype for name, value in tensors(scene).items()}
    assert kinds.pop("source") == torch.int32
    assert kinds.pop("origin") == torch.float64
    assert set(kinds.values()) == {torch.float32}
    assert all(value.isfinite().all() for value in tensors(scene).values())
    assert 0 <= float(scene.threshold.min()) < 0.01
    assert 0.99 < float(scene.threshold.max()) < 1
    assert any("3000 points in all" in note for note in notes)


def test_points_know_which_of_the_capture_they_are(
    capture_of: Make, plane: torch.Tensor, ring: list[list[float]]
) -> None:
    spoilt = torch.cat([torch.full((3, 3), torch.nan, dtype=plane.dtype), plane])
    scene = start(capture_of(spoilt, ring))
    assert scene.source is not None
    kept = scene.source >= 0
    assert int(scene.source[kept].min()) >= 3
    assert len(scene.source[kept].unique()) == int(kept.sum()) > 0.9 * len(plane)
    position = scene.origin + scene.position[kept]
    torch.testing.assert_close(position, spoilt[scene.source[kept].long()].double(), rtol=0, atol=1e-6)


def test_a_factor_densifies_by_a_factor(capture_of: Make, plane: torch.Tensor, ring: list[list[float]]) -> None:
    assert len(start(capture_of(plane, ring), replace(SMALL, factor=1.5))) == 2250
    with pytest.raises(SettingsError, match="factor"):
        PointSettings(factor=0.5)
    with pytest.raises(SettingsError, match="power of two"):
        PointSettings(environment_height=300)


def test_a_grey_room_starts_grey(capture_of: Make, plane: torch.Tensor, ring: list[list[float]]) -> None:
    scene = start(capture_of(plane, ring))
    torch.testing.assert_close(scene.descriptors, torch.full((3000, 4), 0.3), atol=0.01, rtol=0)
    torch.testing.assert_close(scene.environment, torch.full((4, 64, 128), 0.3), atol=0.01, rtol=0)


def test_same_seed_same_bits(capture_of: Make, plane: torch.Tensor, ring: list[list[float]]) -> None:
    capture = capture_of(plane, ring)
    first, again, other = tensors(start(capture)), tensors(start(capture)), tensors(start(capture, seed=1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["threshold"], other["threshold"])


def test_the_unit_of_the_world_changes_nothing_but_lengths(
    capture_of: Make, plane: torch.Tensor, ring: list[list[float]]
) -> None:
    points = plane + torch.tensor([0.1, 0.2, 0.0])
    points[:, 2] += 0.3 * points[:, 0] ** 2
    metres, kilo = start(capture_of(points, ring)), start(capture_of(points, ring, scale=1000.0))
    torch.testing.assert_close(kilo.origin, metres.origin * 1000)
    torch.testing.assert_close(kilo.position, metres.position * 1000, atol=0.5, rtol=1e-4)
    torch.testing.assert_close(kilo.radius, metres.radius * 1000, rtol=1e-2, atol=0.1)
    torch.testing.assert_close(kilo.normal, metres.normal, atol=1e-3, rtol=0)
    torch.testing.assert_close(kilo.descriptors, metres.descriptors, atol=1e-3, rtol=0)


def test_held_out_photos_are_never_read(capture_of: Make, plane: torch.Tensor, ring: list[list[float]]) -> None:
    capture = capture_of(plane, ring, test=(0, 4))
    with pytest.raises(AssertionError, match="held-out"):
        capture.image(4)
    assert len(start(capture)) == 3000


def test_normals_face_the_cameras(capture_of: Make, plane: torch.Tensor, ring: list[list[float]]) -> None:
    assert bool((start(capture_of(plane, ring)).normal[:, 2] < -0.99).all())


def test_given_normals_are_kept(capture_of: Make, plane: torch.Tensor, ring: list[list[float]]) -> None:
    tilted = torch.tensor([0.6, 0.0, -0.8]).expand(len(plane), 3)
    scene = start(capture_of(plane, ring, normals=tilted))
    torch.testing.assert_close(scene.normal, tilted[:1].expand(3000, 3))


def test_bright_scenes_are_stored_as_logarithms(capture_of: Make, plane: torch.Tensor, ring: list[list[float]]) -> None:
    def contrast(origins: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        place = origins - directions * (origins[:, 2:] / directions[:, 2:])
        return torch.where(place[:, :1] < 0, 0.001, 0.8).expand(-1, 3)

    scene = start(capture_of(plane, ring, contrast))
    assert scene.logarithmic
    assert float(scene.descriptors.max()) == pytest.approx(torch.tensor(0.8).log().item(), abs=0.05)
    assert float(scene.descriptors.min()) < torch.tensor(0.004).log().item()
    linear = start(capture_of(plane, ring, contrast), replace(SMALL, logarithmic=False))
    assert not linear.logarithmic
    torch.testing.assert_close(linear.descriptors, scene.descriptors.exp(), atol=1e-3, rtol=0)


def test_unseen_points_keep_the_color_of_the_cloud(
    capture_of: Make, plane: torch.Tensor, ring: list[list[float]]
) -> None:
    behind = torch.cat([plane, plane * 0.2 + torch.tensor([0.0, 0.0, -9.0])])
    scene = start(capture_of(behind, ring, colors=torch.full((len(behind), 3), 0.8)))
    hidden = scene.position[:, 2] + scene.origin[2] < -8
    assert int(hidden.sum()) > 100
    torch.testing.assert_close(
        scene.descriptors[hidden], torch.full((int(hidden.sum()), 4), 0.8 ** (1 / 0.45)), atol=0.01, rtol=0
    )


def test_memory_follows_space(capture_of: Make, plane: torch.Tensor, ring: list[list[float]]) -> None:
    position = start(capture_of(plane, ring)).position
    shuffled = position[torch.randperm(len(position), generator=torch.Generator().manual_seed(5))]
    assert float(position.diff(dim=0).norm(dim=1).mean()) < 0.1 * float(shuffled.diff(dim=0).norm(dim=1).mean())


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_few_points_is_one_clear_line(capture_of: Make, ring: list[list[float]], count: int) -> None:
    with pytest.raises(CaptureError, match=f"at least 5 distinct points, got {count}"):
        points_from_capture(
            capture_of(
                torch.eye(3, dtype=torch.float64).repeat(2, 1)[:count] * torch.arange(1, count + 1)[:, None], ring
            )
        )


def test_points_that_are_not_finite_are_left_out(
    capture_of: Make, plane: torch.Tensor, ring: list[list[float]]
) -> None:
    plane[3] = float("nan")
    assert bool(start(capture_of(plane, ring)).position.isfinite().all())


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(SettingsError, match="channels >= 3"):
        PointSettings(channels=2)
    with pytest.raises(SettingsError, match="count >= 1"):
        PointSettings(count=0)


def test_real_photos(plush: Path) -> None:
    capture = read_capture(plush).at_width(112)
    few = replace(capture, test=tuple(view for view in range(len(capture)) if view % 12))
    scene, notes = points_from_capture(few, PointSettings(count=30_000))
    assert 30_000 < len(scene) <= 60_000  # the cloud's own, and up to as many again from stereo
    assert not scene.logarithmic
    assert 0.05 < float(scene.descriptors.median()) < 0.8
    assert len(notes) >= 4
