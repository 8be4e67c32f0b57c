"""Repair of buffer headers that radio noise has flipped bits in.

A header says its position in the stream four times over: ``buffer_count`` N is that position,
``frame_num = N // factor``, ``frame_buffer_count = N % factor``, ``linked_list = N % ring``. Rows
in which all four agree are sound. The others are at the position between the nearest sound rows
whose fields differ from theirs in fewest bits; where several do, fields and rows vote.
``docs/explanation/repair.md`` says which one is believed. Repairs depend on :data:`MARGIN` rows to
either side and on the rows as recorded, never on earlier repairs: any batches give the same result.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from miostitch.arrays import I64, Bools
from miostitch.buffers.header_check import find_failed
from miostitch.schema import NO_FRAME, WITNESSES

REACH = 16  # rows to either side in which a sound neighbour is looked for
MARGIN = 2 * REACH  # rows that a repair depends on: neighbours, and those that prove them sound
LOST_AT_AN_END = 16  # positions that may be missing where there is a sound row on one side only
MOST_FLIPPED = 8  # bits in which the fields of a row may differ from those of its position
FAR_LESS = 2  # by more bits than this a position farther away must be better than all near ones
MOST_POSITIONS = 2**12  # between two sound rows, that are compared one by one
COMPARED = 2**20  # positions that are compared at a time
POSITION_FIELDS = WITNESSES[:4]  # columns that each tell the position in the stream
PIXEL_COUNT_EVIDENCE = 1 << WITNESSES.index("size of the position")
NO_PLACE_EVIDENCE = 1 << WITNESSES.index("no place between its neighbours")
LOG_COLUMNS = ("row", "column", "old", "new", "evidence")
_LOG_DTYPES = dict.fromkeys(("row", "old", "new", "evidence"), "int64")
NO_REPAIRS = pd.DataFrame(columns=list(LOG_COLUMNS)).astype(_LOG_DTYPES)


@dataclass(frozen=True)
class HeaderLayout:
    """The redundancy of a recording's headers."""

    factor: int  # Buffers per frame in ``buffer_count = factor * frame_num + frame_buffer_count``
    # ``linked_list = buffer_count % ring``; 0 where the column is absent or not like that.
    ring: int
    # ``pixel_count`` of each position in the frame; 0 where the rows do not agree on one.
    sizes: tuple[int, ...]


