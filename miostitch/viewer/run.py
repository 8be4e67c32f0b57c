"""The viewer: recordings and results in the browser, until the run is interrupted."""

import asyncio
import os
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from miostitch.errors import UsageError
from miostitch.recording.files import ReadOptions, StrPath
from miostitch.viewer.cache import BlockCache
from miostitch.viewer.server import Marks, Viewer
from miostitch.viewer.sources import open_scene
from miostitch.viewer.start import StartPage, is_folder


@dataclass(frozen=True)
class ViewOptions:
    """How to show recordings."""

    port: int = 0  # Where to listen; 0: any free port
    # File that the marked frames are saved to, and read from if it is there.
    marks: str | os.PathLike[str] | None = None
    # Folders where the recordings that a store was made of are looked for first.
    inputs: Sequence[str] = ()
    browser: bool = True  # Whether to open the page in the browser
    cache_bytes: int = 128 * 2**20  # Bound of the frames that are kept in memory


def view(
    names: Sequence[StrPath],
    options: ViewOptions | None = None,
    *,
    reading: ReadOptions | None = None,
    ready: Callable[[dict[str, Any]], None],
) -> None:
    """Show recordings, or the start page of a folder, until the run is interrupted.

    Reads what is shown, and a little ahead. Memory: the cache, and the tables that go with it: of a
    store 33 bytes per frame and 42 more per recording that it was made of.
    """
    options = options or ViewOptions()
    marks = Marks(options.marks) if options.marks is not None else None

    async def show(page: Viewer | StartPage) -> None:
        async with page.running(options.port) as url:
            ready({"url": url})
            if options.browser:
                await asyncio.to_thread(webbrowser.open, url)
            await asyncio.Event().wait()

    with BlockCache(options.cache_bytes) as cache, suppress(KeyboardInterrupt):
        if is_folder(names):
            if marks is not None or options.inputs:
                msg = f"{names[0]}: is a folder; --marks and --inputs go with one result"
                raise UsageError(msg)
            asyncio.run(show(StartPage(os.fspath(names[0]), cache)))
            return
        scene = open_scene(names, cache, reading, folders=options.inputs)
        asyncio.run(show(Viewer(scene, cache, marks)))
