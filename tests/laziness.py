"""What must not be computed while it is built, and lazy results of some blocks."""

import numpy as np
import xarray as xr

from miostitch.composing.composition import AGREEMENT, PixelModel
from miostitch.schema import POSITION
from miostitch.session.session import Session
from miostitch.stitching.lazy import Axes, LazyBlocks, LearnedModel, lazy_video
from miostitch.stitching.options import StitchConfig

FIELDS: dict[str, tuple[str, Axes]] = {
    "source": ("int8", ()),
    "missing_pixels": ("int32", ()),
    "noisy_pixels": ("int64", ()),
    "shared_buffers": ("int16", (("agreement", len(AGREEMENT)),)),
}
"""Type and further dimensions of what is known of the frames of a lazy result."""


def never(*args: object, **kwargs: object) -> None:
    """Fail as a dask scheduler."""
    raise AssertionError("computed while it was built")


def stitch_frames(
    session: Session,
    span: slice,
    block: int,
    config: StitchConfig,
    *,
    model: PixelModel | None = None,
) -> xr.Dataset:
    """Build the lazy result for some of the output frames: one task per block makes all of it.

    Returns: Lazy ``video`` uint8 (frame, height, width); of each frame the columns of
    :class:`miostitch.stitching.block.StitchedBlock` in :data:`FIELDS`, by buffer also
    ``buffer_source`` and ``buffer_evidence`` (frame, position).
    """
    composed = config.by == "buffer"
    fields = dict(FIELDS)
    if composed:
        positions = ((POSITION, session.buffers),)
        fields |= {"buffer_source": ("int8", positions), "buffer_evidence": ("uint8", positions)}
    blocks = LazyBlocks.plan(session, span, block, config, LearnedModel(session, model))
    made = {"video": lazy_video(blocks, session)}
    for name, (dtype, axes) in fields.items():
        made[name] = blocks.field(name, np.dtype(dtype), axes)
    return xr.Dataset(made)
