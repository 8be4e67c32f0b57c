"""Simulated sessions: the truth holds, and mio's rules lead from the table to the video."""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, reject, settings
from numpy.typing import NDArray

from miostitch.errors import OutputExistsError, ResourceError, UsageError
from miostitch.schema import COLUMNS
from miostitch.simulation.receivers import Simulation, SimulationConfig, simulate
from tests.folders import content
from tests.strategies import buffer_tables, simulation_configs

module = import_module("miostitch.simulation.receivers")
CLEAN: dict[str, Any] = dict.fromkeys(
    ("buffer_loss", "frame_loss", "corruption", "truncation", "overrun", "header_flips"), 0.0
)
SMALL: dict[str, Any] = {"height": 16, "width": 20}
CELLS = ["frame_num", "frame_buffer_count", "reconstructed_frame_index"]
HEADER = [column.name for column in COLUMNS[:11]]


def pictures(path: Path, pixels: int) -> NDArray[np.uint8]:
    """Every frame, flattened, by a way of its own."""
    with av.open(str(path), format="avi") as container:
        packets = [bytes(packet) for packet in container.demux(video=0)]
    frames = [np.frombuffer(packet, np.uint8) for packet in packets if packet]
    assert all(len(frame) == pixels for frame in frames)
    return np.array(frames, np.uint8).reshape(-1, pixels)


class Session:
    """A session read back."""

    def __init__(self, result: Simulation) -> None:
        config = self.config = result.config
        pixels = config.height * config.width
        self.result = result
        self.truth = pictures(result.truth_video, pixels)
        types = {column.name: column.dtype for column in COLUMNS}  # an empty column has none
        self.truth_table = pd.read_csv(result.truth_table, dtype=types)
        self.videos = [pictures(path, pixels) for path in result.recordings]
        self.tables = [
            pd.read_csv(path.with_suffix(".csv"), dtype=types) for path in result.recordings
        ]
        self.arrays = result.load_arrays()
        edges = config.edges.tolist()
        self.ranges = [slice(*pair) for pair in pairwise(edges)]


@contextmanager
def session(config: SimulationConfig) -> Iterator[Session]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = simulate(folder, config)
        except UsageError:  # so many losses that a receiver shows no frame
            reject()
        yield Session(result)


