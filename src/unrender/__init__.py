"""unrender: posed photos and rough geometry in; a fitted scene, exposures and responses, and new views out.

This file is the whole public surface. Every name is loaded when it is first used, so that ``import unrender`` is quick.

    import unrender

    capture = unrender.read_capture("my/capture").at_width(640)
    model, _ = unrender.start_model(capture, unrender.FitSettings(minutes=10))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unrender.cameras.camera import Cameras as Cameras
    from unrender.cameras.lens import Lens as Lens
    from unrender.cameras.lens import make_lens as make_lens
    from unrender.cameras.paths import interpolate as interpolate
    from unrender.cameras.paths import orbit as orbit
    from unrender.cameras.paths import up_direction as up_direction
    from unrender.cameras.sensor import Sensor as Sensor
    from unrender.datasets.capture import Capture as Capture
    from unrender.datasets.clouds import PointCloud as PointCloud
    from unrender.datasets.clouds import read_cloud as read_cloud
    from unrender.datasets.clouds import read_ply as read_ply
    from unrender.datasets.clouds import write_cloud as write_cloud
    from unrender.datasets.clouds import write_ply as write_ply
    from unrender.datasets.diagnosis import inspect_capture as inspect_capture
    from unrender.datasets.findings import Diagnosis as Diagnosis
    from unrender.datasets.findings import Finding as Finding
    from unrender.datasets.formats import read_reconstruction as read_reconstruction
    from unrender.datasets.formats import write_reconstruction as write_reconstruction
    from unrender.datasets.read_capture import read_capture as read_capture
    from unrender.datasets.reconstruction import Reconstruction as Reconstruction
    from unrender.datasets.synthetic.capture import RoomSettings as RoomSettings
    from unrender.datasets.synthetic.capture import load_truth as load_truth
    from unrender.datasets.synthetic.capture import make_room_capture as make_room_capture
    from unrender.errors import CaptureError as CaptureError
    from unrender.errors import RunError as RunError
    from unrender.errors import SettingsError as SettingsError
    from unrender.errors import ShapeError as ShapeError
    from unrender.errors import UnrenderError as UnrenderError
    from unrender.fit.checkpoint import Checkpoint as Checkpoint
    from unrender.fit.checkpoint import read_checkpoint as read_checkpoint
    from unrender.fit.checkpoint import write_checkpoint as write_checkpoint
    from unrender.fit.evaluate import Evaluation as Evaluation
    from unrender.fit.evaluate import evaluate as evaluate
    from unrender.fit.evaluate import plain_points as plain_points
    from unrender.fit.fit import Fit as Fit
    from unrender.fit.fit import start_model as start_model
    from unrender.fit.refine.settings import RefineSettings as RefineSettings
    from unrender.fit.run import Run as Run
    from unrender.fit.settings import CropSettings as CropSettings
    from unrender.fit.settings import FitSettings as FitSettings
    from unrender.fit.settings import SensorSettings as SensorSettings
    from unrender.fit.settings_file import read_settings as read_settings
    from unrender.fit.settings_file import write_settings as write_settings
    from unrender.fit.source import CaptureSource as CaptureSource
    from unrender.images.io import write_exr as write_exr
    from unrender.images.io import write_png as write_png
    from unrender.initialize.points import PointSettings as PointSettings
    from unrender.initialize.points import points_from_capture as points_from_capture
    from unrender.losses import LossSettings as LossSettings
    from unrender.messages import Evaluated as Evaluated
    from unrender.messages import Finished as Finished
    from unrender.messages import Message as Message
    from unrender.messages import Note as Note
    from unrender.messages import Saved as Saved
    from unrender.messages import Scores as Scores
    from unrender.messages import Started as Started
    from unrender.messages import Stepped as Stepped
    from unrender.metrics import score as score
    from unrender.metrics.flip import flip_picture as flip_picture
    from unrender.parameters import Parameter as Parameter
    from unrender.render.frame import Frame as Frame
    from unrender.render.model import Model as Model
    from unrender.render.settings import PointRasterSettings as PointRasterSettings
    from unrender.render.shade.network import DecoderSettings as DecoderSettings
    from unrender.render.shade.network import NetworkShader as NetworkShader
    from unrender.render.shade.network import UNetSettings as UNetSettings
    from unrender.render.tonemap import tonemap as tonemap
    from unrender.reports.fit_report import fit_report as fit_report
    from unrender.scenes.points import PointScene as PointScene

__version__ = "0.1.0"

_NAMES = {
    "unrender.cameras.camera": ("Cameras",),
    "unrender.cameras.lens": ("Lens", "make_lens"),
    "unrender.cameras.paths": ("interpolate", "orbit", "up_direction"),
    "unrender.cameras.sensor": ("Sensor",),
    "unrender.datasets.capture": ("Capture",),
    "unrender.datasets.clouds": ("PointCloud", "read_cloud", "read_ply", "write_cloud", "write_ply"),
    "unrender.datasets.diagnosis": ("inspect_capture",),
    "unrender.datasets.findings": ("Diagnosis", "Finding"),
    "unrender.datasets.formats": ("read_reconstruction", "write_reconstruction"),
    "unrender.datasets.read_capture": ("read_capture",),
    "unrender.datasets.reconstruction": ("Reconstruction",),
    "unrender.datasets.synthetic.capture": ("RoomSettings", "load_truth", "make_room_capture"),
    "unrender.errors": ("CaptureError", "RunError", "SettingsError", "ShapeError", "UnrenderError"),
    "unrender.fit.checkpoint": ("Checkpoint", "read_checkpoint", "write_checkpoint"),
    "unrender.fit.evaluate": ("Evaluation", "evaluate", "plain_points"),
    "unrender.fit.fit": ("Fit", "start_model"),
    "unrender.fit.run": ("Run",),
    "unrender.fit.refine.settings": ("RefineSettings",),
    "unrender.fit.settings": ("CropSettings", "FitSettings", "SensorSettings"),
    "unrender.fit.settings_file": ("read_settings", "write_settings"),
    "unrender.fit.source": ("CaptureSource",),
    "unrender.images.io": ("write_exr", "write_png"),
    "unrender.initialize.points": ("PointSettings", "points_from_capture"),
    "unrender.losses": ("LossSettings",),
    "unrender.messages": ("Evaluated", "Finished", "Message", "Note", "Saved", "Scores", "Started", "Stepped"),
    "unrender.metrics": ("score",),
    "unrender.metrics.flip": ("flip_picture",),
    "unrender.parameters": ("Parameter",),
    "unrender.render.frame": ("Frame",),
    "unrender.render.model": ("Model",),
    "unrender.render.settings": ("PointRasterSettings",),
    "unrender.render.shade.network": ("DecoderSettings", "NetworkShader", "UNetSettings"),
    "unrender.render.tonemap": ("tonemap",),
    "unrender.reports.fit_report": ("fit_report",),
    "unrender.scenes.points": ("PointScene",),
}
_HOME = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*_HOME, "__version__"])
