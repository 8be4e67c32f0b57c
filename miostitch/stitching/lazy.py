"""The result of a stitch as lazy arrays, of which each block is one task."""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property, partial
from threading import RLock
from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr
from dask.base import tokenize
from dask.highlevelgraph import HighLevelGraph
from numpy.typing import NDArray

from miostitch.buffers.elapsed_time import measure_time
from miostitch.config.thresholds import ScoreConfig
from miostitch.errors import UsageError
from miostitch.execution.engine import spans
from miostitch.schema import (
    FRAME,
    FRAME_VARIABLES,
    HEIGHT,
    POSITION,
    RECORDING,
    SCORE_VARIABLES,
    TIME_VARIABLES,
    WIDTH,
    Variable,
)
from miostitch.session.session import Session
from miostitch.stitching.block import ALL_COLUMNS, BlockPlan, StitchedBlock, plan_block
from miostitch.stitching.composition import AGREEMENT, PixelModel
from miostitch.stitching.copies import learn
from miostitch.stitching.session_tables import SessionTables

Axes = tuple[tuple[str, int], ...]
"""Dimensions besides ``frame``, and their sizes."""

FIELDS: dict[str, tuple[str, Axes]] = {
    "source": ("int8", ()),
    "missing_pixels": ("int32", ()),
    "noisy_pixels": ("int64", ()),
    "shared_buffers": ("int16", (("agreement", len(AGREEMENT)),)),
}
"""Type and further dimensions of what is known of the frames of a lazy result."""


@dataclass(frozen=True)
class StitchConfig:
    """How frames are made of their candidates.

    Parameters
    ----------
    score
        Thresholds of the noise scores.
    by
        ``frame``: the best candidate; ``buffer``: composed of all of them.

    Raises
    ------
    UsageError
        ``by`` is neither.
    """

    score: ScoreConfig = field(default_factory=ScoreConfig)
    by: Literal["frame", "buffer"] = "frame"

    def __post_init__(self) -> None:
        require_way(self.by)


def require_way(by: str) -> None:
    """Refuse a way to stitch that there is not."""
    if by not in ("frame", "buffer"):
        raise UsageError(f"by {by!r}: must be frame or buffer")


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

    def __init__(self, plan: BlockPlan, model: LearnedModel | None, span: slice) -> None:
        self.span, self._plan, self._model, self._lock = span, plan, model, RLock()

    @cached_property
    def _frames(self) -> object:
        model = None if self._model is None else self._model.model()
        return replace(self._plan, model=model).frames()

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
        model: LearnedModel | None,
    ) -> "LazyBlocks":
        """Plan some output frames in blocks of a size."""
        parts = [
            slice(span.start + part.start, span.start + part.stop)
            for part in spans(span.stop - span.start, block)
        ]
        composed = config.by == "buffer"
        name = f"stitch-{tokenize(object())}"  # the plans decide nothing in the names of arrays
        tasks: dict[Any, Any] = {
            (name, number): (
                partial(
                    _make, plan_block(session, part, config.score, composed=composed), model, part
                ),
            )
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


def stitch_frames(
    session: Session,
    span: slice,
    block: int,
    config: StitchConfig,
    *,
    model: PixelModel | None = None,
) -> xr.Dataset:
    """Build the lazy result for some of the output frames: one task per block makes all of it.

    Returns: Lazy ``video`` uint8 (frame, height, width); of each frame the columns of
    :class:`miostitch.stitching.block.StitchedBlock` in :data:`FIELDS`, by buffer also
    ``buffer_source`` and ``buffer_evidence`` (frame, position).
    """
    composed = config.by == "buffer"
    fields = dict(FIELDS)
    if composed:
        positions = ((POSITION, session.buffers),)
        fields |= {"buffer_source": ("int8", positions), "buffer_evidence": ("uint8", positions)}
    blocks = LazyBlocks.plan(
        session, span, block, config, LearnedModel(session, model) if composed else None
    )
    made = {"video": lazy_video(blocks, session)}
    for name, (dtype, axes) in fields.items():
        made[name] = blocks.field(name, np.dtype(dtype), axes)
    return xr.Dataset(made)


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


def _make(plan: BlockPlan, model: LearnedModel | None, span: slice) -> NDArray[Any]:
    made = np.empty(1, object)
    made[0] = MadeBlock(plan, model, span)
    return made


def _take(blocks: NDArray[Any], name: str) -> NDArray[Any]:
    block: MadeBlock = blocks[0]
    return block.part(name)


def _take_table(blocks: NDArray[Any], tables: SessionTables, group: str, name: str) -> NDArray[Any]:
    block: MadeBlock = blocks[0]
    return block.table(tables, group, name)
