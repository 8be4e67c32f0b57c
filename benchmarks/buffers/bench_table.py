"""Metadata tables of a session of nine hours: 5.2 million rows, 458 MB of text."""

import pickle
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from miostitch.buffers.csv_files import TableWriter
from miostitch.buffers.table import Metadata, read_metadata
from miostitch.schema import COLUMNS

BUFFERS = 8
BATCH_FRAMES = 12_500
BLOCK_FRAMES = 419  # one chunk of 200x200 frames


def write_session(path: Path, rows: int) -> None:
    """An undisturbed session, written by the writer under test."""
    frames = rows // BUFFERS
    with TableWriter(path, [column.name for column in COLUMNS]) as writer:
        for start in range(0, frames, BATCH_FRAMES):
            buffer = np.arange(start * BUFFERS, min(start + BATCH_FRAMES, frames) * BUFFERS)
            frame, position = buffer // BUFFERS, buffer % BUFFERS
            table = pd.DataFrame({c.name: np.zeros(len(buffer), c.dtype) for c in COLUMNS})
            table["linked_list"] = buffer % 32
            table["frame_num"] = frame + 2500
            table["buffer_count"] = table["write_buffer_count"] = buffer + 20_000
            table["frame_buffer_count"] = position
            table["timestamp"] = buffer * 6 + 124_429
            table["pixel_count"] = np.where(position == BUFFERS - 1, 4776, 5032)
            table["buffer_recv_index"] = buffer
            table["buffer_recv_unix_time"] = 1764712601.722343 + buffer * 0.00625
            table["reconstructed_frame_index"] = frame
            writer.append(table)


class Session:
    """One table per size, written once for all benchmarks."""

    params = (400_000, 5_200_000)
    param_names = ("rows",)
    timeout = 600
    number = 1
    rounds = 2
    repeat = 2

    def setup_cache(self) -> str:
        folder = Path(tempfile.mkdtemp(prefix="bench_metadata"))
        for rows in self.params:
            write_session(folder / f"{rows}.csv", rows)
        return str(folder)

    def setup(self, folder: str, rows: int) -> None:
        self.path = Path(folder) / f"{rows}.csv"

    def teardown(self, folder: str, rows: int) -> None:
        (Path(folder) / "written.csv").unlink(missing_ok=True)


class Read(Session):
    def time_read(self, folder: str, rows: int) -> None:
        read_metadata(self.path)

    def peakmem_read(self, folder: str, rows: int) -> None:
        read_metadata(self.path)

    def track_bytes_per_frame(self, folder: str, rows: int) -> float:
        return len(pickle.dumps(read_metadata(self.path))) / (rows // BUFFERS)


class Rows(Session):
    """What writing the output table does: the rows of every frame, block by block."""

    def setup(self, folder: str, rows: int) -> None:
        super().setup(folder, rows)
        self.table = read_metadata(self.path)

    def time_all_rows(self, folder: str, rows: int) -> None:
        visit(self.table)

    def peakmem_all_rows(self, folder: str, rows: int) -> None:
        visit(self.table)


class Write(Session):
    def time_write(self, folder: str, rows: int) -> None:
        write_session(Path(folder) / "written.csv", rows)


def visit(table: Metadata) -> int:
    """Rows seen when all frames are asked for in order, one block after the other."""
    frames = np.arange(len(table.frames))
    return sum(
        len(table.rows(frames[start : start + BLOCK_FRAMES]))
        for start in range(0, len(frames), BLOCK_FRAMES)
    )
