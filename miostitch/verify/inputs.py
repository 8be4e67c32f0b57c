"""Reads recordings for verification: their tables row by row, and what these say of every frame.

Nothing of the alignment, repair or gathering is used. Headers are repaired as the store's log of
repairs says, after its old values were found in the table.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.buffers.parser import TableParser, header_columns, text_blocks
from miostitch.errors import InputError
from miostitch.ranges import distinct
from miostitch.schema import NO_FRAME, REPAIRED_COLUMNS
from miostitch.text import amount
from miostitch.verify.findings import Findings, Kind
from miostitch.video.source import VideoSource

EXCLUDED = -1
"""Pixels delivered of a buffer in whose place stands what belongs elsewhere."""

SPAN_FRAMES = 8192
"""Frames whose rows are looked at together."""

KEPT_BLOCKS = 8
RECORDED = "recorded position"
"""Column that rows have besides: their position before repair."""

Ints = NDArray[np.int64]


class InputTable:
    """The table of one video, of which only the places of its blocks of text are in memory."""

    def __init__(
        self, path: str, repairs: pd.DataFrame, findings: Findings, *, salvage: bool
    ) -> None:
        self.path, self._repairs = path, repairs
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.rows, self.frames = 0, 0
        self._blocks: list[tuple[int, int, int, int, int]] = []
        self._kept: OrderedDict[int, pd.DataFrame] = OrderedDict()
        self._lock = Lock()
        digest, start, line = blake2b(), 0, 2
        with open(path, "rb") as file:
            header = file.readline()
            digest.update(header)
            self.columns = header_columns(path, header)
            self._parser = TableParser(path, self.columns, 2**40, salvage)
            start = len(header)
            for text in text_blocks(path, file):
                digest.update(text)
                if not text.endswith(b"\n") and b"\0" not in text:
                    break  # a line that is cut counts for nothing
                table = self._repaired(self._parsed(text, line), self.rows, findings)
                index = table["reconstructed_frame_index"].to_numpy()
                framed = index[index != NO_FRAME]
                low, high = (int(framed.min()), int(framed.max())) if len(framed) else (0, NO_FRAME)
                self._blocks.append((start, len(text), low, high, self.rows))
                pairs = table[["frame_buffer_count", "pixel_count"]].value_counts()
                for (position, pixels), rows in zip(pairs.index.to_list(), pairs, strict=True):
                    self.sizes[position, pixels] += int(rows)
                self.rows, self.frames = self.rows + len(table), max(self.frames, high + 1)
                start, line = start + len(text), line + text.count(b"\n")
        self.digest = digest.hexdigest()
        for row in repairs["row"][repairs["row"] >= self.rows].head(1).tolist():
            told = f"a repair is noted, the table has {amount(self.rows, 'row')}"
            findings.add(Kind.REPAIRS, Path(path).name, told, row=row)

    def of_frames(self, start: int, stop: int) -> pd.DataFrame:
        """Rows of some frames in a row, by frame and position, else in the order of the file."""
        parts = []
        for number, (_, _, low, high, _) in enumerate(self._blocks):
            if low < stop and high >= start:
                table = self._block(number)
                index = table["reconstructed_frame_index"]
                parts.append(table[(index >= start) & (index < stop)])
        if not parts:
            parts = [self._block(0).iloc[:0]]
        found = pd.concat(parts, ignore_index=True)
        keys = [found[n].to_numpy() for n in ("frame_buffer_count", "reconstructed_frame_index")]
        return found.iloc[np.lexsort(keys)]

    def _block(self, number: int) -> pd.DataFrame:
        with self._lock:
            if number not in self._kept:
                start, size, _, _, row = self._blocks[number]
                with open(self.path, "rb") as file:
                    file.seek(start)
                    table = self._parsed(file.read(size), 2)
                self._kept[number] = self._repaired(table, row, None)
                if len(self._kept) > KEPT_BLOCKS:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(number)
            return self._kept[number]

    def _parsed(self, text: bytes, line: int) -> pd.DataFrame:
        ended = text if text.endswith(b"\n") else text + b"\n"
        table: pd.DataFrame = self._parser.parse(ended, line).table.to_pandas()
        return table

    def _repaired(self, table: pd.DataFrame, first: int, findings: Findings | None) -> pd.DataFrame:
        """Put in what the log of repairs says."""
        recorded = {RECORDED: table["frame_buffer_count"].to_numpy()}
        log = self._repairs
        low, high = np.searchsorted(log["row"], (first, first + len(table)))
        changed: dict[str, Ints] = {}
        for row, code, old, new in log.iloc[low:high][["row", "column", "old", "new"]].to_numpy():
            name = REPAIRED_COLUMNS[code] if code < len(REPAIRED_COLUMNS) else None
            if name is None or name not in table:
                continue
            values = changed.setdefault(name, table[name].to_numpy().copy())
            if findings is not None and values[row - first] != old:
                told = f"a repair of {old} is noted, the table has {values[row - first]}"
                findings.add(Kind.REPAIRS, Path(self.path).name, told, row=int(row), column=name)
            values[row - first] = new
        return table.assign(**changed, **recorded)


@dataclass
class FrameFacts:
    """What the rows say of every picture of a recording."""

    frame_num: Ints  # int64 (picture,); -1 unknown
    num_rows: NDArray[np.int32]
    num_buffers: NDArray[np.int16]
    padding: Ints
    # Pixels delivered of each buffer, int32 (picture, buffer); :data:`EXCLUDED`.
    given: NDArray[np.int32]
    whole: NDArray[np.bool_]
    received: NDArray[np.bool_]

    @classmethod
    def blank(cls, pictures: int, buffers: int) -> "FrameFacts":
        """Of pictures without rows."""
        return cls(
            np.full(pictures, NO_FRAME, np.int64),
            np.zeros(pictures, np.int32),
            np.zeros(pictures, np.int16),
            np.zeros(pictures, np.int64),
            np.zeros((pictures, buffers), np.int32),
            *(np.zeros((pictures, buffers), np.bool_) for _ in range(2)),
        )

    def put(self, start: int, rows: pd.DataFrame, sizes: Ints) -> None:
        """Work out some pictures."""
        columns = ["reconstructed_frame_index", "frame_buffer_count", "frame_num"]
        table = rows[[*columns, "buffer_recv_unix_time", RECORDED]].copy()
        table.columns = pd.Index(["frame", "position", "number", "time", "recorded"])
        table["padding"] = (
            rows["black_padding_px"].clip(lower=0) if "black_padding_px" in rows else 0
        )
        elected = self._elected(table)
        at = start + elected.index.to_numpy()
        self.frame_num[at] = elected
        by_frame = table.groupby("frame")
        self.num_rows[at], self.padding[at] = by_frame.size(), by_frame["padding"].sum()
        placed = table[table["recorded"] == table["position"]]
        distinct = placed.drop_duplicates(["frame", "position"])["frame"].value_counts()
        self.num_buffers[start + distinct.index.to_numpy()] = distinct
        self._deliver(start, table, placed, sizes)
        foreign = placed[placed["number"] != placed["frame"].map(elected)]
        moved = table[table["recorded"] != table["position"]]
        for wrong, where in ((foreign, "position"), (moved, "recorded")):
            inside = wrong[wrong[where].between(0, len(sizes) - 1)]
            self.given[start + inside["frame"], inside[where]] = EXCLUDED
            self.whole[start + inside["frame"], inside[where]] = False

    @staticmethod
    def _elected(table: pd.DataFrame) -> "pd.Series[int]":
        """The number most rows of each frame have; in a tie that of the earliest buffer."""
        ordered = table.sort_values(["frame", "position", "time", "number"])
        votes = ordered.groupby(["frame", "number"])["time"].transform("size")
        best = ordered.assign(votes=votes).sort_values(
            ["frame", "votes"], ascending=[True, False], kind="stable"
        )
        return best.drop_duplicates("frame").set_index("frame")["number"]

    def _deliver(self, start: int, table: pd.DataFrame, placed: pd.DataFrame, sizes: Ints) -> None:
        known = placed[placed["position"].between(0, len(sizes) - 1)]
        frame, position = start + known["frame"].to_numpy(), known["position"].to_numpy()
        self.given[frame, position] = sizes[position]
        self.received[frame, position] = True
        whole = known["padding"].to_numpy() == 0
        self.whole[frame[whole], position[whole]] = True
        short = known[~whole].groupby(["frame", "position"])["padding"].max()
        frame, position = (short.index.get_level_values(n).to_numpy() for n in (0, 1))
        left = sizes[position] - short.to_numpy()
        self.given[start + frame, position] = left.clip(0)


@dataclass
class InputRecording:
    """One recording that a result was made of."""

    name: str  # As in the attribute ``recordings``
    videos: Sequence[VideoSource]
    tables: Sequence[InputTable]
    lag: int  # Picture ``i + lag`` has the rows of frame ``i``
    # What the rows say of its pictures; filled by :meth:`survey`.
    facts: FrameFacts = field(default_factory=lambda: FrameFacts.blank(0, 0))

    @property
    def firsts(self) -> list[int]:
        """First picture of each segment, and the end."""
        return [0, *np.cumsum([video.frame_count for video in self.videos]).tolist()]

    @property
    def lossy(self) -> bool:
        """Whether zeros do not stay zeros."""
        return any(video.lossy for video in self.videos)

    def survey(self, sizes: Ints) -> None:
        """Work out what the rows say of every picture."""
        self.facts = FrameFacts.blank(self.firsts[-1], len(sizes))
        for number, (video, table) in enumerate(zip(self.videos, self.tables, strict=True)):
            pictures = video.frame_count
            low, high = max(0, -self.lag), min(table.frames, pictures - self.lag)
            for start in range(low, high, SPAN_FRAMES):
                rows = table.of_frames(start, min(start + SPAN_FRAMES, high))
                index = rows["reconstructed_frame_index"] - start
                local = rows.assign(reconstructed_frame_index=index)
                self.facts.put(self.firsts[number] + start + self.lag, local, sizes)
            self.facts.frame_num[self.firsts[number] + video.lost] = NO_FRAME
        if self.lossy:
            self.facts.given[self.facts.given == 0] = EXCLUDED

    def pictures(self, frames: Ints, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Pictures, uint8 (frame, height, width); zeros where ``frames`` is -1."""
        if len(self.videos) == 1:
            return self.videos[0].read(frames, out)
        if out is None:
            out = np.empty((len(frames), self.videos[0].height, self.videos[0].width), np.uint8)
        out[frames < 0] = 0
        for video, first, stop in zip(self.videos, self.firsts, self.firsts[1:], strict=False):
            mine = np.flatnonzero((frames >= first) & (frames < stop))
            if len(mine):
                out[mine] = video.read(frames[mine] - first)
        return out

    def rows(self, frames: Ints, places: Ints) -> pd.DataFrame:
        """Rows of pictures, in the order of these and by position."""
        parts = []
        for table, first, stop in zip(self.tables, self.firsts, self.firsts[1:], strict=False):
            inside = (frames >= first) & (frames < stop)
            local = frames[inside] - first - self.lag
            for low, high in _runs(local[local >= 0], table.frames):
                found = table.of_frames(low, high)
                target = np.full(high - low, NO_FRAME)
                held = (local >= low) & (local < high)
                target[local[held] - low] = places[inside][held]
                place = target[found["reconstructed_frame_index"].to_numpy() - low]
                parts.append(found.assign(reconstructed_frame_index=place)[place != NO_FRAME])
        if not parts:
            return self.tables[0].of_frames(0, 0)
        rows = pd.concat(parts, ignore_index=True)
        ordered: pd.DataFrame = rows.iloc[
            np.argsort(rows["reconstructed_frame_index"].to_numpy(), kind="stable")
        ]
        return ordered


