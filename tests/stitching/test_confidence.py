"""The confidence of frames in everything that a run writes, and what is made of it."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import miostitch
from miostitch.errors import InputError, UsageError
from miostitch.recording.datasets import open_recording
from miostitch.schema import CERTAIN, CHECKED, DOUBTFUL
from miostitch.stitching.options import StitchOptions
from miostitch.store.datasets import open_table
from miostitch.store.layout import consolidate
from miostitch.store.reader import Store
from miostitch.viewer.cache import BlockCache
from miostitch.viewer.sources import open_scene
from tests.commands import run
from tests.sessions import Made, change_table, change_video
from tests.video_files import decode

QUIET: dict[str, Any] = {"report": False, "no_avi": True}


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Made:
    channel = {"bit_errors": 2e-4, "noise_bursts": 20.0, "noise_bits": 400}
    return Made(tmp_path_factory.mktemp("noisy"), frames=40, seed=8, buffer_loss=0.02, **channel)


@pytest.fixture(scope="module", params=["frame", "buffer"])
def result(
    request: pytest.FixtureRequest, noisy: Made, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp(request.param)
    made = miostitch.stitch_files(noisy.names, folder, by=request.param)
    return folder, dict(made)


BY_BUFFER = pytest.mark.parametrize(
    "result", [pytest.param("frame", marks=pytest.mark.slow), "buffer"], indirect=True
)
"""Both ways, of which the second is enough where all must be quick."""


def opened(folder: Path, group: str | None = None) -> xr.Dataset:
    [path] = folder.glob("*.zarr")
    store: xr.Dataset = xr.open_zarr(path, group=group)
    return store


def test_store_summary_and_scores_say_the_same(result: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = result
    store = opened(folder)
    sure = store.confidence.to_numpy()
    assert sure.dtype == np.float32
    assert ((sure >= 0) & (sure <= 1)).all()
    assert (sure[store.missing_pixels.to_numpy() > 0] == 0).all()
    assert len(np.unique(sure)) > 5
    doubtful = (sure < DOUBTFUL) & ~store.damaged.to_numpy()
    assert summary["certain"] == (sure >= CERTAIN).sum()
    assert summary["doubtful"] == doubtful.sum() > 0
    [scores] = folder.glob("*_scores.csv")
    np.testing.assert_allclose(pd.read_csv(scores).confidence, sure, atol=1e-6)
    if summary["config"]["by"] == "buffer":
        buffers = opened(folder, "composition").confidence
        assert (buffers.dtype, buffers.dims) == (np.float32, ("frame", "position"))
        np.testing.assert_allclose(buffers.prod("position"), sure, atol=1e-5)


@BY_BUFFER
def test_frames_below_the_least_confidence_are_left_out(
    result: tuple[Path, dict[str, Any]], noisy: Made, tmp_path: Path
) -> None:
    folder, summary = result
    store, by = opened(folder), summary["config"]["by"]
    least = float(np.median(store.confidence))
    kept = store.confidence.to_numpy() >= least
    made = miostitch.stitch_files(
        noisy.names, tmp_path, by=by, min_confidence=least, drop_damaged=True, report=False
    )
    damaged = store.damaged.to_numpy()
    numbers = store.frame_num.to_numpy()
    assert opened(tmp_path).frame_num.values.tolist() == numbers[kept & ~damaged].tolist()
    assert made["dropped_frame_num"] == numbers[~kept | damaged].tolist()
    assert made["dropped_uncertain"] == (~kept & ~damaged).sum() > 0
    assert miostitch.verify_files(tmp_path)["differences"] == 0
    output, named = str(tmp_path / "cli"), ["--by", by, "--min-confidence", str(least)]
    done = run("stitch", *noisy.names, "-o", output, "--no-report", *named)
    uncertain = int((~kept).sum())
    assert f"{uncertain} frames of low confidence left out" in done.output
    assert opened(tmp_path / "cli").sizes["frame"] == kept.sum()


def test_likely_candidates_overrule_the_rule(tmp_path: Path) -> None:
    session = Made(tmp_path / "in", frames=60, receivers=3, seed=8, bit_errors=2e-5)
    output, named = str(tmp_path / "likely"), ["--select", "confidence"]
    run("stitch", *session.names, "-o", output, "--no-report", *named)
    rule, likely = miostitch.stitch(session.names), opened(tmp_path / "likely")
    other = (rule.source != likely.source).to_numpy()
    assert 0 < other.sum() < len(other)
    sure, before = likely.confidence.to_numpy(), rule.confidence.to_numpy()
    assert (sure[other] > before[other]).all()
    np.testing.assert_array_equal(sure[~other], before[~other])
    assert miostitch.verify_files(tmp_path / "likely")["differences"] == 0
    lazy = miostitch.stitch(session.names, select="confidence")
    np.testing.assert_array_equal(lazy.source, likely.source)
    np.testing.assert_array_equal(lazy.video, likely.video)
    scores = pd.read_csv(next((tmp_path / "likely").glob("*_scores.csv")))
    names = np.array(likely.attrs["recordings"])
    assert (scores.selected_video == names[likely.source.to_numpy()]).all()
    told = scores.compare_video.to_numpy()[other]
    assert (told == names[rule.source.to_numpy()[other]]).all()


def test_nothing_is_selected_by_buffer() -> None:
    for options in (StitchOptions, miostitch.StitchConfig):
        with pytest.raises(UsageError, match="by buffer no frame is selected"):
            options(by="buffer", select="confidence")
        with pytest.raises(UsageError, match="select 'best': must be rule or confidence"):
            options(select="best")  # type: ignore[arg-type]


def test_least_confidence_that_no_frame_has_is_an_error(noisy: Made, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no frame of .* is left with --min-confidence 1; give a"):
        miostitch.stitch_files(noisy.names, tmp_path, min_confidence=1.0, **QUIET)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("least", [-0.1, 1.5, float("nan")])
def test_what_is_no_probability_is_refused(least: float) -> None:
    for options in (StitchOptions, miostitch.ExportOptions):
        with pytest.raises(UsageError, match=r"min_confidence .* must be from 0 to 1"):
            options(min_confidence=least)


@BY_BUFFER
def test_edits_carry_it(result: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    [path] = result[0].glob("*.zarr")
    sure = opened(result[0]).confidence.to_numpy()
    run("trim", str(path), "-s", "3", "-e", "4", "-o", str(tmp_path / "trim"))
    np.testing.assert_array_equal(opened(tmp_path / "trim").confidence, sure[3:-4])
    [part] = (tmp_path / "trim").glob("*.zarr")
    run("concat", str(part), str(path), "-o", str(tmp_path / "twice"))
    twice = np.concatenate([sure[3:-4], sure])
    np.testing.assert_array_equal(opened(tmp_path / "twice").confidence, twice)
    assert miostitch.verify_files(tmp_path / "trim")["differences"] == 0


@BY_BUFFER
def test_exports_have_it_and_go_by_it(result: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    [path] = result[0].glob("*.zarr")
    sure = opened(result[0]).confidence.to_numpy()
    miostitch.export_recording(path, tmp_path / "all", "ucla")
    np.testing.assert_allclose(pd.read_csv(tmp_path / "all" / "frames.csv").confidence, sure, 1e-5)
    least = float(np.median(sure))
    miostitch.export_recording(path, tmp_path / "some", "ucla", min_confidence=least)
    some = pd.read_csv(tmp_path / "some" / "frames.csv")
    assert some.frame_num.tolist() == opened(result[0]).frame_num[sure >= least].values.tolist()
    with pytest.raises(InputError, match="no frame has a confidence of 1; give a lower"):
        miostitch.export_recording(path, tmp_path / "none", "ucla", min_confidence=1.0)


def test_of_a_recording_alone_it_is_not_known(noisy: Made, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its frames is not known; leave --min-confidence out"):
        miostitch.export_recording(noisy.names[0], tmp_path / "x", "ucla", min_confidence=0.5)
    run("trim", noisy.names[0], "-s", "1", "-o", str(tmp_path / "one.zarr"))
    assert np.isnan(xr.open_zarr(tmp_path / "one.zarr").confidence).all()


def test_one_recording_is_judged_by_how_it_looks(noisy: Made, tmp_path: Path) -> None:
    miostitch.stitch_files(noisy.names[:1], tmp_path, **QUIET)
    store = opened(tmp_path).load()
    truth = decode(noisy.videos[0].with_name("truth.avi"))
    wrong = (store.video != truth[store.frame_num - noisy.config.first_frame_num]).sum(
        ["height", "width"]
    )
    bursts = (wrong > 30).to_numpy()
    sure = store.confidence.to_numpy()
    assert 5 < bursts.sum() < len(sure)
    assert np.median(sure[bursts]) < 0.01
    assert sure[~bursts].max() > 0.9


def test_viewer_and_report_show_it(result: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = result
    [path] = folder.glob("*.zarr")
    scene = open_scene([str(path)], BlockCache(2**24))
    store = opened(folder)
    places = np.flatnonzero((store.confidence < DOUBTFUL) & ~store.damaged).tolist()
    at, found = -1, []
    while (after := scene.jump(at, "doubtful", 1)) is not None:
        at = after
        found.append(after)
    assert found == places
    assert scene.jump(places[-1], "doubtful", -1) == (places[-2] if len(places) > 1 else None)
    facts = scene.panels[0].look(places[0]).facts
    assert facts["confidence"] == pytest.approx(float(store.confidence[places[0]]))
    [report] = folder.glob("*.html")
    assert f"exact with {100 * CERTAIN:.0f} % certainty" in report.read_text("utf-8")
    assert f"{summary['doubtful']} intact frames are doubtful" in report.read_text("utf-8")


@BY_BUFFER
def test_of_a_store_of_an_earlier_version_it_is_not_known(
    result: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    [path] = result[0].glob("*.zarr")
    older = shutil.copytree(path, tmp_path / path.name)
    shutil.rmtree(older / "confidence")
    zarr.open_group(older, mode="r+").attrs["format_version"] = "2"
    consolidate(str(older))
    assert np.isnan(open_table(Store.open(str(older))).confidence).all()
    run("trim", str(older), "-s", "2", "-o", str(tmp_path / "trim"))
    assert np.isnan(opened(tmp_path / "trim").confidence).all()
    run("report", str(older), "-o", str(tmp_path))
    [report] = tmp_path.glob("*.html")
    assert "% certainty" not in report.read_text("utf-8")


@pytest.mark.parametrize("by", [pytest.param("frame", marks=pytest.mark.slow), "buffer"])
def test_pixels_that_nobody_has_are_doubtful_whatever_the_rows_say(by: Any, tmp_path: Path) -> None:
    """As a table without header_crc_ok has rows of buffers whose pixels the recorder cleared."""
    sound = {"header_flips": 0.0, "overrun": 0.0, "frame_loss": 0.0, "truncation": 0.0}
    made = Made(tmp_path / "in", frames=80, seed=6, failed_headers=0.1, **sound)
    for video in made.videos:
        change_table(video, lambda rows: rows.drop(columns=CHECKED.name))
    summary = miostitch.stitch_files(made.names, tmp_path / "out", by=by, report=False)
    store, frames = opened(tmp_path / "out"), decode(next((tmp_path / "out").glob("*.avi")))
    truth = open_recording(made.videos[0].with_name("truth.avi"))
    sent = truth.video.sel(frame=np.isin(truth.frame_num, store.frame_num)).to_numpy()
    exact = (frames == sent).all(axis=(1, 2))
    cleared = ~exact & ~store.damaged.to_numpy()
    assert cleared.sum() > 1
    assert (store.confidence.to_numpy()[cleared] < DOUBTFUL).all()
    assert summary["doubtful"] >= cleared.sum()


def test_a_dark_image_is_no_doubt(tmp_path: Path) -> None:
    made = Made(tmp_path / "in", frames=30, seed=6, buffer_loss=0.0, header_flips=0.0)
    for video in made.videos:
        change_video(video, np.zeros_like)
    miostitch.stitch_files(made.names, tmp_path / "out", lag=0, **QUIET)
    found = opened(tmp_path / "out")
    assert (found.confidence.to_numpy()[~found.damaged.to_numpy()] >= CERTAIN).all()
