"""What a run found and did, in numbers: the summary that people and programs read."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.buffers.frame_table import complete
from miostitch.buffers.repair import describe_evidence
from miostitch.recording.recording import Recording, loss_facts
from miostitch.schema import COMPOSITE, NO_FRAME, Evidence
from miostitch.session.clocks import Clock, frame_interval
from miostitch.session.session import Session
from miostitch.text import printable

REPORTED_DUPLICATES = 5
"""Repeated ``frame_num`` that warnings name one by one."""

RATE_TOLERANCE = 0.1
"""How far the frame rate of video and table may be apart before it is worth a warning."""

REPORTED_REPAIRS = 1000
"""Repaired cells that a summary lists; the store has them all."""

Columns = Mapping[str, NDArray[Any]]


def summarise(
    session: Session,
    frames: Columns,
    scores: Columns,
    agreement: NDArray[np.int64],
    composition: Columns,
) -> dict[str, Any]:
    """Summarise a finished stitch.

    ``frames``: what was written per frame, (frame,), by the names of the schema; ``scores``: scores
    of all candidates, (recording, frame), by the names of the schema; ``agreement``: shared and
    identical buffers of all frames, int64 (agreement,); ``composition``: which recording gave each
    buffer and why, (frame, position); empty if frames were chosen.

    Returns: JSON values; see the reference of ``S.json``.
    """
    everything = slice(0, session.shape[0])
    present = session.source_frame(everything) != NO_FRAME
    whole = complete(session.delivered(everything), session.buffers)
    pixels = present.sum(axis=1) * session.bounds[-1]
    noisy = np.where(present, scores["noisy_pixels"], 0).sum(axis=1)
    recordings = []
    for number, recording in enumerate(session.recordings):
        facts = {
            **_describe(
                recording,
                int(present[number].sum()),
                session.buffers,
                session.alignment.clocks[number],
            ),
            "noise_share": round(float(noisy[number] / max(pixels[number], 1)), 6),
            "chosen": int((frames["source"] == number).sum()),
            "sole": int((present[number] & (present.sum(axis=0) == 1)).sum()),
            "only_complete": int((whole[number] & (whole.sum(axis=0) == 1)).sum()),
        }
        if composition:
            gave = composition["buffer_source"] == number
            alone = composition["buffer_evidence"] == Evidence.SINGLE
            facts |= {"buffers_given": int(gave.sum()), "sole_buffers": int((gave & alone).sum())}
        recordings.append(facts)
    kept = np.zeros(len(session.alignment), bool)
    kept[session.kept] = True
    return {
        "frames": session.shape[0],
        "frame_num": [int(frames["frame_num"][i]) for i in (0, -1)],
        "damaged": int(frames["damaged"].sum()),
        "unrecoverable": int(frames["unrecoverable"].sum()),
        "missing_pixels": int(frames["missing_pixels"].sum()),
        "lost_frame_num": [list(span) for span in session.alignment.lost_frame_num],
        "dropped_frame_num": session.alignment.frame_num[~kept].tolist(),
        "composed": int((frames["source"] == COMPOSITE).sum()),
        "shared_buffers": int(agreement[0]),
        "identical_shared_buffers": int(agreement[1]),
        "recordings": recordings,
        "warnings": [printable(warning) for warning in _warnings(session)],
    }


def _describe(recording: Recording, frames: int, buffers: int, clock: Clock) -> dict[str, Any]:
    """What the files of a recording say, of which so many frames are candidates."""
    cells = [
        {
            "table": printable(table.path),
            **cell,
            "evidence": describe_evidence(cell["evidence"]),
        }
        for table in recording.tables
        for cell in table.repairs.head(REPORTED_REPAIRS).to_dict("records")
    ]
    table = recording.frames
    known = bool(clock.frames)
    return {
        "path": printable(recording.path),
        "name": printable(recording.name),
        "frames": frames,
        "unidentified": int(((table.frame_num < 0) & (table.num_rows > 0)).sum()),
        "buffers_lost": table.count_lost(buffers),
        "lag": recording.lag,
        "measured_lag": recording.measured_lag.lag,
        "lag_evidence": str(recording.measured_lag),
        "repairs": sum(len(table.repairs) for table in recording.tables),
        "repaired_cells": cells[:REPORTED_REPAIRS],
        **_describe_damage(recording),
        "offset_s": round(clock.offset_s, 6) if known else None,
        "offset_at_s": round(clock.middle_s, 3) if known else None,
        "drift_ppm": None if clock.drift_ppm is None else round(clock.drift_ppm, 3),
    }


def _describe_damage(recording: Recording) -> dict[str, Any]:
    """What damaged files cost, place by place."""
    dropped = [
        {"table": printable(table.path), "line": line, "why": printable(fault)}
        for table in recording.tables
        for line, fault in table.faults
    ]
    return {
        "lost_frames": loss_facts(recording.losses),
        "dropped_rows": sum(table.dropped_rows for table in recording.tables),
        "dropped_lines": dropped,
    }


def _warnings(session: Session) -> list[str]:
    """What a user should know."""
    warnings = [str(notice) for r in session.recordings for notice in r.notices]
    warnings += session.alignment.notices
    rates = {str(video.fps): video.path for r in session.recordings for video in r.videos}
    if len(rates) > 1:
        found = ", ".join(f"{path}: {rate} fps" for rate, path in rates.items())
        warnings.append(f"frame rates differ ({found}); the first is used, frame_num aligns")
    warnings += [text for r in session.recordings for text in _rate_contradicted(r, session)]
    duplicates = session.alignment.duplicates
    for duplicate in duplicates[:REPORTED_DUPLICATES]:
        recording = session.recordings[duplicate.recording]
        dropped = ", ".join(map(str, duplicate.dropped))
        warnings.append(
            f"{recording.path}: frame_num {duplicate.frame_num} stands in several frames; frame "
            f"{duplicate.kept} has most buffers and is the candidate, not {dropped}"
        )
    if len(duplicates) > REPORTED_DUPLICATES:
        warnings.append(f"{len(duplicates) - REPORTED_DUPLICATES} more frame_num in several frames")
    return warnings


def _rate_contradicted(recording: Recording, session: Session) -> list[str]:
    """Say that a video's frame rate is not that of its table."""
    frames, fps = recording.frames, recording.videos[0].fps
    known = frames.frame_num >= 0
    interval = frame_interval(frames.frame_num[known], frames.start_times(session.buffers)[known])
    if not abs(interval * fps - 1) > RATE_TOLERANCE:
        return []
    return [
        f"{recording.path}: plays {float(fps):.4g} frames per second, by its table the device made "
        f"{1 / interval:.4g}; the video keeps its rate, the timestamps tell the time"
    ]
