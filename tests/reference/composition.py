"""Composition read off the files with pandas, one buffer at a time: slow, and nothing shared."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from miostitch.buffers.repair import derive_layout, repair_table
from tests.video_files import decode

U8 = NDArray[np.uint8]


@dataclass
class Piece:
    """A picture: its number, its pixels, what its rows deliver, and the rows of its frame."""

    frame_num: int
    pixels: U8
    given: dict[int, int]
    rows: pd.DataFrame
    distinct: int


def repaired_table(video: Path, *, repair: bool = True) -> pd.DataFrame:
    """The table with all rows of one recording; ``recorded`` is the position before repair."""
    table = pd.read_csv(video.with_suffix(".csv"))
    layout = derive_layout(table) if repair else None
    mended = repair_table(table, layout)[0] if layout else table
    padding = table.get("black_padding_px", 0)
    return mended.assign(recorded=table["frame_buffer_count"], padding=np.maximum(padding, 0))


def pieces_of(video: Path, sizes: list[int], lag: int, *, repair: bool) -> Iterator[Piece]:
    table = repaired_table(video, repair=repair)
    for number, picture in enumerate(decode(video)):
        rows = table[(table.reconstructed_frame_index == number - lag) & (number >= lag)]
        if rows.empty:
            continue
        rows = rows.sort_values(
            ["frame_buffer_count", "buffer_recv_unix_time", "frame_num"], kind="stable"
        )
        counts = rows.frame_num.value_counts()
        elected = next(n for n in rows.frame_num if counts[n] == counts.max())
        placed = rows[rows.recorded == rows.frame_buffer_count]
        given = dict.fromkeys(range(len(sizes)), 0)
        for k in given:
            mine = placed[placed.frame_buffer_count == k]
            if len(mine):
                given[k] = max(sizes[k] - int(mine.padding.max()), 0)
            foreign = (mine.frame_num != elected).any()
            moved = rows[(rows.recorded == k) & (rows.frame_buffer_count != k)]
            if foreign or len(moved):
                given[k] = -1
        valid = rows[(rows.frame_num == elected) & rows.frame_buffer_count.isin(given)]
        distinct = placed.frame_buffer_count.nunique()
        yield Piece(int(elected), picture.ravel(), given, valid, distinct)


@dataclass
class Copy:
    """One receiver's frame, its pieces together: pixels, pixels at hand of each buffer, rows.

    Beside it what the rows deliver, and the best piece as it is.
    """

    pixels: U8
    have: list[int]
    rows: pd.DataFrame
    given: dict[int, int]
    best: Piece


def copies_of(
    video: Path, bounds: NDArray[np.int64], lag: int = 0, *, repair: bool = True
) -> dict[int, Copy]:
    """What one receiver has of every frame, by ``frame_num``."""
    sizes = np.diff(bounds).tolist()
    found: dict[int, list[Piece]] = {}
    for piece in pieces_of(video, sizes, lag, repair=repair):
        if piece.frame_num >= 0:
            found.setdefault(piece.frame_num, []).append(piece)
    frames = {}
    for frame_num, pieces in found.items():
        main = max(pieces, key=lambda piece: piece.distinct)  # the first among equals
        pixels, given = main.pixels.copy(), dict(main.given)
        others = [piece for piece in pieces if piece is not main]
        for piece in others:
            for k in given:
                if piece.given[k] > given[k]:
                    lo, hi = bounds[k : k + 2]
                    pixels[lo:hi], given[k] = piece.pixels[lo:hi], piece.given[k]
        have = []
        for k, size in enumerate(sizes):
            there = pixels[bounds[k] : bounds[k + 1]].any()
            have.append(size if given[k] == 0 and there else max(given[k], 0))
        rows = pd.concat([main.rows, *(piece.rows for piece in others)])
        frames[frame_num] = Copy(pixels, have, rows, given, main)
    return frames


def check_composed(
    receivers: list[dict[int, Copy]],
    bounds: NDArray[np.int64],
    frames: U8,
    frame_num: list[int],
    missing_pixels: list[int],
    sources: tuple[list[int], NDArray[np.int8]],
) -> None:
    """Check composed frames (frame, pixel), and where frames and buffers are said to be from."""
    assert frame_num == sorted({n for copies in receivers for n in copies})
    for frame, number, missing, source, gave in zip(
        frames, frame_num, missing_pixels, *sources, strict=True
    ):
        copies = [receiver.get(number) for receiver in receivers]
        lost = 0
        for k, (lo, hi) in enumerate(pairwise(bounds)):
            held = [(c.have[k], c.pixels[lo:hi], n) for n, c in enumerate(copies) if c]
            held = [copy for copy in held if copy[0]]
            longest, pixels, _ = max(held, default=(0, np.zeros(hi - lo, np.uint8), 0), key=first)
            lost += hi - lo - longest
            got = frame[lo:hi]
            assert (gave[k] == -1) == (not held)
            assert gave[k] in {-1, *(n for _, _, n in held)}
            assert not got[longest:].any()
            if all((mine[:size] == pixels[:size]).all() for size, mine, _ in held):
                np.testing.assert_array_equal(got[:longest], pixels[:longest])
            else:
                anybody = [(got[:size] == mine[:size]).tolist() for size, mine, _ in held]
                padded = [same + [False] * (longest - len(same)) for same in anybody]
                assert np.array(padded).any(axis=0).all()
        assert missing == lost
        same_frame = [c is not None and (c.pixels == frame).all() for c in copies]
        assert source == (same_frame.index(True) if any(same_frame) else -1)


def first(copy: tuple[int, U8, int]) -> int:
    return copy[0]


def composed_rows(
    receivers: list[dict[int, Copy]], frame_num: list[int], gave: NDArray[np.int8]
) -> pd.DataFrame:
    """One row per buffer, with the receiver it is from."""
    chosen = []
    for place, number in enumerate(frame_num):
        for k, source in enumerate(gave[place]):
            if source < 0:
                continue
            order = [int(source), *(n for n in range(len(receivers)) if n != source)]
            for receiver in order:
                if number not in receivers[receiver]:
                    continue
                rows = receivers[receiver][number].rows
                rows = rows[rows.frame_buffer_count == k]
                if len(rows):
                    row = rows.sort_values("padding", kind="stable").iloc[[0]]
                    chosen.append(row.assign(reconstructed_frame_index=place, receiver=receiver))
                    break
    return pd.concat(chosen, ignore_index=True).drop(columns=["recorded", "padding"])
