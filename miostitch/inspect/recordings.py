"""What a run would meet, without running it."""

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from miostitch.buffers.device_counter import count_numbers, device_runs, run_spans
from miostitch.buffers.frame_table import MASK_BITS
from miostitch.errors import (
    InputError,
    MetadataError,
    Notice,
    Severity,
    list_errors,
    list_notes,
    list_warnings,
)
from miostitch.execution.results import (
    FailedSession,
    InspectedRecording,
    InspectedSession,
    InspectedTable,
    InspectSummary,
    LagEvidence,
    SessionMember,
)
from miostitch.recording.files import ReadOptions, table_path
from miostitch.recording.lag import Lag
from miostitch.recording.recording import Recording, open_recordings
from miostitch.schema import NO_FRAME
from miostitch.session.findings import find_session_notices
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
    notices = [*recording.notices, *_find_obstacles(recording)]
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
        **_by_severity(notices),
    )


def _by_severity(notices: Sequence[Notice]) -> dict[str, list[str]]:
    """What is found, apart by how much it matters."""
    return {
        "errors": list_errors(notices),
        "warnings": list_warnings(notices),
        "notes": list_notes(notices),
    }


def _find_obstacles(recording: Recording) -> list[Notice]:
    """What keeps a recording, which can be looked at, from being stitched."""
    if not recording.tables:
        missing = f"no table {table_path(recording.path)}"
        return [Notice("", missing, "stitching needs one next to the video")]
    try:
        recording.bounds  # noqa: B018 (which is computed, or cannot be)
    except MetadataError as error:
        return [replace(error.notice, severity=Severity.ERROR)]
    return []


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
        session = bring_together(recordings)
    except InputError as error:
        return FailedSession(str(error))
    alignment = session.alignment
    present = alignment.source_frame != NO_FRAME
    lost = sum(stop - start + 1 for start, stop in alignment.lost_frame_num)
    return InspectedSession(
        frames=len(alignment),
        seen_by_all=int(present.all(axis=0).sum()),
        lost_frame_num=lost,
        repeated_frame_num=len(alignment.duplicates),
        boots=len(alignment.boot_starts),
        frame_num_runs=alignment.frame_num_runs(),
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
        **_by_severity(find_session_notices(session)),
    )


def _describe_table(recording: Recording) -> InspectedTable:
    table = recording.frames
    known = table.frame_num[table.frame_num >= 0]
    rows = sum(t.row_count for t in recording.tables)
    if not len(known):
        return InspectedTable(rows, frame_num=None)
    span, spans = (int(known.min()), int(known.max())), run_spans(known, device_runs(known))
    expected = _buffers_per_frame(recording)
    if expected > MASK_BITS:
        return InspectedTable(rows, span, spans, buffers_per_frame=expected)
    reception = table.reception(expected)
    lost, repeated = count_numbers(known)
    return InspectedTable(
        rows=rows,
        orphan_rows=sum(t.orphan_rows for t in recording.tables),
        frame_num=span,
        frame_num_runs=spans,
        lost_frames=lost,
        repeated_frames=repeated,
        buffers_per_frame=expected,
        received_frames=reception.frames,
        incomplete_frames=reception.incomplete,
        buffers_lost=reception.lost,
        repairable_cells=sum(len(t.repairs) for t in recording.tables),
        padded_pixels=int(table.black_padding.sum()),
    )


def _buffers_per_frame(recording: Recording) -> int:
    """How many buffers make a frame; the usual number, where their sizes do not tell."""
    if recording.known_bounds is not None:
        return len(recording.known_bounds) - 1
    table = recording.frames
    return int(np.bincount(table.num_buffers[table.frame_num >= 0]).argmax())
