"""Compares frames with the videos next to a store, and with the recordings they are from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.arrays import I64, U8, Bools
from miostitch.buffers.table import buffer_layout
from miostitch.errors import InputError
from miostitch.recording.recording import Recording
from miostitch.schema import NO_FRAME, Evidence
from miostitch.text import amount
from miostitch.verify.findings import Findings, Kind
from miostitch.verify.store import Store
from miostitch.video.source import VideoSource
from miostitch.video.writer import frame_checksums

COPIED = (Evidence.SINGLE, Evidence.IDENTICAL, Evidence.MAJORITY)
"""Evidence of buffers that are a copy of a recording's."""


class Video:
    """A video next to a store, and the checksums of those of its frames that were read."""

    def __init__(self, source: VideoSource, name: str, findings: Findings) -> None:
        self.source, self.name, self.findings = source, name, findings
        self.shape = source.frame_count, source.height, source.width
        self.checksums = np.zeros(source.frame_count, "<u4")
        self.read = np.zeros(source.frame_count, np.bool_)  # Which frames were read, (frame,)

    def frames(self, at: I64) -> U8 | None:
        """Some frames; None if they cannot be read, which is noted."""
        try:
            found: U8 = self.source.read(at)
        except InputError as error:
            self.findings.add(Kind.UNREADABLE, self.name, str(error), frame=int(at[0]))
            return None
        self.checksums[at] = frame_checksums(found)
        self.read[at] = True
        return found

    def compare(self, expected: U8, at: I64, witness: str) -> None:
        """Compare frames at some positions of the video with what they should be."""
        there = at < self.shape[0]
        if self.shape[1:] != expected.shape[1:] or not there.any():
            return  # which is noted already
        found = self.frames(at[there])
        if found is not None:
            kept = expected if there.all() else expected[there]
            self.findings.pixels(self.name, found, kept, at[there], witness)


@dataclass(frozen=True)
class Copies:
    """Frames of some of the inputs, to which those that were taken from them must be equal."""

    store: Store
    recordings: Mapping[int, Recording]
    composed: bool
    tables: Mapping[str, NDArray[Any]]  # Of the store: which frame and buffer is from where
    bounds: I64  # Limits of the buffers in a flattened frame

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
        store, at = self.store, np.arange(span.start, span.stop)
        for number, recording in self.recordings.items():
            frames = self.tables["scores/source_frame"][number, span].astype(np.int64)
            frames[frames >= recording.shape[0]] = NO_FRAME
            try:
                theirs = recording.reader(frames).read()
            except InputError as error:
                store.findings.add(Kind.INPUT, recording.path, str(error), frame=span.start)
                continue
            if self.composed:
                taken = self._taken_pixels(number, span, recording, frames).reshape(made.shape)
            else:
                of_these = (self.tables["source"][span] == number) & (frames != NO_FRAME)
                taken = of_these[:, np.newaxis, np.newaxis]
            expected, witness = np.where(taken, theirs, made), f"{store.recordings[number]} has"
            store.findings.pixels(store.name, made, expected, at, witness, chunk=chunk)

    def _taken_pixels(self, number: int, span: slice, recording: Recording, frames: I64) -> Bools:
        """Pixels of those buffers that were delivered whole and copied, (frame, pixel)."""
        sizes = np.diff(self.bounds)
        whole = recording.frames.given_pixels(frames, self.bounds) == sizes
        source = self.tables["composition/buffer_source"][span] == number
        evidence = np.isin(self.tables["composition/buffer_evidence"][span], COPIED)
        return np.repeat(whole & source & evidence, sizes, axis=1)


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
