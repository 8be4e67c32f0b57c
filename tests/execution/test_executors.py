"""Where blocks are computed, and how many at a time."""

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future
from functools import partial

import dask
import pytest

from miostitch.execution import executors as computing
from miostitch.execution.executors import (
    Result,
    Threads,
    at_most,
    computing_by,
    executor,
    thread_count,
)


class Recorder(Threads):
    """Counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked: list[str] = []

    def require_paths(self, paths: Iterable[str]) -> None:
        self.asked += paths

    def submit(self, task: Callable[[], Result], name: str) -> Future[Result]:
        self.asked.append(name)
        return super().submit(task, name)

    def cancel(self) -> None:
        self.asked.append("cancel")


def test_threads_begin_in_the_order_given() -> None:
    begun: list[int] = []
    with Threads(1) as threads:
        futures = [threads.submit(partial(begun.append, n), str(n)) for n in range(20)]
    assert begun == [*range(20)]
    assert all(future.done() for future in futures)
    assert not [t for t in threading.enumerate() if t.name.startswith("miostitch")]


def test_what_has_not_begun_can_be_cancelled() -> None:
    hold, begun = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        hold.wait(20)

    with Threads(1) as threads:
        first = threads.submit(wait, "a")
        second = threads.submit(wait, "b")
        begun.wait(20)
        threads.cancel()
        hold.set()
    first.result()
    with pytest.raises(CancelledError):
        second.result()


def test_threads_are_as_many_as_dask_says_or_fewer() -> None:
    with dask.config.set(num_workers=5):
        assert thread_count() == 5
        with at_most(3):
            assert thread_count() == 3
            with executor() as threads:
                assert threads.workers == 3
        with at_most(9):
            assert thread_count() == 5


def test_another_executor_takes_over() -> None:
    computing.require_paths(["nowhere"])  # threads see what the caller sees
    with Recorder() as recorder:
        with computing_by(recorder), executor() as current:
            assert current is recorder
            computing.require_paths(["here"])
            assert current.submit(lambda: 1, "one").result() == 1
        with executor() as current:
            assert current is not recorder
    assert recorder.asked == ["here", "one"]


def test_a_failure_cancels_what_has_not_begun() -> None:
    with (
        Recorder() as recorder,
        pytest.raises(KeyError),
        computing_by(recorder),
        executor(),
    ):
        raise KeyError
    assert recorder.asked == ["cancel"]


def test_what_computes_the_blocks_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "miostitch")
    with dask.config.set(num_workers=3), executor():
        pass
    with dask.config.set(num_workers=3), computing_by(Threads(1)), executor():
        pass  # whoever sets it up knows it
    [record] = caplog.records
    assert record.getMessage().startswith("computed by 3 threads of this process")
    assert "--workers" in record.getMessage()
