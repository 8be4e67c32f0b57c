"""Whole runs: from the files of a session to published products."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from miostitch.buffers.row_writer import BufferTable
from miostitch.composing.confidence import frame_confidence
from miostitch.composing.copies import learn
from miostitch.config.choices import given, require_one_way, thresholds
from miostitch.crates.run import publish_result
from miostitch.errors import (
    InputError,
    MissingInputError,
    Notice,
    UsageError,
    report_notices,
)
from miostitch.execution.checkpoint import Journal
from miostitch.execution.engine import Output, Products, Tables, run_blocks
from miostitch.execution.executors import at_most, thread_count
from miostitch.execution.memory import MemoryPlan, give_back, passing, plan_stitch
from miostitch.execution.products import DEBUG, REPORT, STITCHED, STORE, UNRECOVERABLE
from miostitch.execution.progress import Progress
from miostitch.execution.publishing import Run, RunOptions
from miostitch.execution.results import StitchSummary
from miostitch.execution.workspace import Workspace
from miostitch.recording.files import (
    Segment,
    StrPath,
    find_segments,
    recording_names,
    settle_inputs,
)
from miostitch.recording.recording import Recording, open_recordings
from miostitch.recording.run_result import RunResult
from miostitch.report.run import write_report
from miostitch.schema import VIDEO, chunk_frames
from miostitch.session.session import Session, bring_together
from miostitch.stitching.block import PANELS, BlockPlan, plan_block
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.rows import DECIDES, RowPlan
from miostitch.stitching.summary import find_notices, summarise
from miostitch.stitching.tables import (
    FrameColumns,
    StitchedTables,
    column_names,
    damage_flags,
    left_out,
    store_attrs,
)
from miostitch.store.chunks import set_aside, take_over
from miostitch.store.layout import consolidate, create_store
from miostitch.video.writer import Codec, VideoFile

if TYPE_CHECKING:
    from miostitch.config.models import DenoiseConfig
    from miostitch.recording.inputs import RecordingInput

PlanBlock = Callable[..., BlockPlan]
"""Plans the block of some output frames of a session; may be asked for some columns alone."""


def stitch_files(
    inputs: Sequence["RecordingInput"],
    output: str | os.PathLike[str] = "stitched",
    options: StitchOptions | None = None,
    *,
    by: Literal["frame", "buffer"] | None = None,
    select: Literal["rule", "confidence"] | None = None,
    config: "DenoiseConfig | str | os.PathLike[str] | None" = None,
    lag: int | Literal["auto"] | None = None,
    align: Literal["auto", "frame-num", "time"] | None = None,
    max_gap: float | None = None,
    keep_clocks: bool | None = None,
    drop_damaged: bool | None = None,
    min_confidence: float | None = None,
    unrecoverable_video: bool | None = None,
    codec: Codec | None = None,
    no_avi: bool | None = None,
    debug_video: bool | None = None,
    zarr_format: Literal[2, 3] | None = None,
    chunk_frames: int | None = None,
    max_frame_pixels: int | None = None,
    salvage: bool | None = None,
    repair: bool | None = None,
    strict: bool | None = None,
    report: bool | None = None,
    crate: bool | None = None,
    force: bool | None = None,
    restart: bool | None = None,
    memory_limit: int | None = None,
    name: str | None = None,
    accept: Callable[[int], None] | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Stitch recordings of one session and publish the products.

    Parameters
    ----------
    inputs
        One path per recording, or its segments separated by commas; or open recordings. These are
        stitched as they were opened; an edited one is refused.
    output
        Folder of the products.
    options
        How to stitch, instead of the keywords.
    by
        ``frame``: the best receiver's frame (default); ``buffer``: combined from all receivers.
    select
        By frame, which receiver's is the best: by ``rule``, that of mio (default), or the one that
        is exact with the highest ``confidence``.
    config
        Configuration with the noise thresholds: an id, a path or an object; by default those of
        mio.
    lag
        Frames by which each video is behind its table; ``auto`` measures it (default).
    align
        How frames of the receivers are matched: ``auto`` (default), ``frame-num`` or ``time``.
    max_gap
        With ``align="time"``: largest time difference of a match, in s; half a frame by default.
    no_avi
        Write no ``S.avi``; the store has the frames. It excludes ``codec``.
    keep_clocks, drop_damaged, min_confidence, unrecoverable_video, codec, debug_video
        What is written; see :class:`StitchOptions`, also for the defaults.
    zarr_format, chunk_frames
        How the store is laid out; see there.
    max_frame_pixels, salvage, repair, strict
        How it is read; see there.
    report, crate, force, restart, memory_limit
        How it is run; see there.
    name
        What the products are called; by default after the recordings.
    accept
        Called with the number of frames before any is written, damaged ones included; what it
        raises ends the run.
    progress
        Called with frames done and frames in all; what it raises ends the run.

    Returns
    -------
    dict
        The summary, as written to ``S.json``.

    Raises
    ------
    MiostitchError
        The error's class says what is wrong; nothing stands under a final name then.

    Examples
    --------
    >>> import tempfile, miostitch
    >>> folder = tempfile.TemporaryDirectory()
    >>> session = miostitch.simulate(folder.name, miostitch.SimulationConfig(frames=20))
    >>> made = miostitch.stitch_files(session.recordings, folder.name, by="buffer", no_avi=True)
    >>> sorted(Path(path).suffix for path in made["outputs"])
    ['.csv', '.csv', '.csv', '.html', '.json', '.zarr']
    >>> folder.cleanup()
    """
    choices = {
        "by": by,
        "select": select,
        "lag": lag,
        "align": align,
        "max_gap": max_gap,
        "keep_clocks": keep_clocks,
        "drop_damaged": drop_damaged,
        "min_confidence": min_confidence,
        "unrecoverable_video": unrecoverable_video,
        "codec": codec,
        "debug_video": debug_video,
        "zarr_format": zarr_format,
        "chunk_frames": chunk_frames,
        "max_frame_pixels": max_frame_pixels,
        "salvage": salvage,
        "repair": repair,
        "strict": strict,
        "report": report,
        "crate": crate,
        "force": force,
        "restart": restart,
        "memory_limit": memory_limit,
        "name": name,
    }
    require_one_way({**choices, "config": config, "no_avi": no_avi}, options=options)
    if options is None:
        options = StitchOptions(**given(choices), **_written(config, codec, no_avi=no_avi))
    specs, options = settle_stitch(inputs, options)
    made = run_stitch(specs, output, options, accept=accept, progress=progress)
    return RunResult(made.to_json())


