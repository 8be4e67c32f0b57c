"""The lags of the recordings of one session: told by each other, and chosen."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from miostitch.buffers.table import buffer_layout
from miostitch.errors import MetadataError, VideoError
from miostitch.recording.files import Files
from miostitch.recording.lag import Lag, measure_shared_lag, shared_frames
from miostitch.text import amount


def compare_lags(files: Sequence[Files], names: Sequence[str]) -> list[Files]:
    """Measure the lags of recordings against each other.

    Returns: The recordings. One whose missing buffers do not tell its lag has the lag at which
    buffers shared with another are identical, provided that the other's is told by its own missing
    buffers. A notice says where the two witnesses contradict each other, and where recordings are
    apart of which none tells its lag.

    Nothing is read if all recordings have told a lag of 0: two recordings that are sound by
    themselves need no further witness. Each recording is compared with one other, that of those
    told by themselves with which it shares most frames.
    """
    exact = [number for number, each in enumerate(files) if each.exact]
    told = [number for number in exact if files[number].measured_lag.lag is not None]
    compared = list(files)
    if all(files[number].measured_lag.lag == 0 for number in exact):
        return compared
    anchors = told or exact
    for number in exact:
        mine = files[number]
        others = [a for a in anchors if a < number or number not in anchors]
        others = [a for a in others if _size(files[a]) == _size(mine)]
        if not others:
            continue
        partner = max(others, key=lambda a: len(shared_frames(mine.pictures, files[a].pictures)[0]))
        try:
            found = _compared(mine, files[partner], names[partner], len(exact) - 1)
        except MetadataError:  # aligning reports it
            continue
        except VideoError as error:
            said = f"{mine.videos[0].path}: its lag was not compared: {error}"
            compared[number] = replace(mine, notices=(*mine.notices, said))
            continue
        compared[number] = _concluded(mine, files[partner], found)
    return compared


def choose_lags(files: Sequence[Files], lag: int | Literal["auto"]) -> list[tuple[int, list[str]]]:
    """Say which lag to apply to each recording of a session.

    Returns: The lag of each recording, and what a user should be told.
    """
    if lag != "auto":
        return [(lag, []) for _ in files]
    known = {each.measured_lag.lag for each in files} - {None}
    usual = (known.pop() if len(known) == 1 else None) or 0
    chosen: list[tuple[int, list[str]]] = []
    for each in files:
        if each.measured_lag.lag is not None or not each.tables:
            chosen.append((each.measured_lag.lag or 0, []))
            continue
        taken = f"{usual}, as the other recordings have," if usual else "0"
        msg = f"the lag cannot be told ({each.measured_lag}); {taken} is taken; --lag N sets it"
        chosen.append((usual, [f"{each.videos[0].path}: {msg}"]))
    return chosen


def _size(files: Files) -> tuple[int, int]:
    return files.videos[0].height, files.videos[0].width


def _compared(mine: Files, other: Files, name: str, partners: int) -> Lag:
    """Measure against another recording, as if its lag were 0 where that is not told."""
    height, width = _size(mine)
    bounds = buffer_layout([*mine.tables, *other.tables], height * width)
    lag = other.measured_lag.lag or 0
    return measure_shared_lag(
        mine.pictures, other.pictures, lag, bounds, name=name, partners=partners
    )


def _concluded(mine: Files, other: Files, found: Lag) -> Files:
    """Take what was found for the lag of a recording, or for a notice."""
    own, path = mine.measured_lag, mine.videos[0].path
    if other.measured_lag.lag is None:
        if not found.lag:
            return mine
        said = (
            f"{path} and {other.videos[0].path} are "
            f"{amount(abs(found.lag), 'frame')} apart ({found}), and neither tells by missing "
            "buffers which of them lags; stitched as they are, neighbours are taken for one frame"
        )
    elif own.lag is None:
        # with nothing of its own to tell, what the other could not tell either is said
        better = found.lag is not None or not own.looked_at
        return replace(mine, measured_lag=found) if better and found.looked_at else mine
    elif found.lag in (None, own.lag):
        return mine
    else:
        said = (
            f"{path}: its lag is in doubt: {own}, but {found}, {other.videos[0].path} being at "
            f"{other.measured_lag.lag}; check that the files belong together, or set --lag N"
        )
    return replace(mine, notices=(*mine.notices, said))
