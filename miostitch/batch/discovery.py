"""Which recordings are one session, and which of them one receiver made.

Recordings are of one session if the device's counter and the time of reception agree: at the same
time the same frame. Names decide where they say so (``sub-``, ``ses-``), and tell receivers apart.
"""

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from miostitch.batch.files import Found, Pair, look_into, natural
from miostitch.errors import MissingInputError, UsageError
from miostitch.recording.segment_order import follows, sort_by_time

APART_S = 5.0  # by which the clocks of receivers may differ
FAR_APART_S = 120.0  # by which those of recordings in one folder may, which is asked about
DRIFT = 1e-3  # share of the time between two recordings by which their clocks may run apart
PAUSE_S = 60.0  # without any recording, after which another session begins
GAP_S = 2.0  # between two segments of one receiver, from which on it is asked about
LABEL = re.compile(r"(?:^|[_/\\])(sub|ses)-([^_/\\]+)")
RUNS = 6  # numbers of a name, from its end, that may count segments
ALL_NUMBERS = set(range(RUNS))


@dataclass(frozen=True)
class Receiver:
    """The recordings of one receiver in their order."""

    name: str
    segments: tuple[Pair, ...]

    @property
    def frames(self) -> int:
        """Frames of all segments."""
        return sum(pair.ends.frames for pair in self.segments)


@dataclass(frozen=True)
class FoundSession:
    """A session as it may be, and what to check."""

    name: str
    folder: str  # Where all its files are
    receivers: tuple[Receiver, ...]
    subject: str = ""
    questions: tuple[str, ...] = ()

    @property
    def pairs(self) -> list[Pair]:
        """All recordings."""
        return [pair for receiver in self.receivers for pair in receiver.segments]

    @property
    def start(self) -> datetime:
        """When the first of them began, in UTC, by the clock of its receiver."""
        return datetime.fromtimestamp(min(p.ends.first_time for p in self.pairs), UTC)

    @property
    def duration_s(self) -> float:
        """From the first row to the last."""
        last = max(pair.ends.last_time for pair in self.pairs)
        return last - min(pair.ends.first_time for pair in self.pairs)


@dataclass
class _Group:
    """Recordings of one session, in the order of time."""

    pairs: list[Pair]
    questions: list[str] = field(default_factory=list)


def discover(folders: Sequence[str]) -> tuple[list[FoundSession], list[str]]:
    """Find the sessions below some folders, and list the files that are left out.

    Raises
    ------
    UsageError
        No folder is named.
    MissingInputError
        One is missing, or there is no recording in any.
    """
    if not folders:
        raise UsageError("no folder given; name the folder of the recordings")
    for folder in folders:
        if not os.path.isdir(folder):
            raise MissingInputError(f"{folder}: no such folder; check the path")
    found = look_into(folders)
    found.pairs = _without_copies(found)
    if not found.pairs:
        where = ", ".join(folders)
        msg = "; ".join([f"{where}: no video with a table in it", *found.notes])
        raise MissingInputError(f"{msg}; each x.avi needs its x.csv")
    return group_sessions(found.pairs), found.notes


def group_sessions(pairs: Sequence[Pair]) -> list[FoundSession]:
    """The sessions that recordings are of, in the order of their start."""
    return _named_apart([_describe(group) for group in _group(pairs)])


def _without_copies(found: Found) -> list[Pair]:
    """The recordings, each once: a copy has the same ends."""
    kept: dict[object, Pair] = {}
    for pair in sorted(found.pairs, key=lambda each: (len(each.video), natural(each.video))):
        same = kept.setdefault(pair.ends, pair)
        if same is not pair:
            found.notes.append(f"{pair.video}: is a copy of {same.video}; left out")
    return [pair for pair in found.pairs if kept[pair.ends] is pair]


def labels(path: str) -> dict[str, str]:
    """Subject and session as BIDS and NeuroBlueprint name them.

    >>> labels("raw/sub-01/ses-20260301/rec.avi")
    {'sub': '01', 'ses': '20260301'}
    """
    return dict(LABEL.findall(path))


