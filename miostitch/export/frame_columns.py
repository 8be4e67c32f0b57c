"""What is known of each exported frame, as a table next to the video or inside its file."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.buffers.csv_files import TableWriter
from miostitch.export.plan import TIMES, Source
from miostitch.schema import FILLED, FRAME, FRAME_VARIABLES, Variable

FRAMES = "frames.csv"
"""In a folder of videos; next to one file, the end of its name behind an underscore."""


def frame_columns(source: Source) -> dict[str, NDArray[Any]]:
    """What is known per frame, by name: numbers of the device, times, and what is damaged."""
    columns = {each.name: source.dataset[each.name].to_numpy() for each in source.variables}
    if source.timed:
        columns |= dict(zip(TIMES, source.timestamps, strict=True))
    if source.damaged is not None:
        columns["damaged"] = source.damaged
    return columns


def described_columns(source: Source) -> dict[str, Variable]:
    """What these columns mean."""
    known = {each.name: each for each in (*FRAME_VARIABLES, FILLED)}
    return {name: known[name] for name in frame_columns(source)}


def write_frame_columns(path: Path, source: Source) -> None:
    """Write them as a CSV, flags as 0 and 1."""
    columns = {FRAME: np.arange(source.count), **frame_columns(source)}
    plain = {n: c.astype(np.int8) if c.dtype == np.bool_ else c for n, c in columns.items()}
    with TableWriter(path, [*plain]) as table:
        table.append(pd.DataFrame(plain))
