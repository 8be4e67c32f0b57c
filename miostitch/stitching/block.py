"""A block of the result: its plan, and what a task makes of the candidates."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from miostitch.composing.composition import PixelModel, shared_buffers, shared_counts
from miostitch.composing.confidence import chosen_confidence, frame_confidence
from miostitch.composing.copies import (
    ComposedBlock,
    CopiesAtHand,
    CopiesPlan,
    compose,
    plan_copies,
)
from miostitch.config.thresholds import ScoreConfig
from miostitch.execution.engine import Block
from miostitch.kernels.scores import differing_pixels
from miostitch.recording.block_readers import BlockReader
from miostitch.schema import NO_FRAME, PIXEL_SCORES, VIDEO
from miostitch.session.agreement import comparable, judge_frames
from miostitch.session.session import Session
from miostitch.stitching.options import StitchConfig
from miostitch.stitching.selection import (
    Candidates,
    Choice,
    find_alike,
    prefer_likely,
    score_candidates,
    select,
)

PANELS = "debug"
"""The candidates side by side, as a video."""

MARK_PERIOD = 16
"""Pixels from stripe to stripe of the pattern that stands for a missing candidate."""

MARK_DARK, MARK_LIGHT = 64, 192

NOISY = [variable.name for variable in PIXEL_SCORES].index("noisy_pixels")

Frames = NDArray[np.uint8]
Counts = NDArray[np.integer]


@dataclass(frozen=True)
class StitchedBlock:
    """What is recorded of frames of the result, one entry for each."""

    # Recording that gave the frame, int8; -1 where it was composed of several.
    source: NDArray[np.int8]
    missing_pixels: Counts  # Pixels of the frame that nobody delivered
    noisy_pixels: NDArray[np.int64]  # Pixels of its noisy rows
    selected: NDArray[np.int8]  # The fields of ``Choice``
    other: NDArray[np.int8]
    tie: NDArray[np.bool_]
    scores: NDArray[np.int64]  # Of all candidates, (frame, recording, score)
    diff_pixels: NDArray[np.int64]  # In which ``selected`` and ``other`` differ; -1 without other
    shared_buffers: NDArray[np.int16]  # Shared and identical buffers, (frame, agreement)
    identical: NDArray[np.bool_]  # Candidates with the pixels of the result, (frame, recording)
    agrees: NDArray[np.int8]  # As of ``judge_frames``, (frame, recording)
    buffer_source: NDArray[np.int8]  # As of ``Composition``, (frame, position); empty by frame
    buffer_evidence: NDArray[np.uint8]
    confidence: NDArray[np.float32]  # How likely each buffer is exact, (frame, position)


ALL_COLUMNS = tuple(column.name for column in fields(StitchedBlock))


@dataclass(frozen=True)
class BlockPlan:
    """What a task needs to make a block; small and picklable."""

    readers: tuple[BlockReader, ...]  # Per recording, reads the candidates
    present: NDArray[np.bool_]  # Which recording has which frame, (recording, frame)
    # What the tables say of each candidate, (recording, frame).
    num_buffers: Counts
    black_padding: Counts
    missing_pixels: Counts
    # Bit k set: the recording delivered the whole buffer k, uint64 (recording, frame).
    delivered: NDArray[np.uint64]
    # The same of recordings whose pixels are exact, so that they can be compared.
    comparable: NDArray[np.uint64]
    bounds: NDArray[np.int64]  # Limits of the buffers in the flattened frame (buffer + 1)
    config: ScoreConfig
    copies: CopiesPlan | None = None  # By buffer
    model: PixelModel | None = None  # Which confidence needs, and composition
    columns: tuple[str, ...] = ALL_COLUMNS  # Columns of :class:`StitchedBlock` that are wanted
    by_confidence: bool = False  # By frame, whether confidence overrules the rule

    def frames(self, learn: Callable[[], PixelModel] | None = None) -> "_Frames":
        """The frames, of which nothing is made yet.

        ``learn``: learns the model when it is needed, if the plan has none.
        """
        return (_ChosenFrames if self.copies is None else _ComposedFrames)(self, learn)

    def make(self, videos: Collection[str], *, tables: bool) -> Block:
        """Make a block: ``video``, ``debug``, and the columns."""
        made = self.frames()
        columns = {name: getattr(made, name) for name in (self.columns if tables else ())}
        shown = {name: getattr(made, name) for name in videos if name != VIDEO.name}
        if VIDEO.name in videos:
            shown[VIDEO.name] = made.take_video()
        return Block(shown, columns)


def plan_block(
    session: Session,
    span: slice,
    config: StitchConfig,
    *,
    model: PixelModel | None = None,
    columns: tuple[str, ...] = ALL_COLUMNS,
) -> BlockPlan:
    """Plan a block of output frames."""
    source_frame = session.source_frame(span)
    own = zip(session.recordings, source_frame, strict=True)
    return BlockPlan(
        tuple(recording.reader(frames) for recording, frames in own),
        source_frame != NO_FRAME,
        session.table("num_buffers", span),
        session.table("black_padding", span),
        session.missing_pixels(span),
        session.delivered(span),
        comparable(session, span),
        session.bounds,
        config.score,
        plan_copies(session, span) if config.composed else None,
        model,
        columns,
        config.select == "confidence",
    )


_Part = TypeVar("_Part")


class _once(Generic[_Part]):  # noqa: N801 (a decorator)
    """A property that is worked out when it is first asked for, and kept.

    That of functools lets one thread at a time work it out, of all blocks there are, before Python
    3.12: the threads would wait for each other.
    """

    def __init__(self, make: Callable[[Any], _Part]) -> None:
        self._make, self._name = make, make.__name__

    def __get__(self, frames: object, owner: type) -> _Part:
        made: _Part = self._make(frames)
        vars(frames)[self._name] = made  # which is found first from now on
        return made


class _Frames(ABC):
    """Frames in the making: each part is worked out once, when it is asked for."""

    def __init__(self, plan: BlockPlan, learn: Callable[[], PixelModel] | None) -> None:
        self._plan, self._learn = plan, learn

    @property
    def model(self) -> PixelModel:
        if self._plan.model is not None:
            return self._plan.model
        assert self._learn is not None
        return self._learn()

    @_once
    def candidates(self) -> Frames:
        """The frames of each recording, (recording, frame, height, width)."""
        readers = self._plan.readers
        out = np.empty((len(readers), *readers[0].shape), np.uint8)
        for reader, frames in zip(readers, out, strict=True):
            reader.read(frames)
        return out

    @_once
    def alike(self) -> NDArray[np.int8]:
        return find_alike(self.candidates)

    @_once
    def scores(self) -> NDArray[np.int64]:
        return score_candidates(self.candidates, self.alike, self._plan.config)

    @_once
    def choice(self) -> Choice:
        plan, [black, noisy, edge] = self._plan, self.scores.T
        flaws = plan.black_padding + black + noisy
        return select(plan.present, plan.num_buffers, flaws, edge)

    @property
    def selected(self) -> NDArray[np.int8]:
        return self.choice.source

    @property
    def other(self) -> NDArray[np.int8]:
        return self.choice.other

    @property
    def tie(self) -> NDArray[np.bool_]:
        return self.choice.tie

    @property
    def agrees(self) -> NDArray[np.int8]:
        plan = self._plan
        return judge_frames([*self.candidates], plan.comparable, plan.bounds, self.alike).T

    @property
    def diff_pixels(self) -> NDArray[np.int64]:
        return count_differences(self.candidates, self.alike, self.selected, self.other)

    @property
    def debug(self) -> Frames:
        return side_by_side(self.candidates, self._plan.present)

    @property
    @abstractmethod
    def video(self) -> Frames:
        """The frames of the result."""

    def take_video(self) -> Frames:
        """Make the frames, after which nothing else can be asked for any more."""
        return self.video


class _ChosenFrames(_Frames):
    """Frames of which each is the best of its candidates."""

    @_once
    def choice(self) -> Choice:
        plan, rule = self._plan, super().choice
        if not plan.by_confidence:
            return rule
        ones = np.ones_like(rule.source)
        likely = [frame_confidence(self._confidence_of(n * ones)) for n in range(len(plan.present))]
        return prefer_likely(rule, np.where(plan.present, likely, -1))

    @property
    def source(self) -> NDArray[np.int8]:
        return self.choice.source

    @property
    def video(self) -> Frames:
        return gather(self.candidates, self.source)

    def take_video(self) -> Frames:
        return gather(self.candidates, self.source, spoil=True)

    @property
    def missing_pixels(self) -> Counts:
        return self._plan.missing_pixels[self.source, np.arange(len(self.source))]

    @property
    def noisy_pixels(self) -> NDArray[np.int64]:
        noisy: NDArray[np.int64] = self.scores[np.arange(len(self.source)), self.source, NOISY]
        return noisy

    @property
    def shared_buffers(self) -> NDArray[np.int16]:
        return count_agreement(self.candidates, self.alike, self._plan.delivered, self._plan.bounds)

    @property
    def identical(self) -> NDArray[np.bool_]:
        chosen = self.alike[self.source, np.arange(len(self.source))]
        return np.asarray(((self.alike == chosen) & self._plan.present).T)

    @property
    def confidence(self) -> NDArray[np.float32]:
        return self._confidence_of(self.source)

    def _confidence_of(self, source: NDArray[np.int8]) -> NDArray[np.float32]:
        """Tell how likely the buffers of these candidates are exact, (frame, position)."""
        plan = self._plan
        flat = self.candidates.reshape(len(plan.readers), len(source), -1)
        known = self.alike, plan.comparable, self.model, plan.bounds
        return chosen_confidence(source, flat, *known)

    @property
    def buffer_source(self) -> NDArray[np.int8]:
        return np.empty((len(self.source), 0), np.int8)

    @property
    def buffer_evidence(self) -> NDArray[np.uint8]:
        return np.empty((len(self.source), 0), np.uint8)


class _ComposedFrames(_Frames):
    """Frames that are composed of all their copies."""

    @_once
    def at_hand(self) -> CopiesAtHand:
        plan = self._plan
        assert plan.copies is not None
        return plan.copies.read(plan.readers)

    @_once
    def candidates(self) -> Frames:
        return self.at_hand.candidates

    @_once
    def composed(self) -> ComposedBlock:
        return compose(self.at_hand, self.model, self._plan.config)

    @property
    def source(self) -> NDArray[np.int8]:
        return self.composed.composition.source

    @property
    def video(self) -> Frames:
        return self.composed.composition.frames.reshape(self.candidates[0].shape)

    @property
    def missing_pixels(self) -> Counts:
        return self.composed.composition.missing_pixels

    @property
    def noisy_pixels(self) -> NDArray[np.int64]:
        return self.composed.noisy_pixels

    @property
    def shared_buffers(self) -> NDArray[np.int16]:
        return self.composed.agreement

    @property
    def identical(self) -> NDArray[np.bool_]:
        places = np.arange(len(self.source))
        equal = (self.alike == self.alike[self.source, places]) & (self.source != NO_FRAME)
        # what was found there is whether a candidate and its pieces are the composed frame
        for frame in np.flatnonzero(self.at_hand.has_pieces()).tolist():
            equal[:, frame] = (self.candidates[:, frame] == self.video[frame]).all(axis=(1, 2))
        return np.asarray((equal & self._plan.present).T)

    @property
    def confidence(self) -> NDArray[np.float32]:
        return self.composed.confidence

    @property
    def buffer_source(self) -> NDArray[np.int8]:
        return self.composed.composition.recording

    @property
    def buffer_evidence(self) -> NDArray[np.uint8]:
        return self.composed.composition.evidence


def gather(candidates: Frames, source: NDArray[np.int8], *, spoil: bool = False) -> Frames:
    """Take every frame from its source, uint8 (frame, height, width).

    ``candidates``: (recording, frame, height, width); ``spoil``: whether the frames may be brought
    together where those of one recording are.
    """
    most = int(np.bincount(source).argmax())
    others = np.flatnonzero(source != most).tolist()
    out: Frames = candidates[most]
    if others and not spoil:
        out = out.copy()
    for frame in others:
        out[frame] = candidates[source[frame], frame]
    return out


def count_differences(
    candidates: Candidates,
    alike: NDArray[np.int8],
    source: NDArray[np.int8],
    other: NDArray[np.int8],
) -> NDArray[np.int64]:
    """Count the pixels in which two candidates differ, int64 (frame,); -1 without another."""
    columns = np.arange(len(source))
    same = alike[source, columns] == alike[other, columns]
    out = np.where(other == NO_FRAME, NO_FRAME, 0).astype(np.int64)
    compared = (other != NO_FRAME) & ~same
    # the order within a pair does not matter, and one order gives more frames a pair
    low, high = np.minimum(source, other), np.maximum(source, other)
    pairs = low.astype(np.int64) * len(candidates) + high
    for pair in np.unique(pairs[compared]).tolist():
        first, second = divmod(pair, len(candidates))
        mine = np.flatnonzero(compared & (pairs == pair))
        counts = np.empty(len(mine), np.int64)
        differing_pixels(candidates[first], candidates[second], mine, counts)
        out[mine] = counts
    return out


def count_agreement(
    candidates: Candidates,
    alike: NDArray[np.int8],
    delivered: NDArray[np.uint64],
    bounds: NDArray[np.int64],
) -> NDArray[np.int16]:
    """Count the buffers that several recordings delivered, and those that are all alike.

    Returns: int16 (frame, agreement) as of :func:`miostitch.composing.composition.shared_buffers`.
    """
    differ = (alike != alike[0]).any(axis=0)
    # where all pictures are the same, every shared buffer is
    shared = shared_counts(delivered)
    out = np.stack([shared, shared], axis=1)
    frames = [block.reshape(-1, bounds[-1]) for block in candidates]
    compared = np.where(differ, delivered, np.uint64(0))
    return np.where(differ[:, np.newaxis], shared_buffers(frames, compared, bounds), out)


def side_by_side(candidates: Candidates, present: NDArray[np.bool_]) -> Frames:
    """Candidates next to each other, and last where any two of them differ.

    Returns: uint8 (frame, height, width * (recordings + 1)). A missing candidate is a pattern of
    gray stripes, which no camera sees and no lost buffer leaves; the difference is 255 where
    present candidates differ and 0 elsewhere.
    """
    count, height, width = candidates[0].shape
    rows, columns = np.indices((height, width))
    stripes = (rows + columns) // (MARK_PERIOD // 2) % 2
    mark = np.where(stripes, MARK_LIGHT, MARK_DARK).astype(np.uint8)
    panels = []
    low = np.full((count, height, width), 255, np.uint8)
    high = np.zeros((count, height, width), np.uint8)
    for here, block in zip(present, candidates, strict=True):
        shown = here.reshape(-1, 1, 1)
        panels.append(np.where(shown, block, mark))
        low = np.where(shown, np.minimum(low, block), low)
        high = np.where(shown, np.maximum(high, block), high)
    panels.append(np.where(low < high, 255, 0).astype(np.uint8))
    return np.concatenate(panels, axis=2)
