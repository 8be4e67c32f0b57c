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
    whole_sources,
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

    def copies(self, candidates: Sequence[Frames]) -> Copies:
        """Bring all frames at hand together.

        ``candidates``: the block's own frames per recording, uint8 (frame, height, width).
        """
        _, height, width = candidates[0].shape
        frames = np.empty((len(candidates), self.count, height * width), np.uint8)
        given = self.given.copy()
        beside = np.delete(np.arange(self.count), self.own)
        for number, block in enumerate(candidates):
            extra = self.readers[number].read().reshape(-1, height * width)
            frames[number, self.own] = block.reshape(-1, height * width)
            frames[number, beside] = extra[: len(beside)]
            pieces = extra[len(beside) :]
            for place, piece, rows in zip(
                self.places[number], pieces, self.piece_given[number], strict=True
            ):
                glue_piece(frames[number, place], given[number, place], piece, rows, self.bounds)
        return Copies(frames, given, self.bounds, width)

    def runs(self) -> Iterator[slice]:
        """Runs of the block's frames that follow each other, among the frames at hand."""
        breaks = np.flatnonzero(np.diff(self.own) > 1) + 1
        for run in np.split(self.own, breaks):
            yield slice(int(run[0]), int(run[-1]) + 1)


@dataclass(frozen=True)
class ComposedBlock:
    """A composed block and what is recorded of it."""

    composition: Composition  # Frames, and how every buffer was decided
    confidence: NDArray[np.float32]  # How likely each buffer is exact, (frame, buffer)
    # The first recording whose frame is the composed one bit for bit, int8 (frame,); -1: none.
    source: NDArray[np.int8]
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
    return plan_copies(session, span).copies([recording.reader(at).read() for recording, at in own])


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


def compose(
    plan: CopiesPlan, candidates: Sequence[Frames], model: PixelModel, config: ScoreConfig
) -> ComposedBlock:
    """Compose a block of its candidates, per recording uint8 (frame, height, width).

    The result does not depend on the blocks.
    """
    copies = plan.copies(candidates)
    count, height, width = candidates[0].shape
    parts = []
    for run in plan.runs():
        before, after = min(1, run.start), min(1, plan.count - run.stop)
        at_hand = copies.part(slice(run.start - before, run.stop + after))
        parts.append(compose_block(at_hand, model, before, after))
    out = Composition.concat(parts)
    scores = np.empty((2, count), np.int64)
    score_frames(
        out.frames.reshape(-1, height, width),
        config.value_threshold,
        config.consecutive_threshold,
        config.gradient_threshold,
        scores,
    )
    shared = shared_buffers(copies.frames, copies.whole_buffers(), plan.bounds)
    source = whole_sources(copies, plan.own, plan.present, out.frames)
    confidence = buffer_confidence(out, model, plan.bounds)
    confidence[~plan.exact[out.recording]] = 0  # a lossy video has no pixel as it was sent
    return ComposedBlock(out, confidence, source, scores[1], shared[plan.own])
