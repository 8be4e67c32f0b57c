"""What of a file is lost with its damage: which frames, and where in the file."""

from typing import NamedTuple


class Loss(NamedTuple):
    """Frames without a picture, or pictures without a row, that follow each other.

    Parameters
    ----------
    file
        Where they should be.
    first, last
        Their positions in the video, or behind its end.
    frame_num
        Of the first and of the last; -1 where it is not known.
    byte
        Where in the file the loss begins; None where that cannot be told.
    why
        What happened to them.
    """

    file: str
    first: int
    last: int
    frame_num: tuple[int, int]
    byte: int | None
    why: str