def _in_order(pairs: Sequence[Pair]) -> list[Pair]:
    """Recordings in the order of their reception, those of one moment by their names."""
    named = sorted(pairs, key=lambda each: natural(each.video))
    return [named[place] for place in sort_by_time([pair.ends for pair in named])]


def _group(pairs: Sequence[Pair]) -> list[_Group]:
    """Sessions, in the order of their start."""
    groups: list[_Group] = []
    for pair in _in_order(pairs):
        fitting = [(group, link) for group in groups if (link := _link(group, pair)) is not None]
        # a certain one before one to be asked about
        fitting.sort(key=lambda each: bool(each[1]))
        if not fitting:
            groups.append(_Group([pair]))
            continue
        group, question = fitting[0]
        group.pairs.append(pair)
        group.questions += [question] if question else []
        for other, link in fitting[1:]:
            if not link and not question and labels(other.pairs[0].video) == labels(pair.video):
                group.pairs += other.pairs  # what was two is one
                group.questions += other.questions
                groups.remove(other)
    return groups


def _link(group: _Group, pair: Pair) -> str | None:
    """Whether a recording is of a session: nothing to ask, or a question; None: it is not."""
    if labels(group.pairs[0].video) != labels(pair.video):
        return None
    named = "ses" in labels(pair.video)
    ends = [other.ends.last_time for other in group.pairs]
    longest = max(other.ends.duration_s for other in group.pairs)
    pause = pair.ends.first_time - max(ends)
    same_folder = any(_folder(other) == _folder(pair) for other in group.pairs)
    # a segment that is missing leaves a gap of its length
    if pause > (max(PAUSE_S, 1.5 * longest) if same_folder else PAUSE_S) and not named:
        return None
    of_one_run = [other for other in group.pairs if not _counted_again(other, pair)]
    apart = min((_seconds_apart(other, pair) for other in of_one_run), key=abs, default=math.inf)
    if abs(apart) <= APART_S:
        return ""
    # what shares no time with the others is a segment, or of another session
    if pause > 0 and (named or (same_folder and any(_is_alike(o, pair) for o in group.pairs))):
        begun = os.path.basename(pair.video)
        return f"the device restarted before {begun}, or is another one; is it the same session?"
    if same_folder and abs(apart) <= FAR_APART_S:
        return (
            f"the clock of {os.path.basename(pair.video)} differs by {apart:+.0f} s; same session?"
        )
    return None


def _counted_again(one: Pair, other: Pair) -> bool:
    """Whether the device restarted between two recordings: the same numbers at other times."""
    before, after = sorted((one.ends, other.ends), key=lambda ends: ends.first_time)
    return after.first_time > before.last_time and (
        after.first_num <= before.last_num and before.first_num <= after.last_num
    )


def _is_alike(one: Pair, other: Pair) -> bool:
    """Whether names differ in numbers alone, as those of segments do."""
    return _masked(one.video, ALL_NUMBERS) == _masked(other.video, ALL_NUMBERS)


def _seconds_apart(one: Pair, other: Pair) -> float:
    """How far the clocks of two recordings are apart, if they are of the same run of a device."""
    rate = one.ends.rate or other.ends.rate
    passed = other.ends.first_time - one.ends.first_time
    if rate <= 0:
        return passed
    apart = passed - (other.ends.first_num - one.ends.first_num) / rate
    allowed = DRIFT * abs(passed)
    return apart - max(-allowed, min(apart, allowed))


def _folder(pair: Pair) -> str:
    return os.path.dirname(pair.video)


