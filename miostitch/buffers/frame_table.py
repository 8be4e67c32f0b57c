"""From rows of a metadata table, fed batch by batch in any order, to one row per frame."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from miostitch.arrays import F64, I16, I32, I64, U8, U64, Bools
from miostitch.buffers.device_counter import device_runs
from miostitch.kernels.composition import EXCLUDED
from miostitch.ranges import run_starts
from miostitch.schema import CORRECTED, NO_FRAME

MASK_BITS = 64  # buffer positions that `FrameTable.buffers` can show
# Padding of one buffer of a frame.
SHORT = np.dtype([("frame", "i8"), ("buffer", "i2"), ("pixels", "i4")])
_UNFOLDED_KEYS = 2**16
_AFTER_ALL = complex(np.inf, np.inf)


@dataclass(frozen=True)
class Reception:
    """What a receiver received of some frames, each of which is counted once.

    A frame whose fragments follow each other under one number, as a flipped header splits it, is
    one frame. All counts of what a receiver received are made here.
    """

    frames: int  # Of which anything was received
    complete: int  # Of these, those of which every buffer was received completely
    buffers: int  # Of these frames, as the device sends them
    received: int  # Of these buffers, those that came, completely or in part

    @classmethod
    def of(cls, received: NDArray[np.integer], whole: Bools, buffers: int) -> Self:
        """Count it by the buffers of each frame, and whether it is complete, (frame,)."""
        frames = len(received)
        have = received.clip(max=buffers).sum(dtype=np.int64)
        return cls(frames, int(whole.sum()), frames * buffers, int(have))

    @property
    def incomplete(self) -> int:
        """Frames that lack buffers, or pixels of them."""
        return self.frames - self.complete

    @property
    def lost(self) -> int:
        """Buffers of these frames that did not come."""
        return self.buffers - self.received


@dataclass(frozen=True, eq=False)
class FrameTable:
    """What a metadata table says per frame of the video, in arrays of shape (frame,).

    A frame without rows has ``num_rows`` 0, ``frame_num`` -1 and NaN times.
    """

    # The most frequent value of the frame's rows; in a tie that of the earliest buffer.
    frame_num: I64
    num_rows: I32  # Rows of the frame
    num_buffers: I16  # Distinct values of ``frame_buffer_count``
    black_padding: I64  # Zeros appended to the frame's buffers, in pixels
    # Bit k set: a row with ``frame_buffer_count`` k is there (k < 64).
    buffers: U64
    whole_buffers: U64  # Bit k set: such a row is there without padding
    # Bit k set: what stands at the place of buffer k belongs elsewhere, by a row whose
    # position or ``frame_num`` was repaired.
    excluded: U64
    timestamp_first: F64
    timestamp_last: F64
    # Which buffers were padded, by how many pixels, :data:`SHORT` (short buffer,), by frame.
    short: NDArray[np.void]

    @classmethod
    def blank(cls, frames: int) -> Self:
        """Make the table of `frames` frames without rows."""
        return cls(
            frame_num=np.full(frames, NO_FRAME, np.int64),
            num_rows=np.zeros(frames, np.int32),
            num_buffers=np.zeros(frames, np.int16),
            black_padding=np.zeros(frames, np.int64),
            buffers=np.zeros(frames, np.uint64),
            whole_buffers=np.zeros(frames, np.uint64),
            excluded=np.zeros(frames, np.uint64),
            timestamp_first=np.full(frames, np.nan),
            timestamp_last=np.full(frames, np.nan),
            short=np.zeros(0, SHORT),
        )

    @classmethod
    def concat(cls, tables: Sequence[Self]) -> Self:
        """Put the frames of one or more tables one after the other."""
        if len(tables) == 1:
            return tables[0]
        columns = {name: [vars(table)[name] for table in tables] for name in vars(tables[0])}
        joined = {name: np.concatenate(parts) for name, parts in columns.items()}
        starts = np.cumsum([0, *map(len, tables[:-1])])
        joined["short"]["frame"] += np.repeat(starts, [len(table.short) for table in tables])
        return cls(**joined)

    def __len__(self) -> int:
        return len(self.frame_num)

    def placed(self, lag: int, pictures: int) -> "FrameTable":
        """The table of a video's pictures: picture p gets the row of frame p - `lag`, if any."""
        if lag == 0 and pictures <= len(self):  # no copy: the rows of nine hours are held once
            own = {name: array[:pictures] for name, array in vars(self).items() if name != "short"}
            return FrameTable(**own, short=self.short[self.short["frame"] < pictures])
        table = FrameTable.blank(pictures)
        start, stop = max(0, lag), min(pictures, len(self) + lag)
        if start < stop:
            for name, array in vars(table).items():
                if name != "short":
                    array[start:stop] = vars(self)[name][start - lag : stop - lag]
        picture = self.short["frame"] + lag
        short = self.short[(picture >= start) & (picture < stop)]
        short["frame"] += lag
        return replace(table, short=short)

    def shown(self, frame: I64) -> "FrameTable":
        """The table of pictures that each show this frame of it, ascending, or -1 for none."""
        table, some = FrameTable.blank(len(frame)), frame != NO_FRAME
        for name, array in vars(table).items():
            if name != "short":
                array[some] = vars(self)[name][frame[some]]
        picture = np.full(len(self), NO_FRAME)
        picture[frame[some]] = np.flatnonzero(some)
        short = self.short.copy()
        short["frame"] = picture[short["frame"]]
        return replace(table, short=short[short["frame"] != NO_FRAME])

    @property
    def delivered(self) -> U64:
        """Bit k set: buffer k was received whole, and belongs where it stands, (frame,)."""
        return self.column("delivered", slice(None))

    def column(self, name: str, frames: I64 | slice) -> NDArray[Any]:
        """A field, or ``delivered``, of some frames; nothing is worked out for all the others."""
        if name == "delivered":
            return np.asarray(self.whole_buffers[frames] & ~self.excluded[frames])
        return np.asarray(vars(self)[name][frames])

    def reception(self, buffers: int) -> Reception:
        """Count what was received of the known frames, of so many buffers each."""
        return count_reception(self.frame_num, self.buffers, self.delivered, buffers)

    def given_pixels(self, frames: I64, bounds: I64) -> I32:
        """Pixels that rows of frames, -1 for none, say were delivered, (frame, buffer).

        0 without a row, :data:`EXCLUDED` where the pixels that stand there belong elsewhere.
        """
        sizes = np.diff(bounds)
        present = (frames >= 0)[:, None]
        has_row = mask_bits(self.buffers[frames], len(sizes)) & present
        given = np.where(has_row, sizes, 0)
        first, stop = (np.searchsorted(self.short["frame"], frames, s) for s in ("left", "right"))
        for place in np.flatnonzero(first < stop):
            for _, buffer, pixels in self.short[first[place] : stop[place]].tolist():
                if buffer < len(sizes):
                    given[place, buffer] = max(given[place, buffer] - pixels, 0)
        given[mask_bits(self.excluded[frames], len(sizes)) & present] = EXCLUDED
        return given.astype(np.int32)

    def start_times(self, buffers: int) -> F64:
        """Time at which the first buffer of each frame came, or would have come, in s; NaN: none.

        The time that a missing first buffer would have taken is measured from the recording.
        """
        mask = self.buffers & _low_bits(buffers)
        first = np.bitwise_count((mask & (~mask + np.uint64(1))) - np.uint64(1)).astype(np.int64)
        for shift in (1, 2, 4, 8, 16, 32):
            mask = mask | mask >> np.uint64(shift)
        last = np.bitwise_count(mask).astype(np.int64) - 1
        elapsed = self.timestamp_last - self.timestamp_first
        several = (last > first) & np.isfinite(elapsed)
        step = elapsed[several] / (last - first)[several]
        buffer_s = float(np.median(step)) if step.size else 0.0
        return np.where(last >= 0, self.timestamp_first - first * buffer_s, np.nan)


