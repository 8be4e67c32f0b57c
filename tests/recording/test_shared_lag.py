"""The lags of one session's recordings: told by each other, never applied by themselves."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import miostitch
from miostitch.errors import VideoError
from miostitch.recording import lag as lag_module
from miostitch.recording.files import ReadOptions
from miostitch.recording.lag import Lag
from miostitch.recording.recording import Recording, open_recordings

AUTO = ReadOptions(lag="auto")
CONFIG = miostitch.SimulationConfig(frames=150, height=30, width=40, resets=1)
NOTHING_LOST = replace(
    CONFIG, buffer_loss=0, bursts=0, overrun=0, truncation=0, header_flips=0, resets=0
)


def made(folder: Path, lags: Sequence[int], losses: Sequence[bool]) -> list[Path]:
    """Recordings of one scene, each with its lag, with missing buffers or none."""
    videos = []
    for number, (lag, lossy) in enumerate(zip(lags, losses, strict=True)):
        config = replace(CONFIG if lossy else NOTHING_LOST, lag=lag, receivers=len(lags))
        videos.append(miostitch.simulate(folder / str(number), config).recordings[number])
    return videos


def lags_of(recordings: Sequence[Recording]) -> list[int | None]:
    return [recording.measured_lag.lag for recording in recordings]


def said_of_lags(recordings: Sequence[Recording]) -> list[str]:
    words = ("--lag", "apart")
    return [str(n) for r in recordings for n in r.notices if any(w in str(n) for w in words)]


@pytest.mark.parametrize(("known", "unknown"), [(0, 0), (0, 1), (1, 1), (1, 0), (-1, 2), (2, -1)])
@pytest.mark.parametrize("order", [1, -1])
def test_a_recording_that_lacks_nothing_is_told_by_another(
    known: int, unknown: int, order: int, tmp_path: Path
) -> None:
    videos = made(tmp_path, (known, unknown)[::order], (True, False)[::order])
    auto = open_recordings(videos, AUTO, measure=True)
    first, second = auto[::order]
    assert (first.lag, second.lag) == (known, unknown)
    assert first.measured_lag.shared_with is None
    assert second.measured_lag.shared_with == first.name
    assert second.measured_lag.matches > 300
    assert said_of_lags(auto) == []
    if known >= 0 <= unknown:
        plain = said_of_lags(open_recordings(videos, measure=True))
        assert len(plain) == (known != 0) + (unknown != 0)
        assert all("--lag auto puts that right" in notice for notice in plain)
    alone = open_recordings(videos[::order][1:], replace(AUTO, salvage=True), measure=True)
    assert lags_of(alone) == [None]


def test_the_one_that_shares_most_is_asked(tmp_path: Path) -> None:
    videos = made(tmp_path, (1, 1, 1), (True, False, True))
    table = videos[0].with_suffix(".csv")
    rows = pd.read_csv(table)
    rows.loc[rows.index > 300, "frame_num"] += 9000
    rows.to_csv(table, index=False)
    loaded = open_recordings(videos, AUTO, names=("a", "b", "c"), measure=True)
    assert lags_of(loaded) == [1, 1, 1]
    assert loaded[1].measured_lag.shared_with == "c"


@pytest.mark.parametrize(("lags", "apart"), [((1, 1), ""), ((2, 1), "1 frame "), ((0, 2), "2 fr")])
def test_where_none_is_told_nothing_is_claimed(
    lags: tuple[int, int], apart: str, tmp_path: Path
) -> None:
    options = replace(AUTO, salvage=True)
    loaded = open_recordings(made(tmp_path, lags, (False, False)), options, measure=True)
    assert lags_of(loaded) == [None, None]
    assert [recording.lag for recording in loaded] == [0, 0]
    notices = said_of_lags(loaded)
    assert sum("the lag cannot be told (no missing buffer" in notice for notice in notices) == 2
    found = [notice for notice in notices if " apart " in notice]
    assert len(found) == bool(apart)
    for notice in found:
        assert f"{loaded[1].path} and {loaded[0].path} are {apart}" in notice
        assert "identical" in notice


def test_witnesses_that_contradict_each_other(tmp_path: Path) -> None:
    videos = made(tmp_path, (1, 1), (True, True))
    assert said_of_lags(open_recordings(videos, AUTO, measure=True)) == []
    table = videos[1].with_suffix(".csv")
    rows = pd.read_csv(table)
    rows["frame_num"] += 1
    rows.to_csv(table, index=False)
    loaded = open_recordings(videos, AUTO, measure=True)
    assert lags_of(loaded) == [1, 1]
    (notice,) = said_of_lags(loaded)
    black = r"(\d+) of \1 missing buffers are black at lag 1, \d+ at lag 0"
    identical = r"\d+ of \d+ buffers shared with receiver1 are identical at lag 2, 0 at lag 0"
    assert re.search(rf"receiver2.avi: its lag is in doubt: {black}, but {identical}, ", notice)


def test_sound_recordings_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = made(tmp_path, (0, 0), (True, True))
    monkeypatch.setattr(lag_module, "measure_shared_lag", lambda *_, **__: pytest.fail("read"))
    assert lags_of(open_recordings(videos, measure=True)) == [0, 0]


def test_what_cannot_be_compared_stays_untold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = made(tmp_path, (1, 1), (True, False))
    other = miostitch.simulate(tmp_path / "o", replace(NOTHING_LOST, height=40)).recordings[0]
    assert lags_of(open_recordings([first, other], measure=True)) == [1, None]
    shutil.copy(second, tmp_path)
    options = ReadOptions(need_table=False)
    bare = open_recordings([first, tmp_path / second.name], options, measure=True)
    assert lags_of(bare) == [1, None]
    stranger = replace(NOTHING_LOST, first_frame_num=9000, lag=1)
    (other, _) = miostitch.simulate(tmp_path / "s", stranger).recordings
    taken = open_recordings([first, other], AUTO, measure=True)
    assert lags_of(taken) == [1, None]
    assert taken[1].lag == 1
    assert "1, as the other recordings have, is taken; --lag N" in str(taken[1].notices[-1])

    def fail(*_: object, **__: object) -> None:
        raise VideoError("x.avi: frame 3 cannot be read")

    monkeypatch.setattr(lag_module, "measure_shared_lag", fail)
    loaded = open_recordings([first, second], measure=True)
    assert lags_of(loaded) == [1, None]
    assert any("its lag was not compared: x.avi: frame 3" in str(n) for n in loaded[1].notices)


def test_real_recordings_lag_alike(recordings: Path) -> None:
    videos = [recordings / "stitch" / f"video{n}.avi" for n in (1, 2)]
    plain, auto = open_recordings(videos, measure=True), open_recordings(videos, AUTO, measure=True)
    assert [recording.lag for recording in auto] == [1, 1]
    assert auto[1].measured_lag == Lag(1, 310, 310, 0, "video1")
    assert said_of_lags(auto) == []
    witnesses = (
        "18 of 18 missing buffers are black at lag 1, 0 at lag 0",
        "310 of 310 buffers shared with video1 are identical at lag 1, 0 at lag 0",
    )
    assert said_of_lags(plain) == [
        f"{video}: pictures lag 1 frame behind the table ({witness}); --lag auto puts that right"
        for video, witness in zip(videos, witnesses, strict=True)
    ]
    (alone,) = open_recordings(videos[1:], AUTO, measure=True)
    assert alone.lag == 0
    assert "the lag cannot be told (no missing buffer was there to" in str(alone.notices[-1])
    assert "; 0 is taken" in str(alone.notices[-1])
