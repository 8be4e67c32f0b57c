"""The report: true to the store, whole without its inputs, harmless whatever files are called."""

import base64
import html
import json
import os
import re
import shutil
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import miostitch
from miostitch.cli.main import main
from miostitch.errors import InputError, MissingInputError
from miostitch.ranges import parse_frames
from miostitch.report import page as report_page
from miostitch.report import tables as report_text
from miostitch.report import thumbnails
from miostitch.report.clock import FrameClock
from miostitch.report.data import Frames, ReportData, Scores
from miostitch.report.headline import describe_result, removed_frames
from miostitch.report.over_time import describe_over_time
from miostitch.report.page import timeline
from miostitch.report.run import report_files, write_report
from miostitch.report.statistics import (
    FrameStates,
    Losses,
    binned,
    device_runs,
    gap_around,
    heat_maps,
    worst_frames,
)
from miostitch.report.tables import EVIDENCE_NAMES, length_label, percent, removal_lists
from miostitch.report.thumbnails import outline
from miostitch.schema import (
    FRAME_VARIABLES,
    NO_FRAME,
    RECORDED,
    REQUIRED_COLUMNS,
    SCORE_VARIABLES,
)
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from miostitch.store.chunks import write_block
from miostitch.store.layout import (
    TABLE_CHUNK,
    BufferColumns,
    consolidate,
    create_store,
    write_frame_tables,
    write_group,
)
from miostitch.store.reader import Store
from tests.folders import content
from tests.sessions import Made, received_later

STEM = "receiver1__receiver2_stitched"
EVIL = """<img src=x onerror=alert(1)>'"&</script><script>alert(2)</script>{{ 7*7 }}$$x$$"""
WAYS = ("frame", "buffer")


