"""miostitch: one clean recording out of several receivers' recordings of one miniscope session.

The names below are the public Python interface; each is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miostitch.config import DenoiseConfig
    from miostitch.config_files import load_config
    from miostitch.datasets import open_recording
    from miostitch.denoising import Denoised, denoise
    from miostitch.editing import concat, remove_frames, trim
    from miostitch.export import export_recording
    from miostitch.export_plan import ExportOptions
    from miostitch.frame_lists import parse_frames
    from miostitch.inspecting import inspect_recording
    from miostitch.opening import ReadOptions
    from miostitch.pipeline import denoise_files, workflow_files
    from miostitch.report import report_files
    from miostitch.saving import write_recording
    from miostitch.session import AlignOptions
    from miostitch.simulation import SimulationConfig, simulate
    from miostitch.stitching import StitchConfig, stitch
    from miostitch.thresholds import ScoreConfig
    from miostitch.verify import verify_files
    from miostitch.workflow import StitchOptions, stitch_files

_HOMES = {
    "AlignOptions": "session",
    "DenoiseConfig": "config",
    "Denoised": "denoising",
    "ExportOptions": "export_plan",
    "ReadOptions": "opening",
    "ScoreConfig": "thresholds",
    "SimulationConfig": "simulation",
    "StitchConfig": "stitching",
    "StitchOptions": "workflow",
    "concat": "editing",
    "denoise": "denoising",
    "denoise_files": "pipeline",
    "export_recording": "export",
    "inspect_recording": "inspecting",
    "load_config": "config_files",
    "open_recording": "datasets",
    "parse_frames": "frame_lists",
    "remove_frames": "editing",
    "report_files": "report",
    "simulate": "simulation",
    "stitch": "stitching",
    "stitch_files": "workflow",
    "trim": "editing",
    "verify_files": "verify",
    "workflow_files": "pipeline",
    "write_recording": "saving",
}

__all__ = [
    "AlignOptions",
    "DenoiseConfig",
    "Denoised",
    "ExportOptions",
    "ReadOptions",
    "ScoreConfig",
    "SimulationConfig",
    "StitchConfig",
    "StitchOptions",
    "concat",
    "denoise",
    "denoise_files",
    "export_recording",
    "inspect_recording",
    "load_config",
    "open_recording",
    "parse_frames",
    "remove_frames",
    "report_files",
    "simulate",
    "stitch",
    "stitch_files",
    "trim",
    "verify_files",
    "workflow_files",
    "write_recording",
]


def __getattr__(name: str) -> Any:
    # `miostitch --help` must not wait for dask, numba and xarray
    if name in _HOMES:
        return getattr(import_module(f"miostitch.{_HOMES[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return __all__