def settle_stitch(
    inputs: Sequence["RecordingInput"], options: StitchOptions
) -> tuple[list[StrPath], StitchOptions]:
    """Paths of recordings, some of which may be open, and how they are stitched."""
    found = settle_inputs(inputs, options.reading)
    return found.specs, replace(options, lag=found.options.lag, salvage=found.options.salvage)


def _written(
    config: "DenoiseConfig | str | os.PathLike[str] | None",
    codec: Codec | None,
    *,
    no_avi: bool | None,
) -> dict[str, Any]:
    """Options that are called otherwise than their keywords."""
    if no_avi and codec:
        raise UsageError("no_avi and codec exclude each other; give one of them")
    score = {} if config is None else {"score": thresholds(config)}
    return score | ({"codec": None} if no_avi else {})


def run_stitch(
    inputs: Sequence[StrPath],
    output: StrPath,
    options: StitchOptions,
    *,
    accept: Callable[[int], None] | None = None,
    progress: Progress | None = None,
) -> StitchSummary:
    """Stitch recordings and publish the products; see :func:`stitch_files`."""
    segments, names = _check_inputs(inputs), recording_names(inputs)
    workspace = Workspace(Path(output), options.stem(inputs), STITCHED)
    files = [path for each in segments for path in (each.video, each.table_path)]
    how = RunOptions(options.force, options.restart, progress, options.crate)
    with publish_result(workspace, files, how) as run:
        with passing():
            recordings = open_recordings(inputs, options.reading, names=names, measure=True)
            session = bring_together(recordings, options.aligning)
        del recordings  # they are the session's, and go with it
        notices = find_notices(session)
        report_notices(notices, strict=options.strict)
        if accept is not None:
            accept(session.shape[0])
        run.resume(_file_states(session), options.provenance)
        run.require_space(_uncompressed_bytes(session, options))
        with at_most(_plan(session, options).threads(thread_count(), options.memory_limit)):
            summary, frames = _make(session, notices, options, run)
        videos = [(recording.name, recording.videos) for recording in session.recordings]
        del session  # what else the report tells of it stands in the store
        give_back()
        if options.report:
            write_report(
                workspace.staged(STORE),
                workspace.final(STORE).name,
                summary.to_json(),
                workspace.staged(REPORT),
                [Recording.from_videos(*each, name=name) for name, each in videos],
                frames=frames,
            )
        return run.finish(summary)


def _plan(session: Session, options: StitchOptions) -> MemoryPlan:
    """How much memory the stitch takes."""
    count, height, width = session.shape
    return plan_stitch(
        count,
        _block(session, options) * height * width,
        len(session.recordings),
        composed=options.config.composed,
        debug=options.debug_video,
    )


def _make(
    session: Session, notices: Sequence[Notice], options: StitchOptions, run: Run
) -> tuple[StitchSummary, FrameColumns]:
    """Write every product but report and summary; return that, and what it tells per frame."""
    everything = session
    plan = partial(
        plan_block,
        config=options.config,
        model=learn(session),
    )
    uncertain = 0
    if options.drops:
        flags = _find_damage(session, options, plan, run.journal("damage"))
        damaged, unsure = left_out(flags, options)
        session, uncertain = session.only(~(damaged | unsure)), int(unsure.sum())
        if not len(session.kept):
            raise InputError(_nothing_left(len(damaged), uncertain, options))
    journal = run.journal("video")
    tables = _write(session, options, plan, run, journal)
    if not options.drops:
        flags = tables.frames
    if options.unrecoverable_video and flags["unrecoverable"].any():
        part = everything.only(flags["unrecoverable"])
        _write_unrecoverable(part, options, plan, run.workspace)
    folder = run.workspace.output
    found = session, tables, notices, options.provenance, journal.recalled, folder
    return summarise(*found, uncertain), tables.frames


