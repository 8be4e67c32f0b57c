"""What a report says, computed from the tables of a store."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.arrays import F64, I64, Bools
from miostitch.ranges import runs
from miostitch.report.data import ReportData
from miostitch.schema import COMPOSITE, Evidence

HEAT_BINS = 160  # most of them along the recording, of the map of lost buffers
HISTOGRAM_BINS = 50


@dataclass(frozen=True)
class Contribution:
    """What a recording gave to the result; None where the store does not tell."""

    name: str
    chosen: int  # Frames that are bit for bit those of the recording
    frames: int | None = None  # Frames of the result that it has, in part at least
    absent: int | None = None  # Frames of the result that it lacks
    whole: int | None = None  # Frames of which it received every buffer
    intact_alone: int | None = None  # Intact frames of the result that it has pixel by pixel
    buffers_lost: int | None = None
    received_share: float | None = None  # Share of the buffers that the device sent
    noise_share: float | None = None  # Share of its frames' pixels
    sole: int | None = None  # Frames that no other recording has
    only_complete: int | None = None  # Frames that no other recording has complete
    buffers_given: int | None = None
    sole_buffers: int | None = None  # Buffers that no other recording has


def describe_recordings(data: ReportData) -> list[Contribution]:
    """What each recording received and contributed."""
    known = [_describe(data, number) for number in range(len(data.names))]
    alone = intact_alone(data)
    if alone is not None:
        known = [replace(each, intact_alone=n) for each, n in zip(known, alone, strict=True)]
    return known


def _describe(data: ReportData, number: int) -> Contribution:
    """What a recording contributed, as far as the store knows by itself."""
    known = Contribution(data.names[number], int((data.frames.source == number).sum()))
    if data.scores is None:
        return known
    here = data.present[number]
    received = data.reception(number)
    noisy = int(data.scores.noisy_pixels[number][here].clip(0).sum())
    if data.composition is not None:
        gave = data.composition.buffer_source == number
        alone = data.composition.buffer_evidence == Evidence.SINGLE
        given, sole = int(gave.sum()), int((gave & alone).sum())
        known = replace(known, buffers_given=given, sole_buffers=sole)
    return replace(
        known,
        frames=received.frames,
        absent=data.count - received.frames,
        whole=received.complete,
        buffers_lost=received.lost,
        received_share=received.received / max(data.count * data.buffers, 1),
        noise_share=noisy / max(received.frames * data.height * data.width, 1),
        sole=int((here & (data.present.sum(axis=0) == 1)).sum()),
        only_complete=int((data.whole[number] & (data.whole.sum(axis=0) == 1)).sum()),
    )


@dataclass(frozen=True)
class FrameStates:
    """How many frames of the result are in which state; each is in one."""

    intact: int
    noisy: int  # Complete, with noisy rows
    incomplete: int  # Pixels are missing that other receivers have
    unrecoverable: int  # Pixels are missing, and no receiver has the complete frame

    @classmethod
    def of(cls, data: ReportData) -> "FrameStates":
        """Count the frames."""
        frames = data.frames
        missing = frames.missing_pixels > 0
        damaged = int(frames.damaged.sum())
        noisy = int((frames.damaged & ~missing).sum())
        lost = int((frames.damaged & missing & frames.unrecoverable).sum())
        return cls(data.count - damaged, noisy, damaged - noisy - lost, lost)


def intact_alone(data: ReportData) -> list[int] | None:
    """Intact frames of the result that each recording has pixel by pixel; None: not known."""
    if data.scores is None or data.scores.identical is None:
        return None
    intact = ~data.frames.damaged
    return [int((same & intact).sum()) for same in data.scores.identical]


def device_runs(frame_num: I64) -> I64:
    """The frames between restarts of the device.

    Returns: (run, 5): first and last frame, their counter values, and how many numbers between
    these two no frame has.
    """
    known = np.flatnonzero(frame_num >= 0)
    if not len(known):
        return np.zeros((0, 5), np.int64)
    numbers = frame_num[known]
    starts = np.concatenate([[0], np.flatnonzero(np.diff(numbers) < 0) + 1])
    ends = np.append(starts[1:], len(known)) - 1
    repeated = np.concatenate([[0], np.cumsum(np.diff(numbers) == 0)])
    frames = ends - starts + 1 - (repeated[ends] - repeated[starts])
    lacking = numbers[ends] - numbers[starts] + 1 - frames
    return np.column_stack([known[starts], known[ends], numbers[starts], numbers[ends], lacking])


def gap_around(frame_num: I64, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int] | None]:
    """The frames before and behind each run of lost ``frame_num``; None where none are."""
    before = np.flatnonzero((np.diff(frame_num) > 1) & (frame_num[:-1] >= 0))
    found: list[tuple[int, int] | None] = []
    for first, last in spans:
        around = (frame_num[before] < first) & (frame_num[before + 1] > last)
        places = before[around].tolist()
        found.append((places[0], places[0] + 1) if places else None)
    return found


def tracks(data: ReportData) -> Iterator[tuple[str, Bools]]:
    """What a timeline shows of every frame.

    Yields: A name and bool (frame,): ``source0`` and so on, ``composed``, ``damaged``,
    ``unrecoverable``, ``absent0`` and so on, ``partial0`` and so on, ``gap``: before this frame are
    some that all receivers lost.
    """
    source, frame_num = data.frames.source, data.frames.frame_num
    for number in range(len(data.names)):
        yield f"source{number}", source == number
    yield "composed", source == COMPOSITE
    yield "damaged", data.frames.damaged
    yield "unrecoverable", data.frames.unrecoverable
    if data.scores is not None:
        for number in range(len(data.names)):
            yield f"absent{number}", ~data.present[number]
            yield f"partial{number}", data.present[number] & ~data.whole[number]
    gap = np.zeros(data.count, np.bool_)
    gap[1:] = (np.diff(frame_num) > 1) & (frame_num[:-1] >= 0)
    yield "gap", gap


def binned(values: Bools, step: int) -> NDArray[np.unsignedinteger]:
    """Count the true values of every `step` frames; the last bin may hold fewer."""
    if step == 1:
        return values.view(np.uint8)
    counts = np.add.reduceat(values, np.arange(0, len(values), step), dtype=np.uint32)
    return counts.astype(np.min_scalar_type(step))


@dataclass(frozen=True)
class Losses:
    """The runs of incomplete frames of a recording or the result."""

    frames: int
    runs: int
    longest: int
    lengths: list[int]  # How many runs are 1, 2, 3-4, 5-8, 9-16 and so on frames long

    @classmethod
    def of(cls, lost: Bools) -> "Losses":
        """Count the runs of true values."""
        spans = runs(np.flatnonzero(lost))
        lengths = spans[:, 1] - spans[:, 0] + 1
        counts = np.bincount(np.ceil(np.log2(lengths)).astype(np.int64))
        return cls(int(lost.sum()), len(spans), int(lengths.max(initial=0)), counts.tolist())


def losses(data: ReportData) -> list[Losses]:
    """The losses of every recording whose scores are known, and of the result."""
    recordings = [] if data.scores is None else [Losses.of(~whole) for whole in data.whole]
    return [*recordings, Losses.of(data.frames.missing_pixels > 0)]


def heat_maps(data: ReportData) -> dict[str, Any]:
    """Count by position in the frame and time the buffers that are lost or doubtful.

    Returns: JSON values: ``edges``, the first frame of every bin, and the end; ``times``, theirs in
    seconds; ``positions``, the buffers of a frame; ``maps``, by name the buffers of every bin,
    (position, bin).
    """
    positions = data.lost.shape[1]
    bins = min(HEAT_BINS, data.count)
    edges = np.linspace(0, data.count, bins + 1).astype(np.int64)
    chosen: dict[str, Bools] = {"lost": data.lost}
    if data.composition is not None:
        evidence = data.composition.buffer_evidence
        chosen["single"] = evidence == Evidence.SINGLE
        chosen["differing"] = evidence >= Evidence.MAJORITY
    maps = {
        name: np.add.reduceat(flags, edges[:-1], axis=0, dtype=np.int64).T.tolist()
        for name, flags in chosen.items()
        if positions and bins
    }
    times = data.clock.time[edges.clip(max=data.count - 1)].tolist()
    times[-1] += 1 / float(data.clock.fps or data.fps)  # the last frame has a width, too
    times = [round(each, 4) for each in times]
    return {"edges": edges.tolist(), "times": times, "positions": positions, "maps": maps}


@dataclass(frozen=True)
class Histogram:
    """How a score is distributed over the frames of a recording."""

    counts: list[int]  # Frames of every bin
    frames: int  # Frames whose score is known
    zero: int  # Those of them that are in no bin
    median: float | None


@dataclass(frozen=True)
class Distribution:
    """How a score is distributed over the frames of each recording."""

    bounds: list[float]  # Limits of the bins
    recordings: list[Histogram]


def distributions(data: ReportData) -> dict[str, Distribution]:
    """``noise`` (share of a frame's pixels) and ``edges`` (per pixel); empty without scores."""
    if data.scores is None:
        return {}
    pixels = data.height * data.width
    noise = [values[values >= 0] / pixels for values in data.scores.noisy_pixels]
    edges = [values[values >= 0] / pixels for values in data.scores.edge_energy]
    noisiest = max((float(each.max(initial=0)) for each in noise), default=0.0)
    top = max((float(each.max(initial=0)) for each in edges), default=0.0)
    low = min((float(each.min(initial=top)) for each in edges), default=0.0)
    return {
        "noise": _distribution(noise, 0.0, _round_up(noisiest), without_zeros=True),
        "edges": _distribution(edges, low, max(top, low + 1e-9), without_zeros=False),
    }


def _round_up(share: float) -> float:
    """The end of an axis of shares: the next 10 %."""
    return min(1.0, math.ceil(max(share, 0.01) * 10) / 10)


def _distribution(
    values: Sequence[F64], low: float, high: float, *, without_zeros: bool
) -> Distribution:
    bounds = np.linspace(low, high, HISTOGRAM_BINS + 1)
    recordings = []
    for each in values:
        shown = each[each > 0] if without_zeros else each
        median = float(np.median(each)) if len(each) else None
        counts = np.histogram(shown, bounds)[0].tolist()
        recordings.append(Histogram(counts, len(each), len(each) - len(shown), median))
    return Distribution(bounds.tolist(), recordings)


def worst_frames(data: ReportData, count: int) -> list[int]:
    """The worst frame of each of the worst stretches of damaged frames, worst first."""
    damaged = np.flatnonzero(data.frames.damaged)
    severity = data.frames.missing_pixels.astype(np.int64)[damaged]
    if data.scores is not None and data.composition is None:
        source = data.frames.source[damaged]
        noisy = data.scores.noisy_pixels[source, damaged].clip(0)
        severity += np.where(source == COMPOSITE, 0, noisy)
    return _peaks(damaged, severity, count)


def rescued_frames(data: ReportData, count: int) -> list[int]:
    """Intact frames of the result of which receivers lost most, worst first.

    By frame the receiver counts that lost most, by buffer the one that lost least.
    """
    if len(data.names) < 2 or data.scores is None:
        return []
    lacking = np.where(data.present, data.lacking, 0)
    lost = lacking.max(axis=0) if data.composition is None else lacking.min(axis=0)
    rescued = np.flatnonzero(~data.frames.damaged & (lost > 0))
    return _peaks(rescued, lost[rescued].astype(np.int64), count)


def _peaks(frames: I64, severity: I64, count: int) -> list[int]:
    """Of the runs of frames with the highest severity, the frame that has it."""
    spans = runs(frames)
    if not len(spans):
        return []
    starts = np.searchsorted(frames, spans[:, 0])
    peaks = np.maximum.reduceat(severity, starts)
    chosen = np.argsort(-peaks, kind="stable")[:count].tolist()
    ends = np.append(starts[1:], len(frames))
    return [int(frames[starts[c] + severity[starts[c] : ends[c]].argmax()]) for c in chosen]


def unrecoverable_stretches(data: ReportData) -> I64:
    """First and last frame of the unrecoverable stretches, (stretch, 2), the longest first."""
    spans = runs(np.flatnonzero(data.frames.unrecoverable))
    return spans[np.argsort(spans[:, 0] - spans[:, 1], kind="stable")]
