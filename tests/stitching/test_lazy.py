"""Stitching as a whole: the reference figures, an independent oracle, and laziness."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import cv2
import dask
import numpy as np
import pandas as pd
import pytest

import miostitch
from miostitch.composing.copies import learn
from miostitch.errors import UsageError
from miostitch.recording import recording as opening
from miostitch.recording.files import ReadOptions
from miostitch.recording.lag import Lag
from miostitch.recording.recording import Recording
from miostitch.session.session import bring_together
from miostitch.stitching.options import StitchConfig, StitchOptions
from miostitch.stitching.run import stitch_files
from miostitch.video.readers import FrameReader
from tests.laziness import never, stitch_frames
from tests.video_files import GOLDEN, blake2s_of, decode

pytestmark = pytest.mark.usefixtures("one_thread")

Piece = tuple[tuple[int, float, float], int, int]
"""Rank, recording and frame."""


def oracle(videos: list[Path]) -> dict[int, tuple[int, int]]:
    """Recording and frame for every frame_num, one frame at a time with pandas and OpenCV."""
    candidates: dict[int, list[Piece]] = {}
    for number, path in enumerate(videos):
        table = pd.read_csv(path.with_suffix(".csv"))
        pieces: dict[int, Piece] = {}
        for position, picture in enumerate(decode(path).astype(np.int32)):
            rows = table[table.reconstructed_frame_index == position]
            if rows.empty:
                continue
            ordered = rows.sort_values("frame_buffer_count", kind="stable").frame_num
            counts = ordered.value_counts()
            frame_num = next(n for n in ordered if counts[n] == counts.max())
            key = (-rows.frame_buffer_count.nunique(), *rank(picture, rows))
            piece = (key, number, position)
            if frame_num not in pieces or key[0] < pieces[frame_num][0][0]:
                pieces[frame_num] = piece
        for frame_num, piece in pieces.items():
            candidates.setdefault(frame_num, []).append(piece)
    return {n: min(found)[1:] for n, found in sorted(candidates.items())}


def rank(picture: np.ndarray, rows: pd.DataFrame) -> tuple[float, float]:
    width = picture.shape[1]
    dark = np.lib.stride_tricks.sliding_window_view(picture <= 0, 5, axis=1)
    noisy = np.abs(np.diff(picture, n=2, axis=1)).mean(axis=1) > 20
    flaws = (dark.all(axis=-1).any(axis=-1).sum() + noisy.sum()) * width
    flaws += rows.black_padding_px.clip(lower=0).sum()
    gray = picture.astype(np.uint8)
    gradients = [cv2.Sobel(gray, cv2.CV_16S, *d, ksize=3) for d in ((1, 0), (0, 1))]
    edges = sum(np.abs(gradient.astype(np.int64)).sum() for gradient in gradients)
    return float(flaws), float(edges)


def test_the_reference_figures(recordings: Path) -> None:
    videos = [recordings / "stitch" / f"video{n}.avi" for n in (1, 2)]
    stitched = miostitch.stitch(videos, lag=0)
    assert blake2s_of(stitched.video.to_numpy()) == GOLDEN
    assert stitched.frame_num.to_numpy().tolist() == list(range(2514, 2567))
    assert stitched.source.sel(frame_num=2530) == 1


def test_at_the_right_lag_two_receivers_have_all_by_frame_or_by_buffer(recordings: Path) -> None:
    videos = [recordings / "stitch" / f"video{n}.avi" for n in (1, 2)]
    reading = ReadOptions(lag="auto")
    chosen, made = (
        miostitch.stitch(videos, StitchConfig(by=by), reading=reading).load()
        for by in ("frame", "buffer")
    )
    assert made.frame_num.to_numpy().tolist() == chosen.frame_num.to_numpy().tolist()
    for frames in (chosen, made):
        assert not frames.missing_pixels.any()
        assert not frames.noisy_pixels.any()
    np.testing.assert_array_equal(made.video, chosen.video)


@pytest.mark.parametrize("receivers", [1, pytest.param(2, marks=pytest.mark.slow), 3])
def test_every_frame_is_the_one_an_oracle_picks(tmp_path: Path, receivers: int) -> None:
    config = miostitch.SimulationConfig(
        frames=50,
        receivers=receivers,
        seed=receivers,
        height=40,
        width=50,
        corruption=0.05,
        header_flips=0,
    )
    session = miostitch.simulate(tmp_path, config)
    expected = oracle(list(session.recordings))
    stitched = miostitch.stitch(session.recordings)
    assert stitched.frame_num.to_numpy().tolist() == list(expected)
    assert stitched.source.to_numpy().tolist() == [source for source, _ in expected.values()]
    pictures = [decode(path) for path in session.recordings]
    for frame, (source, position) in zip(stitched.video.to_numpy(), expected.values(), strict=True):
        np.testing.assert_array_equal(frame, pictures[source][position])


@pytest.mark.slow  # simulated recordings agree with it always
def test_real_recordings_agree_with_the_oracle(recordings: Path) -> None:
    videos = [recordings / "capture3" / f"receiver{n}.avi" for n in (1, 2, 3)]
    stitched = miostitch.stitch(videos)
    expected = oracle(videos)
    assert stitched.frame_num.to_numpy().tolist() == list(expected)
    assert stitched.source.to_numpy().tolist() == [source for source, _ in expected.values()]


def test_flipped_headers_invent_no_frame(tmp_path: Path) -> None:
    config = miostitch.SimulationConfig(
        frames=300, receivers=2, seed=9, height=40, width=50, header_flips=0.02
    )
    session = miostitch.simulate(tmp_path, config)
    assert len(session.load_arrays()["flips"]) > 50
    stitched = miostitch.stitch(session.recordings)
    sent = range(config.first_frame_num, config.first_frame_num + config.frames)
    assert set(stitched.frame_num.to_numpy()) <= set(sent)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    config = miostitch.SimulationConfig(frames=60, seed=5, height=40, width=50)
    return list(miostitch.simulate(tmp_path_factory.mktemp("session"), config).recordings)


def test_nothing_is_read_before_it_is_asked_for(session: list[Path]) -> None:
    with dask.config.set(scheduler=never):
        stitched = miostitch.stitch(session)
        _ = stitched.video.isel(frame=slice(3, 9)).astype(float).mean("frame")


def test_there_are_two_ways_to_make_frames() -> None:
    with pytest.raises(UsageError, match="by 'pixel': must be frame or buffer"):
        StitchConfig(by="pixel")  # type: ignore[arg-type]


def test_every_source_frame_is_read_once(
    session: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    read = FrameReader.read
    model = learn(bring_together([Recording.open(path) for path in session]))

    def counting(self: FrameReader, out: np.ndarray | None = None) -> np.ndarray:
        asked.append(int((np.asarray(self.frames) >= 0).sum()))
        return read(self, out)

    monkeypatch.setattr(FrameReader, "read", counting)
    monkeypatch.setattr(opening, "measure_lag", lambda *_: Lag(0))  # reads some, once more
    monkeypatch.setattr("miostitch.session.session.follow_agreement", lambda found: found)  # too
    monkeypatch.setattr("miostitch.stitching.run.learn", lambda _: model)  # too
    options = StitchOptions(debug_video=True, chunk_frames=5, report=False)  # it shows some
    stitch_files([str(path) for path in session], tmp_path, options)
    together = bring_together([Recording.open(path) for path in session])
    assert sum(asked) == (together.alignment.source_frame >= 0).sum()


def test_the_graph_is_small_and_picklable(session: list[Path]) -> None:
    together = bring_together([Recording.open(path) for path in session])
    count = len(together.alignment)
    lazy = stitch_frames(together, slice(0, count), 10, StitchConfig())
    blocks = -(-count // 10)
    graph = dict(lazy.__dask_graph__())  # type: ignore[no-untyped-call]  # xarray has no hint here
    assert len(graph) <= 30 * blocks
    again = pickle.loads(pickle.dumps(lazy))
    np.testing.assert_array_equal(again.video, lazy.video)


def test_batches_are_parts_of_the_whole(session: list[Path]) -> None:
    together = bring_together([Recording.open(path) for path in session])
    count = len(together.alignment)
    whole = stitch_frames(together, slice(0, count), 10, StitchConfig()).compute()
    for start in range(0, count, 20):
        span = slice(start, min(start + 20, count))
        part = stitch_frames(together, span, 10, StitchConfig()).compute()
        assert part.equals(whole.isel(frame=span))


@pytest.mark.parametrize("recordings", [[], "a.avi", Path("a.avi")])
def test_a_list_of_recordings_is_needed(recordings: list[str]) -> None:
    with pytest.raises(UsageError, match="give a list of recordings"):
        miostitch.stitch(recordings)


@pytest.mark.parametrize("by", [pytest.param("frame", marks=pytest.mark.slow), "buffer"])
def test_a_batch_of_ten_million_frames_has_the_tasks_of_any_other(
    tmp_path: Path, by: Literal["frame", "buffer"]
) -> None:
    count, block = 10_000_000, 419
    config = miostitch.SimulationConfig(frames=block, seed=1, height=20, width=20)
    made = miostitch.simulate(tmp_path, config)
    short = bring_together([Recording.open(path) for path in made.recordings])
    # the same frames again and again
    kept = np.resize(short.kept, count)
    alignment = replace(
        short.alignment,
        frame_num=np.arange(count),
        source_frame=short.alignment.source_frame[:, kept],
    )
    long = replace(short, alignment=alignment, kept=np.arange(count, dtype=np.int32))
    way = StitchConfig(by=by)
    tasks = []
    for start in (0, count // 2 // block * block, count - 8 * block):
        frames: Any = stitch_frames(long, slice(start, start + 8 * block), block, way)
        tasks.append(len(dict(frames.__dask_graph__())))
    assert tasks[0] == tasks[1] == tasks[2]
    assert tasks[0] <= 8 * 40