class Page(HTMLParser):
    """What a page holds: its elements, text, and the JSON of its plots."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.ids: set[str] = set()
        self.scripts: list[str] = []
        self.text = ""
        self._in: list[str] = []
        self.size = path.stat().st_size
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.ids.add(dict(attrs).get("id") or "")
        self._in.append(tag)
        if tag != "wbr":  # a word goes on behind it
            self.text += " "
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        while self._in and self._in.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self._in and self._in[-1] == "script":
            self.scripts[-1] += data
        elif not self._in or self._in[-1] != "style":
            self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    @property
    def figures(self) -> Any:
        return json.loads(self.scripts[0])

    @property
    def pictures(self) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.elements if tag == "img"]

    def list_of(self, name: str) -> str:
        found = re.search(rf'id="list-{name}"[^>]*>[^<]* -f ([^<]*)<', self.rawdata_kept)
        assert found
        return found[1]

    rawdata_kept = ""


def page_of(path: Path) -> Page:
    page = Page(path)
    page.rawdata_kept = path.read_text("utf-8")
    return page


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("session")
    return Made(folder, receivers=2, seed=8, frames=60, frame_loss=0.1, corruption=0.1)


@pytest.fixture(scope="module", params=WAYS)
def products(
    request: pytest.FixtureRequest, session: Made, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    output = tmp_path_factory.mktemp(request.param)
    stitch_files(session.names, output, StitchOptions(by=request.param, codec=None))
    return output


BY_BUFFER = pytest.mark.parametrize("products", ["buffer"], indirect=True)
"""Where it does not matter how frames are made."""
SLOW_BY_FRAME = pytest.mark.parametrize(
    "products", [pytest.param("frame", marks=pytest.mark.slow), "buffer"], indirect=True
)
"""Where one way is enough if all must be quick."""


@pytest.fixture
def copy(products: Path, tmp_path: Path) -> Path:
    """Products that a test may spoil, without their report."""
    shutil.copytree(products, tmp_path / "copy")
    (tmp_path / "copy" / f"{STEM}_report.html").unlink()
    return tmp_path / "copy"


def unpacked(packed: dict[str, str], count: int) -> NDArray[Any]:
    data = zlib.decompress(base64.b64decode(packed["data"]))
    if packed["dtype"] == "bits":
        bits = np.unpackbits(np.frombuffer(data, np.uint8), count=count, bitorder="little")
        return bits.astype(np.int64)
    return np.frombuffer(data, packed["dtype"]).astype(np.int64)


def test_the_report_of_a_stitch_can_be_made_again(products: Path, copy: Path) -> None:
    before = content(copy)
    [made] = report_files(copy)["reports"]
    assert made["output"] == str(copy / f"{STEM}_report.html")
    again = content(copy)
    assert again.pop(f"{STEM}_report.html") == (products / f"{STEM}_report.html").read_bytes()
    assert again == before
    summary = json.loads((products / f"{STEM}.json").read_bytes())
    assert str(products / f"{STEM}_report.html") in summary["outputs"]


@BY_BUFFER
def test_a_stitch_without_a_report(session: Made, products: Path, tmp_path: Path) -> None:
    by = json.loads((products / f"{STEM}.json").read_bytes())["config"]["by"]
    args = ["stitch", *session.names, "-o", str(tmp_path), "--by", by, "--no-avi", "--no-report"]
    assert CliRunner().invoke(main, args).exit_code == 0
    made, others = content(tmp_path), content(products)
    assert {*others} - {*made} == {f"{STEM}_report.html"}
    store = {name for name in made if ".zarr" in name}
    assert {name: made[name] for name in store} == {name: others[name] for name in store}


def test_what_the_page_says_is_what_the_products_say(products: Path) -> None:
    summary = json.loads((products / f"{STEM}.json").read_bytes())
    store = xr.open_zarr(products / f"{STEM}.zarr").load()
    page = page_of(products / f"{STEM}_report.html")
    lost = sum(last - first + 1 for first, last in summary["lost_frame_num"])
    assert summary["damaged"]
    assert summary["unrecoverable"]
    assert lost
    assert f"{summary['intact']} of {summary['frames']} frames" in page.words
    assert f"unrecoverable {summary['unrecoverable']} (" in page.words
    assert f"noisy {summary['noisy']} (" in page.words
    assert f"{lost} more frames were lost by all receivers" in page.words
    for name, title in (("frames", "frames received"), ("chosen", "frames used")):
        values = " ".join(str(recording[name]) for recording in summary["recordings"])
        assert f"{title} {values}" in page.words
    scores = xr.open_zarr(products / f"{STEM}.zarr", group="scores").load()
    alone = (scores["identical"].values & ~store.damaged.values).sum(axis=1)
    assert f"intact frames of the result {alone[0]} {alone[1]}" in page.words
    assert f"R{alone.argmax() + 1} has {alone.max()} of these pixel by pixel" in page.words
    if summary["config"]["by"] == "frame":
        assert f"incomplete by buffer {summary['unrecoverable']} with" in page.words
    for number, recording in enumerate(summary["recordings"]):
        assert f"R{number + 1}: {recording['name']}" in page.words
        for name in ("buffers_lost", "chosen", "sole", "only_complete"):
            assert f">{recording[name]}<" in page.rawdata_kept
        assert recording["lag_evidence"] in page.words
        assert recording["path"] in page.words
        share = percent(recording["noise_share"], 1)
        assert share in page.words
    same, shared = summary["identical_shared_buffers"], summary["shared_buffers"]
    assert f"In {same} of them ({percent(same, shared)}) all copies are identical" in page.words
    assert "not a share of errors in the result" in page.words
    for warning in summary["warnings"]:
        assert warning in page.words
    for each in store.attrs["inputs"]:
        assert each["digest"] in page.words
    for name in ("damaged", "unrecoverable"):
        listed = parse_frames(page.list_of(name))
        np.testing.assert_array_equal(listed, np.flatnonzero(store[name]))
    repairs = xr.open_zarr(products / f"{STEM}.zarr", group="repairs")
    assert f"R1 {int((repairs.recording == 0).sum())}" in page.words
    if summary["config"]["by"] == "buffer":
        found = xr.open_zarr(products / f"{STEM}.zarr", group="composition").buffer_evidence.values
        for code, name in EVIDENCE_NAMES.items():
            assert f"{name} {(found == code).sum()} " in page.words


def test_every_frame_is_in_the_timeline(products: Path) -> None:
    store = xr.open_zarr(products / f"{STEM}.zarr").load()
    scores = xr.open_zarr(products / f"{STEM}.zarr", group="scores").load()
    found = page_of(products / f"{STEM}_report.html").figures["timeline"]
    count = found["frames"]
    assert (count, found["step"]) == (store.sizes["frame"], 1)
    tracks = {name: unpacked(each, count) for name, each in found["tracks"].items()}
    np.testing.assert_array_equal(tracks["damaged"], store.damaged)
    np.testing.assert_array_equal(tracks["unrecoverable"], store.unrecoverable)
    np.testing.assert_array_equal(tracks["composed"], store.source == -1)
    for number in range(2):
        np.testing.assert_array_equal(tracks[f"source{number}"], store.source == number)
        absent = scores.source_frame[number] == -1
        np.testing.assert_array_equal(tracks[f"absent{number}"], absent)
    steps = unpacked(found["frame_num"], count)
    numbers = np.cumsum([int(found["frame_num"]["first"]), *steps])
    np.testing.assert_array_equal(numbers, store.frame_num)
    gaps = np.flatnonzero(np.diff(store.frame_num) > 1) + 1
    np.testing.assert_array_equal(np.flatnonzero(tracks["gap"]), gaps)


def test_the_map_of_buffers_counts_every_loss(products: Path) -> None:
    table = xr.open_zarr(products / f"{STEM}.zarr", group="buffers").load()
    store = xr.open_zarr(products / f"{STEM}.zarr").load()
    heat = page_of(products / f"{STEM}_report.html").figures["heat"]
    lost = np.array(heat["maps"]["lost"]).sum(axis=1)
    if "single" in heat["maps"]:
        group = xr.open_zarr(products / f"{STEM}.zarr", group="composition")
        expected = (group.buffer_evidence == 0).sum("frame").to_numpy()
    else:
        sound = table.black_padding_px <= 0
        if RECORDED.name in table:  # the recorder placed the others by a flipped position
            sound &= table[RECORDED.name] == NO_FRAME
        whole = table.frame_buffer_count[sound].to_numpy()
        places = table.reconstructed_frame_index[sound].to_numpy()
        distinct = {*zip(places.tolist(), whole.tolist(), strict=True)}
        seen = np.bincount([position for _, position in distinct], minlength=heat["positions"])
        expected = store.sizes["frame"] - seen
    np.testing.assert_array_equal(lost, expected)
    assert heat["edges"][0] == 0
    assert heat["edges"][-1] == store.sizes["frame"]


def test_marks_are_on_what_is_wrong_in_an_image(products: Path) -> None:
    page = page_of(products / f"{STEM}_report.html")
    shown = [attrs["alt"] or "" for attrs in page.pictures]
    assert any(", result: not received: buffer" in alt for alt in shown)
    assert any(", receiver2: not received: buffer" in alt for alt in shown)
    marked = {attrs["class"] for tag, attrs in page.elements if tag == "path"}
    assert "lost" in marked
    assert marked <= {"lost", "noisy", "decided"}
    assert "Recovered frames" in page.words
    recovered = page.rawdata_kept.split("Recovered frames")[1].split("</figure>")[0]
    assert "noisy" not in recovered
    store = xr.open_zarr(products / f"{STEM}.zarr").load()
    intact = int((~store.damaged).sum())
    assert f"Mean image of {intact} intact frames" in page.words


def test_a_page_that_asks_for_nothing(products: Path) -> None:
    page = page_of(products / f"{STEM}_report.html")
    assert page.size < 2_000_000
    for tag, attrs in page.elements:
        for name in ("src", "href", "srcset", "action", "data"):
            assert re.match(r"data:|#", attrs.get(name) or "#"), (tag, attrs)
    assert not {"link", "iframe", "object", "form"} & {
        tag for tag, attrs in page.elements if attrs.get("href") != "data:,"
    }
    [policy] = [a["content"] for _, a in page.elements if a.get("http-equiv")]
    assert policy
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "'unsafe-eval'" not in policy
    plots = [attrs for _, attrs in page.elements if (attrs.get("class") or "").startswith("plot")]
    assert all(attrs["aria-label"] and attrs["role"] == "img" for attrs in plots)
    assert all(attrs["alt"] for attrs in page.pictures)


@SLOW_BY_FRAME
def test_inputs_that_are_gone_or_changed(session: Made, copy: Path, tmp_path: Path) -> None:
    path = copy / f"{STEM}.json"
    inputs = tmp_path / "in"
    inputs.mkdir()
    for name in session.names:
        shutil.copy(name, inputs)
    summary = json.loads(path.read_bytes())
    for recording in summary["recordings"]:
        recording["path"] = str(inputs / Path(recording["path"]).name)
        recording["relative_path"] = os.path.relpath(recording["path"], copy)
        recording["segments"] = []
    path.write_text(json.dumps(summary))
    whole = len(remade(copy).pictures)
    changed, gone = inputs / "receiver1.avi", inputs / "receiver2.avi"
    shutil.copy(gone, changed)
    gone.unlink()
    page = remade(copy)
    assert "receiver2.avi: is not there any more" in page.words
    assert f"{changed}: is not the file that was stitched" in page.words
    assert 0 < len(page.pictures) < whole


@pytest.mark.parametrize(
    ("command", "done"),
    [
        (("trim", "-s", "2"), "trimmed"),
        pytest.param(
            ("denoise", "-c", "denoise_calcium_imaging"), "denoised", marks=pytest.mark.slow
        ),
    ],
)
def test_an_edited_result_is_shown_next_to_its_recordings_wherever_they_are(
    session: Made, tmp_path: Path, command: tuple[str, ...], done: str
) -> None:
    before = tmp_path / "before"
    shutil.copytree(session.videos[0].parent, before / "in")
    videos = [str(before / "in" / video.name) for video in session.videos]
    options = StitchOptions(codec=None, drop_damaged=True, min_confidence=0.5)
    stitch_files(videos, before / "out", options)
    stored = str(before / "out" / f"{STEM}.zarr")
    ran = CliRunner().invoke(main, [*command, stored, "-o", str(before / "edited")])
    assert ran.exit_code == 0, ran.output
    before.rename(tmp_path / "after")
    edited, stem = tmp_path / "after" / "edited", f"{STEM}_{done}"
    page = remade(edited, stem)
    assert "frames were removed by stitch --drop-damaged" in page.words
    assert "missing buffers are black at lag 0" in page.words
    frames = page.words.count(", at 0:0")
    assert frames
    assert len(page.pictures) == 1 + frames * (1 + len(videos))  # the mean image, too
    shutil.rmtree(tmp_path / "after" / "out")
    page = remade(edited, stem)
    assert "which was not found" in page.words
    assert "is not there any more" in page.words


def test_an_edit_of_a_shifted_result_is_not_to_be_used(tmp_path: Path) -> None:
    shifted = Made(tmp_path / "in", receivers=2, seed=3, lag=1, buffer_loss=0.2)
    stitch_files(shifted.names, tmp_path / "out", StitchOptions(codec=None, lag=0))
    summary = json.loads((tmp_path / "out" / f"{STEM}.json").read_bytes())
    assert 1 in {each["measured_lag"] for each in summary["recordings"]}
    stored = str(tmp_path / "out" / f"{STEM}.zarr")
    args = ["trim", stored, "-s", "2", "-o", str(tmp_path / "trim")]
    assert CliRunner().invoke(main, args).exit_code == 0
    assert "Do not use this result" in remade(tmp_path / "trim", f"{STEM}_trimmed").words


def remade(folder: Path, stem: str = STEM) -> Page:
    report_files(folder, force=True)
    return page_of(folder / f"{stem}_report.html")


@SLOW_BY_FRAME
def test_a_store_without_its_summary(copy: Path) -> None:
    (copy / f"{STEM}.json").unlink()
    page = remade(copy)
    assert "is missing: this page lacks what only it contains" in page.words
    assert page.pictures
    (copy / f"{STEM}.json").write_text("[1]")
    with pytest.raises(InputError, match="no summary of ours"):
        report_files(copy, force=True)


@BY_BUFFER
def test_the_frames_left_out_by_the_code_of_the_page(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_text, "LIST_CHARACTERS", 10)
    remade(copy)
    codes = re.findall("<pre>(.*?)</pre>", (copy / f"{STEM}_report.html").read_text(), re.DOTALL)
    monkeypatch.chdir(copy)
    exec(html.unescape(codes[1]))  # of the unrecoverable frames
    page = remade(copy / "cleaned")
    kept = miostitch.open_recording(copy / "cleaned" / f"{STEM}.zarr")
    assert not kept.unrecoverable.values.any()
    before = xr.open_zarr(copy / f"{STEM}.zarr").sizes["frame"]
    removed = before - kept.sizes["frame"]
    assert f"{removed} of {before} frames were removed by remove-frames" in page.words
    assert f" of {kept.sizes['frame']} frames" in page.words
    assert "every frame is complete in some receiver" in page.words
    assert "missing buffers are black at lag 0" in page.words


def test_a_video_stitched_alone_and_in_segments(session: Made, tmp_path: Path) -> None:
    second = tmp_path / "second.avi"
    for suffix in (".avi", ".csv"):
        shutil.copy(session.videos[1].with_suffix(suffix), second.with_suffix(suffix))
    names = [f"{session.names[0]},{received_later(second)}"]
    stitch_files(names, tmp_path, StitchOptions(codec=None, align="frame-num"))
    page = page_of(tmp_path / "receiver1_stitched_report.html")
    assert not any("not there" in each for each in page.words.split("."))
    assert "best single receiver" not in page.words
    assert "incomplete by buffer" not in page.words
    assert "another receiver" not in page.words


@pytest.mark.skipif(os.name != "posix", reason="elsewhere names are Unicode")
def test_names_that_are_no_text(session: Made, tmp_path: Path) -> None:
    first, second = session.videos
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\xff.avi"))
    try:
        shutil.copy(first, odd)
    except OSError:
        pytest.skip("this file system takes no such names")
    shutil.copy(first.with_suffix(".csv"), odd.with_suffix(".csv"))
    out = tmp_path / "out"
    summary = stitch_files([str(odd), str(second)], out, StitchOptions(codec=None))
    [path] = out.glob("*_report.html")
    assert r"caf\xe9\xff" in page_of(path).words
    before = path.read_bytes()
    assert b"not there any more" not in before
    [made] = report_files(out, force=True)["reports"]
    assert json.dumps([made, summary])
    assert path.read_bytes() == before


@BY_BUFFER
def test_evil_names_stay_text(copy: Path, tmp_path: Path) -> None:
    store = copy / f"{STEM}.zarr"
    root = zarr.open_group(store, mode="r+")
    root.attrs["recordings"] = [EVIL, "b"]
    root.attrs["config"] = {"by": EVIL, EVIL: EVIL}
    root.attrs["inputs"] = [{"name": EVIL, "size": 1, "digest": EVIL}]
    consolidate(str(store))
    summary = json.loads((copy / f"{STEM}.json").read_bytes())
    for recording in summary["recordings"]:
        recording |= dict.fromkeys(("name", "path", "lag_evidence"), EVIL)
    summary["warnings"] = [EVIL]
    summary["versions"] = {EVIL: EVIL}
    path = tmp_path / "evil.html"
    write_report(store, f"{EVIL.replace('/', '')}.zarr", summary, path, [EVIL, EVIL])
    page = page_of(path)
    assert len(page.scripts) == 3
    page.figures  # noqa: B018
    assert not any("onerror" in attrs for _, attrs in page.elements)
    assert all((attrs["src"] or "").startswith("data:image/png") for attrs in page.pictures)
    assert page.text.count(EVIL) >= 5
    assert "49" not in page.words.split("Options of the stitch")[1].split("Versions")[0]
    assert "alert" not in page.scripts[0]
    # what is pasted into a shell is one word there
    assert "-o cleaned -f " in page.words
    assert """'"'"'""" in page.text


