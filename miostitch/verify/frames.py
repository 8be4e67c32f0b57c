"""Compares every frame of a result with its inputs, and with the videos next to the store."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.buffers.table import buffer_layout
from miostitch.errors import InputError
from miostitch.execution.engine import Block, Tables
from miostitch.recording.recording import Recording
from miostitch.schema import NO_FRAME, VIDEO, Evidence
from miostitch.stitching.block import PANELS
from miostitch.text import amount
from miostitch.verify.findings import Findings, Kind
from miostitch.verify.store import Store
from miostitch.video.source import VideoSource
from miostitch.video.writer import frame_checksums

U8 = NDArray[np.uint8]
Ints = NDArray[np.int64]
COPIED = (Evidence.SINGLE, Evidence.IDENTICAL, Evidence.MAJORITY)
"""Evidence of buffers that are a copy of a recording's."""


@dataclass
class Video:
    """A video next to a store, and the checksums of those of its frames that were read."""

    source: VideoSource
    name: str  # The file
    findings: Findings
    checksums: NDArray[np.uint32] = field(init=False)
    read: NDArray[np.bool_] = field(init=False)  # Which frames were read, (frame,)

    def __post_init__(self) -> None:
        self.checksums = np.zeros(self.source.frame_count, "<u4")
        self.read = np.zeros(self.source.frame_count, np.bool_)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, height and width."""
        return self.source.frame_count, self.source.height, self.source.width

    def frames(self, at: Ints) -> U8 | None:
        """Some frames; None if they cannot be read, which is noted."""
        try:
            found: U8 = self.source.read(at)
        except InputError as error:
            self.findings.add(Kind.UNREADABLE, self.name, str(error), frame=int(at[0]))
            return None
        self.checksums[at] = frame_checksums(found)
        self.read[at] = True
        return found

    def compare(self, expected: U8, at: Ints, witness: str) -> None:
        """Compare frames at some positions of the video with what they should be."""
        there = at < self.shape[0]
        if self.shape[1:] != expected.shape[1:] or not there.any():
            return  # which is noted already
        found = self.frames(at[there])
        if found is not None:
            kept = expected if there.all() else expected[there]
            self.findings.pixels(self.name, found, kept, at[there], witness)


@dataclass
class FrameCheck:
    """Compares the frames of a stitch, block by block, on any thread."""

    store: Store
    videos: Mapping[str, Video]  # By the ending of their names
    # Makes a block again; None unless all inputs are there.
    make: Callable[[slice], Block] | None
    copies: "Copies | None" = None  # Those of some of the inputs, where not all are there
    unrecoverable: NDArray[np.bool_] | None = None  # (frame,); None: its video is not of these

    def check(self, number: int) -> Tables | None:
        """Compare a block; return the tables that were made again with its frames."""
        start = number * self.store.block
        span = slice(start, min(start + self.store.block, self.store.shape[0]))
        at = np.arange(span.start, span.stop)
        computed = self.make(span) if self.make else None
        made = self.store.video_block(number)
        findings, chunk = self.store.findings, self.store.chunk_key(number)
        frames = made
        if computed is not None:
            frames = computed.videos[VIDEO.name]
            if made is not None:
                witness = "made again of the recordings it is"
                findings.pixels(self.store.name, made, frames, at, witness, chunk=chunk)
                frames = made
        elif made is not None and self.copies is not None:
            self.copies.compare(made, span, chunk)
        if frames is not None and ".avi" in self.videos:
            self.videos[".avi"].compare(frames, at, "the store has")
        if frames is not None and self.unrecoverable is not None:
            self._compare_unrecoverable(frames, span)
        if computed is None:
            return None
        if "_debug.avi" in self.videos:
            self.videos["_debug.avi"].compare(computed.videos[PANELS], at, "the recordings have")
        return computed.tables

    def _compare_unrecoverable(self, frames: U8, span: slice) -> None:
        flags = self.unrecoverable
        video = self.videos.get("_unrecoverable.avi")
        if video is not None and flags is not None and flags[span].any():
            before = int(flags[: span.start].sum())
            at = before + np.arange(int(flags[span].sum()))
            video.compare(frames[flags[span]], at, "the store has")


@dataclass(frozen=True)
class Copies:
    """Frames of some of the inputs, to which those that were taken from them must be equal."""

    store: Store
    recordings: Mapping[int, Recording]
    composed: bool
    tables: Mapping[str, NDArray[Any]]  # Of the store: which frame and buffer is from where
    bounds: Ints  # Limits of the buffers in a flattened frame

    @classmethod
    def of(
        cls, store: Store, recordings: Mapping[int, Recording], *, composed: bool
    ) -> "Copies | None":
        """What the store says of its frames; None if it does not."""
        names = ["scores/source_frame", "source"]
        names += ["composition/buffer_source", "composition/buffer_evidence"] if composed else []
        found = {name: store.values(name) for name in names}
        tables = {name: values for name, values in found.items() if values is not None}
        parts = [table for recording in recordings.values() for table in recording.tables]
        if len(tables) < len(names) or not parts:
            return None
        try:
            bounds = buffer_layout(parts, store.shape[1] * store.shape[2])
        except InputError as error:
            store.findings.add(Kind.INPUT, store.name, str(error))
            return None
        return cls(store, recordings, composed, tables, bounds)

    def compare(self, made: U8, span: slice, chunk: str) -> None:
        """Compare the frames, or the buffers, that were copied."""
        for number, recording in self.recordings.items():
            frames = self.tables["scores/source_frame"][number, span].astype(np.int64)
            frames[frames >= recording.shape[0]] = NO_FRAME
            try:
                theirs = recording.reader(frames).read()
            except InputError as error:
                self.store.findings.add(Kind.INPUT, recording.path, str(error), frame=span.start)
                continue
            if self.composed:
                theirs = self._buffers(number, recording, frames, theirs, made, span)
            else:
                taken = (self.tables["source"][span] == number) & (frames != NO_FRAME)
                theirs = np.where(taken[:, np.newaxis, np.newaxis], theirs, made)
            at, name = np.arange(span.start, span.stop), self.store.recordings[number]
            found = self.store.findings
            found.pixels(self.store.name, made, theirs, at, f"{name} has", chunk=chunk)

    def _buffers(
        self, number: int, recording: Recording, frames: Ints, theirs: U8, made: U8, span: slice
    ) -> U8:
        """The frames with those buffers of the recording that were delivered whole and copied."""
        whole = recording.frames.given_pixels(frames, self.bounds) == np.diff(self.bounds)
        source = self.tables["composition/buffer_source"][span] == number
        evidence = np.isin(self.tables["composition/buffer_evidence"][span], COPIED)
        pixels = np.repeat(whole & source & evidence, np.diff(self.bounds), axis=1)
        return np.where(pixels.reshape(made.shape), theirs, made)


def check_form(store: Store, video: Video, panels: int, frames: int | None) -> None:
    """Compare size, rate and number of frames of a video with those of the store."""
    _, height, width = store.shape
    found = video.source
    if (found.height, found.width) != (height, width * panels):
        what = f"frames of {found.width}x{found.height} pixels, not {width * panels}x{height}"
        store.findings.add(Kind.FORMAT, video.name, what)
    if str(found.fps) != store.attrs.get("fps"):
        what = f"{found.fps} frames per second, the store says {store.attrs.get('fps')}"
        store.findings.add(Kind.ATTRIBUTES, video.name, what, column="fps")
    if frames is not None and found.frame_count != frames:
        what = f"{amount(found.frame_count, 'frame')}, there should be {frames}"
        store.findings.add(Kind.COUNT, video.name, what)
