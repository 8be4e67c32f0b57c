"""Sound results verify clean; whatever is changed afterwards is found, and placed."""

import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr
from click.testing import CliRunner
from numcodecs import Zstd

import miostitch
from miostitch.cli.main import main
from miostitch.editing.run import edit_files
from miostitch.errors import InputError, MissingInputError
from miostitch.origins.provenance import find_originals
from miostitch.report.run import report_files
from miostitch.schema import OLDER_VERSIONS
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from miostitch.verify.run import verify_files
from tests.folders import content, rewrite_summary
from tests.sessions import FAULTY, change_table, change_video, renumber
from tests.video_files import decode, write

STEM = "receiver1__receiver2_stitched"
STORE = f"{STEM}.zarr"

CLEAN: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "alone, not repaired, no avi": (
        {"receivers": 1, "header_flips": 0.1},
        {"by": "buffer", "codec": None, "repair": False},
    ),
    "three, lag, own clocks, ffv1": (
        {"receivers": 3, "lag": 1, "extra_frame": False, "height": 13, "width": 37},
        {"lag": "auto", "keep_clocks": True, "chunk_frames": None, "codec": "ffv1"},
    ),
    "four, format 2": (
        {"receivers": 4, "buffer_loss": 0.4, "frame_loss": 0.1, "corruption": 0.2},
        {"by": "buffer", "unrecoverable_video": True, "debug_video": True, "zarr_format": 2},
    ),
    "dropped": (
        {"frame_loss": 0.1},
        {"drop_damaged": True, "unrecoverable_video": True, "report": False},
    ),
    "resets": (
        {"frames": 80, "resets": 2},
        {
            **{"by": "buffer", "drop_damaged": True, "min_confidence": 0.9},
            **{"chunk_frames": 16, "report": False},
        },
    ),
    "clocks": (
        {"frames": 80, "clock_offset_s": 3.0, "clock_drift_ppm": 300.0},
        {"by": "buffer", "chunk_frames": 16, "report": False},
    ),
}


ONE_MORE = ("dropped", "clocks")
"""What differs little from the others."""


def make(folder: Path, session: dict[str, Any], options: dict[str, Any]) -> Path:
    """A result, and the folder that it is in; its recordings are in ``in`` beside."""
    made = miostitch.simulate(
        folder / "in", miostitch.SimulationConfig(**{**FAULTY, "seed": 5, **session})
    )
    names = [str(path) for path in made.recordings]
    stitch_files(names, folder / "out", StitchOptions(**{"chunk_frames": 4, **options}))
    return folder / "out"


def findings(folder: Path, *recordings: str) -> list[dict[str, Any]]:
    found = verify_files(folder, recordings)
    return [each for result in found["results"] for each in result["findings"]]


@pytest.mark.parametrize(
    "name", [n if n not in ONE_MORE else pytest.param(n, marks=pytest.mark.slow) for n in CLEAN]
)
def test_sound_results_are_clean(name: str, tmp_path: Path) -> None:
    output = make(tmp_path, *CLEAN[name])
    before = content(tmp_path)
    assert findings(output) == []
    assert content(tmp_path) == before


WAYS = pytest.mark.parametrize(
    ("one", "other"),
    [("buffer", "frame"), pytest.param("frame", "buffer", marks=pytest.mark.slow)],
)
"""Two results, each in one of the two ways; the other way round is slow."""


@WAYS
def test_segments_and_times_are_clean(one: Any, other: Any, tmp_path: Path) -> None:
    config = {**FAULTY, "frames": 40, "seed": 5}
    parts = [
        miostitch.simulate(
            tmp_path / part,
            miostitch.SimulationConfig(**{**config, "seed": seed, "header_flips": 0.02}),
        )
        for part, seed in (("in", 5), ("later", 6))
    ]
    names = []
    for first, second in zip(*(part.recordings for part in parts), strict=True):
        change_table(
            second, lambda t: t.assign(buffer_recv_unix_time=t.buffer_recv_unix_time + 100)
        )
        for suffix in (".avi", ".csv"):
            shutil.move(second.with_suffix(suffix), first.with_suffix(f".later{suffix}"))
        names.append(f"{first},{first.with_suffix('.later.avi')}")
    stitch_files(names, tmp_path / "out", StitchOptions(by=one))
    assert findings(tmp_path / "out") == []
    videos = [Path(name.partition(",")[0]) for name in names]
    renumber(videos, 7)
    # so few frames cannot be matched by their times; with a lag that is only reported
    options = StitchOptions(by=other, align="time", lag=0)
    stitch_files([str(path) for path in videos], tmp_path / "timed", options)
    assert findings(tmp_path / "timed") == []