def test_json_for_scripts_cannot_end_them() -> None:
    page = report_page._template().environment.from_string("{{ x|tojson }}").render(x=EVIL)
    assert "<" not in page
    assert json.loads(page) == EVIL


@BY_BUFFER
def test_the_command(copy: Path) -> None:
    def run(*args: str) -> Any:
        return CliRunner().invoke(main, ["report", *args])

    done = run(str(copy))
    assert done.exit_code == 0
    assert f"{STEM}_report.html" in done.output
    assert "are intact" in done.output
    made = (copy / f"{STEM}_report.html").stat().st_mtime_ns
    again = run(str(copy))
    assert (again.exit_code, again.output.count("exists, skipped")) == (0, 1)
    assert (copy / f"{STEM}_report.html").stat().st_mtime_ns == made
    other = shutil.copytree(copy / f"{STEM}.zarr", copy / "other.zarr")
    [missing] = report_files(copy)["reports"]
    assert missing["store"] == str(other)
    assert (copy / "other_report.html").exists()
    shutil.rmtree(other)
    assert run(str(copy), "--force").exit_code == 0
    assert run(str(copy / f"{STEM}.zarr"), "-o", str(copy / "other"), "--json").exit_code == 0
    assert (copy / "other" / f"{STEM}_report.html").exists()
    for missing in (copy / "other", copy / "none", copy / "none.zarr"):
        assert run(str(missing)).exit_code == MissingInputError.exit_code
    assert not [*copy.glob(".*")]