@pytest.fixture(scope="module", autouse=True)
def small_blocks() -> Iterator[None]:
    """Blocks of seven frames, so that short sessions have many seams."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("miostitch.simulation.device.chunk_frames", lambda height, width: 7)
        yield


@settings(max_examples=15, deadline=None)
@given(simulation_configs())
def test_truth_says_where_every_buffer_is(config: SimulationConfig) -> None:
    with session(config) as s:
        check_truth(s)


def check_truth(s: Session) -> None:
    assert len(s.truth) == s.config.frames
    assert s.truth.min() >= 20
    assert s.truth.max() <= 200
    video_frame = s.arrays["video_frame"]
    for r, frame, k in np.argwhere(video_frame >= 0).tolist():
        found = s.videos[r][video_frame[r, frame, k], s.ranges[k]]
        sent = s.truth[frame, s.ranges[k]]
        differs = np.flatnonzero(found != sent)
        if s.arrays["short"][r, frame, k]:
            assert not found[differs[0] :].any()
        else:
            assert bool(len(differs)) == s.arrays["corrupted"][r, frame, k]


@settings(max_examples=15, deadline=None)
@given(simulation_configs())
def test_a_range_is_zero_exactly_where_the_table_has_no_row(config: SimulationConfig) -> None:
    with session(config) as s:
        for video, table in zip(s.videos, s.tables, strict=True):
            index = table["reconstructed_frame_index"]
            pieces = index.max() + 1
            if pieces > 0:
                assert set(index) - {-1} == set(range(pieces))
                assert len(video) == pieces + config.lag - config.extra_frame
            filled = np.maximum.reduceat(video, config.edges[:-1], axis=1) > 0
            position = index + config.lag
            shown = table[(index >= 0) & (position >= 0) & (position < len(video))]
            named = np.zeros_like(filled)
            at = shown["reconstructed_frame_index"] + config.lag
            named[at, shown["frame_buffer_count"]] = True
            first = max(config.lag, 0)  # pictures without a row
            assert np.array_equal(filled[first:], named[first:])


@settings(max_examples=15, deadline=None)
@given(simulation_configs(corruption=0.0, truncation=0.0, lag=0, extra_frame=False, resets=0))
def test_rows_read_one_by_one_give_the_video(config: SimulationConfig) -> None:
    with session(config) as s:
        check_rows(s)


def check_rows(s: Session) -> None:
    """A change of ``frame_num`` ends a picture; a row fills the place it names."""
    for r, (video, table) in enumerate(zip(s.videos, s.tables, strict=True)):
        own = sent_rows(s, r)
        expected: list[NDArray[np.uint8]] = []
        last = -1
        for cells, true in zip(table[CELLS].to_numpy(), own[CELLS].to_numpy(), strict=True):
            num, slot, index = cells.tolist()
            if index < 0:
                assert slot >= len(s.ranges)
                continue
            if num != last:
                expected.append(np.zeros(s.truth.shape[1], np.uint8))
            last = num
            assert index == len(expected) - 1
            place = expected[-1][s.ranges[slot]]
            payload = s.truth[true[2], s.ranges[true[1]]]
            size = min(len(place), len(payload))
            place[:size], place[size:] = payload[:size], 0
        assert np.array_equal(video, np.array(expected, np.uint8).reshape(video.shape))


def test_frames_merge_across_the_seam_of_blocks() -> None:
    """A buffer with the ``frame_num`` of the next frame is filed there, in the next block."""
    options = CLEAN | {"header_flips": 0.5, "resets": 0, "extra_frame": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("miostitch.simulation.device.chunk_frames", lambda height, width: 1)
        with session(SimulationConfig(frames=120, height=4, width=8, **options)) as s:
            check_rows(s)
            check_truth(s)
            first = s.tables[0].groupby("reconstructed_frame_index")["buffer_count"].first()
            late = first[first % 8 == 7].index
            sizes = s.tables[0]["reconstructed_frame_index"].value_counts()
            assert (sizes[late] > 1).any()


def sent_rows(s: Session, receiver: int) -> pd.DataFrame:
    """The truth table's row for every row of a receiver, by its repaired header."""
    table = s.tables[receiver][HEADER].copy()
    for flip in s.arrays["flips"][s.arrays["flips"]["receiver"] == receiver]:
        assert table.loc[flip["row"], flip["column"]] == flip["received"]
        table.loc[flip["row"], flip["column"]] = flip["sent"]
    truth = s.truth_table.set_index("buffer_count", drop=False)
    rows = truth.loc[table["buffer_count"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows[HEADER], table)
    return rows


@settings(max_examples=15, deadline=None)
@given(simulation_configs(resets=0))
def test_only_the_listed_cells_of_headers_are_flipped(config: SimulationConfig) -> None:
    with session(config) as s:
        for r, table in enumerate(s.tables):
            rows = sent_rows(s, r)
            assert rows["buffer_count"].is_monotonic_increasing
            assert rows["buffer_count"].is_unique
            assert (np.diff(table["buffer_recv_unix_time"]) > 0).all()
            assert (np.diff(table["buffer_recv_index"]) == 1).all()
            if config.overrun == 0 and config.truncation == 0 and config.header_flips == 0:
                assert not table["black_padding_px"].any()


def test_truth_table_is_complete_and_redundant() -> None:
    with session(SimulationConfig(frames=40, resets=2, **SMALL)) as s:
        table = s.truth_table
        buffers = len(s.ranges)
        assert buffers == 8
        assert list(table) == [column.name for column in COLUMNS]
        assert len(table) == 40 * buffers
        position = table["frame_buffer_count"]
        assert (table["buffer_count"] == buffers * table["frame_num"] + position).all()
        assert (table["linked_list"] == table["buffer_count"] % 32).all()
        num = table["frame_num"].to_numpy()[::buffers]
        assert num.tolist() == [*range(2500, 2513), *range(13), *range(14)]
        assert (np.diff(table["buffer_recv_unix_time"]) > 0).all()


def test_clean_receiver_has_the_truth() -> None:
    config = SimulationConfig(frames=20, extra_frame=False, early_end_frames=0, **CLEAN, **SMALL)
    with session(config) as s:
        for r, start in enumerate((0, 3)):
            assert np.array_equal(s.videos[r], s.truth[start:])
            assert not s.tables[r]["black_padding_px"].any()
        late = s.tables[0][s.tables[0]["frame_num"] >= 2503]
        ahead = s.tables[1]["buffer_recv_unix_time"] - late["buffer_recv_unix_time"].to_numpy()
        assert abs(ahead - 0.35).max() < 0.001


def test_lag_moves_the_table_against_the_video() -> None:
    options: dict[str, Any] = {"frames": 20, "receivers": 1, **CLEAN, **SMALL}
    for lag in (-2, 0, 1):
        with session(SimulationConfig(lag=lag, **options)) as s:
            index = s.tables[0]["reconstructed_frame_index"].to_numpy()
            device = s.tables[0]["frame_num"].to_numpy() - 2500
            shown = (index + lag >= 0) & (index + lag < len(s.videos[0]))
            assert np.array_equal(s.videos[0][index[shown] + lag], s.truth[device[shown]])
            assert len(s.videos[0]) == 19 + min(lag, 0)
            assert index.max() == 19 - max(lag, 0)


def test_overruns_swallow_the_next_buffer() -> None:
    config = SimulationConfig(frames=60, receivers=1, **(CLEAN | {"overrun": 0.1}), **SMALL)
    with session(config) as s:
        table = s.tables[0]
        skipped = -table["buffer_count"].diff(-1).fillna(-1).to_numpy() - 1
        padding = table["black_padding_px"].to_numpy()
        inner = table["frame_buffer_count"].to_numpy() < 7
        ran_over = inner & (padding < 0)
        assert ran_over.sum() == s.result.counts[0]["overruns"] > 20
        payload = int(config.edges[1]) + 48
        assert (-padding[inner] == skipped[inner] * payload).all()
        assert (padding[~inner] < 0).all()
        assert (table["frame_buffer_count"] == 0).sum() == 60


def test_recording_begins_with_the_start_of_a_frame() -> None:
    for seed in range(5):
        options = CLEAN | {"buffer_loss": 0.6, "bursts": 0.0}
        with session(SimulationConfig(frames=20, seed=seed, **options, **SMALL)) as s:
            assert [table["frame_buffer_count"][0] for table in s.tables] == [0, 0]


def test_header_flips_split_frames() -> None:
    options = CLEAN | {"header_flips": 0.05}
    with session(SimulationConfig(frames=100, receivers=1, **options, **SMALL)) as s:
        shown = s.arrays["video_frame"][0]
        pieces = [len(set(frame[frame >= 0])) for frame in shown]
        assert max(pieces) >= 3
        assert len(s.videos[0]) > 100
        assert set(s.arrays["flips"]["column"]) == {name for name, _ in module.FLIPPABLE}


@pytest.mark.parametrize(
    ("bursts", "name", "unit"),
    [
        (1.0, "buffer_loss", 1),
        (1.0, "frame_loss", 8),
        (0.0, "corruption", 1),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in ((0.0, "buffer_loss", 1), (0.0, "frame_loss", 8), (1.0, "corruption", 1))
        ),
    ],
)
def test_rates_are_those_asked_for(name: str, unit: int, bursts: float) -> None:
    options = CLEAN | {name: 0.03, "bursts": bursts, "late_start_frames": 0, "early_end_frames": 0}
    config = SimulationConfig(frames=2000, receivers=1, height=8, width=8, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("miostitch.simulation.device.chunk_frames", lambda height, width: 16)
        with session(config) as s:
            array = s.arrays["corrupted" if name == "corruption" else "video_frame"][0]
            hit = (array == 1 if name == "corruption" else array < 0).ravel()[:-8]
    length = 6 if bursts else 1
    starts = np.flatnonzero(np.diff(hit.astype(int)) == 1)
    ends = np.flatnonzero(np.diff(np.append(hit, 0).astype(int)) == -1)
    mean = (ends[-len(starts) :] - starts).mean() / unit
    assert mean == pytest.approx(np.expm1(0.03 * length) / 0.03, rel=0.1)
    assert hit.mean() == pytest.approx(-np.expm1(-0.03 * length), rel=0.2)


def test_a_longer_session_begins_like_a_shorter_one(tmp_path: Path) -> None:
    options: dict[str, Any] = {"early_end_frames": 0, "bursts": 0.5, "header_flips": 0.02, **SMALL}
    short, long = (
        Session(simulate(tmp_path / str(n), SimulationConfig(frames=n, **options)))
        for n in (60, 95)
    )
    assert np.array_equal(short.truth, long.truth[:60])
    for one, other in zip(short.videos, long.videos, strict=True):
        assert np.array_equal(one, other[: len(one)])
    for some, more in zip(short.tables, long.tables, strict=True):
        pd.testing.assert_frame_equal(some, more[: len(some)])


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    configs = [SimulationConfig(frames=30, seed=seed, **SMALL) for seed in (1, 1, 2)]
    for number, config in enumerate(configs):
        simulate(tmp_path / str(number), config)
    first, second, other = (content(tmp_path / str(number)) for number in range(3))
    assert first == second
    assert [name for name in first if first[name] == other[name]] == []


def test_the_session_of_a_seed_never_changes() -> None:
    with session(SimulationConfig(frames=30, seed=7, **SMALL)) as s:
        digest = hashlib.blake2b(digest_size=8)
        for video in (s.truth, *s.videos):
            digest.update(video.tobytes())
        for path in (*s.result.recordings, s.result.truth_table):
            digest.update(path.with_suffix(".csv").read_bytes())
    assert digest.hexdigest() == "48db3f3661f6abbc"


@pytest.mark.parametrize(
    "options",
    [
        {"frames": 1, "receivers": 1, "extra_frame": False},
        {"frames": 3, "receivers": 8},
        {"frames": 9, "fps": Fraction(30000, 1001), "height": 1, "width": 1},
        {"frames": 30, "late_start_frames": 30},
    ],
)
def test_odd_sessions(options: dict[str, Any]) -> None:
    with session(SimulationConfig(**(SMALL | CLEAN | options))) as s:
        assert len(s.truth) == options["frames"]
        assert len(s.videos) == s.config.receivers


def test_nothing_received(tmp_path: Path) -> None:
    config = SimulationConfig(frames=20, receivers=1, buffer_loss=1.0, **SMALL)
    with pytest.raises(UsageError, match=r"receiver1\.avi: would show no frame"):
        simulate(tmp_path, config)
    assert not list(tmp_path.iterdir())


def test_summary_and_progress(tmp_path: Path) -> None:
    done: list[int] = []
    result = simulate(tmp_path, SimulationConfig(frames=30, **SMALL), progress=done.append)
    assert done == [7, 7, 7, 7, 2]
    content = json.loads((tmp_path / "truth.json").read_text("utf-8"))
    assert content["receivers"] == list(result.counts)
    content["config"]["fps"] = Fraction(content["config"]["fps"])
    assert SimulationConfig(**content["config"]) == result.config


def test_a_session_is_replaced_only_by_force(tmp_path: Path) -> None:
    simulate(tmp_path, SimulationConfig(frames=10, receivers=3, **SMALL))
    before = content(tmp_path)
    with pytest.raises(OutputExistsError, match=r"receiver3\.avi"):
        simulate(tmp_path, SimulationConfig(frames=10, seed=1, **SMALL))
    assert content(tmp_path) == before
    simulate(tmp_path, SimulationConfig(frames=10, seed=1, **SMALL), force=True)
    after = content(tmp_path)
    assert before.keys() - after.keys() == {"receiver3.avi", "receiver3.csv"}
    assert after["truth.avi"] != before["truth.avi"]


def test_receivers_of_no_session_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "receiver3.avi").write_bytes(b"recorded")
    simulate(tmp_path, SimulationConfig(frames=10, **SMALL), force=True)
    assert (tmp_path / "receiver3.avi").read_bytes() == b"recorded"


