"""Checks a stitched result: what stitching the same inputs again would write must be there."""

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.buffers.row_writer import BufferTable
from miostitch.errors import InputError
from miostitch.execution.engine import Block, Tables, TableThread
from miostitch.execution.progress import Progress, counted
from miostitch.recording.provenance import listed_objects
from miostitch.schema import VIDEO
from miostitch.session.session import Session
from miostitch.stitching.block import PANELS, plan_block
from miostitch.stitching.composition import PixelModel
from miostitch.stitching.copies import learn
from miostitch.stitching.rows import rows_of_buffers, rows_of_frames
from miostitch.stitching.run import StitchOptions
from miostitch.stitching.summary import summarise
from miostitch.stitching.tables import StitchedTables, column_names, damage_flags
from miostitch.text import amount
from miostitch.verify.findings import Kind
from miostitch.verify.frames import Copies, FrameCheck, check_form
from miostitch.verify.inputs import Inputs
from miostitch.verify.products import Result, compare_summary
from miostitch.verify.store import Store, compare_arrays, create_like
from miostitch.verify.tables import compare_tables, write_stored_tables

WORKERS = 8
"""Most threads; each holds a block of the result and of every recording."""

TABLES = (".csv", "_timestamps.csv", "_scores.csv", "_unrecoverable.csv")
OF_THE_RUN = ("warnings", "resumed_blocks", "config", "versions", "digests", "outputs")
"""Keys of a summary that other checks compare, or that a run may have otherwise."""

