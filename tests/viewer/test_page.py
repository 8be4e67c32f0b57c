"""The viewer's page, as a person uses it.

``python -m tests.viewer.test_page docs/images/viewer.png RECORDING...`` takes the picture of the
documentation; it shows the recordings of one capture by three receivers.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import xarray as xr

import miostitch
from miostitch.ranges import parse_frames
from miostitch.schema import COMPOSITE
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from tests.chromium import browser, complaints
from tests.sessions import Made
from tests.video_files import make_frames, write
from tests.viewers import served

STEP_MS = 50

# Presses a key and waits until the picture of another frame is drawn.
STEP = """key => new Promise((done) => {
  const frame = document.getElementById("frame");
  const [before, begun] = [frame.value, performance.now()];
  const look = () => {
    if (frame.value !== before) done(performance.now() - begun);
    else setTimeout(look, 0);
  };
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  look();
})"""
PIXELS = """number => {
  const canvas = document.querySelectorAll("figure canvas")[number];
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return [canvas.height, canvas.width, [...data.filter((_, i) => i % 4 === 0)]];
}"""

pytestmark = pytest.mark.browser


@contextmanager
def opened(
    names: Sequence[str], marks: Path | None = None, scheme: str = "light", height: int = 900
) -> Iterator[Any]:
    """The page; at the end there must be no complaint and no request to anywhere else."""
    with served(names, marks) as (url, _), browser() as chromium:
        page = chromium.new_page(
            viewport={"width": 1180, "height": height}, color_scheme=scheme, accept_downloads=True
        )
        wrong = complaints(page.context, url)
        page.goto(url)
        page.locator("#facts tbody tr").first.wait_for()
        page.locator("#pictures canvas[aria-label*='frame 0']").first.wait_for()
        yield page
        page.close()
    assert wrong == []


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("session"), frames=60, seed=6, height=60, width=80)


@pytest.fixture(scope="module")
def store(session: Made, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("out")
    stitch_files(session.names, folder, StitchOptions(chunk_frames=7))
    return str(next(folder.glob("*.zarr")))


def at(page: Any, frame: int) -> None:
    page.locator(f"#slider[aria-valuetext^='frame {frame} ']").wait_for()


def test_the_pictures_are_those_of_the_files(store: str) -> None:
    stitched = xr.open_zarr(store).load()
    last = stitched.sizes["frame"] - 1
    with opened([store]) as page:
        page.locator("figcaption", has_text="receiver2").wait_for()
        page.locator("#reset").click()  # gray values as they are
        for frame in (0, 8, last):
            page.locator("#frame").fill(str(frame))
            page.locator("#frame").press("Enter")
            at(page, frame)
            height, width, pixels = page.evaluate(PIXELS, 0)
            found = np.array(pixels, np.uint8).reshape(height, width)
            np.testing.assert_array_equal(found, stitched.video[frame])
        assert page.locator("#facts thead th").all_inner_texts() == [
            "", "result", "receiver1", "receiver2",
        ]  # fmt: skip
        page.locator("figure canvas").first.hover(position={"x": 5, "y": 5})
        assert f"result {stitched.video[last, 1, 1].item()}" in page.locator("#pixel").inner_text()


def test_keys_and_buttons_go_where_they_say(store: str) -> None:
    stored = xr.open_zarr(store)
    damaged = np.flatnonzero(stored.damaged).tolist()
    changes = (np.flatnonzero(np.diff(stored.source)) + 1).tolist()
    with opened([store]) as page:
        for key, frame in (
            ("ArrowRight", 1),
            ("Shift+ArrowRight", 11),
            ("ArrowLeft", 10),
            ("End", stored.sizes["frame"] - 1),
            ("Home", 0),
            ("d", next(frame for frame in damaged if frame)),
            ("Home", 0),
            ("s", changes[0]),
            ("s", changes[1]),
            ("Shift+S", changes[0]),
        ):
            page.keyboard.press(key)
            at(page, frame)
        page.locator("#damaged-next").click()
        at(page, next(frame for frame in damaged if frame > changes[0]))
        page.keyboard.press("End")
        page.locator("#source-next").click()
        page.locator("#told", has_text="no next change of the receiver").wait_for()
        page.locator("#timeline").click(position={"x": 1, "y": 10})
        at(page, 0)
        page.locator("#last").click()
        at(page, stored.sizes["frame"] - 1)
        page.locator("#first").click()
        at(page, 0)
        page.locator("#slider").fill("33")
        at(page, 33)


def test_it_plays_to_the_end(store: str) -> None:
    with opened([store]) as page:
        page.locator("#speed").select_option("5")
        page.locator("#play").click()
        page.locator("#play", has_text="Pause").wait_for()
        at(page, xr.open_zarr(store).sizes["frame"] - 1)
        page.locator("#play", has_text="Play").wait_for()


def test_marks_are_shown_copied_and_saved(store: str, tmp_path: Path) -> None:
    file = tmp_path / "marks.txt"
    listed = "() => document.getElementById('list').value"
    with opened([store], file) as page:
        for key, frame in (
            ("m", 0),
            ("ArrowRight", 1),
            ("ArrowRight", 2),
            ("Shift+M", 2),
            ("Shift+ArrowRight", 12),
            ("Shift+M", 12),
        ):
            page.keyboard.press(key)
            at(page, frame)
        page.wait_for_timeout(300)
        assert page.evaluate(listed) == "0,2-12"
        page.keyboard.press("m")
        page.wait_for_timeout(300)
        assert page.evaluate(listed) == "0,2-11"
        assert not file.exists()
        page.locator("#save").click()
        page.locator("#marks-told", has_text=str(file)).wait_for()
    kept = miostitch.remove_frames(miostitch.open_recording(store), file.read_text().strip())
    assert kept.sizes["frame"] == xr.open_zarr(store).sizes["frame"] - 11
    with opened([store], file) as page:
        page.keyboard.press("n")
        at(page, 2)
        page.locator("#clear").click()
        page.locator("#save").click()
        page.locator("#marks-told", has_text="saved").wait_for()
    assert file.read_text() == "\n"


def test_without_a_file_the_browser_saves(store: str) -> None:
    with opened([store]) as page:
        page.keyboard.press("m")
        page.locator("#list:not(:placeholder-shown)").wait_for()
        with page.expect_download() as download:
            page.locator("#save").click()
        assert parse_frames(download.value.path().read_text().strip()).tolist() == [0]


def test_recordings_side_by_side_and_alone(session: Made, tmp_path: Path) -> None:
    with opened(session.names) as page:
        names = page.locator("figcaption b").all_inner_texts()
        assert names[:2] == ["receiver1", "receiver2"]
        assert len(names) == 3
        page.keyboard.press("d")
        assert page.locator("#source-next").is_disabled()
    with opened([str(write(tmp_path / "bare.avi", make_frames(4)))]) as page:
        page.keyboard.press("End")
        at(page, 3)
        assert page.locator("figure:visible").count() == 1
        assert page.locator("#shown label:visible").count() == 1
        assert page.locator("#damaged-next").is_disabled()


def test_contrast_changes_what_is_seen_and_nothing_else(store: str) -> None:
    with opened([store]) as page:
        _, _, automatic = page.evaluate(PIXELS, 0)
        assert len({*automatic}) > 10
        page.keyboard.press("r")
        _, _, recorded = page.evaluate(PIXELS, 0)
        assert recorded == xr.open_zarr(store).video[0].values.ravel().tolist()
        assert recorded != automatic
        page.keyboard.press("ArrowRight")
        at(page, 1)
        page.keyboard.press("ArrowLeft")
        at(page, 0)
        assert page.evaluate(PIXELS, 0)[2] == recorded, "what the user chose stays"
        page.keyboard.press("a")
        assert page.evaluate(PIXELS, 0)[2] == automatic


def test_elapsed_and_clock_time(store: str) -> None:
    stored = xr.open_zarr(store).load()
    times = stored.time.values
    start = np.datetime64(stored.attrs["start_time"].removesuffix("+00:00"))
    with opened([store]) as page:
        clock = page.locator("#clock").inner_text()
        hour = page.evaluate("time => new Date(time).getHours()", f"{start}Z")
        local = f"{hour:02}{str(start)[13:19]}"
        assert clock == f"{str(start)[:21].replace('T', ' ')} UTC, {local} local"
        for text, seconds in (("0:00:01.5", 1.5), ("2", 2.0), ("9:00:00", 32400.0), ("0", 0.0)):
            page.locator("#time").fill(text)
            page.locator("#time").press("Enter")
            at(page, int(np.searchsorted(times, seconds, side="right")) - 1)
        page.locator("#time").fill("soon")
        page.locator("#time").press("Enter")
        page.locator("#told", has_text="write a time").wait_for()
        assert page.locator("#time").input_value() == "0:00:00.000"
        count = int(stored.damaged.sum())
        page.locator("#damage", has_text=f"{count} of {len(times)} frames are damaged").wait_for()


def seen(page: Any) -> tuple[float, float, float]:
    """How far the first image is enlarged, and its left and upper edge, as shares of it."""
    found = page.evaluate("""() => {
      const canvas = document.querySelector("figure canvas").getBoundingClientRect();
      const window = document.querySelector("figure .seen").getBoundingClientRect();
      const left = (window.left - canvas.left) / canvas.width;
      return [canvas.width / window.width, left, (window.top - canvas.top) / canvas.height];
    }""")
    return found[0], found[1], found[2]


def test_images_are_enlarged_and_moved_together(store: str) -> None:
    with opened([store]) as page:
        assert seen(page) == pytest.approx((1, 0, 0), abs=1e-3)
        page.keyboard.press("+")
        page.keyboard.press("+")
        assert seen(page)[0] == pytest.approx(2.25, abs=0.01)
        edge = (1 - 1 / 2.25) / 2  # the middle stays where it is
        assert seen(page)[1:] == pytest.approx((edge, edge), abs=0.01)
        scales = page.evaluate("""() => [...document.querySelectorAll("figure canvas")].map(
            (each) => getComputedStyle(each).transform.split("(")[1].split(",")[0])""")
        assert {*scales} == {"2.25"}
        box = page.locator("figure .seen").first.bounding_box()
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + box["width"] / 10, middle[1])
        page.mouse.up()
        assert seen(page)[1] == pytest.approx(edge - 0.1 / 2.25, abs=0.01)
        page.mouse.move(middle[0] + 5 * box["width"], middle[1])
        page.keyboard.press("0")
        assert seen(page) == pytest.approx((1, 0, 0), abs=1e-3)
        page.mouse.move(box["x"] + 1, box["y"] + 1)
        page.mouse.wheel(0, -100)
        page.wait_for_function("document.querySelector('#pictures').classList.contains('zoomed')")
        assert seen(page) == pytest.approx((1.25, 0, 0), abs=0.02)
        page.locator("#zoom-out").click()
        page.locator("#zoom-out").click()
        assert seen(page) == pytest.approx((1, 0, 0), abs=1e-3)


def test_nothing_is_clipped(session: Made, store: str, tmp_path: Path) -> None:
    twins = [
        str(
            shutil.copytree(
                store, tmp_path / f"one_of_{n}_results_of_receivers_with_long_names_stitched.zarr"
            )
        )
        for n in ("two", "three")
    ]
    clipped = """() => [...document.querySelectorAll("body *")].filter((each) =>
      each.offsetParent && each.clientWidth > 1 && each.scrollWidth > each.clientWidth + 1
      && getComputedStyle(each).display !== "inline").map((each) => each.outerHTML.slice(0, 80))"""
    for names in ([store], session.names, twins):
        with opened(names) as page:
            page.set_viewport_size({"width": 1280, "height": 900})
            page.wait_for_timeout(500)
            assert page.evaluate(clipped) == []
            page.set_viewport_size({"width": 390, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_overview_has_times(store: str) -> None:
    with opened([store]) as page:
        page.locator("#scale span").nth(4).wait_for()
        marks = page.locator("#scale span").all_inner_texts()
        stored = xr.open_zarr(store)
        begun = np.datetime64(stored.attrs["start_time"].split("+")[0])
        last = begun + np.timedelta64(int(1e6 * stored.time.values[-1]), "us")
        assert marks[0].split("\n")[0].startswith("0:00:00")
        assert marks[0].split("\n")[1] == str(begun)[11:19]
        assert marks[4].split("\n")[1] == str(last)[11:19]


def test_what_cannot_be_read_is_no_black_picture(tmp_path: Path) -> None:
    path = write(tmp_path / "a.avi", make_frames(40, 300, 400))
    with opened([str(path)]) as page:
        path.write_bytes(path.read_bytes()[:9000])
        page.keyboard.press("End")
        at(page, 39)
        height, width, pixels = page.evaluate(PIXELS, 0)
        assert (height, width) != (300, 400)
        assert np.mean(pixels) > 128  # the light page's own colours


def test_steps_are_quick(store: str) -> None:
    with opened([store]) as page:
        page.wait_for_timeout(300)
        forth = [page.evaluate(STEP, "ArrowRight") for _ in range(50)]
        back = [page.evaluate(STEP, "ArrowLeft") for _ in range(50)]
    print(f"step: median {median(forth + back):.1f} ms, longest {max(forth + back):.1f} ms")  # noqa: T201
    assert median(forth + back) < STEP_MS


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read_and_has_a_name(store: str, scheme: str) -> None:
    with opened([store], scheme=scheme) as page:
        page.keyboard.press("d")
        page.keyboard.press("m")
        nameless = page.evaluate("""() =>
          [...document.querySelectorAll("button, input, select, textarea, canvas")]
            .filter((each) => each.offsetParent && !each.labels?.length && !each.ariaLabel
              && !each.textContent.match(/\\w/)).map((each) => each.outerHTML)""")
        assert nameless == []
        faint = page.evaluate(CONTRASTS)
        assert faint == []


CONTRASTS = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const back = (each) => {
    const colour = parse(getComputedStyle(each).backgroundColor);
    const clear = colour.length === 4 && !colour[3];
    return clear && each.parentElement ? back(each.parentElement) : colour;
  };
  return [...document.querySelectorAll("body *")]
    .filter((each) => each.offsetParent && !each.disabled && !each.closest(".off")
      && [...each.childNodes].some((child) => child.nodeType === 3 && child.data.trim()))
    .map((each) => {
      const pair = [light(parse(getComputedStyle(each).color)), light(back(each))];
      return [(Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05), each.outerHTML.slice(0, 90)];
    })
    .filter(([ratio]) => ratio < 4.5);
}"""


