"""What a run would meet, without running it."""

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from miostitch.buffers.device_counter import count_numbers
from miostitch.buffers.frame_table import MASK_BITS
from miostitch.errors import InputError, MetadataError
from miostitch.execution.results import (
    FailedSession,
    InspectedRecording,
    InspectedSession,
    InspectedTable,
    InspectSummary,
    LagEvidence,
    SessionMember,
)
from miostitch.ranges import distinct
from miostitch.recording.files import ReadOptions, table_path
from miostitch.recording.lag import Lag
from miostitch.recording.recording import Recording, open_recordings
from miostitch.schema import NO_FRAME
from miostitch.session.session import bring_together


def inspect_recording(
    spec: str | os.PathLike[str], options: ReadOptions | None = None
) -> dict[str, Any]:
    """Describe a recording from its index, its table and at most 256 frames.

    Parameters
    ----------
    spec
        A video with or without a table, or segments separated by commas.
    options
        How to read; a missing table is no fault here.

    Returns
    -------
    dict
        JSON values: size, rate and codec of the video, the frames by which it is behind its table
        (None: unknown) and the evidence, what the table says was received and lost, and notices.

    Raises
    ------
    InputError
        The files cannot be read.
    """
    options = options or ReadOptions(need_table=False)
    return _describe(Recording.open(spec, options, measure=True)).to_json()


def inspect_recordings(
    specs: Sequence[str | os.PathLike[str]], options: ReadOptions | None = None
) -> InspectSummary:
    """Describe recordings one by one, and what they are to each other."""
    options = options or ReadOptions(need_table=False)
    recordings = open_recordings(specs, options, measure=True)
    together = len(recordings) > 1 and all(recording.tables for recording in recordings)
    described = [_describe(recording) for recording in recordings]
    return InspectSummary(described, _compare(recordings) if together else None)


def _describe(recording: Recording) -> InspectedRecording:
    frames, height, width = recording.shape
    video, lag = recording.videos[0], recording.measured_lag
    notices = [*map(str, recording.notices)]
    if not recording.tables:
        missing = table_path(recording.path)
        notices.append(f"no table {missing}; stitching needs one next to the video")
    elif recording.known_bounds is None:
        notices.append(_describe_layout(recording))
    return InspectedRecording(
        path=recording.path,
        segments=len(recording.videos),
        frames=frames,
        height=height,
        width=width,
        fps=str(video.fps),
        duration_s=round(float(frames / video.fps), 3),
        codec=video.codec,
        lossy=video.lossy,
        lag=lag.lag,
        lag_evidence=_describe_lag(lag),
        table=_describe_table(recording) if recording.tables else None,
        notices=notices,
    )


def _describe_layout(recording: Recording) -> str:
    """Say why the tables of a recording make no frame."""
    try:
        return f"{len(recording.bounds) - 1} buffers per frame"
    except MetadataError as error:
        return str(error)


def _describe_lag(lag: Lag) -> LagEvidence:
    found = lag.looked_at, lag.matches, lag.matches_unshifted
    if lag.shared_with is None:
        missing, black, black_at_0 = found
        return LagEvidence(
            missing_buffers=missing, black_at_that_lag=black, black_at_lag_0=black_at_0
        )
    return LagEvidence(lag.shared_with, *found)


def _compare(recordings: list[Recording]) -> InspectedSession | FailedSession:
    try:
        alignment = bring_together(recordings).alignment
    except InputError as error:
        return FailedSession(str(error))
    present = alignment.source_frame != NO_FRAME
    lost = sum(stop - start + 1 for start, stop in alignment.lost_frame_num)
    return InspectedSession(
        frames=len(alignment),
        seen_by_all=int(present.all(axis=0).sum()),
        lost_frame_num=lost,
        repeated_frame_num=len(alignment.duplicates),
        boots=len(alignment.boot_starts),
        recordings=[
            SessionMember(
                path=recording.path,
                frames=int(here.sum()),
                only_here=only_here,
                offset_s=None if math.isnan(clock.offset_s) else round(clock.offset_s, 6),
                drift_ppm=None if clock.drift_ppm is None else round(clock.drift_ppm, 3),
            )
            for recording, here, only_here, clock in zip(
                recordings, present, alignment.unlinked, alignment.clocks, strict=True
            )
        ],
        notices=[*map(str, alignment.notices)],
    )


def _describe_table(recording: Recording) -> InspectedTable:
    table = recording.frames
    frame_num = distinct(table.frame_num[table.frame_num >= 0])
    if not len(frame_num):
        return InspectedTable(sum(t.row_count for t in recording.tables), frame_num=None)
    expected = _buffers_per_frame(recording)
    if expected > MASK_BITS:
        rows, span = sum(t.row_count for t in recording.tables), (frame_num[0], frame_num[-1])
        return InspectedTable(rows, (int(span[0]), int(span[1])), buffers_per_frame=expected)
    received = table.received(expected)
    lost, repeated = count_numbers(table.frame_num[table.frame_num >= 0])
    return InspectedTable(
        rows=sum(t.row_count for t in recording.tables),
        orphan_rows=sum(t.orphan_rows for t in recording.tables),
        frame_num=(int(frame_num[0]), int(frame_num[-1])),
        lost_frames=lost,
        repeated_frames=repeated,
        buffers_per_frame=expected,
        incomplete_frames=int((received < expected).sum()),
        buffers_lost=table.count_lost(expected),
        repairable_cells=sum(len(t.repairs) for t in recording.tables),
        padded_pixels=int(table.black_padding.sum()),
    )


def _buffers_per_frame(recording: Recording) -> int:
    """How many buffers make a frame; the usual number, where their sizes do not tell."""
    if recording.known_bounds is not None:
        return len(recording.known_bounds) - 1
    table = recording.frames
    return int(np.bincount(table.num_buffers[table.frame_num >= 0]).argmax())
