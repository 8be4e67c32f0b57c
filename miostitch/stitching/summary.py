"""What a run found and did, in numbers: the summary that people and programs read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from miostitch.buffers.elapsed_time import measured_rate
from miostitch.buffers.repair import describe_evidence
from miostitch.errors import Notice, list_notes, list_warnings, rank_notices
from miostitch.execution.publishing import used_versions
from miostitch.execution.results import (
    JSON,
    DroppedLine,
    InputPlace,
    RecordingSummary,
    RepairedCell,
    StitchSummary,
)
from miostitch.origins.provenance import input_place
from miostitch.recording.recording import Recording
from miostitch.schema import CERTAIN, COMPOSITE, DOUBTFUL, MEASURED_FPS, NO_FRAME, Evidence
from miostitch.session.clocks import Clock
from miostitch.session.findings import find_session_notices
from miostitch.session.session import Session
from miostitch.stitching.tables import FrameColumns, StitchedTables
from miostitch.text import printable

REPORTED_REPAIRS = 1000
"""Repaired cells that a summary lists; the store has them all."""


def summarise(
    session: Session,
    tables: StitchedTables,
    notices: Sequence[Notice],
    config: JSON,
    resumed_blocks: int,
    folder: Path,
    uncertain: int = 0,
) -> StitchSummary:
    """Summarise a finished stitch into a folder; its outputs are not known yet.

    ``uncertain``: frames that were left out for their confidence.
    """
    frames = tables.frames
    kept = np.zeros(len(session.alignment), bool)
    kept[session.kept] = True
    incomplete = frames["missing_pixels"] > 0
    rate = tables.time_attrs.get(MEASURED_FPS)
    return StitchSummary(
        frames=session.shape[0],
        frame_num=(int(frames["frame_num"][0]), int(frames["frame_num"][-1])),
        intact=int((~frames["damaged"]).sum()),
        incomplete=int(incomplete.sum()),
        noisy=int((frames["damaged"] & ~incomplete).sum()),
        damaged=int(frames["damaged"].sum()),
        unrecoverable=int(frames["unrecoverable"].sum()),
        missing_pixels=int(frames["missing_pixels"].sum()),
        not_received=sum(last - first + 1 for first, last in session.alignment.lost_frame_num),
        lost_frame_num=list(session.alignment.lost_frame_num),
        dropped_frame_num=session.alignment.frame_num[~kept].tolist(),
        composed=int((frames["source"] == COMPOSITE).sum()),
        shared_buffers=int(tables.agreement[0]),
        identical_shared_buffers=int(tables.agreement[1]),
        recordings=_describe_recordings(session, tables, folder),
        warnings=[printable(text) for text in list_warnings(notices)],
        notes=[printable(text) for text in list_notes(notices)],
        resumed_blocks=resumed_blocks,
        config=config,
        versions=used_versions(),
        digests={},
        outputs=[],
        fps=str(session.fps),
        measured_fps=None if rate is None else float(rate),
        frame_num_runs=session.alignment.frame_num_runs(session.kept),
        certain=int((frames["confidence"] >= CERTAIN).sum()),
        doubtful=int(((frames["confidence"] < DOUBTFUL) & ~frames["damaged"]).sum()),
        dropped_uncertain=uncertain,
    )


def _describe_recordings(
    session: Session, tables: StitchedTables, folder: Path
) -> list[RecordingSummary]:
    """What each recording is, and what it gave to the result."""
    everything = slice(0, session.shape[0])
    present = session.source_frame(everything) != NO_FRAME
    whole, reception = session.complete(everything), session.reception()
    pixels = present.sum(axis=1) * session.bounds[-1]
    noisy = np.where(present, tables.scores["noisy_pixels"], 0).sum(axis=1)
    return [
        RecordingSummary(
            **_describe_files(recording, folder),
            frames=reception[number].frames,
            buffers_lost=reception[number].lost,
            complete=reception[number].complete,
            **_describe_clock(session.alignment.clocks[number]),
            noise_share=round(float(noisy[number] / max(pixels[number], 1)), 6),
            chosen=int((tables.frames["source"] == number).sum()),
            sole=int((present[number] & (present.sum(axis=0) == 1)).sum()),
            only_complete=int((whole[number] & (whole.sum(axis=0) == 1)).sum()),
            **_count_given(tables.composition, number),
            fps=str(recording.videos[0].fps),
            measured_fps=_measured_fps(recording, session),
        )
        for number, recording in enumerate(session.recordings)
    ]


def _describe_files(recording: Recording, folder: Path) -> dict[str, Any]:
    """What the files of a recording say."""
    path, relative_path = input_place(recording.path, folder)
    cells = [
        RepairedCell(
            printable(table.path),
            cell["row"],
            cell["column"],
            cell["old"],
            cell["new"],
            describe_evidence(cell["evidence"]),
        )
        for table in recording.tables
        for cell in table.repairs.head(REPORTED_REPAIRS).to_dict("records")
    ]
    table = recording.frames
    return {
        "path": path,
        "relative_path": relative_path,
        "segments": [InputPlace(*input_place(each.path, folder)) for each in recording.videos],
        "tables": [InputPlace(*input_place(path, folder)) for path in recording.strayed_tables]
        or None,
        "name": printable(recording.name),
        "unidentified": int(((table.frame_num < 0) & (table.num_rows > 0)).sum()),
        "lag": recording.lag,
        "measured_lag": recording.measured_lag.lag,
        "lag_evidence": str(recording.measured_lag),
        "repairs": sum(len(table.repairs) for table in recording.tables),
        "repaired_cells": cells[:REPORTED_REPAIRS],
        "lost_frames": [*recording.losses],
        "dropped_rows": sum(table.dropped_rows for table in recording.tables),
        "dropped_lines": [
            DroppedLine(printable(table.path), line, printable(fault))
            for table in recording.tables
            for line, fault in table.faults
        ],
    }


def _describe_clock(clock: Clock) -> dict[str, Any]:
    """How far its clock is off, and how fast it runs."""
    known = bool(clock.frames)
    return {
        "offset_s": round(clock.offset_s, 6) if known else None,
        "offset_at_s": round(clock.middle_s, 3) if known else None,
        "drift_ppm": None if clock.drift_ppm is None else round(clock.drift_ppm, 3),
    }


def _count_given(composition: FrameColumns, number: int) -> dict[str, Any]:
    """How many buffers came from a recording, where frames were composed of buffers."""
    if not composition:
        return {}
    gave = composition["buffer_source"] == number
    alone = composition["buffer_evidence"] == Evidence.SINGLE
    return {"buffers_given": int(gave.sum()), "sole_buffers": int((gave & alone).sum())}


def find_notices(session: Session) -> list[Notice]:
    """What is known of the recordings before the first frame is written, most severe first."""
    notices = [notice for r in session.recordings for notice in r.notices]
    return rank_notices([*notices, *find_session_notices(session)])


def _measured_fps(recording: Recording, session: Session) -> float | None:
    """Frame rate of a recording by its counter and its clock."""
    frames = recording.frames
    return measured_rate(frames.frame_num, frames.start_times(session.buffers))
