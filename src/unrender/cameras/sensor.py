"""Sensor: from the radiance that arrives at a pixel to the number that a photo stores there, and back.

The order is exposure, white balance, vignette, response (Sec. V of the ADOP paper):

    recorded = R(radiance * 2^-(EV - EV_mean) / white point * (1 + a2 r^2 + a4 r^4 + a6 r^6))

Eq. 14 of the paper and the sign of the ISO term in its Eq. 15 are wrong; this is the corrected form. EV is in stops: a
higher one is a darker photo. The photos alone determine these numbers only up to gauges:

- brightness and tint of the whole scene against the mean EV and the mean white point: ``parameters`` holds both means
  over the anchor views;
- contrast: R(x^p) with radiance^(1/p) and every EV spread by 1/p records the same. The EXIF values against which EV
  starts, and ``response_smoothness``, which favours x^0.45, pin p softly; nothing holds it hard;
- saturation: where no photo reaches 1, R(s x) with radiance / s records the same; again only the prior pins s;
- the centre of a vignette that has vanished is arbitrary, and harmless.

Letters: V views, C cameras, B batch, H W pixels, K = 24 segments of the response.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch

from unrender.errors import SettingsError, ShapeError
from unrender.parameters import Parameter

__all__ = ["GAMMA", "SEGMENTS", "Sensor", "response_knots"]

SEGMENTS = 24
"""Linear pieces of a response curve."""
GAMMA = 0.45
"""Exponent of the response that a fit starts from."""
LEAK = 0.01
"""Slope below black and largest excess above white of the training response (alpha of Eq. 20)."""
_DIMMEST = 0.05
_LEAST_RISE = 1e-6


def response_knots(dtype: torch.dtype = torch.float32, device: torch.device | str | None = None) -> torch.Tensor:
    """Where the response has its knots, [K + 1] in 0..1: x_i = (i / K)^4.

    So spaced, linear interpolation holds x^0.45 to 0.0014 (uniform knots miss it by 0.07 near black), and the piece
    that holds x is found without a search: floor(K x^(1/4)).
    """
    return (torch.arange(SEGMENTS + 1, dtype=dtype, device=device) / SEGMENTS) ** 4


@dataclass(frozen=True, eq=False)
class Sensor:
    """How V views of C cameras recorded light. The first five tensors are leaves that an optimiser steps.

    ``exposure`` [V] float32: EV in stops; ``exposure_mean``: the EV at which radiance 1 is just white;
    ``white_point`` [V, 2]: log2 of the red and blue white point, green is fixed at 1;
    ``vignette`` [C, 3]: a2, a4, a6; ``vignette_center`` [C, 2]: in sensor coordinates, where the photo's centre is 0
    and its corners have length 1 (``Cameras.sensor_coordinates``);
    ``response_logits`` [C, 3, K]: their softmax is the rise of the response over each piece, so that R(0) = 0,
    R(1) = 1 and R rises, whatever the optimiser does;
    ``exposure_start`` [V]: what ``exposure`` started from; ``anchor`` [V] bool: the views that hold the gauges.
    """

    exposure: torch.Tensor
    white_point: torch.Tensor
    vignette: torch.Tensor
    vignette_center: torch.Tensor
    response_logits: torch.Tensor
    exposure_start: torch.Tensor
    anchor: torch.Tensor
    exposure_mean: float = 0.0

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
            response_logits=_start_rises().log().float().to(device).repeat(cameras, 3, 1),
            exposure_start=ev.clone(),
            anchor=anchor,
            exposure_mean=mean,
        )

    def __len__(self) -> int:
        return self.exposure.shape[0]

    @property
    def response(self) -> torch.Tensor:
        """The response at ``response_knots``, [C, 3, K + 1]: 0 first, 1 last, rising between."""
        inner = self.response_logits.softmax(-1).cumsum(-1)[..., :-1]
        zero = torch.zeros_like(inner[..., :1])
        return torch.cat([zero, inner, zero + 1], dim=-1)

    def with_response(self, curve: Callable[[torch.Tensor], torch.Tensor] | torch.Tensor) -> Sensor:
        """The same sensor with a known response.

        ``curve``: a function from exposure to recorded value, both in 0..1, or its values at ``response_knots``,
        [..., K + 1] broadcast to [C, 3, K + 1]. Flat stretches get the slightest rise. Raises SettingsError when it
        does not start at 0, end at 1 and rise.
        """
        values = curve(response_knots(torch.float64)) if callable(curve) else curve.to(torch.float64)
        rises = values.diff(dim=-1)
        ends_fit = torch.allclose(values[..., 0], values.new_zeros(()), atol=1e-3) and torch.allclose(
            values[..., -1], values.new_ones(()), atol=1e-3
        )
        if values.shape[-1] != SEGMENTS + 1 or not ends_fit or not bool((rises >= 0).all()):
            expected = f"{SEGMENTS + 1} rising values from 0 to 1"
            raise SettingsError(
                "not a camera response", expected=expected, got=[round(v, 4) for v in values.flatten().tolist()]
            )
        logits = rises.clamp(min=_LEAST_RISE).log().to(self.response_logits)
        return replace(self, response_logits=logits.expand_as(self.response_logits).clone())

    def select(self, index: torch.Tensor) -> Sensor:
        """The views of ``index`` [B] int64; differentiable. What belongs to cameras is kept whole."""
        index = index.to(self.exposure.device)
        return replace(
            self,
            exposure=self.exposure[index],
            white_point=self.white_point[index],
            exposure_start=self.exposure_start[index],
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
        exposed = radiance * self._gain()[..., None, None] * self._vignetting(coordinates, camera_index)
        recorded = _interpolate(exposed.clamp(0, 1), self.response[camera_index])
        if leak:
            recorded = recorded + LEAK * exposed.clamp(max=0) + LEAK * (1 - exposed.clamp(min=1).rsqrt())
        return recorded

    def radiance(self, image: torch.Tensor, coordinates: torch.Tensor, camera_index: torch.Tensor) -> torch.Tensor:
        """The linear radiance [B, 3, H, W] that ``record`` turns into ``image`` [B, 3, H, W]: its exact inverse.

        A clipped 1 gives the least radiance that clips, a clipped 0 gives 0; values outside 0..1 count as clipped.
        """
        camera_index = camera_index.to(self.vignette.device)
        exposed = _interpolate_back(image.clamp(0, 1), self.response[camera_index])
        return exposed / (self._gain()[..., None, None] * self._vignetting(coordinates, camera_index))

    def response_smoothness(self) -> torch.Tensor:
        """The prior on the response, a scalar >= 0 (the paper's R'' = 0).

        R'' = 0 in x would pull the curve to the straight line, and on knots this uneven mostly near black. We ask for
        it in s = x^0.45 instead, the scale on which photos spread evenly: the mean squared difference between the
        slopes dR/ds of neighbouring pieces. It is 0 for x^0.45 alone, fills pieces that no pixel touches from their
        neighbours, and pins the contrast that photos leave open.
        """
        rises = self.response_logits.softmax(-1)
        slopes = rises / _start_rises().to(rises)
        return slopes.diff(dim=-1).square().mean()

    def parameters(self) -> tuple[Parameter, ...]:
        """What can be fitted, each with what holds its gauge."""
        return (
            Parameter("cameras.exposure", self.exposure, "EV", hold=self._hold_exposure),
            Parameter("cameras.white_point", self.white_point, "log2", hold=self._hold_white_point),
            Parameter("cameras.vignette", self.vignette),
            Parameter("cameras.vignette_center", self.vignette_center, "half diagonals"),
            Parameter("cameras.response", self.response_logits, "log"),
        )

    @torch.no_grad()
    def _hold_exposure(self) -> None:
        """Keeps the anchor views' mean EV where it started."""
        if bool(self.anchor.any()):
            drift = (self.exposure - self.exposure_start)[self.anchor].mean()
            self.exposure.sub_(drift * self.anchor)

    @torch.no_grad()
    def _hold_white_point(self) -> None:
        """Keeps the anchor views' mean white point at 1."""
        if bool(self.anchor.any()):
            drift = self.white_point[self.anchor].mean(dim=0)
            self.white_point.sub_(drift * self.anchor[:, None])

    def _gain(self) -> torch.Tensor:
        """2^-(EV - EV_mean) / white point, [V, 3]."""
        red, blue = self.white_point.unbind(-1)
        log_white = torch.stack([red, torch.zeros_like(red), blue], dim=-1)
        return torch.exp2(self.exposure_mean - self.exposure[:, None] - log_white)

    def _vignetting(self, coordinates: torch.Tensor, camera_index: torch.Tensor) -> torch.Tensor:
        """Share of the light that arrives, [B, 1, H, W] (Eq. 17, 18); never below 0.05, so that it can be undone."""
        a2, a4, a6 = self.vignette[camera_index, :, None, None].unbind(1)
        offset = coordinates - self.vignette_center[camera_index, :, None, None]
        squared = offset.square().sum(dim=1)
        return (1 + squared * (a2 + squared * (a4 + squared * a6))).clamp(min=_DIMMEST)[:, None]


def _start_rises() -> torch.Tensor:
    """Rises of x^0.45 over the pieces, [K] float64."""
    return (response_knots(torch.float64) ** GAMMA).diff()


def _interpolate(x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Piecewise linear curves ``values`` [B, 3, K + 1] at ``x`` [B, 3, H, W] in 0..1.

    The piece is found without a gradient (x^(1/4) has none at 0), then the value is linear in x.
    """
    knots = response_knots(values.dtype, values.device)
    slope = values.diff(dim=-1) / knots.diff()
    base = values[..., :-1] - slope * knots[:-1]
    with torch.no_grad():
        piece = (x.sqrt().sqrt() * SEGMENTS).long().clamp(0, SEGMENTS - 1).flatten(2)
    return (base.gather(2, piece) + slope.gather(2, piece) * x.flatten(2)).view_as(x)


def _interpolate_back(y: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The x in 0..1 at which the rising curves ``values`` [B, 3, K + 1] reach ``y`` [B, 3, H, W] in 0..1."""
    knots = response_knots(values.dtype, values.device)
    slope = knots.diff() / values.diff(dim=-1).clamp(min=torch.finfo(values.dtype).tiny)
    with torch.no_grad():
        piece = torch.searchsorted(values[..., 1:-1].contiguous(), y.flatten(2).contiguous(), right=True)
    start, left = knots[piece], values.gather(2, piece)
    return (start + slope.gather(2, piece) * (y.flatten(2) - left)).clamp(0, 1).view_as(y)
