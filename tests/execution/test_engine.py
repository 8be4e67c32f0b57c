"""Every block is made and written where it runs; the coordinator collects in order."""

import random
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miostitch.errors import ResourceError, UsageError
from miostitch.execution import engine
from miostitch.execution.checkpoint import Journal
from miostitch.execution.engine import (
    REMOTE_BLOCKS,
    TABLE_BLOCKS,
    TABLES_AHEAD,
    Block,
    Output,
    Products,
    Tables,
    no_tables,
    run_blocks,
)
from miostitch.execution.executors import Result, Threads, computing_by
from miostitch.execution.workspace import Workspace
from miostitch.schema import VIDEO
from miostitch.store.chunks import read_block
from miostitch.store.layout import create_store
from miostitch.video.writer import Append, Packed, VideoFile, checksum_path
from tests.video_files import decode, make_frames

FRAMES = make_frames(50, 8, 12)


@dataclass(frozen=True)
class Part:
    """Some frames, and what is to be done before they are made."""

    span: slice
    before: Callable[[slice], None] = lambda _: None

    def make(self, videos: Collection[str], *, tables: bool) -> Block:
        self.before(self.span)
        made = {VIDEO.name: FRAMES[self.span], "negative": 255 - FRAMES[self.span]}
        found = {"number": np.arange(self.span.start, self.span.stop), "block": np.ones((1, 2))}
        return Block({name: made[name] for name in videos}, found if tables else {})


class Kept:
    """A file that keeps what is appended."""

    def __init__(self) -> None:
        self.parts: list[tuple[int, Packed]] = []
        self.complete = False

    @contextmanager
    def open(self, count: int) -> Iterator[Append]:
        yield lambda first, packed: self.parts.append((first, packed))
        self.complete = True

    def output(self) -> Output:
        return Output(VIDEO.name, lambda first, frames: [frames.tobytes()], self.open)


def stored(folder: Path, block: int) -> str:
    store = str(folder / "x.zarr")
    create_store(store, shape=FRAMES.shape, chunk_frames=block, attrs={}, zarr_format=3)
    return store


def avi(video: str, path: Path, codec: Literal["rawvideo", "ffv1"] = "rawvideo") -> Output:
    return Output.of(video, VideoFile(str(path), 12, 8, Fraction(20), codec))


