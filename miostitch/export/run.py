"""Carry a recording into other tools: streamed, with its times, completely or not at all."""

import os
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from miostitch.errors import Notice, Severity, UsageError, report_notices
from miostitch.execution.progress import Progress
from miostitch.execution.publishing import RunOptions, publish_run
from miostitch.execution.results import ExportSummary
from miostitch.execution.workspace import Workspace
from miostitch.export.avi import avi_segments, ucla
from miostitch.export.plan import ExportOptions, Plan, Source
from miostitch.export.zarr import zarr2
from miostitch.recording.files import ReadOptions
from miostitch.text import printable

Kind = Literal["ucla", "avi-segments", "nwb", "zarr2"]


def export_recording(
    recording: str | os.PathLike[str] | xr.Dataset,
    output: str | os.PathLike[str],
    kind: Kind,
    options: ExportOptions | None = None,
    *,
    reading: ReadOptions | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write a recording as another tool reads it.

    Parameters
    ----------
    recording
        A store, a video with or without a table, or what :func:`open_recording` gives and any
        selection of its frames.
    output
        A folder; for ``nwb`` and ``zarr2`` also a file ending in ``.nwb`` or ``.zarr``.
    kind
        ``ucla``: ``0.avi``, ``1.avi``, ... with ``timeStamps.csv`` and ``metaData.json``;
        ``avi-segments``: ``msCam1.avi``, ``msCam2.avi``, ... with ``timestamps.csv``;
        ``nwb``: a file with a OnePhotonSeries, which needs ``miostitch[nwb]``;
        ``zarr2``: a Zarr store of format 2.
    options
        What the recording does not say.
    reading
        How to read; with ``salvage`` what does not match is left out.
    force
        Replace existing products once the new ones are whole.
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
    Pictures are streamed block by block; only a few numbers per frame are held.

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
    reading = reading or ReadOptions(need_table=False)
    options = options or ExportOptions()
    _require_effect(kind, options)
    source = Source.open(recording, reading)
    notices = _list_notices(kind, source)
    report_notices(notices)
    plan = _plan(source, Path(os.path.abspath(output)), kind, options)
    workspace = Workspace(plan.folder, plan.stem, plan.suffixes)
    with publish_run(workspace, source.kept.files, RunOptions(force, progress=progress)) as run:
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
    return made.to_json()


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
    known = {"ucla": {"codec", "session_start"}, "avi-segments": {"codec"}, "zarr2": set[str]()}
    of_nwb = {field.name for field in fields(ExportOptions)}
    if not options.external:
        of_nwb.remove("codec")
    for field in fields(ExportOptions):
        chosen = getattr(options, field.name) != field.default
        if chosen and field.name not in known.get(kind, of_nwb):
            option = f"--{field.name.replace('_', '-')}"
            msg = f"{field.name}: has no effect on this export ({kind})"
            raise UsageError(f"{msg}; leave {option} out")
