"""Which frames of its table a recording shows: by one lag, or place by place where it is torn."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from miostitch.arrays import I64
from miostitch.buffers.frame_table import MASK_BITS, FrameTable
from miostitch.errors import MismatchError, Notice, Severity
from miostitch.fitting.cuts import Placement, place_pictures
from miostitch.fitting.evidence import (
    PictureBuffers,
    Reference,
    Witnesses,
    make_reference,
    survey_pictures,
)
from miostitch.recording.lag import Lag, SettledLag, differing_lags, settle_lags
from miostitch.schema import NO_FRAME

if TYPE_CHECKING:  # opening recordings places them
    from miostitch.recording.recording import Recording

_Seen = list[tuple[FrameTable, PictureBuffers]]
"""Of each video its table, one row per picture, and what is seen of its pictures."""


def settle_placements(
    recordings: Sequence["Recording"], lag: int | Literal["auto"], *, measured: bool
) -> list[SettledLag]:
    """Tell the lag of each recording; of those that are torn also which frame each picture shows.

    ``measured``: whether their lags have been measured, and are compared with each other.
    """
    torn = [number for number in range(len(recordings)) if _is_torn(recordings, number)]
    # those whose lag only a torn one may show are placed with it
    whole = [n for n, each in enumerate(recordings) if n not in torn and _is_open(each)]
    placed = [*torn, *whole] if torn and lag == "auto" else torn
    level = [number for number in range(len(recordings)) if number not in placed]

    def settle(numbers: Sequence[int]) -> dict[int, SettledLag]:
        some = [recordings[number] for number in numbers]
        if measured:
            return dict(zip(numbers, settle_lags(some, lag), strict=True))
        return {number: SettledLag(Lag(), 0 if lag == "auto" else lag) for number in numbers}

    settled = settle(level)
    sure = {n for n, its in settled.items() if lag != "auto" or its.measured.lag is not None}
    placements = _place(recordings, {n: settled[n].applied for n in sure}, placed, whole)
    for number in placed:
        recording, found = recordings[number], placements.get(number, [])
        if any(each.proven for each in found):
            _require_most(recording, found)
            settled[number] = _settled(recording, found, lag)
            continue
        settled |= settle([number])
        for place in _mismatched(recording):
            if lag == "auto" and _may_be_cut(recording, place):
                raise MismatchError(_unknown(recording, place))
    return [settled[number] for number in range(len(recordings))]


def _mismatched(recording: "Recording") -> list[int]:
    """Videos whose table has another number of frames, but for one at the end, which is usual."""
    pairs = enumerate(zip(recording.videos, recording.tables, strict=False))
    return [n for n, (video, table) in pairs if len(table.frames) - video.frame_count not in (0, 1)]


def _require_most(recording: "Recording", found: Sequence[Placement]) -> None:
    """Refuse to leave out most of a video: what is left might be mistaken for all of it."""
    for video, each in zip(recording.videos, found, strict=True):
        certain, possible = int((each.frame != NO_FRAME).sum()), min(len(each.frame), each.frames)
        if each.proven and 2 * certain < possible:
            text = f"only {certain} of {possible} images can be assigned to a row for certain"
            remedy = "leave this recording out, or set --lag N to use it as it is"
            raise MismatchError(Notice(video.path, text, remedy))


def _may_be_cut(recording: "Recording", place: int) -> bool:
    """Whether images may be missing anywhere: a result is not shifted, and its rows count them."""
    video, table = recording.videos[place], recording.tables[place]
    if table.stitched and len(table.frames) < video.frame_count:
        return False
    return not video.ends_early


def _is_torn(recordings: Sequence["Recording"], number: int) -> bool:
    """Whether one lag may not do for a recording that is to be salvaged."""
    recording, measured = recordings[number], recordings[number].measured_lag
    if not recording.options.salvage or _mismatched(recording):
        return recording.options.salvage
    if recording.options.lag != "auto":
        return False
    inconclusive = measured.lag is None and measured.looked_at > 0
    return inconclusive or bool(differing_lags(recordings, number))


def _is_open(recording: "Recording") -> bool:
    """Whether the lag of a recording is not known."""
    return bool(recording.tables) and recording.measured_lag.lag is None


def _place(
    recordings: Sequence["Recording"],
    lags: dict[int, int],
    numbers: Sequence[int],
    whole: Sequence[int],
) -> dict[int, list[Placement]]:
    """Place the pictures of some recordings, by lost buffers and by the pixels of the others.

    ``lags``: of the recordings whose frames are certain; ``whole``: those that are not torn.
    """
    seen: dict[int, list[PictureBuffers]] = {}
    known: dict[int, _Seen] = {}  # of recordings whose frames are certain
    found: dict[int, list[Placement]] = {}
    rounds = min(2, len(numbers))  # where one is certain tells of the others
    for number in [*numbers] * rounds:
        recording = recordings[number]
        bounds = _usable_bounds(recording)
        if bounds is None:
            continue
        for other, each in enumerate(recordings):
            own = _usable_bounds(each)
            if other not in seen and own is not None and np.array_equal(own, bounds):
                seen[other] = [survey_pictures(video, bounds) for video in each.videos]
                if other in lags:
                    known[other] = _by_lag(each, seen[other], lags[other])
        others = [part for other, parts in known.items() if other != number for part in parts]
        reference = make_reference(others, len(bounds) - 1)
        placed = _place_one(recording, seen[number], bounds, reference)
        found[number] = [each.shifted() for each in placed] if number in whole else placed
        pairs = zip(recording.tables, found[number], strict=True)
        tables = [table.frames.shown(each.frame) for table, each in pairs]
        known[number] = [*zip(tables, seen[number], strict=True)]
    return found


def _place_one(
    recording: "Recording", seen: Sequence[PictureBuffers], bounds: I64, reference: Reference
) -> list[Placement]:
    """Place the pictures of each video of a recording."""
    found, mismatched = [], _mismatched(recording)
    asked = recording.options.lag != "auto"
    for place, video in enumerate(recording.videos):
        witnesses = Witnesses(recording.tables[place].frames, seen[place], bounds, reference)
        to_the_ends = asked or video.ends_early or place not in mismatched
        found.append(place_pictures(witnesses, to_the_ends=to_the_ends))
    return found


def _usable_bounds(recording: "Recording") -> I64 | None:
    """The buffers of a recording whose pixels can be compared with rows."""
    bounds = recording.known_bounds if recording.exact else None
    return None if bounds is None or len(bounds) - 1 > MASK_BITS else bounds


def _by_lag(recording: "Recording", seen: Sequence[PictureBuffers], lag: int) -> _Seen:
    pairs = zip(recording.videos, recording.tables, strict=True)
    tables = [table.frames.placed(lag, video.frame_count) for video, table in pairs]
    return [*zip(tables, seen, strict=True)]


def _settled(
    recording: "Recording", found: Sequence[Placement], lag: int | Literal["auto"]
) -> SettledLag:
    """The lag where one does for all, else the placements."""
    proven = [each for each in found if each.proven]
    first = proven[0].lag
    notices = _unproven(recording, found, first)
    if lag not in ("auto", first):
        text = f"the video begins with a lag of {first}, and not of {lag}"
        done = "its images decide"
        notices.append(Notice(recording.path, text, done, Severity.DOUBT))
    if all(each.is_shift and each.lag == first for each in proven):
        return SettledLag(recording.measured_lag, first, tuple(notices))
    placements = tuple(each if each.proven else None for each in found)
    return SettledLag(recording.measured_lag, first, tuple(notices), placements)


def _unproven(recording: "Recording", found: Sequence[Placement], lag: int) -> list[Notice]:
    """Segments that are used at the lag of the others, though it does not fit their tables."""
    notices = []
    for video, table, each in zip(recording.videos, recording.tables, found, strict=True):
        if not each.proven and len(table.frames) - (video.frame_count - lag) not in (0, 1):
            text = f"nothing shows which images belong to which of its {len(table.frames)} frames"
            done = f"lag {lag} is used as for the other segments; leave the segment out"
            notices.append(Notice(video.path, text, f"{done} if you doubt it", Severity.DOUBT))
    return notices


def _unknown(recording: "Recording", place: int) -> Notice:
    video, table = recording.videos[place], recording.tables[place]
    text = f"describes frames 0 to {len(table.frames) - 1}, but {video.path} has frames 0 to "
    text += f"{video.frame_count - 1}, and nothing shows where frames are missing"
    first = min(video.frame_count, len(table.frames))
    remedy = f"if they are missing at the end, use --lag 0 for the first {first}"
    return Notice(table.path, text, remedy)
