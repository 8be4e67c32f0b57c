"""Recordings stitched lazily, as a Dataset that can be edited and written like any other."""

import json
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakValueDictionary

import numpy as np
import xarray as xr

from miostitch.config.choices import choose, given, require_one_way, thresholds
from miostitch.config.thresholds import ScoreConfig
from miostitch.errors import report_notices
from miostitch.recording.datasets import stitch_history
from miostitch.recording.files import (
    ReadOptions,
    StrPath,
    recording_names,
    settle_inputs,
    stitched_stem,
)
from miostitch.recording.inputs import RecordingInput
from miostitch.recording.recording import open_recordings
from miostitch.schema import (
    FRAME,
    INDEX_VARIABLES,
    ORIGIN_VARIABLES,
    RECORDING,
    VIDEO,
    chunk_frames,
)
from miostitch.session.session import AlignOptions, Session, bring_together
from miostitch.stitching.lazy import (
    LazyBlocks,
    LearnedModel,
    SessionTables,
    lazy_frame_table,
    lazy_scores,
    lazy_video,
)
from miostitch.stitching.options import StitchConfig, StitchOptions
from miostitch.stitching.summary import find_notices
from miostitch.stitching.tables import store_attrs
from miostitch.text import printable

if TYPE_CHECKING:
    from miostitch.config.models import DenoiseConfig

LAZY = ".stitch"
"""Ending of the name by which a Dataset calls a stitch that is not written."""

_stitched: WeakValueDictionary[Hashable, "LazyStitch"] = WeakValueDictionary()


@dataclass(frozen=True, eq=False)
class LazyStitch:
    """Recordings of one session, and how they are stitched."""

    specs: tuple[str, ...]  # Absolute paths, segments of a recording separated by commas
    options: StitchOptions
    session: Session

    @classmethod
    def open(cls, specs: Sequence[StrPath], options: StitchOptions) -> "LazyStitch":
        """Open recordings of one session."""
        names = recording_names(specs)
        opened = open_recordings(specs, options.reading, names=names, measure=True)
        session = bring_together(opened, options.aligning)
        paths = [",".join(os.path.abspath(v.path) for v in each.videos) for each in opened]
        return cls(tuple(paths), options, session)

    @property
    def name(self) -> str:
        """What a Dataset calls it: a path at which a result would stand next to the first video."""
        stem = stitched_stem([recording.name for recording in self.session.recordings])
        folder = os.path.dirname(os.path.abspath(self.session.recordings[0].path))
        return os.path.join(folder, stem + LAZY)

    @property
    def facts(self) -> dict[str, Any]:
        """What it takes to stitch them again, as JSON values."""
        return {"recordings": [*self.specs], "config": self.options.provenance}

    @property
    def block(self) -> int:
        """Frames per block."""
        return chunk_frames(*self.session.shape[1:])

    @cached_property
    def model(self) -> LearnedModel:
        """What pixels look like, which composition and confidence need."""
        return LearnedModel(self.session)

    @cached_property
    def tables(self) -> SessionTables:
        """What is known of the frames."""
        return SessionTables(self.session, self.options.config, self.block, self)

    def dataset(self) -> xr.Dataset:
        """The result, lazily; see :func:`stitch`."""
        session, count = self.session, self.session.shape[0]
        config = self.options.config
        blocks = LazyBlocks.plan(session, slice(0, count), self.block, config, self.model)
        noisy = blocks.field("noisy_pixels", np.dtype(np.int64))
        places = np.zeros(count, np.int16), np.arange(count)
        coords: dict[str, Any] = {
            v.name: xr.Variable(v.dims, np.arange(size), v.attrs)
            for v, size in zip(INDEX_VARIABLES, session.shape, strict=True)
        }
        coords |= lazy_frame_table(blocks, self.tables)
        coords |= {"noisy_pixels": noisy}
        coords |= {
            v.name: xr.Variable(FRAME, each, v.attrs)
            for v, each in zip(ORIGIN_VARIABLES, places, strict=True)
        }
        names = [printable(recording.name) for recording in session.recordings]
        coords[RECORDING] = names
        attrs = store_attrs(session, self.options)
        attrs |= stitch_history(attrs)
        attrs |= {"origins": [self.name], "stitches": {self.name: self.facts}}
        data = {
            "video": xr.Variable(VIDEO.dims, lazy_video(blocks, session)[1], VIDEO.attrs),
            **lazy_scores(blocks, self.tables),
        }
        return xr.Dataset(data, coords, attrs).set_xindex("frame_num")


