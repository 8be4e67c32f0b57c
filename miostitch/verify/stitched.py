"""Checks a stitched result: what stitching the same inputs again would write must be there."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.arrays import I64, U8, Bools
from miostitch.buffers.row_writer import BufferTable
from miostitch.buffers.table import buffer_layout
from miostitch.composing.composition import PixelModel
from miostitch.composing.confidence import frame_confidence
from miostitch.composing.copies import learn
from miostitch.errors import InputError
from miostitch.execution.engine import Block, Tables, TableThread
from miostitch.execution.products import STORE
from miostitch.execution.progress import Progress, counted
from miostitch.origins.provenance import listed_objects
from miostitch.ranges import spans
from miostitch.recording.recording import Recording
from miostitch.schema import NO_FRAME, VIDEO, Evidence
from miostitch.session.session import Session
from miostitch.stitching.block import PANELS, plan_block
from miostitch.stitching.rows import rows_of_buffers, rows_of_frames
from miostitch.stitching.summary import summarise
from miostitch.stitching.tables import StitchedTables, column_names, damage_flags, left_out
from miostitch.text import amount
from miostitch.verify.findings import Kind
from miostitch.verify.inputs import Inputs, open_inputs
from miostitch.verify.products import Result, Video, compare_summary
from miostitch.verify.store import Store, check_times, compare_arrays, compare_times, create_like
from miostitch.verify.tables import compare_all_tables, write_stored_tables

WORKERS = 8  # Most threads; each holds a block of the result and of every recording
TABLES = (".csv", "_timestamps.csv", "_scores.csv", "_unrecoverable.csv")
OF_THE_RUN = ("warnings", "notes", "resumed_blocks", "config", "versions", "digests", "outputs")
"""Keys of a summary that other checks compare, or that a run may have otherwise."""

COPIED = (Evidence.SINGLE, Evidence.IDENTICAL, Evidence.MAJORITY)
"""Evidence of buffers that are a copy of a recording's."""

PATHS = ("path", "relative_path", "table", "tables", "file")
"""Keys of a summary that depend on where the inputs are."""

Make = Callable[[Session, set[str], slice], Block]
"""Makes videos and tables of some output frames of a session again."""


def check_stitched(
    result: Result,
    recordings: Sequence[str | os.PathLike[str]],
    folder: Path,
    progress: Progress | None,
) -> dict[str, Any]:
    """Compare frames, tables and summary; ``folder`` is for what is made again."""
    store = result.store
    if store is None:
        what = "frames and tables, for the store is not readable"
        result.findings.add(Kind.NOT_CHECKED, f"{result.stem}{STORE}", what)
        return {"kind": "stitch", "frames": 0}
    inputs = open_inputs(store, result.summary, recordings)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, WORKERS), "miostitch-verify") as pool:
        check = StitchCheck(result, store, inputs, folder, pool, progress)
        session = inputs.session
        try:
            if session is not None:
                check.with_inputs(session)
        except InputError as error:  # found while it is read, as is a damaged frame
            store.findings.add(Kind.INPUT, store.name, f"cannot be stitched again: {error}")
            what = "tables and scores, for a recording cannot be read"
            store.findings.add(Kind.NOT_CHECKED, store.name, what)
            session = None
        if session is None:
            check.without_inputs()
    return {"kind": "stitch", "frames": store.shape[0]}


@dataclass(frozen=True)
class Copies:
    """Frames of some of the inputs, to which those that were taken from them must be equal."""

    store: Store
    recordings: Mapping[int, Recording]
    composed: bool
    tables: Mapping[str, NDArray[Any]]  # Of the store: which frame and buffer is from where
    bounds: I64  # Limits of the buffers in a flattened frame

    @classmethod
    def of(
        cls, store: Store, recordings: Mapping[int, Recording], *, composed: bool
    ) -> "Copies | None":
        """What the store says of its frames; None if it does not."""
        names = ["scores/source_frame", "source"]
        names += ["composition/buffer_source", "composition/buffer_evidence"] if composed else []
        found = {name: store.values(name) for name in names}
        tables = {name: values for name, values in found.items() if values is not None}
        parts = [table for recording in recordings.values() for table in recording.tables]
        if len(tables) < len(names) or not parts:
            return None
        try:
            bounds = buffer_layout(parts, store.shape[1] * store.shape[2])
        except InputError as error:
            store.findings.add(Kind.INPUT, store.name, str(error))
            return None
        return cls(store, recordings, composed, tables, bounds)

    def compare(self, made: U8, span: slice, chunk: str) -> None:
        """Compare the frames, or the buffers, that were copied."""
        store, at = self.store, np.arange(span.start, span.stop)
        for number, recording in self.recordings.items():
            frames = self.tables["scores/source_frame"][number, span].astype(np.int64)
            frames[frames >= recording.shape[0]] = NO_FRAME
            try:
                theirs = recording.reader(frames).read()
            except InputError as error:
                store.findings.add(Kind.INPUT, recording.path, str(error), frame=span.start)
                continue
            if self.composed:
                taken = self._taken_pixels(number, span, recording, frames).reshape(made.shape)
            else:
                of_these = (self.tables["source"][span] == number) & (frames != NO_FRAME)
                taken = of_these[:, np.newaxis, np.newaxis]
            expected, witness = np.where(taken, theirs, made), f"{store.recordings[number]} has"
            store.findings.pixels(store.name, made, expected, at, witness, chunk=chunk)

    def _taken_pixels(self, number: int, span: slice, recording: Recording, frames: I64) -> Bools:
        """Pixels of those buffers that were delivered whole and copied, (frame, pixel)."""
        sizes = np.diff(self.bounds)
        whole = recording.frames.given_pixels(frames, self.bounds) == sizes
        source = self.tables["composition/buffer_source"][span] == number
        evidence = np.isin(self.tables["composition/buffer_evidence"][span], COPIED)
        return np.repeat(whole & source & evidence, sizes, axis=1)


