"""The result of a stitch as lazy arrays, of which each block is one task."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr
from dask.delayed import Delayed, delayed
from numpy.typing import NDArray

from miostitch.config.thresholds import ScoreConfig
from miostitch.errors import UsageError, report_notices
from miostitch.execution.engine import Block, spans
from miostitch.recording.files import ReadOptions, recording_names
from miostitch.recording.recording import open_recordings
from miostitch.schema import FRAME, HEIGHT, POSITION, WIDTH, chunk_frames
from miostitch.session.session import AlignOptions, Session, bring_together
from miostitch.stitching.block import plan_block
from miostitch.stitching.composition import AGREEMENT, PixelModel
from miostitch.stitching.copies import learn
from miostitch.stitching.summary import find_notices

Axes = tuple[tuple[str, int], ...]
"""Dimensions besides ``frame``, and their sizes."""

FIELDS: dict[str, tuple[str, Axes]] = {
    "source": ("int8", ()),
    "missing_pixels": ("int32", ()),
    "noisy_pixels": ("int64", ()),
    "shared_buffers": ("int16", (("agreement", len(AGREEMENT)),)),
}
"""Type and further dimensions of what is known of the frames of a lazy result."""


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
        raise UsageError(f"by {by!r}: must be frame or buffer")


def stitch_frames(
    session: Session,
    span: slice,
    block: int,
    config: StitchConfig,
    *,
    model: PixelModel | Delayed | None = None,
) -> xr.Dataset:
    """Build the lazy result for some of the output frames: one task per block makes all of it.

    Returns: Lazy ``video`` uint8 (frame, height, width); of each frame the columns of
    :class:`miostitch.stitching.block.StitchedBlock` in :data:`FIELDS`, by buffer also
    ``buffer_source`` and ``buffer_evidence`` (frame, position).
    """
    count, composed = span.stop - span.start, config.by == "buffer"
    fields = dict(FIELDS)
    if composed:
        positions = ((POSITION, session.buffers),)
        fields |= {"buffer_source": ("int8", positions), "buffer_evidence": ("uint8", positions)}
    parts = [slice(span.start + s.start, span.start + s.stop) for s in spans(count, block)]
    plans = np.empty(len(parts), object)
    for number, part in enumerate(parts):
        plans[number] = plan_block(
            session, part, config.score, composed=composed, columns=tuple(fields)
        )
    if composed and model is None:
        model = _pixel_model(session)
    # from_array would tokenize the plans by pickling them: their content decides nothing here
    lazy = da.from_array(plans, chunks=1, name=False)
    blocks = da.map_blocks(
        _make, lazy, model=model, dtype=object, meta=np.empty(0, object), name="stitch-" + lazy.name
    )
    sizes = tuple(part.stop - part.start for part in parts)
    shape = tuple(zip((HEIGHT, WIDTH), session.shape[1:], strict=True))
    made = {"video": _field(blocks, sizes, "video", np.dtype(np.uint8), shape)}
    for name, (dtype, axes) in fields.items():
        made[name] = _field(blocks, sizes, name, np.dtype(dtype), axes)
    return xr.Dataset(made)


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
    >>> for by in ("frame", "buffer"):
    ...     stitched = miostitch.stitch(paths, miostitch.StitchConfig(by=by))
    ...     print(by, int((stitched.missing_pixels == 0).sum()), "of", stitched.sizes["frame"])
    frame 33 of 59
    buffer 49 of 59
    >>> folder.cleanup()
    """
    names = recording_names(recordings)
    paths = [os.fspath(path) for path in recordings]
    opened = open_recordings(paths, reading, names=names, measure=True)
    session = bring_together(opened, aligning)
    report_notices(find_notices(session), strict=bool(reading and reading.strict))
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


def _make(plans: NDArray[Any], model: PixelModel | None) -> NDArray[Any]:
    made = np.empty(1, object)
    made[0] = replace(plans[0], model=model).make({"video"}, tables=True)
    return made


def _field(
    blocks: da.Array, sizes: tuple[int, ...], name: str, dtype: np.dtype[Any], axes: Axes
) -> tuple[tuple[str, ...], da.Array]:
    """One of the arrays of which blocks consist, as a variable."""
    data = da.map_blocks(
        partial(_take, name=name),
        blocks,
        new_axis=[*range(1, 1 + len(axes))],
        chunks=(sizes, *((size,) for _, size in axes)),
        dtype=dtype,
        meta=np.empty((0,) * (1 + len(axes)), dtype),
    )
    return (FRAME, *(dim for dim, _ in axes)), data


def _take(blocks: NDArray[Any], name: str) -> NDArray[Any]:
    block: Block = blocks[0]
    return block.videos[name] if name in block.videos else block.tables[name]
