"""The result of a stitch as lazy arrays, of which each block is one task, and its tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, partial
from threading import RLock
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from miostitch.arrays import I64
from miostitch.buffers.elapsed_time import measure_time
from miostitch.composing.composition import PixelModel
from miostitch.composing.copies import learn
from miostitch.execution.engine import Tables, run_blocks, spans
from miostitch.schema import (
    FRAME,
    FRAME_VARIABLES,
    HEIGHT,
    RECORDING,
    SCORE_VARIABLES,
    TIME_VARIABLES,
    WIDTH,
    Variable,
)
from miostitch.session.session import Session
from miostitch.stitching.block import ALL_COLUMNS, BlockPlan, StitchedBlock, plan_block
from miostitch.stitching.options import StitchConfig
from miostitch.stitching.rows import frame_times, rows_of_buffers, rows_of_frames
from miostitch.stitching.tables import FrameColumns, candidate_scores, frame_columns, score_rows

Axes = tuple[tuple[str, int], ...]
"""Dimensions besides ``frame``, and their sizes."""


@dataclass(frozen=True)
class BlockTables:
    """What is known of the frames of a block: some numbers each."""

    block: StitchedBlock
    frames: FrameColumns  # Variables of the root of a store, (frame,)
    scores: FrameColumns  # Those of its group ``scores``, (recording, frame)
    num_rows: I64  # Rows of buffers of each frame, (frame,)


@dataclass(frozen=True)
class SessionTables:
    """Tables of the blocks of a session, as soon as they are computed.

    A copy in another process begins without any.
    """

    session: Session
    config: StitchConfig
    size: int  # Frames per block
    owner: object = None  # Kept alive with them
    blocks: dict[int, BlockTables] = field(default_factory=dict)  # By their first frame

    def __reduce__(self) -> tuple[Any, ...]:
        return SessionTables, (self.session, self.config, self.size)

    def note(self, span: slice, block: StitchedBlock) -> BlockTables:
        """Keep what was computed of a block."""
        rows = self._find_rows(self.session, span, block)
        places = rows["reconstructed_frame_index"].to_numpy() - span.start
        known = BlockTables(
            block,
            frame_columns(self.session, span, block, frame_times(rows, span)),
            candidate_scores(self.session, span, block),
            np.bincount(places, minlength=span.stop - span.start).astype(np.int64),
        )
        self.blocks[span.start] = known
        return known

    def compute(self, frames: I64, model: PixelModel) -> None:
        """Compute the blocks of these frames that are not known yet."""
        starts = np.unique(frames // self.size * self.size).tolist()
        spans = [self._span(start) for start in starts if start not in self.blocks]
        plan = partial(plan_block, self.session, config=self.config, model=model)

        def append(numbers: slice, tables: Tables) -> None:
            begin = 0
            for span in spans[numbers]:
                end = begin + span.stop - span.start
                columns = {name: values[begin:end] for name, values in tables.items()}
                self.note(span, StitchedBlock(**columns))
                begin = end

        run_blocks(lambda number: plan(spans[number.start]), len(spans), 1, append)

    def column(self, group: str, name: str, dtype: str) -> NDArray[Any]:
        """A column of a group for all frames; zero where it is not known."""
        count, values = self.session.shape[0], self._known(group, name)
        kept = [*values.values()]
        axis = -1 if group == "scores" else 0
        shape = [*kept[0].shape] if kept else [count]
        shape[axis] = count
        out = np.zeros(shape, dtype)
        for start, part in values.items():
            stop = start + part.shape[axis]
            out[(..., slice(start, stop)) if axis else slice(start, stop)] = part
        return out

    def rows(self, frames: I64) -> pd.DataFrame:
        """Rows of distinct frames, ascending, in their order."""
        some, block = self._only(frames)
        return self._find_rows(some, slice(0, len(frames)), block)

    def score_lines(self, frames: I64) -> pd.DataFrame:
        """Lines of ``S_scores.csv`` for distinct frames, ascending."""
        some, block = self._only(frames)
        scores = candidate_scores(some, slice(0, len(frames)), block)
        known = {"frame_num": some.frame_num(slice(None))}
        return score_rows(some, frames, known, scores, block)

    def _find_rows(self, session: Session, span: slice, block: StitchedBlock) -> pd.DataFrame:
        if self.config.composed:
            return rows_of_buffers(session, span, block.buffer_source)
        return rows_of_frames(session, span, block.source)

    def _span(self, start: int) -> slice:
        return slice(start, min(start + self.size, self.session.shape[0]))

    def _known(self, group: str, name: str) -> dict[int, NDArray[Any]]:
        """A column of all blocks that are known, by their first frame."""
        found = {}
        for start, block in sorted(self.blocks.items()):
            table = getattr(block, group)
            if group == "num_rows":
                found[start] = table
            else:
                found[start] = getattr(table, name) if group == "block" else table[name]
        return found

    def _only(self, frames: I64) -> tuple[Session, StitchedBlock]:
        """The session of some frames alone, and what is known of them."""
        chosen = np.zeros(self.session.shape[0], np.bool_)
        chosen[frames] = True
        owner = frames // self.size * self.size
        parts = [
            _pick(self.blocks[start].block, frames[owner == start] - start)
            for start in np.unique(owner).tolist()
        ]
        return self.session.only(chosen), _join(parts)


def _pick(block: StitchedBlock, places: I64) -> StitchedBlock:
    return StitchedBlock(**{name: values[places] for name, values in vars(block).items()})


def _join(blocks: Sequence[StitchedBlock]) -> StitchedBlock:
    names = vars(blocks[0])
    joined = {name: np.concatenate([vars(block)[name] for block in blocks]) for name in names}
    return StitchedBlock(**joined)


class LearnedModel:
    """What pixels look like, learned when it is first needed, and once.

    Other processes are sent what was learned, not the session.
    """

    def __init__(self, session: Session | None, model: PixelModel | None = None) -> None:
        self._session, self._model, self._lock = session, model, RLock()

    def model(self) -> PixelModel:
        """Learn it, unless that is done."""
        with self._lock:
            if self._model is None:
                assert self._session is not None
                self._model = learn(self._session)
            return self._model

    def __reduce__(self) -> tuple[Any, ...]:
        return LearnedModel, (None, self.model())


class MadeBlock:
    """A block that is made as far as it is asked for, each part once."""

    def __init__(self, plan: BlockPlan, model: LearnedModel, span: slice) -> None:
        self.span, self._plan, self._model, self._lock = span, plan, model, RLock()

    @cached_property
    def _frames(self) -> object:
        return self._plan.frames(self._model.model)

    def part(self, name: str) -> NDArray[Any]:
        """The video, or a column of :class:`StitchedBlock`."""
        with self._lock:
            found: NDArray[Any] = getattr(self._frames, name)
            return found

    def table(self, tables: SessionTables, group: str, name: str) -> NDArray[Any]:
        """What is known of its frames, (frame,), or of their candidates, (recording, frame)."""
        with self._lock:
            known = tables.blocks.get(self.span.start)
            if known is None:
                columns = {column: self.part(column) for column in ALL_COLUMNS}
                known = tables.note(self.span, StitchedBlock(**columns))
        found: NDArray[Any] = getattr(known, group)[name]
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return MadeBlock, (self._plan, self._model, self.span)


@dataclass(frozen=True)
class LazyBlocks:
    """Blocks of output frames as a lazy array of :class:`MadeBlock`, and the frames of each."""

    blocks: da.Array
    sizes: tuple[int, ...]

    @classmethod
    def plan(
        cls,
        session: Session,
        span: slice,
        block: int,
        config: StitchConfig,
        model: LearnedModel,
    ) -> "LazyBlocks":
        """Plan some output frames in blocks of a size."""
        parts = [
            slice(span.start + part.start, span.start + part.stop)
            for part in spans(span.stop - span.start, block)
        ]
        name = f"stitch-{tokenize(object())}"  # the plans decide nothing in the names of arrays
        tasks: dict[Any, Any] = {
            (name, number): (partial(_make, plan_block(session, part, config), model, part),)
            for number, part in enumerate(parts)
        }
        graph = HighLevelGraph.from_collections(name, tasks, dependencies=[])
        blocks = da.Array(graph, name, ((1,) * len(parts),), dtype=object, meta=np.empty(0, object))
        return cls(blocks, tuple(part.stop - part.start for part in parts))

    def field(
        self, name: str, dtype: np.dtype[Any], axes: Axes = ()
    ) -> tuple[tuple[str, ...], da.Array]:
        """The video or a column of all blocks, as a variable."""
        data = da.map_blocks(
            partial(_take, name=name),
            self.blocks,
            new_axis=[*range(1, 1 + len(axes))],
            chunks=(self.sizes, *((size,) for _, size in axes)),
            dtype=dtype,
            meta=np.empty((0,) * (1 + len(axes)), dtype),
        )
        return (FRAME, *(dim for dim, _ in axes)), data

    def table(self, tables: SessionTables, variable: Variable) -> da.Array:
        """What is known of each frame, or of each candidate, by all blocks."""
        of_candidates = RECORDING in variable.dims
        recordings = len(tables.session.recordings)
        data: da.Array = da.map_blocks(
            partial(
                _take_table,
                tables=tables,
                group="scores" if of_candidates else "frames",
                name=variable.name,
            ),
            self.blocks,
            new_axis=[0] if of_candidates else None,
            chunks=((recordings,), self.sizes) if of_candidates else (self.sizes,),
            dtype=variable.dtype,
            meta=np.empty((0,) * len(variable.dims), variable.dtype),
        )
        return data


def lazy_video(blocks: LazyBlocks, session: Session) -> tuple[tuple[str, ...], da.Array]:
    """The frames, uint8 (frame, height, width)."""
    shape = tuple(zip((HEIGHT, WIDTH), session.shape[1:], strict=True))
    return blocks.field("video", np.dtype(np.uint8), shape)


def lazy_frame_table(blocks: LazyBlocks, tables: SessionTables) -> dict[str, xr.Variable]:
    """What a store has of each frame, lazily."""
    session, made = tables.session, {}
    for variable in FRAME_VARIABLES:
        if variable in TIME_VARIABLES:
            continue
        data = blocks.table(tables, variable)
        made[variable.name] = xr.Variable(variable.dims, data, variable.attrs)
    everything = slice(0, session.shape[0])
    made["frame_num"] = made["frame_num"].copy(data=session.frame_num(everything))
    received = made["timestamp_first"].data.rechunk(-1)
    for variable in TIME_VARIABLES:  # which a frame has by the times of all others
        measure = partial(_measure, variable.name, session.frame_num(everything), session.fps)
        meta = np.empty(0, variable.dtype)
        data = received.map_blocks(measure, dtype=variable.dtype, meta=meta)
        made[variable.name] = xr.Variable(
            variable.dims, data.rechunk((blocks.sizes,)), variable.attrs
        )
    return made


def lazy_scores(blocks: LazyBlocks, tables: SessionTables) -> dict[str, xr.Variable]:
    """What a store has of each candidate in its group ``scores``, lazily."""
    return {
        f"score_{v.name}": xr.Variable(v.dims, blocks.table(tables, v), v.attrs)
        for v in SCORE_VARIABLES
    }


def _measure(
    name: str, frame_num: NDArray[np.int64], fps: Fraction, received: NDArray[np.float64]
) -> NDArray[Any]:
    """One of the variables that say when frames were made, (frame,)."""
    return measure_time(frame_num, received, fps).columns[name]


def _make(plan: BlockPlan, model: LearnedModel, span: slice) -> NDArray[Any]:
    made = np.empty(1, object)
    made[0] = MadeBlock(plan, model, span)
    return made


def _take(blocks: NDArray[Any], name: str) -> NDArray[Any]:
    block: MadeBlock = blocks[0]
    return block.part(name)


def _take_table(blocks: NDArray[Any], tables: SessionTables, group: str, name: str) -> NDArray[Any]:
    block: MadeBlock = blocks[0]
    return block.table(tables, group, name)