def _describe(group: _Group) -> FoundSession:
    """Receivers, name and place of a session."""
    pairs = _in_order(group.pairs)
    folder = os.path.commonpath([_folder(pair) for pair in pairs])
    parts = _split(pairs, folder)
    names = _names(parts, folder)
    receivers = sorted(map(Receiver, names, map(tuple, parts)), key=lambda r: natural(r.name))
    said = labels(pairs[0].video)
    label = "_".join(f"{kind}-{said[kind]}" for kind in ("sub", "ses") if kind in said)
    questions = [*group.questions, *(pair.question for pair in pairs if pair.is_near)]
    questions += [text for receiver in receivers for text in _gaps(receiver)]
    if len(receivers) == 1:
        questions.append("only one receiver was found; are there others?")
    return FoundSession(
        label or os.path.basename(folder) or "session",
        folder,
        tuple(receivers),
        said.get("sub", ""),
        tuple(dict.fromkeys(questions)),
    )


def _split(pairs: Sequence[Pair], folder: str) -> list[list[Pair]]:
    """The recordings of each receiver: numbers that count segments do not tell receivers apart.

    Which numbers do is tried: segments of one receiver follow each other, and the fewest receivers
    that allows are right.
    """
    best: list[list[Pair]] = [[pair] for pair in pairs]
    counts = [c for n in range(1, RUNS + 1) for c in (range(n), range(n - 1, n))]
    for masked in map(set, counts):
        groups: dict[str, list[Pair]] = {}
        for pair in pairs:
            groups.setdefault(_masked(_relative(pair, folder), masked), []).append(pair)
        if len(groups) < len(best) and all(map(_follow, groups.values())):
            best = [*groups.values()]
    return best


def _relative(pair: Pair, folder: str) -> str:
    return os.path.splitext(os.path.relpath(pair.video, folder))[0]


def _masked(name: str, numbers: set[int]) -> str:
    """A name without some of its numbers, which are counted from the end."""
    parts = re.split(r"(\d+)", name)
    found = parts[1::2]
    for place in range(len(found)):
        if len(found) - 1 - place in numbers:
            parts[2 * place + 1] = "#"
    return "".join(parts)


def _follow(segments: Sequence[Pair]) -> bool:
    """Whether recordings follow each other in time."""
    return all(follows(after.ends, before.ends) for before, after in pairwise(segments))


def _gap(before: Pair, after: Pair) -> float:
    return after.ends.first_time - before.ends.last_time


def _names(parts: Sequence[Sequence[Pair]], folder: str) -> list[str]:
    """What tells receivers apart in their names."""
    words = []
    for part in parts:
        names = [re.split(r"[/\\_\-. ]+", _relative(pair, folder)) for pair in part]
        words.append([word for word in names[0] if all(word in each for each in names)])
    shared = set(words[0]).intersection(*words[1:]) if len(words) > 1 else set()
    found = ["-".join(word for word in each if word not in shared) for each in words]
    if len({name for name in found if name}) == len(parts):
        return found
    return [f"receiver{number + 1}" for number in range(len(parts))]


def _gaps(receiver: Receiver) -> Iterator[str]:
    """Say where segments of a receiver are missing, by their time."""
    for before, after in pairwise(receiver.segments):
        gap = _gap(before, after)
        if gap > min(GAP_S, 0.5 * before.ends.duration_s):
            names = [os.path.basename(pair.video) for pair in (before, after)]
            yield (
                f"{receiver.name}: {gap:,.1f} s are missing between {names[0]} and {names[1]}; "
                "is a segment missing?"
            )


def _named_apart(sessions: Sequence[FoundSession]) -> list[FoundSession]:
    """Sessions with names of their own: by folder, and by the time of their start where equal."""
    found = []
    for session in sessions:
        same = [other for other in sessions if other.name == session.name]
        if len(same) > 1:
            parents = Path(session.folder).parent.name
            longer = f"{parents}_{session.name}"
            apart = len({Path(each.folder).parent.name for each in same}) == len(same)
            start = f"{session.start:%Y-%m-%d_%H%M%S}"
            name = longer if apart and parents else f"{session.name}_{start}"
            found.append(replace(session, name=name))
        else:
            found.append(session)
    return found