class Stopped(BaseException):
    """As ``KeyboardInterrupt``, which pytest would take for itself."""


def test_a_stopped_run_leaves_what_was_there(tmp_path: Path) -> None:
    seen: list[set[str]] = []

    def look(frames: int) -> None:
        seen.append({name for name in content(tmp_path) if not name.startswith(".session")})
        if len(seen) == 3:
            raise Stopped

    for before in (set(), {"truth.json", "receiver1.avi"}):
        seen.clear()
        kept = content(tmp_path)
        assert before <= kept.keys()
        with pytest.raises(Stopped):
            simulate(tmp_path, SimulationConfig(frames=30, **SMALL), force=True, progress=look)
        assert seen == [kept.keys()] * 3
        assert content(tmp_path) == kept
        simulate(tmp_path, SimulationConfig(frames=10, **SMALL), force=True)


def test_what_cannot_be_written_is_a_resource_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SimulationConfig(frames=10, **SMALL)
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match="file"):
        simulate(tmp_path / "file", config)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(ResourceError, match="No space left"):
        simulate(tmp_path / "session", config)
    assert not (tmp_path / "session").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"frames": 0},
        {"frames": 2.5},
        {"receivers": 0},
        {"seed": -1},
        {"buffer_pixels": 0},
        {"fps": 0},
        {"buffer_loss": 1.1},
        {"bursts": float("nan")},
        {"clock_offset_s": float("inf")},
        {"extra_frame": 2},
        {"resets": 200},
        {"lag": -200},
    ],
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"give a|too few"):
        SimulationConfig(**options)


