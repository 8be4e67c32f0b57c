"""A lazy stitch is a recording like any other: what it has, and what is made of it."""

import filecmp
import pickle
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr

import miostitch
from miostitch.errors import UsageError
from miostitch.recording.files import stitched_stem
from miostitch.schema import FRAME_VARIABLES
from miostitch.stitching import stitched as lazy_stitches
from tests.laziness import never
from tests.sessions import CONFIGS, Made

SESSIONS = ("two", "lagging", "many", "rebooted")
Both = Callable[..., tuple[xr.Dataset, xr.Dataset]]
WAYS: tuple[dict[str, Any], ...] = ({"by": "frame"}, {"by": "buffer"}, {"keep_clocks": True})
EDITS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "trim": lambda ds: miostitch.trim(ds, 3, 2),
    "remove": lambda ds: miostitch.remove_frames(ds, "0,4-6"),
    "pick": lambda ds: ds.isel(frame=[9, 2, 2, 5]),
    "twice": lambda ds: miostitch.concat([ds, miostitch.trim(ds, 5)]),
}


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    return cache(lambda name: Made(tmp_path_factory.mktemp(name), **CONFIGS[name]))


@pytest.fixture(params=SESSIONS)
def session(request: pytest.FixtureRequest, sessions: Callable[[str], Made]) -> Made:
    return sessions(request.param)