@pytest.mark.slow  # of an edit of such a result it is tested always
def test_a_shifted_result_is_not_to_be_used(recordings: Path, tmp_path: Path) -> None:
    names = [str(recordings / "stitch" / f"video{n}.avi") for n in (1, 2)]
    stitch_files(names, tmp_path, StitchOptions(codec=None, lag=0))
    page = page_of(tmp_path / "video1__video2_stitched_report.html")
    assert "Do not use this result" in page.words


def test_a_result_at_the_measured_lag_is_to_be_used(recordings: Path, tmp_path: Path) -> None:
    names = [str(recordings / "stitch" / f"video{n}.avi") for n in (1, 2)]
    stitch_files(names, tmp_path, StitchOptions(codec=None, lag="auto"))
    page = page_of(tmp_path / "video1__video2_stitched_report.html")
    assert "52 of 52 frames (100 %) are intact, but 2 of these are doubtful." in page.words


# ---- the figures ----


def tables_of(count: int, *, seed: int = 0, recordings: int = 2) -> ReportData:
    """Random tables of a session with heavy loss."""
    rng = np.random.default_rng(seed)
    shape = (recordings, count)
    present = rng.random(shape) > 0.05
    present[0] |= ~present.any(axis=0)
    received = np.where(present, rng.binomial(8, 0.9, shape), -1).astype(np.int16)
    damaged = rng.random(count) < 0.3
    frames = Frames(
        frame_num=1000 + np.cumsum(1 + (rng.random(count) < 0.01)),
        source=received.argmax(axis=0).astype(np.int8),
        missing_pixels=np.where(damaged, 5000, 0).astype(np.int32),
        damaged=damaged,
        unrecoverable=damaged & (rng.random(count) < 0.3),
    )
    scores = Scores(
        source_frame=np.where(present, np.arange(count), -1),
        num_buffers=received,
        black_padding=np.zeros(shape, np.int64),
        noisy_pixels=np.where(rng.random(shape) < 0.1, 400, 0),
        edge_energy=rng.integers(10**5, 10**6, shape),
    )
    lost = rng.random((count, 8)) < 0.05
    bounds = np.linspace(0, 40_000, 9).astype(np.int64)
    names = [f"r{n}" for n in range(recordings)]
    clock = FrameClock(np.arange(count) / 20 + rng.random(count) / 500, 1.7e9, 20.0)
    return ReportData(names, Fraction(20), clock, 200, 200, bounds, 8, frames, scores, None, lost)


