"""A fit that refines structure: what moves, what stays, what is taken back, and that it can be resumed."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from unrender.datasets.capture import Capture
from unrender.datasets.read_capture import read_capture
from unrender.fit.checkpoint import points_of
from unrender.fit.crops import Window
from unrender.fit.fit import Fit, start_model
from unrender.fit.refine.guard import Judgement, kept_back
from unrender.fit.refine.settings import RefineSettings
from unrender.fit.settings import CropSettings, FitSettings
from unrender.messages import Note, Refined

ALL = RefineSettings(
    what=("poses", "lens", "points"), poses=0.0, lens=0.0, points=0.0, judged=0.5, settled=1.0, least_gain=0.0
)


@pytest.fixture(scope="module")
def capture(tiny_capture: Path) -> Capture:
    return read_capture(tiny_capture)


def begin(capture: Capture, settings: FitSettings) -> Fit:
    return Fit(start_model(capture, settings)[0], capture, settings)


WHOLE = Window(0, 0, 48, 64, (48, 64))


def run(fit: Fit, steps: int | None = None) -> list:
    return list(fit.run(None if steps is None else lambda: fit.step >= steps))


def structure_of(fit: Fit) -> tuple[torch.Tensor, ...]:
    cameras, scene = fit.model.cameras, points_of(fit.model)
    return cameras.camera_from_world.clone(), cameras.lenses[0].params.clone(), scene.position.clone()


@pytest.mark.parametrize("what", [(), ("poses",), ("lens",), ("points",), ("poses", "lens", "points")])
def test_just_what_is_named_moves_and_the_capture_stays(
    capture: Capture, small: FitSettings, what: tuple[str, ...]
) -> None:
    given = capture.cameras.camera_from_world.clone()
    fit = begin(capture, replace(small, refine=replace(ALL, what=what, judged=1.0)))
    before = structure_of(fit)
    run(fit, steps=4)
    moved = [not torch.equal(a, b) for a, b in zip(before, structure_of(fit), strict=True)]
    assert moved == [name in what for name in ("poses", "lens", "points")]
    assert torch.equal(capture.cameras.camera_from_world, given)
    if "poses" in what:
        held_out = list(capture.test)
        still = list(before[0][held_out]), list(fit.model.cameras.camera_from_world[held_out])
        assert all(torch.equal(a, b) for a, b in zip(*still, strict=True))
        rotation = fit.model.cameras.camera_from_world[:, :3, :3]
        torch.testing.assert_close(
            rotation @ rotation.mT, torch.eye(3).double().expand_as(rotation), atol=1e-12, rtol=0
        )


def test_steps_are_in_pixels(capture: Capture, small: FitSettings) -> None:
    """The first step of Adam is its rate, so that no view's image moves by more than that times its six numbers."""
    rates = {**small.rates, "cameras.poses": 0.5}
    fit = begin(capture, replace(small, rates=rates, refine=replace(ALL, what=("poses",), judged=1.0)))
    assert fit.refinement is not None
    run(fit, steps=len(capture.train))
    outcome = fit.refinement.outcome(fit.model)
    moves = [camera.pixels for camera in outcome.cameras if camera.fate == "refined"]
    assert 0 < max(moves) < 0.5 * math.sqrt(6) * 1.5
    assert all(camera.pixels == 0 for camera in outcome.cameras if camera.fate == "held out")


def test_points_move_along_their_normals(capture: Capture, small: FitSettings) -> None:
    fit = begin(capture, replace(small, refine=replace(ALL, what=("points",), judged=1.0)))
    before, normal = points_of(fit.model).position.clone(), points_of(fit.model).normal.clone()
    run(fit, steps=5)
    moved = points_of(fit.model).position - before
    assert float(moved.abs().max()) > 0
    across = moved - (moved * normal).sum(dim=1, keepdim=True) * normal
    assert float(across.abs().max()) < 1e-5 * float(before.abs().max())


