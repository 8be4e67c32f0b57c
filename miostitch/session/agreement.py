"""Whether the receivers show the same images, followed along the session.

Receivers of one device get the same pixels, but for errors of bits. Frames of another moment, even
of a scene that stands still, agree in a third of their pixels at most: the sensor's noise differs.
So a stretch of frames in which a receiver agrees with no other one is of something else: of another
session that counts alike, or shifted against its table.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from miostitch.arrays import I8, I64, U8, U64, Bools
from miostitch.errors import InputError, Notice, Severity
from miostitch.kernels.agreement import ALIKE, UNKNOWN, UNLIKE, compare_images
from miostitch.schema import NO_FRAME

if TYPE_CHECKING:  # bringing recordings together follows their agreement
    from miostitch.session.session import Session

LEAST_RUN = 8  # frames in a row that must contradict: a burst of noise spoils fewer
_SAMPLES = 64  # frames that are looked at along a session, before those around a contradiction

_REMEDY = (
    "these are not recordings of one session, or a video is shifted against its table; leave a "
    "file out, leave out that stretch with --salvage, or set --lag to stitch them as they are"
)


@dataclass(frozen=True)
class Stretch:
    """Frames in which a recording shows what no other one shows."""

    recording: int
    first: int  # Position of the first frame in the alignment
    last: int


def judge_frames(frames: Sequence[U8], delivered: U64, bounds: I64, alike: I8 | None = None) -> I8:
    """Tell which recordings agree with another one, (recording, frame).

    ALIKE: with at least one; UNLIKE: with none, though buffers were compared; UNKNOWN: none were.

    ``frames``: of each recording, uint8 (frame, height, width); ``delivered``: bit k set: buffer
    k of it is complete, and can be compared, (recording, frame);
    ``alike``: the first recording whose frame has the same pixels, (recording, frame), if known.
    """
    found = np.full(delivered.shape, UNKNOWN, np.int8)
    flat = [np.ascontiguousarray(block).reshape(len(block), -1) for block in frames]
    for one, other in combinations(range(len(flat)), 2):
        shared = delivered[one] & delivered[other]
        same = np.zeros(len(shared), np.bool_) if alike is None else alike[one] == alike[other]
        verdict = np.empty(len(shared), np.int8)
        compared = np.where(same, np.uint64(0), shared)
        compare_images(flat[one], flat[other], compared, bounds, verdict)
        verdict[same & (shared > 0)] = ALIKE
        for each in (one, other):
            found[each, verdict == ALIKE] = ALIKE
            found[each, (verdict == UNLIKE) & (found[each] == UNKNOWN)] = UNLIKE
    return found


def comparable(session: "Session", span: slice) -> U64:
    """Buffers of each recording that can be compared pixel by pixel, (recording, frame)."""
    exact = np.array([recording.exact for recording in session.recordings])
    return np.where(exact[:, None], session.delivered(span), np.uint64(0))


def follow_agreement(session: "Session") -> "Session":
    """Find where receivers do not show the same, from some frames all over a session.

    That is an error; with salvage the stretch is left out, with a lag that was asked for it is
    reported.
    """
    stretches = _find_stretches(session)
    if not stretches:
        return session
    options = session.recordings[0].options
    if options.lag != "auto":
        notices = [_notice(session, stretch, Severity.DOUBT, _AS_ASKED) for stretch in stretches]
    elif options.salvage:
        session, notices = _leave_out(session, stretches)
    else:
        notices = [_notice(session, stretch, Severity.ERROR, _REMEDY) for stretch in stretches]
    alignment = session.alignment
    said = tuple(dict.fromkeys((*alignment.notices, *notices)))
    return replace(session, alignment=replace(alignment, notices=said))


_AS_ASKED = "they are stitched as they are, as --lag was set"


class AgreementWatch:
    """Follows agreement while blocks come in, in order: what sampling missed ends the run."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._first = np.full(len(session.recordings), NO_FRAME)  # of the contradicting frames
        self._count = np.zeros(len(session.recordings), np.int64)
        self._asked = session.recordings[0].options.lag != "auto"

    def follow(self, span: slice, agrees: I8) -> None:
        """Look at some output frames, (recording, frame).

        Raises
        ------
        InputError
            A recording has contradicted all others for too long.
        """
        if self._asked:  # which was reported before
            return
        places = self._session.kept[span]
        for number, verdicts in enumerate(agrees):
            for at in np.flatnonzero(verdicts != UNKNOWN).tolist():
                if verdicts[at] == ALIKE:
                    self._count[number] = 0
                    continue
                if not self._count[number]:
                    self._first[number] = places[at]
                self._count[number] += 1
                if self._count[number] >= LEAST_RUN:
                    stretch = Stretch(number, int(self._first[number]), int(places[at]))
                    raise InputError(_notice(self._session, stretch, Severity.ERROR, _REMEDY))


