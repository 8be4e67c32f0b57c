"""The tables of a report."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.buffers.repair import describe_evidence
from miostitch.execution.results import JSON
from miostitch.ranges import format_frames, rising_runs, runs
from miostitch.report.data import ReportData
from miostitch.report.over_time import OverTime
from miostitch.report.statistics import (
    Contribution,
    Distribution,
    Losses,
    binned,
    device_runs,
    gap_around,
    tracks,
    unrecoverable_stretches,
)
from miostitch.schema import REPAIRED_COLUMNS, Evidence
from miostitch.text import clock, utc_text
from miostitch.video.source import FORMATS

LISTED = 100  # most rows of a table in a report
LIST_CHARACTERS = 100_000  # that a shell takes as one argument, with room to spare
PARTS = 20  # rows of the table below the timeline

Cell = str | int | float | tuple[float, str] | None
"""A number is sorted as it is, of a pair the first is sorted by and the second shown."""

CONTRIBUTIONS = {
    "frames": "frames received",
    "absent": "frames lost",
    "whole": "frames complete",
    "intact_alone": "intact frames of the result",
    "buffers_lost": "buffers lost",
    "received_share": "buffers received",
    "noise_share": "noisy pixels",
    "chosen": "frames used",
    "buffers_given": "buffers used",
    "sole": "frames only it received",
    "only_complete": "frames complete only here",
    "sole_buffers": "buffers only it received",
}
"""Columns of the table of receivers."""

EVIDENCE_MEANS = {
    Evidence.IDENTICAL: "several receivers have it, all copies are identical",
    Evidence.MAJORITY: "copies differ, most of them are identical",
    Evidence.STRETCHES: "copies differ, decided pixel by pixel",
    Evidence.SINGLE: "only one receiver has it",
    Evidence.NOBODY: "missing in the result",
}

EVIDENCE_NAMES = {
    Evidence.IDENTICAL: "identical",
    Evidence.MAJORITY: "majority",
    Evidence.STRETCHES: "pixel by pixel",
    Evidence.SINGLE: "single",
    Evidence.NOBODY: "missing",
}


@dataclass(frozen=True)
class Table:
    """A table of a page."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


@dataclass(frozen=True)
class RemovalList:
    """Frames to exclude."""

    name: str
    title: str
    frames: int
    text: str  # As ``remove-frames`` takes them; empty where a shell would not


def count(number: int) -> str:
    """A number with its thousands apart."""
    return f"{number:,}"


def percent(part: float, whole: float) -> str:
    """A share that is 0 or 100 % only if it is exactly that.

    >>> percent(1, 3), percent(1, 100_000), percent(99_999, 100_000), percent(0, 5)
    ('33.33 %', '< 0.01 %', '> 99.99 %', '0 %')
    """
    if not whole or part in (0, whole):
        return "100 %" if whole and part == whole else "0 %"
    share = 100 * part / whole
    if share < 0.01:
        return "< 0.01 %"
    return "> 99.99 %" if share > 99.99 else f"{share:.2f} %"


def plain(number: int) -> Cell:
    """A number that names something: without commas, so that it can be copied and found."""
    return (float(number), str(number))


def recordings_table(recordings: Sequence[Contribution]) -> Table:
    """What each receiver received, lost and gave, a column for each."""
    rows: list[list[Cell]] = [
        [title, *(_figure(name, getattr(each, name)) for each in recordings)]
        for name, title in CONTRIBUTIONS.items()
        if all(getattr(each, name) is not None for each in recordings)
    ]
    heads = [f"R{number}: {each.name}" for number, each in enumerate(recordings, 1)]
    return Table("What each receiver received and gave", ["", *heads], rows)


def times_of(data: ReportData) -> list[str]:
    """The heads of the columns of :func:`time_cells`."""
    return ["elapsed", "clock (UTC)"] if data.clock.start is not None else ["elapsed"]


def time_cells(data: ReportData, frame: int) -> list[Cell]:
    """When a frame was received: elapsed time and, where it is known, clock time."""
    seconds = float(data.clock.time[frame])
    cells: list[Cell] = [(seconds, data.clock.elapsed(frame))]
    return [*cells, (seconds, data.clock.of_day(frame))] if data.clock.start is not None else cells