def test_resumed_it_ends_with_the_same_bits(capture: Capture, small: FitSettings) -> None:
    settings = replace(small, steps=8, refine=ALL)
    whole = begin(capture, settings)
    run(whole)
    for stop in (2, 4, 5):  # before, at and after the judgement
        first = begin(capture, settings)
        run(first, steps=stop)
        state = {name: tensor.clone() for name, tensor in first.state().items()}
        second = Fit(first.model, capture, settings)
        second.restore(state, first.step, first.elapsed, first.skipped)
        run(second)
        for ours, theirs in zip(structure_of(second), structure_of(whole), strict=True):
            assert torch.equal(ours, theirs)
        for name, tensor in whole.state().items():
            assert torch.equal(second.state()[name], tensor), name
            assert bool(tensor.isfinite().all()), name


def test_settled_it_stays_and_all_pixels_are_looked_at(capture: Capture, small: FitSettings) -> None:
    """A fit that was stopped and resumed after that still tells how it was judged."""
    settings = replace(small, steps=10, refine=replace(ALL, settled=0.6, kept_back=0.3))
    fit = begin(capture, settings)
    assert fit.refinement is not None
    run(fit, steps=5)
    weight = fit.targets([capture.train[0]], [WHOLE])[1]
    assert weight is not None
    assert float(weight.min()) == 0
    run(fit, steps=7)
    settled = structure_of(fit)
    assert fit.targets([capture.train[0]], [WHOLE])[1] is None
    resumed = Fit(fit.model, capture, settings)
    resumed.restore({name: tensor.clone() for name, tensor in fit.state().items()}, fit.step, fit.elapsed)
    said = run(resumed)
    for ours, theirs in zip(structure_of(resumed), settled, strict=True):
        assert torch.equal(ours, theirs)
    (outcome,) = (message for message in said if isinstance(message, Refined))
    assert all(outcome.cameras[view].before is not None for view in capture.train)


def test_no_step_looks_at_what_is_kept_back(capture: Capture, small: FitSettings) -> None:
    hidden = kept_back(3, (48, 64), 0.3, 0)
    assert hidden.shape == (1, 48, 64)
    assert torch.equal(hidden, kept_back(3, (48, 64), 0.3, 0))
    assert not torch.equal(hidden, kept_back(4, (48, 64), 0.3, 0))
    assert 0.25 < float(kept_back(0, (800, 800), 0.3, 1).float().mean()) < 0.35
    spoilt = replace(capture)
    fit, other = (begin(each, replace(small, refine=replace(ALL, kept_back=0.3))) for each in (capture, spoilt))

    def image(view: int) -> torch.Tensor:
        return torch.where(kept_back(view, capture.cameras.size_of(view), 0.3, 0), 0.5, capture.image(view))

    object.__setattr__(spoilt, "image", image)
    run(fit, steps=2)
    run(other, steps=2)
    for ours, theirs in zip(structure_of(fit), structure_of(other), strict=True):
        assert torch.equal(ours, theirs)


