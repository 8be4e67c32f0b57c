"""Recordings of one session, checked and brought together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from miostitch.arrays import I16, I32, I64, U64, Bools
from miostitch.buffers.frame_table import Reception, complete, count_bits
from miostitch.buffers.table import buffer_layout
from miostitch.errors import InputError
from miostitch.kernels.composition import EXCLUDED
from miostitch.recording.recording import Recording, require_numbered
from miostitch.schema import NO_FRAME
from miostitch.session.agreement import follow_agreement
from miostitch.session.alignment import Alignment, FrameIdentity, align


@dataclass(frozen=True)
class AlignOptions:
    """How to align recordings.

    Parameters
    ----------
    method
        ``auto``: by ``frame_num``, apart for each run of the device between restarts;
        ``frame-num``: by that alone; ``time``: each other's nearest in time.
    max_gap
        By ``time``: how far the times of one frame may lie apart, in s; half a frame by default.
    one_clock
        Whether all times of the result are on the first recording's clock.
    """

    method: Literal["auto", "frame-num", "time"] = "auto"
    max_gap: float | None = None
    one_clock: bool = True


@dataclass(frozen=True)
class Session:
    """Recordings of one session, brought together."""

    recordings: tuple[Recording, ...]  # In the order given; ``source`` counts in it
    alignment: Alignment  # Every frame that any of them saw, and the candidates for it
    bounds: I64  # Ranges of the buffers in a flattened frame, (buffer + 1,)
    # Positions in the alignment of the frames that go into the result, ascending, (frame,).
    kept: I32
    one_clock: bool = True  # Whether all times of the result are on the first recording's clock

    @property
    def shape(self) -> tuple[int, int, int]:
        """Output frames, height and width."""
        return len(self.kept), *self.recordings[0].shape[1:]

    @property
    def fps(self) -> Fraction:
        """Frame rate of the first recording, exact."""
        return self.recordings[0].videos[0].fps

    @property
    def buffers(self) -> int:
        """Buffers that the device sends of a frame."""
        return len(self.bounds) - 1

    def only(self, frames: Bools) -> "Session":
        """The same session, of whose output frames some are kept."""
        return replace(self, kept=self.kept[frames])

    def frame_num(self, span: slice) -> I64:
        """Device counter of some output frames, (frame,)."""
        return self.alignment.frame_num[self.kept[span]]

    def source_frame(self, span: slice) -> I64:
        """Candidates for some output frames, (recording, frame); -1 where absent."""
        return self.alignment.source_frame[:, self.kept[span]].astype(np.int64)

    def table(self, name: str, span: slice) -> NDArray[Any]:
        """A column of the recordings' frame tables, (recording, frame); 0 where absent."""
        rows = [
            np.where(frames == NO_FRAME, 0, recording.frames.column(name, frames))
            for recording, frames in zip(self.recordings, self.source_frame(span), strict=True)
        ]
        return np.stack(rows)

    def given(self, number: int, source_frame: I64) -> I32:
        """Pixels that a recording's rows say were delivered, see :meth:`FrameTable.given_pixels`.

        A lossy video's are no witness, for what was lost does not stay black: without a row they
        are excluded.
        """
        recording = self.recordings[number]
        given = recording.frames.given_pixels(source_frame, self.bounds)
        if recording.lossy:
            given[given == 0] = EXCLUDED
        return given

    def delivered(self, span: slice) -> U64:
        """Buffers that each recording delivered whole, (recording, frame), a bit each."""
        return self.table("delivered", span)

    def with_fragments(self, name: str, span: slice) -> U64:
        """A mask of the frame tables, of candidates and their fragments, (recording, frame)."""
        masks = self.table(name, span)
        for number, recording in enumerate(self.recordings):
            places, pieces = self.pieces(number, self.source_frame(span)[number])
            np.bitwise_or.at(masks[number], places, recording.frames.column(name, pieces))
        return masks

    def delivered_anywhere(self, span: slice) -> U64:
        """Buffers that any candidate, or a piece split off from it, holds whole, (frame,)."""
        return np.asarray(np.bitwise_or.reduce(self.with_fragments("delivered", span), axis=0))

    def received_buffers(self, span: slice) -> I16:
        """Buffers that each recording received of the frames, (recording, frame); -1 for none."""
        count = count_bits(self.with_fragments("buffers", span), self.buffers).astype(np.int16)
        count[self.source_frame(span) == NO_FRAME] = NO_FRAME
        return count

    def complete(self, span: slice) -> Bools:
        """Whether each recording received every buffer completely, (recording, frame)."""
        return complete(self.with_fragments("delivered", span), self.buffers)

    def reception(self) -> list[Reception]:
        """Count what each recording received of the output frames that it has."""
        received, whole = self.received_buffers(slice(None)), self.complete(slice(None))
        return [
            Reception.of(have[have >= 0], all_[have >= 0], self.buffers)
            for have, all_ in zip(received, whole, strict=True)
        ]

    def missing_pixels(self, span: slice) -> I32:
        """Pixels that the rows do not say were delivered, (recording, frame)."""
        given = [
            self.given(number, frames).clip(0).sum(axis=1)
            for number, frames in enumerate(self.source_frame(span))
        ]
        return np.asarray(self.bounds[-1] - np.stack(given), np.int32)

    def pieces(self, number: int, source_frame: I64) -> tuple[I64, I64]:
        """Find the pieces that were split off from some frames of a recording, or -1.

        Returns: Places in `source_frame`, and frames with another piece of the frame there.
        """
        whole, piece = self._pieces[number]
        first, stop = (np.searchsorted(whole, source_frame, side) for side in ("left", "right"))
        places = np.repeat(np.arange(len(source_frame)), stop - first)
        ranges = [piece[start:end] for start, end in zip(first, stop, strict=True) if start < end]
        return places, np.concatenate([*ranges, np.zeros(0, np.int64)])

    @cached_property
    def _pieces(self) -> list[tuple[I64, I64]]:
        """Per recording, the frames that lost a piece, ascending, and that piece."""
        pairs = [recording.repeats[:, ::-1].tolist() for recording in self.recordings]
        for duplicate in self.alignment.duplicates:
            pairs[duplicate.recording] += [[duplicate.kept, piece] for piece in duplicate.dropped]
        sorted_ = [np.array(sorted(own), np.int64).reshape(-1, 2) for own in pairs]
        return [(own[:, 0], own[:, 1]) for own in sorted_]