def test_a_long_timeline_hides_no_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = tables_of(20_001)
    monkeypatch.setattr(report_page, "TIMELINE_BYTES", 12_000)
    found = timeline(tables)
    step = found["step"]
    assert step > 1
    assert len(json.dumps(found)) < 20_000
    damaged = unpacked(found["tracks"]["damaged"], 0)
    assert len(damaged) == -(-20_001 // step)
    assert damaged.sum() == tables.frames.damaged.sum()
    for frame in np.flatnonzero(tables.frames.damaged).tolist():
        assert damaged[frame // step]


@given(st.lists(st.booleans(), min_size=1), st.integers(1, 9))
def test_bins_count_every_frame(flags: list[bool], step: int) -> None:
    counts = binned(np.array(flags), step).tolist()
    assert counts == [sum(flags[at : at + step]) for at in range(0, len(flags), step)]


@given(st.lists(st.booleans()))
def test_runs_by_length(lost: list[bool]) -> None:
    lengths = [len([*run]) for value, run in groupby(lost) if value]
    found = Losses.of(np.array(lost, bool))
    assert found.frames == sum(lost)
    assert found.longest == max(lengths, default=0)
    counts = found.lengths
    assert sum(counts) == len(lengths)
    for number, count in enumerate(counts):
        low, _, high = length_label(number).partition("-")
        assert count == sum(int(low) <= n <= int(high or low) for n in lengths)


@given(st.integers(1, 9), st.integers(1, 60), st.integers(1, 60))
def test_outlines_enclose_just_the_range(width: int, start: int, size: int) -> None:
    """Pixels whose centre is inside the path, by the even-odd rule."""
    points: list[tuple[int, int]] = []
    x = y = 0
    for command, a, b in re.findall(
        r"([MHV])(\d+)(?: (\d+))?", outline(start, start + size, width)
    ):
        x, y = (
            (int(a), int(b)) if command == "M" else (int(a), y) if command == "H" else (x, int(a))
        )
        points.append((x, y))
    rows = (start + size) // width + 1
    inside = []
    for pixel in range(rows * width):
        row, column = divmod(pixel, width)
        crossed = 0
        for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
            if x0 == x1 and x0 > column and min(y0, y1) <= row < max(y0, y1):
                crossed += 1
        inside += [pixel] * (crossed % 2)
    assert inside == [*range(start, start + size)]


@pytest.mark.parametrize("rows", [slice(0, 0), slice(2, 3), slice(0, 39)])
def test_noise_does_not_darken_an_image(rows: slice) -> None:
    rng = np.random.default_rng(0)
    image = np.tile(np.arange(10, 60, dtype=np.uint8), (40, 1))
    image[rows] = rng.integers(0, 256, image[rows].shape)
    shown = thumbnails._shade([image], 20)(image)
    clean = np.delete(shown, rows, axis=0)
    assert clean.min() == 0
    assert clean.max() == 255


def test_an_image_of_nothing_but_noise_is_shown() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 50)).astype(np.uint8)
    assert np.ptp(thumbnails._shade([image], 20)(image)) == 255


