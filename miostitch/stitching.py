"""Stitching as a chain of lazy stages: candidates, scores, choice, result."""

import os
from collections.abc import Sequence

import numpy as np
import xarray as xr

from miostitch.config import ScoreConfig
from miostitch.gather import difference, gather, side_by_side
from miostitch.recording import candidates, load_recording, recording_names
from miostitch.schema import FRAME, NO_FRAME, RECORDING, chunk_frames
from miostitch.scoring import choose, score
from miostitch.session import Session, bring_together


def stitch_frames(
    session: Session, span: slice, block: int, config: ScoreConfig, *, debug: bool = False
) -> xr.Dataset:
    """Build the lazy result for some of the output frames.

    Parameters
    ----------
    session
        Recordings brought together.
    span
        Output frames.
    block
        Output frames per task.
    config
        Thresholds of the scores.
    debug
        Whether to add ``debug``, all candidates side by side.

    Returns
    -------
    xarray.Dataset
        Lazy ``video`` (frame, height, width), ``choice`` (frame, role), ``scores`` (recording,
        frame, score), ``diff_pixels`` (frame,), and ``debug``.
    """
    source_frame = session.alignment.source_frame[:, span]
    video = candidates(session.recordings, source_frame, block)
    present = xr.DataArray(source_frame != NO_FRAME, dims=(RECORDING, FRAME))
    scores = score(video, config)
    choice = choose(
        scores, present, session.table("num_buffers", span), session.table("black_padding", span)
    )
    source, other = choice.sel(role="source"), choice.sel(role="other")
    frames = {
        "video": gather(video, source),
        "choice": choice,
        "scores": scores,
        "diff_pixels": difference(video, source, other),
    }
    if debug:
        frames["debug"] = side_by_side(video, present).rename(width="debug_width")
    return xr.Dataset(frames)


def stitch(
    recordings: Sequence[str | os.PathLike[str]], config: ScoreConfig | None = None
) -> xr.Dataset:
    """Stitch recordings of one session, lazily.

    Parameters
    ----------
    recordings
        Paths, each as for :func:`miostitch.open_recording`.
    config
        Thresholds of the scores; those of mio by default.

    Returns
    -------
    xarray.Dataset
        Lazy ``video`` uint8 (frame, height, width) with ``frame_num`` as an index beside
        ``frame``, and lazy ``source`` int8 (frame,), the recording that gave each frame.

    Raises
    ------
    InputError
        A recording cannot be read, or they do not belong together.

    Notes
    -----
    One dask task per block reads each candidate; memory is bounded by the blocks in flight.
    """
    paths = [os.fspath(path) for path in recordings]
    names = recording_names(paths)
    session = bring_together(
        [load_recording(path, name=name) for path, name in zip(paths, names, strict=True)]
    )
    count, height, width = session.shape
    everything = slice(0, count)
    frames = stitch_frames(
        session, everything, chunk_frames(height, width), config or ScoreConfig()
    )
    result = frames[["video"]].assign_coords(
        frame=np.arange(count),
        height=np.arange(height),
        width=np.arange(width),
        frame_num=(FRAME, session.alignment.frame_num),
        source=frames.choice.sel(role="source", drop=True),
    )
    return result.assign_attrs(recordings=names, fps=str(session.fps)).set_xindex("frame_num")
