"""Open what a viewer shows: a result next to its recordings, or videos side by side."""

import math
import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from threading import Event, Lock
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from miostitch.arrays import F64, I64, Bools
from miostitch.buffers.elapsed_time import ElapsedTime, measured_rate, read_start, time_of_store
from miostitch.buffers.frame_table import complete
from miostitch.errors import AlignmentError, Notice
from miostitch.execution.products import STORE
from miostitch.origins.provenance import find_originals
from miostitch.recording.files import ReadOptions, StrPath, recording_names
from miostitch.recording.frame_times import timed_root
from miostitch.recording.recording import Recording, open_recordings
from miostitch.schema import (
    CONFIDENCE,
    DOUBTFUL,
    FILLED,
    FRAME,
    FRAME_VARIABLES,
    MEASURED_FPS,
    NO_FRAME,
    RECORDING,
    SCORE_VARIABLES,
)
from miostitch.session.alignment import FrameIdentity, align
from miostitch.store.datasets import open_table
from miostitch.store.reader import Store
from miostitch.text import printable
from miostitch.viewer.cache import BlockCache
from miostitch.viewer.model import SEARCHED, Facts, FrameInfo, FrameSource, Panel, Scene

TABLE_BLOCK = 4096  # frames of a store whose tables are read at a time


def open_scene(
    names: Sequence[StrPath],
    cache: BlockCache,
    options: ReadOptions | None = None,
    *,
    folders: Sequence[str] = (),
) -> Scene:
    """Open what is to be looked at."""
    options = options or ReadOptions(need_table=False)
    if len(names) == 1 and (path := os.fspath(names[0])).endswith(STORE):
        return _open_result(path, cache, options, folders)
    return _open_side_by_side(names, cache, options)


class _LoadedTables:
    """The tables of a store, read a stretch at a time until all are loaded."""

    def __init__(self, store: Store, cache: BlockCache) -> None:
        self._path, self._cache = store.path, cache
        self._loaded: set[str] = set()
        self._columns: dict[str, NDArray[Any]] = {}
        self._lock = Lock()
        root = timed_root(store)
        self.attrs = root.attrs
        self.recordings: list[str] = []  # Names of those whose scores are known
        shown = [v.name for v in (*FRAME_VARIABLES, FILLED) if v.name in root]
        self._tables = {"": root.reset_coords()[shown]}
        if "scores" in store.groups:
            scores = open_table(store, "scores")
            known = [v.name for v in SCORE_VARIABLES if v.name in scores]  # older stores have less
            self._tables["scores"] = scores[known]
            self.recordings = [*store.recordings]

    def column(self, name: str) -> NDArray[Any]:
        """A whole column of the frames, (frame,), read once."""
        with self._lock:
            if name not in self._columns:
                self._columns[name] = self._read("", slice(None), [name])[name].to_numpy()
            return self._columns[name]

    def doubtful(self) -> Bools:
        """Which intact frames are likely not exact, (frame,)."""
        doubt = self.column(CONFIDENCE.name) < DOUBTFUL
        return np.asarray(doubt & ~self.column("damaged"))

    def row(self, frame: int) -> FrameInfo:
        """What is known of a frame."""
        return FrameInfo(frame, _facts(self._at("", frame)))

    def candidate(self, number: int, frame: int) -> FrameInfo:
        """What is known of a recording's candidate for a frame."""
        facts = _facts(self._at("scores", frame).isel({RECORDING: number}))
        source = int(facts.pop("source_frame") or 0)
        return FrameInfo(source, {} if source == NO_FRAME else facts)

    def elapsed(self, frame: int) -> float:
        """Seconds from the first frame to another one."""
        return float(self._at("", frame)["time"])

    def load(self, closing: Event) -> None:
        """Take all tables into memory, so that no frame has to wait for them any more."""
        if "scores" in self._tables:
            self._tables["scores"] = self._read("scores", slice(None))
            self._loaded.add("scores")
        for name in ("damaged", "source", *self._tables[""]):  # the overview needs those first
            if closing.is_set():
                return
            self.column(str(name))
        whole = {name: (FRAME, column) for name, column in self._columns.items()}
        self._tables[""] = xr.Dataset(whole)[[*self._tables[""]]]
        self._loaded.add("")

    def _at(self, group: str, frame: int) -> xr.Dataset:
        if group in self._loaded:
            return self._tables[group].isel({FRAME: frame})
        number, place = divmod(frame, TABLE_BLOCK)
        span = slice(number * TABLE_BLOCK, (number + 1) * TABLE_BLOCK)
        read = partial(self._read, group, span)
        block: xr.Dataset = self._cache.get((self._path, group, number), read)
        return block.isel({FRAME: place})

    def _read(self, group: str, span: slice, names: Sequence[str] | None = None) -> xr.Dataset:
        table = self._tables[group] if names is None else self._tables[group][[*names]]
        return table.isel({FRAME: span}).compute()