PATHS = ("path", "relative_path", "table", "file")
"""Keys of a summary that depend on where the inputs are."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Stitch:
    """Makes blocks of a session again."""

    options: StitchOptions
    block: int
    model: PixelModel | None

    @property
    def composed(self) -> bool:
        """Whether frames are composed buffer by buffer."""
        return self.options.by == "buffer"

    def make(self, session: Session, span: slice, *, debug: bool = False) -> Block:
        """Some output frames and all that is known of them."""
        plan = plan_block(
            session, span, self.options.score, composed=self.composed, model=self.model
        )
        return plan.make({VIDEO.name, PANELS} if debug else {VIDEO.name}, tables=True)

    def blocks(
        self, session: Session, pool: ThreadPoolExecutor, leave: Callable[[Block, slice], Any]
    ) -> Iterator[tuple[slice, Any]]:
        """What is left of every block of a session, in order."""
        count = session.shape[0]
        spans = [slice(at, min(at + self.block, count)) for at in range(0, count, self.block)]
        yield from zip(
            spans, pool.map(lambda s: leave(self.make(session, s), s), spans), strict=True
        )


def check_stitched(
    result: Result, store: Store, inputs: Inputs, folder: Path, progress: Progress | None
) -> None:
    """Compare frames, tables and summary; ``folder`` is for what is made again."""
    with ThreadPoolExecutor(min(os.cpu_count() or 1, WORKERS), "miostitch-verify") as pool:
        readable = inputs.session is not None
        if inputs.session is not None:
            try:
                model = learn(inputs.session) if inputs.composed else None
                stitch = Stitch(inputs.options, store.block, model)
                _check_again(result, store, inputs, stitch, pool, folder, progress)
            except InputError as error:  # found while it is read, as is a damaged frame
                store.findings.add(Kind.INPUT, store.name, f"cannot be stitched again: {error}")
                what = "tables and scores, for a recording cannot be read"
                store.findings.add(Kind.NOT_CHECKED, store.name, what)
                readable = False
        if not readable:
            _check_alone(result, store, inputs, pool, folder, progress)


def _check_alone(
    result: Result,
    store: Store,
    inputs: Inputs,
    pool: ThreadPoolExecutor,
    folder: Path,
    progress: Progress | None,
) -> None:
    """Compare with those inputs that are there, and the products with each other."""
    there = {n: each for n, each in enumerate(inputs.recordings) if each is not None}
    copies = Copies.of(store, there, composed=inputs.composed) if there else None
    check = _frame_check(result, store, inputs, None, copies)
    for _ in _checked(store, check, pool, progress):
        pass
    write_stored_tables(store, result.path(".csv"), folder)
    _compare_tables(result, folder)


def _check_again(
    result: Result,
    store: Store,
    inputs: Inputs,
    stitch: Stitch,
    pool: ThreadPoolExecutor,
    folder: Path,
    progress: Progress | None,
) -> None:
    """Stitch again, and compare everything."""
    everything = session = inputs.session
    assert everything is not None
    assert session is not None
    chosen: dict[str, NDArray[Any]] = {}
    if stitch.options.drop_damaged:
        chosen = _survey(everything, stitch, pool)
        session = everything.only(~chosen["damaged"])
    if session.shape != store.shape:
        what = f"{amount(store.shape[0], 'frame')}, the recordings have {session.shape[0]}"
        store.findings.add(Kind.COUNT, store.name, what)
        _check_alone(result, store, inputs, pool, folder, progress)
        return
    made = folder / "made.zarr"
    create_like(store, made)
    debug = result.open_video("_debug.avi") is not None
    check = _frame_check(result, store, inputs, partial(stitch.make, session, debug=debug), None)
    with (
        StitchedTables(session, str(made), folder.joinpath, composed=stitch.composed) as tables,
        TableThread(tables.append, session.shape[0]) as several,
    ):
        for span, computed in _checked(store, check, pool, progress):
            assert computed is not None
            several.add(span, computed)
    chosen = chosen or {**tables.frames, **tables.composition}
    _make_unrecoverable(result, everything, stitch, chosen, pool, folder)
    compare_arrays(store, made)
    _compare_tables(result, folder)
    if result.summary:
        again = summarise(session, tables, {}, 0, result.folder).to_json()
        _compare_summary(result, {n: v for n, v in again.items() if n not in OF_THE_RUN})


def _checked(
    store: Store, check: FrameCheck, pool: ThreadPoolExecutor, progress: Progress | None
) -> Iterator[tuple[slice, Tables | None]]:
    """What is left of every block in order, after its frames were compared."""
    count, advance = store.shape[0], counted(progress, store.shape[0])
    for number, computed in enumerate(pool.map(check.check, range(-(-count // store.block)))):
        span = slice(number * store.block, min((number + 1) * store.block, count))
        yield span, computed
        if advance is not None:
            advance(span.stop - span.start)


def _frame_check(
    result: Result,
    store: Store,
    inputs: Inputs,
    make: Callable[[slice], Block] | None,
    copies: Copies | None,
) -> FrameCheck:
    """Open the videos next to the store, and compare their form."""
    flags = None if inputs.options.drop_damaged else store.values("unrecoverable")
    counts = {".avi": store.shape[0], "_debug.avi": store.shape[0]}
    counts |= {} if flags is None else {"_unrecoverable.avi": int(flags.sum())}
    for suffix in (".avi", "_debug.avi", "_unrecoverable.avi"):
        video = result.open_video(suffix)
        if video is not None:
            panels = len(store.recordings) + 1 if suffix == "_debug.avi" else 1
            check_form(store, video, panels, counts.get(suffix))
    return FrameCheck(store, result.videos, make, copies, flags)


def _survey(session: Session, stitch: Stitch, pool: ThreadPoolExecutor) -> dict[str, NDArray[Any]]:
    """Which frames are damaged and unrecoverable, and where all of them are from."""
    names = ("source", "buffer_source") if stitch.composed else ("source",)

    def leave(computed: Block, span: slice) -> dict[str, NDArray[Any]]:
        known = computed.tables
        pixels = known["missing_pixels"], known["noisy_pixels"]
        flags = damage_flags(session, span, *pixels, composed=stitch.composed)
        return {**flags, **{name: known[name] for name in names}}

    parts = [part for _, part in stitch.blocks(session, pool, leave)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _make_unrecoverable(
    result: Result,
    everything: Session,
    stitch: Stitch,
    chosen: dict[str, NDArray[Any]],
    pool: ThreadPoolExecutor,
    folder: Path,
) -> None:
    """Make the table of the unrecoverable frames again; compare those that are in no store."""
    lost: Bools = chosen["unrecoverable"]
    if not stitch.options.unrecoverable_video or not lost.any():
        return
    part, count = everything.only(lost), int(lost.sum())
    source = chosen["buffer_source" if stitch.composed else "source"][lost].astype(np.int8)
    with BufferTable(column_names(part), folder / "_unrecoverable.csv", None) as table:
        for start in range(0, count, stitch.block):
            span = slice(start, min(start + stitch.block, count))
            rows_of = rows_of_buffers if stitch.composed else rows_of_frames
            table.append(rows_of(part, span, source[span]))
    video = result.videos.get("_unrecoverable.avi")
    if stitch.options.drop_damaged and video is not None:

        def compare(computed: Block, span: slice) -> None:
            frames = computed.videos[VIDEO.name]
            video.compare(frames, np.arange(span.start, span.stop), "the recordings have")

        for _ in stitch.blocks(part, pool, compare):
            pass


def _compare_tables(result: Result, folder: Path) -> None:
    for suffix in TABLES:
        made = folder / suffix
        if made.is_file() and result.path(suffix).is_file():
            compare_tables(result.path(suffix), made, result.findings)


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