def test_worst_frames_are_of_different_stretches() -> None:
    tables = tables_of(10)
    missing = np.array([0, 5, 9, 2, 0, 7, 0, 0, 8, 8])
    frames = replace(tables.frames, missing_pixels=missing, damaged=missing > 0)
    found = replace(tables, frames=frames, scores=None)
    assert worst_frames(found, 2) == [2, 8]
    assert worst_frames(found, 9) == [2, 8, 5]


def test_composed_frames_have_no_noise_of_a_recording() -> None:
    """Of results of both kinds that were joined there are scores, and no composition."""
    tables = tables_of(4)
    assert tables.scores is not None
    frames = replace(
        tables.frames,
        source=np.array([-1, 0, 0, 0], np.int8),
        missing_pixels=np.array([3, 0, 5, 0], np.int32),
        damaged=np.array([True, False, True, False]),
    )
    noisy = np.array([[0] * 4, [1000] * 4])
    joined = replace(tables, frames=frames, scores=replace(tables.scores, noisy_pixels=noisy))
    assert worst_frames(joined, 2) == [2, 0]


def test_runs_of_the_device_between_restarts() -> None:
    frame_num = np.array([7, 8, -1, 11, 0, 1, 1, -1, 0])
    assert device_runs(frame_num).tolist() == [[0, 3, 7, 11, 2], [4, 6, 0, 1, 0], [8, 8, 0, 0, 0]]
    assert device_runs(np.array([-1])).tolist() == []