def _open_result(
    path: str, cache: BlockCache, options: ReadOptions, folders: Sequence[str]
) -> Scene:
    store = Store.open(path)
    frames, tables = FrameSource.of_store(store), _LoadedTables(store, cache)
    receivers = [
        Panel(name, partial(tables.candidate, number), note=SEARCHED)
        for number, name in enumerate(tables.recordings)
    ]

    def complete(closing: Event) -> None:
        pixels = options.max_frame_pixels
        # a store without scores says nothing of its recordings' frames
        found = find_originals(path, folders, max_frame_pixels=pixels) if receivers else []
        for panel, original in zip(receivers, found, strict=True):
            if isinstance(original, Recording):
                panel.frames = FrameSource.of_recording(original)
            else:
                panel.note = f"{original}; name its folder with --inputs"
        tables.load(closing)

    moving = ("frame_num", "damaged", "source", "time")
    columns: dict[str, Callable[[], NDArray[Any]]]
    columns = {name: partial(tables.column, name) for name in moving}
    return Scene(
        printable(os.path.basename(path)),
        frames.shape[0],
        Fraction(tables.attrs["fps"]),
        [Panel("result", tables.row, frames), *receivers],
        columns | {"doubtful": tables.doubtful},
        tables.elapsed,
        _known(read_start(tables.attrs)),
        tables.attrs["recordings"],
        complete=complete,
        measured_fps=tables.attrs.get(MEASURED_FPS),
    )


class _Opened(NamedTuple):
    """A video or store, of which everything per frame is at hand."""

    frames: FrameSource
    fps: Fraction
    row: Callable[[int], FrameInfo]
    identity: FrameIdentity
    damaged: Bools | None
    elapsed: ElapsedTime
    notices: Sequence[Notice] = ()


def _open_side_by_side(names: Sequence[StrPath], cache: BlockCache, options: ReadOptions) -> Scene:
    titles = [printable(name) for name in recording_names(names)]
    paths = [os.fspath(name) for name in names]
    videos = [n for n, path in zip(names, paths, strict=True) if not path.endswith(STORE)]
    recordings = iter(open_recordings(videos, options, measure=True))
    opened = [
        _open_store(title, path, cache)
        if path.endswith(STORE)
        else _open_recording(next(recordings))
        for title, path in zip(titles, paths, strict=True)
    ]
    places, frame_num, notices, note = _align([each.identity for each in opened])

    def look(number: int, position: int) -> FrameInfo:
        frame = int(places[number, position])
        return opened[number].row(frame) if frame != NO_FRAME else FrameInfo(NO_FRAME, {})

    times, start = _times_by_first(places, opened)
    columns: dict[str, Callable[[], NDArray[Any]]] = {"time": lambda: times}
    if frame_num is not None:
        columns["frame_num"] = lambda: frame_num
    known = [each.damaged for each in opened if each.damaged is not None]
    if len(known) == len(opened):  # damaged is what any video lacks or has damaged
        damaged = np.zeros(places.shape[1], np.bool_)
        for flag, place in zip(known, places, strict=True):
            lacking = place == NO_FRAME
            damaged |= np.where(lacking, not note, flag[place])  # unrelated ones may be shorter
        columns["damaged"] = lambda: damaged
    return Scene(
        ", ".join(titles),
        places.shape[1],
        opened[0].fps,
        [
            Panel(title, partial(look, number), each.frames)
            for number, (title, each) in enumerate(zip(titles, opened, strict=True))
        ],
        columns,
        lambda position: float(times[position]),
        start,
        note=note,
        measured_fps=_rate(opened[0]),
        notices=[printable(str(n)) for each in opened for n in each.notices] + notices,
        first_frames=places[0],
    )