def test_what_makes_unseen_pixels_worse_is_taken_back(
    capture: Capture, small: FitSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = begin(capture, replace(small, refine=ALL))
    refinement = fit.refinement
    assert refinement is not None
    bad = capture.train[1]

    def verdict(_: object) -> Judgement:
        tiles = 0.01 + 0.001 * torch.arange(12, dtype=torch.float64)

        def times(factor: float, other: float | None = None) -> dict[int, torch.Tensor]:
            return {view: tiles * (other or factor) if view == bad else tiles * factor for view in capture.train}

        return Judgement(times(1), {"poses": times(1.2, 0.8), "lens": times(0.9), "points": times(1.1)})

    monkeypatch.setattr(refinement, "judgement", verdict)
    given_points = points_of(fit.model).position.clone()
    said = run(fit)
    cameras = fit.model.cameras
    assert torch.equal(cameras.lenses[0].params, capture.cameras.lenses[0].params)
    assert torch.equal(cameras.camera_from_world[bad], capture.cameras.camera_from_world[bad])
    assert not torch.equal(points_of(fit.model).position, given_points)
    texts = [message.text for message in said if isinstance(message, Note)]
    assert any("refined lens made kept-back pixels worse: taken back" in text for text in texts)
    assert any(
        f"1 refined poses made kept-back pixels worse: taken back and fixed: {capture.names[bad]}" in text
        for text in texts
    )
    (outcome,) = (message for message in said if isinstance(message, Refined))
    assert outcome.dropped == ("lens",)
    assert outcome.cameras[bad].fate == "taken back"
    assert outcome.cameras[bad].pixels == 0
    assert {camera.fate for camera in outcome.cameras} == {"refined", "taken back", "held out"}


@pytest.mark.parametrize(("decibels", "kept"), [(0.2, False), (0.5, True)])
def test_poses_that_gain_no_more_than_right_ones_would_are_taken_back(
    capture: Capture, small: FitSettings, monkeypatch: pytest.MonkeyPatch, decibels: float, kept: bool
) -> None:
    fit = begin(capture, replace(small, refine=replace(ALL, what=("poses",), least_gain=0.3)))
    assert fit.refinement is not None

    def verdict(_: object) -> Judgement:
        tiles = 0.01 + 0.001 * torch.arange(12, dtype=torch.float64)
        given = dict.fromkeys(capture.train, tiles * 10 ** (decibels / 10))
        return Judgement(dict.fromkeys(capture.train, tiles), {"poses": given})

    monkeypatch.setattr(fit.refinement, "judgement", verdict)
    said = run(fit)
    (outcome,) = (message for message in said if isinstance(message, Refined))
    assert torch.equal(fit.model.cameras.camera_from_world, capture.cameras.camera_from_world) is not kept
    assert outcome.dropped == (() if kept else ("poses",))
    assert {camera.fate for camera in outcome.cameras} == {"refined" if kept else "taken back", "held out"}
    texts = [message.text for message in said if isinstance(message, Note)]
    assert any("bring +0.20 dB to kept-back pixels, as right ones would: taken back" in text for text in texts) != kept


def test_a_wrong_pose_is_seen_by_the_judge(capture: Capture, small: FitSettings) -> None:
    """After a fit with true poses, a pose that is then spoilt by hand is taken back, and no other."""
    refine = replace(ALL, what=("poses",), poses=1.0, judged=1.0, kept_back=0.4)
    settings = replace(small, steps=60, crop=CropSettings(size=64), refine=refine)
    fit = begin(capture, settings)
    run(fit, steps=59)
    assert fit.refinement is not None
    bad = capture.train[0]
    step = torch.zeros(len(capture), 6, dtype=torch.float64)
    step[bad, 3:] = 0.15
    fit.model.cameras.camera_from_world.copy_(fit.model.cameras.moved(step).camera_from_world)
    fit.refinement.judge(fit.model)
    assert fit.refinement.structure.frozen.nonzero()[:, 0].tolist() == sorted([bad, *capture.test])
    assert torch.equal(fit.model.cameras.camera_from_world, capture.cameras.camera_from_world)


def test_a_lens_that_would_fold_over_keeps_its_place(capture: Capture, small: FitSettings) -> None:
    fit = begin(capture, replace(small, refine=replace(ALL, what=("lens",))))
    assert fit.refinement is not None
    structure, lens = fit.refinement.structure, fit.model.cameras.lenses[0]
    (step,) = (parameter.raw for parameter in structure.parameters())
    for wrong in (-1e4, math.nan):
        with torch.no_grad():
            step.fill_(wrong)
        assert structure.take(fit.model).cameras.lenses[0] is lens
        assert not bool(step.any())


def test_the_world_is_put_back(capture: Capture, small: FitSettings) -> None:
    """A similarity of cameras and points together, which no photo can tell, is undone."""
    fit = begin(capture, replace(small, refine=replace(ALL, what=("poses", "points"))))
    assert fit.refinement is not None
    scene, cameras = points_of(fit.model), fit.model.cameras
    before = cameras.camera_from_world.clone(), scene.position.clone()
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    world = scene.position.double() + scene.origin
    scene.position.copy_((world @ turn.T - scene.origin).float())
    train, held_out = list(capture.train), list(capture.test)
    cameras.camera_from_world[train, :3, :3] = cameras.camera_from_world[train, :3, :3] @ turn.T
    fit.refinement.structure.hold(fit.model)
    torch.testing.assert_close(cameras.camera_from_world, before[0], rtol=0, atol=1e-9)
    assert torch.equal(cameras.camera_from_world[held_out], before[0][held_out])
    torch.testing.assert_close(scene.position, before[1], rtol=0, atol=1e-5)
