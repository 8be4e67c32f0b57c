"""The block engine: every block makes all of its bytes where it runs.

The coordinator plans blocks and hands them to threads or a cluster. The task of a block makes its
frames and its rows, writes its chunk of the store and its frames into every video, and gives back
tables only.
In the order of the blocks the coordinator collects those, notes what is finished and reports it.
"""

import os
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import compress
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from miostitch.execution.checkpoint import Journal
from miostitch.execution.executors import Executor, executor
from miostitch.execution.memory import give_back
from miostitch.execution.workspace import require_run, run_of
from miostitch.schema import VIDEO
from miostitch.store.chunks import recall_block, sync_block, write_block
from miostitch.video.writer import Append, Packed, VideoFile

TABLE_BLOCKS = 8
"""Blocks whose tables are written together: each time takes some milliseconds, and until then
their rows are in memory."""

TABLES_AHEAD = 2
"""Such spans that may wait for their tables."""

BLOCKS_PER_TASK, TASKS_PER_WORKER = 4, 8
"""Blocks that a cluster makes by one task, where enough tasks are left for all workers: each task
takes scheduler and coordinator some ten milliseconds, however much it does."""

REMOTE_BLOCKS = 8
"""Blocks that a cluster has at a time if it sends back what only the coordinator can write."""

Frames = NDArray[np.uint8]
Tables = Mapping[str, NDArray[Any]]
"""What is recorded of a block; blocks are joined along the first axis."""

AppendTables = Callable[[slice, Tables], None]
"""Takes the tables of a span of frames, span after span, on a thread of its own."""


def never(first: int, count: int) -> bool:
    """Recall nothing, where nothing is kept."""
    return False


def no_tables(span: slice, tables: Tables) -> None:
    """Append nothing, where nothing is recorded."""


@dataclass(frozen=True)
class Block:
    """A block that was made."""

    videos: Mapping[str, Frames] = field(default_factory=dict)  # uint8 (frame, height, width)
    tables: Tables = field(default_factory=dict)


class BlockPlan(Protocol):
    """What a task needs to make a block; small and picklable."""

    def make(self, videos: Collection[str], *, tables: bool) -> Block:
        """Make these videos of the block, and its tables if they are wanted."""


Plan = Callable[[slice], BlockPlan]
"""Plans the block of a span of frames."""


class RowPlan(Protocol):
    """What a task needs to make the rows of a block; small and picklable."""

    def make(self, tables: Tables) -> Tables:
        """Make of a block's tables what is appended with them, but noted nowhere."""


PlanRows = Callable[[slice], RowPlan]
"""Plans the rows of a span of frames."""


@dataclass(frozen=True)
class Output:
    """A file that takes the frames of a video."""

    video: str
    # In the task: writes the frames from one on, or makes of them what is to be appended.
    pack: Callable[[int, Frames], Packed]
    # By the coordinator: begins and completes a file of so many frames.
    open: Callable[[int], AbstractContextManager[Append]]
    by_position: bool = False  # Whether nothing is to be appended
    # In the task: whether an earlier run wrote so many frames from one on, and all are there.
    recall: Callable[[int, int], bool] = never

    @classmethod
    def of(cls, video: str, file: VideoFile) -> Self:
        """Have a video written as an AVI."""
        return cls(video, file.pack, file.open, file.by_position, file.recall)


@dataclass(frozen=True)
class Products:
    """What a run writes besides tables."""

    folder: str | os.PathLike[str]  # Work directory of the run
    outputs: tuple[Output, ...] = ()
    store: str | None = None  # Store that takes ``video``
    rows: PlanRows | None = None  # Made again where a block is recalled: hours of them are large


class _OutputTask(NamedTuple):
    """What a task needs of an output."""

    video: str
    pack: Callable[[int, Frames], Packed]
    recall: Callable[[int, int], bool]


@dataclass(frozen=True)
class _Target:
    """What a task writes, and how it knows that this is still wanted."""

    outputs: tuple[_OutputTask, ...] = ()
    store: str | None = None
    folder: str | None = None
    run: str = ""  # See ``require_run``

    @classmethod
    def of(cls, products: Products) -> Self:
        outputs = tuple(_OutputTask(o.video, o.pack, o.recall) for o in products.outputs)
        # a worker may have another working directory
        store = os.path.abspath(products.store) if products.store else None
        return cls(outputs, store, os.path.abspath(products.folder), run_of(products.folder))

    @property
    def videos(self) -> set[str]:
        """Videos that are wanted."""
        return {output.video for output in self.outputs} | ({VIDEO.name} if self.store else set())


@dataclass(frozen=True)
class _Finished:
    """What a task gives back."""

    tables: Tables = field(default_factory=dict)
    rows: Tables = field(default_factory=dict)
    packed: tuple[Packed, ...] = ()  # For each output
    recalled: bool = False  # Whether an earlier run had finished the block


@dataclass(frozen=True, repr=False)
class _Task:
    """Makes a block and writes it, wherever it is called.

    Without a repr of its fields: distributed asks for one per task, and that of arrays takes long.
    """

    plan: BlockPlan
    start: int
    stop: int
    target: _Target
    noted: Tables | None  # What an earlier run has noted of the block
    rows: RowPlan | None = None

    def __call__(self) -> _Finished:
        target = self.target
        videos: dict[str, Frames] = {}
        recalled = self.noted is not None
        if target.store and recalled:
            known = recall_block(target.store, self.start, self.stop)
            recalled = known is not None
            videos = {} if known is None else {VIDEO.name: known}
        count = self.stop - self.start
        left = [not (recalled and each.recall(self.start, count)) for each in target.outputs]
        wanted = {each.video for each in compress(target.outputs, left)}
        if target.store and not recalled:
            wanted.add(VIDEO.name)
        made = self.plan.make(wanted - videos.keys(), tables=not recalled)
        videos |= made.videos
        if target.folder:
            require_run(target.folder, target.run)
        if target.store and not recalled:
            write_block(target.store, self.start, videos[VIDEO.name])
        packed = tuple(
            each.pack(self.start, videos[each.video]) if needed else ()
            for each, needed in zip(target.outputs, left, strict=True)
        )
        tables = made.tables if self.noted is None or not recalled else self.noted
        rows = self.rows.make(tables) if self.rows else {}
        return _Finished({} if recalled else tables, rows, packed, recalled)


