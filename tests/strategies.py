"""Small sessions and tables for hypothesis."""

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from miostitch.schema import COLUMNS
from miostitch.simulation.receivers import SimulationConfig

RATES = st.sampled_from([0.0, 0.02, 0.2])


@st.composite
def simulation_configs(draw: st.DrawFn, /, **fixed: Any) -> SimulationConfig:
    """Sessions of a few small frames; keywords fix what a test needs fixed.

    A few of them leave a receiver without a frame, which ``simulate`` refuses with UsageError:
    catch it and ``reject()``.
    """
    rates = ("buffer_loss", "frame_loss", "corruption", "truncation", "overrun", "header_flips")
    options = {name: draw(RATES) for name in rates} | {
        "frames": draw(st.integers(6, 30)),
        "receivers": draw(st.integers(1, 3)),
        "seed": draw(st.integers(0, 2**32)),
        "height": draw(st.integers(12, 24)),
        "width": draw(st.integers(12, 24)),
        "buffer_pixels": draw(st.none() | st.integers(40, 150)),
        "bursts": draw(RATES),
        "late_start_frames": draw(st.integers(0, 3)),
        "early_end_frames": draw(st.integers(0, 3)),
        "resets": draw(st.integers(0, 2)),
        "lag": draw(st.integers(-1, 2)),
        "extra_frame": draw(st.booleans()),
    }
    return SimulationConfig(**{**options, **fixed})


@st.composite
def buffer_tables(
    draw: st.DrawFn,
    *,
    buffers: int = 4,
    losses: bool = True,
    duplicates: bool = True,
    shuffles: bool = True,
) -> pd.DataFrame:
    """Tables of a few frames, with all columns: buffers missing, doubled and out of order.

    ``reconstructed_frame_index`` follows ``frame_num`` and has no gaps; a lost frame is a jump of
    ``frame_num``. The table has at least one row.
    """
    first = draw(st.integers(0, 5000))
    rows = np.arange(draw(st.integers(1, 12)) * buffers)
    if losses:
        kept = draw(st.lists(st.sampled_from(rows.tolist()), min_size=1, unique=True))
        rows = np.sort(kept)
    if duplicates:
        rows = np.sort(np.append(rows, draw(st.lists(st.sampled_from(rows.tolist()), max_size=4))))
        rows = rows.astype(np.int64)
    if shuffles and draw(st.booleans()):
        rows = np.array(draw(st.permutations(rows.tolist())))
    frame, k = np.divmod(rows, buffers)
    columns: dict[str, Any] = dict.fromkeys((column.name for column in COLUMNS), 0) | {
        "linked_list": (first * buffers + rows) % 32,
        "frame_num": first + frame,
        "buffer_count": first * buffers + rows,
        "frame_buffer_count": k,
        "timestamp": 50 * frame + k,
        "pixel_count": 100,
        "buffer_recv_index": np.arange(len(rows)),
        "buffer_recv_unix_time": 1.7e9 + 0.05 * frame + 0.005 * k,
        "reconstructed_frame_index": np.unique(frame, return_inverse=True)[1],
    }
    return pd.DataFrame(columns).astype({column.name: column.dtype for column in COLUMNS})
