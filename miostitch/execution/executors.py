"""Where blocks are computed: by the threads of this process, or by what a caller has set up."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import dask
from dask.local import get_sync
from dask.system import CPU_COUNT

Graph = Mapping[Any, Any]
Result = TypeVar("Result")


class Runner(Protocol):
    """Computes blocks, each as a whole in one place."""

    @property
    def workers(self) -> int:
        """Blocks that are computed at the same time."""

    @property
    def shares_memory(self) -> bool:
        """Whether blocks are computed in this process."""

    def submit(self, graph: Graph, key: Any, name: str) -> Future[Any]:
        """Compute one key of a graph that holds nothing else; those submitted first come first."""

    def run(self, task: Callable[[], Result], name: str) -> Result:
        """Call a task, and wait for it: in this thread, if blocks are computed in this process."""

    def require_paths(self, paths: Iterable[str]) -> None:
        """Refuse to begin where a path cannot be reached."""

    def cancel(self) -> None:
        """Begin no further block."""


class Threads:
    """Computes blocks in threads of this process.

    A thread reads, scores, writes and forgets a block before it takes the next, so that memory is
    bounded by the number of threads.
    """

    shares_memory = True

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool = ThreadPoolExecutor(workers, "miostitch-block")

    def submit(self, graph: Graph, key: Any, name: str) -> Future[Any]:
        """Compute one key of a graph that holds nothing else; those submitted first come first."""
        return self._pool.submit(get_sync, graph, key)

    def run(self, task: Callable[[], Result], name: str) -> Result:
        """Call a task in this thread."""
        return task()

    def require_paths(self, paths: Iterable[str]) -> None:
        """Nothing to check: this process has found them."""

    def cancel(self) -> None:
        """Begin no further block."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)


_RUNNER: ContextVar[Runner | None] = ContextVar("miostitch-runner", default=None)
_THREADS: ContextVar[int | None] = ContextVar("miostitch-threads", default=None)


@contextmanager
def computing_by(runner: Runner) -> Iterator[None]:
    """Have everything that is written in this context computed by a runner."""
    token = _RUNNER.set(runner)
    try:
        yield
    finally:
        _RUNNER.reset(token)


@contextmanager
def at_most(threads: int) -> Iterator[None]:
    """Use no more threads of this process in this context."""
    token = _THREADS.set(threads)
    try:
        yield
    finally:
        _THREADS.reset(token)


def thread_count() -> int:
    """Threads that compute blocks: as dask is configured, else one per core, or fewer as told."""
    threads: int = dask.config.get("num_workers", None) or CPU_COUNT
    return min(threads, _THREADS.get() or threads)


def runner() -> AbstractContextManager[Runner]:
    """What computes blocks in this context; by default threads of its own."""
    return Threads(thread_count()) if (current := _RUNNER.get()) is None else nullcontext(current)


def require_paths(paths: Iterable[str]) -> None:
    """Refuse to begin where what computes the blocks cannot reach the files."""
    if (current := _RUNNER.get()) is not None:
        current.require_paths(paths)
