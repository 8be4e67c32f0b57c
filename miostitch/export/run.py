"""Carry a recording into other tools: streamed, with its times, completely or not at all."""

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from miostitch.config.choices import choose
from miostitch.errors import Notice, Severity, UsageError, report_notices
from miostitch.execution.progress import Progress
from miostitch.execution.publishing import RunOptions, publish_run
from miostitch.execution.results import ExportSummary
from miostitch.execution.workspace import Workspace
from miostitch.export.avi import avi_segments, ucla
from miostitch.export.plan import (
    ExportOptions,
    Plan,
    Source,
    describe_session,
    known_options,
)
from miostitch.export.zarr import zarr2
from miostitch.recording.files import ReadOptions
from miostitch.recording.inputs import RecordingInput, settle_reading
from miostitch.recording.run_result import RunResult
from miostitch.text import printable
from miostitch.video.writer import Codec

Kind = Literal["ucla", "avi-segments", "nwb", "zarr2"]


def export_recording(
    recording: RecordingInput,
    output: str | os.PathLike[str],
    to: Kind,
    options: ExportOptions | None = None,
    *,
    codec: Codec | None = None,
    external: bool | None = None,
    session_start: datetime | str | None = None,
    session_description: str | None = None,
    subject_id: str | None = None,
    species: str | None = None,
    sex: Literal["M", "F", "U", "O"] | None = None,
    age: str | None = None,
    indicator: str | None = None,
    location: str | None = None,
    experimenter: str | None = None,
    institution: str | None = None,
    lag: int | Literal["auto"] | None = None,
    salvage: bool | None = None,
    strict: bool | None = None,
    max_frame_pixels: int | None = None,
    reading: ReadOptions | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Write a recording as another tool reads it.

    Parameters
    ----------
    recording
        A store, a video with or without a table, or what :func:`open_recording` or
        :func:`stitch` gives and any selection of its frames.
    output
        A folder; for ``nwb`` and ``zarr2`` also a file ending in ``.nwb`` or ``.zarr``.
    to
        ``ucla``: ``0.avi``, ``1.avi``, ... with ``timeStamps.csv`` and ``metaData.json``;
        ``avi-segments``: ``msCam1.avi``, ``msCam2.avi``, ... with ``timestamps.csv``;
        ``nwb``: a file with a OnePhotonSeries, which needs ``miostitch[nwb]``;
        ``zarr2``: a Zarr store of format 2.
    options
        What the recording does not say, instead of the keywords up to ``location``.
    codec
        Of video files: ``rawvideo`` (default) or ``ffv1``, both lossless.
    external
        For ``nwb``: keep the frames in an ``.avi`` next to the file; by default False.
    session_start
        When the session began, with its offset from UTC, such as ``2026-01-31T09:30:00+01:00``; by
        default the time of the first frame.
    session_description, subject_id, species, sex, age, indicator, location
        For ``nwb``: what was done, and to which animal; see :class:`ExportOptions`. By default what
        the session file said that a result was stitched by.
    experimenter, institution
        For ``nwb``: who recorded, and where; by default as the session file said.
    lag, salvage, strict, max_frame_pixels
        How to read a recording that is named by its path; see :func:`denoise_files`.
    reading
        How to read, instead of these.
    force
        Overwrite existing results, once the new ones are complete.
    progress
        Called with frames done and frames in all; what it raises ends the run.

    Returns
    -------
    dict
        JSON values: ``kind``, ``frames``, ``duration_s`` between the first and the last frame,
        ``lost_frames`` as in the summary of an edit, ``warnings``, ``notes``, and ``outputs``, the
        paths of what was written.

    Raises
    ------
    UsageError
        The folder holds what would mix with the export, or an option is missing or has no effect.
    InputError
        The recording cannot be read, or lacks times of some frames.
    OutputExistsError
        A product exists and ``force`` is not given.
    MiostitchError
        The error's class says what is wrong; nothing stands under a final name then.

    Notes
    -----
    Frames are streamed block by block; only a few numbers per frame are held.

    Examples
    --------
    >>> import tempfile, miostitch
    >>> folder = tempfile.TemporaryDirectory()
    >>> session = miostitch.simulate(folder.name, miostitch.SimulationConfig(frames=20))
    >>> made = miostitch.export_recording(session.recordings[0], f"{folder.name}/ucla", "ucla")
    >>> sorted(Path(path).name for path in made["outputs"])
    ['0.avi', 'metaData.json', 'timeStamps.csv']
    >>> folder.cleanup()
    """
    options = choose(
        ExportOptions,
        "options",
        options,
        codec=codec,
        external=external,
        session_start=_read_time(session_start),
        session_description=session_description,
        subject_id=subject_id,
        species=species,
        sex=sex,
        age=age,
        indicator=indicator,
        location=location,
        experimenter=experimenter,
        institution=institution,
    )
    reading = settle_reading(
        reading, lag=lag, salvage=salvage, strict=strict, max_frame_pixels=max_frame_pixels
    )
    return _export(
        recording,
        Path(os.path.abspath(output)),
        to,
        options,
        reading,
        RunOptions(force, progress=progress),
    )


def _export(
    recording: RecordingInput,
    output: Path,
    kind: Kind,
    options: ExportOptions,
    reading: ReadOptions,
    how: RunOptions,
) -> RunResult:
    """Write a recording; see :func:`export_recording`."""
    _require_effect(kind, options)
    source = Source.open(recording, reading)
    options = _as_recorded(options, source, kind)
    notices = _list_notices(kind, source)
    report_notices(notices)
    plan = _plan(source, output, kind, options)
    workspace = Workspace(plan.folder, plan.stem, plan.suffixes)
    with publish_run(workspace, source.kept.files, how) as run:
        run.require_space(plan.needed)
        plan.write(workspace.staged, run.counted(source.count))
        outputs = workspace.made
    made = ExportSummary(
        kind=kind,
        frames=source.count,
        duration_s=round(source.duration, 6),
        lost_frames=[lost for origin in source.kept.origins for lost in origin.losses],
        warnings=source.warnings,
        notes=[printable(str(notice)) for notice in notices],
        outputs=outputs,
    )
    return RunResult(made.to_json())


def _as_recorded(options: ExportOptions, source: Source, kind: Kind) -> ExportOptions:
    """The options that were given, and for others what the result says of its session."""
    facts = source.dataset.attrs.get("session")
    said = describe_session(facts, kind) if isinstance(facts, Mapping) else {}
    defaults = {field.name: field.default for field in fields(ExportOptions)}
    unset = {name: v for name, v in said.items() if getattr(options, name) == defaults[name]}
    return replace(options, **unset)


def _read_time(time: datetime | str | None) -> datetime | None:
    """A time that may be written as a text."""
    if not isinstance(time, str):
        return time
    try:
        return datetime.fromisoformat(time)
    except ValueError as error:
        msg = f"session_start {time!r}: must be a time such as 2026-01-31T09:30:00+01:00"
        raise UsageError(msg) from error


def _list_notices(kind: Kind, source: Source) -> list[Notice]:
    """Say what the recording was not known to be, in exports that state a frame rate."""
    if kind not in ("ucla", "nwb") or not source.rate_text:
        return []
    remedy = "the measured rate is exported"
    return [Notice(source.path, source.rate_text, remedy, Severity.NOTE)]


def _plan(source: Source, output: Path, kind: Kind, options: ExportOptions) -> Plan:
    if kind != "nwb":
        planned = {"ucla": ucla, "avi-segments": avi_segments, "zarr2": zarr2}
        return planned[kind](source, output, options)
    try:
        from miostitch.export.nwb import nwb
    except ImportError as error:
        msg = f"NWB needs another package ({error}); pip install 'miostitch[nwb]'"
        raise UsageError(msg) from error
    return nwb(source, output, options)


def _require_effect(kind: Kind, options: ExportOptions) -> None:
    """Refuse options that this kind of export does not know."""
    known = known_options(kind, external=options.external)
    for field in fields(ExportOptions):
        chosen = getattr(options, field.name) != field.default
        if chosen and field.name not in known:
            option = f"--{field.name.replace('_', '-')}"
            msg = f"{field.name}: has no effect on this export ({kind})"
            raise UsageError(f"{msg}; leave {option} out")
