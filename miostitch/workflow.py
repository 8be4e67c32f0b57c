"""Whole runs: from the files of a session to published products."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any, get_args

from miostitch.config import ScoreConfig
from miostitch.damage import lost_buffers
from miostitch.encoding import Codec, VideoWriter
from miostitch.errors import MissingInputError, ResourceError, UsageError
from miostitch.memory import give_back
from miostitch.products import StitchedTables
from miostitch.recording import (
    ReadOptions,
    load_recording,
    recording_names,
    segment_paths,
    table_path,
)
from miostitch.schema import NO_FRAME, chunk_frames
from miostitch.session import Session, bring_together
from miostitch.staging import Workspace
from miostitch.stitching import stitch_frames
from miostitch.store import consolidate, create_store
from miostitch.text import printable
from miostitch.video import DEFAULT_MAX_FRAME_PIXELS
from miostitch.writing import BlockVideo, write_batches

PRODUCTS = (
    ".zarr",
    ".avi",
    ".csv",
    "_timestamps.csv",
    "_scores.csv",
    "_debug.avi",
    ".json",
)
"""Endings of everything a stitch can publish; the summary comes last, as the sign of success."""

REPORTED_DUPLICATES = 5
NAME_BYTES = 255

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class StitchOptions:
    """How to stitch.

    Parameters
    ----------
    score
        Thresholds of the noise scores.
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
    force
        Replace existing products once the new ones are whole.
    """

    score: ScoreConfig = field(default_factory=ScoreConfig)
    codec: Codec | None = "rawvideo"
    debug_video: bool = False
    zarr_format: int = 3
    chunk_frames: int | None = None
    max_frame_pixels: int = DEFAULT_MAX_FRAME_PIXELS
    salvage: bool = False
    repair: bool = True
    force: bool = False

    def __post_init__(self) -> None:
        if self.codec not in {None, *get_args(Codec)}:
            raise UsageError(f"codec {self.codec!r}: {', '.join(get_args(Codec))} or None is meant")
        if self.zarr_format not in (2, 3):
            raise UsageError(f"zarr_format {self.zarr_format}: 2 or 3 is meant")
        for name in ("chunk_frames", "max_frame_pixels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} {value}: at least 1 is needed")

    @property
    def reading(self) -> ReadOptions:
        """How to read the inputs."""
        return ReadOptions(self.salvage, self.max_frame_pixels, repair=self.repair)

    @property
    def provenance(self) -> dict[str, Any]:
        """The options that decide the result, as JSON values."""
        return {name: value for name, value in asdict(self).items() if name != "force"}


def stitch_files(
    inputs: Sequence[str],
    output: str | os.PathLike[str],
    options: StitchOptions | None = None,
    *,
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
    paths = _check_inputs(inputs)
    names = recording_names(inputs)
    stem = "__".join(sorted(names)) + "_stitched"
    longest = max(len(os.fsencode(f".{stem}{suffix}")) for suffix in (*PRODUCTS, ".miostitch"))
    if longest > NAME_BYTES:
        raise UsageError(f"{stem}: too long for a file name; rename the recordings")
    workspace = Workspace(Path(output), stem, PRODUCTS)
    with workspace.open([*paths, *map(table_path, paths)], force=options.force):
        recordings = [
            load_recording(spec, name=name, options=options.reading)
            for spec, name in zip(inputs, names, strict=True)
        ]
        session = bring_together(recordings)
        give_back()
        _require_space(session, options, workspace.output)
        tables = _write(session, options, workspace, progress)
        summary = _summarise(session, options, tables)
        summary["outputs"] = [str(workspace.final(s)) for s in PRODUCTS if _made(workspace, s)]
        _write_summary(workspace.staged(".json"), summary)
        workspace.publish()
    return summary


def _write_summary(path: Path, summary: dict[str, Any]) -> None:
    try:
        path.write_text(json.dumps(summary, indent=1) + "\n")
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written: {error.strerror}") from error


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


def _require_space(session: Session, options: StitchOptions, output: Path) -> None:
    """Refuse a run that cannot fit: what is written without compression is known beforehand."""
    count, height, width = session.shape
    raw = count * height * width
    panels = len(session.recordings) + 1
    needed = raw * ((options.codec == "rawvideo") + panels * options.debug_video)
    free = shutil.disk_usage(output).free
    if needed > free:
        msg = f"{output}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free; make room"
        raise ResourceError(msg)


def _write(
    session: Session, options: StitchOptions, workspace: Workspace, progress: Progress | None
) -> StitchedTables:
    count, height, width = session.shape
    block = options.chunk_frames or chunk_frames(height, width)
    store = str(workspace.staged(".zarr"))
    create_store(
        store,
        shape=session.shape,
        chunk_frames=block,
        attrs=_attrs(session, options),
        zarr_format=options.zarr_format,
    )
    opener = partial(VideoWriter, height=height, fps=session.fps)
    avi = None
    if options.codec is not None:
        avi = partial(opener, workspace.staged(".avi"), width=width, codec=options.codec)
    videos = [BlockVideo("video", store, avi)]
    if options.debug_video:
        panels = width * (len(session.recordings) + 1)
        scratch = str(workspace.folder / "debug.zarr")
        shape = (count, height, panels)
        create_store(scratch, shape=shape, chunk_frames=block, attrs={})
        debug = partial(opener, workspace.staged("_debug.avi"), width=panels)
        videos.append(BlockVideo("debug", scratch, debug))

    with StitchedTables(session, store, workspace.staged) as tables:
        done = _Counter(count, progress) if progress else None
        build = partial(
            stitch_frames, session, block=block, config=options.score, debug=options.debug_video
        )
        write_batches(build, videos, count, block, tables.append, progress=done)
    consolidate(store)
    return tables


class _Counter:
    """Sums finished frames for a progress display."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._done, self._total, self._progress = 0, total, progress
        self._lock = Lock()

    def __call__(self, frames: int) -> None:
        with self._lock:
            self._done += frames
            self._progress(self._done, self._total)


