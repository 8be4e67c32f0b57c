"""Where blocks are computed: by the threads of this process."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

import dask
from dask.system import CPU_COUNT

Graph = Mapping[Any, Any]


class Threads:
    """Computes blocks in threads of this process, each block as a whole in one of them.

    Blocks begin in the order in which they are submitted. A thread reads, scores, writes and
    forgets one before it takes the next, so that memory is bounded by the number of threads.

    Parameters
    ----------
    workers
        Threads; by default as dask is configured, else one per core.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers: int = workers or dask.config.get("num_workers", None) or CPU_COUNT
        self._pool = ThreadPoolExecutor(self.workers, "miostitch-block")

    def submit(self, graph: Graph, key: Any) -> Future[Any]:
        """Compute one key of a graph that holds nothing else."""
        return self._pool.submit(dask.get, graph, key)

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
