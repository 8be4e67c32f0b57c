"""What a report tells, computed from the tables of a store: plain arrays in, plain values out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.ranges import runs
from miostitch.schema import COMPOSITE, EVIDENCE, NO_FRAME

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

HEAT_BINS = 160
"""Most bins along the recording of the map of lost buffers."""

HISTOGRAM_BINS = 50

TRACK_CELLS = 2**23
"""Most counts of a timeline; more frames share a bin then."""


@dataclass(frozen=True, eq=False)
class Tables:
    """The tables of a store."""

    names: Sequence[str]  # Names of the recordings; ``source`` counts in them
    fps: Fraction  # Frames per second
    height: int
    width: int
    # Limits of the buffers in the flattened frame, int64 (buffer + 1,); empty where the rows do not
    # tell them.
    bounds: Ints
    buffers: int  # Buffers that the device sends of a frame
    # ``frame_num``, ``source``, ``missing_pixels``, ``damaged`` and ``unrecoverable``, (frame,).
    frames: Mapping[str, NDArray[Any]]
    # The group ``scores``, (recording, frame); empty where the store has none.
    scores: Mapping[str, NDArray[Any]]
    # The group ``composition``, (frame, position); empty where frames were chosen.
    composition: Mapping[str, NDArray[Any]]
    # Buffers that the result lacks, wholly or in part, bool (frame, position); no positions where
    # nothing tells.
    lost: Bools

    @property
    def count(self) -> int:
        """Frames of the result."""
        return len(self.frames["source"])

    @cached_property
    def present(self) -> Bools:
        """Whether a recording has a candidate, (recording, frame)."""
        if not self.scores:
            return np.zeros((len(self.names), self.count), np.bool_)
        return np.asarray(self.scores["source_frame"] != NO_FRAME)

    @cached_property
    def lacking(self) -> NDArray[np.int16]:
        """Buffers that a candidate lacks, (recording, frame); all where there is no candidate."""
        if not self.scores:
            return np.zeros((len(self.names), self.count), np.int16)
        received = np.where(self.present, self.scores["num_buffers"], 0)
        return np.maximum(np.int16(self.buffers) - received, 0).astype(np.int16)

    @cached_property
    def whole(self) -> Bools:
        """Whether a recording received a frame without a gap, (recording, frame)."""
        if not self.scores:
            return self.present
        return np.asarray((self.lacking == 0) & (self.scores["black_padding"] <= 0) & self.present)


def describe_recordings(tables: Tables) -> list[dict[str, Any]]:
    """What each recording contributed.

    Returns: For each recording, under the names of the summary, what the store knows by itself.
    """
    if not tables.scores:
        chosen = [int((tables.frames["source"] == n).sum()) for n in range(len(tables.names))]
        return [{"name": n, "chosen": c} for n, c in zip(tables.names, chosen, strict=True)]
    seen = tables.present.sum(axis=0)
    sent = tables.count * tables.buffers
    described = []
    for number, name in enumerate(tables.names):
        here = tables.present[number]
        frames = int(here.sum())
        noisy = int(tables.scores["noisy_pixels"][number][here].clip(0).sum())
        received = sent - int(tables.lacking[number].sum(dtype=np.int64))
        facts = {
            "name": name,
            "frames": frames,
            "absent": tables.count - frames,
            "whole": int(tables.whole[number].sum()),
            "buffers_lost": frames * tables.buffers - received,
            "received_share": received / max(sent, 1),
            "noise_share": noisy / max(frames * tables.height * tables.width, 1),
            "chosen": int((tables.frames["source"] == number).sum()),
            "sole": int((here & (seen == 1)).sum()),
        }
        if tables.composition:
            gave = tables.composition["buffer_source"] == number
            alone = tables.composition["buffer_evidence"] == EVIDENCE.index("single")
            facts["buffers_given"] = int(gave.sum())
            facts["sole_buffers"] = int((gave & alone).sum())
        described.append(facts)
    return described


def tracks(tables: Tables) -> Iterator[tuple[str, Bools]]:
    """What a timeline shows of every frame.

    Yields: A name and bool (frame,): ``source0`` and so on, ``composed``, ``damaged``,
    ``unrecoverable``, ``absent0`` and so on, ``partial0`` and so on, ``gap``: before this frame are
    some that nobody saw.
    """
    source, frame_num = tables.frames["source"], tables.frames["frame_num"]
    for number in range(len(tables.names)):
        yield f"source{number}", source == number
    yield "composed", source == COMPOSITE
    yield "damaged", tables.frames["damaged"]
    yield "unrecoverable", tables.frames["unrecoverable"]
    if tables.scores:
        for number in range(len(tables.names)):
            yield f"absent{number}", ~tables.present[number]
            yield f"partial{number}", tables.present[number] & ~tables.whole[number]
    gap = np.zeros(tables.count, np.bool_)
    gap[1:] = (np.diff(frame_num) > 1) & (frame_num[:-1] >= 0)
    yield "gap", gap


def binned(values: Bools, step: int) -> NDArray[np.unsignedinteger[Any]]:
    """Count the true values of every `step` frames; the last bin may hold fewer."""
    if step == 1:
        return values.view(np.uint8)
    counts = np.add.reduceat(values, np.arange(0, len(values), step), dtype=np.uint32)
    return counts.astype(np.min_scalar_type(step))


def first_step(tables: Tables) -> int:
    """Frames per bin by which a timeline of these tables stays below its size."""
    count = sum(1 for _ in tracks(tables)) * tables.count
    return max(1, -(-count // TRACK_CELLS))


def run_lengths(lost: Bools) -> Ints:
    """Count the runs of true values by length: 1, 2, 3-4, 5-8, 9-16 and so on, (bin,)."""
    spans = runs(np.flatnonzero(lost))
    lengths = spans[:, 1] - spans[:, 0] + 1
    return np.bincount(np.ceil(np.log2(lengths)).astype(np.int64))


def losses(tables: Tables) -> list[dict[str, Any]]:
    """Lengths of the runs of frames that are not whole: of every recording and of the result.

    Returns: ``name`` (None: the result), ``frames`` lost, ``runs``, ``longest`` and ``lengths`` as
    :func:`run_lengths` gives them.
    """
    found: list[tuple[str | None, Bools]] = []
    if tables.scores:
        found += [(name, ~tables.whole[n]) for n, name in enumerate(tables.names)]
    found.append((None, tables.frames["missing_pixels"] > 0))
    described = []
    for name, lost in found:
        spans = runs(np.flatnonzero(lost))
        longest = int((spans[:, 1] - spans[:, 0] + 1).max(initial=0))
        described.append(
            {
                "name": name,
                "frames": int(lost.sum()),
                "runs": len(spans),
                "longest": longest,
                "lengths": run_lengths(lost).tolist(),
            }
        )
    return described


def heat_maps(tables: Tables) -> dict[str, Any]:
    """Where in the frame, and when, buffers are lost or doubtful.

    Returns: ``edges``: first frame of every bin and the end, ``positions``, and ``maps``: by name
    the buffers of every bin, (position, bin).
    """
    positions = tables.lost.shape[1]
    bins = min(HEAT_BINS, tables.count)
    edges = np.linspace(0, tables.count, bins + 1).astype(np.int64)
    chosen: dict[str, Bools] = {"lost": tables.lost}
    if tables.composition:
        evidence = tables.composition["buffer_evidence"]
        chosen["single"] = evidence == EVIDENCE.index("single")
        chosen["differing"] = evidence >= EVIDENCE.index("majority")
    maps = {
        name: np.add.reduceat(flags, edges[:-1], axis=0, dtype=np.int64).T.tolist()
        for name, flags in chosen.items()
        if positions and bins
    }
    return {"edges": edges.tolist(), "positions": positions, "maps": maps}


def evidence_counts(tables: Tables) -> dict[str, int]:
    """How many buffers were decided by which evidence; empty where frames were chosen."""
    if not tables.composition:
        return {}
    counts = np.bincount(tables.composition["buffer_evidence"].ravel(), minlength=len(EVIDENCE))
    return dict(zip(EVIDENCE, counts.tolist(), strict=True))


def distributions(tables: Tables) -> dict[str, Any]:
    """How noise and edges are distributed over the candidates.

    Returns: ``noise`` (share of a frame's pixels) and ``edges`` (per pixel), each with ``bounds``
    of the bins and, for each recording, ``counts``, ``below`` (noise only: frames without any) and
    the ``median``.
    """
    if not tables.scores:
        return {}
    pixels = tables.height * tables.width
    noise = [_known(tables, "noisy_pixels", n) / pixels for n in range(len(tables.names))]
    edges = [_known(tables, "edge_energy", n) / pixels for n in range(len(tables.names))]
    top = max((float(each.max(initial=0)) for each in edges), default=0.0)
    low = min((float(each.min(initial=top)) for each in edges), default=0.0)
    return {
        "noise": _histograms(noise, 0.0, 1.0, without_zeros=True),
        "edges": _histograms(edges, low, max(top, low + 1e-9), without_zeros=False),
    }


def _known(tables: Tables, name: str, number: int) -> NDArray[np.int64]:
    """The scores of a recording's candidates that were computed."""
    values = tables.scores[name][number]
    return np.asarray(values[values >= 0])


def _histograms(
    values: Sequence[NDArray[np.float64]], low: float, high: float, *, without_zeros: bool
) -> dict[str, Any]:
    bounds = np.linspace(low, high, HISTOGRAM_BINS + 1)
    recordings = []
    for each in values:
        shown = each[each > 0] if without_zeros else each
        recordings.append(
            {
                "counts": np.histogram(shown, bounds)[0].tolist(),
                "frames": len(each),
                "zero": len(each) - len(shown),
                "median": float(np.median(each)) if len(each) else None,
            }
        )
    return {"bounds": bounds.tolist(), "recordings": recordings}


def worst_frames(tables: Tables, count: int) -> list[int]:
    """The worst frame of each of the worst stretches of damaged frames, worst first."""
    damaged = np.flatnonzero(tables.frames["damaged"])
    severity = tables.frames["missing_pixels"].astype(np.int64)[damaged]
    if tables.scores and not tables.composition:
        source = tables.frames["source"][damaged]
        severity += tables.scores["noisy_pixels"][source, damaged].clip(0)
    return _peaks(damaged, severity, count)


def rescued_frames(tables: Tables, count: int) -> list[int]:
    """Sound frames of the result of which receivers lost most, worst first.

    By frame the receiver counts that lost most, by buffer the one that lost least.
    """
    if len(tables.names) < 2 or not tables.scores:
        return []
    lacking = np.where(tables.present, tables.lacking, 0)
    lost = lacking.min(axis=0) if tables.composition else lacking.max(axis=0)
    rescued = np.flatnonzero(~tables.frames["damaged"] & (lost > 0))
    return _peaks(rescued, lost[rescued].astype(np.int64), count)


def _peaks(frames: Ints, severity: Ints, count: int) -> list[int]:
    """Of the runs of frames with the highest severity, the frame that has it."""
    spans = runs(frames)
    if not len(spans):
        return []
    starts = np.searchsorted(frames, spans[:, 0])
    peaks = np.maximum.reduceat(severity, starts)
    chosen = np.argsort(-peaks, kind="stable")[:count].tolist()
    ends = np.append(starts[1:], len(frames))
    return [int(frames[starts[c] + severity[starts[c] : ends[c]].argmax()]) for c in chosen]


def hopeless_stretches(tables: Tables, most: int) -> tuple[int, list[dict[str, int]]]:
    """The stretches of frames of which no receiver has everything, the longest first.

    Returns: How many there are, and of the longest ``first``, ``last``, ``frame_num`` of both, and
    ``missing_pixels``.
    """
    spans = runs(np.flatnonzero(tables.frames["unrecoverable"]))
    order = np.argsort(spans[:, 0] - spans[:, 1], kind="stable")[:most]
    frame_num, missing = tables.frames["frame_num"], tables.frames["missing_pixels"]
    return len(spans), [
        {
            "first": first,
            "last": last,
            "first_num": int(frame_num[first]),
            "last_num": int(frame_num[last]),
            "missing_pixels": int(missing[first : last + 1].sum(dtype=np.int64)),
        }
        for first, last in spans[order].tolist()
    ]


def resets(frame_num: Ints) -> list[dict[str, int]]:
    """Where the device's counter starts anew in the result."""
    known = np.flatnonzero(frame_num >= 0)
    falls = known[1:][np.diff(frame_num[known]) < 0]
    before = known[np.searchsorted(known, falls) - 1]
    return [
        {"frame": frame, "before": int(frame_num[last]), "after": int(frame_num[frame])}
        for frame, last in zip(falls.tolist(), before.tolist(), strict=True)
    ]