def test_real_recordings_look_alike(recordings: Path) -> None:
    """What holds in the real tables and videos holds in simulated ones."""
    real = pd.read_csv(recordings / "stitch" / "video1.csv")
    video = pictures(recordings / "stitch" / "video1.avi", 40000)
    config = SimulationConfig(frames=53, lag=1, overrun=0.0, truncation=0.0)
    with session(config) as s:
        for table, frames in ((real, video), (s.tables[0], s.videos[0])):
            assert table["reconstructed_frame_index"].max() + 1 == len(frames)
            assert table["frame_num"].max() < 4096 + 2514
            sizes = table.groupby("frame_buffer_count")["pixel_count"].median()
            assert sizes[:8].tolist() == [5032] * 7 + [4776]
            sound = table["buffer_count"] == 8 * table["frame_num"] + table["frame_buffer_count"]
            ring = table["linked_list"] == table["buffer_count"] % 32
            assert 0.95 < (sound & ring).mean() < 1
            period = table.groupby("frame_num")["timestamp"].min().diff().median()
            assert period in {49.0, 50.0}
            assert 60 < frames.mean() < 140 or frames is video
        assert list(real) == list(s.tables[0])
        assert real.dtypes.equals(s.tables[0].dtypes)


@settings(max_examples=40)
@given(buffer_tables())
def test_tables_of_the_strategy_are_lawful(table: pd.DataFrame) -> None:
    assert list(table) == [column.name for column in COLUMNS]
    assert len(table)
    by_frame = table.groupby("reconstructed_frame_index")["frame_num"].agg(["min", "max"])
    assert by_frame.index.tolist() == list(range(len(by_frame)))
    assert (by_frame["min"] == by_frame["max"]).all()
    assert by_frame["min"].is_monotonic_increasing
