"""A viewer, or a start page, that runs while a test asks it."""

import asyncio
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import NamedTuple

from miostitch.viewer.cache import BlockCache
from miostitch.viewer.server import Marks, Viewer
from miostitch.viewer.sources import open_scene
from miostitch.viewer.start import StartPage


class Served(NamedTuple):
    url: str
    viewer: Viewer


@contextmanager
def served(names: Sequence[str], marks: Path | None = None) -> Iterator[Served]:
    """A viewer on a thread of its own."""
    with BlockCache(2**25) as cache:
        viewer = Viewer(open_scene(names, cache), cache, Marks(marks) if marks else None)
        with running(viewer) as url:
            yield Served(url, viewer)


@contextmanager
def started(folder: Path) -> Iterator[str]:
    """The start page of a folder on a thread of its own; its address."""
    with BlockCache(2**25) as cache, running(StartPage(str(folder), cache)) as url:
        yield url


@contextmanager
def running(page: Viewer | StartPage) -> Iterator[str]:
    ready: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def run() -> None:
        async with page.running() as url:
            stop = asyncio.Event()
            ready.set_result((url, asyncio.get_running_loop(), stop))
            await stop.wait()

    thread = Thread(target=lambda: asyncio.run(run()))
    thread.start()
    url, loop, stop = ready.result(30)
    try:
        yield url
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
