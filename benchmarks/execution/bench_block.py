"""Writing what a block leaves: its chunk, its video, its rows."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd

from miostitch.buffers.csv_files import TableWriter
from miostitch.schema import COLUMNS, chunk_frames
from miostitch.store.chunks import write_block
from miostitch.store.layout import create_store
from miostitch.video.writer import VideoWriter

SIDE = 200
FRAMES = chunk_frames(SIDE, SIDE)
ROWS = 8 * FRAMES


class Writing:
    def setup(self):
        noise = np.random.default_rng(0).normal(0, 2, (FRAMES, SIDE, SIDE))
        self.frames = (noise + np.linspace(40, 200, SIDE)).astype(np.uint8)
        if not Path("store.zarr").exists():
            create_store("store.zarr", shape=self.frames.shape, chunk_frames=FRAMES, attrs={})
        self.rows = pd.DataFrame(
            {column.name: np.arange(ROWS).astype(column.dtype) for column in COLUMNS}
        )

    def time_chunk(self):
        write_block("store.zarr", 0, self.frames)

    def time_video(self):
        with VideoWriter("video.avi", width=SIDE, height=SIDE, fps=Fraction(20)) as video:
            video.write(self.frames)

    def time_ffv1(self):
        with VideoWriter(
            "video.avi", width=SIDE, height=SIDE, fps=Fraction(20), codec="ffv1"
        ) as video:
            video.write(self.frames)

    def time_rows(self):
        with TableWriter(Path("rows.csv"), list(self.rows)) as table:
            table.append(self.rows)