def stitch(
    recordings: Sequence[RecordingInput],
    config: "StitchConfig | DenoiseConfig | str | os.PathLike[str] | None" = None,
    *,
    by: Literal["frame", "buffer"] | None = None,
    select: Literal["rule", "confidence"] | None = None,
    lag: int | Literal["auto"] | None = None,
    align: Literal["auto", "frame-num", "time"] | None = None,
    max_gap: float | None = None,
    keep_clocks: bool | None = None,
    salvage: bool | None = None,
    repair: bool | None = None,
    strict: bool | None = None,
    max_frame_pixels: int | None = None,
    reading: ReadOptions | None = None,
    aligning: AlignOptions | None = None,
) -> xr.Dataset:
    """Stitch recordings of one session, lazily.

    Parameters
    ----------
    recordings
        Paths, each as for :func:`miostitch.open_recording`, or open recordings. These are stitched
        as they were opened; an edited one is refused.
    config
        Configuration with the noise thresholds: an id, a path or an object; by default those of
        mio. Or a :class:`StitchConfig`, instead of ``by`` and ``select``.
    by
        ``frame``: the best receiver's frame (default); ``buffer``: combined from all receivers.
    select
        By frame, which receiver's is the best: by ``rule``, that of mio (default), or the one that
        is exact with the highest ``confidence``.
    lag
        Frames by which each video is behind its table; ``auto`` measures it (default).
    align
        How frames of the receivers are matched: ``auto`` (default), ``frame-num`` or ``time``.
    max_gap
        With ``align="time"``: largest time difference of a match, in s; half a frame by default.
    keep_clocks
        Keep times on each receiver's own clock; by default they are on the first one's.
    salvage
        Use the part where video and table agree, if they do not everywhere; by default False.
    repair
        Correct bit errors in buffer headers where that is certain; by default True.
    strict
        Refuse a result that is in doubt; by default False.
    max_frame_pixels
        Refuse videos with larger frames; by default 268435456.
    reading
        How to read, instead of ``lag``, ``salvage``, ``repair``, ``strict`` and
        ``max_frame_pixels``.
    aligning
        How to align, instead of ``align``, ``max_gap`` and ``keep_clocks``.

    Returns
    -------
    xarray.Dataset
        Lazy ``video`` uint8 (frame, height, width), and all that the store of a stitch has of each
        frame, as lazy coordinates: ``timestamp_first``, ``timestamp_last``, ``source``,
        ``num_buffers``, ``missing_pixels``, ``damaged`` and ``unrecoverable``, besides
        ``noisy_pixels``, the pixels of noisy rows; ``time`` and ``time_estimated`` of a frame
        depend on all others, so they stitch all of them. ``frame_num`` is known, and an index
        next to ``frame``. The scores of every receiver's candidate are lazy variables
        (recording, frame), such as ``score_edge_energy``.

    Raises
    ------
    InputError
        A recording cannot be read, or they do not belong together.
    UsageError
        A recording is named twice or was edited, at the lag asked for no frame has a row, or an
        option is given twice, by keyword and by object.

    Notes
    -----
    One dask task per block reads each candidate; memory is bounded by the blocks in flight. The
    coordinates of a block are computed once, and kept: some numbers per frame. What should be
    known of the recordings, such as a lag that was found, is logged as a warning.

    The result is a recording like any other: :func:`trim`, :func:`remove_frames`, :func:`concat`,
    :func:`denoise`, :func:`write_recording` and :func:`export_recording` take it, and give what
    they give of the store that :func:`stitch_files` writes. To write it reads all frames twice.

    Examples
    --------
    Frames without a missing pixel, by frame and by buffer:

    >>> import tempfile, miostitch
    >>> folder = tempfile.TemporaryDirectory()
    >>> lossy = miostitch.SimulationConfig(frames=60, buffer_loss=0.1, seed=1)
    >>> paths = miostitch.simulate(folder.name, lossy).recordings
    >>> for by in ("frame", "buffer"):
    ...     stitched = miostitch.stitch(paths, by=by)
    ...     print(by, int((stitched.missing_pixels == 0).sum()), "of", stitched.sizes["frame"])
    frame 33 of 59
    buffer 49 of 59

    Trimmed and written:

    >>> kept = miostitch.trim(stitched, 10, 5)
    >>> miostitch.write_recording(kept, f"{folder.name}/kept")["frames"]
    44
    >>> folder.cleanup()
    """
    read = {
        "lag": lag,
        "salvage": salvage,
        "repair": repair,
        "strict": strict,
        "max_frame_pixels": max_frame_pixels,
    }
    reading = choose(ReadOptions, "reading", reading, **read)
    aligned = {"align": align, "max_gap": max_gap, "keep_clocks": keep_clocks}
    require_one_way(aligned, aligning=aligning)
    if aligning is not None:
        aligned = {
            "align": aligning.method,
            "max_gap": aligning.max_gap,
            "keep_clocks": not aligning.one_clock,
        }
    inputs = settle_inputs(recordings, reading)
    made = {name: getattr(inputs.options, name) for name in read}
    options = StitchOptions(**made, **given(aligned), **_way(config, by=by, select=select))
    return stitch_lazily(inputs.specs, options)


def _way(
    config: "StitchConfig | DenoiseConfig | str | os.PathLike[str] | None",
    **ways: str | None,
) -> dict[str, Any]:
    """How frames are made: the ways to do it and thresholds, as far as they are given."""
    if isinstance(config, StitchConfig):
        require_one_way(ways, config=config)
        return {"by": config.by, "select": config.select, "score": config.score}
    return given({**ways, "score": None if config is None else thresholds(config)})


def stitch_lazily(specs: Sequence[StrPath], options: StitchOptions) -> xr.Dataset:
    """Stitch recordings, and say what should be known of them."""
    stitched = LazyStitch.open(specs, options)
    report_notices(find_notices(stitched.session), strict=options.strict)
    remember_stitch(stitched)
    return stitched.dataset()


def remember_stitch(stitch: LazyStitch) -> None:
    """Let a stitch be found as long as any of its lazy tables is there."""
    _stitched[_key(stitch.name, stitch.facts)] = stitch


def find_stitch(name: str, facts: Mapping[str, Any]) -> LazyStitch:
    """The stitch that a Dataset is of: it is open, or opened again."""
    known = _stitched.get(_key(name, facts))
    if known is not None:
        return known
    config = facts["config"]
    options = StitchOptions(**{**config, "score": ScoreConfig(**config["score"])})
    stitch = LazyStitch.open(facts["recordings"], options)
    remember_stitch(stitch)
    return stitch


def _key(name: str, facts: Mapping[str, Any]) -> Hashable:
    return name, json.dumps(facts, sort_keys=True)