def _attrs(session: Session, options: StitchOptions) -> dict[str, Any]:
    """Attributes of the store: nothing in them depends on the machine or the day."""
    return {
        "recordings": [printable(recording.name) for recording in session.recordings],
        "inputs": [
            {"name": printable(Path(path).name), "size": size, "digest": digest}
            for recording in session.recordings
            for path, size, digest in recording.inputs
        ],
        "fps": str(session.fps),
        "config": options.provenance,
        "versions": {name: version(name) for name in ("miostitch",)},
    }


def _summarise(session: Session, options: StitchOptions, tables: StitchedTables) -> dict[str, Any]:
    source, frames = tables.frames["source"], tables.frames
    present = session.alignment.source_frame != NO_FRAME
    sole = session.alignment.unlinked
    lost = session.alignment.lost_frame_num
    warnings = [notice for recording in session.recordings for notice in recording.notices]
    return {
        "frames": len(source),
        "frame_num": [int(session.alignment.frame_num[i]) for i in (0, -1)],
        "damaged": int(frames["damaged"].sum()),
        "unrecoverable": int(frames["unrecoverable"].sum()),
        "missing_pixels": int(frames["missing_pixels"].sum()),
        "lost_frame_num": [list(span) for span in lost],
        "recordings": [
            {
                "path": printable(recording.path),
                "name": printable(recording.name),
                "frames": int(here.sum()),
                "buffers_lost": lost_buffers(
                    recording.frames.frame_num, recording.frames.buffers, len(session.bounds) - 1
                ),
                "repairs": sum(len(table.repairs) for table in recording.tables),
                "chosen": int((source == number).sum()),
                "sole": sole[number],
            }
            for number, (recording, here) in enumerate(
                zip(session.recordings, present, strict=True)
            )
        ],
        "warnings": [printable(w) for w in (*warnings, *_session_warnings(session))],
        "config": options.provenance,
        "versions": {name: version(name) for name in ("miostitch", "av", "zarr", "numpy")},
    }


def _session_warnings(session: Session) -> list[str]:
    """What a user should know about the recordings together."""
    warnings = list(session.alignment.notices)
    rates = {str(video.fps): video.path for r in session.recordings for video in r.videos}
    if len(rates) > 1:
        found = ", ".join(f"{path}: {rate} fps" for rate, path in rates.items())
        warnings.append(f"frame rates differ ({found}); the first is used, frame_num aligns")
    duplicates = session.alignment.duplicates
    for duplicate in duplicates[:REPORTED_DUPLICATES]:
        recording = session.recordings[duplicate.recording]
        dropped = ", ".join(map(str, duplicate.dropped))
        warnings.append(
            f"{recording.path}: frame_num {duplicate.frame_num} stands in several frames; frame "
            f"{duplicate.kept} has most buffers and is the candidate, not {dropped}"
        )
    if len(duplicates) > REPORTED_DUPLICATES:
        warnings.append(f"{len(duplicates) - REPORTED_DUPLICATES} more frame_num stand repeatedly")
    return warnings


def _made(workspace: Workspace, suffix: str) -> bool:
    return suffix == ".json" or workspace.staged(suffix).exists()
