"""Poses, lenses and points on their way: the steps that an optimiser makes, and how a model takes them.

A step is held in pixels (``sensitivity.py``) in the tangent space of where the model is: it is made from zero, taken
over by the model and set back to zero (Eq. 13), so that an optimiser's moments live where the next step is made. Poses
step by exp(xi) on the left; points along all axes or along their normal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch

from unrender.cameras.camera import Cameras
from unrender.cameras.lens import Lens, make_lens
from unrender.datasets.capture import Capture
from unrender.errors import CaptureError
from unrender.fit.refine.gauge import nearest_similarity
from unrender.fit.refine.sensitivity import measure_units, point_units
from unrender.fit.refine.settings import RefineSettings
from unrender.geometry.transforms import exp_se3
from unrender.parameters import Parameter
from unrender.render.model import Model
from unrender.scenes.points import PointScene

__all__ = ["STRUCTURAL", "Structure"]

STRUCTURAL = ("cameras.poses", "cameras.lens", "scene.points.position")
"""Names (or what names begin with) of the steps."""

_MARGIN = 0.01
"""Share of the frame at its edge that is not asked about: there what is valid turns on rounding."""
_FRAME = 9
"""Points along an edge of the frame that a lens must go on seeing."""


class Structure:
    """What is refined of a model's structure, between two steps.

    ``given``: the cameras of the input; ``frozen`` [V] bool: views whose pose does not move (any more); ``unseen``,
    ``loose``: those whose points do not say where they are, ``focal_alone``: what tells focal length from distance (see
    ``Units``); ``dropped``: families that were taken back.
    """

    def __init__(self, model: Model, capture: Capture, settings: RefineSettings) -> None:
        self.settings, self.given = settings, capture.cameras
        given, cloud = capture.cameras, capture.points.positions
        scene, device = _points(model), model.cameras.sizes.device
        units = measure_units(given, cloud)
        self.unseen, self.loose, self.focal_alone = units.unseen, units.loose, units.focal_alone
        self._pose_unit = units.poses.to(device)
        self._lens_units = tuple(unit.to(device) for unit in units.lenses)
        views = tuple(range(len(given)))
        self._point_unit = point_units(given, views, scene.position.cpu() + scene.origin.cpu()).float().to(device)
        self.began = scene.position.detach().clone()
        self.frozen = torch.zeros(len(given), dtype=torch.bool, device=device)
        self.frozen[[*units.unseen, *units.loose, *capture.test]] = True
        self.dropped: set[str] = set()
        along = 1 if settings.along == "normal" else 3
        self._poses = torch.zeros(len(given), 6, dtype=torch.float64, device=device)
        self._points = torch.zeros(len(scene), along, device=device)
        self._lenses = tuple(torch.zeros_like(unit) for unit in self._lens_units)

    def parameters(self) -> tuple[Parameter, ...]:
        """The steps, in pixels, under the names of what they move."""
        steps = []
        if "poses" in self.settings.what:
            steps.append(Parameter("cameras.poses", self._poses, "px", seldom=True))
        if "lens" in self.settings.what:
            steps += [Parameter(f"cameras.lens.{c}", step, "px") for c, step in enumerate(self._lenses)]
        if "points" in self.settings.what:
            steps.append(Parameter("scene.points.position", self._points, "px", seldom=True))
        return tuple(steps)

    def camera_steps(self, cameras: Cameras, views: Sequence[int], families: Collection[str]) -> Cameras:
        """``cameras``, which are those of ``views``, a step on, differentiable in it."""
        if "poses" in families:
            index = torch.as_tensor(views, device=self._poses.device)
            free = (~self.frozen[index]).to(self._pose_unit)[:, None]
            cameras = cameras.moved(self._poses[index] * self._pose_unit[index] * free)
        if "lens" in families:
            used = set(cameras.camera_index.tolist())
            lenses = [self._stepped(lens, c) if c in used else lens for c, lens in enumerate(cameras.lenses)]
            cameras = replace(cameras, lenses=tuple(lenses))
        return cameras

    def scene_step(self, model: Model, families: Collection[str]) -> Model:
        """The model with its points a step on, differentiable in it."""
        if "points" not in families:
            return model
        scene = _points(model)
        return replace(model, scene=replace(scene, position=scene.position + self._offsets(scene)))

    @torch.no_grad()
    def take(self, model: Model) -> Model:
        """The model after the steps, which are zero then; poses and points are changed in place."""
        cameras, scene = model.cameras, _points(model)
        moved = torch.nonzero((self._poses != 0).any(dim=1) & ~self.frozen)[:, 0]
        if len(moved):
            increments = self._poses[moved] * self._pose_unit[moved]
            cameras.camera_from_world[moved] = exp_se3(increments) @ cameras.camera_from_world[moved]
        self._poses.zero_()
        if "points" in self.settings.what and bool((self._points != 0).any()):
            scene.position.add_(self._offsets(scene))
        self._points.zero_()
        lenses = tuple(self._taken(lens, camera) for camera, lens in enumerate(cameras.lenses))
        for step in self._lenses:
            step.zero_()
        changed = any(a is not b for a, b in zip(lenses, cameras.lenses, strict=True))
        return replace(model, cameras=replace(cameras, lenses=lenses)) if changed else model

    @torch.no_grad()
    def hold(self, model: Model) -> None:
        """Put the world back where the input's cameras were, as far as the photos leave that open; in place.

        Nothing is open while the points stay, as with a scan. Frozen views, held-out ones among them, stay where they
        are.
        """
        if not {"poses", "points"} <= set(self.settings.what) - self.dropped:
            return
        free = torch.nonzero(~self.frozen)[:, 0]
        if not len(free):
            return
        scene, poses = _points(model), model.cameras.camera_from_world
        depth = self._pose_unit[free, 0] / self._pose_unit[free, 4].clamp(min=1e-12)  # d u / d t_x against d u / d w_y
        back = nearest_similarity(poses[free].cpu(), self.given.camera_from_world[free.cpu()], depth.cpu())
        poses[free] = back.of_poses(poses[free].cpu()).to(poses)
        origin = scene.origin.cpu()
        world = back.of_points(scene.position.cpu().double() + origin)
        scene.position.copy_((world - origin).float())
        scene.normal.copy_(scene.normal @ back.rotation.T.to(scene.normal))
        scene.radius.mul_(back.scale)

    @torch.no_grad()
    def send_back(self, model: Model, views: Sequence[int]) -> None:
        """The poses of ``views`` are the input's again, in place, and stay so."""
        given = self.given.camera_from_world[list(views)]
        model.cameras.camera_from_world[list(views)] = given.to(model.cameras.camera_from_world)
        self.frozen[list(views)] = True

    def state(self) -> dict[str, torch.Tensor]:
        """What is not the model's: where points began, units, what is frozen."""
        dropped = torch.tensor([name in self.dropped for name in self.settings.structure], dtype=torch.bool)
        state = {"refine.frozen": self.frozen, "refine.dropped": dropped}
        if "points" in self.settings.what:
            state |= {"refine.began": self.began, "refine.unit.points": self._point_unit}
        return state

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put back what ``state`` gave."""
        self.frozen = tensors["refine.frozen"].to(self.frozen, copy=True)
        pairs = zip(self.settings.structure, tensors["refine.dropped"].tolist(), strict=True)
        self.dropped = {name for name, dropped in pairs if dropped}
        if "points" in self.settings.what:
            self.began = tensors["refine.began"].to(self.began, copy=True)
            self._point_unit = tensors["refine.unit.points"].to(self._point_unit, copy=True)

    def without(self, model: Model, families: Collection[str]) -> Model:
        """The model with ``families`` of structure as the input has them."""
        cameras, scene = model.cameras, _points(model)
        if "poses" in families:
            cameras = replace(cameras, camera_from_world=self.given.camera_from_world.to(cameras.camera_from_world))
        if "lens" in families:
            cameras = replace(cameras, lenses=tuple(lens.to(cameras.sizes.device) for lens in self.given.lenses))
        if "points" in families:
            scene = replace(scene, position=self.began)
        return replace(model, cameras=cameras, scene=scene)

    def _offsets(self, scene: PointScene) -> torch.Tensor:
        """Of all points [N, 3], scene units; points without a normal do not move along it."""
        step = self._points * self._point_unit[:, None]
        return step * scene.normal if self.settings.along == "normal" else step

    def _stepped(self, lens: Lens, camera: int) -> Lens:
        params = lens.params + self._lenses[camera] * self._lens_units[camera]
        return make_lens(lens.model, lens.width, lens.height, params)

    def _taken(self, lens: Lens, camera: int) -> Lens:
        """The lens after its step, or as it is where that would be none or fold over what is in its frame."""
        if not bool((self._lenses[camera] != 0).any()):
            return lens
        try:
            stepped = self._stepped(lens, camera)
        except CaptureError:
            return lens
        return stepped if _sees_frame(stepped, self.given.lenses[camera].to(lens.params.device)) else lens


def _sees_frame(lens: Lens, given: Lens) -> bool:
    """Whether a lens sees the whole frame that the ``given`` one sees, and is finite there."""
    if not bool(lens.params.isfinite().all()):
        return False
    along = torch.linspace(_MARGIN, 1 - _MARGIN, _FRAME, dtype=torch.float64)
    u, v = torch.meshgrid(along * lens.width, along * lens.height, indexing="ij")
    edge = torch.stack([u, v], dim=-1).reshape(-1, 2).to(lens.params)
    rays = given.unproject(edge)
    _, before = given.project(rays)
    pixels, after = lens.project(rays)
    return bool((after | ~before).all()) and bool(pixels[after].isfinite().all())


def _points(model: Model) -> PointScene:
    assert isinstance(model.scene, PointScene)
    return model.scene