def bring_together(recordings: Sequence[Recording], options: AlignOptions | None = None) -> Session:
    """Align recordings and find their buffer layout."""
    require_numbered(len(recordings))
    first = recordings[0]
    for other in recordings[1:]:
        if other.shape[1:] != first.shape[1:]:
            sizes = " and ".join(
                f"{r.path} has frames of {r.shape[2]}x{r.shape[1]}" for r in (first, other)
            )
            msg = f"{sizes} pixels; only recordings of one session can be stitched"
            raise InputError(msg)
    tables = [table for recording in recordings for table in recording.tables]
    bounds = buffer_layout(tables, first.shape[1] * first.shape[2])
    buffers = len(bounds) - 1
    identities = [
        FrameIdentity(
            recording.path,
            recording.frames.frame_num,
            recording.frames.num_buffers,
            recording.frames.start_times(buffers),
            recording.locate,
        )
        for recording in recordings
    ]
    options = options or AlignOptions()
    alignment = align(
        identities,
        method=options.method,
        max_gap=options.max_gap,
        count_alike=partial(_count_alike, recordings, bounds),
    )
    everything = np.arange(len(alignment), dtype=np.int32)
    session = Session(tuple(recordings), alignment, bounds, everything, options.one_clock)
    return follow_agreement(session)


def _count_alike(
    recordings: Sequence[Recording], bounds: I64, one: int, frames: I64, other: int, others: I64
) -> int:
    """Count the identical buffers of frames of two recordings; empty ones are no witnesses."""
    shape = (len(frames), -1)
    here = recordings[one].read(frames.astype(np.int64)).reshape(shape)
    there = recordings[other].read(others.astype(np.int64)).reshape(shape)
    same = np.logical_and.reduceat(here == there, bounds[:-1], axis=1)
    low, high = (ends.reduceat(here, bounds[:-1], axis=1) for ends in (np.minimum, np.maximum))
    return int((same & (low < high)).sum())
