"""Options and fixtures of the whole suite."""

from collections.abc import Iterator
from pathlib import Path

import dask
import pytest
from hypothesis import settings

from tests.faults import FAULTS
from tests.video_files import Frames, make_frames, write

# a loaded machine is no failure
settings.register_profile("miostitch", deadline=None, max_examples=50)
settings.load_profile("miostitch")

MARKED = ("slow", "browser", "peer", "fuzz")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--recordings",
        type=Path,
        default=Path(__file__).resolve().parents[2] / "shared" / "recordings",
        help="folder of real recordings; tests that need it are skipped where it is absent",
    )
    parser.addoption(
        "--with",
        action="append",
        default=[],
        choices=MARKED,
        dest="with_marks",
        help="also run the tests with this mark (repeatable)",
    )
    parser.addoption(
        "--new-pictures", action="store_true", help="make the pictures of the documentation again"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for mark in MARKED:
        if mark in config.getoption("with_marks"):
            continue
        target = "fuzz" if mark == "fuzz" else "test-all"
        skip = pytest.mark.skip(reason=f"{mark}: run by make {target}, or with --with {mark}")
        for item in items:
            if item.get_closest_marker(mark):
                item.add_marker(skip)
    for item in items:
        if any(map(item.get_closest_marker, ("slow", "peer", "fuzz"))):
            item.add_marker(pytest.mark.timeout(3600))
        for fault in item.iter_markers("fault"):
            row, how, outcome = fault.args
            if row not in FAULTS or not (how and outcome):
                raise pytest.UsageError(f"{item.nodeid}: no such fault: {fault.args}")
            item.extra_keyword_matches.add(f"row{row:02}")  # for -k row07


@pytest.fixture(scope="session", autouse=True)
def no_fsync() -> Iterator[None]:
    """Wait for no disk: no machine loses its power here. What is synced has tests of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def recordings(request: pytest.FixtureRequest) -> Path:
    """Folder of real recordings."""
    folder: Path = request.config.getoption("recordings")
    if not folder.is_dir():
        pytest.skip(f"no real recordings at {folder}; name them with --recordings")
    return folder


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Compute lazy arrays without threads, which cost more than a few small blocks do.

    A run has threads of its own.
    """
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.fixture
def frames() -> Frames:
    """A few small frames of noise."""
    return make_frames()


@pytest.fixture
def avi(tmp_path: Path, frames: Frames) -> Path:
    """The same as a raw AVI."""
    return write(tmp_path / "a.avi", frames)
