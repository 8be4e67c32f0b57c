"""Denoising tried on some frames: what would be noisy, what is left, and the settings saved."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from miostitch.arrays import I64, U8
from miostitch.batch.proposal import write_new
from miostitch.config.files import config_text, load_config, shipped_configs
from miostitch.config.models import Block, DenoiseConfig, checked, settings
from miostitch.denoising.chain import denoise
from miostitch.denoising.filters import METHODS
from miostitch.denoising.stages import noise, noisy
from miostitch.errors import InputError, UsageError
from miostitch.schema import FRAME, LOST, VIDEO
from miostitch.text import printable

FRAMES = 100  # at most, of a trial
BYTES = 2**26  # of its frames as they were recorded, at most
BASE = "denoise_calcium_imaging"  # The configuration that a trial begins with
STAGES = ("noise_patch", "flicker_correction", "frequency_masking", "minimum_projection")
LEFT_OUT = ("output_", "cast_float32", "id", "mio_", "description")  # Settings without a control
NAME_CHARACTERS = 80  # of a saved configuration, at most

PROJECTIONS: dict[str, Callable[..., NDArray[Any]]] = {
    "mean": np.mean,
    "maximum": np.max,
    "minimum": np.min,
}


@dataclass(frozen=True)
class Sample:
    """Some frames of a recording, in memory."""

    dataset: xr.Dataset
    positions: I64  # In the recording, (frame,)

    @classmethod
    def take(cls, opened: xr.Dataset, count: int, start: int | None) -> "Sample":
        """Take frames that follow each other from one on, or are spread over the recording."""
        there = np.arange(opened.sizes[FRAME])
        if LOST.name in opened.coords:
            there = np.flatnonzero(~opened[LOST.name].to_numpy())
        pixels = opened[VIDEO.name][0].size
        most = min(count, FRAMES, max(1, BYTES // pixels), len(there))
        if start is None:
            chosen = there[np.linspace(0, len(there) - 1, most).astype(np.int64)]
        else:
            chosen = there[there >= start][:most]
        if not len(chosen):
            raise UsageError(f"frame {start}: must be a frame below {opened.sizes[FRAME]}")
        part = opened.isel({FRAME: chosen})
        bare = xr.Dataset({VIDEO.name: part[VIDEO.name].variable.compute()})
        return cls(bare.assign_attrs(recording="these frames"), chosen)


@dataclass(frozen=True)
class Trial:
    """What a configuration makes of a sample."""

    original: U8  # (frame, height, width)
    denoised: U8  # (frame, height, width) of the frames that stay
    places: I64  # Place of each frame among those that stay, (frame,), -1: it is left out
    positions: I64
    rows: I64  # Flagged rows, (frame, detector); without any where the stage is off
    problem: str = ""  # Why no frame is left

    def describe(self) -> dict[str, Any]:
        """The frames and what is flagged of each, as JSON values."""
        named = [dict(zip(METHODS, row, strict=True)) for row in self.rows.tolist()]
        return {
            "positions": self.positions.tolist(),
            "noisy": (self.places < 0).tolist(),
            "rows": named,
            "problem": self.problem,
            "projections": [*PROJECTIONS] if len(self.denoised) else [],
        }

    def frame(self, number: int) -> list[U8]:
        """A frame as it was recorded and, if it stays, denoised."""
        place = self.places[number]
        return [self.original[number], *([self.denoised[place]] if place >= 0 else [])]

    def projection(self, kind: str) -> list[U8]:
        """The projection of the frames that stay, before and after."""
        if not len(self.denoised):
            return []
        both = (self.original[self.places >= 0], self.denoised)
        return [np.rint(PROJECTIONS[kind](each, axis=0)).astype(np.uint8) for each in both]


def try_config(sample: Sample, config: DenoiseConfig) -> Trial:
    """Denoise a sample; if all of its frames are noisy, only what is flagged is known."""
    config = config.model_copy(update={"end_frame": None})
    original = sample.dataset[VIDEO.name].to_numpy()
    count, patch = len(original), config.noise_patch
    rows, gone = np.empty((0, len(METHODS)), np.int64), np.zeros(count, np.bool_)
    if patch.enable:
        flagged = noise(sample.dataset, patch).compute()
        rows, gone = flagged.to_numpy(), noisy(flagged, patch).to_numpy()
    places = np.where(gone, -1, np.cumsum(~gone) - 1)
    try:
        made = denoise(sample.dataset, config).dataset[VIDEO.name].to_numpy()
        problem = ""
    except InputError as error:
        if not gone.all():
            raise
        made, problem = original[:0], printable(str(error))
    return Trial(original, made, places, sample.positions, rows, problem)


def controls(height: int, width: int) -> list[dict[str, Any]]:
    """The settings that can be tried, by stage and in the order of a configuration."""
    upper = {
        "threshold": 100,
        "consecutive_threshold": width,
        "value_threshold": 255,
        "min_rows": height,
        "spatial_LPF_cutoff_radius": max(height, width) // 2,
        "vertical_BEF_cutoff": width // 2,
        "horizontal_BEF_cutoff": height // 2,
    }
    found = []
    for key, value, _, allowed, doc in settings(DenoiseConfig()):
        if key[0] not in STAGES or key[-1].startswith(LEFT_OUT):
            continue
        about: dict[str, Any] = {"key": ".".join(key), "doc": doc, "allowed": allowed}
        if isinstance(value, Block):
            about["kind"] = "stage" if len(key) == 1 else "group"
        elif isinstance(value, bool):
            about["kind"] = "switch"
        elif isinstance(value, tuple):
            about |= {"kind": "list", "choices": [*METHODS]}
        else:
            least = 1 if key[-1] in ("consecutive_threshold", "min_rows") else 0
            step = 0.5 if isinstance(value, float) else 1
            about |= {"kind": "number", "least": least, "most": upper[key[-1]], "step": step}
        found.append(about)
    return found


def values(config: DenoiseConfig) -> dict[str, Any]:
    """The values of the controls, by their keys."""
    known = {each["key"] for each in controls(1, 1) if each["kind"] not in ("stage", "group")}
    found = {".".join(key): value for key, value, *_ in settings(config)}
    return {key: value for key, value in found.items() if key in known}


def bases(own: str | None) -> dict[str, DenoiseConfig]:
    """The configurations that a trial can begin with, the usual one first."""
    shipped = shipped_configs()
    found = {} if own is None else {own: load_config(own)}
    return found | {BASE: shipped[BASE], **shipped}


def changed(config: DenoiseConfig, changes: Mapping[str, Any], name: str = "") -> DenoiseConfig:
    """A configuration with other values of some controls, as strict as one from a file.

    Raises
    ------
    UsageError
        A key is no control, or a value is out of its range.
    """
    plain, known = config.model_dump(), values(config)
    for key, value in changes.items():
        if key not in known:
            raise UsageError(f"{key}: is no setting that can be tried")
        block = plain
        *around, last = key.split(".")
        for part in around:
            block = block[part]
        block[last] = value
    if name:
        plain |= {"id": name, "description": f"Tried in the viewer, from {config.id}"}
    made = checked(DenoiseConfig, plain)
    if isinstance(made, list):
        raise UsageError("; ".join(problem.what for problem in made))
    return made


def save_config(config: DenoiseConfig, folder: str) -> str:
    """Write a configuration under its id into a folder; an existing file stays as it is."""
    path = os.path.join(folder, f"{config.id}.yml")
    write_new(path, config_text(config))
    return path


def require_file_name(name: Any) -> str:
    """Refuse a name that leads out of the folder, or that not every system takes."""
    plain = isinstance(name, str) and 0 < len(name) <= NAME_CHARACTERS and name.isascii()
    if not (plain and name[0].isalnum() and all(c.isalnum() or c in "_-." for c in name)):
        what = "a name of letters, digits, '_', '-' and '.', that begins with a letter or digit"
        raise UsageError(f"{name!r}: {what} is needed")
    return str(name).removesuffix(".yml")