def _nothing_left(frames: int, uncertain: int, options: StitchOptions) -> str:
    """Say why every frame would be left out, and what to do."""
    if not uncertain:
        return f"no frame of {frames} is intact; stitch without --drop-damaged"
    least = f"--min-confidence {options.min_confidence:g}"
    return f"no frame of {frames} is left with {least}; give a lower one, or stitch without it"


def _check_inputs(inputs: Sequence[StrPath]) -> list[Segment]:
    """All segments that a run reads, each checked to be there and there only once."""
    if not inputs:
        raise UsageError("no recording given; name at least one video")
    segments = [segment for spec in inputs for segment in find_segments(spec)]
    seen: dict[tuple[int, int], str] = {}
    for path in (segment.video for segment in segments):
        try:
            stat = os.stat(path)
        except OSError as error:
            msg = f"{path}: no such video ({error.strerror}); check the path"
            raise MissingInputError(msg) from error
        identity = stat.st_dev, stat.st_ino
        if identity in seen:
            msg = f"{path}: is the same file as {seen[identity]}; name each recording once"
            raise UsageError(msg)
        seen[identity] = path
    return segments


def _uncompressed_bytes(session: Session, options: StitchOptions) -> int:
    count, height, width = session.shape
    panels = len(session.recordings) + 1
    videos = (options.codec == "rawvideo") + panels * options.debug_video
    return count * height * width * videos


def _write(
    session: Session,
    options: StitchOptions,
    plan: PlanBlock,
    run: Run,
    journal: Journal,
) -> StitchedTables:
    """Write store, videos and tables."""
    count, height, width = session.shape
    space = run.workspace
    block, store = _block(session, options), str(space.staged(STORE))
    set_aside(store)
    create_store(
        store,
        shape=session.shape,
        chunk_frames=block,
        attrs=store_attrs(session, options),
        zarr_format=options.zarr_format,
    )
    take_over(store)
    outputs = []
    if options.codec is not None:
        outputs.append(_video(session, space.staged(".avi"), options.codec))
    if options.debug_video:
        panels = width * (len(session.recordings) + 1)
        path = str(space.staged(DEBUG))
        video = VideoFile(path, panels, height, session.fps, checksums=True)
        outputs.append(Output.of(PANELS, video))
    composed = options.config.composed
    with StitchedTables(session, store, space.staged, composed=composed) as tables:
        run_blocks(
            partial(plan, session),
            count,
            block,
            tables.append,
            Products(space.folder, tuple(outputs), store, tables.plan_rows),
            journal=journal,
            progress=run.counted(count),
        )
    consolidate(store)
    return tables


def _video(session: Session, path: Path, codec: Codec) -> Output:
    _, height, width = session.shape
    return Output.of(
        VIDEO.name, VideoFile(str(path), width, height, session.fps, codec, checksums=True)
    )


def _write_unrecoverable(
    session: Session, options: StitchOptions, plan: PlanBlock, workspace: Workspace
) -> None:
    """Write a video of a part of the frames, and its rows."""
    composed = options.config.composed
    video = _video(session, workspace.staged(f"{UNRECOVERABLE}.avi"), options.codec or "rawvideo")
    with BufferTable(
        column_names(session, composed=composed), workspace.staged(f"{UNRECOVERABLE}.csv"), None
    ) as table:
        run_blocks(
            partial(plan, session, columns=(DECIDES[composed],)),
            session.shape[0],
            _block(session, options),
            lambda _, tables: table.append_packed(tables),
            Products(
                workspace.folder,
                (video,),
                rows=partial(RowPlan.of, session, table.format, composed),
            ),
        )


def _block(session: Session, options: StitchOptions) -> int:
    """Frames per task and chunk."""
    return options.chunk_frames or chunk_frames(*session.shape[1:])


def _find_damage(
    session: Session, options: StitchOptions, plan: PlanBlock, journal: Journal
) -> FrameColumns:
    """Which frames are damaged, unrecoverable, and how sure, (frame,), before any is written."""
    count = session.shape[0]
    flags: FrameColumns = {n: np.empty(count, bool) for n in ("damaged", "unrecoverable")}
    flags["confidence"] = np.empty(count, np.float32)
    columns = ("missing_pixels", "noisy_pixels", "confidence")

    def append(span: slice, tables: Tables) -> None:
        *pixels, confidence = (tables[name] for name in columns)
        found = damage_flags(session, span, *pixels, composed=options.config.composed)
        found["confidence"] = frame_confidence(confidence)
        for name, values in found.items():
            flags[name][span] = values

    part = partial(plan, session, columns=columns)
    run_blocks(part, count, _block(session, options), append, journal=journal)
    return flags


def _file_states(session: Session) -> list[list[object]]:
    """Path, size, digest and time of the last change of every file that was read."""
    files = [file for recording in session.recordings for file in recording.inputs]
    return [[*file, os.stat(file.path).st_mtime_ns] for file in files]
