"""Blocks that were read, kept as long as they fit."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, Self


class BlockCache:
    """The blocks used last, bounded in bytes; each is read once however many ask for it.

    Blocks are arrays, or whatever else knows its ``nbytes``. All methods may be called from any
    thread. Beyond `max_bytes` there is only what is being read. Leave the context to end the thread
    that reads ahead.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.nbytes = 0
        self._blocks: OrderedDict[Hashable, Any] = OrderedDict()
        self._loading: dict[Hashable, Future[Any]] = {}
        self._lock = Lock()
        self._ahead: list[Future[Any]] = []
        self._pool = ThreadPoolExecutor(1, "miostitch-ahead")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._blocks

    def get(self, key: Hashable, read: Callable[[], Any]) -> Any:
        """Give a block, read now if it is not there."""
        with self._lock:
            if key in self._blocks:
                self._blocks.move_to_end(key)
                return self._blocks[key]
            read_elsewhere = key in self._loading
            loading = self._loading.setdefault(key, Future())
        if read_elsewhere:
            return loading.result()
        try:
            block = read()
        except BaseException as error:
            loading.set_exception(error)
            with self._lock:
                del self._loading[key]
            raise
        with self._lock:
            del self._loading[key]
            self._blocks[key] = block
            self.nbytes += block.nbytes
            while self.nbytes > self.max_bytes and len(self._blocks) > 1:
                _, oldest = self._blocks.popitem(last=False)
                self.nbytes -= oldest.nbytes
        loading.set_result(block)
        return block

    def clear(self) -> None:
        """Forget all blocks, as where their files were replaced."""
        with self._lock:
            self._blocks.clear()
            self.nbytes = 0

    def prefetch(self, reads: Mapping[Hashable, Callable[[], Any]]) -> None:
        """Read blocks that may be asked for next, one after the other, on a thread of its own.

        What earlier calls wanted and is not begun yet is forgotten. An error is not raised: whoever
        asks for that block gets it.
        """
        with self._lock:
            for earlier in self._ahead:
                earlier.cancel()
            wanted = [key for key in reads if key not in self._blocks and key not in self._loading]
            self._ahead = [self._pool.submit(self.get, key, reads[key]) for key in wanted]
