"""Cameras: where each view stood, through which lens it looked, which pixels it keeps and how it recorded light.

A view's pixel is made in four steps that are kept apart:

    world --(pose)--> camera --(lens)--> photo pixel --(pixel affine: resize, crop)--> pixel

and the radiance that arrives there is recorded by the sensor (``sensor.py``). Views share physical cameras:
``camera_index[v]`` names the lens, vignette and response of view v.

Letters: V views, C cameras, N points, H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from unrender.cameras.lens import Equirectangular, Lens, make_lens
from unrender.cameras.sensor import Sensor
from unrender.errors import ShapeError
from unrender.geometry.transforms import exp_se3
from unrender.images.colour import srgb_from_linear
from unrender.parameters import Parameter

__all__ = ["Cameras", "Projection"]


@dataclass(frozen=True)
class Projection:
    """Points as one view sees them.

    ``pixels`` [N, 2] (u right, v down, first pixel centre at 0.5); ``depth`` [N] (z along the optical axis; distance
    from the centre where the lens's ``depth_is_distance``); ``inside`` [N] bool: within the lens's valid region, which
    is in front of the camera for all but wide lenses (not: within the image); ``magnification`` [N]: pixels per unit
    of length across the line of sight, the largest singular value of the projection's Jacobian.
    """

    pixels: torch.Tensor
    depth: torch.Tensor
    inside: torch.Tensor
    magnification: torch.Tensor


@dataclass(frozen=True)
class Cameras:
    """V views through C physical cameras.

    ``camera_from_world`` [V, 4, 4] float64 rigid; ``camera_index`` [V] int64; ``lenses`` C of them;
    ``pixel_scale``, ``pixel_offset`` [V, 2] float64: pixel = scale * photo pixel + offset;
    ``sizes`` [V, 2] int64: (height, width) in pixels; ``sensor``: see ``Sensor``; ``linear``: indices of the cameras
    whose photos hold linear light, as RAW and EXR files do: their response is the line R(x) = x, and no fit moves it.
    """

    camera_from_world: torch.Tensor
    camera_index: torch.Tensor
    lenses: tuple[Lens, ...]
    pixel_scale: torch.Tensor
    pixel_offset: torch.Tensor
    sizes: torch.Tensor
    sensor: Sensor
    linear: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self.camera_from_world.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) that all views share. Raises ShapeError when they differ."""
        height, width = self.sizes[0].tolist()
        if bool((self.sizes != self.sizes[0]).any()):
            raise ShapeError(
                "views of one batch differ in size", got=self.sizes.unique(dim=0).tolist(), do="select or crop"
            )
        return height, width

    def size_of(self, view: int) -> tuple[int, int]:
        """(height, width) of one view."""
        height, width = self.sizes[view].tolist()
        return height, width

    @property
    def centers(self) -> torch.Tensor:
        """Camera centres in the world, [V, 3] float64."""
        rotation, translation = self.camera_from_world[:, :3, :3], self.camera_from_world[:, :3, 3]
        return -(rotation.transpose(1, 2) @ translation[..., None])[..., 0]

    def lens(self, view: int) -> Lens:
        """The lens of one view."""
        return self.lenses[int(self.camera_index[view])]

    def select(self, views: Sequence[int] | torch.Tensor) -> Cameras:
        """The views of the given indices [B], in that order; differentiable in all that is per view."""
        index = torch.as_tensor(views, dtype=torch.int64, device=self.camera_index.device)
        return replace(
            self,
            camera_from_world=self.camera_from_world[index],
            camera_index=self.camera_index[index],
            pixel_scale=self.pixel_scale[index],
            pixel_offset=self.pixel_offset[index],
            sizes=self.sizes[index],
            sensor=self.sensor.select(index),
        )

    def to(self, device: torch.device | str) -> Cameras:
        """The same cameras with all tensors on ``device``."""
        return Cameras(
            camera_from_world=self.camera_from_world.to(device),
            camera_index=self.camera_index.to(device),
            lenses=tuple(lens.to(device) for lens in self.lenses),
            pixel_scale=self.pixel_scale.to(device),
            pixel_offset=self.pixel_offset.to(device),
            sizes=self.sizes.to(device),
            sensor=self.sensor.to(device),
            linear=self.linear,
        )

    def moved(self, increments: torch.Tensor) -> Cameras:
        """The same views with every pose refined by ``increments`` [V, 6] float64 (translation, rotation vector [rad]).

        ``camera_from_world <- exp(xi) camera_from_world`` (Eq. 13), in camera axes; differentiable in the increments.
        """
        return replace(self, camera_from_world=exp_se3(increments) @ self.camera_from_world)

    def with_lenses(self, params: Sequence[torch.Tensor]) -> Cameras:
        """The same views through lenses of the same families with other ``params``, one [P] float64 per camera.

        Differentiable in them. What a lens derives from its parameters is kept with it, so call this anew after every
        step of an optimiser. Raises ShapeError when there are not as many as cameras.
        """
        if len(params) != len(self.lenses):
            raise ShapeError("lens parameters, one per camera", expected=len(self.lenses), got=len(params))
        pairs = zip(self.lenses, params, strict=True)
        return replace(self, lenses=tuple(make_lens(lens.model, lens.width, lens.height, p) for lens, p in pairs))

    def resize(self, scale: torch.Tensor, sizes: torch.Tensor) -> Cameras:
        """The same views with ``scale`` [V, 2] times the pixels (u, v) and new ``sizes`` [V, 2] (height, width)."""
        return replace(self, pixel_scale=self.pixel_scale * scale, pixel_offset=self.pixel_offset * scale, sizes=sizes)

    def crop(self, left_top: torch.Tensor, size: tuple[int, int], zoom: torch.Tensor | None = None) -> Cameras:
        """The window of ``size`` (height, width) at ``left_top`` [V, 2] (u, v) of views enlarged by ``zoom`` [V]."""
        zoomed = self if zoom is None else self.resize(zoom[:, None].expand(-1, 2), self.sizes)
        sizes = torch.tensor(size, dtype=torch.int64, device=self.sizes.device).expand(len(self), 2)
        return replace(zoomed, pixel_offset=zoomed.pixel_offset - left_top, sizes=sizes)

    def project(self, view: int, points: torch.Tensor, origin: torch.Tensor | None = None) -> Projection:
        """Points [N, 3] as ``view`` sees them; the arithmetic has the dtype of ``points``.

        ``origin`` [3] float64 is added to the points without losing precision: the pose is made relative to it in
        float64. Where ``pixel_scale`` differs between u and v, ``magnification`` takes the larger.
        """
        rotation, translation = self.pose(view, origin)
        camera_points = torch.addmm(translation.to(points), points, rotation.to(points).T)
        lens, scale, offset = self.lens(view), self.pixel_scale[view].to(points), self.pixel_offset[view].to(points)
        photo_pixels, inside = lens.project(camera_points)
        return Projection(
            pixels=photo_pixels * scale + offset,
            depth=camera_points.norm(dim=1) if lens.depth_is_distance else camera_points[:, 2],
            inside=inside,
            magnification=lens.magnification(camera_points) * scale.max(),
        )

    def pose(self, view: int, origin: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotation [3, 3] and translation [3] float64 from (world - origin) to camera."""
        rotation, translation = self.camera_from_world[view, :3, :3], self.camera_from_world[view, :3, 3]
        if origin is not None:
            translation = translation + rotation @ origin.to(rotation.dtype)
        return rotation, translation

    def rays(self, view: int, pixels: torch.Tensor) -> torch.Tensor:
        """World directions [K, 3] float32, unit, through places ``pixels`` [K, 2] of the view (fine pixels)."""
        photo_pixels = (pixels.to(self.pixel_offset) - self.pixel_offset[view]) / self.pixel_scale[view]
        rays = self.lens(view).unproject(photo_pixels) @ self.camera_from_world[view, :3, :3]
        return torch.nn.functional.normalize(rays, dim=-1).float()

    def directions(self, view: int, level: int = 0) -> torch.Tensor:
        """Unit world directions through the pixel centres of a pyramid layer.

        [ceil(H / 2^level), ceil(W / 2^level), 3] float32.
        """
        height, width = (-(-int(extent) // 2**level) for extent in self.sizes[view])
        grid = pixel_centers(height, width) * 2**level
        return self.rays(view, grid.reshape(-1, 2)).reshape(height, width, 3)

    def sensor_coordinates(self) -> torch.Tensor:
        """Where each pixel lies on its sensor, [V, 2, H, W] float32: 0 the photo's centre, length 1 at its corners."""
        height, width = self.size
        grid = pixel_centers(height, width).to(self.pixel_offset)
        photo_pixels = (grid - self.pixel_offset[:, None, None]) / self.pixel_scale[:, None, None]
        halves = torch.tensor([[lens.width / 2, lens.height / 2] for lens in self.lenses], dtype=torch.float64)
        half = halves.to(grid)[self.camera_index, None, None]
        return ((photo_pixels - half) / half.norm(dim=-1, keepdim=True)).permute(0, 3, 1, 2).float()

    def share_of_sphere(self, view: int) -> torch.Tensor | None:
        """How much each pixel of a panorama sees, as a share of what a pixel at its equator does, [1, H, W] float32.

        None for all other lenses: their pixels see alike within a factor of two.
        """
        lens = self.lens(view)
        if not isinstance(lens, Equirectangular):
            return None
        height, width = self.size_of(view)
        rows = (torch.arange(height) + 0.5 - self.pixel_offset[view, 1].cpu()) / self.pixel_scale[view, 1].cpu()
        return lens.narrowing(rows.to(lens.params)).float().cpu()[None, :, None].expand(1, height, width)

    def record(self, radiance: torch.Tensor, leak: bool = False) -> torch.Tensor:
        """Linear radiance [V, 3, H, W] -> images in 0..1 as these cameras record it (``Sensor.record``)."""
        return self.sensor.record(radiance, self.sensor_coordinates().to(radiance.device), self.camera_index, leak)

    def radiance(self, image: torch.Tensor) -> torch.Tensor:
        """Recorded images [V, 3, H, W] in 0..1 -> linear radiance (``Sensor.radiance``, the inverse of ``record``)."""
        return self.sensor.radiance(image, self.sensor_coordinates().to(image.device), self.camera_index)

    def shown(self, image: torch.Tensor) -> torch.Tensor:
        """Recorded images [V, 3, H, W] as a screen expects them: linear ones are encoded with the sRGB curve."""
        if not self.linear:
            return image
        linear = torch.tensor([camera in self.linear for camera in self.camera_index.tolist()], device=image.device)
        return torch.where(linear[:, None, None, None], srgb_from_linear(image), image)

    def parameters(self) -> tuple[Parameter, ...]:
        """What can be fitted, under ``cameras.*``."""
        holds: dict[str, Callable[[], None]] = {
            "cameras.vignette": self._hold_vignettes,
            "cameras.vignette_center": partial(self._follow, "vignette_center"),
            "cameras.response": self._hold_responses,
        }
        return tuple(replace(p, hold=holds.get(p.name, p.hold)) for p in self.sensor.parameters())

    def with_linear(self, linear: Sequence[int]) -> Cameras:
        """The same cameras, of which those of indices ``linear`` record light as it is: R(x) = x, from now on."""
        sensor = replace(self.sensor, response_raw=self.sensor.response_raw.detach().clone())
        held = replace(self, linear=tuple(linear), sensor=sensor)
        held._hold_lines()
        return held

    def _hold_vignettes(self) -> None:
        self._follow("vignette")
        self.sensor.hold_vignette()

    def _hold_responses(self) -> None:
        self._follow("response_raw")
        if self.linear:
            self._hold_lines()

    @torch.no_grad()
    def _hold_lines(self) -> None:
        """The line, or what is nearest to it in the family, where a camera's photos are linear."""
        line = self.sensor.with_response(lambda x: x).response_raw
        for camera in self.linear:
            self.sensor.response_raw[camera] = line[camera]

    @torch.no_grad()
    def _follow(self, name: str) -> None:
        """Gives cameras that took no anchor view, as where COLMAP made one per photo, the mean of those that did."""
        led = torch.zeros(len(self.lenses), dtype=torch.bool)
        led[self.camera_index[self.sensor.anchor].cpu()] = True
        if bool(led.any()) and not bool(led.all()):
            values = getattr(self.sensor, name)
            values[~led] = values[led].mean(dim=0)


def pixel_centers(height: int, width: int) -> torch.Tensor:
    """Pixel centres [H, W, 2] (u, v) float32; the first is (0.5, 0.5)."""
    v, u = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([u, v], dim=-1)
