"""Composition of every frame from all its copies, block by block.

``composition`` decides; this module brings the copies of a block to it: the candidates, the frames
next to the block, which only help to decide, and the fragments that were split off from a frame in
one of the recordings.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from miostitch.composing.composition import (
    Composition,
    Copies,
    PixelModel,
    compose_block,
    glue_piece,
    shared_buffers,
)
from miostitch.composing.confidence import buffer_confidence
from miostitch.composing.learning import learn_model
from miostitch.config.thresholds import ScoreConfig
from miostitch.kernels.scores import score_frames
from miostitch.recording.block_readers import BlockReader
from miostitch.schema import NO_FRAME, chunk_frames
from miostitch.session.session import Session

SAMPLED_FRAMES = 256
"""Most frames from which the look of a session's pixels is learned."""

SAMPLED_RUN = 16
"""Consecutive frames of a sample."""

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class CopiesPlan:
    """What a task needs to compose a block, besides its candidates; small and picklable."""

    # Where the block's frames stand among the frames at hand, which are those and the ones next to
    # them, in the order of the session, (frame,).
    own: NDArray[np.intp]
    # Which recording has which of the block's frames, (recording, frame).
    present: NDArray[np.bool_]
    count: int  # Frames at hand
    # Pixels delivered by the rows (recording, frame at hand, buffer), see ``given_pixels``.
    given: NDArray[np.int32]
    readers: tuple[BlockReader, ...]  # Per recording, reads the neighbours, then the pieces
    # Per recording, where among the frames at hand each piece belongs.
    places: tuple[NDArray[np.intp], ...]
    # Per recording, pixels delivered of each piece (piece, buffer).
    piece_given: tuple[NDArray[np.int32], ...]
    bounds: NDArray[np.int64]  # Limits of the buffers in the flattened frame (buffer + 1)
    exact: NDArray[np.bool_]  # Whether the video of a recording is lossless, (recording,)

    def read(self, readers: Sequence[BlockReader]) -> "CopiesAtHand":
        """Read all frames at hand, and the pieces; ``readers``: of the block's own frames."""
        height, width = readers[0].shape[1:]
        frames = np.empty((len(readers), self.count, height, width), np.uint8)
        beside = np.delete(np.arange(self.count), self.own)
        pieces = []
        for mine, reader, others in zip(frames, readers, self.readers, strict=True):
            mine[beside], found = np.split(others.read(), [len(beside)])
            pieces.append(found)
            if self.is_run:
                reader.read(mine[self.span])
            else:
                mine[self.own] = reader.read()
        return CopiesAtHand(self, frames, tuple(pieces))

    @property
    def span(self) -> slice:
        """From the block's first frame to its last."""
        return slice(int(self.own[0]), int(self.own[-1]) + 1)

    @property
    def is_run(self) -> bool:
        """Whether the block's frames follow each other."""
        return bool(self.own[-1] - self.own[0] + 1 == len(self.own))

    def runs(self) -> Iterator[slice]:
        """Runs of the block's frames that follow each other, among the frames at hand."""
        breaks = np.flatnonzero(np.diff(self.own) > 1) + 1
        for run in np.split(self.own, breaks):
            yield slice(int(run[0]), int(run[-1]) + 1)


@dataclass(frozen=True)
class CopiesAtHand:
    """The frames of a block and those next to it, as they were read."""

    plan: CopiesPlan
    frames: Frames  # (recording, frame at hand, height, width)
    pieces: tuple[Frames, ...]  # Of each recording, (piece, height, width)

    @property
    def candidates(self) -> Frames:
        """The block's own frames, uint8 (recording, frame, height, width)."""
        if self.plan.is_run:
            return self.frames[:, self.plan.span]
        return self.frames.take(self.plan.own, axis=1)  # contiguous, as an index is not

    def glued(self) -> Copies:
        """All copies, with their pieces."""
        plan = self.plan
        count, width = self.frames.shape[1], self.frames.shape[3]
        frames, given = self.frames.reshape(len(self.frames), count, -1), plan.given.copy()
        lossy = self._needless()
        if any(map(len, self.pieces)) or lossy.any():
            frames = frames.copy()  # candidates stay as they are
        for number, pieces in enumerate(self.pieces):
            known = zip(plan.places[number], pieces, plan.piece_given[number], strict=True)
            for place, piece, rows in known:
                copy = frames[number, place], given[number, place]
                glue_piece(*copy, piece.reshape(-1), rows, plan.bounds)
        if lossy.any():
            given[lossy] = 0
            frames[np.repeat(lossy, np.diff(plan.bounds), axis=2)] = 0
        return Copies(frames, given, plan.bounds, width)

    def _needless(self) -> NDArray[np.bool_]:
        """Which buffers of lossy videos an exact one has complete, (recording, frame, buffer).

        Their pixels are not as they were sent, and would win by their number, or by being first.
        """
        plan = self.plan
        complete = (plan.given >= np.diff(plan.bounds)) & plan.exact[:, None, None]
        lossy: NDArray[np.bool_] = complete.any(axis=0) & ~plan.exact[:, None, None]
        return lossy

    def has_pieces(self) -> NDArray[np.bool_]:
        """Which of the block's frames some recording has in pieces, (frame,)."""
        return np.isin(self.plan.own, np.concatenate(self.plan.places))


