"""Where blocks are computed: by the threads of this process, or by what a caller has set up."""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from types import TracebackType
from typing import Protocol, Self, TypeVar

import dask
from dask.system import CPU_COUNT

from miostitch.text import amount

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


class Executor(Protocol):
    """Calls tasks, each as a whole in one place."""

    @property
    def workers(self) -> int:
        """Tasks that are called at the same time."""

    @property
    def shares_memory(self) -> bool:
        """Whether tasks are called in this process."""

    def submit(self, task: Callable[[], Result], name: str) -> Future[Result]:
        """Call a task; those submitted first come first."""

    def require_paths(self, paths: Iterable[str]) -> None:
        """Refuse to begin where a path cannot be reached."""

    def cancel(self) -> None:
        """Begin no further task."""


class Threads:
    """Calls tasks in threads of this process.

    A thread reads, scores, writes and forgets a block before it takes the next, so that memory is
    bounded by the number of threads.
    """

    shares_memory = True

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool = ThreadPoolExecutor(workers, "miostitch-block")

    def submit(self, task: Callable[[], Result], name: str) -> Future[Result]:
        """Call a task; those submitted first come first."""
        return self._pool.submit(task)

    def require_paths(self, paths: Iterable[str]) -> None:
        """Nothing to check: this process has found them."""

    def cancel(self) -> None:
        """Begin no further task."""
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


_EXECUTOR: ContextVar[Future[Executor] | None] = ContextVar("miostitch-executor", default=None)
_THREADS: ContextVar[int | None] = ContextVar("miostitch-threads", default=None)


@contextmanager
def computing_by(executor: Executor | Future[Executor]) -> Iterator[None]:
    """Have everything that is written in this context computed by an executor.

    One that is still starting is waited for where it is needed.
    """
    started: Future[Executor] = Future()
    if isinstance(executor, Future):
        started = executor
    else:
        started.set_result(executor)
    token = _EXECUTOR.set(started)
    try:
        yield
    finally:
        _EXECUTOR.reset(token)


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


@contextmanager
def executor() -> Iterator[Executor]:
    """What computes blocks in this context, by default threads of its own; cancelled on failure."""
    current = _EXECUTOR.get()
    if current is None:
        logger.info(
            "computed by %s of this process, which begin at once and share memory; --workers N "
            "uses processes instead, which were slower wherever that was measured",
            amount(thread_count(), "thread"),
        )
    with Threads(thread_count()) if current is None else nullcontext(current.result()) as chosen:
        try:
            yield chosen
        except BaseException:
            chosen.cancel()
            raise


def require_paths(paths: Iterable[str]) -> None:
    """Refuse to begin where what computes the blocks cannot reach the files."""
    if (current := _EXECUTOR.get()) is not None:
        current.result().require_paths(paths)
