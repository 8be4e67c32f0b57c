"""What is shown is what stands in the files, frame for frame."""

import shutil
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from miostitch.buffers.frame_table import complete
from miostitch.errors import InputError
from miostitch.recording.files import ReadOptions
from miostitch.recording.recording import open_recordings
from miostitch.schema import SCORE_VARIABLES
from miostitch.session.session import bring_together
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from miostitch.store.layout import consolidate
from miostitch.viewer.cache import BlockCache
from miostitch.viewer.model import Panel, Scene
from miostitch.viewer.sources import open_scene
from tests.sessions import Made, renumber
from tests.video_files import decode, make_frames, write


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("session"), frames=40, seed=6, frame_loss=0.1)


@pytest.fixture(scope="module")
def store(session: Made, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("out")
    stitch_files(session.names, folder, StitchOptions(chunk_frames=7, report=False))
    return str(next(folder.glob("*.zarr")))


@pytest.fixture
def cache() -> Any:
    with BlockCache(2**22) as cache:
        yield cache


def test_a_result_beside_its_recordings(session: Made, store: str, cache: BlockCache) -> None:
    scene = open_scene([store], cache)
    assert [p.name for p in scene.panels] == ["result", "receiver1", "receiver2"]
    assert scene.panels[1].image(0, cache) == "is being looked for"
    scene.complete(Event())
    stitched = xr.open_zarr(store).load()
    scores = xr.open_zarr(store, group="scores").load()
    videos = [stitched.video.values, *(decode(path) for path in session.videos)]
    absent = 0
    for position in range(scene.count):
        looks = [panel.look(position) for panel in scene.panels]
        for panel, look, video in zip(scene.panels, looks, videos, strict=True):
            picture = panel.image(look.frame, cache)
            if look.frame < 0:
                assert picture == "not received"
                assert not look.facts
                absent += 1
            else:
                np.testing.assert_array_equal(picture, video[look.frame])
        assert looks[0].facts["source"] == stitched.source[position]
        assert looks[0].facts["frame_num"] == stitched.frame_num[position]
        for number, look in enumerate(looks[1:]):
            assert look.frame == scores.source_frame[number, position]
            for variable in SCORE_VARIABLES if look.frame >= 0 else ():
                if variable.name != "source_frame":
                    assert look.facts[variable.name] == scores[variable.name][number, position]
    assert absent


def test_damaged_tables_are_told(store: str, cache: BlockCache, tmp_path: Path) -> None:
    broken = tmp_path / Path(store).name
    shutil.copytree(store, broken)
    for chunk in broken.glob("scores/edge_energy/c/**/0"):
        if chunk.is_file():
            chunk.write_bytes(chunk.read_bytes()[:-5])
    scene = open_scene([str(broken)], cache)
    assert scene.panels[0].look(3).facts
    with pytest.raises(InputError, match=r"zarr: scores/edge_energy: cannot be read"):
        scene.panels[1].look(3)
    with pytest.raises(InputError, match=r"zarr: scores/edge_energy: cannot be read"):
        scene.complete(Event())


def test_recordings_side_by_side(session: Made, cache: BlockCache) -> None:
    scene = open_scene(session.names, cache)
    together = bring_together(open_recordings(session.names))
    expected = together.source_frame(slice(None))
    found = [[p.look(i).frame for i in range(scene.count)] for p in scene.panels]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(scene.column("frame_num"), together.frame_num(slice(None)))
    whole = complete(together.table("buffers", slice(None)), len(together.bounds) - 1)
    assert 0 < whole.all(axis=0).sum() < scene.count
    np.testing.assert_array_equal(scene.column("damaged"), ~whole.all(axis=0))
    lacking = np.flatnonzero(expected[0] < 0)
    assert len(lacking)
    everything = np.arange(scene.count)
    np.testing.assert_array_equal(scene.in_first(everything), expected[0][expected[0] >= 0])
    np.testing.assert_array_equal(
        scene.from_first(np.array([0, 3])), np.flatnonzero(np.isin(expected[0], [0, 3]))
    )


def test_a_store_without_scores(store: str, cache: BlockCache, tmp_path: Path) -> None:
    bare = shutil.copytree(store, tmp_path / "bare.zarr")
    shutil.rmtree(bare / "scores")
    consolidate(str(bare))
    scene = open_scene([str(bare)], cache)
    scene.complete(Event())
    assert [panel.name for panel in scene.panels] == ["result"]
    assert scene.column("damaged") is not None


def test_a_store_beside_a_video(session: Made, store: str, cache: BlockCache) -> None:
    scene = open_scene([store, session.names[0]], cache)
    stitched = xr.open_zarr(store)
    truth = open_recordings(session.names[:1])[0].frames.frame_num
    for position in range(scene.count):
        kept, raw = (panel.look(position).frame for panel in scene.panels)
        assert kept < 0 or raw < 0 or stitched.frame_num[kept] == truth[raw]


def test_stores_alone_side_by_side(store: str, cache: BlockCache, tmp_path: Path) -> None:
    again = shutil.copytree(store, tmp_path / "again.zarr")
    scene = open_scene([store, str(again)], cache)
    stitched = xr.open_zarr(store).load()
    assert [panel.name for panel in scene.panels] == [Path(store).stem, "again"]
    assert scene.count == stitched.sizes["frame"]
    for position in range(scene.count):
        source = stitched.source.values[position]
        taken = stitched.attrs["recordings"][source] if source >= 0 else source
        for panel in scene.panels:
            image = panel.image(panel.look(position).frame, cache)
            np.testing.assert_array_equal(image, stitched.video[position])
            assert panel.look(position).facts["source"] == taken
    np.testing.assert_array_equal(scene.column("damaged"), stitched.damaged)
    for notice in scene.notices:
        assert notice.startswith((f"{Path(store).stem}: ", "again: "))


def test_a_video_without_a_table(tmp_path: Path, cache: BlockCache) -> None:
    long = write(tmp_path / "long.avi", make_frames(9))
    scene = open_scene([str(long)], cache)
    assert (scene.count, scene.column("damaged"), scene.jump(0, "damaged", 1)) == (9, None, None)
    short = write(tmp_path / "short.avi", make_frames(4))
    both = open_scene([str(long), str(short)], cache)
    assert [p.look(5).frame for p in both.panels] == [5, -1]
    assert "no table" in both.note


def test_nothing_in_common(session: Made, tmp_path: Path, cache: BlockCache) -> None:
    other = Made(tmp_path, frames=20, receivers=1)
    renumber([session.videos[0], other.videos[0]], 100_000)
    scene = open_scene([session.names[1], other.names[0]], cache)
    assert "shown side by side by their position" in scene.note
    assert "no overlap" in scene.note
    assert [panel.look(3).frame for panel in scene.panels] == [3, 3]
    assert scene.count == max(len(decode(path)) for path in (session.videos[1], other.videos[0]))


def test_times_are_those_of_the_store(store: str, cache: BlockCache) -> None:
    scene = open_scene([store], cache)
    times = xr.open_zarr(store).time.values
    assert [scene.elapsed(n) for n in range(scene.count)] == times.tolist()
    assert scene.start is not None
    assert scene.measured_fps == pytest.approx(20, rel=0.01)
    scene.complete(Event())
    assert [scene.elapsed(n) for n in range(scene.count)] == times.tolist()
    for seconds in (-1, 0, 0.03, times[7], times[-1] + 5):
        assert scene.at_time(seconds) == max(0, (times <= seconds).sum() - 1)


def test_times_side_by_side_rise_where_the_first_video_has_no_frame(
    session: Made, cache: BlockCache
) -> None:
    scene = open_scene([session.names[1], session.names[0]], cache)
    own = np.array([scene.panels[0].look(n).frame for n in range(scene.count)])
    times = np.array([scene.elapsed(n) for n in range(scene.count)])
    assert (own < 0).any()
    assert (np.diff(times) > 0).all()
    known = open_recordings(session.names[1:])[0].frames.timestamp_first[own[own >= 0]]
    assert scene.start is not None
    np.testing.assert_allclose(scene.start + times[own >= 0], known, atol=1e-3)


def test_recordings_are_found_from_any_folder(
    session: Made, tmp_path: Path, cache: BlockCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(session.videos[0].parent, inputs)
    monkeypatch.chdir(tmp_path)
    names = [f"in/{path.name}" for path in session.videos]
    stitch_files(names, "out", StitchOptions(codec=None, report=False))
    [result] = out.glob("*.zarr")
    monkeypatch.chdir("/")
    scene = open_scene([str(result)], cache)
    scene.complete(Event())
    assert all(panel.frames is not None for panel in scene.panels)
    moved = tmp_path / "moved"
    moved.mkdir()
    inputs.rename(moved / "in")
    out.rename(moved / "out")
    scene = open_scene([str(moved / "out" / result.name)], cache)
    scene.complete(Event())
    assert all(panel.frames is not None for panel in scene.panels)


def test_a_sound_frame_beside_a_lost_one(cache: BlockCache, tmp_path: Path) -> None:
    path = write(tmp_path / "holed.avi", make_frames(6))
    data = bytearray(path.read_bytes())
    place = data.index(b"00dc", data.index(b"movi")) if b"00dc" in data else data.index(b"00db")
    size = make_frames(1).size + 8
    data[place + 2 * size : place + 2 * size + 8] = bytes(8)
    path.write_bytes(data)
    scene = open_scene([str(path)], cache, ReadOptions(need_table=False))
    [panel] = scene.panels
    np.testing.assert_array_equal(panel.image(3, cache), make_frames(6)[3])
    problem = panel.image(2, cache)
    assert isinstance(problem, str)
    assert str(path) in problem


columns = st.lists(st.integers(-1, 2), min_size=1, max_size=60)


def scene_of(source: list[int]) -> Scene:
    values = np.array(source, np.int8)
    known = {"source": lambda: values, "damaged": lambda: values > 0}
    panel = Panel("", lambda _: SimpleNamespace())  # type: ignore[arg-type,return-value]
    rate = Fraction(20)
    return Scene("", len(source), rate, [panel], known, float, sources=["a", "b", "c"])


@given(source=columns, at=st.integers(0, 59))
def test_jumps_find_what_a_search_finds(source: list[int], at: int) -> None:
    scene = scene_of(source)
    found = {
        "damaged": [i for i, value in enumerate(source) if value > 0],
        "source": [i for i in range(1, len(source)) if source[i] != source[i - 1]],
    }
    for what, places in found.items():
        after = [i for i in places if i > at]
        before = [i for i in places if i < at]
        assert scene.jump(at, what, 1) == (after[0] if after else None)  # type: ignore[arg-type]
        assert scene.jump(at, what, -1) == (before[-1] if before else None)  # type: ignore[arg-type]


@given(source=columns, bins=st.integers(1, 100))
def test_every_frame_is_in_one_bin(source: list[int], bins: int) -> None:
    told = scene_of(source).timeline(bins)
    assert len(told["scale"]) == min(5, len(source))
    assert told["scale"] == sorted(told["scale"])
    edges = [*told["first"], len(source)]
    parts = [source[a:b] for a, b in pairwise(edges)]
    assert edges[0] == 0
    assert all(parts)
    assert len(parts) == min(bins, len(source))
    assert told["damaged"] == [sum(v > 0 for v in part) for part in parts]
    for part, most in zip(parts, told["source"], strict=True):
        assert part.count(most) == max(map(part.count, part))