def _open_recording(recording: Recording) -> _Opened:
    table = recording.frames
    names = ("frame_num", "timestamp_first", "timestamp_last", "num_buffers", "black_padding")
    columns = {name: getattr(table, name) for name in names}

    def row(frame: int) -> FrameInfo:
        described = table.num_rows[frame] > 0
        facts: Facts = {name: _plain(column[frame]) for name, column in columns.items()}
        return FrameInfo(frame, facts if described else {})

    identity = FrameIdentity(
        recording.name, table.frame_num, table.num_buffers, table.timestamp_first
    )
    rate = recording.videos[0].fps
    frames = FrameSource.of_recording(recording)
    damaged, elapsed = _incomplete(recording), recording.time
    return _Opened(frames, rate, row, identity, damaged, elapsed, recording.notices)


def _incomplete(recording: Recording) -> Bools | None:
    """Frames of which buffers are missing, bool (frame,); None without a table that tells."""
    bounds = recording.known_bounds
    if bounds is None or not recording.tables:
        return None
    return ~complete(recording.frames.buffers, len(bounds) - 1)


def _open_store(title: str, path: str, cache: BlockCache) -> _Opened:
    store = Store.open(path)
    tables = _LoadedTables(store, cache)

    def row(frame: int) -> FrameInfo:
        found = tables.row(frame)
        source = found.facts.get("source")
        if isinstance(source, int) and source >= 0:  # each store counts receivers of its own
            found.facts["source"] = str(store.attrs["recordings"][source])
        return found

    frame_num, buffers, first = map(tables.column, ("frame_num", "num_buffers", "timestamp_first"))
    identity = FrameIdentity(title, frame_num, buffers, first)
    frames, rate = FrameSource.of_store(store), Fraction(tables.attrs["fps"])
    elapsed = time_of_store(store)
    return _Opened(frames, rate, row, identity, tables.column("damaged"), elapsed)


def _times_by_first(places: I64, opened: Sequence[_Opened]) -> tuple[F64, float | None]:
    """Seconds of every position, and when the first one was, by the clock of the first video.

    Where it has no frame, the time lies between those of its neighbours, or beyond them.
    """
    first, rate = opened[0].elapsed, float(opened[0].fps)
    there, positions = np.flatnonzero(places[0] != NO_FRAME), np.arange(places.shape[1])
    times = np.interp(positions, there, first.seconds[places[0, there]])
    times[: there[0]] -= (there[0] - positions[: there[0]]) / rate
    times[there[-1] + 1 :] += (positions[there[-1] + 1 :] - there[-1]) / rate
    return times - times[0], _known(first.start + times[0])


def _rate(video: _Opened) -> float | None:
    """Frames per second by the timestamps of a video; None without them."""
    elapsed = video.elapsed
    received = np.where(elapsed.estimated, np.nan, elapsed.seconds)
    return measured_rate(video.identity.frame_num, received)


def _known(start: float) -> float | None:
    """A Unix time; None for NaN."""
    return start if math.isfinite(start) else None


def _align(identities: Sequence[FrameIdentity]) -> tuple[I64, I64 | None, list[str], str]:
    """Frame of each video per position, (video, frame); the device's counter; notices; a note."""
    counts = [len(each.frame_num) for each in identities]
    if len(identities) == 1:
        return np.arange(counts[0])[np.newaxis], identities[0].frame_num, [], ""
    bare = [each.name for each in identities if (each.frame_num == NO_FRAME).all()]
    if bare:
        return _by_position(counts, f"{printable(', '.join(bare))}: no table")
    try:
        found = align(identities)
    except AlignmentError as error:
        return _by_position(counts, printable(str(error)))
    places = found.source_frame.astype(np.int64)
    return places, found.frame_num, [printable(str(notice)) for notice in found.notices], ""


def _by_position(counts: Sequence[int], why: str) -> tuple[I64, None, list[str], str]:
    """Frames that cannot be matched, side by side as they are counted."""
    position = np.arange(max(counts))
    places = np.stack([np.where(position < n, position, NO_FRAME) for n in counts])
    return places, None, [], f"Frames are shown side by side by their position, unmatched: {why}"


def _facts(row: xr.Dataset) -> Facts:
    return {str(name): _plain(row[name].to_numpy()) for name in row.data_vars}


def _plain(value: Any) -> int | float | bool | None:
    """A JSON value; None for NaN."""
    plain: int | float | bool = value.item()
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain
