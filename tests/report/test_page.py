"""The report in Chromium: offline, zoomed, sorted, dark, on a phone."""

import re
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import pytest

import miostitch
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from tests.chromium import browser

DESKTOP: dict[str, Any] = {"viewport": {"width": 1200, "height": 900}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
IMAGE = Path(__file__).parents[2] / "docs" / "images" / "report.png"

# The relative luminance of what stands before and behind a text, as WCAG defines their contrast.
CONTRASTS = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map((v) => v / 255).map(
      (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    const colour = getComputedStyle(element).backgroundColor;
    return colour === "rgba(0, 0, 0, 0)" ? behind(element.parentElement) : colour;
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*:not(script)")) {
    if (!element.offsetParent || !element.textContent.trim()) continue;
    const pair = [light(getComputedStyle(element).color), light(behind(element))].sort();
    found.push([(pair[1] + 0.05) / (pair[0] + 0.05), element.outerHTML.slice(0, 80)]);
  }
  return found.sort((a, b) => a[0] - b[0])[0];
}"""

BAD = ("error", "warning")

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a session of 3000 frames of which much is lost."""
    folder = tmp_path_factory.mktemp("report")
    config = miostitch.SimulationConfig(
        frames=3000, seed=5, height=100, width=100, buffer_loss=0.06, frame_loss=0.01,
        corruption=0.02, bursts=0.2, header_flips=0.002, resets=1,
    )  # fmt: skip
    with chdir(folder):  # the page names the files as they are given
        names = [str(path) for path in miostitch.simulate("in", config).recordings]
        stitch_files(names, "out", StitchOptions(by="buffer", codec=None))
    [path] = (folder / "out").glob("*_report.html")
    return path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as found:
        yield found


@contextmanager
def opened(chromium: Any, path: Path, **options: Any) -> Iterator[Any]:
    """The page, of which nothing may go wrong and nothing go out."""
    wrong: list[str] = []
    with chromium.new_context(offline=True, **options) as context:
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.extend([said.text] * (said.type in BAD)))
        page.on("request", lambda request: wrong.append(request.url))
        page.on("requestfailed", lambda request: wrong.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-drawn]", timeout=60_000)
        yield page
        allowed = (path.as_uri(), "data:", "blob:")
        assert [each for each in wrong if not each.startswith(allowed)] == []


def status(page: Any) -> str:
    text: str = page.inner_text("#timeline-status")
    return text


def press(page: Any, what: str) -> str:
    """Press a button of the timeline and read what it shows then."""
    before = status(page)
    page.click(f"[data-do={what}]")
    page.wait_for_selector(f"#timeline-status:not(:text-is({before!r}))")
    return status(page)


def test_offline_everything_is_drawn(chromium: Any, report: Path) -> None:
    with opened(chromium, report, **DESKTOP) as page:
        for name in ("timeline", "lost", "battery", "lengths", "heat", "noise", "edges"):
            canvas = page.locator(f"#plot-{name} canvas").first
            box = canvas.bounding_box()
            assert box["width"] > 300
            assert box["height"] > 200
        assert page.locator("article.frame img").count() > 6
        broken = "[...document.images].filter((image) => !image.naturalWidth).length"
        assert page.evaluate(broken) == 0


def test_the_timeline_zooms_down_to_single_frames(chromium: Any, report: Path) -> None:
    with opened(chromium, report, **DESKTOP) as page:
        whole = status(page)
        assert "frames 0 to 2,9" in whole
        assert "0:00:00.0 to 0:02:" in whole
        assert "a bar is 6 frames;" in whole
        near = press(page, "next")
        assert "a bar is 1 frame;" in near
        assert re.search(
            r"begins at 0:0\d:\d\d\.\d{3} \(20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} UTC\)", near
        )
        assert " 0 damaged" not in near
        assert press(page, "next") != near
        assert "a bar is 1 frame;" in press(page, "in")
        press(page, "out")
        press(page, "right")
        assert press(page, "whole").endswith(whole)
        # by dragging across, too
        page.locator("#plot-timeline").scroll_into_view_if_needed()
        box = page.locator("#plot-timeline").bounding_box()
        page.mouse.move(box["x"] + 300, box["y"] + 150)
        page.mouse.down()
        page.mouse.move(box["x"] + 400, box["y"] + 150, steps=5)
        page.mouse.up()
        page.wait_for_selector(f"#timeline-status:not(:has-text({whole!r}))")