def test_on_a_phone_nothing_is_wider_than_the_screen(store: str) -> None:
    with opened([store]) as page:
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        first, second = (page.locator("figure").nth(n).bounding_box() for n in (0, 1))
        assert first["y"] == second["y"], "two pictures beside each other"


def take_picture(path: Path, videos: Sequence[str]) -> None:
    """The viewer at a frame of which receivers lost parts, and which was combined of the others."""
    with tempfile.TemporaryDirectory() as folder:
        stitch_files(videos, f"{folder}/out", StitchOptions(by="buffer"))
        [store] = Path(folder, "out").glob("*.zarr")
        made = xr.open_zarr(store)
        combined = np.flatnonzero((made.source == COMPOSITE) & ~made.damaged)
        with opened([str(store)], height=800) as page:
            page.locator("figcaption", has_text=Path(videos[-1]).stem).wait_for()
            page.wait_for_timeout(1000)
            page.locator("#frame").fill(str(int(combined[len(combined) // 2])))
            page.locator("#frame").press("Enter")
            page.locator("h1").click()
            page.keyboard.press("m")
            page.locator("figure canvas").nth(1).hover(position={"x": 60, "y": 90})
            page.wait_for_timeout(500)
            page.screenshot(path=path)


if __name__ == "__main__":
    take_picture(Path(sys.argv[1]), sys.argv[2:])
