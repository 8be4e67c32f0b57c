"""Pixel scores of every candidate, and the choice they lead to, block by block."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from miostitch.kernels import score_frames
from miostitch.schema import FRAME, HEIGHT, PIXEL_SCORES, RECORDING, SCORE, WIDTH
from miostitch.selection import Choice, select
from miostitch.session import TABLES
from miostitch.thresholds import ScoreConfig

OF_CHOSEN = ("missing_pixels", "noisy_pixels")
"""What is said of the chosen candidate besides."""


def score(video: xr.DataArray, config: ScoreConfig) -> xr.DataArray:
    """Score pictures.

    Parameters
    ----------
    video
        uint8 (..., height, width), lazy or not, with whole pictures in a chunk.
    config
        Thresholds.

    Returns
    -------
    xarray.DataArray
        int64 (..., score) with the names of :data:`miostitch.schema.PIXEL_SCORES` as coordinate;
        as lazy as ``video`` and in its chunks.
    """
    scores: xr.DataArray = xr.apply_ufunc(
        _score_block,
        video,
        kwargs={"config": config},
        input_core_dims=[[HEIGHT, WIDTH]],
        output_core_dims=[[SCORE]],
        dask="parallelized",
        output_dtypes=[np.int64],
        dask_gufunc_kwargs={"output_sizes": {SCORE: len(PIXEL_SCORES)}},
    )
    return scores.assign_coords({SCORE: [variable.name for variable in PIXEL_SCORES]})


def choose(scores: xr.DataArray, tables: xr.DataArray) -> xr.DataArray:
    """Choose the best candidate of every frame; see :func:`miostitch.selection.select`.

    Parameters
    ----------
    scores
        int64 (recording, frame, score).
    tables
        int64 (recording, frame, table), see :meth:`miostitch.session.Session.tables`.

    Returns
    -------
    xarray.DataArray
        int64 (frame, role): the fields of :class:`miostitch.selection.Choice`, and of the chosen
        candidate :data:`OF_CHOSEN`.
    """
    if scores.chunks:
        # said how, dask need not load distributed to find out
        together = scores.data.rechunk({scores.dims.index(RECORDING): -1}, method="tasks")
        scores = scores.copy(data=together)
        tables = tables.chunk({FRAME: scores.chunksizes[FRAME]})
    roles = (*Choice._fields, *OF_CHOSEN)
    choice: xr.DataArray = xr.apply_ufunc(
        _choose_block,
        scores,
        tables.drop_vars("table"),
        input_core_dims=[[RECORDING, SCORE], [RECORDING, "table"]],
        output_core_dims=[["role"]],
        dask="parallelized",
        output_dtypes=[np.int64],
        dask_gufunc_kwargs={"output_sizes": {"role": len(roles)}},
    )
    return choice.assign_coords(role=list(roles))


def _score_block(video: NDArray[np.uint8], config: ScoreConfig) -> NDArray[np.int64]:
    height, width = video.shape[-2:]
    frames = video.reshape(-1, height, width)
    out = np.empty((len(PIXEL_SCORES), len(frames)), np.int64)
    score_frames(
        frames,
        config.value_threshold,
        config.consecutive_threshold,
        config.gradient_threshold,
        out,
    )
    return np.ascontiguousarray(out.T).reshape(*video.shape[:-2], len(PIXEL_SCORES))


def _choose_block(scores: NDArray[np.int64], tables: NDArray[np.int64]) -> NDArray[np.int64]:
    # core dimensions come last: (frame, recording, score) and (frame, recording, table)
    black, noisy, edge = np.moveaxis(scores, -1, 0)
    table = dict(zip(TABLES, np.moveaxis(tables, -1, 0), strict=True))
    flaws = table["black_padding"] + black + noisy
    present = table["present"].astype(bool)
    choice = select(present.T, table["num_buffers"].T, flaws.T, edge.T)
    chosen = np.arange(len(scores)), choice.source
    return np.stack([*choice, table["missing_pixels"][chosen], noisy[chosen]], axis=-1)
