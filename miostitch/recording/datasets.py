"""A recording or a store as the Dataset that all editing takes and gives.

Everything about a frame but its pixels can be looked up again: every frame carries the file it is
from and its position there, and every selection of frames takes that along.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from miostitch.arrays import I64, U8, Bools
from miostitch.errors import InputError, Notice, UsageError, report_notices
from miostitch.execution.products import STORE
from miostitch.execution.results import JSON, HistoryStep, read_summary
from miostitch.fitting.tables import compare_rates
from miostitch.ranges import format_frames, runs
from miostitch.recording import accessor  # noqa: F401 (a recording gets `.miostitch`)
from miostitch.recording.files import ReadOptions, StrPath
from miostitch.recording.frame_times import (
    from_first_frame,
    time_coordinates,
    timed_root,
)
from miostitch.recording.recording import Recording, open_recordings, remember_recording
from miostitch.schema import (
    FRAME,
    FRAME_VARIABLES,
    HEIGHT,
    LOST,
    MEASURED_FPS,
    MOST_BUFFERS,
    ORIGIN_VARIABLES,
    RECEIVED,
    VIDEO,
    WIDTH,
    chunk_frames,
)
from miostitch.store.chunks import damaged_blocks, read_frames
from miostitch.store.datasets import open_cameras
from miostitch.store.reader import Store
from miostitch.store.validation import reading
from miostitch.video.source import open_video


def open_recording(
    path: StrPath,
    *,
    salvage: bool = False,
    lag: int | Literal["auto"] = "auto",
    strict: bool = False,
) -> xr.Dataset:
    """Open a recording as a lazy Dataset.

    Parameters
    ----------
    path
        A video with its table next to it (``x.avi`` and ``x.csv``), segments of a recording
        separated by commas, or a miostitch store (``x.zarr``).
    salvage
        Use the part where video and table agree, if they do not everywhere. ``lost`` then marks
        the frames that cannot be read or have no row; writing and denoising leave them out. A
        store is read once completely for that.
    lag
        Frames by which the video lags behind its table; ``"auto"``: as measured where that is
        conclusive, else 0. At a lag of 1 the first frame has no row, and is ``lost``. A store has
        its rows in their places.
    strict
        Refuse a recording that is in doubt.

    Returns
    -------
    xarray.Dataset
        ``video`` uint8 (frame, height, width) in dask chunks, with ``frame_num`` as an index
        next to ``frame``: ``ds.video.sel(frame_num=2530)`` works. No frame is read before it is
        asked for, except at most 256 that show whether the video is behind its table.
        ``origin`` and ``origin_frame`` say of every frame which of the attribute ``origins`` it
        is from and which frame of that; they stay true whatever frames are selected, so that
        :func:`miostitch.write_recording` finds what else is known of a frame. ``time`` is the
        time of each frame in s after the first one, by the clock of its receiver, and
        ``time_estimated`` marks where it was estimated; the attribute ``start_time``
        is when the first one was made, in UTC, if that is known. The attribute
        ``history`` lists what was done to the recording so far, where anything was. What should be
        known of the files, such as a lag that was found, is logged as a warning.

    Raises
    ------
    MissingInputError
        The video or its table is not there.
    InputError
        They cannot be read.
    MismatchError
        They disagree.
    UsageError
        A store is opened with a lag, or no frame has a row at that lag.

    Examples
    --------
    >>> import tempfile, miostitch
    >>> folder = tempfile.TemporaryDirectory()
    >>> session = miostitch.simulate(folder.name, miostitch.SimulationConfig(frames=20))
    >>> recording = miostitch.open_recording(session.recordings[0])
    >>> recording.video.dims
    ('frame', 'height', 'width')
    >>> recording.video.sel(frame_num=recording.frame_num[3]).shape
    (200, 200)
    >>> folder.cleanup()
    """
    options = ReadOptions(salvage=salvage, lag=lag, strict=strict)
    return open_dataset(path, options)


def open_dataset(path: StrPath, options: ReadOptions) -> xr.Dataset:
    """Open a recording or a store as a Dataset; see :func:`open_recording`."""
    [source] = open_sources([path], options)
    return label_frames(source, options)


def open_sources(paths: Sequence[StrPath], options: ReadOptions) -> list[Recording | Store]:
    """Open recordings and stores that belong together, and report what is found of them."""
    names = [os.fspath(path) for path in paths]
    videos = [path for path, name in zip(paths, names, strict=True) if not name.endswith(STORE)]
    found = open_recordings(videos, options)
    recordings = iter(found)
    opened: list[Recording | Store] = []
    for name in names:
        if not name.endswith(STORE):
            opened.append(next(recordings))
        elif options.lag in (0, "auto"):
            opened.append(Store.open(os.path.abspath(name)))  # for any process
        else:
            raise UsageError(f"{name}: a store has its rows in their places; leave --lag out")
    report_notices((n for each in opened for n in _list_notices(each)), strict=options.strict)
    return opened


def _list_notices(source: Recording | Store) -> Sequence[Notice]:
    """What a user should know of a recording or a store."""
    if isinstance(source, Recording):
        return source.notices
    rate = source.attrs.get(MEASURED_FPS)
    return compare_rates(source.path, Fraction(source.attrs["fps"]), rate)


def list_lag_notices(sources: Iterable[Recording | Store]) -> list[Notice]:
    """What a user should be told of the lags that were measured."""
    return [n for source in sources if isinstance(source, Recording) for n in source.lag_notices]


def label_frames(
    source: Recording | Store, options: ReadOptions, *, need_rows: bool = True
) -> xr.Dataset:
    """A recording or a store as the Dataset that all editing takes; see :func:`open_recording`."""
    if isinstance(source, Store):
        return _of_store(source, options)
    return _of_recording(source, options, need_rows=need_rows)


def _of_store(store: Store, options: ReadOptions) -> xr.Dataset:
    root = timed_root(store)
    with reading(store.path):
        chunks = {FRAME: root[VIDEO.name].encoding["preferred_chunks"][FRAME]}
        # Zarr itself would read a chunk that is missing as black
        pictures = VideoArray(root[VIDEO.name].shape, partial(read_frames, store.path))
        lazy = xr.Variable(VIDEO.dims, indexing.LazilyIndexedArray(pictures), VIDEO.attrs)
        stored = root.assign_coords(open_cameras(store)).chunk(chunks)
        origin = _origins([store.frames])
        if options.salvage:
            lost = np.zeros(store.frames, LOST.dtype)
            for damaged in damaged_blocks(store.path):
                lost[damaged.first : damaged.last + 1] = True
            origin |= lost_coordinate(lost)
        stored = stored.assign({VIDEO.name: lazy.chunk(chunks)}).assign_coords(origin)
        attrs = {"origins": [store.path]} | stitch_history(stored.attrs)
        return stored.assign_attrs(attrs).set_xindex("frame_num")


def record_selection(dataset: xr.Dataset) -> xr.Dataset:
    """Count the frames from 0; what was selected without us becomes a step of the history.

    The coordinate ``frame`` still says which frames of the last step these are.
    """
    if FRAME not in dataset.coords or "origins" not in dataset.attrs:
        return dataset
    places, count = dataset[FRAME].to_numpy(), dataset.sizes[FRAME]
    if places.dtype.kind not in "iu" or np.array_equal(places, np.arange(count)):
        return dataset
    steps = dataset.attrs.get("history", [])
    before = steps[-1].get("frames_after") if steps else None
    done = HistoryStep(
        "select", {"frames": runs(places).tolist()}, frames_before=before, frames_after=count
    )
    return dataset.assign_coords(
        {FRAME: (FRAME, np.arange(count), dataset[FRAME].attrs)}
    ).assign_attrs(history=[*steps, done.to_json()])


def without_lost(dataset: xr.Dataset) -> xr.Dataset:
    """Leave out the frames that are ``lost``, as a step ``remove_frames`` of the history."""
    dataset = record_selection(dataset)
    if LOST.name not in dataset.coords:
        return dataset
    gone, dataset = dataset[LOST.name].to_numpy(), dataset.drop_vars(LOST.name)
    if not gone.any():
        return dataset
    if gone.all():
        raise InputError(f"{', '.join(dataset.attrs['origins'])}: every frame asked for is lost")
    frames = {"frames": format_frames(np.flatnonzero(gone))}
    kept: Any = np.flatnonzero(~gone)
    done = done_step("remove_frames", frames, len(gone), len(kept))
    history = [*dataset.attrs.get("history", []), done]
    if len(kept) == kept[-1] + 1 - kept[0]:  # which leaves the blocks as they are
        kept = slice(kept[0], kept[-1] + 1)
    left = dataset.isel({FRAME: kept}).assign_attrs(history=history)
    if FRAME in left.coords:
        left = left.assign_coords({FRAME: (FRAME, np.arange(left.sizes[FRAME]), left[FRAME].attrs)})
    return from_first_frame(left)


def _of_recording(recording: Recording, options: ReadOptions, *, need_rows: bool) -> xr.Dataset:
    """A recording in chunks, its lost pictures marked."""
    unreadable = np.isin(np.arange(recording.shape[0]), recording.lost)
    return in_chunks(mark_lost(recording, options, need_rows=need_rows), unreadable)


def mark_lost(recording: Recording, options: ReadOptions, *, need_rows: bool = True) -> xr.Dataset:
    """A recording as a Dataset, pictures that cannot be read or have no row marked."""
    count = recording.shape[0]
    lost = np.isin(np.arange(count), recording.lost)
    if need_rows and recording.tables:  # with a lag the first pictures have no rows
        bare = recording.frames.num_rows[:count] == 0
        lost |= bare & (not (bare.any() and _rows_are_stored(recording)))
    if options.salvage or lost.any():
        return to_dataset(recording).assign_coords(lost_coordinate(lost))
    return to_dataset(recording)


def open_store_beside(video: str) -> Store | None:
    """The store next to a video, if there is one."""
    path = str(Path(video).with_suffix(STORE))
    return Store.open(path) if os.path.isdir(path) else None  # none if too long for a name


def _rows_are_stored(recording: Recording) -> bool:
    """Whether a store next to a video has the rows of all of its frames."""
    try:
        store = open_store_beside(recording.path)
    except InputError:
        return False
    return store is not None and store.frames == recording.shape[0] and bool(store.buffer_columns)


def in_chunks(dataset: xr.Dataset, unreadable: Bools | None = None) -> xr.Dataset:
    """The same with ``video`` in dask chunks of the usual size, if it is in none yet.

    ``unreadable``: frames that get chunks of their own, since to read one is an error.
    """
    if dataset.video.chunks is not None:
        return dataset
    block, count = chunk_frames(dataset.sizes[HEIGHT], dataset.sizes[WIDTH]), dataset.sizes[FRAME]
    first = int(dataset[LOST.name].to_numpy().argmin()) if LOST.name in dataset.coords else 0
    bounds = {0, *range(first, count, block), count}
    if unreadable is not None:
        bounds |= {*(np.flatnonzero(np.diff(unreadable)) + 1).tolist()}
    sizes = tuple(np.diff(sorted(bounds)).tolist())
    return dataset.assign(video=dataset.video.chunk({FRAME: sizes}))


def to_dataset(recording: Recording) -> xr.Dataset:
    """A recording as a Dataset that reads pictures when they are asked for."""
    recording = remember_recording(recording)
    count, height, width = recording.shape
    chunks = {FRAME: chunk_frames(height, width), HEIGHT: height, WIDTH: width}
    video = _lazy_video(recording, {"preferred_chunks": chunks})
    described = {variable.name: variable.attrs for variable in FRAME_VARIABLES}
    rows = {"preferred_chunks": {FRAME: chunks[FRAME]}}  # xarray wants one chunking
    table = {
        name: xr.Variable(FRAME, getattr(recording.frames, name)[:count], described[name], rows)
        for name in ("frame_num", "timestamp_first", "timestamp_last", "num_buffers")
    }
    received = recording.frames.buffers[:count]
    table[RECEIVED.name] = xr.Variable(FRAME, received, RECEIVED.attrs, rows)
    if recording.known_bounds is not None:
        table["num_buffers"].attrs[MOST_BUFFERS] = len(recording.known_bounds) - 1
    coords: dict[str, Any] = {
        name: np.arange(n) for name, n in zip(VIDEO.dims, recording.shape, strict=True)
    }
    origins: list[str] = [os.path.abspath(source.path) for source in recording.videos]
    elapsed = recording.time
    coords |= table | time_coordinates(elapsed, rows)
    coords |= _origins([source.frame_count for source in recording.videos], rows)
    attrs: dict[str, Any] = {
        "recording": recording.name,
        "fps": str(recording.videos[0].fps),
        "origins": origins,
        **elapsed.attrs,
    }
    history = stitch_history(read_summary(origins[0])) if len(origins) == 1 else {}
    if lag := recording.lag:
        done = done_step("lag", {"lag": lag}, count, count)
        history = {"history": [*history.get("history", []), done]}
        attrs["lags"] = dict.fromkeys(origins, lag)
    return xr.Dataset({VIDEO.name: video}, coords, attrs | history).set_xindex("frame_num")


def with_pictures_of(dataset: xr.Dataset, path: StrPath) -> xr.Dataset:
    """The same recording, its pictures read from a raw video: several times as fast as a store."""
    video = _lazy_video(Recording.from_videos(open_video(path)))
    return in_chunks(dataset.assign({VIDEO.name: video}))


def _lazy_video(recording: Recording, encoding: Mapping[str, Any] | None = None) -> xr.Variable:
    """The pictures of a recording, which they keep alive."""
    data = indexing.LazilyIndexedArray(VideoArray(recording.shape, recording.read))
    return xr.Variable(VIDEO.dims, data, VIDEO.attrs, encoding)


def union(lists: Iterable[Sequence[str]]) -> tuple[list[str], list[I64]]:
    """Names of all lists, each once, and for each list the places of its names among them."""
    lists = [*lists]
    names = [*dict.fromkeys(name for each in lists for name in each)]
    return names, [np.array([names.index(name) for name in each], np.int64) for each in lists]


def _origins(counts: list[int], encoding: dict[str, Any] | None = None) -> dict[str, xr.Variable]:
    """Where the frames of files of so many frames are from."""
    values = (
        np.repeat(np.arange(len(counts)), counts),
        np.concatenate([np.arange(count) for count in counts]),
    )
    return {
        variable.name: xr.Variable(FRAME, each.astype(variable.dtype), variable.attrs, encoding)
        for variable, each in zip(ORIGIN_VARIABLES, values, strict=True)
    }


def done_step(step: str, parameters: JSON, before: int, after: int) -> dict[str, Any]:
    """An entry of a history: what was done to so many frames, and how many were left."""
    done = HistoryStep(step, parameters, frames_before=before, frames_after=after)
    return done.to_json()


def lost_coordinate(lost: Bools) -> dict[str, xr.Variable]:
    """The coordinate that tells which frames are lost, (frame,)."""
    return {LOST.name: xr.Variable(FRAME, lost, LOST.attrs)}


def stitch_history(facts: JSON) -> dict[str, list[JSON]]:
    """What was done to a recording, by the attributes of its store or by its summary."""
    if "history" in facts:
        return {"history": list(facts["history"])}
    if "config" not in facts:
        return {}
    listed = facts.get("recordings", [])
    named = [str(each.get("name", "")) if isinstance(each, dict) else str(each) for each in listed]
    return {"history": [HistoryStep("stitch", facts["config"], named).to_json()]}


class VideoArray(BackendArray):
    """Pictures as the array that xarray indexes lazily."""

    def __init__(self, shape: tuple[int, ...], read: Callable[[I64], U8]) -> None:
        self.shape, self.read = shape, read
        self.dtype = np.dtype(VIDEO.dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> U8:
        block = self.read(np.atleast_1d(np.arange(self.shape[0])[key[0]]))
        if isinstance(key[0], int | np.integer):
            return np.asarray(block[0][key[1]][..., key[2]])
        return np.asarray(block[:, key[1]][..., key[2]])