@given(st.lists(st.integers(-1, 6), min_size=1))
def test_every_known_frame_is_in_one_run_of_the_device(numbers: list[int]) -> None:
    frame_num = np.array(numbers)
    found = device_runs(frame_num).tolist()
    spans = [range(first, last + 1) for first, last, *_ in found]
    inside = [frame for span in spans for frame in span]
    assert inside == sorted({*inside})
    assert {*np.flatnonzero(frame_num >= 0)} <= {*inside}
    for span, (_, _, lowest, highest, lacking) in zip(spans, found, strict=True):
        own = {number for number in frame_num[list(span)].tolist() if number >= 0}
        assert (lowest, highest) == (min(own), max(own))
        assert lacking == highest - lowest + 1 - len(own)


def test_frames_around_a_gap() -> None:
    frame_num = np.array([1, 2, 6, 7, 0, 1, 5])
    assert gap_around(frame_num, [(3, 5), (2, 4), (9, 9)]) == [(1, 2), (5, 6), None]


def test_states_add_up_to_all_frames() -> None:
    tables = tables_of(500)
    states = vars(FrameStates.of(tables))
    assert sum(states.values()) == tables.count
    assert states["intact"] == (~tables.frames.damaged).sum()
    assert states["unrecoverable"] == tables.frames.unrecoverable.sum()


def test_removed_frames_are_named_with_the_step() -> None:
    history = [
        {"step": "stitch", "parameters": {}},
        {"step": "trim", "frames_before": 100, "frames_after": 90},
        {"step": "end", "frames": 90, "end": 79},
        {"step": "drop", "frames": 80, "dropped": 5, "dropped_as": {"noise": 4, "both": 1}},
        {"step": "remove_stripes"},
        {"step": "remove_frames", "frames_before": 75, "frames_after": 75},
    ]
    assert [number for _, number, _ in removed_frames({}, history)] == [10, 10, 5]
    assert removed_frames({}, history)[-1][0] == "denoise (4 for noise, 1 for both)"
    dropped = {"recordings": [], "dropped_frame_num": [4, 9], "frames": 8}
    assert removed_frames(dropped, []) == [("stitch --drop-damaged", 2, 10)]
    uncertain = dropped | {"dropped_uncertain": 1}
    said = [("stitch --drop-damaged", 1, 10), ("stitch --min-confidence", 1, 10)]
    assert removed_frames(uncertain, []) == said
    uncertain = dropped | {"dropped_uncertain": 2}
    assert removed_frames(uncertain, []) == [("stitch --min-confidence", 2, 10)]


@given(st.lists(st.floats(0.001, 5), min_size=1, max_size=200), st.integers(1, 4))
def test_times_of_the_timeline_are_those_of_the_frames(steps: list[float], step: int) -> None:
    times = np.cumsum([0, *steps])
    packed = report_page._pack_times(times[::step])
    count = len(times[::step])
    off = np.cumsum([int(packed["first"]), *unpacked(packed, count)[: count - 1]])
    found = np.arange(count) * packed["interval"] + off * packed["unit"]
    assert np.abs(found - times[::step]).max() <= packed["unit"] / 2 + 1e-6


