"""Whole runs: from the files of a session to published products."""

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr

from miostitch.config.thresholds import ScoreConfig
from miostitch.errors import InputError, MissingInputError, UsageError
from miostitch.execution.batches import KEPT_BLOCKS, BlockVideo, write_batches
from miostitch.execution.checkpoint import Journal
from miostitch.execution.executors import at_most, thread_count
from miostitch.execution.memory import MemoryPlan, give_back, passing, plan_stitch
from miostitch.execution.products import REPORT, STITCHED, STORE, UNRECOVERABLE
from miostitch.execution.progress import Progress
from miostitch.execution.publishing import Run, RunOptions, publish_run
from miostitch.execution.results import StitchSummary
from miostitch.execution.workspace import Workspace
from miostitch.recording.files import ReadOptions, recording_names, segment_paths, table_path
from miostitch.recording.recording import Recording, load_recordings
from miostitch.report.run import write_report
from miostitch.schema import chunk_frames
from miostitch.session.session import AlignOptions, Session, bring_together
from miostitch.stitching.composing import learn
from miostitch.stitching.composition import PixelModel
from miostitch.stitching.lazy import StitchConfig, require_way, stitch_frames
from miostitch.stitching.summary import summarise
from miostitch.stitching.tables import FrameColumns, StitchedTables, damage_flags
from miostitch.store.chunks import set_aside, take_over
from miostitch.store.layout import consolidate, create_store
from miostitch.text import printable
from miostitch.video.source import DEFAULT_MAX_FRAME_PIXELS
from miostitch.video.writer import Codec, VideoWriter

NO_RESULT = ("force", "restart", "memory_limit", "report")
"""Options that change nothing in the products."""


@dataclass(frozen=True)
class StitchOptions:
    """How to stitch.

    Parameters
    ----------
    by
        ``frame``: the best candidate of every frame; ``buffer``: composed of all of them.
    score
        Thresholds of the noise scores.
    align, max_gap
        How to tell which frames belong together; see :class:`miostitch.AlignOptions`.
    lag
        Video frame ``i + lag`` belongs to table index ``i``; ``auto``: as measured.
    keep_clocks
        Leave every time on the clock of its own receiver.
    drop_damaged
        Leave damaged frames out.
    unrecoverable_video
        Write the frames with pixels that nobody received as ``S_unrecoverable.avi``, too.
    codec
        Codec of ``S.avi``: ``rawvideo`` or ``ffv1``; ``None`` for no video file.
    debug_video
        Write ``S_debug.avi``, the candidates side by side and their difference.
    zarr_format
        3, or 2 for older readers.
    chunk_frames
        Frames per chunk of the store; by default from the frame size.
    max_frame_pixels
        Refuse videos whose frames are declared larger.
    salvage
        Go on with what matches where a table and its video disagree.
    repair
        Repair flipped headers where the redundant fields leave no doubt.
    report
        Write the quality report, ``S_report.html``.
    force
        Replace existing products once the new ones are whole.
    restart
        Begin anew even if an earlier run was cut off that could be continued.
    memory_limit
        Memory that this process may use, in bytes; it bounds the threads, never the chunks.
    """

    by: Literal["frame", "buffer"] = "frame"
    score: ScoreConfig = field(default_factory=ScoreConfig)
    align: Literal["auto", "frame-num", "time"] = "auto"
    max_gap: float | None = None
    lag: int | Literal["auto"] = 0
    keep_clocks: bool = False
    drop_damaged: bool = False
    unrecoverable_video: bool = False
    codec: Codec | None = "rawvideo"
    debug_video: bool = False
    zarr_format: int = 3
    chunk_frames: int | None = None
    max_frame_pixels: int = DEFAULT_MAX_FRAME_PIXELS
    salvage: bool = False
    repair: bool = True
    report: bool = True
    force: bool = False
    restart: bool = False
    memory_limit: int | None = None

    def __post_init__(self) -> None:
        if self.codec not in {None, *get_args(Codec)}:
            raise UsageError(f"codec {self.codec!r}: {', '.join(get_args(Codec))} or None is meant")
        if self.zarr_format not in (2, 3):
            raise UsageError(f"zarr_format {self.zarr_format}: 2 or 3 is meant")
        if not (self.lag == "auto" or isinstance(self.lag, int)):
            raise UsageError(f"lag {self.lag!r}: auto or a number of frames is meant")
        require_way(self.by)
        for name in ("chunk_frames", "max_frame_pixels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} {value}: at least 1 is needed")

    @property
    def reading(self) -> ReadOptions:
        """How to read the inputs."""
        return ReadOptions(self.salvage, self.max_frame_pixels, repair=self.repair, lag=self.lag)

    @property
    def reading_alone(self) -> ReadOptions:
        """How to read a recording that is not stitched, and the stitched one."""
        return ReadOptions(self.salvage, self.max_frame_pixels, need_table=False)

    @property
    def aligning(self) -> AlignOptions:
        """How to align."""
        return AlignOptions(self.align, self.max_gap, one_clock=not self.keep_clocks)

    @property
    def making(self) -> StitchConfig:
        """How frames are made of their candidates."""
        return StitchConfig(self.score, self.by)

    @property
    def provenance(self) -> dict[str, Any]:
        """The options that decide the result, as JSON values."""
        return {name: value for name, value in asdict(self).items() if name not in NO_RESULT}


