"""The faults that miostitch survives, and how a test says which of them it injects.

``@pytest.mark.fault(ROW, HOW, OUTCOME)`` marks a test, :func:`case` one of a test's cases. The rows
are those of :data:`FAULTS`; ``pytest -k row07`` runs all tests of row 7, and the table in
``docs/explanation/reliability.md`` is made of the marks.
"""

import re
from typing import Any

import pytest

FAULTS = {
    # recordings: videos
    1: "video cut off inside a frame",
    2: "index of the video missing",
    3: "writer killed: sizes and counts of the headers are 0",
    4: "video beyond 4 GiB, several RIFF parts",
    5: "video without a frame, or only a header",
    6: "empty file, random bytes, text",
    7: "hole of zeros in a video",
    8: "wrong size of a chunk",
    9: "header with a wrong number of frames",
    10: "impossible or enormous frame size",
    11: "height halved",
    12: "tagged Y800, holds I420",
    13: "upside down, palette, colour, padded rows",
    14: "coded video",
    15: "playlist or other format named .avi",
    16: "receivers with different frame sizes",
    17: "frame rate that the times contradict; different rates or pixel formats",
    # recordings: tables
    18: "table missing, or video missing",
    19: "column missing or named twice",
    20: "NaN, empty, hexadecimal or fractional cell",
    21: "row too short or too long",
    22: "second header inside a table",
    23: "NUL bytes, cut last line",
    24: "byte order mark, CRLF, semicolons, Latin-1",
    25: "empty table, or only a header",
    26: "more frames in the table than in the video",
    27: "fewer frames in the table than in the video",
    28: "frame index -1 or beyond the video",
    29: "flipped bit in one header of a frame",
    30: "flipped bit in all headers of a frame",
    31: "frame recorded twice",
    32: "rows or recordings in another order",
    33: "counter reset or overflown",
    34: "tie between two frame numbers",
    35: "recordings that have nothing in common",
    36: "frame that all receivers have damaged",
    # files
    37: "same file given twice",
    38: "output that is an input or lies in one",
    39: "output exists",
    40: "run dies while it replaces a result",
    41: "two runs into one output",
    42: "output that cannot be written",
    43: "disk full",
    44: "disk error while reading",
    # runs
    45: "killed at any moment, started again",
    46: "interrupted by a signal",
    47: "inputs or configuration changed before a resume",
    48: "store copied with its records",
    49: "chunk missing, cut or with flipped bits",
    50: "worker killed",
    51: "memory limit",
    52: "cluster lost, or workers without the files",
    53: "network file system",
    # everything else
    54: "hostile configuration",
    55: "mistyped configuration",
    56: "file names of any bytes",
    57: "markup or formulas in file names",
    58: "very long, very short, one and many recordings",
    59: "clock that steps, stands or runs backwards",
    60: "any way to start processes",
    61: "hostile store",
    # from the field
    62: "rename refused by another program",
    63: "table or video under another name",
    64: "table that a spreadsheet program saved",
    65: "column with a name that no array can have",
    66: "more buffers, recordings, letters or digits than there is room for",
    67: "JSON next to a video that another program wrote",
    68: "store of which one thing is absent or of another kind",
    69: "malformed request to the viewer",
    # recordings: what they claim
    70: "header that the recorder found damaged",
    71: "receivers that do not show the same images",
    72: "row received long after its frame",
    73: "frames missing in the middle of a video or of its table",
    74: "noise recorded while the device is off",
    75: "frames that the recording program wrote twice",
    # results
    76: "any change of a result",
}


def case(row: int, how: str, outcome: str, *values: Any) -> Any:
    """One case of a parametrised test, with its row in the id."""
    words = re.sub(r"\W+", "-", how.lower()).strip("-")
    return pytest.param(
        *values, id=f"row{row:02}-{words}", marks=pytest.mark.fault(row, how, outcome)
    )


def slow(param: Any) -> Any:
    """A case that only ``make test-all`` runs."""
    return pytest.param(*param.values, id=param.id, marks=(*param.marks, pytest.mark.slow))
