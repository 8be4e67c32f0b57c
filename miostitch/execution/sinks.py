"""Writers that follow the blocks in order, each on a thread of its own."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from threading import Condition
from types import TracebackType
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

Frames = NDArray[np.uint8]


class FrameWriter(Protocol):
    """What takes pictures in order: a video file."""

    def write(self, frames: Frames) -> None:
        """Append pictures, uint8 (frame, height, width)."""


class BlockFeed:
    """Hands blocks that finish in any order to a reader that wants them in order.

    At most ``room`` blocks wait in memory; a further one is dropped, and the reader fetches it
    from the store, so that neither side ever waits for memory.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._kept: dict[int, Frames] = {}
        self._done: set[int] = set()
        self._closed = False
        self._changed = Condition()

    def keep(self, start: int, frames: Frames) -> None:
        """Have the block that begins at frame ``start`` at hand, if there is room."""
        with self._changed:
            if len(self._kept) < self._room:
                self._kept[start] = frames

    def announce(self, start: int) -> None:
        """Tell that the block that begins at frame ``start`` is in the store."""
        with self._changed:
            self._done.add(start)
            self._changed.notify_all()

    def take(self, start: int) -> Frames | None:
        """Wait for a block; ``None`` if it was dropped."""
        with self._changed:
            self._changed.wait_for(lambda: start in self._done or self._closed)
            if start not in self._done:
                raise InterruptedError
            self._done.remove(start)
            return self._kept.pop(start, None)

    def close(self) -> None:
        """Tell a waiting reader that no further block will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class VideoSink:
    """Encodes the blocks of a store behind the tasks that write them."""

    def __init__(
        self,
        writer: Callable[[], AbstractContextManager[FrameWriter]],
        starts: Iterable[int],
        fetch: Callable[[int], Frames],
        room: int,
    ) -> None:
        self.feed = BlockFeed(room)
        self._writer, self._starts, self._fetch = writer, starts, fetch
        self._pool = ThreadPoolExecutor(1, "miostitch-video")
        self._encoded: Future[None] | None = None

    def start(self) -> None:
        """Begin to encode.

        Enter the context first: an interrupt in between would leave a thread that waits for ever.
        """
        self._encoded = self._pool.submit(self._encode)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.feed.close()
        self._pool.shutdown()
        if kind is None and self._encoded is not None:
            self._encoded.result()

    def check(self) -> None:
        """Raise what the encoder raised, if it ended early."""
        if self._encoded is not None and self._encoded.done():
            self._encoded.result()

    def _encode(self) -> None:
        with self._writer() as video:
            for start in self._starts:
                frames = self.feed.take(start)
                video.write(self._fetch(start) if frames is None else frames)