@dataclass(frozen=True)
class _Target:
    """Where the products of a session, or of a part of it, go."""

    store: str
    path: Callable[[str], Path]
    scratch: Path
    journal: Journal
    debug: bool


def stitch_files(
    inputs: Sequence[str],
    output: str | os.PathLike[str],
    options: StitchOptions | None = None,
    *,
    accept: Callable[[int], None] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Stitch recordings of one session and publish the products.

    Parameters
    ----------
    inputs
        One path per recording, or its segments separated by commas.
    output
        Folder of the products.
    options
        How to stitch.
    accept
        Called with the number of frames before any is written, damaged ones included; what it
        raises ends the run.
    progress
        Called with frames done and frames in all, from any thread.

    Returns
    -------
    dict
        The summary, as written to ``S.json``.

    Raises
    ------
    MiostitchError
        The error's class says what is wrong; nothing stands under a final name then.
    """
    options = options or StitchOptions()
    return run_stitch(inputs, output, options, accept=accept, progress=progress).to_json()


def run_stitch(
    inputs: Sequence[str],
    output: str | os.PathLike[str],
    options: StitchOptions,
    *,
    accept: Callable[[int], None] | None = None,
    progress: Progress | None = None,
) -> StitchSummary:
    """Stitch recordings and publish the products; see :func:`stitch_files`."""
    paths, names = _check_inputs(inputs), recording_names(inputs)
    workspace = Workspace(Path(output), stitched_stem(names), STITCHED)
    files = [*paths, *map(table_path, paths)]
    how = RunOptions(options.force, options.restart, progress)
    with publish_run(workspace, files, how, resumable=True) as run:
        with passing():
            recordings = load_recordings(inputs, options.reading, names=names)
            session = bring_together(recordings, options.aligning)
        del recordings  # they are the session's, and go with it
        if accept is not None:
            accept(session.shape[0])
        run.resume(_file_states(session), options.provenance)
        run.require_space(_uncompressed_bytes(session, options))
        with at_most(_plan(session, options).threads(thread_count(), options.memory_limit)):
            summary, frames = _make(session, options, run)
        del session  # what the report tells of it stands in the store
        give_back()
        if options.report:
            stores = Path(workspace.staged(STORE)), workspace.final(STORE)
            told = summary.to_json()
            write_report(*stores, told, workspace.staged(REPORT), frames=frames)
        return run.finish(summary)


def stitched_stem(names: Sequence[str]) -> str:
    """Name the products of recordings of these names."""
    return "__".join(sorted(names)) + "_stitched"


def input_facts(recordings: Sequence[Recording]) -> list[dict[str, Any]]:
    """Name, size and digest of every file of some recordings, as their store keeps them."""
    return [
        {"name": printable(Path(path).name), "size": size, "digest": digest}
        for recording in recordings
        for path, size, digest in recording.inputs
    ]


def _plan(session: Session, options: StitchOptions) -> MemoryPlan:
    """How much memory the stitch takes."""
    count, height, width = session.shape
    return plan_stitch(
        count,
        _block(session, options) * height * width,
        len(session.recordings),
        kept_blocks=KEPT_BLOCKS,
        composed=options.by == "buffer",
        debug=options.debug_video,
    )


def _make(session: Session, options: StitchOptions, run: Run) -> tuple[StitchSummary, FrameColumns]:
    """Write every product but report and summary; return that, and what it tells per frame."""
    everything = session
    model = learn(session) if options.by == "buffer" else None
    if options.drop_damaged:
        flags = _find_damage(session, options, model, run.journal("damage"))
        session = session.only(~flags["damaged"])
        if not len(session.kept):
            msg = f"no frame of {len(flags['damaged'])} is whole; stitch without --drop-damaged"
            raise InputError(msg)
    target = _result(run, debug=options.debug_video)
    tables = _write(session, options, model, target, run.counted(session.shape[0]))
    if not options.drop_damaged:
        flags = tables.frames
    if options.unrecoverable_video and flags["unrecoverable"].any():
        part = everything.only(flags["unrecoverable"])
        _write(part, replace(options, codec=options.codec or "rawvideo"), model, _aside(run))
    summary = summarise(session, tables, options.provenance, target.journal.recalled)
    return summary, tables.frames


def _result(run: Run, *, debug: bool) -> _Target:
    """Where the products of the session go."""
    space = run.workspace
    store = str(space.staged(STORE))
    return _Target(store, space.staged, space.folder, run.journal("video"), debug)


def _aside(run: Run) -> _Target:
    """Where the unrecoverable frames go: a video and its table; the rest is not published."""
    space = run.workspace

    def path(suffix: str) -> Path:
        name = UNRECOVERABLE + suffix
        return space.staged(name) if name in STITCHED else space.folder / name

    journal = run.journal("unrecoverable")
    return _Target(str(path(STORE)), path, space.folder, journal, debug=False)


def _check_inputs(inputs: Sequence[str]) -> list[str]:
    """All files a run reads, each checked to be there and there only once."""
    if not inputs:
        raise UsageError("no recording given; name at least one video")
    paths = [path for spec in inputs for path in segment_paths(spec)]
    seen: dict[tuple[int, int], str] = {}
    for path in paths:
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
    return paths


def _uncompressed_bytes(session: Session, options: StitchOptions) -> int:
    count, height, width = session.shape
    panels = len(session.recordings) + 1
    videos = (options.codec == "rawvideo") + panels * options.debug_video
    return count * height * width * videos


def _write(
    session: Session,
    options: StitchOptions,
    model: PixelModel | None,
    target: _Target,
    progress: Callable[[int], None] | None = None,
) -> StitchedTables:
    count, height, width = session.shape
    block = _block(session, options)
    set_aside(target.store)
    create_store(
        target.store,
        shape=session.shape,
        chunk_frames=block,
        attrs=_attrs(session, options),
        zarr_format=options.zarr_format,
    )
    take_over(target.store)
    opener = partial(VideoWriter, height=height, fps=session.fps)
    avi = None
    if options.codec is not None:
        avi = partial(opener, target.path(".avi"), width=width, codec=options.codec)
    videos = [BlockVideo("video", target.store, avi)]
    if target.debug:
        panels = width * (len(session.recordings) + 1)
        scratch = str(target.scratch / "debug.zarr")
        set_aside(scratch)
        create_store(scratch, shape=(count, height, panels), chunk_frames=block, attrs={})
        take_over(scratch)
        debug = partial(opener, target.path("_debug.avi"), width=panels)
        videos.append(BlockVideo("debug", scratch, debug))
    composed = options.by == "buffer"
    with StitchedTables(session, target.store, target.path, composed=composed) as tables:
        build = partial(
            stitch_frames,
            session,
            block=block,
            config=options.making,
            model=model,
            debug=target.debug,
        )
        write_batches(
            build,
            videos,
            count,
            block,
            tables.append,
            progress=progress,
            journal=target.journal,
        )
    consolidate(target.store)
    return tables


def _block(session: Session, options: StitchOptions) -> int:
    """Frames per task and chunk."""
    return options.chunk_frames or chunk_frames(*session.shape[1:])


def _find_damage(
    session: Session, options: StitchOptions, model: PixelModel | None, journal: Journal
) -> FrameColumns:
    """Which frames are damaged and which unrecoverable, bool (frame,), before any is written."""
    count, block = session.shape[0], _block(session, options)
    flags: FrameColumns = {n: np.empty(count, bool) for n in ("damaged", "unrecoverable")}

    def build(span: slice) -> xr.Dataset:
        frames = stitch_frames(session, span, block, options.making, model=model)
        return frames[["source", "missing_pixels", "noisy_pixels"]]

    def finish(span: slice, computed: xr.Dataset) -> None:
        found = damage_flags(session, span, computed, composed=options.by == "buffer")
        for name, values in found.items():
            flags[name][span] = values

    write_batches(build, [], count, block, finish, journal=journal)
    return flags


def _file_states(session: Session) -> list[list[object]]:
    """Path, size, digest and time of the last change of every file that was read."""
    files = [file for recording in session.recordings for file in recording.inputs]
    return [[*file, os.stat(file.path).st_mtime_ns] for file in files]


def _attrs(session: Session, options: StitchOptions) -> dict[str, Any]:
    """Attributes of the store: nothing in them depends on the machine or the day."""
    return {
        "recordings": [printable(recording.name) for recording in session.recordings],
        "inputs": input_facts(session.recordings),
        "fps": str(session.fps),
        "config": options.provenance,
        "versions": {"miostitch": version("miostitch")},
    }
