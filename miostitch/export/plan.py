"""What all exports have in common: a recording, the times of its frames, and a plan."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from miostitch.editing.kept_frames import KeptFrames
from miostitch.errors import InputError, UsageError, list_warnings
from miostitch.execution.engine import Products, no_tables, run_blocks
from miostitch.execution.lazy_blocks import LazyBlock
from miostitch.execution.products import STORE, TIMESTAMPS
from miostitch.ranges import format_frames
from miostitch.recording.datasets import open_dataset, without_lost
from miostitch.recording.files import ReadOptions
from miostitch.recording.frame_times import join_dataset_times, time_of_dataset
from miostitch.recording.inputs import require_opened_so
from miostitch.schema import FRAME, FRAME_VARIABLES, LOST, VIDEO, Variable
from miostitch.session.clocks import measured_rate
from miostitch.text import amount, printable
from miostitch.video.writer import Codec, VideoFile

TIMES = ("timestamp_first", "timestamp_last")
RATE_TOLERANCE = 0.01  # How far the rates of file and clock may be apart before it is said

Advance = Callable[[int], None] | None  # Called with the number of frames of every written block
PathOf = Callable[[str], Path]  # Where the product of an ending is made


@dataclass(frozen=True)
class ExportOptions:
    """What an export cannot know by itself.

    Parameters
    ----------
    codec
        Of video files: ``rawvideo`` or ``ffv1``, both lossless.
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
    """

    codec: Codec = "rawvideo"
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

    def __post_init__(self) -> None:
        start = self.session_start
        if start is not None and start.tzinfo is None:
            msg = f"session start {start.isoformat()}: say how far from UTC, as in +01:00 or Z"
            raise UsageError(msg)


def known_options(kind: str, *, external: bool) -> set[str]:
    """The options that have an effect on a kind of export."""
    known = {"ucla": {"codec", "session_start"}, "avi-segments": {"codec"}, "zarr2": set[str]()}
    of_nwb = {field.name for field in fields(ExportOptions)} - (set() if external else {"codec"})
    return known.get(kind, of_nwb)


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


@dataclass(frozen=True)
class Source:
    """A recording to be exported."""

    dataset: xr.Dataset  # What is known of its frames
    kept: KeptFrames  # Its pictures, and the files that it is from

    @classmethod
    def open(cls, recording: str | os.PathLike[str] | xr.Dataset, reading: ReadOptions) -> "Source":
        """Open a recording, or take one; of a video next to a store, the store knows more."""
        opened = (
            recording if isinstance(recording, xr.Dataset) else open_dataset(recording, reading)
        )
        if isinstance(recording, xr.Dataset):
            require_opened_so(recording, reading)
        dataset = without_lost(opened)
        kept = KeptFrames.of(dataset, reading)
        store = kept.origins[0].store
        if opened is not recording and store is not None and len(kept.origins) == 1:
            stored = open_dataset(store.path, replace(reading, salvage=False))
            stored = stored.isel({FRAME: opened.origin_frame.to_numpy()})
            if LOST.name in opened.coords:
                lost = (FRAME, opened[LOST.name].to_numpy())
                stored = stored.assign_coords({LOST.name: lost})
            dataset = without_lost(stored)
        elapsed = time_of_dataset(dataset)
        known = dataset.drop_vars([*dataset.data_vars]).compute()
        return cls(known if elapsed is None else join_dataset_times(known, [elapsed]), kept)

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

    @property
    def variables(self) -> list[Variable]:
        """What is known per frame."""
        return [each for each in FRAME_VARIABLES if each.name in self.dataset.coords]

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
        said, measured = float(self.kept.fps), self.measured_fps
        if measured is None or abs(said / measured - 1) <= RATE_TOLERANCE:
            return said
        return measured

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
        return times

    @property
    def timed(self) -> bool:
        """Whether any frame has a time."""
        return bool(np.isfinite(self.timestamps[0]).any())

    @property
    def start(self) -> datetime | None:
        """Time of the first frame, in UTC."""
        return datetime.fromtimestamp(self.timestamps[0, 0], UTC) if self.timed else None

    @property
    def duration(self) -> float:
        """Time between the first frame and the last, in s."""
        known = self.timestamps[0][np.isfinite(self.timestamps[0])]
        return float(known[-1] - known[0] if self.timed else (self.count - 1) / self.kept.fps)

    def seconds(self) -> NDArray[np.float64]:
        """Time of each frame, in s after the first one, float64 (frame,), or by the frame rate."""
        if not self.timed:
            return np.asarray(np.arange(self.count) / float(self.kept.fps))
        unknown = np.flatnonzero(~np.isfinite(self.timestamps[0]))
        if len(unknown):
            msg = f"{self.path}: frame {unknown[0]}: it has no time, as {len(unknown)} of"
            msg = f"{msg} {amount(self.count, 'frame')}, and this format needs one for each"
            there = format_frames(self.kept.origin_frame[unknown])  # as remove-frames counts
            raise InputError(f"{msg}; leave them out: remove-frames -f {there}")
        return np.asarray(self.timestamps[0] - self.timestamps[0, 0])

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
            back = np.flatnonzero(np.diff(self.timestamps[0]) < 0)
            if len(back):
                told.append(
                    f"{self.path}: frame {back[0] + 1}: time goes backwards there, in all "
                    f"{amount(len(back), 'time')}; times are exported as they are"
                )
        return [printable(each) for each in told]

    def write_video(self, products: Products, advance: Advance, block: int | None = None) -> None:
        """Hand all pictures to files or a store."""
        size, video = block or self.kept.block, self.kept.video.to_dataset(name=VIDEO.name)
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
