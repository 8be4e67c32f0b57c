"""What is known of the frames of a session that is stitched lazily, block by block."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.arrays import I64
from miostitch.config.thresholds import ScoreConfig
from miostitch.execution.engine import Tables, run_blocks
from miostitch.session.session import Session
from miostitch.stitching.block import StitchedBlock, plan_block
from miostitch.stitching.composition import PixelModel
from miostitch.stitching.rows import rows_of_buffers, rows_of_frames
from miostitch.stitching.tables import FrameColumns, candidate_scores, frame_columns, score_rows


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
    composed: bool
    size: int  # Frames per block
    owner: object = None  # Kept alive with them
    blocks: dict[int, BlockTables] = field(default_factory=dict)  # By their first frame

    def __reduce__(self) -> tuple[Any, ...]:
        return SessionTables, (self.session, self.composed, self.size)

    def note(self, span: slice, block: StitchedBlock) -> BlockTables:
        """Keep what was computed of a block."""
        rows = self._find_rows(self.session, span, block)
        places = rows["reconstructed_frame_index"].to_numpy() - span.start
        known = BlockTables(
            block,
            frame_columns(self.session, span, block, rows),
            candidate_scores(self.session, span, block),
            np.bincount(places, minlength=span.stop - span.start).astype(np.int64),
        )
        self.blocks[span.start] = known
        return known

    def compute(self, frames: I64, config: ScoreConfig, model: PixelModel | None) -> None:
        """Compute the blocks of these frames that are not known yet."""
        starts = np.unique(frames // self.size * self.size).tolist()
        spans = [self._span(start) for start in starts if start not in self.blocks]
        plan = partial(plan_block, self.session, config=config, composed=self.composed, model=model)

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
        if self.composed:
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
