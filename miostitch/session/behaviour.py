"""Aligns the frames of a recording with those of a behaviour camera, by their times."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from miostitch.arrays import F64
from miostitch.buffers.csv_files import TableWriter
from miostitch.buffers.elapsed_time import ElapsedTime
from miostitch.errors import (
    InputError,
    Notice,
    Severity,
    list_warnings,
    rank_notices,
    report_notices,
)
from miostitch.execution.digests import file_digest
from miostitch.execution.publishing import RunOptions, publish_run
from miostitch.execution.results import AlignTimesSummary
from miostitch.execution.workspace import Workspace
from miostitch.recording.files import ReadOptions
from miostitch.recording.frame_times import time_of_dataset
from miostitch.recording.inputs import RecordingInput, open_input, settle_reading
from miostitch.recording.run_result import RunResult
from miostitch.schema import FRAME
from miostitch.session.camera_times import (
    CameraClock,
    CameraTimes,
    Unit,
    counts_from_1970,
    nearest,
    read_camera_times,
    read_clock,
    since,
)
from miostitch.session.stored_cameras import require_store, store_camera
from miostitch.text import amount, printable

FORWARD, BACK = "_camera_frames.csv", "_recording_frames.csv"
POOR_FIT_S = 0.05
"""From here on events that a line misses by more put the result in doubt."""


def align_times(
    recording: RecordingInput,
    times: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    column: str | None = None,
    unit: Unit | None = None,
    events: str | os.PathLike[str] | None = None,
    lag: int | Literal["auto"] | None = None,
    salvage: bool | None = None,
    reading: ReadOptions | None = None,
    into_store: bool = False,
    name: str | None = None,
    force: bool = False,
) -> RunResult:
    """Find the nearest frame of a behaviour camera for every frame, and the reverse.

    Parameters
    ----------
    recording
        A store, a video with its table, or what :func:`open_recording` gives and any selection.
    times
        Table with the time of each frame of the camera, one a line.
    output
        Folder to write to; by default that of the recording.
    column
        Name of the column of times; by default the only one, or one of a usual name.
    unit
        ``s`` or ``ms``; by default ms where the name of the column says so.
    events
        Table of two columns, the times of events in the recording, in s from its first frame or
        Unix time, and the same events' times on the camera's clock, in its unit. Offset and, with
        two events or more, drift of the camera's clock are fitted by them and removed. Without,
        both clocks must count from 1970.
    lag, salvage
        How to read a recording that is named by its path; see :func:`denoise_files`.
    reading
        How to read, instead of these.
    into_store
        Put the nearest frames and errors also into the store that is named, as coordinates of its
        frames: ``CAM_frame`` and ``CAM_error_s``.
    name
        What the camera is called; by default as its table.
    force
        Overwrite existing results, once the new ones are complete.

    Returns
    -------
    dict
        The summary: ``frames``, ``camera_frames``, ``offset_s``, ``drift_ppm``, ``events``,
        ``worst_event_s``, ``median_error_s``, ``worst_error_s``, ``frames_outside``,
        ``warnings``, ``outputs``: ``S_CAM_camera_frames.csv`` and
        ``S_CAM_recording_frames.csv``, of ``S`` and ``CAM.csv``, and the store if it was changed.

    Raises
    ------
    InputError
        A table cannot be read, the clocks cannot be compared, or nothing was recorded at the
        same time.
    UsageError
        Which column has the times is not clear, or what should take the camera is no store.
    OutputExistsError
        Results or the camera's frames are there already.
    """
    reading = settle_reading(reading, lag=lag, salvage=salvage)
    called = name or Path(times).stem
    store = require_store(recording, called, force=force) if into_store else None
    dataset, warnings = open_input(recording, reading)
    elapsed, origins = time_of_dataset(dataset), dataset.attrs["origins"]
    if elapsed is None:
        raise InputError(f"{origins[0]}: has no times; open it with open_recording")
    camera = read_camera_times(os.fspath(times), column, unit)
    aligned = align_camera(
        camera, elapsed, None if events is None else os.fspath(events), origins[0]
    )
    ours, theirs, clock = elapsed.seconds, aligned.seconds, aligned.clock
    notices = aligned.notices
    report_notices(notices, strict=reading.strict)
    tables = _align(dataset.coords, ours, camera, theirs)
    folder = Path(os.path.abspath(output if output is not None else Path(origins[0]).parent))
    workspace = Workspace(folder, f"{Path(origins[0]).stem}_{called}", tables)
    inputs = [*origins, camera.path, *([os.fspath(events)] if events is not None else [])]
    with publish_run(workspace, inputs, RunOptions(force)):
        for suffix, table in tables.items():
            with TableWriter(workspace.staged(suffix), [*table.columns]) as file:
                file.append(table)
        outputs = workspace.made
    if store is not None:
        nearest_frames = {n: tables[FORWARD][n].to_numpy() for n in ("camera_frame", "error_s")}
        store_camera(store, called, nearest_frames, _describe(aligned, events))
        outputs = [*outputs, store.path]
    errors = np.abs(tables[FORWARD]["error_s"].to_numpy())
    summary = AlignTimesSummary(
        frames=len(ours),
        camera_frames=len(theirs),
        offset_s=None if clock is None else round(clock.offset_s, 6),
        drift_ppm=None if clock is None or clock.drift_ppm is None else round(clock.drift_ppm, 3),
        events=0 if clock is None else clock.events,
        worst_event_s=None if clock is None else round(clock.worst_s, 6),
        median_error_s=round(float(np.median(errors)), 6),
        worst_error_s=round(float(errors.max()), 6),
        frames_outside=_count_outside(ours, theirs),
        warnings=[printable(text) for text in (*warnings, *list_warnings(notices))],
        outputs=outputs,
    )
    return RunResult(summary.to_json())


@dataclass(frozen=True)
class AlignedCamera:
    """The frames of a camera, on the clock of a recording."""

    camera: CameraTimes
    seconds: F64  # After the first frame of the recording, (camera frame,)
    clock: CameraClock | None  # By events; None: both have Unix times
    notices: list[Notice]  # What puts the alignment in doubt


def _describe(aligned: AlignedCamera, events: str | os.PathLike[str] | None) -> dict[str, Any]:
    """Attributes of a camera in a store: its table, and how its clock was compared."""
    camera, clock = aligned.camera, aligned.clock
    facts: dict[str, Any] = {"table": printable(Path(camera.path).name)}
    facts |= dict(file_digest(Path(camera.path)))
    if events is not None and clock is not None:
        facts |= {"events": printable(Path(events).name), "offset_s": clock.offset_s}
        facts |= {} if clock.drift_ppm is None else {"drift_ppm": clock.drift_ppm}
    return facts


def align_camera(
    camera: CameraTimes, elapsed: ElapsedTime, events: str | None, path: str
) -> AlignedCamera:
    """Put the frames of a camera on the clock of a recording, whose first file is ``path``."""
    clock = None if events is None else read_clock(events, camera.unit, elapsed.start)
    theirs = _on_our_clock(camera, clock, elapsed.start, path)
    notices = rank_notices(_list_notices(camera, clock, elapsed.seconds, theirs, path))
    return AlignedCamera(camera, theirs, clock, notices)


def _on_our_clock(camera: CameraTimes, clock: CameraClock | None, start: float, path: str) -> F64:
    """The times of the camera's frames in s after the recording's first frame."""
    if clock is not None:
        return clock.to_recording(since(camera.seconds, start))
    if not counts_from_1970(camera.seconds):
        msg = f"{camera.path}: its times do not count from 1970, as those of {path} do"
        raise InputError(f"{msg}; name another --column or --unit, or shared --events")
    if np.isnan(start):
        msg = f"{path}: when it started is not known, so that no clock compares with its own"
        raise InputError(f"{msg}; give --events that both recorded")
    return since(camera.seconds, start)


def _list_notices(
    camera: CameraTimes, clock: CameraClock | None, ours: F64, theirs: F64, path: str
) -> list[Notice]:
    """Say what puts the alignment in doubt; refuse what was not recorded at the same time."""
    if theirs[-1] < ours[0] or theirs[0] > ours[-1]:
        early = "ends before" if theirs[-1] < ours[0] else "begins after"
        apart = max(ours[0] - theirs[-1], theirs[0] - ours[-1])
        msg = f"{camera.path}: {early} the recording {path}, by {apart:.1f} s"
        raise InputError(f"{msg}; check column, unit and events")
    notices = []
    if outside := _count_outside(ours, theirs):
        text = f"{amount(outside, 'frame')} of {path} outside the time of the camera"
        remedy = "their nearest camera frame is the first or last one; see error_s"
        notices.append(Notice(camera.path, text, remedy))
    if clock is not None and clock.worst_s > POOR_FIT_S:
        text = f"an event is {clock.worst_s:.3f} s from where the others put it"
        notices.append(Notice(camera.path, text, "check the events", Severity.DOUBT))
    return notices


def _count_outside(ours: F64, theirs: F64) -> int:
    """Frames that were made before the camera's first or after its last one, by an interval."""
    interval = float(np.median(np.diff(theirs))) if len(theirs) > 1 else 0.0
    return int(((ours < theirs[0] - interval) | (ours > theirs[-1] + interval)).sum())


def _align(known: Any, ours: F64, camera: CameraTimes, theirs: F64) -> dict[str, pd.DataFrame]:
    """The tables, by their endings."""
    there, error = nearest(ours, theirs)
    here, back = nearest(theirs, ours)
    first: dict[str, Any] = {FRAME: np.arange(len(ours))}
    if "frame_num" in known:
        first["frame_num"] = known["frame_num"].to_numpy()
    first |= {"time": ours, "camera_frame": there, "camera_time": camera.seconds[there]}
    second = {"camera_frame": np.arange(len(theirs)), "camera_time": camera.seconds, FRAME: here}
    second["time"] = ours[here]
    return {
        FORWARD: pd.DataFrame(first | {"error_s": np.round(error, 6)}),
        BACK: pd.DataFrame(second | {"error_s": np.round(back, 6)}),
    }