@dataclass(frozen=True)
class ComposedBlock:
    """A composed block and what is recorded of it."""

    composition: Composition  # Frames, and how every buffer was decided
    confidence: NDArray[np.float32]  # How likely each buffer is exact, (frame, buffer)
    noisy_pixels: NDArray[np.int64]  # Pixels of noisy rows of the composed frames, int64 (frame,)
    agreement: NDArray[np.int16]  # Shared and identical buffers, int16 (frame, agreement)


def learn(session: Session) -> PixelModel:
    """Learn what pixels look like from up to 256 frames, in runs from all over the session."""
    whole = replace(session, kept=np.arange(len(session.alignment), dtype=np.int32))
    count, height, width = whole.shape
    sampled = min(SAMPLED_FRAMES, chunk_frames(height, width), count)
    run = min(SAMPLED_RUN, sampled)
    starts = np.linspace(0, count - run, sampled // run).astype(int)
    return learn_model([_read_copies(whole, slice(at, at + run)) for at in starts.tolist()])


def _read_copies(session: Session, span: slice) -> Copies:
    own = zip(session.recordings, session.source_frame(span), strict=True)
    readers = [recording.reader(frames) for recording, frames in own]
    return plan_copies(session, span).read(readers).glued()


def plan_copies(session: Session, span: slice) -> CopiesPlan:
    """Plan the composition of some output frames, which reads one before and after each run."""
    own = session.kept[span]
    near = np.unique(np.concatenate([own - 1, own, own + 1]))
    near = near[(near >= 0) & (near < len(session.alignment))]
    beside = np.setdiff1d(near, own, assume_unique=True)
    given, readers, places, piece_given = [], [], [], []
    for number, recording in enumerate(session.recordings):
        source_frame = session.alignment.source_frame[number]
        place, piece = session.pieces(number, source_frame[near])
        given.append(session.given(number, source_frame[near]))
        readers.append(recording.reader(np.concatenate([source_frame[beside], piece])))
        places.append(place)
        piece_given.append(session.given(number, piece))
    return CopiesPlan(
        np.searchsorted(near, own),
        session.source_frame(span) != NO_FRAME,
        len(near),
        np.stack(given),
        tuple(readers),
        tuple(places),
        tuple(piece_given),
        session.bounds,
        np.array([recording.exact for recording in session.recordings]),
    )


def compose(at_hand: CopiesAtHand, model: PixelModel, config: ScoreConfig) -> ComposedBlock:
    """Compose a block.

    The result does not depend on the blocks.
    """
    plan, copies = at_hand.plan, at_hand.glued()
    height, width = at_hand.frames.shape[2:]
    parts, done = [], 0
    for run in plan.runs():
        before, after = min(1, run.start), min(1, plan.count - run.stop)
        near = copies.part(slice(run.start - before, run.stop + after))
        here = plan.present[:, done : done + run.stop - run.start]
        parts.append(compose_block(near, model, before, after, here))
        done += run.stop - run.start
    out = Composition.concat(parts)
    scores = np.empty((2, done), np.int64)
    score_frames(
        out.frames.reshape(-1, height, width),
        config.value_threshold,
        config.consecutive_threshold,
        config.gradient_threshold,
        scores,
    )
    shared = shared_buffers(copies.frames, copies.whole_buffers(), plan.bounds)
    confidence = buffer_confidence(out, model, plan.bounds)
    confidence[~plan.exact[out.recording]] = 0  # a lossy video has no pixel as it was sent
    return ComposedBlock(out, confidence, scores[1], shared[plan.own])
