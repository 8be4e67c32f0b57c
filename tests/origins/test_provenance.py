"""The recordings of a result are found, and only the very files are taken."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import miostitch
from miostitch.editing.run import edit_files
from miostitch.origins.provenance import find_originals
from miostitch.recording.recording import Recording
from miostitch.stitching.options import StitchOptions
from miostitch.stitching.run import stitch_files
from tests.sessions import Made
from tests.video_files import decode


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Path]:
    """A session whose first receiver recorded in two segments, and its store."""
    folder = tmp_path_factory.mktemp("session")
    session = Made(folder / "in", frames=30, seed=3)
    first, second = session.names
    parts = [str(folder / "in" / f"part{n}.avi") for n in (1, 2)]
    for part, start, end in zip(parts, (0, 13), (15, 0), strict=True):
        cut = partial(_trim, start=start, end=end)
        edit_files([first], part, cut, "")
    stitch_files([",".join(parts), second], folder / "out", StitchOptions(report=False))
    return session, next((folder / "out").glob("*.zarr"))


def _trim(parts: list[xr.Dataset], start: int, end: int) -> xr.Dataset:
    return miostitch.trim(parts[0], start, end)


def test_pictures_of_all_segments_by_the_summary(made: tuple[Made, Path]) -> None:
    session, store = made
    first, second = find_originals(str(store))
    assert isinstance(first, Recording)
    assert isinstance(second, Recording)
    segments = [decode(session.videos[0].with_name(f"part{n}.avi")) for n in (1, 2)]
    frames = np.concatenate(segments)
    assert first.shape == frames.shape
    np.testing.assert_array_equal(first.reader(np.arange(len(frames))).read(), frames)
    np.testing.assert_array_equal(second.reader(np.arange(3)).read(), decode(session.videos[1])[:3])


def test_edits_are_followed_back(made: tuple[Made, Path], tmp_path: Path) -> None:
    _, store = made
    edited = tmp_path / "edited.zarr"
    edit_files([str(store)], edited, lambda parts: miostitch.trim(parts[0], 3, 2), "_trimmed")
    assert [type(each) for each in find_originals(str(edited))] == [Recording, Recording]


def test_moved_and_other_files(made: tuple[Made, Path], tmp_path: Path) -> None:
    session, store = made
    alone = tmp_path / "alone" / store.name
    shutil.copytree(store, alone)
    shutil.copytree(session.videos[0].parent, tmp_path / "moved")
    assert all(": is not there any more" in str(each) for each in find_originals(str(alone)))
    moved = str(tmp_path / "moved")
    assert all(isinstance(each, Recording) for each in find_originals(str(alone), [moved]))
    other = tmp_path / "moved" / session.videos[1].name
    data = bytearray(other.read_bytes())
    data[-9] ^= 1
    other.write_bytes(data)
    first, second = find_originals(str(alone), [moved])
    assert isinstance(first, Recording)
    assert second == f"{other}: is not the file that was stitched"
