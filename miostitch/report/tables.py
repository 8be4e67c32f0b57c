"""What a report says in words and tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.buffers.repair import describe_evidence
from miostitch.execution.results import JSON
from miostitch.ranges import format_frames, runs
from miostitch.report.data import ReportData
from miostitch.report.statistics import (
    Contribution,
    Distribution,
    Losses,
    binned,
    resets,
    tracks,
    unrecoverable_stretches,
)
from miostitch.schema import REPAIRED_COLUMNS, Evidence

LISTED = 100  # most rows of a table in a report
LIST_CHARACTERS = 100_000  # that a shell takes as one argument, with room to spare
PARTS = 20  # rows of the table below the timeline

Cell = str | int | float | tuple[float, str] | None
"""A number is sorted as it is, of a pair the first is sorted by and the second shown."""

CONTRIBUTIONS = {
    "frames": "frames seen",
    "absent": "frames lost",
    "whole": "frames whole",
    "buffers_lost": "buffers lost",
    "received_share": "buffers received",
    "noise_share": "noise",
    "chosen": "chosen",
    "buffers_given": "buffers given",
    "sole": "sole frames",
    "only_complete": "only whole",
    "sole_buffers": "sole buffers",
}
"""Columns of the table of receivers."""

EVIDENCE_MEANS = {
    Evidence.IDENTICAL: "several copies, all the same",
    Evidence.MAJORITY: "copies differ, most are the same",
    Evidence.STRETCHES: "copies differ, decided pixel by pixel",
    Evidence.SINGLE: "one receiver alone has it",
    Evidence.NOBODY: "missing in the result",
}


@dataclass(frozen=True)
class Table:
    """A table of a page."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """The one sentence, whether it is good news, and its figures."""

    mood: str
    sentence: str
    figures: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class RemovalList:
    """Frames to leave out."""

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


def moment(frame: float, fps: Fraction) -> str:
    """The time of a frame in the video, h:mm:ss.s.

    >>> moment(73_001, Fraction(20))
    '1:00:50.0'
    """
    tenths = int(Fraction(frame) / fps * 10)
    return f"{tenths // 36000}:{tenths // 600 % 60:02}:{tenths // 10 % 60:02}.{tenths % 10}"


def verdict(data: ReportData, summary: JSON, recordings: Sequence[Contribution]) -> Verdict:
    """Say in one sentence what became of the recording."""
    total = data.count
    damaged, unrecoverable = int(data.frames.damaged.sum()), int(data.frames.unrecoverable.sum())
    unseen = sum(last - first + 1 for first, last in summary.get("lost_frame_num", []))
    said = [f"{_many(damaged, 'is', 'are')} damaged" if damaged else "none is damaged"]
    if unrecoverable:
        whom = count(unrecoverable) + " of them" if unrecoverable < damaged else "any of them"
        said.append(f"no receiver has {'it' if damaged == 1 else whom} whole")
    if unseen:
        said.append(f"{_many(unseen, 'more was', 'more were')} seen by nobody")
    sound = percent(total - damaged, total)
    sentence = f"Of {_many(total, 'frame', 'frames')} {sound} are sound: {', '.join(said)}."
    mood = "damaged" if damaged or unseen else "sound"
    lags = ((r.get("measured_lag"), r.get("lag")) for r in summary.get("recordings", []))
    if any(measured not in (None, applied) for measured, applied in lags):
        mood = "shifted"
        sentence = (
            "Do not use this result: pictures and tables are shifted against each other, frames "
            "may stand under wrong numbers; stitch again with --lag auto."
        )
    whole = int((data.frames.missing_pixels == 0).sum())
    length = f"{moment(total, data.fps)} at {float(data.fps):.6g} frames per second"
    figures = [
        ("frames", count(total), length),
        ("complete", percent(whole, total), f"{count(whole)} frames without a missing pixel"),
    ]
    best = max((each.whole for each in recordings if each.whole is not None), default=None)
    if best is not None and len(recordings) > 1:
        note = f"{count(best)} frames whole by its table"
        figures.append(("best receiver alone", percent(best, total), note))
    figures.append(("damaged", count(damaged), f"{percent(damaged, total)} of the frames"))
    figures.append(("unrecoverable", count(unrecoverable), "incomplete in every receiver"))
    if "lost_frame_num" in summary:
        figures.append(("seen by nobody", count(unseen), "frames that are not in the result"))
    return Verdict(mood, sentence, figures)


def recordings_table(recordings: Sequence[Contribution]) -> Table:
    """What each receiver saw, lost and gave."""
    shown = {
        name: title
        for name, title in CONTRIBUTIONS.items()
        if all(getattr(each, name) is not None for each in recordings)
    }
    rows: list[list[Cell]] = [
        [f"R{number}", each.name, *(_figure(name, getattr(each, name)) for name in shown)]
        for number, each in enumerate(recordings, 1)
    ]
    return Table("What each receiver heard and gave", ["", "recording", *shown.values()], rows)


def parts_table(data: ReportData) -> Table:
    """The timeline as numbers: the recording in twenty parts."""
    step = max(1, -(-data.count // PARTS))
    counts = {name: binned(values, step).tolist() for name, values in tracks(data)}
    titles = {f"source{n}": f"from R{n + 1}" for n in range(len(data.names))}
    if any(counts["composed"]):
        titles["composed"] = "composed"
    titles |= {"damaged": "damaged", "unrecoverable": "unrecoverable"}
    rows: list[list[Cell]] = []
    for number, start in enumerate(range(0, data.count, step)):
        span = (float(start), f"{start}-{min(start + step, data.count) - 1}")
        rows.append([span, moment(start, data.fps), *(counts[name][number] for name in titles)])
    heads = ["frames", "from", *titles.values()]
    return Table(f"The same in numbers, {count(step)} frames a row", heads, rows)


def losses_table(found: Sequence[Losses]) -> Table:
    """Runs of frames that are not whole: of every receiver, and last of the result."""
    lengths = padded_lengths(found)
    names = [*(f"R{n}" for n in range(1, len(found))), "result"]
    rows: list[list[Cell]] = [
        [name, each.frames, each.runs, each.longest, *counts]
        for name, each, counts in zip(names, found, lengths, strict=True)
    ]
    labels = map(length_label, range(len(lengths[0])))
    heads = ["", "frames not whole", "runs", "longest run", *labels]
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
        rows.append([each.name.lower(), found, share, meaning])
    return Table("Evidence of each buffer", ["evidence", "buffers", "share", "meaning"], rows)


def unrecoverable_tables(data: ReportData, summary: JSON) -> list[Table]:
    """What no receiver has: frames, and parts of frames."""
    lost = sorted(summary.get("lost_frame_num", []), key=lambda span: span[0] - span[1])
    rows: list[list[Cell]] = []
    for first, last in lost[:LISTED]:
        frames = last - first + 1
        rows.append([plain(first), plain(last), frames, round(float(frames / data.fps), 3)])
    heads = ["first frame_num", "last frame_num", "frames", "seconds"]
    unseen = Table("Frames that nobody saw", heads, rows, _rest(len(lost)))
    stretches, rows = unrecoverable_stretches(data), []
    for first, last in stretches[:LISTED].tolist():
        where = [plain(first), plain(last), last - first + 1, moment(first, data.fps)]
        numbers = map(plain, data.frames.frame_num[[first, last]].tolist())
        missing = data.frames.missing_pixels[first : last + 1].sum(dtype=np.int64)
        rows.append([*where, *numbers, int(missing)])
    heads = ["first frame", "last frame", "frames", "at"]
    heads += ["first frame_num", "last frame_num", "missing pixels"]
    broken = Table("Frames that no receiver has whole", heads, rows, _rest(len(stretches)))
    return [table for table in (unseen, broken) if table.rows]


def removal_lists(data: ReportData) -> list[RemovalList]:
    """Frames to leave out: all damaged ones, or the unrecoverable ones only."""
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
    heads = ["", "lag applied", "lag measured", "evidence", "clock ahead s", "drift ppm"]
    return Table("Lag and clocks", heads, rows)


def resets_table(data: ReportData) -> Table:
    """Where the device's counter starts again."""
    found = resets(data.frames.frame_num)
    rows: list[list[Cell]] = [
        [plain(frame), moment(frame, data.fps), plain(before), plain(after)]
        for frame, before, after in found[:LISTED].tolist()
    ]
    heads = ["frame", "at", "frame_num before", "frame_num after"]
    return Table("Resets of the device", heads, rows, _rest(len(found)))


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
    heads = ["", "segment", "row", "column", "as recorded", "repaired", "witnesses"]
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
    heads = ["", "frames seen", "without noise", "with noise"]
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


def inputs_table(inputs: Iterable[Mapping[str, Any]]) -> Table:
    """The files that were read."""
    rows = [(i["name"], i["size"], i["digest"]) for i in inputs]
    return Table("Files that were read", ["name", "bytes", "digest"], rows)


def _figure(name: str, value: float) -> Cell:
    return (value, percent(value, 1)) if name.endswith("_share") else int(value)


def _many(number: int, one: str, more: str) -> str:
    return f"{count(number)} {one if number == 1 else more}"


def _rest(total: int) -> str:
    return f"{count(total - LISTED)} more are not listed here" if total > LISTED else ""
