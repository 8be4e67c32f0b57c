"""Pixel scores of every candidate, and the choice they lead to, block by block."""

from collections.abc import Sequence

import dask.array as da
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from miostitch.config.thresholds import ScoreConfig
from miostitch.kernels.composition import identical_buffers
from miostitch.kernels.scores import score_frames
from miostitch.schema import FRAME, HEIGHT, PIXEL_SCORES, RECORDING, SCORE, WIDTH
from miostitch.session.session import TABLES
from miostitch.stitching.selection import Choice, select

OF_CHOSEN = ("missing_pixels", "noisy_pixels")
"""What is said of the chosen candidate besides."""

Blocks = Sequence[Sequence[Sequence[NDArray[np.uint8]]]]


def score(video: xr.DataArray, config: ScoreConfig) -> xr.DataArray:
    """Score pictures.

    Returns: int64 (..., score) with the names of :data:`miostitch.schema.PIXEL_SCORES` as
    coordinate; as lazy as ``video`` and in its chunks.
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


def alike(video: xr.DataArray) -> xr.DataArray:
    """Find candidates with the very same pixels.

    Most are: what a radio delivers it delivers exactly. Nothing need be measured of them twice.

    ``video``: candidates, lazy uint8 (recording, frame, height, width), one chunk per recording.

    Returns: Lazy int8 (recording, frame): the first recording whose candidate has these pixels.
    """
    data = da.blockwise(
        _alike_block,
        "Rf",
        video.data,
        "rfhw",
        new_axes={"R": video.sizes[RECORDING]},
        dtype=np.int8,
        meta=np.empty((0, 0), np.int8),
    )
    return xr.DataArray(data, dims=(RECORDING, FRAME))


def score_candidates(video: xr.DataArray, alike: xr.DataArray, config: ScoreConfig) -> xr.DataArray:
    """Score candidates as :func:`score` does, each picture once.

    ``video``: candidates, lazy uint8 (recording, frame, height, width), one chunk per recording.

    Returns: Lazy int64 (recording, frame, score) in chunks of all recordings.
    """
    names = [variable.name for variable in PIXEL_SCORES]
    data = da.blockwise(
        _score_candidates_block,
        "Rfs",
        alike.data,
        "Rf",
        video.data,
        "rfhw",
        config=config,
        new_axes={"s": len(names)},
        dtype=np.int64,
        meta=np.empty((0, 0, 0), np.int64),
    )
    return xr.DataArray(data, {SCORE: names}, (RECORDING, FRAME, SCORE))


def choose(scores: xr.DataArray, tables: xr.DataArray) -> xr.DataArray:
    """Choose the best candidate of every frame; see :func:`miostitch.stitching.selection.select`.

    ``scores``: int64 (recording, frame, score); if lazy, in chunks of all recordings; ``tables``:
    int64 (recording, frame, table), see :meth:`miostitch.session.session.Session.tables`.

    Returns: int64 (frame, role): the fields of :class:`Choice`, and of the chosen candidate
    :data:`OF_CHOSEN`.
    """
    if scores.chunks:
        chunks = (-1, scores.chunksizes[FRAME], -1)
        # without a name it would be hashed for one
        tables = tables.copy(data=da.from_array(tables.to_numpy(), chunks, name=False))
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


def _alike_block(nested: Blocks) -> NDArray[np.int8]:
    blocks = [rows[0][0][0] for rows in nested]  # dask nests a list per contracted dimension
    first = np.repeat(np.arange(len(blocks), dtype=np.int8)[:, np.newaxis], len(blocks[0]), axis=1)
    flat = [block.reshape(len(block), -1) for block in blocks]
    as_one_buffer = np.array([0, flat[0].shape[1]])
    same, all_frames = np.empty(len(flat[0]), np.uint64), np.ones(len(flat[0]), np.uint64)
    for number, block in enumerate(flat):
        for earlier in reversed(range(number)):
            identical_buffers(block, flat[earlier], all_frames, as_one_buffer, same)
            first[number, same > 0] = first[earlier, same > 0]
    return first


def _score_candidates_block(
    alike: NDArray[np.int8], nested: Blocks, config: ScoreConfig
) -> NDArray[np.int64]:
    scores = np.empty((*alike.shape, len(PIXEL_SCORES)), np.int64)
    for number, rows in enumerate(nested):
        block, own = rows[0][0][0], alike[number] == number
        scores[number, own] = _score_block(block if own.all() else block[own], config)
    return scores[alike, np.arange(alike.shape[1])]


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
