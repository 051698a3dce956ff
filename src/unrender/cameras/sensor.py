"""Sensor: from the radiance that arrives at a pixel to the number that a photo stores there, and back.

The order is exposure, white balance, vignette, response (Sec. V of the ADOP paper):

    recorded = R(colour(radiance * 2^-(EV - EV_mean)) * (1 + a2 r^2 + a4 r^4 + a6 r^6))

Eq. 14 of the paper and the sign of the ISO term in its Eq. 15 are wrong; this is the corrected form. EV is in stops: a
higher one is a darker photo. *Colour* divides by a white point, or moves chromaticities (``cameras/white.py``). R is of
one of several families (``cameras/response.py``). The photos alone determine these numbers only up to gauges:

- **brightness and tint** of the whole scene against the mean EV and the mean white point: both means are held over the
  anchor views;
- **contrast**: R(x^p) with (radiance, 2^-EV, vignette)^(1/p) records the same. Where EXIF says how photos differ
  (``contrast_from``), the regression of the anchor views' EV on EXIF's is held at slope 1; else
  ``response_smoothness``, which favours x^0.45, pins p softly. Each channel has its own p: where EXIF
  holds the contrast, the regression of the white points on EXIF's EV is held at slope 0;
- **saturation**: where no photo reaches 1, R(s x) with radiance / s records the same; only the prior pins s;
- the centre of a vignette that has vanished is arbitrary, and harmless.

Letters: V views, C cameras, B batch, H W pixels, P raw numbers and K pieces of a response.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Literal

import torch

from unrender.cameras import white
from unrender.cameras.response import (
    GAMMA,
    SEGMENTS,
    Family,
    family,
    interpolate,
    interpolate_back,
    response_knots,
    start_rises,
)
from unrender.cameras.vignette import fallen, within_bounds
from unrender.errors import SettingsError, ShapeError
from unrender.parameters import Parameter

__all__ = ["BLACK", "GAMMA", "SEGMENTS", "WHITE", "Sensor", "response_knots"]

LEAK = 0.01
"""Slope below black and largest excess above white of the training response (alpha of Eq. 20)."""
BLACK, WHITE = 1 / 255, 254 / 255
"""Recorded values up to which, and from which on, a photo of eight bits may be clipped: JPEG moves them by one."""
_LEAST_RISE = 1e-6
_THIRDS = 1 / 3 / math.sqrt(12)
"""Standard deviation of what rounding to thirds of a stop does to an EV."""
_LEAST_SLOPE = 0.5
_SURE = 0.05
"""Error of the slope of EV on EXIF's up to which EXIF holds the contrast: above, it knows less than the prior."""


