"""What a viewer shows: videos side by side, what is known of their frames, and where to go next.

Nothing is read before it is asked for. Frames and tables are read in blocks, and the blocks used
last are kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from threading import Event
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from miostitch.arrays import I64, U8
from miostitch.errors import InputError, MiostitchError
from miostitch.recording.recording import Recording
from miostitch.schema import NO_FRAME
from miostitch.store.chunks import read_block
from miostitch.store.reader import Store
from miostitch.text import printable
from miostitch.viewer.cache import BlockCache

RECORDING_BLOCK_BYTES = 2**21  # in which videos are read; small, for some are slow to decode

Facts = dict[str, int | float | bool | str | None]
"""What is known of a frame; None where a number is missing."""

What = Literal["damaged", "doubtful", "source"]

SCALE_MARKS = 5  # times below the overview

SEARCHED = "is being looked for"  # why there is nothing to be seen of a recording yet


@dataclass(frozen=True)
class FrameSource:
    """The frames of one video, which are read block by block."""

    path: str  # The file, which names its blocks in the cache
    shape: tuple[int, int, int]  # Frames, height and width
    block: int  # Frames that are read at a time
    # Gives the frames from one position to before another, uint8 (frame, height, width).
    read: Callable[[int, int], U8]

    @classmethod
    def of_store(cls, store: Store) -> "FrameSource":
        """The result in a store, read chunk by chunk."""
        shape = store.frames, store.height, store.width
        return cls(store.path, shape, store.chunk_frames, partial(read_block, store.path))

    @classmethod
    def of_recording(cls, recording: Recording) -> "FrameSource":
        """The frames of a recording."""
        _, height, width = recording.shape

        def read(start: int, stop: int) -> U8:
            return recording.reader(np.arange(start, stop)).read()

        block = max(1, RECORDING_BLOCK_BYTES // (height * width))
        return cls(recording.path, recording.shape, block, read)

    def image(self, frame: int, cache: BlockCache) -> U8:
        """One frame, uint8 (height, width); the next block is read ahead."""
        number, place = divmod(frame, self.block)
        try:
            block = cache.get(*self._block(number))
        except InputError:  # a frame is intact even if one next to it is lost in a hole of the file
            return np.asarray(self.read(frame, frame + 1)[0])
        if 3 * block.nbytes <= cache.max_bytes:
            neighbour = number + (1 if 2 * place >= self.block else -1)
            if 0 <= neighbour * self.block < self.shape[0]:
                cache.prefetch(dict([self._block(neighbour)]))
        return np.asarray(block[place])

    def _block(self, number: int) -> tuple[Any, Callable[[], U8]]:
        start = number * self.block
        stop = min(start + self.block, self.shape[0])
        return (self.path, start), partial(self.read, start, stop)


class FrameInfo(NamedTuple):
    """A frame of a panel: its position in the video, -1 if there is none, and what is known."""

    frame: int
    facts: Facts


@dataclass
class Panel:
    """One of the videos that are shown side by side."""

    name: str  # What it is called
    look: Callable[[int], FrameInfo]  # Says which frame belongs to a position of the scene
    frames: FrameSource | None = None  # None if there are none, or not yet
    note: str = ""  # Why there are none

    def image(self, frame: int, cache: BlockCache) -> U8 | str:
        """One frame, uint8 (height, width), or why there is none."""
        if frame == NO_FRAME:
            return "not received"
        if self.frames is None:
            return self.note
        try:
            return self.frames.image(frame, cache)
        except MiostitchError as error:
            return printable(str(error))


@dataclass
class Scene:
    """Videos of the same frames, and the table that goes with them."""

    name: str  # What is looked at
    count: int  # Frames
    fps: Fraction  # Frames per second
    panels: list[Panel]  # The videos; in the first one frames are marked
    # Give whole columns that moving about needs: ``frame_num`` int64, ``damaged`` and ``doubtful``
    # bool, ``source`` int8, ``time`` float64, (frame,).
    columns: Mapping[str, Callable[[], NDArray[Any]]]
    # Seconds from the first frame to a position, without reading the whole column.
    elapsed: Callable[[int], float]
    start: float | None = None  # Unix time of the first frame; None: times are by the frame rate
    sources: Sequence[str] = ()  # Names that ``source`` counts
    measured_fps: float | None = None  # Frames per second by the timestamps; None: not known
    note: str = ""  # How the frames of the panels belong together, if not as usual
    notices: Sequence[str] = ()  # What a user should know of the files
    # Frame of the first panel at each position, (frame,), -1 where it has none; None where that is
    # the position.
    first_frames: I64 | None = None
    # Completes the panels and takes the tables into memory; takes time, until the event is set.
    complete: Callable[[Event], None] = lambda _: None

    def give_up(self, problem: str) -> None:
        """Say why the panels cannot be completed."""
        self.notices = [*self.notices, problem]
        for panel in self.panels:
            if panel.note == SEARCHED:
                panel.note = problem

    def column(self, name: str) -> NDArray[Any] | None:
        """A whole column, (frame,); None if nothing is known."""
        return self.columns[name]() if name in self.columns else None

    def jump(self, at: int, what: What, step: Literal[-1, 1]) -> int | None:
        """The next, or the previous, frame that is damaged, doubtful, or has another source.

        Returns: Its position; None if there is none.
        """
        column = self.column(what)
        if column is None:
            return None
        changes = what == "source"
        places = np.flatnonzero(np.diff(column)) + 1 if changes else np.flatnonzero(column)
        if step > 0:
            after = np.searchsorted(places, at, side="right")
            return int(places[after]) if after < len(places) else None
        before = np.searchsorted(places, at, side="left")
        return int(places[before - 1]) if before else None

    def find(self, frame_num: int) -> int | None:
        """Position of the first frame that the device counted so; None if there is none."""
        column = self.column("frame_num")
        if column is None:
            return None
        found = np.flatnonzero(column == frame_num)
        return int(found[0]) if len(found) else None

    def at_time(self, seconds: float) -> int | None:
        """Position of the last frame that is not after some seconds; None without times."""
        column = self.column("time")
        if column is None:
            return None
        return max(0, int(np.searchsorted(column, seconds, side="right")) - 1)

    def in_first(self, positions: I64) -> I64:
        """Frames of the first panel at some positions, without those that it lacks."""
        if self.first_frames is None:
            return positions
        frames = self.first_frames[positions]
        return np.asarray(frames[frames != NO_FRAME])

    def from_first(self, frames: I64) -> I64:
        """Positions of some frames of the first panel, without those that are not there."""
        own = np.arange(self.count) if self.first_frames is None else self.first_frames
        return np.flatnonzero(np.isin(own, frames))

    def timeline(self, bins: int) -> dict[str, Any]:
        """The whole length in few bins.

        Returns: ``first``: the first frame of each bin; ``damaged``: how many of its frames are;
        ``source``: the source that most of them have; ``scale``: elapsed seconds of frames that
        are evenly spread over it. Without what is not known.
        """
        edges = np.linspace(0, self.count, min(bins, self.count) + 1).astype(np.int64)
        first = edges[:-1]
        spread = np.linspace(0, self.count - 1, min(SCALE_MARKS, self.count)).astype(np.int64)
        scale = [self.elapsed(int(frame)) for frame in spread]
        overview: dict[str, Any] = {"first": first.tolist(), "scale": scale}
        damaged, source = self.column("damaged"), self.column("source")
        if damaged is not None:
            overview["damaged"] = np.add.reduceat(damaged, first, dtype=np.int64).tolist()
        if source is not None:
            codes = range(-1, len(self.sources))
            votes = [np.add.reduceat(source == code, first, dtype=np.int64) for code in codes]
            overview["source"] = (np.argmax(votes, axis=0) - 1).tolist()
        return overview
