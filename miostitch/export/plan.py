"""What all exports have in common: a recording, the times of its frames, and a plan."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from miostitch.arrays import I64, Bools
from miostitch.buffers.elapsed_time import measured_rate, stated_rate
from miostitch.config.choices import require_probability
from miostitch.config.session_file import Behaviour
from miostitch.editing.kept_frames import KeptFrames
from miostitch.editing.regular import MOST_FILLED, Fill, list_notices, require_fill
from miostitch.editing.regularizing import regularize_frames
from miostitch.errors import InputError, Notice, UsageError, list_warnings
from miostitch.execution.engine import Products, no_tables, run_blocks
from miostitch.execution.lazy_blocks import LazyBlock
from miostitch.execution.products import STORE, TIMESTAMPS
from miostitch.export.selection import (
    ALL,
    Selection,
    as_slice,
    bin_video,
    confident_frames,
    find_damaged,
    intact_frames,
    require_bin,
    select_frames,
)
from miostitch.ranges import format_frames, rising_runs
from miostitch.recording.datasets import done_step, open_dataset, without_lost
from miostitch.recording.files import ReadOptions
from miostitch.recording.frame_times import join_dataset_times, time_of_dataset
from miostitch.recording.inputs import require_opened_so
from miostitch.schema import (
    FILLED,
    FRAME,
    FRAME_VARIABLES,
    LOST,
    ORIGIN_VARIABLES,
    REGULAR,
    VIDEO,
    Variable,
)
from miostitch.text import amount, printable
from miostitch.video.writer import Codec, VideoFile

TIMES = ("timestamp_first", "timestamp_last")
MOST_SPEED = 1000.0

Advance = Callable[[int], None] | None  # Called with the number of frames of every written block
PathOf = Callable[[str], Path]  # Where the product of an ending is made


@dataclass(frozen=True)
class ExportOptions:
    """What an export cannot know by itself.

    Parameters
    ----------
    frames
        Frames to export, a list such as ``100-399`` or ``0,5,10-20``; by default all.
    binning
        Side of the squares of pixels of which the rounded mean is exported; by default 1.
    drop_damaged
        Leave damaged frames out.
    min_confidence
        Leave out frames whose confidence, the probability that they are exact, is lower; None
        exports them all.
    fill
        Export one frame per tick of the device's counter, and fill frames that no receiver has:
        ``previous`` repeats the frame before, ``linear`` interpolates, ``zero`` is black; by
        default nothing is filled.
    max_fill
        Frames of a gap that are filled; a longer one begins another epoch.
    codec
        Of AVI files: ``rawvideo`` or ``ffv1``, both lossless.
    per_file
        TIFF: frames of each file; by default all are in one.
    ucla_format
        UCLA: 2, as version 2 of the Miniscope's software writes its table of times, or 1.
    speed
        MP4: how many times as fast as recorded it plays.
    receivers
        MP4: show the receivers' frames next to those of the result.
    external
        NWB: keep the frames in an ``.avi`` next to the file.
    session_start
        When the session began, with its offset from UTC; by default the time of the first frame.
    session_description
        NWB: what was done.
    subject_id, species, sex, age
        NWB: the animal; ``species`` as a Latin name, ``sex`` one of M, F, U and O, ``age`` as an
        ISO 8601 duration such as ``P90D``.
    indicator, location
        NWB: the fluorescent indicator, and the brain area that was imaged.
    experimenter, institution
        NWB: who recorded, and where.
    behaviour
        NWB: tables of the times of behaviour cameras, as ``behaviour`` of a session file.
    """

    frames: str | None = None
    binning: int = 1
    drop_damaged: bool = False
    min_confidence: float | None = None
    fill: Fill | None = None
    max_fill: int = MOST_FILLED
    codec: Codec = "rawvideo"
    per_file: int | None = None
    ucla_format: Literal[1, 2] = 2
    speed: float = 1.0
    receivers: bool = False
    external: bool = False
    session_start: datetime | None = None
    session_description: str | None = None
    subject_id: str | None = None
    species: str | None = None
    sex: str | None = None
    age: str | None = None
    indicator: str = "unknown"
    location: str = "unknown"
    experimenter: str | None = None
    institution: str | None = None
    behaviour: tuple[Behaviour, ...] = ()

    def __post_init__(self) -> None:
        start = self.session_start
        if start is not None and start.tzinfo is None:
            msg = f"session start {start.isoformat()}: say how far from UTC, as in +01:00 or Z"
            raise UsageError(msg)
        require_probability("min_confidence", self.min_confidence)
        if self.per_file is not None and self.per_file < 1:
            raise UsageError(f"per_file {self.per_file}: must be a number of frames, at least 1")
        if not (MOST_SPEED >= self.speed >= 1 / MOST_SPEED):
            msg = f"speed {self.speed}: must be from {1 / MOST_SPEED:g} to {MOST_SPEED:g}"
            raise UsageError(msg)
        if self.fill is not None:
            require_fill(self.fill, self.max_fill)
        if self.ucla_format not in (1, 2):
            raise UsageError(f"ucla_format {self.ucla_format}: must be 1 or 2")


SELECTING = {"frames", "binning", "drop_damaged", "min_confidence", "fill", "max_fill"}
KNOWN: dict[str, set[str]] = {
    "tiff": {"per_file"},
    "hdf5": set(),
    "zarr2": set(),
    "ucla": {"codec", "session_start", "ucla_format"},
    "avi-segments": {"codec"},
    "mp4": {"speed", "receivers"},
}
"""Options that an export knows besides; ``nwb`` knows those of the animal."""


def known_options(kind: str, *, external: bool) -> set[str]:
    """The options that have an effect on a kind of export."""
    if kind in KNOWN:
        return KNOWN[kind] | SELECTING
    of_nwb = {field.name for field in fields(ExportOptions)}.difference(*KNOWN.values())
    return of_nwb | {"session_start"} | ({"codec"} if external else set())


def describe_session(facts: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Options of a kind of export by what a session file says of the session."""
    recording = dict(facts.get("recording", {}))
    if "start" in recording:
        recording["session_start"] = datetime.fromisoformat(recording.pop("start"))
    if "description" in recording:
        recording["session_description"] = recording.pop("description")
    found = {**facts.get("subject", {}), **recording}
    known = known_options(kind, external=True)
    return {name: value for name, value in found.items() if name in known}