def count_reception(frame_num: I64, have: U64, whole: U64, buffers: int) -> Reception:
    """Count what was received of each frame of each run of the device, fragments together.

    ``have``, ``whole``: a bit for each buffer that came, and that came completely, (frame,).
    """
    known = frame_num >= 0
    number = frame_num[known]
    fragments = {"number": number, "have": have[known], "whole": whole[known]}
    fragments["run"] = device_runs(number)
    together = dict.fromkeys(("have", "whole"), np.bitwise_or)
    frames = folded(fragments, ("run", "number"), together)
    return Reception.of(
        count_bits(frames["have"], buffers), complete(frames["whole"], buffers), buffers
    )


class FrameTally:
    """Counts the rows of a metadata table into a :class:`FrameTable`."""

    def __init__(self) -> None:
        self._votes = Fold(
            ("frame", "frame_num"),
            rows=np.add,
            votes=np.add,
            padding=np.add,
            buffers=np.bitwise_or,
            whole_buffers=np.bitwise_or,
            misplaced=np.bitwise_or,
            first=np.minimum,
            last=np.maximum,
        )
        self._short = Fold(("frame", "buffer"), pixels=np.maximum)
        self._strays = Fold(("frame", "position"))  # positions that the mask cannot show
        self._claims = Fold(("frame", "position"))  # positions of rows with a damaged header

    def add(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Count some rows; those that ``failed`` belong to their frame, and say nothing of it."""
        framed = rows["reconstructed_frame_index"] != NO_FRAME
        rows = {name: values[framed] for name, values in rows.items()}
        frame, position = rows["reconstructed_frame_index"], rows["frame_buffer_count"]
        nothing = np.zeros(len(frame), np.int64)
        recorded = rows.get("recorded_position", position)
        failed = rows.get("failed", nothing).astype(bool)
        placed = (recorded == position) & ~failed
        padding = np.where(failed, 0, rows.get("black_padding_px", nothing).clip(min=0))
        buffers = np.where(placed, _bit(position), np.uint64(0))
        # complex numbers order by real part, then imaginary part: by position, then time; the
        # rows of a result come from several receivers, and are ordered by time alone
        time = rows.get(CORRECTED.name, rows["buffer_recv_unix_time"])
        moment = (time if CORRECTED.name in rows else position) + 1j * time
        self._votes.add(
            {
                "frame": frame,
                "frame_num": np.where(failed, NO_FRAME, rows["frame_num"]),
                "rows": nothing + 1,
                "votes": (~failed).astype(np.int64),
                "padding": padding,
                "buffers": buffers,
                "whole_buffers": np.where(padding == 0, buffers, np.uint64(0)),
                "misplaced": np.where(placed | failed, np.uint64(0), _bit(recorded)),
                "first": np.where(failed, _AFTER_ALL, moment),
                "last": np.where(failed, -_AFTER_ALL, moment),
            }
        )
        self._claims.add({"frame": frame[failed], "position": recorded[failed]})
        stray = placed & (buffers == 0)
        self._strays.add({"frame": frame[stray], "position": position[stray]})
        short = {"frame": frame, "buffer": position, "pixels": padding}
        padded = (buffers > 0) & (padding > 0)
        self._short.add({name: values[padded] for name, values in short.items()})

    def result(self) -> tuple[FrameTable, I64]:
        """The table of all rows, of which one must have come, and frames with two `frame_num`.

        A frame has the number of most of its rows; a tie, which is returned, goes to the earliest.
        """
        votes = self._votes.result()
        frame, rows = votes["frame"], votes["votes"]
        ranked = np.lexsort((votes["frame_num"], votes["first"], -rows, frame))
        starts = run_starts(frame[ranked])
        elected = ranked[starts]
        second = ranked[(starts + 1).clip(max=len(ranked) - 1)]
        tied = (
            (second != elected)
            & (frame[second] == frame[elected])
            & (rows[second] == rows[elected])
            & (rows[elected] > 0)
        )
        at = frame[starts]  # votes come in the order of the frames, as they are ranked

        def total(name: str) -> NDArray[Any]:
            return np.asarray(self._votes.folds[name].reduceat(votes[name], starts))

        table = FrameTable.blank(int(at.max(initial=NO_FRAME)) + 1)
        table.frame_num[at] = votes["frame_num"][elected]
        table.num_rows[at] = total("rows")
        table.num_buffers[at] = np.bitwise_count(total("buffers"))
        stray = np.bincount(self._strays.result()["frame"], minlength=len(table))
        most = np.iinfo(table.num_buffers.dtype).max  # more are read in faulty tables only
        table.num_buffers[:] = (table.num_buffers + stray).clip(max=most)
        table.black_padding[at] = total("padding")
        table.buffers[at] = total("buffers")
        table.whole_buffers[at] = total("whole_buffers")
        # seldom any; zeros that nobody writes take no memory
        misplaced = total("misplaced")
        some = np.flatnonzero(misplaced)
        table.excluded[at[some]] = misplaced[some]
        foreign = np.ones(len(frame), bool)
        foreign[elected] = False
        np.bitwise_or.at(table.excluded, frame[foreign], votes["buffers"][foreign])
        claims = self._claims.result()
        claimed = _bit(claims["position"]) & ~table.buffers[claims["frame"]]
        np.bitwise_or.at(table.excluded, claims["frame"], claimed)
        timed = total("votes") > 0
        table.timestamp_first[at[timed]] = total("first").imag[timed]
        table.timestamp_last[at[timed]] = total("last").imag[timed]
        short = self._short.result()
        padded = np.zeros(len(short["frame"]), SHORT)
        padded["frame"], padded["buffer"] = short["frame"], short["buffer"]
        padded["pixels"] = short["pixels"].clip(max=np.iinfo(SHORT["pixels"]).max)
        return replace(table, short=padded), frame[elected][tied]


class Fold:
    """A table with one row per distinct key, fed batch by batch in any order.

    Memory depends on the number of distinct keys, not on the number of rows.
    """

    def __init__(self, keys: Sequence[str], **folds: np.ufunc) -> None:
        self.keys, self.folds = keys, folds
        self._parts: list[dict[str, NDArray[Any]]] = []
        self._pending = self._folded = 0

    def add(self, batch: Mapping[str, NDArray[Any]]) -> None:
        """Fold some rows in, as arrays of shape (row,) by name."""
        self._parts.append(folded(batch, self.keys, self.folds))
        self._pending += len(self._parts[-1][self.keys[0]])
        if self._pending > self._folded + _UNFOLDED_KEYS:  # seldom enough to stay linear
            self.result()

    def result(self) -> dict[str, NDArray[Any]]:
        """Return the columns in the order of the keys; at least one batch must have come."""
        names = (*self.keys, *self.folds)
        # popped column by column, so that no second copy of the whole table stands
        whole = {name: np.concatenate([part.pop(name) for part in self._parts]) for name in names}
        _fold(whole, self.keys, self.folds)
        self._parts = [dict(whole)]
        self._pending, self._folded = 0, len(whole[self.keys[0]])
        return whole


def folded(
    columns: Mapping[str, NDArray[Any]], keys: Sequence[str], folds: Mapping[str, np.ufunc]
) -> dict[str, NDArray[Any]]:
    """Bring the rows of each distinct key together, in the order of the keys."""
    chosen = {name: columns[name] for name in (*keys, *folds)}
    _fold(chosen, keys, folds)
    return chosen


def _fold(
    columns: dict[str, NDArray[Any]], keys: Sequence[str], folds: Mapping[str, np.ufunc]
) -> None:
    """Fold columns in place, one after the other: never do two copies of a table stand."""
    order = np.lexsort([columns[key] for key in reversed(keys)])
    starts = run_starts(*(columns[key][order] for key in keys))
    for key in keys:
        columns[key] = columns[key][order][starts]
    for name, fold in folds.items():
        columns[name] = fold.reduceat(columns[name][order], starts)


def mask_bits(masks: U64, count: int) -> Bools:
    """Whether bit k of each mask (frame,) is set, in column k of (frame, buffer).

    >>> mask_bits(np.array([0b001, 0b110], np.uint64), 3).astype(int).tolist()
    [[1, 0, 0], [0, 1, 1]]
    """
    return (masks[:, None] >> np.arange(count, dtype=np.uint64) & np.uint64(1)).astype(bool)


def complete(masks: U64, buffers: int) -> Bools:
    """Whether the first `buffers` bits of each mask are all set, in the shape of ``masks``."""
    return np.asarray((masks & _low_bits(buffers)) == _low_bits(buffers))


def count_bits(masks: U64, count: int) -> U8:
    """How many of the first `count` bits of each mask are set, in the shape of ``masks``."""
    return np.asarray(np.bitwise_count(masks & _low_bits(count)), np.uint8)


def _low_bits(count: int) -> np.uint64:
    return np.uint64((1 << count) - 1)


def _bit(position: I64) -> U64:
    """Bit of a position, 0 where the mask cannot show it."""
    bit = np.uint64(1) << position.clip(0, MASK_BITS - 1).astype(np.uint64)
    return np.where((position >= 0) & (position < MASK_BITS), bit, np.uint64(0))