def _runs(frames: Ints, end: int) -> Iterator[tuple[int, int]]:
    """Ranges of a table that hold some frames, each short enough to be read together."""
    ordered = distinct(frames[frames < end])
    far = np.flatnonzero(np.diff(ordered) > SPAN_FRAMES) + 1
    for run in np.split(ordered, far):
        if len(run):
            yield int(run[0]), int(run[-1]) + 1


def buffer_bounds(tables: Sequence[InputTable], pixels: int) -> Ints:
    """Where the buffers of a flattened frame begin and end, int64 (buffer + 1,)."""
    votes: Counter[tuple[int, int]] = Counter()
    for table in tables:
        votes.update(table.sizes)
    bounds = [0]
    while bounds[-1] < pixels:
        here = {
            size: n
            for (at, size), n in votes.items()
            if at == len(bounds) - 1 and 0 < size <= pixels
        }
        if not here:
            break
        bounds.append(bounds[-1] + min(here, key=lambda size: (-here[size], size)))
    if bounds[-1] != pixels:
        sizes = np.diff(bounds).tolist()
        raise InputError(f"buffers of {sizes} pixels do not add up to a frame of {pixels}")
    return np.array(bounds)


def repairs_of(
    log: Mapping[str, NDArray[Any]] | None, recording: int, segment: int
) -> pd.DataFrame:
    """Repaired cells of one table, by row."""
    names = ("row", "column", "old", "new")
    if log is None:
        return pd.DataFrame({name: np.zeros(0, np.int64) for name in names})
    mine = (log["recording"] == recording) & (log["segment"] == segment)
    cells = pd.DataFrame({name: log[name][mine].astype(np.int64) for name in names})
    return cells.sort_values("row", kind="stable", ignore_index=True)


def video_digest(video: VideoSource) -> str:
    """Digest of a video as stores have it: its index, its size, its first and last MiB."""
    size = Path(video.path).stat().st_size
    with open(video.path, "rb") as file:
        head = file.read(2**20)
        file.seek(max(0, size - 2**20))
        tail = file.read(2**20)
    content = video.index_digest.encode() + size.to_bytes(8, "little") + head + tail
    return blake2b(content).hexdigest()
