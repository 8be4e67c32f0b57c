"""The summary counts what the products and the files hold."""

import json
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from tests.reference.composition import Copy, copies_of, repaired_table
from tests.sessions import CONFIGS, Made


class Told:
    """A session and all that its files say, frame by frame."""

    def __init__(self, folder: Path, name: str) -> None:
        self.made = Made(folder, **CONFIGS[name])
        self.bounds = self.made.together().bounds
        lag = self.made.config.lag
        self.copies = [copies_of(path, self.bounds, lag) for path in self.made.videos]


class Run:
    """A finished run beside what the files say."""

    def __init__(self, folder: Path, told: Told, by: Any) -> None:
        self.made, self.bounds, self.copies = told.made, told.bounds, told.copies
        options = StitchOptions(by=by, lag=self.made.config.lag, report=False)
        self.summary = stitch_files(self.made.names, folder, options)
        (store,) = folder.glob("*.zarr")
        self.store = xr.open_zarr(store).load()
        self.scores = xr.open_zarr(store, group="scores").load()
        self.buffers_of = xr.open_zarr(store, group="composition") if by == "buffer" else None

    def copies_at(self, frame: int) -> list[Copy | None]:
        number = int(self.store.frame_num[frame])
        return [copies.get(number) for copies in self.copies]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Told]:
    return cache(lambda name: Told(tmp_path_factory.mktemp("in"), name))


RUNS = [("lagging", "buffer"), ("many", "frame"), ("many", "buffer")]
SLOW_RUNS = [("two", "frame"), ("two", "buffer"), ("lagging", "frame")]


@pytest.fixture(
    scope="module",
    params=[*RUNS, *(pytest.param(pair, marks=pytest.mark.slow) for pair in SLOW_RUNS)],
    ids="-".join,
)
def run(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    told: Callable[[str], Told],
) -> Run:
    name, by = request.param
    return Run(tmp_path_factory.mktemp("run"), told(name), by)


def test_frames_are_counted(run: Run) -> None:
    summary, store = run.summary, run.store
    assert json.loads(json.dumps(summary)) == summary
    numbers = sorted({n for copies in run.copies for n in copies})
    assert summary["frames"] == len(numbers) == len(store.frame)
    assert summary["frame_num"] == [numbers[0], numbers[-1]]
    for name in ("damaged", "unrecoverable", "missing_pixels"):
        assert summary[name] == int(store[name].sum())
    assert summary["composed"] == int((store.source == -1).sum())
    assert summary["dropped_frame_num"] == []
    lost = {n for first, last in summary["lost_frame_num"] for n in range(first, last + 1)}
    assert lost == set(range(numbers[0], numbers[-1])) - set(numbers)


def test_what_each_recording_gave_is_counted(run: Run) -> None:
    frames = [run.copies_at(frame) for frame in range(len(run.store.frame))]
    sizes = np.diff(run.bounds).tolist()
    whole = [[c is not None and [*c.best.given.values()] == sizes for c in at] for at in frames]
    for number, found in enumerate(run.summary["recordings"]):
        mine = [at[number] is not None for at in frames]
        assert found["frames"] == sum(mine)
        alone = [sum(copy is not None for copy in at) == 1 for at in frames]
        assert found["sole"] == int((np.array(mine) & alone).sum())
        assert found["chosen"] == int((run.store.source == number).sum())
        assert found["only_complete"] == sum(at[number] and sum(at) == 1 for at in whole)
        pixels = sum(mine) * run.bounds[-1]
        noisy = run.scores.noisy_pixels[number].to_numpy()[mine].sum()
        assert found["noise_share"] == pytest.approx(noisy / pixels, abs=1e-6)
        if run.buffers_of is not None:
            gave = run.buffers_of.buffer_source.to_numpy() == number
            single = run.buffers_of.buffer_evidence.to_numpy() == 1
            assert found["buffers_given"] == gave.sum()
            assert found["sole_buffers"] == (gave & single).sum()
        else:
            assert "buffers_given" not in found
    if run.buffers_of is None:
        assert sum(found["chosen"] for found in run.summary["recordings"]) == len(frames)


def test_lost_buffers_and_repairs_are_counted(run: Run) -> None:
    for path, found in zip(run.made.videos, run.summary["recordings"], strict=True):
        table = repaired_table(path)
        lag, pictures = run.made.config.lag, run.scores.source_frame.to_numpy().max() + 1
        shown = table[table.reconstructed_frame_index.between(0, pictures - lag)]
        copies = run.copies[run.made.videos.index(path)]
        rows = shown[(shown.recorded == shown.frame_buffer_count)]
        assert set(copies) <= set(rows.frame_num)
        place = ["frame_num", "frame_buffer_count"]
        original = repaired_table(path, repair=False)
        columns = [name for name in original if name not in ("recorded", "padding")]
        changed = (table[columns] != original[columns]).to_numpy()
        assert found["repairs"] == changed.sum() == len(found["repaired_cells"])
        for cell in found["repaired_cells"]:
            assert cell["old"] == original.loc[cell["row"], cell["column"]]
            assert cell["new"] == table.loc[cell["row"], cell["column"]]
            assert cell["table"] == str(path.with_suffix(".csv"))
            assert cell["evidence"]
        assert found["lag"] == lag
        kept = rows[rows.frame_num.isin(copies)].drop_duplicates(place)
        received = kept.frame_buffer_count.between(0, len(run.bounds) - 2).sum()
        lost = len(copies) * (len(run.bounds) - 1) - found["buffers_lost"]
        assert lost <= received  # rows of a frame without a picture are not in the video
        assert received - lost <= 2 * len(run.bounds)


def test_shared_and_identical_buffers_are_counted(run: Run) -> None:
    shared = identical = 0
    for frame in range(len(run.store.frame)):
        for k, (lo, hi) in enumerate(pairwise(run.bounds)):
            copies = [copy for copy in run.copies_at(frame) if copy is not None]
            if run.buffers_of is None:  # then a candidate is one picture
                whole = [c.best.pixels[lo:hi] for c in copies if c.best.given[k] == hi - lo]
            else:
                whole = [c.pixels[lo:hi] for c in copies if c.given[k] == hi - lo]
            shared += len(whole) > 1
            identical += len(whole) > 1 and all((one == whole[0]).all() for one in whole)
    assert run.summary["shared_buffers"] == shared > 0
    assert run.summary["identical_shared_buffers"] == identical
    if run.made.config.corruption > 0.05:
        assert identical < shared


SLOW = pytest.param("frame", 348, marks=pytest.mark.slow)


# by frame, what is in the split-off pieces of frames 2529 and 2543 is in no candidate
@pytest.mark.parametrize(("by", "shared"), [SLOW, ("buffer", 350)])
def test_real_recordings_prove_each_other(
    recordings: Path, tmp_path: Path, by: Any, shared: int
) -> None:
    """At the right lag all buffers that both received are alike, bit for bit."""
    names = [str(recordings / "stitch" / f"video{n}.avi") for n in (1, 2)]
    summary = stitch_files(names, tmp_path, StitchOptions(by, lag="auto", report=False))
    assert [found["lag"] for found in summary["recordings"]] == [1, 1]
    assert summary["frames"] == 52
    assert summary["shared_buffers"] == summary["identical_shared_buffers"] == shared