class Plan(NamedTuple):
    """What an export will make, decided before anything is written."""

    folder: Path
    stem: str
    # How their names end; what stands under one of these names is replaced or removed.
    suffixes: tuple[str, ...]
    needed: int  # Space in bytes, as far as it is known beforehand
    write: Callable[[PathOf, Advance], None]  # Makes the products
    notices: Sequence[Notice] = ()  # What a user should know before


@dataclass(frozen=True)
class Source:
    """A recording to be exported."""

    dataset: xr.Dataset  # What is known of its frames
    kept: KeptFrames  # Its pictures, and the files that it is from
    block: int  # Frames per task
    cropped: tuple[int, int] = (0, 0)  # Rows and columns that fill no square of pixels

    @classmethod
    def open(
        cls,
        recording: str | os.PathLike[str] | xr.Dataset,
        reading: ReadOptions,
        selection: Selection = ALL,
    ) -> "Source":
        """Open a recording, or take one; of a video next to a store, the store knows more."""
        given = isinstance(recording, xr.Dataset)
        opened = (
            recording if isinstance(recording, xr.Dataset) else open_dataset(recording, reading)
        )
        if isinstance(recording, xr.Dataset):
            require_opened_so(recording, reading)
        before = opened.sizes[FRAME]
        if selection.frames is not None:
            opened = select_frames(opened, selection.frames)
        dataset = without_lost(opened)
        kept = KeptFrames.of(dataset, reading)
        store = kept.origins[0].store
        if not given and store is not None and len(kept.origins) == 1:
            stored = open_dataset(store.path, replace(reading, salvage=False))
            stored = stored.isel({FRAME: as_slice(opened.origin_frame.to_numpy())})
            if LOST.name in opened.coords:
                lost = (FRAME, opened[LOST.name].to_numpy())
                stored = stored.assign_coords({LOST.name: lost})
            dataset = without_lost(stored)
        source = cls(dataset, kept, kept.block)
        return source._select(selection, before)._timed()

    def _select(self, selection: Selection, before: int) -> "Source":
        """Leave damaged frames out and average pixels, as a step of the history."""
        _, *sides = self.kept.shape
        require_bin(selection.binning, *sides)
        source = self
        if selection.drop_damaged:
            source = source._take(intact_frames(source.damaged, source.path))
        if (least := selection.min_confidence) is not None:
            source = source._take(confident_frames(source.dataset, least, source.path))
        if selection.binning > 1:
            video = bin_video(source.kept.video, selection.binning)
            height, width = (side % selection.binning for side in sides)
            kept = replace(source.kept, video=video)
            source = replace(source, kept=kept, cropped=(height, width))
        if selection.parameters:
            done = done_step("export", selection.parameters, before, source.count)
            history = [*source.dataset.attrs.get("history", []), done]
            source = replace(source, dataset=source.dataset.assign_attrs(history=history))
        return source

    def _take(self, frames: I64) -> "Source":
        """The same with some of the frames only."""
        chosen = as_slice(frames)
        kept = replace(
            self.kept,
            origin=self.kept.origin[chosen],
            origin_frame=self.kept.origin_frame[chosen],
            video=self.kept.video.isel({FRAME: chosen}),
        )
        return replace(self, dataset=self.dataset.isel({FRAME: chosen}), kept=kept)

    def _timed(self) -> "Source":
        """The same with all that is known per frame in memory, times from the first frame on."""
        elapsed = time_of_dataset(self.dataset)
        known = self.dataset.drop_vars([*self.dataset.data_vars]).compute()
        if elapsed is not None:
            known = join_dataset_times(known, [elapsed])
        return replace(self, dataset=known)

    def fill(self, how: Fill, most: int) -> "Source":
        """Have one frame per tick of the device's counter; see :func:`miostitch.regularize`."""
        kept, names = self.kept, [variable.name for variable in ORIGIN_VARIABLES]
        places = zip(names, (kept.origin, kept.origin_frame), strict=True)
        known = self.dataset.assign_coords({name: (FRAME, place) for name, place in places})
        made = regularize_frames(known.assign({VIDEO.name: kept.video}), how, most, kept.pixels)
        origin, frame = (made[name].to_numpy() for name in names)
        kept = replace(kept, origin=origin, origin_frame=frame, video=made[VIDEO.name])
        return replace(self, dataset=made.drop_vars(VIDEO.name), kept=kept)

    @property
    def filled(self) -> Bools | None:
        """Which frames are made of those around them, (frame,); None of no regular time base."""
        if FILLED.name not in self.dataset.coords:
            return None
        return np.asarray(self.dataset[FILLED.name].to_numpy())

    @property
    def epochs(self) -> list[tuple[int, int]] | None:
        """First and last frame of each part that has every tick; None of no regular time base."""
        return None if self.filled is None else rising_runs(self.dataset["frame_num"].to_numpy())

    @property
    def irregular(self) -> tuple[Notice, ...]:
        """Where the recording does not fit in the regular time base that was made of it."""
        facts = self.dataset.attrs.get(REGULAR)
        return () if facts is None else list_notices(facts, self.dataset["time"].to_numpy())

    @property
    def path(self) -> str:
        """The first file, for messages."""
        return self.kept.origins[0].path

    @property
    def stem(self) -> str:
        """How products are called unless the user says otherwise."""
        return Path(self.path).stem

    @property
    def count(self) -> int:
        """Frames."""
        return self.kept.shape[0]

    @cached_property
    def damaged(self) -> Bools | None:
        """Which frames are damaged, (frame,); None where no table says it."""
        damaged = find_damaged(self.dataset, self.kept)
        return damaged if damaged is None or self.filled is None else damaged | self.filled

    @property
    def variables(self) -> list[Variable]:
        """What is known per frame."""
        known = (*FRAME_VARIABLES, FILLED)
        return [each for each in known if each.name in self.dataset.coords]

    def video_file(self, path: Path, codec: Codec) -> VideoFile:
        """Describe a video file of frames like these."""
        _, height, width = self.kept.shape
        return VideoFile(str(path), width, height, self.kept.fps, codec)

    @cached_property
    def measured_fps(self) -> float | None:
        """Frames per s by counter and clock; None where they do not tell."""
        elapsed = time_of_dataset(self.dataset)
        if elapsed is None or "frame_num" not in self.dataset.coords:
            return None
        received = np.where(elapsed.estimated, np.nan, elapsed.seconds)
        return measured_rate(self.dataset["frame_num"].to_numpy(), received)

    @property
    def rate(self) -> float:
        """Frames per s to be stated: as measured where the file says another rate."""
        return stated_rate(float(self.kept.fps), self.measured_fps)

    @property
    def rate_text(self) -> str:
        """Say that the frame rate that is stated is not that of the file; nothing where it is."""
        said = float(self.kept.fps)
        if self.rate == said:
            return ""
        return f"measured rate {self.rate:.6g} frames/s, the video file says {said:.6g}"

    @cached_property
    def timestamps(self) -> NDArray[np.float64]:
        """When the first and last buffer of each frame came, in s, (timestamp, frame), or NaN.

        Of a store its own; of a video those of the ``_timestamps.csv`` beside it, or its table's.
        """
        times = np.full((len(TIMES), self.count), np.nan)
        for row, name in zip(times, TIMES, strict=True):
            if name in self.dataset.coords:
                row[:] = self.dataset[name].to_numpy()
        for number, origin in enumerate(self.kept.origins):
            lines = origin.lines.get(TIMESTAMPS)
            if lines is None or origin.path.endswith(STORE):
                continue
            mine = np.flatnonzero(self.kept.origin == number)
            frames, place = np.unique(self.kept.origin_frame[mine], return_inverse=True)
            found = lines.of(frames).iloc[place]
            for row, name in zip(times, TIMES, strict=True):
                row[mine] = pd.to_numeric(found[name], errors="coerce")
        clock = self._clock
        if clock is not None and self.filled is not None:
            times[:, self.filled] = clock[self.filled]
        return times

    @cached_property
    def _clock(self) -> NDArray[np.float64] | None:
        """Unix time of each frame of a regular time base; None of another, or if not known."""
        elapsed = time_of_dataset(self.dataset)
        if self.filled is None or elapsed is None or not np.isfinite(elapsed.start):
            return None
        return np.asarray(elapsed.seconds + elapsed.start)

    @cached_property
    def unix(self) -> NDArray[np.float64]:
        """When each frame was made, Unix time in s, or NaN: received, or by the regular clock."""
        return np.asarray(self.timestamps[0] if self._clock is None else self._clock)

    @property
    def timed(self) -> bool:
        """Whether any frame has a time."""
        return bool(np.isfinite(self.unix).any())

    @property
    def start(self) -> datetime | None:
        """Time of the first frame, in UTC."""
        return datetime.fromtimestamp(self.unix[0], UTC) if self.timed else None

    @property
    def duration(self) -> float:
        """Time between the first frame and the last, in s."""
        known = self.unix[np.isfinite(self.unix)]
        return float(known[-1] - known[0] if self.timed else (self.count - 1) / self.kept.fps)

    def seconds(self) -> NDArray[np.float64]:
        """Time of each frame, in s after the first one, float64 (frame,), or by the frame rate."""
        if not self.timed:
            return np.asarray(np.arange(self.count) / float(self.kept.fps))
        unknown = np.flatnonzero(~np.isfinite(self.unix))
        if len(unknown):
            msg = f"{self.path}: frame {unknown[0]}: it has no time, as {len(unknown)} of"
            msg = f"{msg} {amount(self.count, 'frame')}, and this format needs one for each"
            there = format_frames(self.kept.origin_frame[unknown])  # as remove-frames counts
            raise InputError(f"{msg}; leave them out: remove-frames -f {there}")
        return np.asarray(self.unix - self.unix[0])

    @property
    def warnings(self) -> list[str]:
        """What a user should be told."""
        told = list_warnings(notice for origin in self.kept.origins for notice in origin.notices)
        if not self.timed:
            told.append(
                f"{self.path}: no times are known; where the format needs some they are counted "
                f"by the frame rate, {float(self.kept.fps):.6g} frames per second"
            )
        else:
            back = np.flatnonzero(np.diff(self.unix) < 0)
            if len(back):
                before, here = self.unix[back[0] : back[0] + 2]
                told.append(
                    f"{self.path}: frame {back[0] + 1}: timestamp_first goes backwards there, from "
                    f"{before:.3f} to {here:.3f} s, in all {amount(len(back), 'time')}; times are "
                    "exported as they are"
                )
        return [printable(each) for each in told]

    def write_video(self, products: Products, advance: Advance, block: int | None = None) -> None:
        """Hand all pictures to files or a store."""
        size, video = block or self.block, self.kept.video.to_dataset(name=VIDEO.name)
        run_blocks(
            lambda span: LazyBlock.of(self.kept.part(video, span, size)),
            self.count,
            size,
            no_tables,
            products,
            progress=advance,
        )


def named(output: Path, suffix: str, stem: str) -> tuple[Path, str]:
    """Folder and stem of a product that is named by the user, or goes into a folder."""
    if output.suffix == suffix:
        return output.parent, output.stem
    return output, stem