@dataclass(frozen=True)
class StitchCheck:
    """Checks one stitch."""

    result: Result
    store: Store
    inputs: Inputs
    folder: Path
    pool: ThreadPoolExecutor
    progress: Progress | None

    def without_inputs(self) -> None:
        """Compare with those inputs that are there, and the products with each other."""
        store, inputs = self.store, self.inputs
        there = {n: each for n, each in enumerate(inputs.recordings) if each is not None}
        copies = Copies.of(store, there, composed=inputs.composed) if there else None
        for _ in self._compare_frames(None, copies):
            pass
        check_times(store, self.folder)
        write_stored_tables(store, self.result.path(".csv"), self.folder)
        compare_all_tables(self.result, self.folder, TABLES)

    def with_inputs(self, everything: Session) -> None:
        """Stitch again, and compare everything."""
        store, composed, session = self.store, self.inputs.composed, everything
        make = partial(self._make, learn(everything))
        chosen: dict[str, NDArray[Any]] = {}
        uncertain, options = 0, self.inputs.options
        if options.drops:
            chosen = self._survey(make, everything)
            damaged, unsure = left_out(chosen, options)
            session, uncertain = everything.only(~(damaged | unsure)), int(unsure.sum())
        if session.shape != store.shape:
            what = f"{amount(store.shape[0], 'frame')}, the recordings have {session.shape[0]}"
            store.findings.add(Kind.COUNT, store.name, what)
            self.without_inputs()
            return
        made = self.folder / "made.zarr"
        create_like(store, made)
        debug = {PANELS} if self.result.open_video("_debug.avi") else set[str]()
        with (
            StitchedTables(session, str(made), self.folder.joinpath, composed=composed) as tables,
            TableThread(tables.append, session.shape[0]) as several,
        ):

            def make_block(span: slice) -> Block:
                block = make(session, {VIDEO.name} | debug, span)
                rows = tables.plan_rows(span).make(block.tables)
                return Block(block.videos, {**block.tables, **rows})

            for span, computed in self._compare_frames(make_block, None):
                several.add(span, computed)
        chosen = chosen or {**tables.frames, **tables.composition}
        self._check_unrecoverable(make, everything, chosen)
        compare_arrays(store, made)
        compare_times(store, made)
        compare_all_tables(self.result, self.folder, TABLES)
        if self.result.summary:
            again = summarise(session, tables, [], {}, 0, self.result.folder, uncertain)
            known = again.to_json()
            _compare_summary(self.result, {n: v for n, v in known.items() if n not in OF_THE_RUN})

    def _make(self, model: PixelModel, session: Session, videos: set[str], span: slice) -> Block:
        plan = plan_block(session, span, self.inputs.options.config, model=model)
        return plan.make(videos, tables=True)

    def _compare_frames(
        self, make: Callable[[slice], Block] | None, copies: Copies | None
    ) -> Iterator[tuple[slice, Tables]]:
        """Compare every block; give what was made again of its tables, in order."""
        count = self.store.shape[0]
        advance, parts = counted(self.progress, count), spans(count, self.store.block)
        check = partial(self._compare_block, self._open_videos(), make, copies)
        for span, tables in zip(parts, self.pool.map(check, parts), strict=True):
            yield span, tables
            if advance is not None:
                advance(span.stop - span.start)

    def _open_videos(self) -> Bools:
        """Open the videos next to the store, and compare their form.

        Returns: Which frames are in the video of the unrecoverable ones, (frame,).
        """
        store = self.store
        flags = None if self.inputs.options.drops else store.values("unrecoverable")
        count, unrecoverable = store.shape[0], None if flags is None else int(flags.sum())
        counts = {".avi": count, "_debug.avi": count, "_unrecoverable.avi": unrecoverable}
        for suffix, frames in counts.items():
            video = self.result.open_video(suffix)
            if video is not None:
                panels = len(store.recordings) + 1 if suffix == "_debug.avi" else 1
                _check_form(store, video, panels, frames)
        return np.zeros(count, np.bool_) if flags is None else flags

    def _compare_block(
        self,
        unrecoverable: Bools,
        make: Callable[[slice], Block] | None,
        copies: Copies | None,
        span: slice,
    ) -> Tables:
        """Compare the frames of a block; give what was made again of its tables."""
        store, videos, number = self.store, self.result.videos, span.start // self.store.block
        at, chunk = np.arange(span.start, span.stop), store.chunk_key(number)
        computed = make(span) if make else Block()
        again, found = computed.videos.get(VIDEO.name), store.video_block(number)
        if found is not None and again is not None:
            witness = "made again of the recordings it is"
            store.findings.pixels(store.name, found, again, at, witness, chunk=chunk)
        elif found is not None and copies is not None:
            copies.compare(found, span, chunk)
        frames = again if found is None else found
        if frames is not None and ".avi" in videos:
            videos[".avi"].compare(frames, at, "the store has")
        if frames is not None and "_unrecoverable.avi" in videos:
            lost = np.flatnonzero(unrecoverable[span])
            place = int(unrecoverable[: span.start].sum()) + np.arange(len(lost))
            videos["_unrecoverable.avi"].compare(frames[lost], place, "the store has")
        if PANELS in computed.videos:
            videos["_debug.avi"].compare(computed.videos[PANELS], at, "the recordings have")
        return computed.tables

    def _survey(self, make: Make, session: Session) -> dict[str, NDArray[Any]]:
        """Which frames are damaged and unrecoverable, and where all of them are from."""
        composed = self.inputs.composed
        names = ("source", "buffer_source") if composed else ("source",)

        def survey(span: slice) -> dict[str, NDArray[Any]]:
            known = make(session, set(), span).tables
            pixels = known["missing_pixels"], known["noisy_pixels"]
            flags = damage_flags(session, span, *pixels, composed=composed)
            flags["confidence"] = frame_confidence(known["confidence"])
            return {**flags, **{name: known[name] for name in names}}

        parts = [*self.pool.map(survey, spans(session.shape[0], self.store.block))]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _check_unrecoverable(
        self, make: Make, everything: Session, chosen: dict[str, NDArray[Any]]
    ) -> None:
        """Make the table of the unrecoverable frames again; compare those that are in no store."""
        lost, composed, options = chosen["unrecoverable"], self.inputs.composed, self.inputs.options
        if not options.unrecoverable_video or not lost.any():
            return
        session = everything.only(lost)
        source = chosen["buffer_source" if composed else "source"][lost].astype(np.int8)
        rows_of = rows_of_buffers if composed else rows_of_frames
        parts = spans(session.shape[0], self.store.block)
        columns = column_names(session, composed=composed)
        with BufferTable(columns, self.folder / "_unrecoverable.csv", None) as table:
            for span in parts:
                table.append(rows_of(session, span, source[span]))
        video = self.result.videos.get("_unrecoverable.avi")
        if options.drops and video is not None:

            def compare(span: slice) -> None:
                frames = make(session, {VIDEO.name}, span).videos[VIDEO.name]
                video.compare(frames, np.arange(span.start, span.stop), "the recordings have")

            deque(self.pool.map(compare, parts), 0)