def test_losses_and_voltages_per_minute(tmp_path: Path) -> None:
    count = 20 * 60 * 20
    tables = replace(tables_of(count), height=2, width=4, bounds=np.arange(9))
    stored(tmp_path / "s.zarr", tables, battery=lambda frame: 200 - frame // 1200)
    store = Store.open(str(tmp_path / "s.zarr"))
    found = describe_over_time(store, tables)
    assert (found.width, len(found.damaged)) == (60, 20)
    minute = (tables.clock.time // 60).astype(int)
    for number in range(20):
        here = minute == number
        assert found.damaged[number] == pytest.approx(tables.frames.damaged[here].mean(), abs=1e-5)
        lost = tables.lacking[0][here].sum() / (here.sum() * 8)
        assert found.lost[0][number] == pytest.approx(lost, abs=1e-5)
    assert found.voltages == {"battery": [float(200 - minute) for minute in range(20)]}


def test_a_list_that_no_shell_takes_is_not_shown() -> None:
    tables = tables_of(200_000)
    damaged, hopeless = removal_lists(tables)
    assert damaged.text == ""
    assert hopeless.frames == tables.frames.unrecoverable.sum()


def test_nothing_is_rounded_to_all_or_nothing() -> None:
    tables = tables_of(100_000)
    frames = replace(tables.frames, damaged=np.arange(100_000) == 7)
    said = describe_result(replace(tables, frames=frames), {}, {}, {}, [])
    assert said.sentence.startswith("99,999 of 100,000 frames (> 99.99 %) are intact; 1 ")
    assert said.mood == "damaged"


def stored(
    path: Path, tables: ReportData, battery: Callable[[NDArray[Any]], NDArray[Any]] | None = None
) -> None:
    """Write tables as a store of black frames."""
    frames = {variable.name: np.zeros(tables.count, variable.dtype) for variable in FRAME_VARIABLES}
    scores = {v.name: np.zeros(tables.present.shape, v.dtype) for v in SCORE_VARIABLES}
    attrs = {"recordings": tables.names, "fps": "20", "inputs": [], "config": {"by": "frame"}}
    shape = (tables.count, tables.height, tables.width)
    create_store(str(path), shape=shape, chunk_frames=TABLE_CHUNK, attrs=attrs)
    for start in range(0, tables.count, TABLE_CHUNK):
        size = min(TABLE_CHUNK, tables.count - start)
        write_block(str(path), start, np.zeros((size, *shape[1:]), np.uint8))
    frames |= vars(tables.frames) | {"time": tables.clock.time, "confidence": tables.confidence}
    write_frame_tables(str(path), frames, attrs={"start_time": "2023-11-14T22:13:20+00:00"})
    scores |= {name: each for name, each in vars(tables.scores).items() if each is not None}
    write_group(str(path), "scores", SCORE_VARIABLES, scores.__getitem__, attrs)
    places = np.argwhere(~tables.lost)
    sizes = np.diff(tables.bounds)[places[:, 1]]
    names = ("reconstructed_frame_index", "frame_buffer_count", "pixel_count")
    columns = {name: np.zeros_like(sizes) for name in REQUIRED_COLUMNS}
    columns |= dict(zip(names, (places[:, 0], places[:, 1], sizes), strict=True))
    if battery is not None:
        columns["battery_voltage_raw"] = battery(places[:, 0])
    dtypes = dict.fromkeys(columns, "int64") | {"buffer_recv_unix_time": "float64"}
    rows = BufferColumns(str(path), dtypes, {})
    rows.append(columns)
    rows.close()
    consolidate(str(path))


@pytest.mark.slow
def test_nine_hours_fit_into_a_page_and_into_memory(tmp_path: Path) -> None:
    tables = replace(tables_of(648_000), height=2, width=4, bounds=np.arange(9))
    stored(tmp_path / "s.zarr", tables)
    path, frames = tmp_path / "s.html", vars(tables.frames)
    frames = {**frames, "time": tables.clock.time}
    tracemalloc.start()
    held = tracemalloc.get_traced_memory()[0]
    write_report(tmp_path / "s.zarr", "s.zarr", {}, path, [], frames=frames)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (peak - held) / tables.count < 200
    found = page_of(path).figures["timeline"]
    assert path.stat().st_size < 3_000_000
    assert (found["frames"], found["step"]) == (648_000, 1)
    damaged = unpacked(found["tracks"]["damaged"], 648_000)
    np.testing.assert_array_equal(damaged, frames["damaged"])


def test_maps_of_short_recordings() -> None:
    for count in (1, 3):
        heat = heat_maps(tables_of(count))
        assert heat["edges"] == [*range(count + 1)]


@pytest.mark.parametrize("step", [{"x": None}, ["trim"], 3, None])
def test_a_step_of_a_history_that_is_no_name_is_passed_over(step: object) -> None:
    odd = {"step": step, "frames_before": 9, "frames_after": 4}
    trimmed = {**odd, "step": "trim"}
    assert removed_frames({"frames": 4}, [odd, trimmed]) == [("trim", 5, 9)]