@dataclass(frozen=True, repr=False)
class _Tasks:
    """Makes some blocks, one after the other."""

    tasks: tuple[_Task, ...]

    def __call__(self) -> list[_Finished]:
        return [task() for task in self.tasks]


class _Begun(NamedTuple):
    """Blocks that are being made."""

    spans: list[slice]
    noted: list[Tables | None]  # What an earlier run has noted of each
    made: Future[list[_Finished]]


def run_blocks(
    plan: Plan,
    count: int,
    block: int,
    append: AppendTables,
    products: Products | None = None,
    *,
    journal: Journal | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Make all frames, block by block, and write them.

    ``progress`` is called with the frames of each block, in order; what it raises ends the run.
    Memory is bounded by the blocks in flight, whatever ``count``.
    """
    outputs, rows = (products.outputs, products.rows) if products else ((), None)
    target = _Target.of(products) if products else _Target()
    waiting: deque[_Begun] = deque()
    with ExitStack() as stack:
        appends = [stack.enter_context(output.open(count)) for output in outputs]
        if journal:
            stack.enter_context(journal)
        tables = stack.enter_context(TableThread(append, count))
        workers = stack.enter_context(executor())

        def begin(several: list[slice]) -> None:
            noted = [journal.recall(span.start) if journal else None for span in several]
            if None not in noted and not (target.videos or rows):  # nothing is left to do
                made: Future[list[_Finished]] = Future()
                made.set_result([_Finished(recalled=True)] * len(several))
            else:
                known = zip(several, noted, strict=True)
                tasks = tuple(_plan_task(plan, rows, span, target, each) for span, each in known)
                made = workers.submit(_Tasks(tasks), f"block-{several[0].start}")
            waiting.append(_Begun(several, noted, made))

        def collect(begun: _Begun) -> None:
            for each in zip(begun.spans, begun.noted, begun.made.result(), strict=True):
                collect_block(*each)

        def collect_block(span: slice, noted: Tables | None, finished: _Finished) -> None:
            for append_packed, packed in zip(appends, finished.packed, strict=True):
                append_packed(span.start, packed)
            found = noted if finished.recalled and noted is not None else finished.tables
            tables.add(span, {**found, **finished.rows})
            if journal and finished.recalled:
                journal.recalled += 1
            elif journal:
                journal.note(span.start, found, partial(_sync, target.store, span.start))
                journal.check()
            if progress:
                progress(span.stop - span.start)

        every = [*spans(count, block)]
        size = _blocks_per_task(workers, outputs, len(every))
        for first in range(0, len(every), size):
            if len(waiting) >= _most_at_a_time(workers, outputs):
                collect(waiting.popleft())
            begin(every[first : first + size])
        while waiting:
            collect(waiting.popleft())
    give_back()  # the blocks themselves


def spans(count: int, block: int) -> Iterator[slice]:
    """The frames of each block."""
    for start in range(0, count, block):
        yield slice(start, min(start + block, count))


def _plan_task(
    plan: Plan, rows: PlanRows | None, span: slice, target: _Target, noted: Tables | None
) -> _Task:
    return _Task(plan(span), span.start, span.stop, target, noted, rows(span) if rows else None)


def _most_at_a_time(workers: Executor, outputs: tuple[Output, ...]) -> int:
    """Tasks that are begun: each worker has one, and the next one waits for it."""
    if workers.shares_memory or all(output.by_position for output in outputs):
        return 2 * workers.workers
    return min(2 * workers.workers, REMOTE_BLOCKS)


def _blocks_per_task(workers: Executor, outputs: tuple[Output, ...], blocks: int) -> int:
    """Blocks that are made by one task: of threads, and of what is sent back, one."""
    if workers.shares_memory or not all(output.by_position for output in outputs):
        return 1
    return min(BLOCKS_PER_TASK, max(1, blocks // (TASKS_PER_WORKER * workers.workers)))


def _sync(store: str | None, start: int) -> None:
    """Bring to the disk what a note tells of."""
    if store:
        sync_block(store, start)


class TableThread:
    """Appends the tables of some blocks at a time, on a thread of its own."""

    def __init__(self, append: AppendTables, count: int) -> None:
        self._append, self._count, self._start = append, count, 0
        self._parts: list[Tables] = []
        self._appended: deque[Future[None]] = deque()
        self._pool = ThreadPoolExecutor(1, "miostitch-tables")

    def add(self, span: slice, tables: Tables) -> None:
        """Have the tables of the next block appended."""
        self._parts.append(tables)
        if span.stop == self._count or len(self._parts) == TABLE_BLOCKS:
            several = slice(self._start, span.stop)
            self._appended.append(self._pool.submit(self._join, several, self._parts))
            self._start, self._parts = span.stop, []
            give_back()  # what lies between the tables, which grow; takes some milliseconds
        while self._appended and (len(self._appended) > TABLES_AHEAD or self._appended[0].done()):
            self._appended.popleft().result()

    def _join(self, span: slice, parts: list[Tables]) -> None:
        self._append(span, {name: np.concatenate([p[name] for p in parts]) for name in parts[0]})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)
        if kind is None:
            for appended in self._appended:
                appended.result()
