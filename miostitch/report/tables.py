"""What a report says in words and tables."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from miostitch.buffers.repair import describe_evidence
from miostitch.ranges import format_frames, runs
from miostitch.report.statistics import Tables, binned, hopeless_stretches, losses, resets, tracks
from miostitch.schema import REPAIRED_COLUMNS

LISTED = 100
"""Most rows of a table in a report."""

LIST_CHARACTERS = 100_000
"""Longest list of frames that a shell takes as one argument, with room to spare."""

PARTS = 20
"""Rows of the table beside the timeline."""

Cell = str | int | float | tuple[float, str] | None
"""A number is sorted as it is, of a pair the first is sorted by and the second shown."""

Summary = Mapping[str, Any]


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


def verdict(tables: Tables, summary: Summary, recordings: Sequence[Mapping[str, Any]]) -> Verdict:
    """Say in one sentence what became of the recording."""
    total = tables.count
    damaged, hopeless = (int(tables.frames[n].sum()) for n in ("damaged", "unrecoverable"))
    unseen = sum(last - first + 1 for first, last in summary.get("lost_frame_num", []))
    said = [f"{_many(damaged, 'is', 'are')} damaged" if damaged else "none is damaged"]
    whom = count(hopeless) + " of them" if hopeless < damaged else "any of them"
    whom = "it" if damaged == 1 else whom
    said.append(f"no receiver has {whom} whole" if hopeless else "")
    said.append(f"{_many(unseen, 'more was', 'more were')} seen by nobody" if unseen else "")
    head = f"Of {_many(total, 'frame', 'frames')} {percent(total - damaged, total)} are sound: "
    sentence = head + ", ".join(filter(None, said)) + "."
    mood = "sound" if not damaged and not unseen else "damaged"
    if shifted(summary):
        mood = "shifted"
        sentence = (
            "Do not use this result: pictures and tables are shifted against each other, frames "
            "may stand under wrong numbers; stitch again with --lag auto."
        )
    whole = int((tables.frames["missing_pixels"] == 0).sum())
    length = moment(total, tables.fps)
    figures = [
        ("frames", count(total), f"{length} at {float(tables.fps):.6g} frames per second"),
        ("complete", percent(whole, total), f"{count(whole)} frames without a missing pixel"),
    ]
    best = max((r["whole"] for r in recordings if "whole" in r), default=None)
    if best is not None and len(recordings) > 1:
        figures.append(
            (
                "best receiver alone",
                percent(best, total),
                f"{count(best)} frames whole by its table",
            )
        )
    figures.append(("damaged", count(damaged), f"{percent(damaged, total)} of the frames"))
    figures.append(("unrecoverable", count(hopeless), "incomplete in every receiver"))
    if "lost_frame_num" in summary:
        figures.append(("seen by nobody", count(unseen), "frames that are not in the result"))
    return Verdict(mood, sentence, figures)


def shifted(summary: Summary) -> bool:
    """Whether a lag was measured and not applied."""
    return any(
        each.get("measured_lag") not in (None, each.get("lag"))
        for each in summary.get("recordings", [])
    )


def recordings_table(recordings: Sequence[Mapping[str, Any]], tables: Tables) -> Table:
    """What each receiver saw, lost and gave."""
    columns = {
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
    shown = {k: t for k, t in columns.items() if all(k in r for r in recordings) and recordings}
    rows = [
        [f"R{number + 1}", recording["name"], *(_figure(k, recording[k]) for k in shown)]
        for number, recording in enumerate(recordings)
    ]
    return Table("What each receiver heard and gave", ["", "recording", *shown.values()], rows)


def parts_table(tables: Tables) -> Table:
    """The timeline as numbers: the recording in twenty parts."""
    step = max(1, -(-tables.count // PARTS))
    counts = {name: binned(values, step).tolist() for name, values in tracks(tables)}
    chosen = [f"source{n}" for n in range(len(tables.names))]
    if any(counts["composed"]):
        chosen.append("composed")
    titles = {f"source{n}": f"from R{n + 1}" for n in range(len(tables.names))}
    names = [*chosen, "damaged", "unrecoverable"]
    rows = []
    for number in range(len(counts["damaged"])):
        first, last = number * step, min((number + 1) * step, tables.count) - 1
        span = (float(first), f"{first}-{last}")
        rows.append([span, moment(first, tables.fps), *(counts[name][number] for name in names)])
    heads = ["frames", "from", *(titles.get(name, name) for name in names)]
    return Table(f"The same in numbers, {count(step)} frames a row", heads, rows)


def losses_table(tables: Tables) -> tuple[Table, list[list[int]]]:
    """Runs of frames that are not whole, and how many runs there are of each length."""
    found = losses(tables)
    longest = max(len(each["lengths"]) for each in found)
    heads = ["", "frames not whole", "runs", "longest run", *map(length_label, range(longest))]
    names = [*(f"R{n + 1}" for n in range(len(found) - 1)), "result"]
    lengths = [each["lengths"] + [0] * (longest - len(each["lengths"])) for each in found]
    rows = [
        [name, each["frames"], each["runs"], each["longest"], *counts]
        for name, each, counts in zip(names, found, lengths, strict=True)
    ]
    return Table("How many runs of so many frames", heads, rows), lengths


def length_label(number: int) -> str:
    """The lengths of runs that a bin of :func:`miostitch.report.statistics.run_lengths` counts."""
    low, high = (1 << max(number - 1, 0)) + (number > 0), 1 << number
    return str(high) if low >= high else f"{low}-{high}"


def hopeless_tables(tables: Tables, summary: Summary) -> list[Table]:
    """What no receiver has: frames, and parts of frames."""
    found = []
    lost = summary.get("lost_frame_num", [])
    if lost:
        ordered = sorted(lost, key=lambda span: span[0] - span[1])
        rows: list[list[Cell]] = [
            [plain(first), plain(last), last - first + 1, _seconds(last - first + 1, tables)]
            for first, last in ordered[:LISTED]
        ]
        heads = ["first frame_num", "last frame_num", "frames", "seconds"]
        found.append(Table("Frames that nobody saw", heads, rows, _rest(len(lost))))
    total, stretches = hopeless_stretches(tables, LISTED)
    if total:
        rows = [
            [
                plain(each["first"]),
                plain(each["last"]),
                each["last"] - each["first"] + 1,
                moment(each["first"], tables.fps),
                plain(each["first_num"]),
                plain(each["last_num"]),
                each["missing_pixels"],
            ]
            for each in stretches
        ]
        heads = [
            "first frame", "last frame", "frames", "at", "first frame_num", "last frame_num",
            "missing pixels",
        ]  # fmt: skip
        caption = "Frames that no receiver has whole"
        found.append(Table(caption, heads, rows, _rest(total)))
    return found


def removal_lists(tables: Tables) -> list[dict[str, Any]]:
    """Frames to leave out, as ``remove-frames`` takes them; no text where a shell would not."""
    found = []
    for name, title in (("damaged", "all damaged frames"), ("unrecoverable", "unrecoverable only")):
        frames = np.flatnonzero(tables.frames[name])
        spans = len(runs(frames))
        text = format_frames(frames) if spans * 2 < LIST_CHARACTERS else ""
        if len(text) > LIST_CHARACTERS:
            text = ""
        if len(frames):
            found.append({"name": name, "title": title, "frames": len(frames), "text": text})
    return found


def lag_table(summary: Summary) -> Table:
    """Lag and clock of each receiver."""
    rows = [
        [
            f"R{number + 1}",
            _known(each.get("lag")),
            _known(each.get("measured_lag")),
            each.get("lag_evidence", ""),
            _known(each.get("offset_s")),
            _known(each.get("drift_ppm")),
        ]
        for number, each in enumerate(summary.get("recordings", []))
    ]
    heads = ["", "lag applied", "lag measured", "evidence", "clock ahead s", "drift ppm"]
    return Table("Lag and clocks", heads, rows)


def resets_table(tables: Tables) -> Table:
    """Where the device began to count anew."""
    found = resets(tables.frames["frame_num"])
    rows = [
        [
            plain(each["frame"]),
            moment(each["frame"], tables.fps),
            plain(each["before"]),
            plain(each["after"]),
        ]
        for each in found[:LISTED]
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
    rows: list[list[Cell]] = [[f"R{n + 1}", sum(each), *each] for n, each in enumerate(counts)]
    total = Table("Repaired header cells", ["", "all", *REPAIRED_COLUMNS], rows)
    first = {name: values[:LISTED].tolist() for name, values in repairs.items()}
    cells: list[list[Cell]] = [
        [
            f"R{recording + 1}",
            segment,
            plain(row),
            REPAIRED_COLUMNS[column],
            plain(old),
            plain(new),
            describe_evidence(e),
        ]
        for recording, segment, row, column, old, new, e in zip(
            *(
                first[k]
                for k in ("recording", "segment", "row", "column", "old", "new", "evidence")
            ),
            strict=True,
        )
    ]
    heads = ["", "segment", "row", "column", "as recorded", "repaired", "witnesses"]
    rest = _rest(len(repairs["row"]))
    return [total, Table("The repaired cells", heads, cells, rest)]


def distribution_table(found: Mapping[str, Any]) -> Table:
    """Noise and edges of each receiver in numbers."""
    rows = [
        [
            f"R{number + 1}",
            noise["frames"],
            noise["zero"],
            noise["frames"] - noise["zero"],
            _rounded(noise["median"], 100),
            _rounded(edges["median"]),
        ]
        for number, (noise, edges) in enumerate(
            zip(found["noise"]["recordings"], found["edges"]["recordings"], strict=True)
        )
    ]
    heads = [
        "", "frames seen", "without noise", "with noise", "median noise % of pixels",
        "median edges per pixel",
    ]  # fmt: skip
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
        else:
            found.append((f"{prefix}{name}", _said(value)))
    return found


def inputs_table(inputs: Iterable[Mapping[str, Any]]) -> Table:
    """The files that were read."""
    rows: list[list[Cell]] = [[i["name"], i["size"], i["digest"]] for i in inputs]
    return Table("Files that were read", ["name", "bytes", "digest"], rows)


def _figure(name: str, value: Any) -> Cell:
    if name.endswith("_share"):
        return (float(value), percent(value, 1))
    return int(value)


def _many(number: int, one: str, more: str) -> str:
    return f"{count(number)} {one if number == 1 else more}"


def _known(value: Any) -> Cell:
    return "unknown" if value is None else value


def _said(value: Any) -> str:
    if value is None:
        return "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _rounded(value: float | None, times: float = 1) -> Cell:
    return None if value is None else round(value * times, 3)


def _seconds(frames: int, tables: Tables) -> float:
    return round(float(frames / tables.fps), 3)


def _rest(total: int) -> str:
    return f"{count(total - LISTED)} more are not listed here" if total > LISTED else ""