def _find_stretches(session: "Session") -> list[Stretch]:
    everything = replace(session, kept=np.arange(len(session.alignment), dtype=np.int32))
    masks = comparable(everything, slice(None))
    shared = np.zeros(masks.shape[1], np.uint64)
    for one, other in combinations(masks, 2):
        shared |= one & other
    probe = _Probe(everything, np.flatnonzero(shared))
    return [found for number in range(len(masks)) for found in probe.stretches(number)]


class _Probe:
    """Compares frames where it is asked to, each once."""

    def __init__(self, session: "Session", places: I64) -> None:
        self._session = session
        self.places = places  # of frames that can be compared, in the alignment
        self._known: dict[int, I8] = {}

    def stretches(self, number: int) -> list[Stretch]:
        """Find the stretches in which a recording contradicts all others."""
        count = len(self.places)
        sampled = np.unique(np.linspace(0, count - 1, min(count, _SAMPLES)).astype(np.int64))
        verdicts = self.judge(sampled, number)
        found: list[Stretch] = []
        for at in sampled[verdicts == UNLIKE].tolist():
            if found and self.places[at] <= found[-1].last:
                continue
            if not self._lasts(at, number):
                continue
            agreeing = sampled[verdicts == ALIKE]
            below, above = agreeing[agreeing < at], agreeing[agreeing > at]
            first = self._edge(at, int(below[-1]) if len(below) else -1, number)
            last = self._edge(at, int(above[0]) if len(above) else count, number)
            # frames of which nothing is known belong to the stretch up to the next that agrees
            begin = 0 if first < 0 else int(self.places[first]) + 1
            end = len(self._session.alignment) if last == count else int(self.places[last])
            found.append(Stretch(number, begin, end - 1))
        return found

    def judge(self, wanted: I64, number: int) -> I8:
        """Tell whether a recording agrees with another one at some of the places, (place,)."""
        new = np.array([at for at in wanted.tolist() if at not in self._known], np.int64)
        if len(new):
            session = replace(self._session, kept=self.places[new].astype(np.int32))
            span = slice(0, len(new))
            sources = zip(session.recordings, session.source_frame(span), strict=True)
            frames = [recording.reader(source).read() for recording, source in sources]
            verdicts = judge_frames(frames, comparable(session, span), session.bounds)
            self._known.update(zip(new.tolist(), verdicts.T, strict=True))
        return np.array([self._known[at][number] for at in wanted.tolist()], np.int8)

    def _lasts(self, at: int, number: int) -> bool:
        """Whether a recording contradicts for long around a place."""
        near = np.arange(max(0, at - LEAST_RUN), min(len(self.places), at + LEAST_RUN + 1))
        verdicts = self.judge(near, number)
        alike = near[verdicts == ALIKE]
        low = alike[alike < at].max(initial=near[0] - 1)
        high = alike[alike > at].min(initial=near[-1] + 1)
        return int((verdicts[(near > low) & (near < high)] == UNLIKE).sum()) >= LEAST_RUN

    def _edge(self, at: int, agreeing: int, number: int) -> int:
        """Narrow down the agreeing place next to a contradicting one; beyond an end, if none is."""
        inside = at
        while abs(inside - agreeing) > LEAST_RUN:
            middle = (inside + agreeing) // 2
            if self._lasts(middle, number):
                inside = middle
            else:
                agreeing = middle
        step = 1 if agreeing > inside else -1
        between = np.arange(inside, agreeing, step)
        between = between[(between >= 0) & (between < len(self.places))]
        alike = between[self.judge(between, number) == ALIKE]
        return int(alike[0]) if len(alike) else agreeing