def derive_layout(table: pd.DataFrame) -> HeaderLayout | None:
    """Derive the redundancy from rows, of which a part may be corrupted; None without any."""
    table = table[~find_failed(table)]
    frame, count, position = (
        _ints(table, name) for name in ("frame_num", "buffer_count", "frame_buffer_count")
    )
    usable = (frame > 0) & (position >= 0) & (count > position)
    first = (count - position)[usable]
    divides = first % frame[usable] == 0
    factor = _mode((first // frame[usable])[divides])
    if factor < 1 or 2 * (factor * frame + position == count).sum() <= len(table):
        return None
    sound = (factor * frame + position == count) & (position < factor)
    sizes = _ints(table, "pixel_count")
    return HeaderLayout(
        factor,
        _ring(_ints(table, "linked_list")[sound], count[sound]) if "linked_list" in table else 0,
        tuple(_mode(sizes[sound & (position == k)], share=0.9) for k in range(factor)),
    )


def repair_table(table: pd.DataFrame, layout: HeaderLayout) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Repair the headers of consecutive rows.

    Returns: The rows, and a log of what was changed; its ``row`` is a label of the table's index.
    """
    names = [n for n in POSITION_FIELDS if n in table and (n != "linked_list" or layout.ring)]
    fields = {name: _ints(table, name) for name in names}
    sound = np.logical_and.reduce(_agreeing(fields["buffer_count"], fields, layout))
    failed = find_failed(table)  # neither witnesses nor repaired: their fields may be anything
    sound &= ~failed
    sound &= ~_contradicted(sound, fields["buffer_count"])
    position = fields["buffer_count"].copy()
    evidence = np.zeros(len(table), np.int64)
    doubtful = np.flatnonzero(~sound & ~failed)
    if doubtful.size:
        position[doubtful], evidence[doubtful] = _decide(doubtful, sound, fields, layout)
    settled = sound | (evidence > 0)
    new = {name: np.where(settled, _field(name, position, layout), fields[name]) for name in names}
    nowhere = ~settled & ~failed & _without_place(sound, fields, layout)
    new["frame_num"][nowhere] = NO_FRAME
    evidence[nowhere] = NO_PLACE_EVIDENCE
    size = np.asarray(layout.sizes)[position % layout.factor]
    old_size = _ints(table, "pixel_count")
    new["pixel_count"] = np.where(settled & (size > 0), size, old_size)
    fields["pixel_count"] = old_size
    return _apply(table, fields, new, evidence)


def repair_batches(
    batches: Iterable[pd.DataFrame], layout: HeaderLayout
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Repair a table batch by batch, as :func:`repair_table` does the whole one.

    Holds one batch and ``2 * MARGIN`` rows: the last rows wait until those after them are known.
    """
    window: pd.DataFrame | None = None
    done = 0  # leading rows of the window that were given out already
    for batch in batches:
        window = batch if window is None else pd.concat([window, batch])
        ready = len(window) - MARGIN
        if ready > done:
            yield _cut(window, layout, done, ready)
            keep = max(0, ready - MARGIN)
            window = window.iloc[keep:]
            done = ready - keep
    if window is not None and len(window) > done:
        yield _cut(window, layout, done, len(window))


def describe_evidence(evidence: int) -> str:
    """Name the witnesses of a repair.

    >>> describe_evidence(0b110101)
    'buffer_count, frame_buffer_count, row before, row after'
    """
    return ", ".join(name for bit, name in enumerate(WITNESSES) if evidence >> bit & 1)


def _cut(
    window: pd.DataFrame, layout: HeaderLayout, start: int, stop: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Repair a window and keep the rows start:stop."""
    table, log = repair_table(window, layout)
    part = table.iloc[start:stop]
    if log.empty:
        return part, log
    return part, log[log["row"].isin(part.index)].reset_index(drop=True)


@dataclass(frozen=True)
class _Around:
    """What the nearest sound rows say of some doubtful ones, (row,) each."""

    before: I64  # Position of the sound row before
    next_up: I64  # Where the row is if nothing was lost since that
    has_before: Bools  # Whether there is one in reach
    after: I64
    last_down: I64
    has_after: Bools

    @classmethod
    def of(cls, rows: I64, sound: Bools, count: I64) -> "_Around":
        before, next_up, has_before = _neighbour(rows, sound, count, -1)
        after, last_down, has_after = _neighbour(rows, sound, count, 1)
        return cls(before, next_up, has_before, after, last_down, has_after)

    @property
    def reboot(self) -> Bools:
        """Whether the counter falls from the row before to the one after."""
        return self.has_before & self.has_after & (self.before > self.after)

    def range(self) -> tuple[I64, I64, Bools]:
        """First and last position where the rows can be, and whether that is known."""
        low = np.where(self.has_before, self.before, self.last_down - LOST_AT_AN_END).clip(0)
        high = np.where(self.has_after, self.after, self.next_up + LOST_AT_AN_END)
        return low, high, (self.has_before | self.has_after) & ~self.reboot & (low <= high)

    def allows(self, positions: I64) -> Bools:
        """Whether positions are in order with the sound rows; at a reboot any is."""
        risen = ~self.has_before | self.reboot | (positions >= self.before)
        return (
            risen & (~self.has_after | self.reboot | (positions <= self.after)) & (positions >= 0)
        )


def _decide(
    doubtful: I64, sound: Bools, fields: dict[str, I64], layout: HeaderLayout
) -> tuple[I64, I64]:
    """Position and evidence of the doubtful rows; evidence 0 leaves a row as it is."""
    here = {name: values[doubtful] for name, values in fields.items()}
    around = _Around.of(doubtful, sound, fields["buffer_count"])
    voted, elected = _most_votes(here, around, layout)
    nearest, fewest, alone = _fewest_bits(here, around, layout)
    low, high, known = around.range()
    bits = _flipped_bits(voted, here, layout)
    inside = ~known | ((low <= voted) & (voted <= high))
    # Outside is possible only at an end, where more may have been lost than is usual.
    elected &= np.where(
        inside, (fewest > MOST_FLIPPED) | (bits <= fewest), bits + FAR_LESS < fewest
    )
    by_bits = alone & (fewest <= MOST_FLIPPED) & ~(elected & ~inside)
    chosen = np.where(by_bits, nearest, voted)
    neighbours = (
        around.has_before & (chosen == around.next_up),
        around.has_after & (chosen == around.last_down),
    )
    evidence = np.zeros(doubtful.size, np.int64)
    witnesses = (*here, "row before", "row after")
    for name, agrees in zip(
        witnesses, (*_agreeing(chosen, here, layout), *neighbours), strict=True
    ):
        evidence |= agrees.astype(np.int64) << WITNESSES.index(name)
    sure = (by_bits | elected) & (evidence > 0)
    return np.where(sure, chosen, here["buffer_count"]), np.where(sure, evidence, 0)


def _most_votes(here: dict[str, I64], around: _Around, layout: HeaderLayout) -> tuple[I64, Bools]:
    """The position with most votes of fields and sound rows, and whether it has enough of them."""
    factor = layout.factor
    own, frame = here["buffer_count"], here["frame_num"]
    position = here["frame_buffer_count"]
    candidates = np.stack([
        own,
        frame * factor + position,
        frame * factor + own % factor,
        own // factor * factor + position,
        around.next_up,
        around.last_down,
    ])  # fmt: skip
    fields_for = _agreeing(candidates, here, layout).sum(axis=0)
    in_all = fields_for + (around.has_before & (candidates == around.next_up))
    in_all += around.has_after & (candidates == around.last_down)
    possible = around.allows(candidates) & (fields_for >= 2) & (in_all >= 3)
    rank = np.where(possible, fields_for + in_all, 0)
    rows = np.arange(own.size)
    best = rank.argmax(axis=0)
    chosen = candidates[best, rows]
    rival = np.where(candidates == chosen, 0, rank).max(axis=0)
    return chosen, rank[best, rows] > rival


def _fewest_bits(
    here: dict[str, I64], around: _Around, layout: HeaderLayout
) -> tuple[I64, I64, Bools]:
    """Of all positions between the sound rows that whose fields differ in fewest bits.

    Returns: The first such position, in how many bits, and whether it is the only one.
    """
    low, high, known = around.range()
    count = np.where(known & (high - low < MOST_POSITIONS), high - low + 1, 0)
    nearest, fewest = low.copy(), np.full(low.size, 2 * MOST_FLIPPED * 64)
    alone = np.zeros(low.size, bool)
    rows = np.flatnonzero(count)
    for part in np.split(rows, np.flatnonzero(np.diff(count[rows].cumsum() // COMPARED)) + 1):
        if not part.size:
            continue
        starts = np.cumsum(count[part]) - count[part]
        row = np.repeat(part, count[part])
        positions = low[row] + np.arange(row.size) - np.repeat(starts, count[part])
        bits = _flipped_bits(positions, {name: v[row] for name, v in here.items()}, layout)
        fewest[part] = np.minimum.reduceat(bits, starts)
        is_best = bits == fewest[row]
        alone[part] = np.add.reduceat(is_best.astype(np.int64), starts) == 1
        nearest[part] = np.minimum.reduceat(np.where(is_best, positions, high[row] + 1), starts)
    return nearest, fewest, alone


def _flipped_bits(positions: I64, fields: dict[str, I64], layout: HeaderLayout) -> I64:
    """In how many bits the fields differ from those of positions, (row,)."""
    return sum(
        (_count_bits(_field(name, positions, layout) ^ value) for name, value in fields.items()),
        np.zeros(positions.size, np.int64),
    )


def _count_bits(values: I64) -> I64:
    """Bits of each value that are set, of values from 0 on."""
    counted: I64 = np.bitwise_count(values).astype(np.int64)
    return counted


def _contradicted(sound: Bools, count: I64) -> Bools:
    """Rows that agree with themselves, but lie outside two sound neighbours that are in order."""
    where = np.flatnonzero(sound)
    before, own, after = count[where[:-2]], count[where[1:-1]], count[where[2:]]
    outside = (before <= after) & ((own < before) | (own > after))
    wrong = np.zeros(len(sound), bool)
    wrong[where[1:-1]] = outside & (where[2:] - where[:-2] <= REACH)
    return wrong


def _without_place(sound: Bools, fields: dict[str, I64], layout: HeaderLayout) -> Bools:
    """Rows whose ``frame_num`` is none of those where the sound rows around leave a place."""
    rows = np.flatnonzero(~sound)
    low, high, known = _Around.of(rows, sound, fields["buffer_count"]).range()
    own = fields["frame_num"][rows]
    nowhere = np.zeros(len(sound), bool)
    nowhere[rows] = known & ((own < low // layout.factor) | (own > high // layout.factor))
    return nowhere


def _neighbour(rows: I64, sound: Bools, count: I64, side: int) -> tuple[I64, I64, Bools]:
    """Position of the nearest sound row, ``side`` -1 before or 1 after each row, if there is one.

    In between, the position that each row has if nothing was lost on the way.
    """
    where = np.flatnonzero(sound)
    found = np.searchsorted(where, rows) - (side < 0)
    near = (found >= 0) & (found < where.size)
    nearest = np.append(where, 0)[np.where(near, found, where.size)]
    near &= side * (nearest - rows) <= REACH
    return count[nearest], count[nearest] - (nearest - rows), near


def _field(name: str, position: I64, layout: HeaderLayout) -> I64:
    """Value of a field at a position in the stream."""
    match name:
        case "frame_num":
            return position // layout.factor
        case "frame_buffer_count":
            return position % layout.factor
        case "linked_list":
            return position % layout.ring
    return position


def _agreeing(positions: I64, fields: dict[str, I64], layout: HeaderLayout) -> Bools:
    """Which field (first axis) agrees with which position."""
    return np.stack([_field(name, positions, layout) == value for name, value in fields.items()])


def _apply(
    table: pd.DataFrame, old: dict[str, I64], new: dict[str, I64], evidence: I64
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Put the new values in and log every changed cell."""
    parts = []
    changes = {}
    for name, values in new.items():
        rows = np.flatnonzero(values != old[name])
        if rows.size:
            changes[name] = values
            why = PIXEL_COUNT_EVIDENCE if name == "pixel_count" else evidence[rows]
            cells = (table.index.to_numpy()[rows], name, old[name][rows], values[rows], why)
            parts.append(pd.DataFrame(dict(zip(LOG_COLUMNS, cells, strict=True))))
    if not parts:  # as in most blocks
        return table, NO_REPAIRS
    log = pd.concat(parts).astype(_LOG_DTYPES)
    return table.assign(**changes), log.sort_values("row", kind="stable", ignore_index=True)


def _ints(table: pd.DataFrame, name: str) -> I64:
    return table[name].to_numpy(np.int64)


def _mode(values: I64, share: float = 0.0) -> int:
    """Most frequent value, 0 if it holds no more than a share of the values."""
    if not values.size:
        return 0
    unique, counts = np.unique(values, return_counts=True)
    best = int(counts.argmax())
    return int(unique[best]) if counts[best] > share * values.size else 0


def _ring(linked_list: I64, count: I64) -> int:
    """Modulus by which ``linked_list`` follows from ``buffer_count``, 0 without one."""
    unique, counts = np.unique(linked_list, return_counts=True)
    best, fits = 0, linked_list.size // 2
    for ring in unique[counts > 1] + 1:
        agree = int((count % ring == linked_list).sum())
        if agree > fits:
            best, fits = int(ring), agree
    return best
