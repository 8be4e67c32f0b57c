"""Frames of recordings that are kept: their pixels, and the files in which the rest is found."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, Self, TypeVar

import numpy as np
import xarray as xr

from miostitch.arrays import I64
from miostitch.editing.frame_origins import FrameOrigins, RegularPart, read_runs
from miostitch.errors import UsageError
from miostitch.origins.sidecars import Origin, find_origin
from miostitch.recording.datasets import in_chunks, without_lost
from miostitch.recording.files import ReadOptions
from miostitch.schema import FRAME, HEIGHT, REGULAR, REGULAR_FRAME, VIDEO, WIDTH, chunk_frames
from miostitch.stitching.stitched_origin import find_stitched

Lazy = TypeVar("Lazy", xr.Dataset, xr.DataArray)


@dataclass(frozen=True)
class KeptFrames(FrameOrigins):
    """Frames to write: their pixels, and where the rest is."""

    video: xr.DataArray = field(kw_only=True)  # Lazy uint8 (frame, height, width)
    attrs: dict[str, Any] = field(kw_only=True)  # Attributes of the Dataset

    @classmethod
    def of(cls, dataset: xr.Dataset, reading: ReadOptions, known: Sequence[Origin] = ()) -> Self:
        """Find the files that the frames of a Dataset are from; lost frames are left out."""
        dataset = without_lost(dataset)
        if not {"origin", "origin_frame"} <= {*dataset.coords} or "origins" not in dataset.attrs:
            msg = "this Dataset does not know where its frames are from; begin with open_recording"
            raise UsageError(f"{msg}, and select with isel, sel, trim, remove_frames or concat")
        if dataset.video.dtype != VIDEO.dtype:
            msg = f"video is {dataset.video.dtype}, and {VIDEO.dtype} is written; round and clip it"
            raise UsageError(f"{msg}, then .astype('{VIDEO.dtype}')")
        if not dataset.sizes[FRAME]:
            raise UsageError("no frame is left to be written; keep at least one")
        numbers, frames = _taken(dataset)
        used, origin = np.unique(numbers, return_inverse=True)
        found = {each.path: each for each in known}
        paths = [dataset.attrs["origins"][number] for number in used]
        origins = tuple(found.get(path) or _find(path, dataset.attrs, reading) for path in paths)
        for number, each in enumerate(origins):
            if frames[origin == number].max() >= each.frames:
                msg = f"{each.path}: has fewer frames than when it was opened; open it again"
                raise UsageError(msg)
        part = _find_regular(dataset, origins, (origin, frames))
        place = (origin, frames) if part is None else part.place
        video = in_chunks(dataset).video.transpose(FRAME, HEIGHT, WIDTH)
        attrs = dict(dataset.attrs)
        return cls(origins, *place, part, video=video.reset_coords(drop=True), attrs=attrs)

    @property
    def files(self) -> list[str]:
        """Everything that is read."""
        return [path for origin in self.origins for path in origin.files]

    @property
    def fps(self) -> Fraction:
        """Frame rate, exact."""
        return Fraction(self.attrs["fps"])

    @property
    def inputs(self) -> list[Any]:
        """What the frames were recorded in, each file once."""
        found = [each for origin in self.origins for each in origin.inputs]
        return [each for at, each in enumerate(found) if each not in found[:at]]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, height and width."""
        count, height, width = self.video.shape
        return count, height, width

    @cached_property
    def block(self) -> int:
        """Frames per task and chunk."""
        stores = [origin.store.chunk_frames for origin in self.origins if origin.store]
        return stores[0] if stores else chunk_frames(*self.shape[1:])

    def part(self, lazy: Lazy, span: slice, block: int | None = None) -> Lazy:
        """A span of lazy frames in blocks, by default of the usual size."""
        return lazy.isel({FRAME: span}).chunk({FRAME: block or self.block, HEIGHT: -1, WIDTH: -1})


def _taken(dataset: xr.Dataset) -> tuple[I64, I64]:
    """File and position of every frame that was taken; of a regular time base those it has."""
    if REGULAR in dataset.attrs:
        return read_runs(dataset.attrs[REGULAR]["frames"])
    origin, frame = (dataset[name].to_numpy() for name in ("origin", "origin_frame"))
    return origin, frame.astype(np.int64)


def _find_regular(
    dataset: xr.Dataset, origins: tuple[Origin, ...], taken: tuple[I64, I64]
) -> RegularPart | None:
    """The frames of a Dataset in the regular time base that was made of files; None without."""
    if REGULAR not in dataset.attrs:
        return None
    facts, chosen = dataset.attrs[REGULAR], dataset[REGULAR_FRAME.name].to_numpy()
    part = RegularPart.of(origins, taken, chosen, facts)
    part.require_numbers(dataset["frame_num"].to_numpy(), origins[0].path)
    return part


def _find(path: str, attrs: dict[str, Any], reading: ReadOptions) -> Origin:
    """Find the file, or the stitch that is not written, of which some frames are kept."""
    stitches = attrs.get("stitches", {})
    if path in stitches:
        return find_stitched(path, stitches[path])
    return find_origin(path, replace(reading, lag=attrs.get("lags", {}).get(path, 0)))