def _check_form(store: Store, video: Video, panels: int, frames: int | None) -> None:
    """Compare size, rate and number of frames of a video with those of the store."""
    _, height, width = store.shape
    found = video.source
    if (found.height, found.width) != (height, width * panels):
        what = f"frames of {found.width}x{found.height} pixels, not {width * panels}x{height}"
        store.findings.add(Kind.FORMAT, video.name, what)
    if str(found.fps) != store.attrs.get("fps"):
        what = f"{found.fps} frames per second, the store says {store.attrs.get('fps')}"
        store.findings.add(Kind.ATTRIBUTES, video.name, what, column="fps")
    if frames is not None and found.frame_count != frames:
        what = f"{amount(found.frame_count, 'frame')}, there should be {frames}"
        store.findings.add(Kind.COUNT, video.name, what)


def _compare_summary(result: Result, facts: dict[str, Any]) -> None:
    """Compare all but warnings, and where the inputs are."""
    facts = json.loads(json.dumps(facts))
    recordings = facts.pop("recordings")
    compare_summary(result, result.summary, facts)
    found = listed_objects(result.summary, "recordings")
    if len(found) != len(recordings):
        compare_summary(result, result.summary, {"recordings": recordings})
        return
    for number, (ours, theirs) in enumerate(zip(found, recordings, strict=True)):
        for name in theirs.keys() - {*PATHS}:
            if _without_paths(ours.get(name)) != _without_paths(theirs[name]):
                compare_summary(result, ours, {name: theirs[name]}, f"recordings[{number}].")


def _without_paths(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_paths(each) for each in value]
    if isinstance(value, dict):
        return {name: _without_paths(v) for name, v in value.items() if name not in PATHS}
    return value
