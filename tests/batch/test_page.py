"""The tables of a batch: complete, self-contained, readable by day, by night and on a phone."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from miostitch.batch.page import COLUMNS, chart_lines, csv_text, html_text, write_tables
from miostitch.execution.results import ReceiverOutcome, SessionOutcome
from tests.chromium import browser
from tests.report.test_page import CONTRASTS, DESKTOP, PHONE


def outcome(
    day: int, *, warnings: tuple[str, ...] = (), doubtful: int | None = None
) -> SessionOutcome:
    lost = [ReceiverOutcome("left", 0, day / 100), ReceiverOutcome("right", 1, 0.05)]
    return SessionOutcome(
        f"ses-{day}", f"/x/{day}.yml", "done", 0, None, f"2026-03-{day:02}T09:30:00+00:00", 1800.5,
        36_000, 35_000, doubtful, 1000, 12, None, 0.99, lost, 180 - day, list(warnings),
        f"/lab/day {day}/S_report.html",
    )  # fmt: skip


FAILED = SessionOutcome("bad", "/x/bad.yml", "failed", 3, "x.avi: <no> table; put it there")


def test_csv_has_every_number() -> None:
    rows = [*csv.DictReader(io.StringIO(csv_text([outcome(1, warnings=("a", "b")), FAILED])))]
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["lost"] == "left: 0.01; right: 0.05"
    assert rows[0]["lag"] == "left: 0; right: 1"
    assert rows[0]["warnings"] == "a; b"
    assert (rows[1]["exit_code"], rows[1]["frames"]) == ("3", "")


def test_page_links_reports_and_escapes() -> None:
    text = html_text([outcome(1), outcome(2, doubtful=7), FAILED], Path("/lab"))
    assert 'href="day%201/S_report.html"' in text
    assert "&lt;no&gt; table" in text
    assert "3 sessions: 1 session to look at" in text
    assert "doubtful" in text
    assert "doubtful" not in html_text([outcome(1)], Path("/lab"))
    assert "<script" not in text
    assert not re.search(r'(src|href)="https?:', text)


def test_chart_shows_losses_over_days() -> None:
    left, right = chart_lines([outcome(3), outcome(1), outcome(2)])
    assert [x for x, _, _ in left.dots] == sorted(x for x, _, _ in left.dots)
    heights = [y for _, y, _ in left.dots]
    assert heights == sorted(heights, reverse=True)  # it loses more from day to day
    assert len({y for _, y, _ in right.dots}) == 1
    assert chart_lines([outcome(1)]) == []


def test_tables_are_replaced(tmp_path: Path) -> None:
    write_tables([FAILED], tmp_path)
    write_tables([outcome(1)], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"batch.csv", "batch.html"}
    assert "bad" not in (tmp_path / "batch.csv").read_text()


@pytest.mark.browser
@pytest.mark.parametrize("view", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_in_a_browser(tmp_path: Path, view: dict[str, object], scheme: str) -> None:
    _, page_path = write_tables([outcome(day) for day in range(1, 9)] + [FAILED], tmp_path)
    with browser() as chromium, chromium.new_context(**view, color_scheme=scheme) as context:
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(Path(page_path).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(CONTRASTS)[0] >= 4.5
        assert page.locator("svg.chart circle").count() == 16
        assert said == []


def long(day: int) -> SessionOutcome:
    """A session of a long recording with long names, every column of which is filled."""
    names = ("receiver_left_antenna", "receiver_right_antenna", "receiver_top")
    return replace(
        outcome(day, warnings=("odd",), doubtful=12_345),
        name=f"2026-11-{day:02}_mouse{day}_openfield",
        frames=648_000, intact=640_000, damaged=8000, not_received=1234, denoised=639_000,
        duration_s=32_400.0,
        receivers=[ReceiverOutcome(name, n, 0.2) for n, name in enumerate(names)],
    )  # fmt: skip


def test_page_names_receivers_with_their_losses_and_lags() -> None:
    text = html_text([long(1), FAILED], Path("/lab"))
    assert '<span class="unbroken">20.00 %</span>' in text  # whose lag is 0
    assert '<span class="unbroken">20.00 %, lag 2</span>' in text
    assert "failed (exit code 3)" in text


@pytest.mark.browser
def test_all_columns_are_seen_at_1280_pixels(tmp_path: Path) -> None:
    _, page_path = write_tables([long(day) for day in range(1, 9)] + [FAILED], tmp_path)
    with browser() as chromium:
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.goto(Path(page_path).as_uri())
        hidden = "[...document.querySelectorAll('.scroll')].map(e => e.scrollWidth - e.clientWidth)"
        assert page.evaluate(hidden) == [0]