@dataclass(frozen=True, eq=False)
class Sensor:
    """How V views of C cameras recorded light. The first five tensors are leaves that an optimiser steps.

    ``exposure`` [V] float32: EV in stops; ``exposure_mean``: the EV at which radiance 1 is just white;
    ``white_point`` [V, 2]: log2 of the red and blue white point, green is fixed at 1; or [V, 8]: a homography of
    chromaticities;
    ``vignette`` [C, 3]: a2, a4, a6, or [C, 3, 3]: a row for each channel; ``vignette_center`` [C, 2]: in sensor
    coordinates, where the photo's centre is 0 and its corners have length 1 (``Cameras.sensor_coordinates``);
    ``response_raw`` [C, 3, P]: the numbers of the ``response_family``, a name of ``response.FAMILIES``;
    ``exposure_start`` [V]: what ``exposure`` started from; ``exposure_known`` [V] bool: whether that is EXIF's;
    ``anchor`` [V] bool: the views that hold the gauges.
    """

    exposure: torch.Tensor
    white_point: torch.Tensor
    vignette: torch.Tensor
    vignette_center: torch.Tensor
    response_raw: torch.Tensor
    exposure_start: torch.Tensor
    exposure_known: torch.Tensor
    anchor: torch.Tensor
    exposure_mean: float = 0.0
    response_family: str = "knots"

    @classmethod
    def start(cls, exposure: torch.Tensor, cameras: int = 1, anchor: torch.Tensor | None = None) -> Sensor:
        """The sensor that a fit starts from: given EVs, white points 1, no vignette, response x^0.45.

        ``exposure`` [V]: EV in stops, NaN where unknown; ``cameras``: C; ``anchor`` [V] bool: the views whose mean EV
        and white point are held, all of them by default. The mean is that of the anchor views with known EV, and an
        unknown EV starts there. Where no anchor view's is known, all start at 0: the others have nothing to be
        compared with.
        """
        exposure = exposure.to(torch.float64)
        known = ~exposure.isnan()
        anchor = torch.ones_like(known) if anchor is None else anchor.to(known)
        if anchor.shape != exposure.shape:
            raise ShapeError("anchor", expected=f"one bool per view {tuple(exposure.shape)}", got=tuple(anchor.shape))
        sources = known & anchor
        compared = bool(sources.any())
        mean = float(exposure[sources].mean()) if compared else 0.0
        ev = torch.where(known & compared, exposure, mean).float()
        device = ev.device
        return cls(
            exposure=ev,
            white_point=torch.zeros(len(ev), 2, device=device),
            vignette=torch.zeros(cameras, 3, device=device),
            vignette_center=torch.zeros(cameras, 2, device=device),
            response_raw=family("knots").start().float().to(device).repeat(cameras, 3, 1),
            exposure_start=ev.clone(),
            exposure_known=known & compared,
            anchor=anchor,
            exposure_mean=mean,
        )

    def __len__(self) -> int:
        return self.exposure.shape[0]

    @property
    def response(self) -> torch.Tensor:
        """The response at ``knots``, [C, 3, K + 1]: 0 first, 1 last, rising between."""
        return self._family.values(self.response_raw)

    @property
    def knots(self) -> torch.Tensor:
        """Exposures [K + 1] in 0..1 at which the response is given; it is linear between them."""
        return response_knots(self.response_raw.dtype, self.response_raw.device, self._family.segments)

    @property
    def contrast_from(self) -> Literal["exif", "prior"]:
        """What holds the contrast: EXIF, where the slope of EV on it is known to 5 %; else the prior on the response.

        Rounding EXIF to thirds of a stop, a deviation of s = 0.096, leaves the slope a standard error of s / sqrt(sum
        of (EXIF EV - their mean)^2) and makes it too small by s^2 / mean of (EXIF EV - their mean)^2.
        """
        told = self.exposure_start[self._told].double()
        spread = float((told - told.mean()).square().sum()) if len(told) else 0.0
        if spread == 0:
            return "prior"
        error = math.hypot(_THIRDS / math.sqrt(spread), _THIRDS**2 * len(told) / spread)
        return "exif" if error < _SURE else "prior"

    def with_models(
        self, *, response: str = "knots", color: white.Model = "white_point", per_channel: bool = False
    ) -> Sensor:
        """The same sensor with its response in another family, the nearest it has, with another model of colour, from
        its start, and with a vignette for each channel or one for all (their mean).

        Raises SettingsError for an unknown name.
        """
        curves, wished = self.response.detach().double(), family(response)
        if response != self.response_family:
            where = response_knots(torch.float64, segments=wished.segments).expand(len(curves), 3, 1, -1)
            raw = wished.nearest(interpolate(where, curves.cpu())[:, :, 0]).to(self.response_raw)
        else:
            raw = self.response_raw
        rows = self.vignette.view(len(self.vignette), -1, 3)
        rows = rows.expand(-1, 3, 3).clone() if per_channel else rows.mean(dim=1)
        numbers = white.numbers_of(color)
        same = numbers == self.white_point.shape[1]
        colour = self.white_point if same else self.white_point.new_zeros(len(self), numbers)
        return replace(self, response_raw=raw, response_family=response, vignette=rows, white_point=colour)

    def with_response(self, curve: Callable[[torch.Tensor], torch.Tensor] | torch.Tensor) -> Sensor:
        """The same sensor with a known response, or the nearest to it that its family has.

        ``curve``: a function from exposure to recorded value, both in 0..1, or its values at ``knots``,
        [..., K + 1] broadcast to [C, 3, K + 1]. Flat stretches get the slightest rise. Raises SettingsError when it
        does not start at 0, end at 1 and rise.
        """
        kind = self._family
        values = curve(response_knots(torch.float64, segments=kind.segments)) if callable(curve) else curve
        values = values.to(torch.float64)
        rises = values.diff(dim=-1)
        ends_fit = torch.allclose(values[..., 0], values.new_zeros(()), atol=1e-3) and torch.allclose(
            values[..., -1], values.new_ones(()), atol=1e-3
        )
        if values.shape[-1] != kind.segments + 1 or not ends_fit or not bool((rises >= 0).all()):
            expected = f"{kind.segments + 1} rising values from 0 to 1"
            raise SettingsError(
                "not a camera response", expected=expected, got=[round(v, 4) for v in values.flatten().tolist()]
            )
        free = self.response_family == "knots"
        raw = rises.clamp(min=_LEAST_RISE).log() if free else kind.nearest(values)
        return replace(self, response_raw=raw.to(self.response_raw).expand_as(self.response_raw).clone())

    def select(self, index: torch.Tensor) -> Sensor:
        """The views of ``index`` [B] int64; differentiable. What belongs to cameras is kept whole."""
        index = index.to(self.exposure.device)
        return replace(
            self,
            exposure=self.exposure[index],
            white_point=self.white_point[index],
            exposure_start=self.exposure_start[index],
            exposure_known=self.exposure_known[index],
            anchor=self.anchor[index],
        )

    def to(self, device: torch.device | str) -> Sensor:
        """The same sensor with all tensors on ``device``."""
        tensors = {f.name: value for f in fields(self) if isinstance(value := getattr(self, f.name), torch.Tensor)}
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})

    def record(
        self, radiance: torch.Tensor, coordinates: torch.Tensor, camera_index: torch.Tensor, leak: bool = False
    ) -> torch.Tensor:
        """What the views store for linear ``radiance`` [B, 3, H, W]: [B, 3, H, W] in 0..1 (Eq. 16 to 19).

        ``coordinates`` [B, 2, H, W]: see ``Cameras.sensor_coordinates``; ``camera_index`` [B]. B is this sensor's V.
        With ``leak`` values below 0 and above 1 are not clamped but kept nearly flat, so that an over-exposed image
        still has a gradient; the result then stays below 1.01 (Eq. 20).
        """
        camera_index = camera_index.to(self.vignette.device)
        exposed = radiance * torch.exp2(self.exposure_mean - self.exposure)[:, None, None, None]
        exposed = white.corrected(exposed, self.white_point) * self._vignetting(coordinates, camera_index)
        recorded = interpolate(exposed.clamp(0, 1), self.response[camera_index])
        if leak:
            recorded = recorded + LEAK * exposed.clamp(max=0) + LEAK * (1 - exposed.clamp(min=1).rsqrt())
        return recorded

    def radiance(self, image: torch.Tensor, coordinates: torch.Tensor, camera_index: torch.Tensor) -> torch.Tensor:
        """The linear radiance [B, 3, H, W] that ``record`` turns into ``image`` [B, 3, H, W]: its exact inverse.

        A clipped 1 gives the least radiance that clips, a clipped 0 gives 0; values outside 0..1 count as clipped:
        ``clipped`` says where.
        """
        camera_index = camera_index.to(self.vignette.device)
        exposed = interpolate_back(image.clamp(0, 1), self.response[camera_index])
        colour = white.uncorrected(exposed / self._vignetting(coordinates, camera_index), self.white_point)
        return colour * torch.exp2(self.exposure - self.exposure_mean)[:, None, None, None]

    @staticmethod
    def clipped(image: torch.Tensor, margin: float = 0.5 / 255) -> torch.Tensor:
        """Where ``image`` [B, 3, H, W] says only that there was too little light or too much, bool of that shape: the
        radiance there may be any below or above what ``radiance`` gives. ``margin``: half a step of eight bits.
        """
        return (image <= margin) | (image >= 1 - margin) | image.isnan()

    def response_smoothness(self) -> torch.Tensor:
        """The prior on the response, a scalar >= 0 (the paper's R'' = 0).

        R'' = 0 in x would pull the curve to the straight line, and on knots this uneven mostly near black. We ask for
        it in s = x^0.45 instead, the scale on which photos spread evenly: the mean squared difference between the
        slopes dR/ds of neighbouring pieces. It is 0 for x^0.45 alone, fills pieces that no pixel touches from their
        neighbours, and pins the contrast that photos leave open.
        """
        rises = self._family.rises(self.response_raw)
        slopes = rises / start_rises(self._family.segments).to(rises)
        return (slopes.diff(dim=-1) * (self._family.segments / SEGMENTS)).square().mean()

    def parameters(self) -> tuple[Parameter, ...]:
        """What can be fitted, each with what holds its gauge."""
        return (
            Parameter("cameras.exposure", self.exposure, "EV", hold=self._hold_exposure),
            Parameter("cameras.white_point", self.white_point, "log2", hold=self._hold_white_point),
            Parameter("cameras.vignette", self.vignette, hold=self.hold_vignette),
            Parameter("cameras.vignette_center", self.vignette_center, "half diagonals"),
            Parameter("cameras.response", self.response_raw, "raw"),
        )

    @property
    def _family(self) -> Family:
        return family(self.response_family)

    @property
    def _told(self) -> torch.Tensor:
        """[V] bool: anchor views whose EV EXIF says."""
        return self.anchor & self.exposure_known

    @torch.no_grad()
    def _hold_exposure(self) -> None:
        """Keeps the anchor views' mean EV where it started, and the slope of EV on EXIF's at 1 where EXIF is to say it:
        all of them draw together or apart by one factor.
        """
        if not bool(self.anchor.any()):
            return
        away = self.exposure - self.exposure_start[self.anchor].mean()
        if self.contrast_from == "exif":
            told = self._told
            given, now = (ev[told] - ev[told].mean() for ev in (self.exposure_start, self.exposure))
            slope = float((given * now).sum() / given.square().sum())
            away = torch.where(self.anchor, away / max(slope, _LEAST_SLOPE), away)
        away = away - away[self.anchor].mean() * self.anchor
        self.exposure.copy_(self.exposure_start[self.anchor].mean() + away)

    @torch.no_grad()
    def _hold_white_point(self) -> None:
        """Keeps the anchor views' mean white point at 1 and, where EXIF holds the contrast, its slope on EXIF's EV at
        0: a tint that grows with EV is the contrast of one channel.
        """
        if not bool(self.anchor.any()):
            return
        if self.contrast_from == "exif":
            told = self._told
            away = self.exposure_start - self.exposure_start[told].mean()
            slope = away[told] @ self.white_point[told] / away[told].square().sum()
            self.white_point.sub_(slope * (away * self.anchor)[:, None])
        drift = self.white_point[self.anchor].mean(dim=0)
        self.white_point.sub_(drift * self.anchor[:, None])

    @torch.no_grad()
    def hold_vignette(self) -> None:
        """Keeps every vignette within (0, 1] over its photo and falling outwards."""
        reach = (1 + self.vignette_center.norm(dim=-1)).square()
        self.vignette.copy_(within_bounds(self.vignette, reach))

    def _vignetting(self, coordinates: torch.Tensor, camera_index: torch.Tensor) -> torch.Tensor:
        """Share of the light that arrives, [B, 1 or 3, H, W] (Eq. 17, 18)."""
        offset = coordinates - self.vignette_center[camera_index, :, None, None]
        return fallen(self.vignette[camera_index], offset.square().sum(dim=1))