def parts_table(data: ReportData) -> Table:
    """The timeline as numbers: the recording in twenty parts."""
    step = max(1, -(-data.count // PARTS))
    counts = {name: binned(values, step).tolist() for name, values in tracks(data)}
    titles = {f"source{n}": f"from R{n + 1}" for n in range(len(data.names))}
    if any(counts["composed"]):
        titles["composed"] = "combined"
    titles |= {"damaged": "damaged", "unrecoverable": "unrecoverable"}
    rows: list[list[Cell]] = []
    for number, start in enumerate(range(0, data.count, step)):
        span = (float(start), f"{start}-{min(start + step, data.count) - 1}")
        rows.append([span, *time_cells(data, start), *(counts[name][number] for name in titles)])
    heads = ["frames", *times_of(data), *titles.values()]
    return Table(f"The same in numbers, {count(step)} frames per row", heads, rows)


def over_time_table(found: OverTime, data: ReportData) -> Table:
    """Losses and voltages over time."""
    columns: dict[str, Sequence[float | None]] = {"damaged in the result %": found.damaged}
    if any(each is not None for each in found.uncertain):
        columns["not exact with certainty %"] = found.uncertain
    columns = {f"R{n}: buffers lost %": each for n, each in enumerate(found.lost, 1)} | columns
    shares = {
        name: [None if v is None else round(100 * v, 2) for v in values]
        for name, values in columns.items()
    }
    shares |= {f"{name} voltage (raw)": values for name, values in found.voltages.items()}
    start = data.clock.start
    rows: list[list[Cell]] = []
    for number, edge in enumerate(found.edges[:-1]):
        when: list[Cell] = [(edge, clock(edge))]
        when += [] if start is None else [(edge, utc_text(start + edge))]
        rows.append([*when, *(values[number] for values in shares.values())])
    step = max(1, -(-len(rows) // LISTED))
    note = f"every {step}th row of {count(len(rows))}" if step > 1 else ""
    caption = f"The same in numbers, {found.width} s per row"
    return Table(caption, [*times_of(data), *shares], rows[::step], note)


def losses_table(found: Sequence[Losses]) -> Table:
    """Runs of incomplete frames: of every receiver, and last of the result."""
    lengths = padded_lengths(found)
    names = [*(f"R{n}" for n in range(1, len(found))), "result"]
    rows: list[list[Cell]] = [
        [name, each.frames, each.runs, each.longest, *counts]
        for name, each, counts in zip(names, found, lengths, strict=True)
    ]
    labels = map(length_label, range(len(lengths[0])))
    heads = ["", "incomplete frames", "runs", "longest run", *labels]
    return Table("How many runs of so many frames", heads, rows)


def padded_lengths(found: Sequence[Losses]) -> list[list[int]]:
    """How many runs there are of each length, as many numbers for each."""
    longest = max(len(each.lengths) for each in found)
    return [each.lengths + [0] * (longest - len(each.lengths)) for each in found]


def length_label(number: int) -> str:
    """The lengths of runs that a bin of :class:`miostitch.report.statistics.Losses` counts."""
    low, high = (1 << max(number - 1, 0)) + (number > 0), 1 << number
    return str(high) if low >= high else f"{low}-{high}"


def evidence_table(data: ReportData) -> Table | None:
    """How many buffers were decided by which evidence, where frames were composed."""
    if data.composition is None:
        return None
    evidence = data.composition.buffer_evidence
    rows: list[list[Cell]] = []
    for each, meaning in EVIDENCE_MEANS.items():
        found = int((evidence == each).sum())
        share = (found / max(evidence.size, 1), percent(found, evidence.size))
        rows.append([EVIDENCE_NAMES[each], found, share, meaning])
    return Table("Buffers of the result", ["", "buffers", "share", "meaning"], rows)


def unrecoverable_tables(data: ReportData, summary: JSON) -> list[Table]:
    """What no receiver has: frames, and parts of frames; the longest stretches, by time."""
    tables = (_not_received_table(data, summary), _unrecoverable_table(data))
    return [table for table in tables if table.rows]


def _not_received_table(data: ReportData, summary: JSON) -> Table:
    lost = summary.get("lost_frame_num", [])
    longest = sorted(range(len(lost)), key=lambda n: lost[n][0] - lost[n][1])[:LISTED]
    spans = [(int(lost[n][0]), int(lost[n][1])) for n in sorted(longest)]
    rows: list[list[Cell]] = []
    for (first, last), around in zip(spans, gap_around(data.frames.frame_num, spans), strict=True):
        row: list[Cell] = [plain(first), plain(last), last - first + 1]
        if around is None:
            row += [None] * (1 + len(times_of(data)))
        else:
            before, after = around
            seconds = float(data.clock.time[after] - data.clock.time[before])
            row += [round(seconds, 3), *time_cells(data, before)]
        rows.append(row)
    heads = ["first frame_num", "last frame_num", "frames", "gap in s"]
    heads += [f"last frame before: {name}" for name in times_of(data)]
    return Table("Frames lost by all receivers", heads, rows, _longest(len(lost)))


def _unrecoverable_table(data: ReportData) -> Table:
    stretches = unrecoverable_stretches(data)
    shown, rows = stretches[:LISTED], []
    for first, last in shown[np.argsort(shown[:, 0])].tolist():
        where: list[Cell] = [plain(first), plain(last), last - first + 1, *time_cells(data, first)]
        numbers = map(plain, data.frames.frame_num[[first, last]].tolist())
        missing = data.frames.missing_pixels[first : last + 1].sum(dtype=np.int64)
        rows.append([*where, *numbers, int(missing)])
    heads = ["first frame", "last frame", "frames", *times_of(data)]
    heads += ["first frame_num", "last frame_num", "missing pixels"]
    return Table("Frames incomplete in every receiver", heads, rows, _longest(len(stretches)))


def removal_lists(data: ReportData) -> list[RemovalList]:
    """Frames to exclude: all damaged ones, or the unrecoverable ones only."""
    found = []
    for name, title, flags in (
        ("damaged", "all damaged frames", data.frames.damaged),
        ("unrecoverable", "unrecoverable only", data.frames.unrecoverable),
    ):
        frames = np.flatnonzero(flags)
        text = format_frames(frames) if len(runs(frames)) * 2 < LIST_CHARACTERS else ""
        if len(frames):
            shown = text if len(text) <= LIST_CHARACTERS else ""
            found.append(RemovalList(name, title, len(frames), shown))
    return found


def lag_table(summary: JSON) -> Table:
    """Lag and clock of each receiver."""
    known = ("lag", "measured_lag", "lag_evidence", "offset_s", "drift_ppm")
    rows: list[list[Cell]] = [
        [f"R{number}", *("unknown" if each.get(k) is None else each[k] for k in known)]
        for number, each in enumerate(summary.get("recordings", []), 1)
    ]
    heads = ["", "lag used", "lag measured", "evidence", "clock ahead in s", "drift in ppm"]
    return Table("Lag and clocks", heads, rows)


def device_runs_table(data: ReportData) -> Table:
    """The frames from restart to restart of the device."""
    found = device_runs(data.frames.frame_num)
    rows: list[list[Cell]] = []
    for number, (first, last, lowest, highest, lacking) in enumerate(found[:LISTED].tolist(), 1):
        frames = last - first + 1
        counted: list[Cell] = [plain(lowest), plain(highest), frames, lacking]
        rows.append([number, plain(first), *time_cells(data, first), *counted])
    heads = ["run", "first frame", *times_of(data), "first frame_num", "last frame_num"]
    heads += ["frames", "numbers not in the result"]
    return Table("Runs of the device between restarts", heads, rows, _rest(len(found)))


def epochs_table(data: ReportData) -> Table | None:
    """The parts of a regular time base; None of another result."""
    filled = data.frames.filled
    if filled is None:
        return None
    found, rows = rising_runs(data.frames.frame_num), list[list[Cell]]()
    for number, (first, last) in enumerate(found[:LISTED], 1):
        made = int(filled[first : last + 1].sum())
        frames: list[Cell] = [plain(first), plain(last), *time_cells(data, first)]
        rows.append([number, *frames, last + 1 - first, made])
    heads = ["epoch", "first frame", "last frame", *times_of(data), "frames", "filled"]
    return Table("Epochs of the regular time base", heads, rows, _rest(len(found)))


def repairs_tables(repairs: Mapping[str, NDArray[Any]], names: Sequence[str]) -> list[Table]:
    """Repaired header cells: how many of which column, and the first ones."""
    if not repairs:
        return []
    kinds = range(len(REPAIRED_COLUMNS))
    counts = [
        [int(((repairs["recording"] == n) & (repairs["column"] == k)).sum()) for k in kinds]
        for n in range(len(names))
    ]
    rows: list[list[Cell]] = [[f"R{n}", sum(each), *each] for n, each in enumerate(counts, 1)]
    total = Table("Repaired header cells", ["", "all", *REPAIRED_COLUMNS], rows)
    shown = ("recording", "segment", "row", "column", "old", "new", "evidence")
    first = zip(*(repairs[name][:LISTED].tolist() for name in shown), strict=True)
    cells: list[list[Cell]] = []
    for recording, segment, row, column, old, new, evidence in first:
        what = [REPAIRED_COLUMNS[column], plain(old), plain(new), describe_evidence(evidence)]
        cells.append([f"R{recording + 1}", segment, plain(row), *what])
    heads = ["", "segment", "row", "column", "as recorded", "repaired", "evidence"]
    return [total, Table("The repaired cells", heads, cells, _rest(len(repairs["row"])))]


def distribution_table(noise: Distribution, edges: Distribution) -> Table:
    """Noise and edges of each receiver in numbers."""
    rows: list[list[Cell]] = [
        [
            f"R{number}",
            n.frames,
            n.zero,
            n.frames - n.zero,
            None if n.median is None else round(n.median * 100, 3),
            None if e.median is None else round(e.median, 3),
        ]
        for number, (n, e) in enumerate(zip(noise.recordings, edges.recordings, strict=True), 1)
    ]
    heads = ["", "frames received", "without noise", "with noise"]
    heads += ["median noise % of pixels", "median edges per pixel"]
    return Table("Noise and edges", heads, rows)


def named_values(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as pairs of name and value.

    >>> named_values({"lag": 0, "score": {"run": 5}, "repair": True, "max_gap": None})
    [('lag', '0'), ('score.run', '5'), ('repair', 'yes'), ('max_gap', 'none')]
    """
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += named_values(value, f"{prefix}{name}.")
        elif value is None:
            found.append((f"{prefix}{name}", "none"))
        elif isinstance(value, bool):
            found.append((f"{prefix}{name}", "yes" if value else "no"))
        else:
            found.append((f"{prefix}{name}", str(value)))
    return found


def inputs_tables(inputs: Sequence[Mapping[str, Any]], recordings: int) -> list[Table]:
    """The files that were read, and apart from them their long digests."""
    owners = _owners(inputs, recordings)
    rows: list[list[Cell]] = [
        [owner, each["name"], each["size"]] for owner, each in zip(owners, inputs, strict=True)
    ]
    digests: list[list[Cell]] = [
        [owner, each["name"], each["digest"]] for owner, each in zip(owners, inputs, strict=True)
    ]
    return [
        Table("Files that were read", ["", "name", "bytes"], rows),
        Table("Their digests (BLAKE2b, hexadecimal)", ["", "name", "digest"], digests),
    ]


def _owners(inputs: Sequence[Mapping[str, Any]], recordings: int) -> list[str]:
    """Which receiver each file is of: the videos of each are followed by their tables."""
    videos = [Path(each["name"]).suffix.lower() in FORMATS for each in inputs]
    first = [int(here and not before) for before, here in pairwise([False, *videos])]
    numbers = [*itertools.accumulate(first)]
    known = numbers and numbers[-1] == recordings
    return [f"R{number}" if known else "" for number in numbers]


def _figure(name: str, value: float) -> Cell:
    return (value, percent(value, 1)) if name.endswith("_share") else int(value)


def _longest(total: int) -> str:
    return f"the longest {LISTED} of {count(total)}, by time" if total > LISTED else "by time"


def _rest(total: int) -> str:
    return f"{count(total - LISTED)} more are not listed here" if total > LISTED else ""
