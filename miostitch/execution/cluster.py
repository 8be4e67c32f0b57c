"""Blocks computed by a dask cluster: processes of this machine, or machines that share files."""

import itertools
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import dask
import distributed
from dask.base import tokenize
from distributed.scheduler import KilledWorker

from miostitch.errors import MiostitchError, ResourceError, UsageError
from miostitch.execution.executors import Executor, Result, computing_by
from miostitch.execution.memory import keep_freed
from miostitch.execution.publishing import used_versions

logger = logging.getLogger(__name__)

RETRIES = 3
"""Times that a block that failed is begun anew: what the network lacked may be there by then."""

CONNECT_SECONDS = 20

COUNT_SECONDS = 1.0
"""How long a number of workers is taken for the present one: the scheduler must be asked."""

LOOPBACK = "127.0.0.1"
AGAIN = "run the same command to resume"

PRELOADED = ("miostitch.execution.engine", "numba", "pandas", "av")
"""What the processes of a local cluster load before they are asked for anything."""

RARELY = {
    "distributed.admin.tick.interval": "2s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.worker.profile.enabled": False,
}
"""What the processes of a local cluster do less often than dask's: together with the dashboard it
took as much processor time of this process as all tables."""


class ClusterError(MiostitchError):
    """A cluster that cannot do its work; what it finished is kept and continued."""


class Cluster:
    """Computes blocks on a dask cluster, each as one task that can be repeated anywhere."""

    shares_memory = False

    def __init__(self, client: distributed.Client) -> None:
        self._client = client
        self._threads, self._counted = 0, -COUNT_SECONDS
        self._running: dict[Future[Any], distributed.Future[Any]] = {}
        self._numbers = itertools.count()
        client.register_plugin(_KeepFreed(), name="miostitch-memory")

    @property
    def workers(self) -> int:
        """Threads of all workers, of those that came since the last second too."""
        if time.monotonic() >= self._counted + COUNT_SECONDS:
            try:
                threads: dict[str, int] = self._client.nthreads()
            except OSError as error:
                msg = f"the scheduler does not answer any more ({error}); {AGAIN}"
                raise ClusterError(msg) from error
            self._threads, self._counted = max(1, sum(threads.values())), time.monotonic()
        return self._threads

    def submit(self, task: Callable[[], Result], name: str) -> Future[Result]:
        """Call a task on a worker; those submitted first come first."""
        number = next(self._numbers)
        remote = self._client.submit(
            task,
            key=f"{name}-{tokenize(id(self), number)}",
            pure=False,
            retries=RETRIES,
            priority=-number,
        )
        local: Future[Result] = Future()
        local.set_running_or_notify_cancel()
        self._running[local] = remote
        remote.add_done_callback(partial(self._hand_over, local, name))
        return local

    def require_paths(self, paths: Iterable[str]) -> None:
        """Find workers that do not see the files of a run, or would make other bytes of them."""
        wanted = {os.path.abspath(path): os.stat(path).st_size for path in paths}
        found = self._client.run(_missing, wanted)
        if not found:
            msg = "the cluster has no workers; start some with dask worker"
            raise ResourceError(msg)
        lacking = [f"{worker} lacks {paths[0]}" for worker, paths in sorted(found.items()) if paths]
        if lacking:
            msg = "; ".join(lacking)
            raise ResourceError(f"{msg}; mount the same files under the same path on every worker")
        here = used_versions()
        for worker, there in sorted(self._client.run(used_versions).items()):
            others = [f"{name} {there[name]}" for name in here if there[name] != here[name]]
            if others:
                msg = f"{worker} has {', '.join(others)}; install what is here on every worker"
                raise ResourceError(f"{msg}: {', '.join(f'{n} {v}' for n, v in here.items())}")

    def cancel(self) -> None:
        """Begin no further block."""
        self._client.cancel([*self._running.values()])

    def _hand_over(self, local: Future[Any], name: str, remote: distributed.Future[Any]) -> None:
        try:
            local.set_result(remote.result())
        except KilledWorker as error:
            msg = f"{name}: {error.allowed_failures + 1} workers died of it, the last at "
            msg += f"{error.last_worker.address}; give them more memory, then {AGAIN}"
            local.set_exception(ClusterError(msg))
        except (CancelledError, distributed.client.FutureCancelledError) as error:
            msg = f"{name}: the cluster lost it ({error}); {AGAIN}"
            local.set_exception(ClusterError(msg))
        except BaseException as error:
            local.set_exception(error)
        finally:
            del self._running[local]


@contextmanager
def local_cluster(workers: int) -> Iterator[None]:
    """Compute by processes of this machine, one thread each.

    They load their libraries while this process opens the recordings. All sockets, that of the
    dashboard too, are on the loopback interface. A script that calls this needs the usual
    ``if __name__ == "__main__":``.
    """
    if workers < 1:
        raise UsageError(f"workers {workers}: at least 1 is needed")
    with ExitStack() as running, ThreadPoolExecutor(1, "miostitch-cluster") as starter:

        def start() -> Executor:
            shown = logger.isEnabledFor(logging.INFO)  # else nobody knows the dashboard's port
            with _starting(), dask.config.set(RARELY):
                cluster = distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    host=LOOPBACK,
                    dashboard_address=f"{LOOPBACK}:0" if shown else None,
                    memory_limit=0,  # blocks are few; to spill them would cost more than it saves
                    # a worker that is told to end while it reports calls that an error
                    silence_logs=logging.CRITICAL,
                    preload=[*PRELOADED],
                )
                running.enter_context(cluster)
                # results come from the workers, not by way of the scheduler
                client = distributed.Client(cluster, direct_to_workers=True)
            running.callback(client.close)  # whose own context belongs to this thread
            if shown:
                logger.info("dashboard: %s", client.dashboard_link)
            return Cluster(client)

        with computing_by(starter.submit(start)):
            yield


@contextmanager
def remote_cluster(address: str) -> Iterator[None]:
    """Compute on a cluster that is running.

    Parameters
    ----------
    address
        Of its scheduler; ``tls://`` with the certificates of dask's own configuration.

    Raises
    ------
    ResourceError
        No scheduler answers there.
    """
    try:
        client = distributed.Client(address, timeout=CONNECT_SECONDS)
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # the last one of TLS
        msg = f"{address}: no dask scheduler answers ({error}); check the address, or start one"
        raise ResourceError(msg) from error
    with client, computing_by(Cluster(client)):
        yield


@contextmanager
def _starting() -> Iterator[None]:
    """Start processes as copies of one that has loaded the libraries, where that is safe.

    Elsewhere each loads them itself; on macOS libraries of the system do not survive a copy.
    """
    if sys.platform != "linux":
        yield
        return
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        distributed.utils.get_mp_context().set_forkserver_preload(["distributed", *PRELOADED])
        yield


class _KeepFreed(distributed.WorkerPlugin):
    """Sets up the memory of every worker, of those that come later too."""

    def setup(self, worker: distributed.Worker) -> None:
        keep_freed()


def _missing(wanted: dict[str, int]) -> list[str]:
    """Paths that this worker does not see as the caller does."""
    return [
        path
        for path, size in wanted.items()
        if not os.path.exists(path) or (os.path.isfile(path) and os.stat(path).st_size != size)
    ]