def test_tables_are_sorted_by_their_heads(chromium: Any, report: Path) -> None:
    with opened(chromium, report, **DESKTOP) as page:
        table = page.locator("#unrecoverable table").last
        head = table.locator("th", has_text="missing pixels")

        def values() -> list[float]:
            column = head.evaluate("(th) => [...th.parentNode.children].indexOf(th) + 1")
            cells = table.locator(f"td:nth-child({column})")
            found: list[float] = cells.evaluate_all(
                "(tds) => tds.map((td) => Number(td.dataset.v))"
            )
            return found

        before = values()
        assert len({*before}) > 2
        head.locator("button").focus()
        page.keyboard.press("Enter")
        assert values() == sorted(before)
        assert head.get_attribute("aria-sort") == "ascending"
        page.keyboard.press("Enter")
        assert values() == sorted(before, reverse=True)
        assert head.get_attribute("aria-sort") == "descending"


def test_lists_are_copied_and_marks_hidden(chromium: Any, report: Path) -> None:
    with opened(chromium, report, **DESKTOP) as page:
        page.click("[data-copy=list-damaged]")
        page.wait_for_selector("[data-copy=list-damaged]:text-is('copied')")
        command = page.locator("#list-damaged").input_value()
        assert command.startswith("miostitch remove-frames receiver1__receiver2_stitched.zarr -o")
        drawn = page.locator("article.frame svg").first
        assert drawn.is_visible()
        page.uncheck("#marks")
        assert not drawn.is_visible()
        page.check("input[value=differing]")
        page.wait_for_selector("#heat-status:has-text('buffers')")
        assert page.locator("#plot-heat canvas").count()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable(chromium: Any, report: Path, scheme: str) -> None:
    with opened(chromium, report, color_scheme=scheme, **DESKTOP) as page:
        assert page.evaluate("document.documentElement.dataset.drawn") == scheme
        contrast, where = page.evaluate(CONTRASTS)
        assert contrast >= 4.5, where


def test_plots_follow_a_change_to_dark(chromium: Any, report: Path) -> None:
    with opened(chromium, report, color_scheme="light", **DESKTOP) as page:
        page.emulate_media(color_scheme="dark")
        page.wait_for_selector("html[data-drawn=dark]")


def test_on_a_phone_nothing_is_wider_than_the_screen(chromium: Any, report: Path) -> None:
    with opened(chromium, report, is_mobile=True, **PHONE) as page:
        for details in page.locator("details").all():
            details.evaluate("(each) => { each.open = true; }")
        widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert widths == [390, 390]
        smallest = page.evaluate(
            "Math.min(...[...document.querySelectorAll('p, td, li, small')]"
            ".map((each) => parseFloat(getComputedStyle(each).fontSize)))"
        )
        assert smallest >= 11


def test_one_set_of_zoom_buttons(chromium: Any, report: Path) -> None:
    with opened(chromium, report, **DESKTOP) as page:
        assert page.locator(".bk-Toolbar:visible").count() == 0
        assert page.locator("[data-do]:visible").count() == 7


def test_shares_add_up_to_the_whole_bar(chromium: Any, report: Path) -> None:
    with opened(chromium, report, viewport={"width": 1280, "height": 900}) as page:
        widths = page.eval_on_selector_all(
            ".shares span", "(parts) => parts.map((each) => each.getBoundingClientRect().width)"
        )
        bar = page.locator(".shares").bounding_box()["width"]
        assert abs(sum(widths) - bar) < 6
        clipped = """() => [...document.querySelectorAll("body *")].filter((each) =>
          each.offsetParent && each.clientWidth > 1 && each.scrollWidth > each.clientWidth + 1
          && !each.matches(".scroll, .plot *, textarea, pre")
          && getComputedStyle(each).display !== "inline").map((each) => each.outerHTML)"""
        assert page.evaluate(clipped) == []


def test_the_picture_in_the_documentation(
    chromium: Any, report: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """It is made here: pytest --with browser --new-pictures tests/report/test_page.py."""
    path = IMAGE if pytestconfig.getoption("new_pictures") else tmp_path / "report.png"
    with opened(chromium, report, viewport={"width": 1100, "height": 1330}) as page:
        page.screenshot(path=path)
    assert IMAGE.stat().st_size < 200_000
    assert path.read_bytes()[16:24] == IMAGE.read_bytes()[16:24]  # width and height
