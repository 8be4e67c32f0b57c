"""Checks a stitched result: what stitching the same inputs again would write must be there."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.arrays import Bools
from miostitch.buffers.row_writer import BufferTable
from miostitch.errors import InputError
from miostitch.execution.engine import Block, Tables, TableThread
from miostitch.execution.progress import Progress, counted
from miostitch.ranges import spans
from miostitch.recording.provenance import listed_objects
from miostitch.schema import VIDEO
from miostitch.session.session import Session
from miostitch.stitching.block import PANELS, plan_block
from miostitch.stitching.composition import PixelModel
from miostitch.stitching.copies import learn
from miostitch.stitching.rows import rows_of_buffers, rows_of_frames
from miostitch.stitching.summary import summarise
from miostitch.stitching.tables import StitchedTables, column_names, damage_flags
from miostitch.text import amount
from miostitch.verify.findings import Kind
from miostitch.verify.frames import Copies, check_form
from miostitch.verify.inputs import Inputs
from miostitch.verify.products import Result, compare_summary
from miostitch.verify.store import Store, compare_arrays, create_like
from miostitch.verify.tables import compare_all_tables, write_stored_tables

WORKERS = 8
"""Most threads; each holds a block of the result and of every recording."""

TABLES = (".csv", "_timestamps.csv", "_scores.csv", "_unrecoverable.csv")
OF_THE_RUN = ("warnings", "resumed_blocks", "config", "versions", "digests", "outputs")
"""Keys of a summary that other checks compare, or that a run may have otherwise."""

PATHS = ("path", "relative_path", "table", "file")
"""Keys of a summary that depend on where the inputs are."""

Make = Callable[[Session, set[str], slice], Block]
"""Makes videos and tables of some output frames of a session again."""


def check_stitched(
    result: Result, store: Store, inputs: Inputs, folder: Path, progress: Progress | None
) -> None:
    """Compare frames, tables and summary; ``folder`` is for what is made again."""
    with ThreadPoolExecutor(min(os.cpu_count() or 1, WORKERS), "miostitch-verify") as pool:
        check = StitchCheck(result, store, inputs, folder, pool, progress)
        if inputs.session is None:
            check.without_inputs()
            return
        try:
            check.with_inputs(inputs.session)
        except InputError as error:  # found while it is read, as is a damaged frame
            store.findings.add(Kind.INPUT, store.name, f"cannot be stitched again: {error}")
            what = "tables and scores, for a recording cannot be read"
            store.findings.add(Kind.NOT_CHECKED, store.name, what)
            check.without_inputs()


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
        write_stored_tables(store, self.result.path(".csv"), self.folder)
        compare_all_tables(self.result, self.folder, TABLES)

    def with_inputs(self, everything: Session) -> None:
        """Stitch again, and compare everything."""
        store, composed, session = self.store, self.inputs.composed, everything
        make = partial(self._make, learn(everything) if composed else None)
        chosen: dict[str, NDArray[Any]] = {}
        if self.inputs.options.drop_damaged:
            chosen = self._survey(make, everything)
            session = everything.only(~chosen["damaged"])
        if session.shape != store.shape:
            what = f"{amount(store.shape[0], 'frame')}, the recordings have {session.shape[0]}"
            store.findings.add(Kind.COUNT, store.name, what)
            self.without_inputs()
            return
        made = self.folder / "made.zarr"
        create_like(store, made)
        debug = {PANELS} if self.result.open_video("_debug.avi") else set[str]()
        make_block = partial(make, session, {VIDEO.name} | debug)
        with (
            StitchedTables(session, str(made), self.folder.joinpath, composed=composed) as tables,
            TableThread(tables.append, session.shape[0]) as several,
        ):
            for span, computed in self._compare_frames(make_block, None):
                several.add(span, computed)
        chosen = chosen or {**tables.frames, **tables.composition}
        self._check_unrecoverable(make, everything, chosen)
        compare_arrays(store, made)
        compare_all_tables(self.result, self.folder, TABLES)
        if self.result.summary:
            again = summarise(session, tables, {}, 0, self.result.folder).to_json()
            _compare_summary(self.result, {n: v for n, v in again.items() if n not in OF_THE_RUN})

    def _make(
        self, model: PixelModel | None, session: Session, videos: set[str], span: slice
    ) -> Block:
        score, composed = self.inputs.options.score, self.inputs.composed
        plan = plan_block(session, span, score, composed=composed, model=model)
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
        flags = None if self.inputs.options.drop_damaged else store.values("unrecoverable")
        count, unrecoverable = store.shape[0], None if flags is None else int(flags.sum())
        counts = {".avi": count, "_debug.avi": count, "_unrecoverable.avi": unrecoverable}
        for suffix, frames in counts.items():
            video = self.result.open_video(suffix)
            if video is not None:
                panels = len(store.recordings) + 1 if suffix == "_debug.avi" else 1
                check_form(store, video, panels, frames)
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
        with BufferTable(column_names(session), self.folder / "_unrecoverable.csv", None) as table:
            for span in parts:
                table.append(rows_of(session, span, source[span]))
        video = self.result.videos.get("_unrecoverable.avi")
        if options.drop_damaged and video is not None:

            def compare(span: slice) -> None:
                frames = make(session, {VIDEO.name}, span).videos[VIDEO.name]
                video.compare(frames, np.arange(span.start, span.stop), "the recordings have")

            deque(self.pool.map(compare, parts), 0)


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
