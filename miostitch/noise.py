"""Noise tables: how many pixels of every frame of a recording look wrong."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from miostitch.config import NoisePatchConfig
from miostitch.datasets import open_dataset
from miostitch.opening import ReadOptions, recording_names
from miostitch.progress import Progress, counted
from miostitch.publishing import require_name
from miostitch.schema import FRAME, HEIGHT, WIDTH, chunk_frames
from miostitch.scoring import score
from miostitch.staging import Workspace
from miostitch.table_writer import TableWriter
from miostitch.text import printable
from miostitch.writing import write_batches

ENDING = "_noise.csv"
SCORES = {"gradient": "noisy_pixels", "black_area": "black_pixels"}
"""Columns of a noise table, mio's names, and the scores that stand in them."""

COLUMNS = ("reconstructed_frame_index", *SCORES)


def score_files(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    config: NoisePatchConfig | None = None,
    *,
    reading: ReadOptions | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the noise table ``{stem}_noise.csv`` of each recording.

    Parameters
    ----------
    inputs
        Videos with or without a table, segments separated by commas, or stores.
    output
        Folder of the tables.
    config
        Thresholds; those of mio by default. Neither its ``method`` nor whether it is on matters.
    reading
        How to read.
    force
        Replace existing tables once the new ones are whole.
    progress
        Called with frames done and frames in all, from any thread.

    Returns
    -------
    dict
        JSON values: ``recordings``, for each its ``path``, ``frames``, ``noisy_frames`` (with a
        noisy row), ``black_frames`` (with ``min_rows`` black ones) and ``output``; and the
        thresholds as ``config``.

    Raises
    ------
    MiostitchError
        The error's class says what is wrong; no table of that recording stands there then.
    """
    config, reading = config or NoisePatchConfig(), reading or ReadOptions(need_table=False)
    specs = [os.fspath(path) for path in inputs]
    names = recording_names(specs)
    opened = [open_dataset(spec, reading) for spec in specs]
    done = counted(progress, sum(dataset.sizes[FRAME] for dataset in opened))
    found = []
    for spec, name, dataset in zip(specs, names, opened, strict=True):
        require_name(name, [ENDING])
        workspace = Workspace(Path(output), name, [ENDING])
        with workspace.open(dataset.attrs["origins"], force=force):
            flagged = _write(workspace.staged(ENDING), dataset.video, config, done)
            workspace.publish()
        found.append(
            {
                "path": printable(spec),
                "frames": dataset.sizes[FRAME],
                "noisy_frames": flagged["gradient"],
                "black_frames": flagged["black_area"],
                "output": str(workspace.final(ENDING)),
            }
        )
    thresholds = {"gradient_config", "black_area_config"}
    return {"recordings": found, "config": config.model_dump(include=thresholds)}


def _write(path: Path, video: xr.DataArray, config: NoisePatchConfig, done: Any) -> dict[str, int]:
    """Write the table of a video, and count the frames that a detector flags."""
    count, height, width = video.shape
    least = {"gradient": width, "black_area": config.black_area_config.min_rows * width}
    block = chunk_frames(height, width)
    flagged = dict.fromkeys(SCORES, 0)
    frames = video.reset_coords(drop=True)

    def build(span: slice) -> xr.Dataset:
        part = frames.isel({FRAME: span}).chunk({FRAME: block, HEIGHT: -1, WIDTH: -1})
        return score(part, config.score_config()).to_dataset(name="scores")

    def finish(span: slice, computed: xr.Dataset) -> None:
        pixels = {
            column: computed.scores.sel(score=name).to_numpy() for column, name in SCORES.items()
        }
        for column, values in pixels.items():
            flagged[column] += int((values >= least[column]).sum())
        positions = np.arange(span.start, span.stop)
        table.append(pd.DataFrame({"reconstructed_frame_index": positions} | pixels))
        if done is not None:
            done(len(positions))

    with TableWriter(path, COLUMNS) as table:
        write_batches(build, [], count, block, finish)
    return flagged
