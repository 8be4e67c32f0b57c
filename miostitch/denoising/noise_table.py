"""Noise tables: how many pixels of every frame of a recording look wrong."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from miostitch.buffers.csv_writer import TableWriter
from miostitch.config.models import NoisePatchConfig
from miostitch.denoising.filters import METHODS
from miostitch.denoising.stages import noise
from miostitch.execution.engine import Tables, run_blocks
from miostitch.execution.lazy_blocks import LazyBlock
from miostitch.execution.products import LINE_TABLES, NOISE
from miostitch.execution.progress import Progress, counted
from miostitch.execution.publishing import RunOptions, publish_run
from miostitch.execution.results import NoiseSummary, ScoreSummary
from miostitch.execution.workspace import Workspace
from miostitch.recording.datasets import label_frames, open_sources, without_lost
from miostitch.recording.files import ReadOptions, recording_names
from miostitch.recording.sidecars import find_origin
from miostitch.schema import FRAME, LOST, VIDEO, chunk_frames
from miostitch.text import printable

COLUMNS = (LINE_TABLES[NOISE], *METHODS)
"""Of a noise table: pixels of the rows that each detector flags, under mio's names."""


def score_files(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    config: NoisePatchConfig | None = None,
    *,
    reading: ReadOptions | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> ScoreSummary:
    """Write the noise table ``{stem}_noise.csv`` of each recording.

    A lost frame keeps its line, with empty cells.
    """
    config, reading = config or NoisePatchConfig(), reading or ReadOptions(need_table=False)
    specs = [os.fspath(path) for path in inputs]
    names = recording_names(specs)
    # one by one: they need not be of one session
    sources = [source for spec in specs for source in open_sources([spec], reading)]
    opened = [label_frames(source, reading, need_rows=False) for source in sources]
    done = counted(progress, sum(dataset.sizes[FRAME] for dataset in opened))
    found = []
    for spec, name, dataset in zip(specs, names, opened, strict=True):
        workspace = Workspace(Path(output), name, [NOISE])
        with publish_run(workspace, dataset.attrs["origins"], RunOptions(force=force)):
            flagged = _write(workspace.staged(NOISE), dataset, config, done)
        origins = dataset.attrs["origins"] if reading.salvage else []
        losses = [loss for path in origins for loss in find_origin(path, reading).losses]
        found.append(
            NoiseSummary(
                path=printable(spec),
                frames=dataset.sizes[FRAME],
                noisy_frames=flagged["gradient"],
                black_frames=flagged["black_area"],
                lost_frames=losses,
                output=str(workspace.final(NOISE)),
            )
        )
    thresholds = {"gradient_config", "black_area_config"}
    return ScoreSummary(found, config.model_dump(include=thresholds))


def _write(
    path: Path,
    dataset: xr.Dataset,
    config: NoisePatchConfig,
    done: Callable[[int], None] | None,
) -> dict[str, int]:
    """Write the table of a video, and count the frames that a detector flags."""
    count, height, width = dataset.video.shape
    least = {"gradient": 1, "black_area": config.black_area_config.min_rows}
    flagged = dict.fromkeys(METHODS, 0)
    sound = np.arange(count)
    if LOST.name in dataset.coords:
        sound = np.flatnonzero(~dataset[LOST.name].to_numpy())
    frames = xr.Dataset({VIDEO.name: without_lost(dataset).video.variable})

    def plan(span: slice) -> LazyBlock:
        rows = noise(frames.isel({FRAME: span}), config)
        return LazyBlock.of(xr.Dataset(), xr.Dataset({"rows": rows}))

    def append(span: slice, tables: Tables) -> None:
        rows = pd.DataFrame(tables["rows"], sound[span], METHODS)
        for method in METHODS:
            flagged[method] += int((rows[method] >= least[method]).sum())
        # and of the lost frames that follow them, or come first of all
        begin, end = (int(ends[at]) for at in (span.start, span.stop))
        lines = (rows * width).astype("Int64").reindex(range(begin, end))
        table.append(lines.rename_axis(COLUMNS[0]).reset_index())

    ends = np.concatenate([[0], sound[1:], [count]])
    with TableWriter(path, COLUMNS) as table:
        run_blocks(plan, len(sound), chunk_frames(height, width), append, progress=done)
    return flagged
