"""How far a video's pictures lag behind its table, told by one of two witnesses.

Lost buffers left zeros in its pictures, and buffers that it shares with another recording are the
same in both. ``docs/explanation/alignment.md`` says when either is believed.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from miostitch.arrays import I64, U8, U64, Bools
from miostitch.buffers.frame_table import MASK_BITS, FrameTable, mask_bits
from miostitch.buffers.table import buffer_layout
from miostitch.errors import MetadataError, Notice, Severity, VideoError
from miostitch.fitting.cuts import Placement
from miostitch.schema import NO_FRAME
from miostitch.text import amount

if TYPE_CHECKING:  # opening recordings compares them
    from miostitch.recording.recording import Recording

LAGS = np.arange(-3, 4)  # those that are tried
# Pictures read of a recording at most; half of them for each witness if it has more.
MOST_PICTURES = 256
_FEWEST = 3  # frames that must speak for a lag: two may agree by accident
_ODDS = 4  # frames for a lag to each one against it
_MOST_SITES = MOST_PICTURES // 2 // len(LAGS)  # frames of the table looked at by one witness
_BLOCK_BYTES = 2**24  # pictures held at a time
_ONE_VALUE = np.uint64(0)  # instead of a digest, where all pixels of a buffer are equal

Read = Callable[[I64], U8]
Look = Callable[[U8, I64], NDArray[Any]]


@dataclass(frozen=True)
class Lag:
    """A measured lag and its evidence."""

    # Picture ``i + lag`` belongs to frame ``i`` of the table; None: cannot be told.
    lag: int | None = None
    # Buffers that were looked at: missing ones, or those shared with another recording.
    looked_at: int = 0
    matches: int = 0  # Of those, black or identical at ``lag``; at 0 where it cannot be told
    matches_unshifted: int = 0  # Of those, black or identical at lag 0
    # The recording that it was compared with; None: told by missing buffers.
    shared_with: str | None = None
    # Buffers that are black or identical at each of the lags that were tried.
    by_lag: Mapping[int, int] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        if not self.looked_at:
            return "no missing buffer shows it"
        what, state = "missing buffers", "black"
        if self.shared_with is not None:
            what, state = f"buffers shared with {self.shared_with}", "identical"
        if self.lag is None:
            return f"{self.looked_at} {what} are inconclusive, {self.matches} {state} at lag 0"
        found = f"{self.matches} of {self.looked_at} {what} are {state} at lag {self.lag}"
        return f"{found}, {self.matches_unshifted} at lag 0" if self.lag else found

    def describe(self) -> str:
        """Say where the images are, and how that is known."""
        if not self.lag:
            return f"the video is level with its table ({self})"
        where = "behind" if self.lag > 0 else "ahead of"
        return f"the video is {amount(abs(self.lag), 'frame')} {where} its table ({self})"


@dataclass(frozen=True)
class Comparison:
    """What buffers that a recording shares with another one say of its lag."""

    partner: int  # Number of the other recording
    partner_lag: int  # That was assumed
    found: Lag

    def contradicts(self, lag: int, partner_lag: int) -> bool:
        """Whether no shared buffer is identical at the lags of both, and some are at others."""
        shift = lag - (partner_lag - self.partner_lag)
        return self.found.lag is not None and self.found.by_lag.get(shift, 0) == 0


@dataclass(frozen=True)
class SettledLag:
    """The lag of a recording, and what a user should know of it."""

    measured: Lag
    applied: int
    notices: tuple[Notice, ...] = ()
    # Of each video which frames of its table it shows, where one lag does not do.
    placements: tuple[Placement | None, ...] = ()


@dataclass(frozen=True)
class Pictures:
    """A recording's pictures, and what its table says of them."""

    # One row per picture over all segments of the recording, as if the lag were 0.
    frames: FrameTable
    first_frames: Sequence[int]  # Position of each segment's first picture, and of the end
    # Gives pictures, uint8 (frame, height, width), by their ascending positions, int64 (frame,).
    read: Read
    lost: I64  # Positions of pictures that cannot be read, int64 (picture,)

    def reach(self, first: int, last: int) -> Bools:
        """Which frames have a picture at each lag from `first` <= 0 to `last` >= 0, (frame,)."""
        there = np.ones(len(self.frames), bool)
        for edge in self.first_frames:  # neither across a seam nor beyond an end
            there[max(0, edge - last) : max(0, edge - first)] = False
        beside = self.lost[:, None] - np.arange(first, last + 1)
        there[beside[(beside >= 0) & (beside < len(there))]] = False
        return there

    @property
    def segments(self) -> list["Pictures"]:
        """The pictures of each segment alone."""
        return [self._cut(first, stop) for first, stop in pairwise(self.first_frames)]

    def _cut(self, first: int, stop: int) -> "Pictures":
        lost = self.lost[(self.lost >= first) & (self.lost < stop)] - first
        frames = self.frames.placed(-first, stop - first)
        return Pictures(frames, (0, stop - first), lambda some: self.read(some + first), lost)