class Elsewhere(Threads):
    """As a cluster of many workers; counts the blocks that it has at a time."""

    shares_memory = False
    now = most = begun = 0

    def submit(self, task: Callable[[], Result], name: str) -> Future[Result]:
        self.now += 1
        self.begun += 1
        self.most = max(self.most, self.now)
        made = super().submit(task, name)
        made.add_done_callback(self.done)
        return made

    def done(self, _: Future[Any]) -> None:
        self.now -= 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(
    st.integers(1, 60),
    st.integers(1, 4),
    st.integers(0, 2**32 - 1),
    st.sampled_from([Threads, Elsewhere]),
    st.sampled_from(["rawvideo", "ffv1"]),
)
def test_products_do_not_depend_on_blocks_and_their_order(
    tmp_path: Path,
    block: int,
    threads: int,
    seed: int,
    where: type[Threads],
    codec: Literal["rawvideo", "ffv1"],
) -> None:
    rng = random.Random(seed)
    told: list[int] = []
    spans: list[slice] = []
    found: list[np.ndarray] = []

    def late(_: slice) -> None:
        time.sleep(rng.random() / 500)

    def append(span: slice, tables: Any) -> None:
        spans.append(span)
        found.append(tables["number"])
        assert len(tables["block"]) == -(-(span.stop - span.start) // block)

    outputs = avi(VIDEO.name, tmp_path / "a.avi"), avi("negative", tmp_path / "b.avi", codec)
    with where(threads) as runner, computing_by(runner):
        run_blocks(
            lambda span: Part(span, late),
            len(FRAMES),
            block,
            append,
            Products(tmp_path, outputs),
            progress=told.append,
        )
    np.testing.assert_array_equal(decode(tmp_path / "a.avi"), FRAMES)
    np.testing.assert_array_equal(decode(tmp_path / "b.avi"), 255 - FRAMES)
    np.testing.assert_array_equal(np.concatenate(found), np.arange(len(FRAMES)))
    assert [span.start for span in spans] == [0, *[span.stop for span in spans[:-1]]]
    assert sum(told) == len(FRAMES)
    assert len(told) == -(-len(FRAMES) // block)


class Counter(Threads):
    """Counts the tasks that it is given, and those of them that are not yet in the tables."""

    def __init__(self) -> None:
        super().__init__(2)
        self.blocks = self.open = self.most_open = 0

    def submit(self, task: Callable[[], Result], name: str) -> Future[Result]:
        self.blocks += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        return super().submit(task, name)


def test_ten_million_frames_are_a_few_blocks_at_a_time() -> None:
    count, block, total = 10_000_000, 4096, [0]

    @dataclass(frozen=True)
    class Numbers:
        span: slice

        def make(self, videos: Collection[str], *, tables: bool) -> Block:
            return Block({}, {"number": np.arange(self.span.start, self.span.stop)})

    with Counter() as counter, computing_by(counter):

        def append(span: slice, tables: Any) -> None:
            counter.open -= -(-(span.stop - span.start) // block)
            total[0] += int(tables["number"].sum())

        run_blocks(Numbers, count, block, append)
    assert counter.blocks == -(-count // block)
    # those that wait for their tables, those that become a span, and those that are computed
    assert counter.most_open <= (TABLES_AHEAD + 2) * TABLE_BLOCKS + 2 * counter.workers
    assert total == [count * (count - 1) // 2]


def test_a_cluster_sends_few_blocks_back_at_a_time() -> None:
    kept = Kept()
    products = Products("", (kept.output(),))
    with Elsewhere(100) as runner, computing_by(runner):
        run_blocks(lambda s: Part(s, lambda _: time.sleep(0.01)), 50, 1, no_tables, products)
    assert kept.parts == [(n, [frame.tobytes()]) for n, frame in enumerate(FRAMES)]
    assert kept.complete
    assert 0 < runner.most <= REMOTE_BLOCKS


@pytest.mark.parametrize(("blocks", "tasks"), [(50, 17), (15, 15), (300, 75)])
def test_a_task_of_a_cluster_makes_several_blocks_of_many(blocks: int, tasks: int) -> None:
    found: list[np.ndarray] = []

    @dataclass(frozen=True)
    class Numbers:
        span: slice

        def make(self, videos: Collection[str], *, tables: bool) -> Block:
            return Block({}, {"number": np.arange(self.span.start, self.span.stop)})

    with Elsewhere(2) as runner, computing_by(runner):
        run_blocks(Numbers, blocks, 1, lambda _, tables: found.append(tables["number"]))
    assert runner.begun == tasks
    np.testing.assert_array_equal(np.concatenate(found), np.arange(blocks))


def fails(span: slice) -> None:
    if span.start == 8:
        raise ResourceError("no space")


def test_an_error_of_a_block_ends_the_run() -> None:
    begun, kept = [], Kept()

    def before(span: slice) -> None:
        begun.append(span.start)
        fails(span)

    with Threads(1) as one, computing_by(one), pytest.raises(ResourceError, match="no space"):
        run_blocks(lambda s: Part(s, before), 50, 4, no_tables, Products("", (kept.output(),)))
    assert len(begun) < 13
    assert not kept.complete
    assert not [t for t in threading.enumerate() if t.name.startswith("miostitch")]


def test_an_error_of_an_output_ends_the_run() -> None:
    @contextmanager
    def full(count: int) -> Iterator[Append]:
        def append(first: int, packed: Packed) -> None:
            raise OSError("no space")

        yield append

    output = Output(VIDEO.name, lambda first, frames: [], full)
    with pytest.raises(OSError, match="no space"):
        run_blocks(Part, 50, 4, no_tables, Products("", (output,)))


@pytest.mark.parametrize("block", [1, 50])
def test_an_error_of_a_table_ends_the_run(block: int) -> None:
    def append(span: slice, tables: Any) -> None:
        raise ResourceError("no space")

    with pytest.raises(ResourceError, match="no space"):
        run_blocks(Part, 50, block, append)
    assert not [t for t in threading.enumerate() if t.name.startswith("miostitch")]


def test_what_progress_raises_ends_the_run_after_the_note(tmp_path: Path) -> None:
    told: list[tuple[int, str]] = []

    def progress(frames: int) -> None:
        told.append((frames, threading.current_thread().name))
        if len(told) == 3:
            raise UsageError("enough")

    with pytest.raises(UsageError, match="enough"):
        run_blocks(
            Part, 50, 4, no_tables, Products(tmp_path, (), stored(tmp_path, 4)), progress=progress
        )
    assert told == [(4, threading.current_thread().name)] * 3


@pytest.mark.parametrize("where", [Threads, Elsewhere])
@pytest.mark.parametrize("lost", [None, 12])
def test_noted_blocks_are_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: int | None, where: type[Threads]
) -> None:
    """Only what is in no store: here another video, and a block whose chunk is lost."""
    monkeypatch.setattr(engine, "TASKS_PER_WORKER", 2)  # so a cluster makes four blocks by a task
    store, made, found = stored(tmp_path, 4), [], []
    with pytest.raises(ResourceError, match="no space"), where(1) as runner, computing_by(runner):
        run_blocks(
            lambda span: Part(slice(span.start, span.stop), fails_at_24),
            50,
            4,
            no_tables,
            Products(tmp_path, (), store),
            journal=Journal(tmp_path / "notes"),
        )
    noted = {int(path.stem) for path in (tmp_path / "notes").glob("*.note")}
    assert noted
    if lost is not None:
        (tmp_path / "x.zarr" / "video" / "c" / str(lost // 4) / "0" / "0").unlink(missing_ok=True)

    @dataclass(frozen=True)
    class Watched(Part):
        def make(self, videos: Collection[str], *, tables: bool) -> Block:
            made.append((self.span.start, {*videos}, tables))
            return super().make(videos, tables=tables)

    journal = Journal(tmp_path / "notes")
    outputs = avi(VIDEO.name, tmp_path / "a.avi"), avi("negative", tmp_path / "b.avi")
    with where(1) as runner, computing_by(runner):
        run_blocks(
            Watched,
            50,
            4,
            lambda _, tables: found.append(tables["number"]),
            Products(tmp_path, outputs, store),
            journal=journal,
        )
    for start, videos, tables in made:
        known = start in noted - {lost}
        assert videos == ({"negative"} if known else {VIDEO.name, "negative"})
        assert tables == (not known)
    assert journal.recalled == len(noted - {lost})
    np.testing.assert_array_equal(np.concatenate(found), np.arange(50))
    np.testing.assert_array_equal(decode(tmp_path / "a.avi"), FRAMES)
    np.testing.assert_array_equal(decode(tmp_path / "b.avi"), 255 - FRAMES)
    np.testing.assert_array_equal(read_block(store, 0, 50), FRAMES)


@pytest.mark.parametrize("damage", [None, "frame", "checksums"])
def test_frames_of_noted_blocks_are_taken_from_the_video(
    tmp_path: Path, damage: str | None
) -> None:
    """Where no store has them; unless they are not what was written."""
    made: list[tuple[int, set[str]]] = []
    path = tmp_path / "a.avi"
    file = VideoFile(str(path), 12, 8, Fraction(20), checksums=True)
    outputs = (Output.of(VIDEO.name, file),)

    def run(before: Callable[[slice], None]) -> None:
        @dataclass(frozen=True)
        class Watched(Part):
            def make(self, videos: Collection[str], *, tables: bool) -> Block:
                made.append((self.span.start, {*videos}))
                return super().make(videos, tables=tables)

        products = Products(tmp_path, outputs)
        journal = Journal(tmp_path / "notes")
        run_blocks(lambda span: Watched(span, before), 50, 4, no_tables, products, journal=journal)

    with pytest.raises(ResourceError, match="no space"):
        run(fails_at_24)
    noted = {int(note.stem) for note in (tmp_path / "notes").glob("*.note")}
    assert 0 in noted
    if damage == "frame":
        with path.open("r+b") as video:
            video.seek(path.read_bytes().index(FRAMES[1].tobytes()))
            video.write(b"damaged")
    elif damage == "checksums":
        checksum_path(path).unlink()
    made.clear()
    run(lambda _: None)
    again = {start for start, videos in made if videos}
    lost = {None: set(), "frame": {0}, "checksums": noted}[damage]
    assert again == {*range(0, 50, 4)} - (noted - lost)
    np.testing.assert_array_equal(decode(path), FRAMES)


def fails_at_24(span: slice) -> None:
    if span.start == 24:
        raise ResourceError("no space")


def test_noted_tables_need_no_task(tmp_path: Path) -> None:
    found: list[np.ndarray] = []
    for again in (False, True):
        journal = Journal(tmp_path)
        with Counter() as counter, computing_by(counter):
            run_blocks(
                Part, 50, 4, lambda _, tables: found.append(tables["number"]), journal=journal
            )
        assert (journal.recalled, counter.blocks) == ((13, 0) if again else (0, 13))
    np.testing.assert_array_equal(np.concatenate(found), [*range(50), *range(50)])


def test_a_block_of_another_run_is_not_written(tmp_path: Path) -> None:
    """What a worker finishes of a killed run does not get into the run that came after."""
    workspace = Workspace(tmp_path, "x", [".zarr", ".avi"])
    output = avi("negative", workspace.staged(".avi"))
    store = str(workspace.staged(".zarr"))

    def begin(option: int) -> None:
        workspace.resume({"option": option})
        create_store(store, shape=FRAMES.shape, chunk_frames=50, attrs={}, zarr_format=3)

    def write(before: Callable[[slice], None]) -> None:
        products = Products(workspace.folder, (output,), store)
        run_blocks(lambda span: Part(span, before), 50, 50, no_tables, products)

    def overtaken(_: slice) -> None:
        begin(2)
        write(lambda _: None)

    with workspace.open([], force=False, resumable=True):
        begin(1)
        with pytest.raises(ResourceError, match="another run"):
            write(overtaken)
        np.testing.assert_array_equal(read_block(store, 0, 50), FRAMES)
        np.testing.assert_array_equal(decode(workspace.staged(".avi")), 255 - FRAMES)


def test_a_run_that_keeps_nothing_is_told_from_the_next(tmp_path: Path) -> None:
    """Though both have the same inputs and options."""
    workspace = Workspace(tmp_path, "x", [".avi"])
    output = avi(VIDEO.name, workspace.staged(".avi"))
    late: list[Callable[[], Any]] = []

    class Late(Threads):
        def submit(self, task: Callable[[], Result], name: str) -> Future[Result]:
            late.append(task)
            return super().submit(task, name)

    for _ in range(2):
        with workspace.open([], force=True), Late(1) as runner, computing_by(runner):
            run_blocks(Part, 50, 50, no_tables, Products(workspace.folder, (output,)))
            for task in late[:-1]:
                with pytest.raises(ResourceError, match="another run"):
                    task()
    assert len(late) == 2


@dataclass(frozen=True)
class Doubled:
    """Rows that are made of the tables of a block: two of each frame."""

    span: slice

    def make(self, tables: Tables) -> Tables:
        assert threading.current_thread().name.startswith("miostitch-block")
        assert (tables["number"] == np.arange(self.span.start, self.span.stop)).all()
        return {"row": np.repeat(tables["number"], 2)}


@pytest.mark.parametrize("video", [True, False])
def test_rows_are_made_by_tasks_again_of_what_was_noted(tmp_path: Path, video: bool) -> None:
    """And noted nowhere, whether a recalled block has frames to write or not."""
    rows: list[np.ndarray] = []
    made: list[int] = []
    products = Products(tmp_path, (), stored(tmp_path, 4) if video else None, Doubled)

    def run(before: Callable[[slice], None]) -> int:
        @dataclass(frozen=True)
        class Watched(Part):
            def make(self, videos: Collection[str], *, tables: bool) -> Block:
                if tables:
                    made.append(self.span.start)
                return super().make(videos, tables=tables)

        journal = Journal(tmp_path / "notes")
        run_blocks(
            lambda span: Watched(span, before),
            50,
            4,
            lambda _, tables: rows.append(tables["row"]),
            products,
            journal=journal,
        )
        return journal.recalled

    with pytest.raises(ResourceError, match="no space"):
        run(fails_at_24)
    noted = {int(note.stem) for note in (tmp_path / "notes").glob("*.note")}
    assert noted
    for start in noted:
        assert {*(Journal(tmp_path / "notes").recall(start) or {})} == {"number", "block"}
    rows.clear()
    made.clear()
    assert run(lambda _: None) == len(noted)
    assert {*made} == {*range(0, 50, 4)} - noted
    np.testing.assert_array_equal(np.concatenate(rows), np.repeat(np.arange(50), 2))
