"""Stages of denoising, each a lazy function of labelled arrays: a recording in, a recording out.

A recording is a Dataset as :func:`miostitch.open_recording` gives it; the coordinates of its frames
go along, and its video is lazy before and after. The numbers come from
:mod:`miostitch.denoising.filters`.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr

from miostitch.arrays import I64, U8, Bools
from miostitch.config.models import (
    FlickerCorrectionConfig,
    FrequencyMaskingConfig,
    NoisePatchConfig,
)
from miostitch.config.thresholds import ScoreConfig
from miostitch.denoising import filters as filtering
from miostitch.editing.picking import in_blocks, pick
from miostitch.errors import InputError, UsageError
from miostitch.ranges import format_frames
from miostitch.schema import BLOCK, FRAME, HEIGHT, VIDEO, WIDTH

DETECTOR = "detector"
PROJECTION = "projection"
PROJECTIONS = ("minimum", "maximum")
NOISE_SETTINGS = (*(each.name for each in fields(ScoreConfig)), "method", "min_rows")
"""Attributes with the settings by which frames are noisy."""

REASONS = "dropped_as"
"""Attribute with how many frames are noisy for which reason, see :func:`count_reasons`."""

Filter = filtering.FlickerCorrection | filtering.StripeFilter


def noise(ds: xr.Dataset, config: NoisePatchConfig | None = None) -> xr.DataArray:
    """Count the rows of every frame that look broken.

    Returns
    -------
    xarray.DataArray
        Lazy int64 (frame, detector), see :class:`miostitch.denoising.filters.FlaggedRows`; the
        attributes are the thresholds.
    """
    config = config or NoisePatchConfig()
    video = in_blocks(ds)[VIDEO.name]
    data = da.map_blocks(
        partial(_rows_block, config=config),
        video.data,
        drop_axis=(1, 2),
        new_axis=1,
        chunks=(video.variable.chunksizes[FRAME], (len(filtering.METHODS),)),
        dtype=np.int64,
        meta=np.empty((0, 0), np.int64),
    )
    coords = {**_of_frame(video), DETECTOR: list(filtering.METHODS)}
    settings = asdict(config.score_config())
    return xr.DataArray(data, coords, (FRAME, DETECTOR), "rows", settings)


def noisy(rows: xr.DataArray, config: NoisePatchConfig | None = None) -> xr.DataArray:
    """Find the frames to drop: those that any method of the configuration flags.

    Parameters
    ----------
    rows
        What :func:`noise` gives, computed or not.
    config
        Methods, and how many rows they need.

    Returns
    -------
    xarray.DataArray
        bool (frame,), as lazy as ``rows``. The attributes are those of ``rows``, and the methods.
    """
    config = config or NoisePatchConfig()
    decide = partial(_noisy_block, config=config)
    if rows.variable.chunks is None:
        data = decide(rows.to_numpy())
    else:
        meta = np.empty(0, np.bool_)
        data = da.map_blocks(decide, rows.data, drop_axis=1, dtype=np.bool_, meta=meta)
    decided = {"method": [*config.method], "min_rows": config.black_area_config.min_rows}
    return xr.DataArray(data, _of_frame(rows), FRAME, "noisy", rows.attrs | decided)


def drop(ds: xr.Dataset, noisy: xr.DataArray) -> xr.Dataset:
    """Leave frames out; ``frame`` counts the others from 0 again, in blocks as large as before.

    Parameters
    ----------
    ds
        A recording.
    noisy
        Which frames to leave out, bool (frame,). Its attributes go into the history, if they are
        settings of noise as :func:`noisy` gives them.

    Raises
    ------
    UsageError
        There is not one flag per frame.
    InputError
        No frame would be left.

    Notes
    -----
    Computes ``noisy`` if it is lazy, which is a pass over the video: the blocks depend on how
    many frames are left.
    """
    flags = noisy.to_numpy()
    if flags.shape != (ds.sizes[FRAME],) or flags.dtype != np.bool_:
        msg = f"flags {flags.dtype} {flags.shape}: bool ({ds.sizes[FRAME]},) is needed"
        raise UsageError(msg)
    require_any_kept(flags, ds)
    kept = pick(in_blocks(ds), np.flatnonzero(~flags))
    kept = kept.assign_coords({FRAME: np.arange(kept.sizes[FRAME])})
    return noted(
        kept,
        step="drop",
        frames=len(flags),
        dropped=int(flags.sum()),
        dropped_frames=format_frames(np.flatnonzero(flags)),
        **{name: noisy.attrs[name] for name in (*NOISE_SETTINGS, REASONS) if name in noisy.attrs},
    )


def count_reasons(rows: I64, config: NoisePatchConfig) -> dict[str, int]:
    """Count the noisy frames by what is wrong with them; ``rows``: flagged, (frame, detector)."""
    alone = [config.model_copy(update={"method": (name,)}) for name in filtering.METHODS]
    noise, black = (_noisy_block(rows, each) & (each.method[0] in config.method) for each in alone)
    found = {"noise": noise & ~black, "black areas": black & ~noise, "both": noise & black}
    return {reason: int(frames.sum()) for reason, frames in found.items()}


def require_any_kept(flags: Bools, ds: xr.Dataset) -> None:
    """Refuse to leave out all frames that were looked at."""
    if flags.all():
        where = ds.attrs.get("recording", "recording")
        msg = f"{where}: no frame of {len(flags)} is free of noise"
        raise InputError(f"{msg}; raise the thresholds or min_rows")


def sample(ds: xr.Dataset) -> xr.Dataset:
    """Pick the frames whose temporal median stands for that of all."""
    ds = in_blocks(ds)
    pixels = ds.sizes[HEIGHT] * ds.sizes[WIDTH]
    return pick(ds, filtering.sampled_frames(ds.sizes[FRAME], pixels))


def temporal_median(ds: xr.Dataset) -> xr.DataArray:
    """Find the usual value of every pixel: the median over a sample of at most 255.

    Returns
    -------
    xarray.DataArray
        Lazy uint8 (height, width). Memory and time do not grow with the video.
    """
    video = sample(ds)[VIDEO.name]
    data = da.map_blocks(
        filtering.temporal_median,
        video.data.rechunk({0: -1}),
        drop_axis=0,
        dtype=VIDEO.dtype,
        meta=np.empty((0, 0), VIDEO.dtype),
    )
    coords = {name: video.coords[name] for name in (HEIGHT, WIDTH) if name in video.coords}
    return xr.DataArray(data, coords, (HEIGHT, WIDTH), "usual")


def correct_flicker(
    ds: xr.Dataset,
    config: FlickerCorrectionConfig | None = None,
    usual: xr.DataArray | None = None,
) -> xr.Dataset:
    """Subtract the changes of brightness that the pixels of a frame, or of a row, share.

    Parameters
    ----------
    ds
        A recording.
    config
        Whether rows are corrected, and frames.
    usual
        The usual value of every pixel; by default what :func:`temporal_median` gives.

    Raises
    ------
    UsageError
        When computed: ``usual`` is not of frames of this size.

    Notes
    -----
    Computes ``usual`` if it is lazy, which reads a sample of the frames.
    See :class:`miostitch.denoising.filters.FlickerCorrection`.
    """
    config = config or FlickerCorrectionConfig()
    ds = in_blocks(ds)
    known = (temporal_median(ds) if usual is None else usual).to_numpy()
    flicker = flicker_correction(known, config)
    made = ds.assign({VIDEO.name: _mapped(ds[VIDEO.name], flicker.apply)})
    return noted(made, step="correct_flicker", rows=config.rows, frames=config.frames)


def remove_stripes(ds: xr.Dataset, config: FrequencyMaskingConfig | None = None) -> xr.Dataset:
    """Filter stripes out of every frame; see :class:`miostitch.denoising.filters.StripeFilter`."""
    config = config or FrequencyMaskingConfig()
    ds = in_blocks(ds)
    stripes = stripe_filter(ds, config)
    made = _mapped(ds[VIDEO.name], stripes.apply)
    return noted(
        ds.assign({VIDEO.name: made}),
        step="remove_stripes",
        low_pass_radius=stripes.low_pass_radius,
        vertical_cutoff=stripes.vertical_cutoff,
        horizontal_cutoff=stripes.horizontal_cutoff,
    )


def background(ds: xr.Dataset) -> xr.DataArray:
    """Find the darkest and the brightest value of every pixel.

    Returns
    -------
    xarray.DataArray
        Lazy uint8 (projection, height, width): ``minimum``, which is the background, and
        ``maximum``. Memory does not grow with the video.
    """
    blocks = extremes(in_blocks(ds)[VIDEO.name])
    data = da.stack([blocks.data[:, 0].min(axis=0), blocks.data[:, 1].max(axis=0)])
    return xr.DataArray(data, blocks.coords, blocks.dims[1:], blocks.name)


def subtract_background(
    ds: xr.Dataset, projections: xr.DataArray | None = None, *, normalize: bool = True
) -> xr.Dataset:
    """Subtract the background from every frame, and stretch what is left; nothing wraps around.

    Parameters
    ----------
    ds
        A recording.
    projections
        What :func:`background` gives of the same frames; by default just that.
    normalize
        Whether to stretch the differences, 0 to the largest of the recording, over 0 to 255.

    Raises
    ------
    UsageError
        When computed: a frame lies outside of the projections, which are not of these frames.

    Notes
    -----
    Computes ``projections`` if they are lazy, which is a pass over the video. One graph for both
    would hold all frames in memory until the background is known.
    """
    ds = in_blocks(ds)
    both = (background(ds) if projections is None else projections).to_numpy()
    largest = filtering.difference_range(both)
    work = partial(filtering.subtract, background=both[0], largest=largest if normalize else None)
    made = ds.assign({VIDEO.name: _mapped(ds[VIDEO.name], work)})
    return noted(made, step="subtract_background", largest=largest, normalize=normalize)


def extremes(
    video: xr.DataArray,
    noisy: xr.DataArray | None = None,
    filters: Sequence[Filter] = (),
) -> xr.DataArray:
    """Find the extremes of each block, lazy uint8 (block, projection, height, width).

    They are those of the frames that are not ``noisy``, lazy bool (frame,) in the blocks of
    ``video``, after all ``filters``, one after the other.
    """
    inputs = (video.data, "fhw") if noisy is None else (video.data, "fhw", noisy.data, "f")
    data = da.blockwise(
        partial(_extremes_block, filters=filters),
        "fphw",
        *inputs,
        new_axes={"p": len(PROJECTIONS)},
        adjust_chunks={"f": 1},
        align_arrays=False,
        dtype=VIDEO.dtype,
        meta=np.empty((0, 0, 0, 0), VIDEO.dtype),
    )
    coords = {name: video.coords[name] for name in (HEIGHT, WIDTH) if name in video.coords}
    coords |= {PROJECTION: list(PROJECTIONS)}
    return xr.DataArray(data, coords, (BLOCK, PROJECTION, HEIGHT, WIDTH), "projections")


def mark_rows(video: xr.DataArray, config: NoisePatchConfig) -> xr.DataArray:
    """Draw the rows that any of the methods flags: frames that are 255 there and 0 elsewhere."""
    return _mapped(video, partial(_marked_block, config=config))


def spectra(video: xr.DataArray) -> xr.DataArray:
    """Draw the spectrum of every frame; see :func:`miostitch.denoising.filters.spectrum`."""
    return _mapped(video, filtering.spectrum)


def flicker_correction(usual: U8, config: FlickerCorrectionConfig) -> filtering.FlickerCorrection:
    """Make the correction for frames of this usual value."""
    return filtering.FlickerCorrection(usual, rows=config.rows, frames=config.frames)


def stripe_filter(ds: xr.Dataset, config: FrequencyMaskingConfig) -> filtering.StripeFilter:
    """Make the filter for the frames of a recording."""
    return filtering.StripeFilter(
        ds.sizes[HEIGHT],
        ds.sizes[WIDTH],
        low_pass_radius=config.spatial_LPF_cutoff_radius,
        vertical_cutoff=config.vertical_BEF_cutoff,
        horizontal_cutoff=config.horizontal_BEF_cutoff,
    )


def noted(ds: xr.Dataset, **done: Any) -> xr.Dataset:
    """Append a step, JSON values, to ``history``; that of the input stays as it is."""
    return ds.assign_attrs(history=[*ds.attrs.get("history", []), done])


def _mapped(video: xr.DataArray, work: Callable[[U8], U8]) -> xr.DataArray:
    """Map blocks of frames to blocks of frames."""
    meta = np.empty((0, 0, 0), VIDEO.dtype)
    return video.copy(data=da.map_blocks(work, video.data, dtype=VIDEO.dtype, meta=meta))


def _of_frame(array: xr.DataArray) -> xr.Coordinates:
    """Coordinates along ``frame`` alone."""
    others = [dim for dim in array.dims if dim != FRAME]
    return array.coords.to_dataset().drop_dims(others, errors="ignore").coords


def _flagged(frames: U8, config: NoisePatchConfig) -> filtering.FlaggedRows:
    return filtering.flagged_rows(frames, config.score_config())


def _rows_block(frames: U8, config: NoisePatchConfig) -> I64:
    return np.stack(_flagged(frames, config), axis=-1)


def _noisy_block(rows: I64, config: NoisePatchConfig) -> Bools:
    flagged = filtering.FlaggedRows(*rows.T)
    min_rows = config.black_area_config.min_rows
    return filtering.noisy_frames(flagged, config.method, min_rows=min_rows)


def _marked_block(frames: U8, config: NoisePatchConfig) -> U8:
    count, height, width = frames.shape
    # a row flags itself as a frame of one row does
    flagged = _flagged(frames.reshape(count * height, 1, width), config)._asdict()
    marked = np.logical_or.reduce([flagged[method] > 0 for method in config.method])
    rows = np.where(marked, 255, 0).astype(np.uint8).reshape(count, height, 1)
    return np.repeat(rows, width, axis=2)


def _extremes_block(frames: U8, noisy: Bools | None = None, *, filters: Sequence[Filter]) -> U8:
    if noisy is not None and noisy.any():
        frames = frames[~noisy]
    for each in filters:
        frames = each.apply(frames)
    return filtering.extremes(frames)[np.newaxis]
