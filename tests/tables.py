"""Tables of buffer rows, their text, and what a frame table must say of them."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from miostitch import schema

REQUIRED = schema.REQUIRED_COLUMNS
HEADER = ",".join(REQUIRED).encode()
LAWS = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


def table_of(rows: list[tuple[int, int, int, float]]) -> pd.DataFrame:
    """Rows of (frame, frame_num, position, time) as a table of the required columns."""
    frame, number, position, time = zip(*rows, strict=True)
    size = np.where(np.array(position) == 7, 60, 100)
    columns = (number, range(len(rows)), position, size, time, frame)
    return pd.DataFrame(dict(zip(REQUIRED, map(list, columns), strict=True)))


def session(frames: int, buffers: int = 8) -> pd.DataFrame:
    """An undisturbed session."""
    pairs = product(range(frames), range(buffers))
    return table_of([(i, 500 + i, k, 1e9 + i * 0.05 + k * 0.001) for i, k in pairs])


def write(path: Path, table: pd.DataFrame) -> Path:
    path.write_text(table.to_csv(index=False, lineterminator="\n"))
    return path


def lines_of(table: pd.DataFrame) -> list[bytes]:
    return table.to_csv(index=False, lineterminator="\n").encode().splitlines()


def reference(table: pd.DataFrame) -> pd.DataFrame:
    """What a frame table says, by a plain groupby."""
    answers = {}
    for frame, group in table[table["reconstructed_frame_index"] >= 0].groupby(
        "reconstructed_frame_index"
    ):
        ordered = group.sort_values(["frame_buffer_count", "buffer_recv_unix_time", "frame_num"])
        counts = ordered["frame_num"].value_counts()
        best = ordered["frame_num"].isin(counts.index[counts == counts.max()])
        seen = set(group["frame_buffer_count"])
        whole = set(group["frame_buffer_count"][group["black_padding_px"] <= 0])
        time = ordered["buffer_recv_unix_time"].to_numpy()
        elected = ordered["frame_num"][best].iloc[0]
        foreign = set(group["frame_buffer_count"][group["frame_num"] != elected])
        answers[frame] = {
            "frame_num": elected,
            "num_rows": len(group),
            "num_buffers": len(seen),
            "black_padding": group["black_padding_px"].clip(lower=0).sum(),
            "buffers": sum(1 << k for k in seen if 0 <= k < 64),
            "whole_buffers": sum(1 << k for k in whole if 0 <= k < 64),
            "excluded": sum(1 << k for k in foreign if 0 <= k < 64),
            "timestamp_first": time[0],
            "timestamp_last": time[-1],
        }
    return pd.DataFrame(answers).T


def short_buffers(table: pd.DataFrame) -> list[tuple[int, int, int]]:
    """Frame, position and padding of every padded buffer of a frame, by a plain groupby."""
    rows = table[(table["reconstructed_frame_index"] >= 0) & (table["black_padding_px"] > 0)]
    rows = rows[rows["frame_buffer_count"].between(0, 63)]
    place = ["reconstructed_frame_index", "frame_buffer_count"]
    padding = rows.groupby(place)["black_padding_px"].max()
    return [(int(f), int(k), int(n)) for (f, k), n in zip(padding.index, padding, strict=True)]


tables = st.lists(
    st.tuples(
        st.integers(-1, 5),
        st.sampled_from([-1, 7, 8, 9, 2**40]),
        st.sampled_from([0, 1, 2, 3, 7, 63, 64, 70000, -3]),
        st.sampled_from([-1.5, 0.1, 0.2, 0.25, 1764712601.722343]),
    ),
    min_size=1,
    max_size=60,
).map(table_of)
"""Rows of few frames with all that can be odd about them."""
