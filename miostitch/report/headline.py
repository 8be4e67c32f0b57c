"""The first section of a report: one sentence, the shares of one total, and a few figures."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from miostitch.execution.results import JSON
from miostitch.ranges import rising_runs
from miostitch.report.data import ReportData
from miostitch.report.statistics import FrameStates, device_runs, intact_alone
from miostitch.report.tables import count, percent
from miostitch.schema import CERTAIN, DOUBTFUL
from miostitch.text import amount, clock, describe_reasons

STATES = {
    "intact": "complete and without noise",
    "noisy": "complete, with noisy rows",
    "incomplete": "pixels are missing that another receiver has",
    "unrecoverable": "incomplete in every receiver",
}
"""The states of frames, which add up to all frames of the result."""

STATES_ALONE = STATES | {
    "incomplete": "pixels are missing, although rows of all buffers are there",
    "unrecoverable": "buffers are missing",
}
"""The same where there is one receiver."""

REMOVERS = {
    "drop": "denoise",
    "end": "denoise (end_frame)",
    "trim": "trim",
    "remove_frames": "remove-frames",
    "select": "a selection in Python",
}
"""Steps of a history that remove frames, as a person knows them."""

RUNS_NAMED = 3  # runs of the device whose counter is in the headline


@dataclass(frozen=True)
class Headline:
    """The sentence, whether it is good news, and what stands below it."""

    mood: str  # ``good``, ``damaged`` or ``shifted``
    sentence: str
    shares: Sequence[tuple[str, int, str, str]]  # State, frames, their share, meaning
    removed: str  # Frames that are not in the result, and by what; empty: none
    figures: Sequence[tuple[str, str, str]]  # Name, value, and what it means


def describe_result(
    data: ReportData, summary: JSON, stitch: JSON, config: JSON, history: Any
) -> Headline:
    """Say what became of the recording; ``stitch``: the summary of the stitch it goes back to."""
    states = vars(FrameStates.of(data))
    total = data.count
    alone = len(data.names) == 1
    meaning = STATES_ALONE if alone else STATES
    shares = [
        (name, number, percent(number, total), meaning[name]) for name, number in states.items()
    ]
    unseen = summary.get("not_received", 0)
    mood = "damaged" if states["intact"] < total or unseen else "good"
    sentence = _sentence(states, total, unseen, alone=alone, doubtful=_count_doubtful(data))
    if _is_shifted(stitch):
        mood = "shifted"
        sentence = (
            "Do not use this result: video and table of a receiver are shifted against each "
            "other, so frame numbers and times may be wrong. Stitch again with --lag auto."
        )
    removed = _removed_text(removed_frames(stitch, history))
    figures = [*_frame_figures(data, summary, config), *_time_figures(data)]
    return Headline(mood, sentence, shares, removed, figures)


def removed_frames(stitch: JSON, history: Any) -> list[tuple[str, int, int]]:
    """Which steps removed how many of how many frames, in their order."""
    found = []
    if "recordings" in stitch:
        dropped = len(stitch.get("dropped_frame_num", ()))
        uncertain, before = stitch.get("dropped_uncertain", 0), dropped + stitch["frames"]
        options = {"--drop-damaged": dropped - uncertain, "--min-confidence": uncertain}
        found += [(f"stitch {option}", n, before) for option, n in options.items() if n]
    steps: list[Mapping[str, Any]] = [each for each in history if isinstance(each, Mapping)]
    for each in steps:
        step = str(each.get("step"))
        before = each.get("frames_before", each.get("frames"))
        left = each.get("frames_after")
        if step == "drop":
            left = each["frames"] - each["dropped"]
        elif step == "end":
            left = each["end"] + 1
        if step in REMOVERS and before is not None and left is not None and left < before:
            why = describe_reasons(each.get("dropped_as", {}))
            found.append((f"{REMOVERS[step]}{why}", before - left, before))
    return found


def _removed_text(removed: Iterable[tuple[str, int, int]]) -> str:
    said = [
        f"{count(number)} of {count(before)} frames were removed by {step}"
        for step, number, before in removed
    ]
    return "; then ".join(said) + "." if said else ""


def _sentence(
    states: Mapping[str, int], total: int, unseen: int, *, alone: bool, doubtful: int
) -> str:
    intact = states["intact"]
    said = f"{count(intact)} of {amount(total, 'frame')} ({percent(intact, total)}) are intact"
    if doubtful:
        said += f", but {count(doubtful)} of these {'is' if doubtful == 1 else 'are'} doubtful"
    phrases = {
        "noisy": "noisy",
        "incomplete": "incomplete although another receiver has the missing pixels",
        "unrecoverable": "incomplete in every receiver",
    }
    if alone:
        phrases |= {"incomplete": "incomplete", "unrecoverable": "without all buffers"}
    others = [f"{count(states[n])} {text}" for n, text in phrases.items() if states[n]]
    said += f"; {', '.join(others)}." if others else "."
    if unseen:
        was = "was" if unseen == 1 else "were"
        by = "" if alone else " by all receivers"
        said += f" {amount(unseen, 'more frame')} {was} lost{by}."
    return said


def _is_shifted(summary: JSON) -> bool:
    """Whether another lag was measured than was applied."""
    lags = ((r.get("measured_lag"), r.get("lag")) for r in summary.get("recordings", []))
    return any(measured not in (None, applied) for measured, applied in lags)


def _frame_figures(data: ReportData, summary: JSON, config: JSON) -> list[tuple[str, str, str]]:
    """Figures of frames: of the result, of the best receiver, and of what buffers would give."""
    intact = int((~data.frames.damaged).sum())
    figures = [
        ("frames", count(data.count), _counter_text(data)),
        ("intact", percent(intact, data.count), f"{amount(intact, 'frame')} of the result"),
    ]
    if data.frames.filled is not None:
        epochs = amount(len(rising_runs(data.frames.frame_num)), "epoch")
        note = f"frames made to fill gaps, which no receiver has; {epochs}"
        figures.append(("filled", count(int(data.frames.filled.sum())), note))
    figures += _confidence_figures(data)
    alone = intact_alone(data)
    if alone and len(alone) > 1:
        best = max(range(len(alone)), key=lambda number: alone[number])
        note = f"R{best + 1} has {count(alone[best])} of these pixel by pixel"
        figures.append(("best single receiver", percent(alone[best], data.count), note))
    if config.get("by") == "frame" and len(data.names) > 1:
        lacking = int((data.frames.missing_pixels > 0).sum())
        left = int(data.frames.unrecoverable.sum())
        note = f"with --by buffer; by frame it is {count(lacking)}"
        figures.append(("incomplete by buffer", count(left), note))
    if "not_received" in summary:
        note = "frames lost by all receivers; not in the result"
        figures.append(("not received", count(summary["not_received"]), note))
    return figures


def _confidence_figures(data: ReportData) -> list[tuple[str, str, str]]:
    """How many frames are exact bit for bit, as far as can be told; nothing where nobody knows."""
    if np.isnan(data.confidence).all():
        return []
    certain = int((data.confidence >= CERTAIN).sum())
    are = "is" if certain == 1 else "are"
    note = f"{amount(certain, 'frame')} {are} exact with {100 * CERTAIN:.0f} % certainty"
    if doubtful := _count_doubtful(data):
        note += f"; {amount(doubtful, 'intact frame')} {'is' if doubtful == 1 else 'are'} doubtful"
    return [("exact with certainty", percent(certain, data.count), note)]


def _count_doubtful(data: ReportData) -> int:
    """Frames that are intact and yet probably not exact; a confidence that is NaN is unknown."""
    return int(((data.confidence < DOUBTFUL) & ~data.frames.damaged).sum())


def _counter_text(data: ReportData) -> str:
    """The values of the device's counter, from restart to restart."""
    found = device_runs(data.frames.frame_num)
    if not len(found):
        return "their frame_num is not known"
    spans = [f"{first} to {last}" for _, _, first, last, _ in found[:RUNS_NAMED].tolist()]
    more = f", and {len(found) - RUNS_NAMED} runs more" if len(found) > RUNS_NAMED else ""
    restarts = f"; {amount(len(found) - 1, 'restart')}" if len(found) > 1 else ""
    return f"frame_num {', then '.join(spans)}{more}{restarts}"


def _time_figures(data: ReportData) -> list[tuple[str, str, str]]:
    """How long, when, and how fast."""
    times, last = data.clock, data.count - 1
    file = f"{float(data.fps):.6g}"
    if times.start is None:
        note = f"by the {file} frames per second of the file; no timestamps"
        return [("duration", clock(times.duration), note)]
    figures = [
        ("duration", clock(times.duration), "from the first to the last frame"),
        ("start (UTC)", *_date_and_time(times.of_day(0))),
        ("end (UTC)", *_date_and_time(times.of_day(last))),
    ]
    measured = f"{times.fps:.4g}" if times.fps else "unknown"
    note = f"frames per second by the timestamps; the file says {file}"
    return [*figures, ("frame rate", measured, note)]


def _date_and_time(text: str) -> tuple[str, str]:
    """The time of day, and the date below it."""
    date, _, time = text.partition(" ")
    return time.partition(".")[0], date
