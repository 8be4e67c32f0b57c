"""Carry a recording into other tools: streamed, with its times, completely or not at all."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from miostitch.config.choices import choose
from miostitch.config.session_file import Behaviour
from miostitch.editing.regular import MOST_FILLED, Fill
from miostitch.errors import Notice, Severity, UsageError, report_notices
from miostitch.execution.progress import Progress
from miostitch.execution.publishing import RunOptions, publish_run
from miostitch.execution.results import ExportSummary
from miostitch.execution.workspace import Workspace
from miostitch.export.avi import avi_segments
from miostitch.export.mp4 import mp4
from miostitch.export.plan import (
    ExportOptions,
    Plan,
    Source,
    describe_session,
    known_options,
)
from miostitch.export.selection import Selection
from miostitch.export.ucla import ucla
from miostitch.export.zarr import zarr2
from miostitch.recording.files import ReadOptions
from miostitch.recording.inputs import RecordingInput, settle_reading
from miostitch.recording.run_result import RunResult
from miostitch.text import amount, printable
from miostitch.video.writer import Codec

Kind = Literal["tiff", "hdf5", "zarr2", "nwb", "ucla", "avi-segments", "mp4"]

EXTRAS = {"tiff": "TIFF", "hdf5": "HDF5", "nwb": "NWB"}
"""Kinds that need another package, of the extra of the same name, and how they are called."""

OPTIONS = {"binning": "--bin"}
SIDES = ("row", "column")


def export_recording(
    recording: RecordingInput,
    output: str | os.PathLike[str],
    to: Kind,
    options: ExportOptions | None = None,
    *,
    frames: str | None = None,
    binning: int | None = None,
    drop_damaged: bool | None = None,
    min_confidence: float | None = None,
    fill: Fill | None = None,
    max_fill: int | None = None,
    per_file: int | None = None,
    ucla_format: Literal[1, 2] | None = None,
    speed: float | None = None,
    receivers: bool | None = None,
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
    behaviour: Sequence[Behaviour] | None = None,
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
        A folder; where one file is written also its name, such as ``x.tif`` or ``x.h5``.
    to
        ``tiff``: one page a frame, which needs ``miostitch[tiff]``;
        ``hdf5``: ``/mov`` for CaImAn, which is also ``/data`` for suite2p; ``miostitch[hdf5]``;
        ``zarr2``: a Zarr store of format 2;
        ``nwb``: a file with a OnePhotonSeries, which needs ``miostitch[nwb]``;
        ``ucla``: ``0.avi``, ``1.avi``, ... with ``timeStamps.csv`` and ``metaData.json``;
        ``avi-segments``: ``msCam1.avi``, ``msCam2.avi``, ... with ``timestamps.csv``;
        ``mp4``: an H.264 preview.
    options
        What the recording does not say, instead of the keywords up to ``location``.
    frames
        Frames to export, a list such as ``100-399``; by default all.
    binning
        Side of the squares of pixels of which the rounded mean is exported; by default 1.
    drop_damaged
        Leave damaged frames out; by default False.
    min_confidence
        Leave out frames that are exact with a lower probability; by default none.
    fill
        Export one frame per tick of the device's counter, and fill frames that no receiver has:
        ``previous`` repeats the frame before, ``linear`` interpolates, ``zero`` is black; ``time``
        is then regular, and ``filled`` marks them. By default nothing is filled.
    max_fill
        Frames of a gap that are filled, by default 20; a longer one begins another epoch.
    per_file
        For ``tiff``: frames of each file; by default all are in one.
    ucla_format
        For ``ucla``: the version of the software, 2 (default) or 1.
    speed, receivers
        For ``mp4``: how many times as fast as recorded it plays, by default 1; whether the
        receivers' frames are shown next to those of the result, by default False.
    codec
        Of AVI files: ``rawvideo`` (default) or ``ffv1``, both lossless.
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
    behaviour
        For ``nwb``: the tables of behaviour cameras, as in a session file; see :class:`Behaviour`.
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
        The folder holds what would mix with the export, a package is missing, or an option is
        missing, impossible or has no effect.
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
    ['0.avi', 'frames.csv', 'metaData.json', 'timeStamps.csv']
    >>> folder.cleanup()
    """
    options = choose(
        ExportOptions,
        "options",
        options,
        frames=frames,
        binning=binning,
        drop_damaged=drop_damaged,
        min_confidence=min_confidence,
        fill=fill,
        max_fill=max_fill,
        per_file=per_file,
        ucla_format=ucla_format,
        speed=speed,
        receivers=receivers,
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
        behaviour=None if behaviour is None else tuple(behaviour),
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
    selection = Selection(
        options.frames, options.binning, options.drop_damaged, options.min_confidence
    )
    source = Source.open(recording, reading, selection)
    if options.fill is not None:
        source = source.fill(options.fill, options.max_fill)
    options = _as_recorded(options, source, kind)
    plan = _plan(source, output, kind, options)
    notices = [*_list_notices(kind, source, options), *plan.notices]
    report_notices(notices)
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
        filled_frames=None if source.filled is None else int(source.filled.sum()),
        epochs=source.epochs,
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


def _list_notices(kind: Kind, source: Source, options: ExportOptions) -> list[Notice]:
    """Say what the recording was not known to be, and what of it is left out."""
    notices = []
    if kind not in ("avi-segments", "zarr2") and source.rate_text:
        remedy = "the measured rate is exported"
        notices.append(Notice(source.path, source.rate_text, remedy, Severity.NOTE))
    notices += [replace(notice, path=source.path) for notice in source.irregular]
    if any(source.cropped):
        rows, columns = (amount(n, what) for n, what in zip(source.cropped, SIDES, strict=True))
        text = f"{rows} and {columns} at the end fill no square of {options.binning} pixels"
        notices.append(Notice(source.path, text, "they are left out", Severity.NOTE))
    return notices


def _plan(source: Source, output: Path, kind: Kind, options: ExportOptions) -> Plan:
    plain = {"ucla": ucla, "avi-segments": avi_segments, "zarr2": zarr2, "mp4": mp4}
    if kind in plain:
        return plain[kind](source, output, options)
    try:
        planned = _import_planner(kind)
    except ImportError as error:
        msg = f"{EXTRAS[kind]} needs another package ({error}); pip install 'miostitch[{kind}]'"
        raise UsageError(msg) from error
    return planned(source, output, options)


def _import_planner(kind: Kind) -> Callable[[Source, Path, ExportOptions], Plan]:
    """Import what plans an export that another package writes."""
    if kind == "tiff":
        from miostitch.export.tiff import tiff

        return tiff
    if kind == "hdf5":
        from miostitch.export.hdf5 import hdf5

        return hdf5
    from miostitch.export.nwb import nwb

    return nwb


def _require_effect(kind: Kind, options: ExportOptions) -> None:
    """Refuse options that this kind of export does not know."""
    if options.fill is None and options.max_fill != MOST_FILLED:
        raise UsageError("max_fill: has no effect without fill; give --fill, too")
    known = known_options(kind, external=options.external)
    for field in fields(ExportOptions):
        chosen = getattr(options, field.name) != field.default
        if chosen and field.name not in known:
            option = OPTIONS.get(field.name, f"--{field.name.replace('_', '-')}")
            msg = f"{field.name}: has no effect on this export ({kind})"
            raise UsageError(f"{msg}; leave {option} out")
