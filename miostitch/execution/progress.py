"""Counting finished frames for a progress display."""

from collections.abc import Callable
from threading import Lock

Progress = Callable[[int, int], None]
"""Called with frames done and frames in all, from any thread."""


def counted(progress: Progress | None, total: int) -> Callable[[int], None] | None:
    """Turn frames since the last call, from any thread, into frames done of all."""
    if progress is None:
        return None
    done, lock = 0, Lock()

    def count(frames: int) -> None:
        nonlocal done
        with lock:
            done += frames
            progress(done, total)

    return count
