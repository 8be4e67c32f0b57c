"""The start page and the page of thresholds, as a person uses them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from miostitch.config.files import load_config
from tests.chromium import browser, complaints
from tests.viewer.labs import make_lab
from tests.viewer.test_page import CONTRASTS, PIXELS
from tests.viewers import started

pytestmark = pytest.mark.browser

WIDER = "document.documentElement.scrollWidth"
NAMELESS = """() => [...document.querySelectorAll("button, input, select, canvas, progress, a")]
  .filter((each) => each.offsetParent && !each.labels?.length && !each.ariaLabel
    && !each.hasAttribute("aria-labelledby") && !each.textContent.match(/\\w/))
  .map((each) => each.outerHTML)"""


@contextmanager
def opened(folder: Path, scheme: str = "light", width: int = 1280) -> Iterator[Any]:
    """The start page; at the end there must be no complaint and no request to anywhere else."""
    with started(folder) as url, browser() as chromium:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        wrong = complaints(context, url)
        page = context.new_page()
        page.goto(url)
        page.locator("#looking").wait_for(state="hidden")
        yield page
        context.close()
    # what a report says of its charts, and what the page shows as a notice
    known = (
        "info: [bokeh",
        "error: Failed to load resource: the server responded with a status of 40",
    )
    assert "\n".join(each for each in wrong if not each.startswith(known)) == ""


def card(page: Any, name: str, where: str = "sessions") -> Any:
    return page.locator(f"#{where} article").filter(has=page.get_by_role("heading", name=name))


def test_what_lies_in_the_folder_and_inspect(lab: Path) -> None:
    with opened(lab) as page:
        assert page.locator("#folder").inner_text() == str(lab)
        names = page.locator("#sessions h3").all_inner_texts()
        assert names == ["broken", "finished", "waiting", "bare"]
        assert "unknown key" in card(page, "broken").inner_text()
        assert "no session file yet" in card(page, "bare").inner_text()
        assert str(lab / "waiting" / "stitched") in card(page, "waiting").inner_text()
        card(page, "waiting").get_by_role("button", name="Inspect").click()
        table = card(page, "waiting").locator(".found table")
        table.wait_for()
        assert table.locator("thead th").all_inner_texts() == ["", "left", "right"]
        assert "20 \u00d7 20" in table.inner_text()
        assert "Together:" in card(page, "waiting").inner_text()


def test_a_result_and_its_report_are_opened(lab: Path) -> None:
    with opened(lab) as page:
        result = card(page, "finished", "results")
        with page.context.expect_page() as new:
            result.get_by_role("link", name="Report").click()
        report = new.value
        report.locator("h1").first.wait_for()
        assert "finished" in report.title()
        assert report.evaluate("origin") == "null"
        report.close()
        result.get_by_role("button", name="View").click()
        page.locator("#pictures canvas[aria-label*='frame 0']").first.wait_for()
        assert page.locator("#name").inner_text() == "finished.zarr"
        page.locator("#home").click()
        page.locator("#sessions article").first.wait_for()


def test_a_session_is_described_run_and_opened(own: Path) -> None:
    with opened(own) as page:
        card(page, "bare").get_by_role("button", name="Write session file").click()
        page.locator("#done", has_text=str(own / "bare" / "session.yml")).wait_for()
        card(page, "bare").get_by_role("button", name="Run").click()
        page.locator("#run-title", has_text="Running bare").wait_for()
        assert card(page, "waiting").get_by_role("button", name="Run").is_disabled()
        card(page, "bare").locator(".outcome", has_text="Done.").wait_for(timeout=120_000)
        page.locator("#run").wait_for(state="hidden")
        assert card(page, "bare", "results").get_by_role("link", name="Report").is_visible()
        assert card(page, "waiting").get_by_role("button", name="Run").is_enabled()


def test_what_fails_ends_in_a_notice(own: Path) -> None:
    with opened(own) as page:
        (own / "waiting" / "receiver2.avi").unlink()
        card(page, "waiting").get_by_role("button", name="Inspect").click()
        page.locator("#problem", has_text="receiver2.avi: no such video").wait_for()
        card(page, "waiting").get_by_role("button", name="Run").click()
        failed = card(page, "waiting").locator(".outcome.bad", has_text="Failed:")
        failed.wait_for(timeout=120_000)
        assert "no such video" in failed.inner_text()


@pytest.mark.slow
def test_a_run_is_stopped(tmp_path: Path) -> None:
    with opened(make_lab(tmp_path, 4000)) as page:
        card(page, "waiting").get_by_role("button", name="Run").click()
        page.locator("#progress-text", has_text="of").wait_for(timeout=120_000)
        page.locator("#stop").click()
        card(page, "waiting").locator(".outcome", has_text="Stopped.").wait_for(timeout=120_000)


def thresholds(page: Any) -> None:
    card(page, "finished", "results").get_by_role("link", name="Thresholds").click()
    page.locator("#told", has_text="frames are noisy").wait_for(timeout=120_000)


def noisy(page: Any, count: int) -> None:
    page.locator("#told", has_text=f"{count} of 60 frames are noisy").wait_for(timeout=120_000)


def test_thresholds_are_tried_and_saved(own: Path) -> None:
    with opened(own) as page:
        thresholds(page)
        threshold = page.locator("input[name='noise_patch.gradient_config.threshold']")
        threshold.first.focus()
        page.keyboard.press("Home")  # every row is noisy at 0
        page.locator("#problem", has_text="is free of noise").wait_for(timeout=120_000)
        page.locator("#next").click()
        page.locator("#slider[aria-valuetext$=', noisy']").wait_for()
        page.locator("#denoised[aria-label^='denoised']").wait_for()
        threshold.last.fill("1000")
        threshold.last.press("Enter")
        page.locator("#problem").wait_for(state="hidden")
        assert threshold.first.input_value() == "100", "the slider's end"
        page.locator("#what").select_option("maximum")
        page.locator("#original[aria-label='recorded, maximum projection']").wait_for()
        assert page.evaluate(PIXELS, 1)[:2] == [20, 20]
        page.locator("#file").fill("mine")
        assert str(own / "mine.yml") in page.locator("#where").inner_text()
        page.locator("#save").click()
        page.locator("#done", has_text=str(own / "mine.yml")).wait_for()
        assert load_config(own / "mine.yml").noise_patch.gradient_config.threshold == 1000
        page.locator("#save").click()
        page.locator("#problem", has_text="exists").wait_for()
        page.locator("#file").fill("../mine")
        page.locator("#save").click()
        page.locator("#problem", has_text="a name of letters").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_both_pages_fit_and_can_be_read(lab: Path, scheme: str, width: int) -> None:
    with opened(lab, scheme, width) as page:
        card(page, "waiting").get_by_role("button", name="Inspect").click()
        card(page, "waiting").locator(".found table").wait_for()
        for _ in range(2):
            assert page.evaluate(WIDER) == width
            assert page.evaluate(NAMELESS) == []
            assert page.evaluate(CONTRASTS) == []
            if page.locator("#results").count():
                thresholds(page)