def measure_lag(pictures: Pictures, bounds: I64, *, most_sites: int = _MOST_SITES) -> Lag:
    """Find the lag at which missing buffers are black.

    Looked at are frames that lack a buffer which a frame around them has: only such a buffer tells
    one lag from another. Buffers that are there without a row speak against every lag.
    """
    buffers = len(bounds) - 1
    if buffers > MASK_BITS:
        return Lag()
    frames = pictures.frames
    have = frames.buffers
    around = np.zeros_like(have)
    for step in range(1, LAGS[-1] + 1):
        around[step:] |= have[:-step]
        around[:-step] |= have[step:]
    telling = np.where(frames.frame_num != NO_FRAME, ~have & around, np.uint64(0))
    telling &= np.uint64((1 << buffers) - 1)
    sites = np.flatnonzero((telling > 0) & pictures.reach(LAGS[0], LAGS[-1]))
    if len(telling) > MOST_PICTURES:
        sites = sites[_spread(len(sites), most_sites)]
    if not len(sites):
        return Lag()
    black = _seen(pictures.read, sites[:, None] + LAGS, bounds, _black)
    return _judged(mask_bits(telling[sites], buffers), mask_bits(have[sites], buffers), black)


def measure_segment_lags(pictures: Pictures, bounds: I64) -> tuple[Lag, ...]:
    """Find the lag of each segment alone; none where there is one segment."""
    segments = pictures.segments
    if len(segments) == 1:
        return ()
    most = max(2 * _FEWEST, _MOST_SITES // len(segments))
    return tuple(measure_lag(each, bounds, most_sites=most) for each in segments)


def measure_shared_lag(
    mine: Pictures, other: Pictures, other_lag: int, bounds: I64, *, name: str, partners: int = 1
) -> Lag:
    """Find the lag at which buffers shared with another recording are identical.

    Only those count that differ from picture to picture and are not of one single value: neither a
    scene that stands still, nor a dark one, nor what both receivers lost takes part.
    """
    if len(bounds) - 1 > MASK_BITS:
        return Lag()
    sites, places = shared_frames(mine, other)
    shared = mine.frames.column("delivered", sites) & other.frames.column("delivered", places)
    reached = other.reach(min(other_lag, 0), max(other_lag, 0))[places]
    usable = np.flatnonzero((shared > 0) & mine.reach(LAGS[0], LAGS[-1])[sites] & reached)
    if max(len(mine.frames), len(other.frames)) > MOST_PICTURES:
        usable = usable[_spread(len(usable), min(_MOST_SITES, MOST_PICTURES // 2 // partners))]
    if not len(usable):
        return Lag()
    here = _seen(mine.read, sites[usable, None] + LAGS, bounds, _digests)
    there = _seen(other.read, places[usable, None] + other_lag, bounds, _digests)
    telling = mask_bits(shared[usable], len(bounds) - 1) & (there[:, 0] != _ONE_VALUE)
    telling &= (here[:, 1:] != here[:, :-1]).all(axis=1)
    return _judged_shared(telling, telling[:, None] & (here == there), name)


def shared_frames(mine: Pictures, other: Pictures) -> tuple[I64, I64]:
    """Frames whose number both recordings have just once, in each of them, (frame,)."""
    (numbers, at), (others, there) = _single(mine.frames), _single(other.frames)
    _, first, second = np.intersect1d(numbers, others, assume_unique=True, return_indices=True)
    return at[first], there[second]


def _single(frames: FrameTable) -> tuple[I64, I64]:
    """Numbers that one frame has, and that frame."""
    known = np.flatnonzero(frames.frame_num != NO_FRAME)
    number = frames.frame_num[known]
    numbers, first, count = np.unique(number, return_index=True, return_counts=True)
    return numbers[count == 1], known[first[count == 1]]


def _spread(count: int, most: int) -> I64:
    """Positions all over `count` things, at most `most` of them."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def _seen(read: Read, wanted: I64, bounds: I64, look: Look) -> NDArray[Any]:
    """What `look` says of each buffer of the wanted pictures, (*wanted, buffer)."""
    pictures = np.unique(wanted)
    step = max(1, _BLOCK_BYTES // int(bounds[-1]))
    blocks = np.split(pictures, range(step, len(pictures), step))
    seen = [look(read(some).reshape(len(some), -1), bounds) for some in blocks]
    return np.concatenate(seen)[np.searchsorted(pictures, wanted)]


def _black(pixels: U8, bounds: I64) -> Bools:
    """Which buffers are all zero, (picture, buffer)."""
    black: Bools = np.maximum.reduceat(pixels, bounds[:-1], axis=1) == 0
    return black


def _digests(pixels: U8, bounds: I64) -> U64:
    """A digest of each buffer, of one value for all whose pixels are equal, (picture, buffer)."""
    ranges = [*pairwise(bounds.tolist())]
    rows = np.ascontiguousarray(pixels)
    digests = [blake2b(row[a:b], digest_size=8).digest() for row in rows for a, b in ranges]
    found = np.frombuffer(b"".join(digests), np.uint64).reshape(len(rows), len(ranges))
    least, most = (f.reduceat(rows, bounds[:-1], axis=1) for f in (np.minimum, np.maximum))
    return np.where(least == most, _ONE_VALUE, found)


def _judged(missing: Bools, have: Bools, black: Bools) -> Lag:
    """Claim the lag that stands out; missing and have (site, buffer), black (site, lag, buffer)."""
    hits = (black & missing[:, None]).sum(axis=2)
    score = hits - (black & have[:, None]).sum(axis=2)
    matches = hits.sum(axis=0)
    best = int(matches.argmax())
    ahead = (score[:, [best]] > score).sum(axis=0)
    against = int((hits[:, best] < missing.sum(axis=1)).sum())
    clear = np.delete(ahead, best).min() >= max(_FEWEST, _ODDS * against)
    return _claimed(best if clear else None, missing, matches)


def _judged_shared(telling: Bools, hits: Bools, name: str) -> Lag:
    """Claim the lag that stands out; telling (site, buffer), hits (site, lag, buffer)."""
    score = hits.sum(axis=2)
    matches = score.sum(axis=0)
    best = int(matches.argmax())
    ahead = (score[:, [best]] > score).sum(axis=0)
    behind = (score[:, [best]] < score).sum(axis=0)
    silent = int((telling.any(axis=1) & (score[:, best] == 0)).sum())
    clear = np.delete(ahead >= np.maximum(max(_FEWEST, silent), _ODDS * behind), best).all()
    return _claimed(best if clear else None, telling, matches, name)


def _claimed(best: int | None, looked_at: Bools, matches: I64, name: str | None = None) -> Lag:
    """Claim the lag at this place of `LAGS`, or none; matches (lag,)."""
    lag = None if best is None else int(LAGS[best])
    unshifted = int(matches[LAGS == 0][0])
    found = unshifted if best is None else int(matches[best])
    by_lag = dict(zip(LAGS.tolist(), matches.tolist(), strict=True))
    return Lag(lag, int(looked_at.sum()), found, unshifted, name, by_lag)


def settle_lags(recordings: Sequence["Recording"], lag: int | Literal["auto"]) -> list[SettledLag]:
    """Tell the lag of each recording of a session, whose missing buffers have been looked at.

    ``auto``: what was measured; 0 where that is inconclusive, or where two witnesses contradict
    each other. Recordings that agree in no shared buffer at their lags, while they do at others,
    have a notice that is an error; if a lag was asked for, it is a doubt.
    """
    compared = _compare_lags(recordings)
    measured = [_believed(recordings, compared, number) for number in range(len(recordings))]
    doubts = [_contradiction(recordings, compared, number) for number in range(len(recordings))]
    applied = [
        lag if lag != "auto" else 0 if doubt else found.lag or 0
        for found, doubt in zip(measured, doubts, strict=True)
    ]
    settled = []
    for number, recording in enumerate(recordings):
        notices = [*doubts[number], *_split_segments(recordings, number, applied[number])]
        if recording.tables and not notices:
            notices += _told(recording, measured[number], applied[number], asked=lag != "auto")
        comparison = compared.get(number)
        if comparison and comparison.contradicts(applied[number], applied[comparison.partner]):
            severity = Severity.ERROR if lag == "auto" else Severity.DOUBT
            other = recordings[comparison.partner]
            notices.append(_disagreement(recording, other, comparison.found, severity))
        settled.append(SettledLag(measured[number], applied[number], tuple(notices)))
    return settled


def _told(recording: "Recording", measured: Lag, applied: int, *, asked: bool) -> list[Notice]:
    """What a user should know of the lag that is used, where nothing contradicts it."""
    if measured.lag is None and all(table.stitched for table in recording.tables):
        return []
    if measured.lag is None:
        why = measured if recording.exact else "its codec is lossy"
        text = f"it is unknown whether the video is shifted against its table ({why})"
        remedy = "lag 0 is used; set --lag if you know it"
        return [] if asked else [Notice(recording.path, text, remedy)]
    if measured.lag == applied:
        return [Notice(recording.path, measured.describe(), "corrected")] if applied else []
    remedy = f"lag {applied} is used as asked, and frame numbers are wrong; use --lag auto"
    return [Notice(recording.path, measured.describe(), remedy, Severity.DOUBT)]


def _split_segments(recordings: Sequence["Recording"], number: int, applied: int) -> list[Notice]:
    """Say that segments of a recording have different lags, of which one is used for all."""
    recording, known = recordings[number], differing_lags(recordings, number)
    if not known:
        return []
    parts = ", ".join(f"{path} by {found.lag} ({found})" for path, found in known.items())
    text = f"the segments of {recording.name} are shifted differently against their tables: {parts}"
    remedy = f"lag {applied} is used for all; --salvage uses each segment with its own"
    return [Notice("", text, remedy, Severity.DOUBT)]


def differing_lags(recordings: Sequence["Recording"], number: int) -> dict[str, Lag]:
    """The lags that are told of the segments of a recording, by path; none if they are the same."""
    recording, found = recordings[number], recordings[number].segment_lags
    with suppress(MetadataError, VideoError):  # aligning and reading report that
        found = _tell_segments(recordings, number)
    pairs = zip(recording.videos, found, strict=False)
    known = {video.path: lag for video, lag in pairs if lag.lag is not None}
    return known if len({lag.lag for lag in known.values()}) > 1 else {}


def _tell_segments(recordings: Sequence["Recording"], number: int) -> tuple[Lag, ...]:
    """What the missing buffers of each segment tell, else a recording whose own are conclusive."""
    mine = recordings[number]
    others = [each for each in recordings if each is not mine and _is_level_all_over(each)]
    others = [each for each in others if each.shape[1:] == mine.shape[1:]]
    if not others or all(found.lag is not None for found in mine.segment_lags):
        return mine.segment_lags
    told = []
    for found, pictures in zip(mine.segment_lags, mine.pictures.segments, strict=True):
        if found.lag is None:
            shared = [len(shared_frames(pictures, each.pictures)[0]) for each in others]
            other = others[shared.index(max(shared))]
            lag = other.measured_lag.lag or 0
            found = _compare(pictures, mine, other, lag, len(mine.videos))
        told.append(found)
    return tuple(told)


def _is_level_all_over(recording: "Recording") -> bool:
    """Whether missing buffers tell one lag of a recording, and of no segment another one."""
    lags = {found.lag for found in recording.segment_lags} - {None}
    return recording.measured_lag.lag is not None and lags <= {recording.measured_lag.lag}


def _compare_lags(recordings: Sequence["Recording"]) -> dict[int, Comparison]:
    """Compare each recording with one other, unless all have told a lag of 0.

    That is the one, of those told by themselves, with which it shares most frames.
    """
    exact = [number for number, each in enumerate(recordings) if each.exact]
    told = [number for number in exact if recordings[number].measured_lag.lag is not None]
    if all(recordings[number].measured_lag.lag == 0 for number in exact):
        return {}
    anchors, compared = told or exact, {}
    for number in exact:
        mine = recordings[number]
        others = [a for a in anchors if a < number or number not in anchors]
        others = [other for other in others if recordings[other].shape[1:] == mine.shape[1:]]
        if not others:
            continue
        shared = [len(shared_frames(mine.pictures, recordings[o].pictures)[0]) for o in others]
        partner = others[shared.index(max(shared))]
        lag = recordings[partner].measured_lag.lag or 0
        with suppress(MetadataError, VideoError):  # aligning and reading report that
            found = _compare(mine.pictures, mine, recordings[partner], lag, len(exact) - 1)
            compared[number] = Comparison(partner, lag, found)
    return compared


def _compare(
    pictures: Pictures, mine: "Recording", other: "Recording", other_lag: int, partners: int
) -> Lag:
    """Measure pictures of a recording, or of a segment, against another recording."""
    _, height, width = mine.shape
    bounds = buffer_layout([*mine.tables, *other.tables], height * width)
    return measure_shared_lag(
        pictures, other.pictures, other_lag, bounds, name=other.name, partners=partners
    )


def _believed(
    recordings: Sequence["Recording"], compared: Mapping[int, Comparison], number: int
) -> Lag:
    """What its missing buffers tell, else what a recording tells whose own do."""
    own, comparison = recordings[number].measured_lag, compared.get(number)
    if own.lag is not None or comparison is None:
        return own
    if recordings[comparison.partner].measured_lag.lag is None:
        return own
    # with nothing of its own to tell, what the other could not tell either is said
    better = comparison.found.lag is not None or not own.looked_at
    return comparison.found if better and comparison.found.looked_at else own


def _contradiction(
    recordings: Sequence["Recording"], compared: Mapping[int, Comparison], number: int
) -> tuple[Notice, ...]:
    """Say where the two witnesses contradict each other."""
    own, comparison = recordings[number].measured_lag, compared.get(number)
    if own.lag is None or comparison is None:
        return ()
    found = comparison.found
    if recordings[comparison.partner].measured_lag.lag is None or found.lag in (None, own.lag):
        return ()
    text = f"whether the video is shifted against its table is in doubt: {own}, but {found}"
    remedy = "lag 0 is used; check that the files belong together, or set --lag"
    return (Notice(recordings[number].path, text, remedy, Severity.DOUBT),)


def _disagreement(mine: "Recording", other: "Recording", found: Lag, severity: Severity) -> Notice:
    text = f"{mine.path} and {other.path} agree in no buffer that both received as they are, but "
    text += f"{found}: which of the two videos is shifted against its table is unknown"
    return Notice("", text, "set --lag, and check that the files belong together", severity)