def fast_for(*fast: str) -> pytest.MarkDecorator:
    """Each of the sessions, of which some are enough where all must be quick."""
    each = [pytest.param(n, marks=() if n in fast else pytest.mark.slow) for n in SESSIONS]
    return pytest.mark.parametrize("session", each, indirect=True)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Makes the same stitch once, lazily and as a store that was opened; to be read only."""

    @cache
    def make(*videos: str, **how: Any) -> tuple[xr.Dataset, xr.Dataset]:
        folder = tmp_path_factory.mktemp("stitched")
        outputs = miostitch.stitch_files(videos, folder, report=False, **how)["outputs"]
        [store] = [path for path in outputs if path.endswith(".zarr")]
        return miostitch.stitch(videos, **how), miostitch.open_recording(store)

    return make


def assert_same(lazy: xr.Dataset, stored: xr.Dataset, *, joined: bool = False) -> None:
    """All that is known of frames, and their pixels, are the same.

    The starts of parts that are joined are rounded to microseconds, a store's after every edit.
    """
    if joined:
        np.testing.assert_allclose(lazy.time, stored.time, rtol=0, atol=2e-6)
        lazy, stored = lazy.drop_vars("time"), stored.drop_vars("time")
    for name in {*map(str, stored.coords)} - {"origin"}:
        np.testing.assert_array_equal(lazy[name], stored[name], err_msg=name)
        assert lazy[name].dtype == stored[name].dtype
        assert lazy[name].attrs == stored[name].attrs
    np.testing.assert_array_equal(lazy.video, stored.video)
    assert lazy.video.attrs == stored.video.attrs
    for name in ("fps", "recordings", "inputs", "config", "versions", "history"):
        assert lazy.attrs.get(name) == stored.attrs.get(name)


def assert_same_files(one: Path, other: Path) -> None:
    """Folders have the same files, but for the summaries, which name other origins."""
    files = {path.relative_to(one) for path in one.rglob("*") if path.is_file()}
    assert files == {path.relative_to(other) for path in other.rglob("*") if path.is_file()}
    for path in files:
        assert (path.suffix == ".json" and len(path.parts) == 1) or filecmp.cmp(
            one / path, other / path, shallow=False
        ), path


FAST = {("many", str(WAYS[0])), ("many", str(WAYS[1])), ("rebooted", str(WAYS[2]))}


@pytest.mark.parametrize(
    ("session", "how"),
    [
        pytest.param(name, how, marks=() if (name, str(how)) in FAST else pytest.mark.slow)
        for name, how in product(SESSIONS, WAYS)
    ],
    ids=str,
    indirect=["session"],
)
def test_it_has_what_the_store_has(session: Made, both: Both, how: dict[str, Any]) -> None:
    lazy, stored = both(*session.names, **how)
    assert {v.name for v in FRAME_VARIABLES} <= {*lazy.coords}
    assert_same(lazy, stored)
    [path] = stored.attrs["origins"]
    scores = xr.open_zarr(path, group="scores")
    for name, values in scores.data_vars.items():
        np.testing.assert_array_equal(lazy[f"score_{name}"], values, err_msg=str(name))
    assert lazy.recording.values.tolist() == stored.attrs["recordings"]


@pytest.mark.parametrize("by", [pytest.param("frame", marks=pytest.mark.slow), "buffer"])
@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(edit, id=name, marks=[] if name == "twice" else pytest.mark.slow)
        for name, edit in EDITS.items()
    ],
)
@fast_for("many")
def test_edited_and_written_it_is_as_the_store_would_be(
    session: Made, both: Both, tmp_path: Path, by: Any, edit: Callable[[xr.Dataset], xr.Dataset]
) -> None:
    lazy, stored = map(edit, both(*session.names, by=by))
    assert_same(lazy, stored, joined=edit is EDITS["twice"])
    for name, dataset in (("lazy", lazy), ("stored", stored)):
        miostitch.write_recording(dataset, tmp_path / name)
    assert_same_files(tmp_path / "lazy", tmp_path / "stored")


@pytest.mark.parametrize("by", [pytest.param("frame", marks=pytest.mark.slow), "buffer"])
@pytest.mark.parametrize("session", ["two"], indirect=True)
def test_denoised_and_exported_it_is_as_the_store_would_be(
    session: Made, both: Both, tmp_path: Path, by: Any
) -> None:
    lazy, stored = (miostitch.trim(each, 2) for each in both(*session.names, by=by))
    for name, dataset in (("lazy", lazy), ("stored", stored)):
        config = "denoise_example"
        miostitch.denoise_files(dataset, config, tmp_path / name / "denoised")
        miostitch.export_recording(dataset, tmp_path / name / "ucla", "ucla")
        miostitch.export_recording(dataset, tmp_path / name / "zarr2", to="zarr2")
        miostitch.score_files([dataset], tmp_path / name / "scores", config)
    for part in ("denoised", "ucla", "zarr2", "scores"):
        assert_same_files(tmp_path / "lazy" / part, tmp_path / "stored" / part)
    assert_same(*(miostitch.denoise(each, config).dataset for each in (lazy, stored)))


@pytest.mark.parametrize("by", ["frame", "buffer"])
@pytest.mark.slow  # simulated recordings, as store and lazily, are compared always
@pytest.mark.parametrize("names", [("stitch", "video", 2), ("capture3", "receiver", 3)])
def test_real_recordings(recordings: Path, both: Both, tmp_path: Path, names: Any, by: Any) -> None:
    folder, stem, count = names
    videos = [str(recordings / folder / f"{stem}{n + 1}.avi") for n in range(count)]
    lazy, stored = both(*videos, by=by)
    assert_same(lazy, stored)
    for name, dataset in (("lazy", lazy), ("stored", stored)):
        miostitch.write_recording(miostitch.trim(dataset, 7, 5), tmp_path / name)
    assert_same_files(tmp_path / "lazy", tmp_path / "stored")


@fast_for("many")
def test_nothing_is_computed_to_edit(session: Made) -> None:
    with dask.config.set(scheduler=never):
        lazy = miostitch.stitch(session.names, by="buffer")
        for name in ("trim", "remove", "pick"):
            EDITS[name](lazy)
        assert repr(lazy.miostitch)
        assert lazy.miostitch._repr_html_()


@fast_for("many")
def test_in_another_process_it_is_stitched_again(session: Made, tmp_path: Path) -> None:
    lazy = miostitch.trim(miostitch.stitch(session.names), 4)
    miostitch.write_recording(lazy, tmp_path / "here")
    sent = pickle.loads(pickle.dumps(lazy))
    known = lazy_stitches._stitched.copy()
    lazy_stitches._stitched.clear()
    try:
        miostitch.write_recording(sent, tmp_path / "there")
    finally:
        lazy_stitches._stitched.update(known)
    assert_same_files(tmp_path / "here", tmp_path / "there")


@fast_for("many")
def test_two_ways_to_stitch_are_not_mixed(session: Made) -> None:
    ways = [miostitch.stitch(session.names, by=by) for by in ("frame", "buffer")]
    with pytest.raises(UsageError, match="was stitched in two ways"):
        miostitch.concat(ways)


@fast_for("many")
def test_options_are_given_once(session: Made, tmp_path: Path) -> None:
    names = session.names
    with pytest.raises(UsageError, match="by and config exclude each other"):
        miostitch.stitch(names, miostitch.StitchConfig(by="buffer"), by="frame")
    with pytest.raises(UsageError, match="lag and reading exclude each other"):
        miostitch.stitch(names, lag=0, reading=miostitch.ReadOptions())
    with pytest.raises(UsageError, match="align and aligning exclude each other"):
        miostitch.stitch(names, align="time", aligning=miostitch.AlignOptions())
    with pytest.raises(UsageError, match="lag and options exclude each other"):
        miostitch.stitch_files(names, tmp_path, miostitch.StitchOptions(), lag=0)
    with pytest.raises(UsageError, match="no_avi and codec exclude each other"):
        miostitch.stitch_files(names, tmp_path, codec="ffv1", no_avi=True)
    with pytest.raises(UsageError, match="trim_start and trim exclude each other"):
        miostitch.workflow_files(names, "denoise_example", tmp_path, (1, 1), trim_start=2)


@fast_for("lagging")
def test_keywords_and_objects_mean_the_same(session: Made) -> None:
    config = miostitch.load_config("denoise_example")
    lag = session.config.lag
    one = miostitch.stitch(
        session.names, "denoise_example", by="buffer", lag=lag, keep_clocks=True, align="frame-num"
    )
    other = miostitch.stitch(
        session.names,
        miostitch.StitchConfig(config.score_config(), by="buffer"),
        reading=miostitch.ReadOptions(lag=lag),
        aligning=miostitch.AlignOptions("frame-num", one_clock=False),
    )
    assert one.attrs == other.attrs
    assert one.equals(other)


@fast_for("lagging")
def test_open_recordings_are_stitched_as_they_were_opened(session: Made, tmp_path: Path) -> None:
    lag = session.config.lag
    opened = [miostitch.open_recording(path, lag=lag) for path in session.videos]
    by_path = miostitch.stitch(session.names, lag=lag)
    assert miostitch.stitch(opened).identical(by_path)
    assert miostitch.stitch([opened[0], *session.names[1:]], lag=lag).identical(by_path)
    made = miostitch.stitch_files(opened, tmp_path, report=False)
    assert made["config"]["lag"] == lag
    assert Path(made["outputs"][-1]).stem == stitched_stem([path.stem for path in session.videos])
    with pytest.raises(UsageError, match="recordings that are stitched need one lag"):
        miostitch.stitch(opened, lag=lag + 1)
    with pytest.raises(UsageError, match="recordings that are stitched need one lag"):
        miostitch.stitch([opened[0], *session.names[1:]])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda ds: miostitch.trim(ds, 1), "frames were removed or changed"),
        (lambda ds: ds.isel(frame=slice(3)), "frames were removed or changed"),
        (lambda ds: ds.isel(frame=slice(None, None, -1)), "frames were removed or changed"),
        (lambda ds: ds.assign(video=255 - ds.video), "frames were removed or changed"),
        (lambda ds: miostitch.concat([ds, ds]), "frames were removed or changed"),
        (lambda ds: ds.drop_attrs(), "is no recording as open_recording gives it"),
    ],
)
@fast_for("lagging")
def test_what_was_done_to_a_recording_is_not_ignored(
    session: Made, change: Callable[[xr.Dataset], xr.Dataset], why: str
) -> None:
    lag = session.config.lag
    first, *others = (miostitch.open_recording(path, lag=lag) for path in session.videos)
    with pytest.raises(UsageError, match=why):
        miostitch.stitch([change(first), *others])


@fast_for("many")
def test_a_store_is_no_recording_to_stitch(session: Made, both: Both) -> None:
    lazy, stored = both(*session.names, by="frame")
    with pytest.raises(UsageError, match="is a store"):
        miostitch.stitch([stored])
    with pytest.raises(UsageError, match="is no recording"):
        miostitch.stitch([lazy])


@pytest.mark.slow
def test_a_workflow_takes_open_recordings(tmp_path: Path) -> None:
    session = Made(tmp_path / "session", **CONFIGS["lagging"])
    lag = session.config.lag
    opened = [miostitch.open_recording(path, lag=lag) for path in session.videos]
    how: dict[str, Any] = {"config": "denoise_example", "trim_start": 3}
    made = miostitch.workflow_files(opened, output=tmp_path / "opened", report=False, **how)
    paths: dict[str, Any] = {"output": tmp_path / "paths", "lag": lag, "report": False}
    again = miostitch.workflow_files(session.names, **paths, **how)
    assert made["frames"] == again["frames"]
    assert [step["step"] for step in made["steps"]] == ["stitch", "trim", "denoise"]
    lazy = miostitch.stitch(opened)
    alone = miostitch.workflow_files([lazy], output=tmp_path / "lazy", **how)
    assert alone["frames"] == made["frames"]
    with pytest.raises(UsageError, match="opened with another lag"):
        miostitch.denoise_files(opened[0], "denoise_example", tmp_path, lag=lag + 1)
