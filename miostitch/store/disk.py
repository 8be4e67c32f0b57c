"""Files of a store on a disk, and who reads and writes them.

Renames may be refused for a moment. Zarr hands every chunk from thread to thread, to its event
loop, to those that pack it, and back, where a block has a thread of its own already.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from miostitch.store.renaming import rename

_Result = TypeVar("_Result")


class _Here(ThreadPoolExecutor):
    """Does what is submitted at once, in the thread that submits it."""

    def submit(self, call: Callable[..., Any], /, *given: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(call(*given, **named))
        except BaseException as error:  # raised again by who asks for the result
            done.set_exception(error)
        return done


def run_here(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run what Zarr does in this thread alone; where a loop runs in it (a notebook), beside it."""
    if _has_loop():
        with ThreadPoolExecutor(1, "miostitch-zarr") as beside:
            return beside.submit(lambda: run_here(work)).result()
    loop = asyncio.new_event_loop()
    try:
        loop.set_default_executor(_Here(1))
        if sys.version_info >= (3, 12):  # begins tasks at once, not in the next round of the loop
            loop.set_task_factory(asyncio.eager_task_factory)
        return loop.run_until_complete(work)
    finally:
        loop.close()


def _has_loop() -> bool:
    """Whether this thread runs an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class DiskStore(LocalStore):
    """A folder of files, each of them complete or not there."""

    async def set(self, key: str, value: Buffer) -> None:
        """Write a file, and give it its name when it is complete."""
        await self._ensure_open()
        self._check_writable()
        _write(self.root / key, value)  # in the thread that asks, see ``run_here``


def _write(path: Path, value: Buffer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{uuid4().hex}.partial")
    try:
        unfinished.write_bytes(value.as_numpy_array().data)
        rename(unfinished, path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
