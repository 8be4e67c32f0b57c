"""What of a file is lost with its damage: which frames, and where in the file."""

from typing import NamedTuple


class Loss(NamedTuple):
    """Frames without a picture, or pictures without a row, that follow each other."""

    file: str  # Where they should be
    first: int
    last: int
    frame_num: tuple[int, int]  # Of the first and of the last; -1 where it is not known
    byte: int | None  # Where in the file the loss begins; None where that cannot be told
    why: str  # What happened to them
