"""Pixel scores of every candidate, and the choice they lead to, block by block."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from miostitch.config import ScoreConfig
from miostitch.kernels import score_frames
from miostitch.schema import FRAME, HEIGHT, PIXEL_SCORES, RECORDING, SCORE, WIDTH
from miostitch.selection import Choice, select


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


def choose(
    scores: xr.DataArray,
    present: xr.DataArray,
    num_buffers: xr.DataArray,
    black_padding: xr.DataArray,
) -> xr.DataArray:
    """Choose the best candidate of every frame; see :func:`miostitch.selection.select`.

    Parameters
    ----------
    scores
        int64 (recording, frame, score).
    present, num_buffers, black_padding
        What the tables say of each candidate, (recording, frame).

    Returns
    -------
    xarray.DataArray
        int8 (frame, role) with the fields of :class:`miostitch.selection.Choice` as coordinate.
    """
    tables = [present, num_buffers, black_padding]
    if scores.chunks:
        scores = scores.chunk({RECORDING: -1})
        tables = [table.chunk({FRAME: scores.chunksizes[FRAME]}) for table in tables]
    choice: xr.DataArray = xr.apply_ufunc(
        _choose_block,
        scores,
        *tables,
        input_core_dims=[[RECORDING, SCORE], *[[RECORDING]] * 3],
        output_core_dims=[["role"]],
        dask="parallelized",
        output_dtypes=[np.int8],
        dask_gufunc_kwargs={"output_sizes": {"role": len(Choice._fields)}},
    )
    return choice.assign_coords(role=list(Choice._fields))


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


def _choose_block(
    scores: NDArray[np.int64],
    present: NDArray[np.bool_],
    num_buffers: NDArray[np.int16],
    black_padding: NDArray[np.int64],
) -> NDArray[np.int8]:
    # core dimensions come last: (frame, recording, score) and (frame, recording)
    black, noisy, edge = np.moveaxis(scores, -1, 0)
    flaws = black_padding + black + noisy
    return np.stack(select(present.T, num_buffers.T, flaws.T, edge.T), axis=-1).astype(np.int8)
