"""Trees of folders as labs have them, made of small simulated sessions."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import xarray as xr

import miostitch
from miostitch.editing.run import edit_files
from miostitch.ranges import spans
from miostitch.recording.files import ReadOptions


def simulate(folder: Path, frames: int = 48, receivers: int = 2, seed: int = 0) -> list[Path]:
    config = miostitch.SimulationConfig(
        frames=frames, receivers=receivers, height=20, width=20, seed=seed, late_start_frames=0,
        early_end_frames=0, frame_loss=0.0, header_flips=0.0,
    )  # fmt: skip
    made = miostitch.simulate(folder, config).recordings
    for path in folder.glob("truth*"):
        path.unlink()
    return list(made)


def shift(table: Path, seconds: float, frames: int = 0) -> None:
    """Move a recording in time, and its counters."""
    rows = pd.read_csv(table)
    rows["buffer_recv_unix_time"] += seconds
    rows["frame_num"] += frames
    rows.to_csv(table, index=False)


def cut(video: Path, parts: int, name: Callable[[int], str]) -> list[Path]:
    """Cut a recording into segments, as recorders do that begin a new file now and then."""
    reading = ReadOptions(need_table=False, lag=0)
    count = len(pd.read_csv(video.with_suffix(".csv")).reconstructed_frame_index.unique()) - 1
    made = []
    for number, span in enumerate(spans(count, -(-count // parts)), 1):
        target = video.parent / name(number)
        target.parent.mkdir(parents=True, exist_ok=True)
        edit_files([video], target, partial(_part, span=span), "", reading=reading)
        target.with_suffix(".json").unlink()
        made.append(target)
    for suffix in (".avi", ".csv"):
        video.with_suffix(suffix).unlink()
    return made


def _part(opened: list[xr.Dataset], *, span: slice) -> xr.Dataset:
    return opened[0].isel(frame=span)


def move(video: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".avi", ".csv"):
        video.with_suffix(suffix).rename(target.with_suffix(suffix))
    return target
