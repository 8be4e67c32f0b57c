"""The lags of the recordings of one session: told by each other, applied where certain."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest

import miostitch
from miostitch.errors import InputError, MismatchError, Notice, Severity, VideoError, report_notices
from miostitch.recording import lag as lag_module
from miostitch.recording.files import ReadOptions
from miostitch.recording.lag import Lag
from miostitch.recording.recording import Recording, open_recordings
from tests.commands import run
from tests.folders import content
from tests.sessions import received_later

AUTO = ReadOptions(lag="auto")
CONFIG = miostitch.SimulationConfig(frames=150, height=30, width=40, resets=1)
NOTHING_LOST = replace(
    CONFIG, buffer_loss=0, bursts=0, overrun=0, truncation=0, header_flips=0, resets=0
)


@cache
def simulated(config: miostitch.SimulationConfig) -> dict[str, bytes]:
    """The files of a session; most tests take the same few."""
    with TemporaryDirectory() as folder:
        miostitch.simulate(folder, config)
        return content(Path(folder))


def simulate_one(folder: Path, config: miostitch.SimulationConfig, number: int) -> Path:
    """The recording of one of the receivers alone."""
    video = folder / f"receiver{number + 1}.avi"
    folder.mkdir(parents=True)
    for path in (video, video.with_suffix(".csv")):
        path.write_bytes(simulated(config)[path.name])
    return video


def made(folder: Path, lags: Sequence[int], losses: Sequence[bool]) -> list[Path]:
    """Recordings of one scene, each with its lag, with missing buffers or none."""
    videos = []
    for number, (lag, lossy) in enumerate(zip(lags, losses, strict=True)):
        config = replace(CONFIG if lossy else NOTHING_LOST, lag=lag, receivers=len(lags))
        videos.append(simulate_one(folder / str(number), config, number))
    return videos


def lags_of(recordings: Sequence[Recording]) -> list[int | None]:
    return [recording.measured_lag.lag for recording in recordings]


def said_of_lags(recordings: Sequence[Recording]) -> list[Notice]:
    return [notice for recording in recordings for notice in recording.lag_notices]


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
    assert [notice.remedy for notice in said_of_lags(auto)] == ["corrected"] * (
        (known != 0) + (unknown != 0)
    )
    if known >= 0 <= unknown:
        plain = said_of_lags(open_recordings(videos, ReadOptions(lag=0), measure=True))
        assert sum("use --lag auto" in str(notice) for notice in plain) == (
            (known != 0) + (unknown != 0)
        )
        assert all(notice.severity == Severity.DOUBT for notice in plain)
    salvage = replace(AUTO, salvage=True)
    if unknown in (0, 1):
        assert lags_of(open_recordings(videos[::order][1:], salvage, measure=True)) == [None]
    else:  # the table has other frames than the video
        with pytest.raises(MismatchError, match="nothing shows where frames are missing"):
            open_recordings(videos[::order][1:], salvage, measure=True)


def test_the_one_that_shares_most_is_asked(tmp_path: Path) -> None:
    videos = made(tmp_path, (1, 1, 1), (True, False, True))
    table = videos[0].with_suffix(".csv")
    rows = pd.read_csv(table)
    rows.loc[rows.index > 300, "frame_num"] += 9000
    rows.to_csv(table, index=False)
    loaded = open_recordings(videos, AUTO, names=("a", "b", "c"), measure=True)
    assert lags_of(loaded) == [1, 1, 1]
    assert loaded[1].measured_lag.shared_with == "c"


@pytest.mark.parametrize("lags", [(1, 1), (1, 0), (0, 1)])
def test_where_none_is_told_nothing_is_claimed(lags: tuple[int, int], tmp_path: Path) -> None:
    options = replace(AUTO, salvage=True)
    videos = made(tmp_path, lags, (False, False))
    loaded = open_recordings(videos, options, measure=True)
    assert lags_of(loaded) == [None, None]
    assert [recording.lag for recording in loaded] == [0, 0]
    notices = said_of_lags(loaded)
    assert sum("unknown whether the video is shifted" in str(notice) for notice in notices) == 2
    found = [notice for notice in notices if notice.severity == Severity.ERROR]
    assert len(found) == (lags[0] != lags[1])
    for notice in found:
        assert f"{loaded[1].path} and {loaded[0].path} agree in no buffer" in str(notice)
        assert "identical" in str(notice)
    if found:
        with pytest.raises(InputError, match="agree in no buffer"):
            report_notices(notices)
        asked = open_recordings(videos, replace(options, lag=0), measure=True)
        [doubt] = said_of_lags(asked)
        assert doubt.severity == Severity.DOUBT


def test_witnesses_that_contradict_each_other(tmp_path: Path) -> None:
    videos = made(tmp_path, (1, 1), (True, True))
    agreeing = said_of_lags(open_recordings(videos, AUTO, measure=True))
    assert [notice.remedy for notice in agreeing] == ["corrected"] * 2
    table = videos[1].with_suffix(".csv")
    rows = pd.read_csv(table)
    rows["frame_num"] += 1
    rows.to_csv(table, index=False)
    loaded = open_recordings(videos, AUTO, measure=True)
    assert lags_of(loaded) == [1, 1]
    assert [recording.lag for recording in loaded] == [1, 0]
    doubt, error = loaded[1].lag_notices
    black = r"(\d+) of \1 missing buffers are black at lag 1, \d+ at lag 0"
    identical = r"\d+ of \d+ buffers shared with receiver1 are identical at lag 2, 0 at lag 0"
    assert re.search(rf"receiver2.avi: .* is in doubt: {black}, but {identical}; lag 0", str(doubt))
    assert (doubt.severity, error.severity) == (Severity.DOUBT, Severity.ERROR)


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
    assert taken[1].lag == 0
    assert "lag 0 is used; set --lag if you know it" in str(taken[1].notices[-1])

    def fail(*_: object, **__: object) -> None:
        raise VideoError("x.avi: frame 3 cannot be read")

    monkeypatch.setattr(lag_module, "measure_shared_lag", fail)
    loaded = open_recordings([first, second], measure=True)
    assert lags_of(loaded) == [1, None]


def test_real_recordings_lag_alike(recordings: Path) -> None:
    videos = [recordings / "stitch" / f"video{n}.avi" for n in (1, 2)]
    auto = open_recordings(videos, AUTO, measure=True)
    assert [recording.lag for recording in auto] == [1, 1]
    assert auto[1].measured_lag == Lag(1, 310, 310, 0, "video1")
    witnesses = (
        "18 of 18 missing buffers are black at lag 1, 0 at lag 0",
        "310 of 310 buffers shared with video1 are identical at lag 1, 0 at lag 0",
    )
    assert [str(notice) for notice in said_of_lags(auto)] == [
        f"{video}: the video is 1 frame behind its table ({witness}); corrected"
        for video, witness in zip(videos, witnesses, strict=True)
    ]
    plain = open_recordings(videos, ReadOptions(lag=0), measure=True)
    assert all("use --lag auto" in str(notice) for notice in said_of_lags(plain)[:2])
    (alone,) = open_recordings(videos[1:], AUTO, measure=True)
    assert alone.lag == 0
    assert "unknown whether the video is shifted against its table (no missing" in str(
        alone.notices[-1]
    )
    assert "; lag 0 is used" in str(alone.notices[-1])


def in_segments(
    folder: Path, receivers: Sequence[Sequence[int]], losses: Sequence[Sequence[bool]]
) -> list[str]:
    """Recordings in segments, each with its lag, with missing buffers or none."""
    specs = []
    for number, (lags, lossy) in enumerate(zip(receivers, losses, strict=True)):
        parts = []
        for part, (lag, some) in enumerate(zip(lags, lossy, strict=True)):
            config = replace(CONFIG if some else NOTHING_LOST, resets=0, lag=lag)
            config = replace(config, first_frame_num=1000 * part, seed=config.seed + part)
            config = replace(config, receivers=len(receivers))
            video = simulate_one(folder / f"{number}{part}", config, number)
            received_later(video, 600 * part)
            parts.append(str(video))
        specs.append(",".join(parts))
    return specs


@pytest.mark.parametrize("lags", [(0, 1), (1, 1), (2, 0), (1, 2)])
@pytest.mark.parametrize("lossy", [(True, True), (False, True), (True, False), (False, False)])
def test_segments_are_salvaged_each_at_its_own_lag(
    lags: tuple[int, int], lossy: tuple[bool, bool], tmp_path: Path
) -> None:
    specs = in_segments(tmp_path, [lags, (0, 0)], [lossy, (True, True)])
    salvaged, other = open_recordings(specs, replace(AUTO, salvage=True), measure=True)
    found = [salvaged.placement(number) for number in range(2)]
    assert [salvaged.lag if each is None else each.lag for each in found] == [*lags]
    assert not [n for n in said_of_lags([salvaged, other]) if n.severity >= Severity.DOUBT]


def said_that_segments_differ(recording: Recording) -> list[Notice]:
    return [n for n in recording.lag_notices if "shifted differently" in str(n)]


def test_segments_whose_lags_differ_are_in_doubt(tmp_path: Path) -> None:
    specs = in_segments(tmp_path, [(0, 1), (0, 0)], [(True, True)] * 2)
    for options in (AUTO, ReadOptions(lag=0)):
        loaded = open_recordings(specs, options, measure=True)
        [doubt] = said_that_segments_differ(loaded[0])
        assert doubt.severity == Severity.DOUBT
        for path, lag in zip(specs[0].split(","), (0, 1), strict=True):
            assert f"{path} by {lag} (" in doubt.text
        assert f"lag {loaded[0].lag} is used for all" in doubt.remedy
        with pytest.raises(InputError, match="shifted differently"):
            report_notices([doubt], strict=True)
        assert not said_that_segments_differ(loaded[1])


def test_what_is_written_of_each_segment_with_its_lag_is_level(tmp_path: Path) -> None:
    [spec] = in_segments(tmp_path, [(1, 0)], [(True, True)])
    first, second = spec.split(",")
    run("concat", first, "-o", str(tmp_path / "level" / "first.avi"), "--lag", "1")
    mended = f"{tmp_path / 'level' / 'first.avi'},{second}"
    loaded = Recording.open(mended, AUTO, measure=True)
    assert (loaded.measured_lag.lag, loaded.lag) == (0, 0)
    assert not [n for n in loaded.lag_notices if n.severity >= Severity.DOUBT]
