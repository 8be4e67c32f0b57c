"""The lags of the recordings of one session: told by each other, and chosen."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from miostitch.buffers.table import buffer_layout
from miostitch.errors import MetadataError, Notice, VideoError
from miostitch.recording.lag import Lag, measure_shared_lag, shared_frames
from miostitch.text import amount

if TYPE_CHECKING:  # opening recordings compares them
    from miostitch.recording.recording import Recording


def compare_lags(recordings: Sequence["Recording"]) -> list["Recording"]:
    """Measure the lags of recordings against each other.

    Returns: The recordings. One whose missing buffers do not tell its lag has the lag at which
    buffers shared with another are identical, provided that the other's is told by its own missing
    buffers. A notice says where the two witnesses contradict each other, and where recordings are
    apart of which none tells its lag.

    Nothing is read if all recordings have told a lag of 0: two recordings that are sound by
    themselves need no further witness. Each recording is compared with one other, that of those
    told by themselves with which it shares most frames.
    """
    exact = [number for number, each in enumerate(recordings) if each.exact]
    told = [number for number in exact if recordings[number].measured_lag.lag is not None]
    compared = list(recordings)
    if all(recordings[number].measured_lag.lag == 0 for number in exact):
        return compared
    anchors = told or exact
    for number in exact:
        mine = recordings[number]
        others = [recordings[a] for a in anchors if a < number or number not in anchors]
        others = [other for other in others if other.shape[1:] == mine.shape[1:]]
        if not others:
            continue
        shared = [len(shared_frames(mine.pictures, other.pictures)[0]) for other in others]
        partner = others[shared.index(max(shared))]
        try:
            found = _compare(mine, partner, len(exact) - 1)
        except MetadataError:  # aligning reports it
            continue
        except VideoError as error:
            said = Notice(mine.path, f"its lag was not compared: {error}")
            compared[number] = mine.with_lag_notices(said)
            continue
        compared[number] = _conclude(mine, partner, found)
    return compared


def choose_lags(
    recordings: Sequence["Recording"], lag: int | Literal["auto"]
) -> list[tuple[int, list[Notice]]]:
    """Say which lag to apply to each recording of a session.

    Returns: The lag of each recording, and what a user should be told.
    """
    if lag != "auto":
        return [(lag, []) for _ in recordings]
    known = {each.measured_lag.lag for each in recordings} - {None}
    usual = (known.pop() if len(known) == 1 else None) or 0
    chosen: list[tuple[int, list[Notice]]] = []
    for each in recordings:
        if each.measured_lag.lag is not None or not each.tables:
            chosen.append((each.measured_lag.lag or 0, []))
            continue
        taken = f"{usual}, as the other recordings have," if usual else "0"
        msg = f"the lag cannot be told ({each.measured_lag}); {taken} is taken; --lag N sets it"
        chosen.append((usual, [Notice(each.path, msg)]))
    return chosen


def _compare(mine: "Recording", other: "Recording", partners: int) -> Lag:
    """Measure against another recording, as if its lag were 0 where that is not told."""
    _, height, width = mine.shape
    bounds = buffer_layout([*mine.tables, *other.tables], height * width)
    lag = other.measured_lag.lag or 0
    return measure_shared_lag(
        mine.pictures, other.pictures, lag, bounds, name=other.name, partners=partners
    )


def _conclude(mine: "Recording", other: "Recording", found: Lag) -> "Recording":
    """Take what was found for the lag of a recording, or for a notice."""
    own = mine.measured_lag
    if other.measured_lag.lag is None:
        if not found.lag:
            return mine
        apart = (
            f"{mine.path} and {other.path} are {amount(abs(found.lag), 'frame')} apart ({found}), "
            "and neither tells by missing buffers which of them lags; stitched as they are, "
            "neighbours are taken for one frame"
        )
        return mine.with_lag_notices(Notice("", apart))
    if own.lag is None:
        # with nothing of its own to tell, what the other could not tell either is said
        better = found.lag is not None or not own.looked_at
        return replace(mine, measured_lag=found) if better and found.looked_at else mine
    if found.lag in (None, own.lag):
        return mine
    doubt = (
        f"its lag is in doubt: {own}, but {found}, {other.path} being at "
        f"{other.measured_lag.lag}; check that the files belong together, or set --lag N"
    )
    return mine.with_lag_notices(Notice(mine.path, doubt))
