"""Counting finished frames for a progress display."""

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with frames done and frames in all; what it raises ends the run."""


def counted(progress: Progress | None, total: int) -> Callable[[int], None] | None:
    """Turn frames since the last call into frames done of all."""
    if progress is None:
        return None
    done = 0

    def count(frames: int) -> None:
        nonlocal done
        done += frames
        progress(done, total)

    return count
