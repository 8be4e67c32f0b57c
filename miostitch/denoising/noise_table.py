"""Noise tables: how many pixels of every frame of a recording look wrong."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from miostitch.buffers.csv_files import TableWriter
from miostitch.config.files import to_config
from miostitch.config.models import DenoiseConfig, NoisePatchConfig
from miostitch.denoising.filters import METHODS
from miostitch.denoising.stages import noise
from miostitch.editing.picking import in_blocks
from miostitch.execution.engine import Tables, run_blocks
from miostitch.execution.lazy_blocks import LazyBlock
from miostitch.execution.products import LINE_TABLES, NOISE
from miostitch.execution.progress import Progress, counted
from miostitch.execution.publishing import RunOptions, publish_run
from miostitch.execution.results import NoiseSummary, ScoreSummary
from miostitch.execution.workspace import Workspace
from miostitch.origins.sidecars import find_origin
from miostitch.recording.datasets import label_frames, open_sources, without_lost
from miostitch.recording.files import (
    ReadOptions,
    RecordingFiles,
    recording_names,
    require_list,
)
from miostitch.recording.inputs import RecordingInput, open_input, settle_reading
from miostitch.recording.run_result import RunResult
from miostitch.schema import FRAME, LOST, VIDEO, chunk_frames
from miostitch.text import printable

COLUMNS = (LINE_TABLES[NOISE], *METHODS)
"""Of a noise table: pixels of the rows that each detector flags, under mio's names."""


def score_files(
    inputs: Sequence[RecordingInput],
    output: str | os.PathLike[str] = "stitched",
    config: NoisePatchConfig | DenoiseConfig | str | os.PathLike[str] | None = None,
    *,
    lag: int | Literal["auto"] | None = None,
    salvage: bool | None = None,
    strict: bool | None = None,
    max_frame_pixels: int | None = None,
    reading: ReadOptions | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Count the noisy and black pixels of every frame: ``{stem}_noise.csv`` of each recording.

    Parameters
    ----------
    inputs
        Videos, with or without a table, or stores; or recordings that are open, of which the
        frames that are left are counted from 0. They need not be of one session.
    output
        Folder of the tables.
    config
        Configuration with the noise thresholds: an id, a path or an object; by default those of
        mio.
    lag, salvage, strict, max_frame_pixels
        How to read a recording that is named by its path: frames by which the video is behind its
        table, ``auto`` by default; whether the part is used where video and table agree; whether a
        recording in doubt is refused; the largest frames that are read. An open recording was read
        already; a lag other than its own is refused.
    reading
        How to read, instead of these.
    force
        Overwrite existing tables, once the new ones are complete.
    progress
        Called with frames done and frames in all; what it raises ends the run.

    Returns
    -------
    dict
        ``recordings``, for each its ``path``, ``frames``, ``noisy_frames``,
        ``black_frames``, ``lost_frames`` and ``output``; and the ``config``.

    Raises
    ------
    MiostitchError
        The error's class says what is wrong.

    Notes
    -----
    A lost frame keeps its line, with empty cells.

    Examples
    --------
    >>> import tempfile, miostitch
    >>> folder = tempfile.TemporaryDirectory()
    >>> session = miostitch.simulate(folder.name, miostitch.SimulationConfig(frames=20))
    >>> made = miostitch.score_files(session.recordings, folder.name)
    >>> [Path(each["output"]).name for each in made["recordings"]]
    ['receiver1_noise.csv', 'receiver2_noise.csv']
    >>> folder.cleanup()
    """
    reading = settle_reading(
        reading, lag=lag, salvage=salvage, strict=strict, max_frame_pixels=max_frame_pixels
    )
    patch = _thresholds(config)
    require_list(inputs)
    opened = [_open(each, reading) for each in inputs]
    specs = [_spec_of(each) for each in inputs]
    named = [each if isinstance(each, RecordingFiles) else _spec_of(each) for each in inputs]
    names = recording_names(named)
    done = counted(progress, sum(dataset.sizes[FRAME] for dataset in opened))
    found = []
    for spec, name, dataset in zip(specs, names, opened, strict=True):
        workspace = Workspace(Path(output), name, [NOISE])
        with publish_run(workspace, dataset.attrs["origins"], RunOptions(force=force)):
            flagged = _write(workspace.staged(NOISE), dataset, patch, done)
        origins = dataset.attrs["origins"] if reading.salvage else []
        written = [path for path in origins if path not in dataset.attrs.get("stitches", {})]
        losses = [loss for path in written for loss in find_origin(path, reading).losses]
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
    made = ScoreSummary(found, patch.model_dump(include=thresholds))
    return RunResult(made.to_json())


def _thresholds(
    config: NoisePatchConfig | DenoiseConfig | str | os.PathLike[str] | None,
) -> NoisePatchConfig:
    if config is None:
        return NoisePatchConfig()
    return config if isinstance(config, NoisePatchConfig) else to_config(config).noise_patch


def _spec_of(recording: RecordingInput) -> str:
    """By which path a recording is called."""
    if not isinstance(recording, xr.Dataset):
        return os.fspath(recording)
    return ",".join(recording.attrs.get("origins", []))


def _open(recording: RecordingInput, reading: ReadOptions) -> xr.Dataset:
    """Open a recording, or take one."""
    if isinstance(recording, xr.Dataset):
        return in_blocks(open_input(recording, reading)[0])
    [source] = open_sources([recording], reading)
    return label_frames(source, reading, need_rows=False)


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
