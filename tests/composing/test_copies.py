"""By buffer, through the graph: against a slow reference, and the same for any blocks."""

import pickle
import shutil
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import miostitch
from miostitch.composing.copies import learn
from miostitch.schema import COLUMNS, Evidence
from miostitch.session.session import Session
from miostitch.stitching.options import StitchConfig
from miostitch.stitching.rows import RECEIVER, rows_of_buffers
from tests.laziness import never, stitch_frames
from tests.reference.composition import check_composed, composed_rows, copies_of
from tests.sessions import CONFIGS, Made, change_video, made
from tests.video_files import X264, decode, encode, write

pytestmark = pytest.mark.usefixtures("one_thread")

BY_BUFFER = StitchConfig(by="buffer")
NAMES = [column.name for column in COLUMNS]
MADE = ("video", "source", "missing_pixels", "noisy_pixels", "buffer_source", "buffer_evidence")

session = made()
crowded = made("many")
odd = made("odd")
unbooted = made(*(name for name in CONFIGS if name != "rebooted"))


def lazy(session: Session, span: slice | None = None, block: int = 1000) -> xr.Dataset:
    span = span or slice(0, session.shape[0])
    return stitch_frames(session, span, min(block, span.stop - span.start), BY_BUFFER)


@pytest.mark.parametrize("repair", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_frames_and_rows_are_those_of_a_slow_reference(unbooted: Made, repair: bool) -> None:
    require_reference(unbooted, repair=repair)


def test_frames_and_rows_of_tables_that_are_not_repaired(odd: Made) -> None:
    require_reference(odd, repair=False)


def require_reference(unbooted: Made, *, repair: bool) -> None:
    together = unbooted.together(repair=repair)
    frames = lazy(together, block=16).compute()
    receivers = [
        copies_of(path, together.bounds, unbooted.config.lag, repair=repair)
        for path in unbooted.videos
    ]
    numbers, gave = together.frame_num(slice(None)).tolist(), frames.buffer_source.to_numpy()
    check_composed(
        receivers,
        together.bounds,
        frames.video.to_numpy().reshape(len(frames.video), -1),
        numbers,
        frames.missing_pixels.to_numpy().tolist(),
        (frames.source.to_numpy().tolist(), gave),
    )
    rows = rows_of_buffers(together, slice(0, len(gave)), gave)[[*NAMES, RECEIVER]]
    expected = composed_rows(receivers, numbers, gave)
    # one row per buffer, whose order within a frame is that of reception: see test_rows
    rows = rows.sort_values(["reconstructed_frame_index", "frame_buffer_count"], ignore_index=True)
    rows = rows.rename(columns={RECEIVER: "receiver"})
    pd.testing.assert_frame_equal(rows, expected)


def test_blocks_do_not_matter(session: Made) -> None:
    together = session.together()
    whole = lazy(together).compute()
    for block in (1, 3, 7):
        assert lazy(together, block=block).compute().equals(whole)


def test_frames_do_not_depend_on_which_others_are_kept(session: Made) -> None:
    together = session.together()
    whole = lazy(together).compute()
    position = np.arange(together.shape[0])
    some = np.random.default_rng(1).random(len(position)) < 0.6
    for mask in (position % 2 == 1, position % 3 == 0, some, position == position[-1]):
        part = together.only(mask)
        assert lazy(part, block=4).compute().equals(whole.isel(frame=mask))
    again = together.only(some).only(np.arange(some.sum()) == 1)
    assert lazy(again).compute().equals(whole.isel(frame=[np.flatnonzero(some)[1]]))


def test_batches_are_parts_of_the_whole(crowded: Made) -> None:
    together = crowded.together()
    count = together.shape[0]
    model = learn(together)
    whole = lazy(together).compute()
    for start in range(0, count, 12):
        span = slice(start, min(start + 12, count))
        part = stitch_frames(together, span, 5, BY_BUFFER, model=model).compute()
        assert part.equals(whole.isel(frame=span))


def test_building_computes_nothing(crowded: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> None:
        raise AssertionError("read while building")

    together = crowded.together()
    monkeypatch.setattr("miostitch.recording.recording.BlockReader.read", read)
    with dask.config.set(scheduler=never):
        frames = lazy(together, block=5)
        _ = frames.video.isel(frame=slice(3, 9)).astype(float).mean("frame")
    with pytest.raises(AssertionError, match="read while building"):
        frames.video.compute()


def test_the_graph_is_small_and_picklable(crowded: Made) -> None:
    together = crowded.together()
    frames = lazy(together, block=4)
    blocks = -(-together.shape[0] // 4)
    graph = dict(frames.__dask_graph__())  # type: ignore[no-untyped-call]  # no hint in xarray
    assert len(graph) <= 48 * blocks
    again = pickle.loads(pickle.dumps(frames))
    assert again[list(MADE)].compute().equals(frames[list(MADE)].compute())


def test_one_receiver_gives_its_own_frames_whole(tmp_path: Path) -> None:
    alone = Made(tmp_path, receivers=1, frames=40, seed=7, header_flips=0.08)
    together = alone.together()
    assert len(together.alignment.duplicates) > 3
    frames = lazy(together).compute()
    assert frames.buffer_evidence.isin([Evidence.NOBODY, Evidence.SINGLE]).all()
    copies = copies_of(alone.videos[0], together.bounds)
    for frame, number in zip(frames.video.to_numpy(), together.frame_num(slice(None)), strict=True):
        copy = copies[int(number)]
        there = np.repeat(np.array(copy.have) > 0, np.diff(together.bounds))
        np.testing.assert_array_equal(frame.ravel(), np.where(there, copy.pixels, 0))
    pictures = decode(alone.videos[0])
    own = pictures[together.source_frame(slice(None))[0]]
    assert (frames.video.to_numpy() != own).any(axis=(1, 2)).sum() > 3  # pieces were glued


def test_every_pixel_is_some_candidates(session: Made) -> None:
    together = session.together()
    frames = lazy(together).video.to_numpy()
    black = frames == 0
    for number, path in enumerate(session.videos):
        pictures = decode(path)
        source = together.source_frame(slice(None))[number]
        present = (source >= 0)[:, None, None]
        black |= (pictures[source] == frames) & present
        places, pieces = together.pieces(number, source)
        for place, piece in zip(places, pieces, strict=True):
            black[place] |= pictures[piece] == frames[place]
    assert black.all()


def test_a_receiver_without_the_frame_gave_no_black_one(tmp_path: Path) -> None:
    dark = Made(tmp_path, seed=8, late_start_frames=6, frame_loss=0.1)
    for path in dark.videos:
        change_video(path, np.zeros_like)
    together = dark.together()
    frames = lazy(together).compute()
    present = together.source_frame(slice(None)) >= 0
    assert (~present[0]).sum() > 3
    source = frames.source.to_numpy()
    assert (source >= 0).all()
    assert present[source, np.arange(len(source))].all()


def test_what_has_no_row_is_missing_in_a_lossy_video(tmp_path: Path) -> None:
    raw = Made(tmp_path / "raw", seed=9, header_flips=0, overrun=0, truncation=0, buffer_loss=0.3)
    coded = []
    for path in raw.videos:
        coded.append(tmp_path / f"{path.stem}.mp4")
        encode(coded[-1], decode(path), "libx264", "yuv420p", X264)
        shutil.copy(path.with_suffix(".csv"), tmp_path)
    lossless, lossy = (miostitch.stitch(v, BY_BUFFER).load() for v in (raw.videos, coded))
    assert (lossless.missing_pixels > 0).sum() > 3
    np.testing.assert_array_equal(lossy.missing_pixels, lossless.missing_pixels)
    differ = np.abs(lossy.video.astype(int) - lossless.video.astype(int))
    assert differ.mean() < 4


@pytest.mark.parametrize("receivers", [2, 3])
@pytest.mark.parametrize("kind", ["intact", "flipped", "random"])
@pytest.mark.fault(70, "rows marked False, their pixels zero, any fields", "what others have")
def test_buffers_whose_headers_failed_are_taken_from_others(
    tmp_path: Path, receivers: int, kind: str
) -> None:
    size, rng = {"height": 20, "width": 20}, np.random.default_rng(receivers)
    none = dict.fromkeys(("buffer_loss", "truncation", "header_flips", "overrun", "bursts"), 0.0)
    made = Made(
        tmp_path,
        frames=20,
        receivers=receivers,
        **size,
        **none,
        frame_loss=0,
        late_start_frames=0,
        early_end_frames=0,
        seed=1,
        corruption=0,
    )
    truth = decode(tmp_path / "truth.avi")
    had = np.zeros((20, 8), bool)
    for number, path in enumerate(made.videos):
        table = pd.read_csv(path.with_suffix(".csv"))
        shared = np.random.default_rng(9).random(len(table)) < 0.05  # several at once
        bad = (rng.random(len(table)) < 0.1) | (shared & (number < 2))
        frame, k = table.reconstructed_frame_index.to_numpy(), table.frame_buffer_count.to_numpy()
        start = np.append(0, np.cumsum(table.pixel_count[:8]))
        video = decode(path).copy()
        inside = frame < len(video)
        for f, b in zip(frame[bad & inside], k[bad & inside], strict=True):
            video[f].reshape(-1)[start[b] : start[b + 1]] = 0
        write(path, video)
        good = ~bad & inside
        had[table.frame_num.to_numpy()[good] - 2500, k[good]] = True
        table["header_crc_ok"] = np.where(bad, "False", "True")
        if kind == "flipped":
            table.loc[bad, "frame_num"] ^= 1 << 20
        if kind == "random":
            for name in ("frame_num", "frame_buffer_count", "buffer_count", "pixel_count"):
                table.loc[bad, name] = rng.integers(0, 2**20, bad.sum())
        first = bad & (k == 0) & (frame > 0)
        table.loc[first, "reconstructed_frame_index"] -= 1  # as a new frame is not noticed
        table.to_csv(path.with_suffix(".csv"), index=False)
    together = made.together()
    frames = lazy(together).compute()
    numbers = together.frame_num(slice(None)) - 2500
    pixels = frames.video.to_numpy().reshape(len(numbers), -1)
    for number, found in zip(numbers.tolist(), pixels, strict=True):
        for b in np.flatnonzero(had[number]).tolist():
            here = slice(start[b], start[b + 1])
            np.testing.assert_array_equal(found[here], truth[number].reshape(-1)[here])
    np.testing.assert_array_equal(frames.missing_pixels > 0, ~had[numbers].all(axis=1))
    rows = rows_of_buffers(together, slice(0, len(numbers)), frames.buffer_source.to_numpy())
    assert set(rows.header_crc_ok) == {"True"}


@pytest.mark.parametrize("first", [True, False])
def test_a_lossy_video_gives_only_what_no_exact_one_has(tmp_path: Path, first: bool) -> None:
    clean = dict.fromkeys(("header_flips", "overrun", "truncation", "corruption"), 0.0)
    raw = Made(tmp_path / "raw", frames=40, seed=4, buffer_loss=0.1, height=40, width=60, **clean)
    lossy, exact = tmp_path / "coded.avi", raw.videos[1]
    encode(lossy, decode(raw.videos[0]), "mjpeg", "yuvj420p", {"qscale": "2"})
    shutil.copy(raw.videos[0].with_suffix(".csv"), lossy.with_suffix(".csv"))
    videos = [lossy, exact] if first else [exact, lossy]
    composed = miostitch.stitch(videos, BY_BUFFER).load()
    alone = miostitch.stitch([exact], BY_BUFFER).load()
    alone = alone.isel(frame=np.flatnonzero(~alone.damaged))
    numbers = composed.frame_num.to_numpy().tolist()
    places = [numbers.index(number) for number in alone.frame_num.to_numpy().tolist()]
    assert 5 < len(places) < len(numbers)
    np.testing.assert_array_equal(composed.video[places], alone.video)
    assert (~composed.damaged).sum() > len(places)  # the lossy one fills what the other lacks
