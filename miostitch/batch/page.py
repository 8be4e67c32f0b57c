"""The tables of a batch: ``batch.csv`` for programs, ``batch.html`` for people."""

import csv
import io
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from miostitch.errors import OutputExistsError, ResourceError
from miostitch.execution.results import ReceiverOutcome, SessionOutcome
from miostitch.report.page import render_plain
from miostitch.text import amount, clock

CSV, HTML = "batch.csv", "batch.html"
TEMPLATE = Path(__file__).with_name("templates") / "batch.html"
MARK, MARKED = "<title>miostitch batch", 4096  # and the characters in which it is
COLUMNS = (
    "name",
    "state",
    "exit_code",
    "start",
    "duration_s",
    "frames",
    "intact",
    "doubtful",
    "damaged",
    "not_received",
    "denoised",
    "agreement",
    "lag",
    "lost",
    "battery",
    "warnings",
    "error",
    "file",
    "report",
)
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 480, 220, 64, 12, 14, 34
"""Of the chart, and the room around its lines."""


class Line(NamedTuple):
    """A receiver's losses over time, in units of the chart."""

    name: str
    number: int
    points: str
    dots: list[tuple[float, float, str]]


def write_tables(outcomes: Sequence[SessionOutcome], folder: Path) -> list[str]:
    """Write both tables, in the place of those of an earlier batch alone."""
    texts = {CSV: csv_text(outcomes), HTML: html_text(outcomes, folder)}
    require_own_tables(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            staged = folder / f".{name}.{os.getpid()}"
            staged.write_text(text, "utf-8", newline="")
            staged.replace(folder / name)
    except OSError as error:
        raise ResourceError(f"{folder}: cannot be written: {error.strerror}") from error
    return [str(folder / name) for name in texts]


def require_own_tables(folder: Path) -> None:
    """Refuse to write over what is no table of an earlier batch."""
    begins = {CSV: ",".join(COLUMNS[:3]), HTML: MARK}
    for name, begin in begins.items():
        path = folder / name
        if path.exists() and begin not in path.read_text("utf-8", "replace")[:MARKED]:
            msg = f"{path}: exists and is no table of a batch"
            raise OutputExistsError(f"{msg}; move it away, or name another folder with -o")


def csv_text(outcomes: Sequence[SessionOutcome]) -> str:
    """One line per session; receivers and warnings are separated by semicolons."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for outcome in outcomes:
        cells: dict[str, Any] = {**vars(outcome)}
        receivers = outcome.receivers or []
        cells["lag"] = "; ".join(f"{each.name}: {each.lag}" for each in receivers)
        cells["lost"] = "; ".join(f"{r.name}: {r.lost}" for r in receivers if r.lost is not None)
        cells["warnings"] = "; ".join(outcome.warnings or [])
        writer.writerow("" if cells[name] is None else cells[name] for name in COLUMNS)
    return text.getvalue()


def html_text(outcomes: Sequence[SessionOutcome], folder: Path) -> str:
    """A page that needs nothing else."""
    attention = [outcome for outcome in outcomes if outcome.needs_attention]
    waiting = [outcome for outcome in outcomes if outcome.state == "not begun"]
    verdict = f"{amount(len(outcomes), 'session')}: "
    verdict += f"{amount(len(attention), 'session')} to look at" if attention else "all are fine"
    if waiting:
        verdict += f", {len(waiting)} not begun"
    facts = {
        "verdict": verdict.replace("1 sessions", "1 session"),
        "good": not attention and not waiting,
        "rows": [_row(outcome, folder) for outcome in outcomes],
        "doubtful": any(outcome.doubtful is not None for outcome in outcomes),
        "denoised": any(outcome.denoised is not None for outcome in outcomes),
        "attention": attention,
        "lines": chart_lines(outcomes),
        "axis": _axis(outcomes),
        "size": (WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM),
    }
    return render_plain(TEMPLATE, facts)


def _row(outcome: SessionOutcome, folder: Path) -> dict[str, Any]:
    """What a line of the table shows."""
    link = None if outcome.report is None else Path(os.path.relpath(outcome.report, folder))
    receivers = outcome.receivers or []
    return {
        "outcome": outcome,
        "link": None if link is None else link.as_posix(),
        "start": "" if outcome.start is None else outcome.start[:16].replace("T", " "),
        "duration": ""
        if outcome.duration_s is None
        else clock(outcome.duration_s).partition(".")[0],
        "intact": _share(outcome.intact, outcome.frames),
        "agreement": "" if outcome.agreement is None else f"{100 * outcome.agreement:.2f} %",
        "receivers": [(each.name, _receiver(each)) for each in receivers],
    }


def _receiver(receiver: ReceiverOutcome) -> str:
    lost = "" if receiver.lost is None else f"{100 * receiver.lost:.2f} %"
    return ", ".join(filter(None, (lost, f"lag {receiver.lag}" if receiver.lag else "")))


def _share(part: int | None, total: int | None) -> str:
    return "" if part is None or not total else f"{100 * part / total:.1f} %"


def _timed(outcomes: Sequence[SessionOutcome]) -> list[tuple[float, SessionOutcome]]:
    """Sessions that have a time, by it."""
    found = [(datetime.fromisoformat(o.start).timestamp(), o) for o in outcomes if o.start]
    return sorted(found, key=lambda each: each[0])


def _most(outcomes: Sequence[SessionOutcome]) -> float:
    """The largest loss, which the chart is as high as."""
    lost = [r.lost for o in outcomes for r in o.receivers or [] if r.lost is not None]
    return max([*lost, 0.01])


def chart_lines(outcomes: Sequence[SessionOutcome]) -> list[Line]:
    """Losses of each receiver over the sessions, if there is more than one of them."""
    timed = _timed(outcomes)
    if len({time for time, _ in timed}) < 2:
        return []
    first, last, most = timed[0][0], timed[-1][0], _most(outcomes)
    dots: dict[str, list[tuple[float, float, str]]] = {}
    for time, outcome in timed:
        x = LEFT + (WIDTH - LEFT - RIGHT) * (time - first) / (last - first)
        for each in outcome.receivers or []:
            if each.lost is not None:
                y = TOP + (HEIGHT - TOP - BOTTOM) * (1 - each.lost / most)
                told = f"{outcome.name}, {each.name}: {100 * each.lost:.2f} % lost"
                dots.setdefault(each.name, []).append((round(x, 1), round(y, 1), told))
    return [
        Line(name, number % 6, " ".join(f"{x},{y}" for x, y, _ in each), each)
        for number, (name, each) in enumerate(dots.items())
    ]


def _axis(outcomes: Sequence[SessionOutcome]) -> dict[str, str]:
    """What stands at the ends of the axes."""
    days = [outcome.start[:10] for _, outcome in _timed(outcomes) if outcome.start]
    return {
        "most": f"{100 * _most(outcomes):.1f} %",
        "first": days[0] if days else "",
        "last": days[-1] if days else "",
    }