def _notice(session: "Session", stretch: Stretch, severity: Severity, remedy: str) -> Notice:
    paths = [recording.path for recording in session.recordings]
    mine = paths.pop(stretch.recording)
    numbers = session.alignment.frame_num[[stretch.first, stretch.last]].tolist()
    where = f"from frame_num {numbers[0]} to {numbers[1]}"
    if len(paths) == 1:  # which of the two is wrong is not known
        both = " and ".join(sorted((mine, *paths)))
        return Notice("", f"{both} do not show the same images {where}", remedy, severity)
    text = f"does not show the images of the other recordings {where}"
    return Notice(mine, text, remedy, severity)


def _leave_out(session: "Session", stretches: Sequence[Stretch]) -> tuple["Session", list[Notice]]:
    """Take the frames of stretches out of the alignment.

    Of two recordings those of the one whose images stand still, or of the second.
    """
    alignment, notices = session.alignment, []
    source_frame = alignment.source_frame.copy()
    for stretch in stretches:
        wrong, why = stretch.recording, ""
        if len(session.recordings) == 2:
            if stretch.recording == 0:  # the same stretch is the other one's
                continue
            wrong, why = _wrong_of_two(session, stretch)
        path = session.recordings[wrong].path
        span = slice(stretch.first, stretch.last + 1)
        count = int((source_frame[wrong, span] != NO_FRAME).sum())
        source_frame[wrong, span] = NO_FRAME
        remedy = f"{count} frames of {path} are left out{why}"
        notices.append(_notice(session, stretch, Severity.DOUBT, remedy))
    return _without_empty(
        replace(session, alignment=replace(alignment, source_frame=source_frame))
    ), notices


def _wrong_of_two(session: "Session", stretch: Stretch) -> tuple[int, str]:
    """Which of two recordings is left out in a stretch, and why."""
    still = [_stands_still(session, number, stretch) for number in range(2)]
    if still[0] == still[1]:
        return 1, ": the images do not show which of the two is wrong"
    return still.index(True), ": they are one image over and over"


def _stands_still(session: "Session", number: int, stretch: Stretch) -> bool:
    """Whether frames of a recording have the very same pixels, as no sensor gives them twice."""
    span = slice(stretch.first, min(stretch.last, stretch.first + 2 * LEAST_RUN) + 1)
    source = session.alignment.source_frame[number, span]
    frames = session.recordings[number].reader(source[source != NO_FRAME]).read()
    same = (frames[1:] == frames[:-1]).all(axis=(1, 2)) & frames[1:].any(axis=(1, 2))
    return len(same) > 0 and bool(2 * same.sum() > len(same))


def _without_empty(session: "Session") -> "Session":
    """Take out the frames that no recording has any more."""
    alignment = session.alignment
    has: Bools = (alignment.source_frame != NO_FRAME).any(axis=0)
    starts = np.cumsum(has)[np.array(alignment.boot_starts)] - has[np.array(alignment.boot_starts)]
    kept = replace(
        alignment,
        frame_num=alignment.frame_num[has],
        source_frame=alignment.source_frame[:, has],
        boot_starts=tuple(np.unique(starts[starts < has.sum()]).tolist()),
    )
    return replace(session, alignment=kept, kept=np.arange(len(kept), dtype=np.int32))