@WAYS
def test_real_recordings_are_clean(one: Any, other: Any, recordings: Path, tmp_path: Path) -> None:
    for folder, stem, by in (("stitch", "video", other), ("capture3", "receiver", one)):
        names = sorted(map(str, (recordings / folder).glob(f"{stem}*.avi")))
        options = StitchOptions(by=by, lag="auto", report=False)
        stitch_files(names, tmp_path / folder, options)
        assert findings(tmp_path / folder) == []


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One result by frame and one by buffer, with every product."""
    folder = tmp_path_factory.mktemp("made")
    products = {"debug_video": True, "unrecoverable_video": True}
    by: dict[str, Path] = {}
    for name in ("frame", "buffer"):
        by[name] = make(folder / name, {"corruption": 0.2, "seed": 3}, {"by": name, **products})
    return by


def test_results_with_every_product_are_clean(made: dict[str, Path]) -> None:
    for path in made.values():
        before = content(path.parent)
        assert findings(path) == []
        assert content(path.parent) == before


@pytest.fixture
def output(made: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy that a test may spoil."""
    by = getattr(request, "param", "frame")
    shutil.copytree(made[by].parent, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "out" / f"{STEM}.json"
    rewrite_summary(path, path.read_text().replace(str(made[by].parent), str(tmp_path)))
    return tmp_path / "out"


def chunk(number: int) -> str:
    """Key of a chunk of frames."""
    return f"video/c/{number}/0/0"


def array(output: Path, name: str) -> Any:
    return zarr.open_array(output / STORE / name, mode="r+")


def put(name: str, at: Any, by: int = 1) -> Callable[[Path], None]:
    """Change a value of the store, with valid checksums."""

    def change(output: Path) -> None:
        values = array(output, name)
        whole = values[...]
        whole[at] = ~whole[at] if whole.dtype == bool else whole[at] + by
        values[...] = whole

    return change


def flipped_byte(output: Path) -> None:
    path = output / STORE / chunk(1)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def cut(name: str, to: float = 0.5) -> Callable[[Path], None]:
    def change(output: Path) -> None:
        data = (output / name).read_bytes()
        (output / name).write_bytes(data[: int(len(data) * to)])

    return change


def gone(name: str) -> Callable[[Path], None]:
    def change(output: Path) -> None:
        path = output / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def extra(name: str) -> Callable[[Path], None]:
    def change(output: Path) -> None:
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_bytes(b"?")

    return change


def swapped_chunks(output: Path) -> None:
    one, other = (output / STORE / chunk(n) for n in (0, 1))
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)


def without_checksum(output: Path) -> None:
    path = output / STORE / "height/c/0"
    path.write_bytes(Zstd(1).encode(Zstd().decode(path.read_bytes())))


