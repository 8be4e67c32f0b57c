"""Stitching as a chain of lazy stages: candidates, scores, choice, result."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
import xarray as xr
from dask.delayed import Delayed, delayed

from miostitch.config.thresholds import ScoreConfig
from miostitch.errors import UsageError
from miostitch.recording.files import ReadOptions, recording_names
from miostitch.recording.recording import candidates, load_recordings
from miostitch.schema import FRAME, chunk_frames
from miostitch.session.session import AlignOptions, Session, bring_together
from miostitch.stitching.composing import compose, learn
from miostitch.stitching.composition import PixelModel
from miostitch.stitching.gather import agreement, difference, gather, side_by_side
from miostitch.stitching.scoring import OF_CHOSEN, alike, choose, score_candidates
from miostitch.text import printable

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StitchConfig:
    """How frames are made of their candidates.

    Parameters
    ----------
    score
        Thresholds of the noise scores.
    by
        ``frame``: the best candidate; ``buffer``: composed of all of them.

    Raises
    ------
    UsageError
        ``by`` is neither.
    """

    score: ScoreConfig = field(default_factory=ScoreConfig)
    by: Literal["frame", "buffer"] = "frame"

    def __post_init__(self) -> None:
        require_way(self.by)


def require_way(by: str) -> None:
    """Refuse a way to stitch that there is not."""
    if by not in ("frame", "buffer"):
        raise UsageError(f"by {by!r}: frame or buffer is meant")


def stitch_frames(
    session: Session,
    span: slice,
    block: int,
    config: StitchConfig,
    *,
    model: PixelModel | Delayed | None = None,
    debug: bool = False,
) -> xr.Dataset:
    """Build the lazy result for some of the output frames.

    Returns: Lazy ``video`` (frame, height, width), and of each of its frames ``source``,
    ``missing_pixels`` and ``noisy_pixels`` (frame,); ``choice`` (frame, role), ``scores``
    (recording, frame, score), ``diff_pixels`` (frame,), ``shared_buffers`` (frame, agreement); by
    buffer ``buffer_source`` and ``buffer_evidence`` (frame, position); and ``debug``.
    """
    video = candidates(session.recordings, session.source_frame(span), block)
    tables = session.tables(span)
    same = alike(video)
    scores = score_candidates(video, same, config.score)
    choice = choose(scores, tables)
    source, other = (choice.sel(role=role, drop=True) for role in ("source", "other"))
    frames = xr.Dataset(
        {
            "choice": choice,
            "scores": scores,
            "diff_pixels": difference(video, same, source, other),
        }
    )
    if config.by == "buffer":
        model = _pixel_model(session) if model is None else model
        made = compose(session, span, video, model, config.score)
    else:
        made = xr.Dataset(
            {
                "video": gather(video, source),
                "source": source,
                **{name: choice.sel(role=name, drop=True) for name in OF_CHOSEN},
                "shared_buffers": agreement(video, same, session.delivered(span), session.bounds),
            }
        )
    if debug:
        present = tables.sel(table="present", drop=True).astype(bool)
        frames["debug"] = side_by_side(video, present).rename(width="debug_width")
    return frames.merge(made)


def stitch(
    recordings: Sequence[str | os.PathLike[str]],
    config: StitchConfig | None = None,
    *,
    reading: ReadOptions | None = None,
    aligning: AlignOptions | None = None,
) -> xr.Dataset:
    """Stitch recordings of one session, lazily.

    Parameters
    ----------
    recordings
        Paths, each as for :func:`miostitch.open_recording`.
    config
        How frames are made; by frame and with mio's thresholds by default.
    reading
        How to read: salvage, repair, lag.
    aligning
        How to align.

    Returns
    -------
    xarray.Dataset
        Lazy ``video`` uint8 (frame, height, width) with ``frame_num`` as an index beside
        ``frame``; lazy ``source`` int8 (frame,), the recording that gave each frame, -1 where it
        was composed of several, ``missing_pixels`` int32 and ``noisy_pixels`` int64 (frame,). The
        attributes ``recordings`` and ``fps`` are names of the recordings and the frame rate.

    Raises
    ------
    InputError
        A recording cannot be read, or they do not belong together.
    UsageError
        A recording is named twice, or at the lag asked for no picture has a row.

    Notes
    -----
    One dask task per block reads each candidate; memory is bounded by the blocks in flight. What
    should be known of the recordings, such as a lag that was found, is logged as a warning.

    Examples
    --------
    Frames without a missing pixel, by frame and by buffer:

    >>> import tempfile, miostitch
    >>> folder = tempfile.TemporaryDirectory()
    >>> lossy = miostitch.SimulationConfig(frames=60, buffer_loss=0.1, seed=1)
    >>> paths = miostitch.simulate(folder.name, lossy).recordings
    >>> reading = miostitch.ReadOptions(lag="auto")
    >>> for by in ("frame", "buffer"):
    ...     stitched = miostitch.stitch(paths, miostitch.StitchConfig(by=by), reading=reading)
    ...     print(by, int((stitched.missing_pixels == 0).sum()), "of", stitched.sizes["frame"])
    frame 33 of 59
    buffer 49 of 59
    >>> folder.cleanup()
    """
    names = recording_names(recordings)
    paths = [os.fspath(path) for path in recordings]
    session = bring_together(load_recordings(paths, reading, names=names), aligning)
    for notice in [notice for recording in session.recordings for notice in recording.notices]:
        logger.warning("%s", printable(notice))
    count, height, width = session.shape
    everything = slice(0, count)
    block = chunk_frames(height, width)
    frames = stitch_frames(session, everything, block, config or StitchConfig())
    result = frames[["video"]].assign_coords(
        frame=np.arange(count),
        height=np.arange(height),
        width=np.arange(width),
        frame_num=(FRAME, session.frame_num(everything)),
        source=frames.source,
        missing_pixels=frames.missing_pixels,
        noisy_pixels=frames.noisy_pixels,
    )
    return result.assign_attrs(recordings=names, fps=str(session.fps)).set_xindex("frame_num")


def _pixel_model(session: Session) -> Delayed:
    """Learn what pixels look like once the result is asked for."""
    # the call takes no argument: dask would look into a session for things to compute
    model: Delayed = delayed(partial(learn, session), pure=False, traverse=False)()
    return model
