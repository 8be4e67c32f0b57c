"""miostitch: one clean recording out of several receivers' recordings of one miniscope session.

The names below are the public Python interface; each is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miostitch.config import ScoreConfig
    from miostitch.inspecting import inspect_recording
    from miostitch.recording import open_recording
    from miostitch.simulation import SimulationConfig, simulate
    from miostitch.stitching import stitch
    from miostitch.workflow import StitchOptions, stitch_files

_HOMES = {
    "ScoreConfig": "config",
    "SimulationConfig": "simulation",
    "StitchOptions": "workflow",
    "inspect_recording": "inspecting",
    "open_recording": "recording",
    "simulate": "simulation",
    "stitch": "stitching",
    "stitch_files": "workflow",
}

__all__ = [
    "ScoreConfig",
    "SimulationConfig",
    "StitchOptions",
    "inspect_recording",
    "open_recording",
    "simulate",
    "stitch",
    "stitch_files",
]


def __getattr__(name: str) -> Any:
    # `miostitch --help` must not wait for dask, numba and xarray
    if name in _HOMES:
        return getattr(import_module(f"miostitch.{_HOMES[name]}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return __all__
