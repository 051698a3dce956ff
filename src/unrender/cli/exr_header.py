"""What an EXR of ours says about itself: its colours, its brightness, its camera, and where it comes from.

Some attributes are OpenEXR's own, so that other programs understand them: ``chromaticities`` (Rec. 709, which are
sRGB's), ``adoptedNeutral`` (their white), ``colorInteropID`` (the Color Interop Forum's name for linear, scene-referred
Rec. 709, as OpenImageIO and Blender write it), and ``worldToCamera``, for which OpenEXR has row vectors, so that it is
the transpose of ours and its translation is the last row. ``comments`` says in words what the numbers mean.
``whiteLuminance`` is left out: radiance is relative, nobody measured candelas. The rest is ours, ``unrender.*``, with
float64 numbers as JSON text, because the header's own numbers are float32. Nothing depends on the clock: equal
renders give equal files.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from unrender import __version__
from unrender.images.io import ExrAttribute

if TYPE_CHECKING:
    from unrender.cameras.camera import Cameras
    from unrender.fit.checkpoint import Checkpoint

__all__ = ["exr_header"]

_REC_709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
_LINEAR_REC_709 = "lin_rec709_scene"
_COMMENTS = (
    "Linear Rec. 709 (sRGB primaries, D65) relative radiance, scene-referred, without tone mapping. "
    "1 is what the run's camera records as just white at its mean exposure, "
    "unrender.ev_mean; at unrender.ev, that of this view, radiance 2^(ev - ev_mean) is. EV in stops (EV100 where the "
    "photos say how they were exposed); the values of the pixels do not depend on it. World: frame and unit of the "
    "capture. Camera: x right, y down, z forward. pixel = scale * photo pixel + offset, first pixel centre at 0.5."
)


def exr_header(camera: Cameras, name: str, checkpoint: Checkpoint) -> dict[str, ExrAttribute]:
    """Header attributes for the radiance that the one view ``camera`` sees in the model of ``checkpoint``.

    ``name``: of the view. ``unrender.lens`` has COLMAP's model name, parameters in COLMAP's order and the photo's size
    [pixels]; ``unrender.pixel_from_photo`` leads from its pixels to those of this picture.
    """
    pose, lens = camera.camera_from_world[0], camera.lens(0)
    lens_table = {"model": lens.model, "width": lens.width, "height": lens.height, "params": lens.params.tolist()}
    pixel_table = {"scale": camera.pixel_scale[0].tolist(), "offset": camera.pixel_offset[0].tolist()}
    return {
        "adoptedNeutral": _REC_709[6:],
        "chromaticities": _REC_709,
        "colorInteropID": _LINEAR_REC_709,
        "comments": _COMMENTS,
        "worldToCamera": pose.T.float().contiguous().numpy(),
        "unrender.camera_from_world": json.dumps(pose.tolist()),
        "unrender.checkpoint": checkpoint.digest,
        "unrender.ev": float(camera.sensor.exposure[0]),
        "unrender.ev_mean": camera.sensor.exposure_mean,
        "unrender.stops": float(camera.sensor.exposure[0]) - camera.sensor.exposure_mean,
        "unrender.lens": json.dumps(lens_table),
        "unrender.pixel_from_photo": json.dumps(pixel_table),
        "unrender.step": checkpoint.step,
        "unrender.version": __version__,
        "unrender.view": name,
    }