def avi(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def changed(output: Path) -> None:
        frames = decode(output / name)
        write(output / name, change(frames), fps=Fraction(20))

    return changed


def pixel(frame: int, row: int, column: int) -> Callable[[Any], Any]:
    def change(frames: Any) -> Any:
        frames[frame, row, column] ^= 1
        return frames

    return change


def lines(name: str, change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    """Change a table; line 0 is the header."""

    def changed(output: Path) -> None:
        text = (output / name).read_text().splitlines(keepends=True)
        (output / name).write_text("".join(change(text)))

    return changed


def cell(line: int, column: int, text: str) -> Callable[[list[str]], list[str]]:
    def change(rows: list[str]) -> list[str]:
        cells = rows[line].rstrip("\n").split(",")
        cells[column] = text
        return [*rows[:line], ",".join(cells) + "\n", *rows[line + 1 :]]

    return change


def dropped(line: int) -> Callable[[list[str]], list[str]]:
    return lambda rows: [*rows[:line], *rows[line + 1 :]]


def swapped(line: int) -> Callable[[list[str]], list[str]]:
    return lambda rows: [*rows[:line], rows[line + 1], rows[line], *rows[line + 2 :]]


def document(name: str, *keys: Any, value: Any) -> Callable[[Path], None]:
    """Change a value in a JSON file."""

    def change(output: Path) -> None:
        found = json.loads((output / name).read_text())
        inner = found
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        (output / name).write_text(json.dumps(found))

    return change


def summary(*keys: Any, value: Any) -> Callable[[Path], None]:
    return document(f"{STEM}.json", *keys, value=value)


def attribute(name: str, value: Any) -> Callable[[Path], None]:
    return document(f"{STORE}/zarr.json", "attributes", name, value=value)


def input_pixel(output: Path) -> None:
    change_video(output.parent / "in" / "receiver2.avi", pixel(7, 2, 3))


def input_row(output: Path) -> None:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[table.index[40], "battery_voltage_raw"] += 1
        return table

    change_table(output.parent / "in" / "receiver2.csv", change)


def input_grows(output: Path) -> None:
    with (output.parent / "in" / "receiver1.avi").open("ab") as file:
        file.write(b"JUNK\0\0\0\0")


CSV, TIMES, SCORES = (f"{STEM}{suffix}" for suffix in (".csv", "_timestamps.csv", "_scores.csv"))
AVI, DEBUG, LOST = (f"{STEM}{s}.avi" for s in ("", "_debug", "_unrecoverable"))
Tampering = tuple[Callable[[Path], None], dict[str, Any]]
PIXEL: Tampering = (
    put("video", (9, 3, 4)),
    {"kind": "pixels", "file": STORE, "chunk": chunk(2), "frame": 9, "row": 3, "column": 4},
)
AVI_PIXEL: Tampering = (
    avi(AVI, pixel(5, 1, 2)),
    {"kind": "pixels", "file": AVI, "frame": 5, "row": 1, "column": 2},
)
CELL: Tampering = (
    lines(CSV, cell(31, 6, "12345")),
    {"kind": "rows", "file": CSV, "frame": 4, "row": 30, "column": "timestamp"},
)
TOGETHER: dict[str, dict[str, Tampering]] = {
    "chunks": {
        "flipped byte": (flipped_byte, {"kind": "damaged chunk", "chunk": chunk(1), "frame": 4}),
        "cut": (cut(f"{STORE}/{chunk(2)}"), {"kind": "damaged chunk", "chunk": chunk(2)}),
        "empty": (cut(f"{STORE}/{chunk(3)}", 0), {"kind": "damaged chunk", "chunk": chunk(3)}),
        "missing": (
            gone(f"{STORE}/{chunk(4)}"),
            {"kind": "missing chunk", "chunk": chunk(4), "frame": 16},
        ),
        "missing of a table": (
            gone(f"{STORE}/scores/edge_energy/c/0/0"),
            {"kind": "missing chunk", "chunk": "scores/edge_energy/c/0/0"},
        ),
        "cut shard": (
            cut(f"{STORE}/damaged/c/0"),
            {"kind": "damaged chunk", "chunk": "damaged/c/0"},
        ),
        "too many": (
            extra(f"{STORE}/video/c/77/0/0"),
            {"kind": "unexpected file", "chunk": chunk(77)},
        ),
        "foreign": (
            extra(f"{STORE}/video/notes.txt"),
            {"kind": "unexpected file", "chunk": "video/notes.txt"},
        ),
    },
    "swapped": {
        "first": (swapped_chunks, {"kind": "pixels", "file": STORE, "chunk": chunk(0), "frame": 0}),
        "second": (
            lambda _: None,
            {"kind": "pixels", "file": STORE, "chunk": chunk(1), "frame": 4},
        ),
        "without checksum": (
            without_checksum,
            {"kind": "damaged chunk", "chunk": "height/c/0", "message": "carries no checksum"},
        ),
        "unit": (
            document(f"{STORE}/missing_pixels/zarr.json", "attributes", "units", value="m"),
            {"kind": "schema", "column": "missing_pixels"},
        ),
        "fill value": (
            document(f"{STORE}/frame_num/zarr.json", "fill_value", value=0),
            {"kind": "schema", "column": "frame_num"},
        ),
        "consolidated": (
            document(
                f"{STORE}/zarr.json",
                *("consolidated_metadata", "metadata", "video", "shape"),
                value=[1, 40, 50],
            ),
            {"kind": "consolidated metadata", "message": "video differs from its own metadata"},
        ),
    },
    "store": {
        "pixel": PIXEL,
        "score": (
            put("scores/edge_energy", (1, 6)),
            {"kind": "scores", "frame": 6, "column": "scores/edge_energy"},
        ),
        **{
            name: (put(name, at), {"kind": "frame table", "frame": at, "column": name})
            for at, name in enumerate(
                ("num_buffers", "missing_pixels", "damaged", "unrecoverable"), start=11
            )
        },
        "timestamp_first": (
            put("timestamp_first", 6),
            {"kind": "time stamps", "frame": 6, "column": "timestamp_first"},
        ),
        "time": (put("time", 15), {"kind": "time stamps", "frame": 15, "column": "time"}),
        "estimated": (
            put("time_estimated", 16),
            {"kind": "time stamps", "frame": 16, "column": "time_estimated"},
        ),
        "identical": (
            put("scores/identical", (0, 17)),
            {"kind": "scores", "frame": 17, "column": "scores/identical"},
        ),
        "counting": (put("height", 3), {"kind": "frame table", "row": 3, "column": "height"}),
        "buffers": (
            put("buffers/timestamp", 30),
            {"kind": "rows", "file": f"{STORE}/buffers", "row": 30, "column": "timestamp"},
        ),
        "repair": (
            put("repairs/old", 0),
            {"kind": "repairs", "file": STORE, "row": 0, "column": "repairs/old"},
        ),
    },
    "identities": {
        "source": (put("source", 10, -1), {"kind": "frame table", "frame": 10, "column": "source"}),
        "frame_num": (put("frame_num", 6), {"kind": "alignment", "frame": 6}),
        "candidate": (
            put("scores/source_frame", (0, 12)),
            {"kind": "alignment", "frame": 12, "column": "scores/source_frame"},
        ),
        "attribute fps": (
            attribute("fps", "25"),
            {"kind": "attributes", "file": AVI, "column": "fps"},
        ),
        "attribute start_time": (
            attribute("start_time", "2025-12-02T21:56:41.000000+00:00"),
            {"kind": "attributes", "file": STORE, "column": "start_time"},
        ),
        "attribute measured_fps": (
            attribute("measured_fps", 25.0),
            {"kind": "attributes", "file": STORE, "column": "measured_fps"},
        ),
        "attribute ome": (attribute("ome", {}), {"kind": "attributes", "column": "ome"}),
        "format version": (attribute("format_version", "0"), {"kind": "format", "file": STORE}),
    },
    "files": {
        "pixel": AVI_PIXEL,
        "pixel of debug": (
            avi(DEBUG, pixel(6, 1, 60)),
            {"kind": "pixels", "file": DEBUG, "frame": 6, "row": 1, "column": 60},
        ),
        "pixel of unrecoverable": (
            avi(LOST, pixel(1, 4, 2)),
            {"kind": "pixels", "file": LOST, "frame": 1, "row": 4, "column": 2},
        ),
        "row of unrecoverable": (
            lines(f"{STEM}_unrecoverable.csv", cell(4, 6, "1")),
            {"kind": "rows", "file": f"{STEM}_unrecoverable.csv", "row": 3, "column": "timestamp"},
        ),
        "cell": CELL,
        "time stamp": (
            lines(TIMES, cell(7, 1, "1764712601.25")),
            {"kind": "rows", "file": TIMES, "frame": 6, "row": 6, "column": "timestamp_first"},
        ),
        "score": (
            lines(SCORES, cell(7, 7, "3")),
            {"kind": "rows", "file": SCORES, "frame": 6, "column": "selected_noisy_pixels"},
        ),
        **{
            f"summary {name}": (summary(name, value=value), {"kind": "summary", "column": name})
            for name, value in (
                ("frames", 3),
                ("frame_num", [1, 2]),
                ("damaged", 0),
                ("unrecoverable", 0),
                ("missing_pixels", 1),
                ("lost_frame_num", [[1, 2]]),
                ("shared_buffers", 1),
                ("identical_shared_buffers", 1),
                ("outputs", [STORE]),
            )
        },
        **{
            f"summary recordings {name}": (
                summary("recordings", 1, name, value=999),
                {"kind": "summary", "column": f"recordings[1].{name}"},
            )
            for name in ("frames", "chosen", "sole", "only_complete", "buffers_lost", "repairs")
        },
    },
    "rows": {
        "text": (
            lines(CSV, cell(31, 6, "x")),
            {"kind": "rows", "file": CSV, "row": 30, "column": "timestamp"},
        ),
        "line of time stamps": (
            lines(TIMES, dropped(7)),
            {"kind": "rows", "file": TIMES, "frame": 6},
        ),
        "chosen video": (
            lines(SCORES, cell(7, 2, "nobody")),
            {"kind": "rows", "file": SCORES, "frame": 6, "column": "selected_video"},
        ),
        "last frame": (avi(AVI, lambda frames: frames[:-1]), {"kind": "count", "file": AVI}),
        "last frame of debug": (
            avi(DEBUG, lambda frames: frames[:-1]),
            {"kind": "count", "file": DEBUG},
        ),
        "first frame of unrecoverable": (
            avi(LOST, lambda frames: frames[1:]),
            {"kind": "count", "file": LOST},
        ),
    },
    "more rows": {
        "position": (
            lines(CSV, cell(31, 3, "6")),
            {"kind": "rows", "file": CSV, "row": 30, "column": "frame_buffer_count"},
        ),
        "no time stamp": (
            lines(TIMES, cell(7, 2, "noon")),
            {"kind": "rows", "file": TIMES, "frame": 6, "row": 6, "column": "timestamp_last"},
        ),
        "diff_pixels": (
            lines(SCORES, cell(11, 14, "77")),
            {"kind": "rows", "file": SCORES, "frame": 10, "column": "diff_pixels"},
        ),
        "frame": (
            avi(AVI, lambda frames: np.delete(frames, 5, 0)),
            {"kind": "pixels", "file": AVI, "frame": 5},
        ),
    },
    "missing rows": {
        "row": (lines(CSV, dropped(31)), {"kind": "rows", "file": CSV, "frame": 4}),
        "cut video": (cut(AVI), {"kind": "unreadable", "file": AVI}),
        "swapped lines": (
            lines(TIMES, swapped(7)),
            {"kind": "rows", "file": TIMES, "row": 6, "column": "frame"},
        ),
        "swapped scores": (lines(SCORES, swapped(7)), {"kind": "rows", "file": SCORES, "row": 7}),
    },
    "repeated rows": {
        "row": (
            lines(CSV, lambda rows: [*rows[:31], rows[30], *rows[31:]]),
            {"kind": "rows", "file": CSV, "row": 30},
        ),
        "line": (
            lines(TIMES, lambda rows: [*rows, rows[-1]]),
            {"kind": "rows", "file": TIMES, "row": 21},
        ),
    },
    "swapped rows": {
        "rows": (
            lines(CSV, swapped(31)),
            {"kind": "rows", "file": CSV, "row": 30, "column": "linked_list"},
        ),
        "column": (
            lines(SCORES, lambda rows: [rows[0].replace("diff", "other"), *rows[1:]]),
            {"kind": "unreadable", "file": SCORES},
        ),
    },
    "last rows": {
        "row": (lines(CSV, lambda rows: rows[:-1]), {"kind": "rows", "file": CSV, "frame": 20}),
        "renamed": (
            lines(TIMES, lambda rows: [rows[0].replace("frame", "picture"), *rows[1:]]),
            {"kind": "unreadable", "file": TIMES},
        ),
    },
    "files gone": {
        name: (gone(name), {"kind": "missing file", "file": name})
        for name in (AVI, CSV, TIMES, SCORES, DEBUG)
    },
    "recordings": {
        "pixel": (
            input_pixel,
            {"kind": "pixels", "file": STORE, "frame": 7, "row": 2, "column": 3},
        ),
        "row": (input_row, {"kind": "rows", "column": "battery_voltage_raw"}),
        "longer": (input_grows, {"kind": "input changed", "file": "receiver1.avi"}),
        "rewritten": (lambda _: None, {"kind": "input changed", "file": "receiver2.avi"}),
        "table": (lambda _: None, {"kind": "input changed", "file": "receiver2.csv"}),
    },
    "arrays": {
        "shape": (
            document(f"{STORE}/missing_pixels/zarr.json", "shape", value=[9]),
            {"kind": "schema", "column": "missing_pixels"},
        ),
        "removed": (gone(f"{STORE}/num_buffers"), {"kind": "schema", "column": "num_buffers"}),
        "unreadable": (cut(f"{STORE}/timestamp_last/zarr.json"), {"kind": "schema"}),
        "group": (gone(f"{STORE}/buffers"), {"kind": "schema", "column": "buffers"}),
    },
    "repairs removed": {
        "group": (gone(f"{STORE}/repairs"), {"kind": "schema", "column": "repairs"}),
    },
    "column": {
        "name": (
            lines(CSV, lambda rows: [rows[0].replace("write_timestamp", "wrote"), *rows[1:]]),
            {"kind": "rows", "file": CSV},
        ),
    },
    "lag": {
        "lag": (
            summary("recordings", 0, "lag", value=1),
            {"kind": "summary", "column": "recordings[0].lag"},
        ),
        "offset": (
            summary("recordings", 1, "offset_s", value=0.5),
            {"kind": "summary", "column": "recordings[1].offset_s"},
        ),
    },
    "no summary": {
        "file": (gone(f"{STEM}.json"), {"kind": "missing file", "file": f"{STEM}.json"}),
    },
    "cut summary": {
        "file": (cut(f"{STEM}.json"), {"kind": "unreadable", "file": f"{STEM}.json"}),
    },
    "no store": {"store": (gone(STORE), {"kind": "missing file", "file": STORE})},
    "no root": {"root": (cut(f"{STORE}/zarr.json"), {"kind": "unreadable", "file": STORE})},
    "cut recording": {
        "recording": (
            cut("../in/receiver1.avi"),
            {"kind": "not checked", "file": "receiver1.avi"},
        ),
        "names": (
            attribute("recordings", ["a", "b"]),
            {"kind": "attributes", "column": "recordings"},
        ),
    },
    "attributes": {
        "config": (attribute("config", {"by": 5}), {"kind": "summary", "column": "config"}),
        "inputs": (attribute("inputs", []), {"kind": "attributes", "column": "inputs"}),
    },
}
"""Changes that are made together, and what is found for each."""

COMPOSED: dict[str, dict[str, Tampering]] = {
    "store": {
        "pixel": PIXEL,
        "source of a buffer": (
            put("composition/buffer_source", (3, 2)),
            {"kind": "composition", "frame": 3, "row": 2, "column": "composition/buffer_source"},
        ),
        "evidence": (
            put("composition/buffer_evidence", (4, 2)),
            {"kind": "composition", "frame": 4, "row": 2, "column": "composition/buffer_evidence"},
        ),
        "no evidence": (
            put("composition/buffer_evidence", (5, 2), 100),
            {"kind": "composition", "frame": 5, "row": 2},
        ),
        "whole frame": (
            put("source", 6, 1),
            {"kind": "frame table", "frame": 6, "column": "source"},
        ),
        "missing pixels": (
            put("missing_pixels", 7),
            {"kind": "frame table", "frame": 7, "column": "missing_pixels"},
        ),
        "cell": CELL,
        "buffers given": (
            summary("recordings", 0, "buffers_given", value=1),
            {"kind": "summary", "column": "recordings[0].buffers_given"},
        ),
    },
    "group removed": {
        "group": (gone(f"{STORE}/composition"), {"kind": "schema", "column": "composition"}),
    },
}


def found_in(listed: list[dict[str, Any]], expected: dict[str, Any]) -> bool:
    return any(expected.items() <= each.items() for each in listed)


def not_found(output: Path, together: dict[str, Tampering]) -> dict[str, Any]:
    """Make changes; what of them is not found, and then what is."""
    for change, _ in together.values():
        change(output)
    listed = findings(output)
    missed = {name: what for name, (_, what) in together.items() if not found_in(listed, what)}
    return missed and {"missed": missed, "found": listed}


IN_ONE_RESULT = (
    ("chunks", "lag", "repairs removed", "last rows", "arrays"),
    ("swapped", "swapped rows"),
    ("store", "repeated rows", "recordings"),
    ("identities", "more rows"),
    ("attributes", "files gone"),
)
"""What does not hide each other, and is told apart by what is found."""

ALONE = [(name,) for name in TOGETHER if not any(name in names for names in IN_ONE_RESULT)]


@pytest.mark.parametrize("names", [*IN_ONE_RESULT, *ALONE], ids=", ".join)
def test_tampering_is_found(names: tuple[str, ...], output: Path) -> None:
    changes = {f"{name}: {what}": TOGETHER[name][what] for name in names for what in TOGETHER[name]}
    assert not_found(output, changes) == {}


@pytest.mark.parametrize("name", COMPOSED)
@pytest.mark.parametrize("output", ["buffer"], indirect=True)
def test_tampering_with_composed_results_is_found(name: str, output: Path) -> None:
    assert not_found(output, COMPOSED[name]) == {}


@pytest.mark.parametrize(
    ("change", "witnesses"),
    [
        (PIXEL, [("pixels", AVI), ("pixels", STORE), ("pixels", LOST)]),
        pytest.param(AVI_PIXEL, [("pixels", AVI)], marks=pytest.mark.slow),
        pytest.param(CELL, [("rows", CSV)], marks=pytest.mark.slow),
    ],
)
def test_nothing_else_is_found(
    change: Tampering, witnesses: list[tuple[str, str]], output: Path
) -> None:
    change[0](output)
    assert [(each["kind"], each["file"]) for each in findings(output)] == witnesses


def test_every_wrong_pixel_of_stretches_is_of_a_copy(tmp_path: Path) -> None:
    output = make(tmp_path, {"corruption": 0.5, "seed": 9}, {"by": "buffer", "report": False})
    evidence = array(output, "composition/buffer_evidence")[...]
    frame, buffer = np.argwhere(evidence == 4)[0]
    bounds = np.linspace(0, 2000, 9).astype(int)  # 7 x 252 and 236 are near enough
    at = int(bounds[buffer]) + 60
    video = array(output, "video")
    frames = video[...]
    taken = [decode(tmp_path / "in" / f"receiver{n}.avi") for n in (1, 2)]
    scores = array(output, "scores/source_frame")[:, frame]
    seen = {int(v[s].ravel()[at]) for v, s in zip(taken, scores, strict=True)}
    frames[frame].ravel()[at] = next(v for v in range(256) if v not in seen)
    video[...] = frames
    row, column = divmod(at, 50)
    expected = {"kind": "pixels", "frame": int(frame), "row": row, "column": column}
    assert found_in(findings(output), expected | {"file": STORE})


def in_files_for(frames: int) -> Callable[[Path], None]:
    """Write a table anew, in files with room for so many frames, with valid checksums."""

    def change(output: Path) -> None:
        table = zarr.open_array(output / STORE / "missing_pixels")
        values, path = table[...], output / STORE / "missing_pixels" / "zarr.json"
        meta = json.loads(path.read_text())
        meta["chunk_grid"]["configuration"]["chunk_shape"] = [frames]
        path.write_text(json.dumps(meta))
        gone(f"{STORE}/missing_pixels/c")(output)
        array(output, "missing_pixels")[...] = values
        zarr.consolidate_metadata(output / STORE)

    return change


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_a_table_in_longer_files_is_as_it_was_written_before(output: Path) -> None:
    in_files_for(2**17)(output)
    assert {each["kind"] for each in findings(output)} == {"changed"}
    in_files_for(2**16)(output)
    expected = {"kind": "schema", "column": "missing_pixels", "file": STORE}
    assert found_in(findings(output), expected)


def test_of_a_result_of_an_older_version_the_files_are_checked(output: Path) -> None:
    attribute("format_version", OLDER_VERSIONS[-1])(output)
    [found] = [each for each in findings(output) if each["kind"] != "consolidated metadata"]
    assert found["kind"] == "format"
    assert "verify it with the miostitch that wrote it" in found["message"]
    cut(f"{STORE}/{chunk(1)}")(output)
    assert {"format", "damaged chunk"} <= {each["kind"] for each in findings(output)}


def test_what_is_gone_is_not_checked_and_the_rest_is(output: Path) -> None:
    shutil.rmtree(output.parent / "in")
    found = verify_files(output)
    assert (found["differences"], found["not_checked"]) == (0, 2)
    avi(AVI, pixel(5, 1, 2))(output)
    lines(CSV, cell(31, 6, "12345"))(output)
    listed = findings(output)
    assert found_in(listed, AVI_PIXEL[1])
    assert found_in(listed, CELL[1])


@pytest.mark.parametrize(
    "output", [pytest.param("frame", marks=pytest.mark.slow), "buffer"], indirect=True
)
def test_one_recording_is_gone(output: Path) -> None:
    (output.parent / "in" / "receiver2.avi").unlink()
    found = verify_files(output)
    assert (found["differences"], found["not_checked"]) == (0, 1)
    source = array(output, "source")[...]
    frame = int(np.flatnonzero(source == 0)[1])
    put("video", (frame, 3, 4))(output)
    expected = {"kind": "pixels", "file": STORE, "frame": frame, "row": 3, "column": 4}
    assert found_in(findings(output), expected)


def test_moved_recordings_are_named_or_lie_beside(output: Path) -> None:
    moved = output.parent / "elsewhere"
    shutil.move(output.parent / "in", moved)
    names = [str(moved / f"receiver{n}.avi") for n in (1, 2)]
    assert findings(output, *names) == []
    assert len(findings(output, names[0])) == 1
    for path in moved.glob("receiver*"):
        shutil.copy(path, output)
    assert findings(output) == []


def test_segments_of_one_name_are_not_mistaken_for_each_other(tmp_path: Path) -> None:
    days = []
    for day, first in ((1, 0), (2, 5000)):
        config = miostitch.SimulationConfig(
            frames=40, height=40, width=50, seed=day, first_frame_num=first
        )
        made = miostitch.simulate(tmp_path / f"day{day}", config)
        for path in made.recordings:
            rows = pd.read_csv(path.with_suffix(".csv"))
            rows["buffer_recv_unix_time"] += 100.0 * day
            rows.to_csv(path.with_suffix(".csv"), index=False)
        days.append(made.recordings)
    receivers = [f"{one},{other}" for one, other in zip(*days, strict=True)]
    miostitch.stitch_files(receivers, tmp_path / "out", report=False)
    assert findings(tmp_path / "out") == []


def test_results_by_frame_and_by_buffer_joined_are_clean(
    made: dict[str, Path], tmp_path: Path
) -> None:
    stores = [miostitch.open_recording(path / STORE) for path in made.values()]
    miostitch.write_recording(miostitch.concat(stores), tmp_path / "joined" / "x.zarr")
    assert findings(tmp_path / "joined") == []


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result of the same name, of another session."""
    session, options = {"corruption": 0.2, "seed": 4}, {"debug_video": True}
    return make(tmp_path_factory.mktemp("other"), session, options)


SUFFIXES = (".zarr", ".avi", ".csv", "_scores.csv", "_debug.avi", "_report.html")


@pytest.mark.parametrize(
    "suffix",
    [SUFFIXES[0], *(pytest.param(each, marks=pytest.mark.slow) for each in SUFFIXES[1:])],
)
def test_a_product_of_another_run_is_found(suffix: str, other: Path, output: Path) -> None:
    product = output / f"{STEM}{suffix}"
    shutil.rmtree(product) if product.is_dir() else product.unlink()
    found = other / product.name
    (shutil.copytree if found.is_dir() else shutil.copy)(found, product)
    assert product.name in {each["file"].partition("/")[0] for each in findings(output)}
    shutil.rmtree(output.parent / "in")
    listed = [each for each in findings(output) if each["kind"] != "not checked"]
    assert product.name in {each["file"].partition("/")[0] for each in listed}


def test_swapped_chunks_are_found_without_anything_to_compare_with(output: Path) -> None:
    shutil.rmtree(output.parent / "in")
    gone(AVI)(output)
    gone(LOST)(output)
    swapped_chunks(output)
    assert found_in(findings(output), {"kind": "changed", "file": STORE})


def cleared_index(output: Path) -> None:
    data = bytearray((output / AVI).read_bytes())
    start = data.rindex(b"idx1") + 8
    data[start:] = bytes(len(data) - start)
    (output / AVI).write_bytes(data)


@pytest.mark.parametrize(
    "change", [pytest.param(cut(AVI, 0.995), marks=pytest.mark.slow), cleared_index]
)
def test_a_broken_index_is_found(change: Callable[[Path], None], output: Path) -> None:
    change(output)
    assert AVI in {each["file"] for each in findings(output)}


CONTRADICTED: list[tuple[tuple[Any, ...], Any]] = [
    (("composed",), 3),
    (("dropped_frame_num",), [7]),
    (("digests", "_report.html", "size"), 3),
    (("recordings", 0, "unidentified"), 50),
    (("recordings", 1, "measured_lag"), 3),
    (("recordings", 1, "drift_ppm"), 100.0),
    (("recordings", 1, "dropped_rows"), 1),
    (("config", "chunk_frames"), 5),
]


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("digests",), {}),
        (("outputs",), []),
        (("digests", ".csv", "digest"), "0" * 128),
        (("recordings", 0, "noise_share"), 0.5),
        (("recordings", 0, "name"), "receiver9"),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in CONTRADICTED),
    ],
)
def test_what_the_files_contradict_in_the_summary_is_found(
    keys: tuple[Any, ...], value: Any, output: Path
) -> None:
    summary(*keys, value=value)(output)
    found = findings(output)
    assert len(found) in (1, 2), found
    names = {str(each.get("column", "")) + each["file"] for each in found}
    assert any(str(key) in name for name in names for key in keys), found


def test_all_that_the_files_contradict_in_the_summary_is_found(output: Path) -> None:
    for keys, value in CONTRADICTED:
        summary(*keys, value=value)(output)
    found = findings(output)
    names = {str(each.get("column", "")) + each["file"] for each in found}
    missed = [
        keys for keys, _ in CONTRADICTED if not any(str(key) in n for n in names for key in keys)
    ]
    assert missed == [], found


def test_results_are_found_from_any_folder_and_after_a_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    config = miostitch.SimulationConfig(**{**FAULTY, "seed": 5})
    miostitch.simulate("in", config)
    names = [f"in/receiver{n}.avi" for n in (1, 2)]
    stitch_files(names, "out", StitchOptions(chunk_frames=8))
    edit_files([f"out/{STORE}"], "trim", lambda parts: miostitch.trim(parts[0], 1, 2), "_trimmed")
    monkeypatch.chdir("/")
    moved = tmp_path / "elsewhere"
    for place in (work, moved):
        if place is moved:
            shutil.move(work, moved)
        for folder in (place / "out", place / "trim"):
            found = verify_files(folder)
            assert (found["differences"], found["not_checked"]) == (0, 0), found
        for store in (place / "out" / STORE, place / "trim" / f"{STEM}_trimmed.zarr"):
            originals = find_originals(str(store))
            assert [each for each in originals if isinstance(each, str)] == []
        report_files(place / "out", force=True)
        page = (place / "out" / f"{STEM}_report.html").read_text("utf-8")
        assert "is not there any more" not in page
    assert not found_in(findings(moved / "out"), {"kind": "not checked"})


def test_a_recording_that_is_damaged_inside_is_reported(tmp_path: Path) -> None:
    output = tmp_path / "out"
    made = miostitch.simulate(tmp_path / "in", miostitch.SimulationConfig(**FAULTY, seed=5))
    for path in made.recordings:
        write(path, decode(path), codec="ffv1")
    stitch_files([str(path) for path in made.recordings], output, StitchOptions(chunk_frames=4))
    assert findings(output) == []
    data = bytearray(made.recordings[0].read_bytes())
    data[len(data) // 2] ^= 16
    made.recordings[0].write_bytes(data)
    kinds = {each["kind"] for each in findings(output)}
    assert {"input changed", "not checked"} <= kinds


@pytest.mark.parametrize("missing", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_what_cannot_be_checked_has_an_exit_code(missing: int, output: Path) -> None:
    (output.parent / "in" / f"receiver{missing}.avi").unlink()
    command = ["verify", str(output), "--json"]
    run = CliRunner().invoke(main, command)
    assert (run.exit_code, json.loads(run.stdout)["not_checked"]) == (7, 1)
    run = CliRunner().invoke(main, [*command, "--allow-missing"])
    assert (run.exit_code, json.loads(run.stdout)["not_checked"]) == (0, 1)
    avi(AVI, pixel(5, 1, 2))(output)
    for options in ([], ["--allow-missing"]):
        assert CliRunner().invoke(main, [*command, *options]).exit_code == 1


def test_findings_are_bounded_and_counted(output: Path) -> None:
    avi(AVI, lambda frames: 255 - frames)(output)
    [result] = verify_files(output)["results"]
    assert result["counts"] == {"pixels": result["frames"]}
    assert [each["frame"] for each in result["findings"]] == list(range(20))


def test_the_command_tells_and_exits(output: Path) -> None:
    run = CliRunner().invoke(main, ["verify", str(output), "--no-progress"])
    assert (run.exit_code, run.stdout.strip()) == (0, f"{STEM}: 21 frames, no difference")
    avi(AVI, pixel(5, 1, 2))(output)
    run = CliRunner().invoke(main, ["verify", str(output / STORE), "--no-progress"])
    assert run.exit_code == 1
    assert f"{AVI}: frame 5, row 1, column 2: differs in 1 pixel," in run.stdout
    assert run.stdout.endswith(f"{STEM}: 21 frames, 1 difference\n")
    run = CliRunner().invoke(main, ["verify", str(output), "--json"])
    assert (run.exit_code, json.loads(run.stdout)["differences"]) == (1, 1)
    shutil.rmtree(output)
    run = CliRunner().invoke(main, ["verify", str(output), "--no-progress"])
    assert run.exit_code == 3


def test_a_folder_without_results_is_no_folder_of_results(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError, match="no result in it"):
        verify_files(tmp_path)
    exported = tmp_path / "x.nwb"
    exported.touch()
    with pytest.raises(InputError, match=r"x\.nwb: is .* an exported file .*; name the folder"):
        verify_files(exported)
    swapped = CliRunner().invoke(main, ["verify", "A.avi", "B.avi"])
    assert swapped.exit_code == 2
    assert "B.avi: one result at a time; name its recordings with -i" in swapped.stderr


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"digests": {}}'])
def test_a_summary_that_is_damaged_hides_no_result(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.avi").write_bytes(b"")
    (tmp_path / "a.json").write_bytes(content)
    (tmp_path / "._a.json").write_bytes(b"")
    found = verify_files(tmp_path)
    assert [each["stem"] for each in found["results"]] == ["a"]
    assert found["differences"]


@pytest.fixture(scope="module")
def in_format_2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = {"zarr_format": 2, "codec": None, "report": False}
    return make(tmp_path_factory.mktemp("two"), {}, options)


@pytest.mark.parametrize(
    "attributes", ["[]", *(pytest.param(each, marks=pytest.mark.slow) for each in ("3", "null"))]
)
def test_attributes_that_are_no_object_are_found(
    in_format_2: Path, tmp_path: Path, attributes: str
) -> None:
    folder = Path(shutil.copytree(in_format_2, tmp_path / "out"))
    (folder / STORE / "buffers" / "frame_num" / ".zattrs").write_text(attributes)
    assert any("buffers/frame_num" in each["message"] for each in findings(folder))


@pytest.mark.parametrize(
    "summary",
    [
        *('{"outputs": [3]}', "[]"),
        *(pytest.param(each, marks=pytest.mark.slow) for each in ('{"outputs": 3}', "5", "{}")),
    ],
)
def test_a_summary_of_something_else_is_found(output: Path, summary: str) -> None:
    (output / f"{STEM}.json").write_text(summary)
    assert any(each["file"] == f"{STEM}.json" for each in findings(output))
